"""The protocol: however the bytes come, frames come out as they went in, and nothing else is believed."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core._pilot import wire

SECRET = b"s" * 32
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8)

NAMES = st.sampled_from(["magic", "version", "node", "nonce", "proof", "facts", "reason"])
WORDS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.dictionaries(NAMES, JSON).map(lambda said: json.dumps(said).encode()) | st.binary(max_size=50),
    ),
    max_size=5,
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(FRAMES, st.lists(st.integers(0, 10_000), max_size=10))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames, cuts) -> None:
    stream = b"".join(wire.frame(kind, body) for kind, body in frames)
    decoder = wire.Decoder()
    assert [found for piece in pieces(stream, cuts) for found in decoder.feed(piece)] == frames


@given(FRAMES, st.integers(0, 10_000))
def test_a_stream_that_breaks_off_gives_the_whole_frames_before_that(frames, cut) -> None:
    stream = b"".join(wire.frame(kind, body) for kind, body in frames)
    found = list(wire.Decoder().feed(stream[: cut % (len(stream) + 1)]))
    assert found == frames[: len(found)]
    assert len(b"".join(wire.frame(kind, body) for kind, body in found)) <= cut % (len(stream) + 1)


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_a_frame_that_is_too_long_is_refused_before_it_is_read(most, more) -> None:
    decoder = wire.Decoder(most)
    head = wire.frame(wire.OUTPUT, b"x" * (most + more))[:5]
    with pytest.raises(wire.WireError, match="are the most"):
        list(decoder.feed(head))


def test_a_frame_that_is_too_long_is_not_made() -> None:
    with pytest.raises(wire.WireError, match="are the most"):
        wire.frame(wire.OUTPUT, b"x" * (wire.MOST_BYTES + 1))


@given(st.integers(0, 255), st.dictionaries(st.text().filter(lambda name: name != "kind"), JSON, max_size=5))
def test_messages_are_read_as_they_were_written(kind, said) -> None:
    [(found, body)] = wire.Decoder(2**20).feed(wire.message(kind, **said))
    assert (found, wire.fields(body)) == (kind, said)


@given(st.binary(max_size=100))
def test_bytes_that_no_letters_stand_for_survive(data) -> None:
    text = data.decode("utf-8", "surrogateescape")
    [(_, body)] = wire.Decoder().feed(wire.message(wire.LAUNCH, text=text))
    assert wire.fields(body)["text"].encode("utf-8", "surrogateescape") == data


@given(st.integers(0, 2**64 - 1), st.sampled_from(["stdout", "stderr"]), st.binary(max_size=1000))
def test_output_is_read_as_it_was_written(number, stream, data) -> None:
    [(kind, body)] = wire.Decoder().feed(wire.output(number, stream, data))
    assert kind == wire.OUTPUT
    assert wire.read_output(body) == (number, stream, data)


@given(st.binary(max_size=200))
def test_garbage_is_an_error_of_the_wire_and_no_other(data) -> None:
    decoder = wire.Decoder()
    for read in (lambda: list(decoder.feed(data)), lambda: wire.fields(data), lambda: wire.read_output(data)):
        try:
            read()
        except wire.WireError:
            pass


def test_deep_nesting_is_an_error_of_the_wire() -> None:
    with pytest.raises(wire.WireError, match="no JSON object"):
        wire.fields(b"[" * 100_000)


def shake(worker: wire.Handshake, driver: wire.Handshake) -> None:
    """Let both talk until neither has anything to say."""
    to_driver, to_worker = worker.opening(), driver.opening()
    while to_driver or to_worker:
        answers = [b"", b""]
        for place, (side, data) in enumerate(((driver, to_driver), (worker, to_worker))):
            for kind, body in wire.Decoder().feed(data):
                answers[place] += side.receive(kind, body)
        to_worker, to_driver = answers


@given(st.binary(min_size=1), st.text(max_size=50))
def test_equal_secrets_meet(secret, node) -> None:
    worker, driver = wire.WorkerHandshake(secret, node, {"pid": 7}), wire.DriverHandshake(secret)
    shake(worker, driver)
    assert worker.done
    assert driver.done
    assert driver.node == node
    assert driver.facts == {"pid": 7}


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
def test_different_secrets_never_meet(one, other) -> None:
    worker, driver = wire.WorkerHandshake(one, "n1", {}), wire.DriverHandshake(other)
    if one.ljust(64, b"\0") == other.ljust(64, b"\0"):
        return  # the same key, as HMAC fills up with zeros
    with pytest.raises(wire.Refused, match="the driver does not have this study's secret"):
        shake(worker, driver)
    assert not worker.done
    assert not driver.done


def test_a_worker_with_another_secret_is_refused_even_if_it_does_not_check_the_driver() -> None:
    class Careless(wire.WorkerHandshake):
        def _check(self, who, said) -> None:
            pass

    driver = wire.DriverHandshake(SECRET)
    with pytest.raises(wire.Refused, match="the worker does not have"):
        shake(Careless(b"guess", "n1", {}), driver)
    assert not driver.done


def test_the_drivers_own_proof_sent_back_proves_nothing() -> None:
    driver = wire.DriverHandshake(SECRET)
    worker = wire.WorkerHandshake(b"unknown", "n1", {})
    [(kind, body)] = wire.Decoder().feed(worker.opening())
    [(_, challenge)] = wire.Decoder().feed(driver.receive(kind, body))
    [(kind, body)] = wire.Decoder().feed(wire.message(wire.PROOF, proof=wire.fields(challenge)["proof"]))
    with pytest.raises(wire.Refused):
        driver.receive(kind, body)


def test_what_was_heard_once_proves_nothing_another_time() -> None:
    said: list[tuple[int, bytes]] = []

    class Overheard(wire.DriverHandshake):
        def receive(self, kind: int, body: bytes) -> bytes:
            said.append((kind, body))
            return super().receive(kind, body)

    shake(wire.WorkerHandshake(SECRET, "n1", {}), Overheard(SECRET))
    driver = wire.DriverHandshake(SECRET)
    driver.receive(*said[0])
    with pytest.raises(wire.Refused):
        driver.receive(*said[1])


@pytest.mark.parametrize("version", [0, 2, None, "1", [1]])
def test_another_version_is_refused_with_both_numbers(version) -> None:
    hello = json.dumps({"magic": "hpo-pilot", "version": version, "node": "n1", "nonce": "0" * 64})
    with pytest.raises(wire.Refused, match=r"version .* of the worker, and the driver has 1"):
        wire.DriverHandshake(SECRET).receive(wire.HELLO, hello.encode())


@given(WORDS)
def test_no_stranger_gets_in_by_any_words(frames) -> None:
    for side in (wire.DriverHandshake(SECRET), wire.WorkerHandshake(SECRET, "n1", {})):
        try:
            for kind, body in frames:
                side.receive(kind, body)
        except wire.WireError:
            pass
        assert not side.done


def test_the_reason_of_a_refusal_is_told() -> None:
    with pytest.raises(wire.WireError, match="it was refused: too old"):
        wire.WorkerHandshake(SECRET, "n1", {}).receive(wire.REFUSED, b'{"reason": "too old"}')
