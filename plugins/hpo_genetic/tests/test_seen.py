"""The set of known points: small, exact, and saved as JSON."""

import json
import random
import sys

from hpo_genetic._seen import Seen


def test_it_tells_new_numbers_from_known_ones():
    rng, seen, known = random.Random(1), Seen(), set()
    for _ in range(30_000):
        key = rng.getrandbits(15) << 40
        assert seen.add(key) == (key not in known)
        known.add(key)
    assert len(seen) == len(known)
    assert all(key in seen for key in known)
    assert 1 not in seen


def test_it_goes_on_as_it_was_saved():
    seen = Seen([3, 1])
    seen.add(2**56 - 1)
    assert seen.to_json() == [1, 3, 2**56 - 1]
    again = Seen(json.loads(json.dumps(seen.to_json())))
    assert not again.add(3)
    assert again.add(2)


def test_a_number_takes_some_bytes():
    seen = Seen()
    for key in range(200_000):
        seen.add(key * 7919)
    assert sys.getsizeof(seen._old) + sys.getsizeof(seen._new) + 32 * len(seen._new) < 20 * len(seen)
