"""What one hyperparameter may be."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core.exceptions import SpaceError
from hpo_core.space import Domain, Integer, Real, Values, domain_from
from hpo_core.testing.spaces import domains, reals

units = st.floats(0, 1)
seeds = st.integers(0, 10**6)


@given(domains(), seeds)
def test_drawn_values_are_canonical_and_their_text_is_in_bounds(domain, seed):
    value = domain.draw(random.Random(seed))
    assert domain.contains(value)
    assert domain.canonical(value) == value
    assert domain.parse(domain.text(value)) == value
    if isinstance(domain, (Real, Integer)):
        assert domain.low <= float(domain.text(value)) <= domain.high


@given(domains(), units)
def test_every_place_has_a_value_which_remembers_its_place(domain, u):
    value = domain.from_unit(u)
    assert domain.canonical(value) == value
    assert 0 <= domain.to_unit(value) <= 1
    assert domain.from_unit(domain.to_unit(value)) == value
    assert domain.from_code(domain.code(value)) == value


@given(reals(), units)
def test_any_real_in_the_bounds_becomes_what_its_text_says(domain, u):
    x = min(max(domain.low + u * (domain.high - domain.low), domain.low), domain.high)
    value = domain.canonical(x)
    assert domain.low <= value <= domain.high
    assert float(domain.text(value)) == value
    assert domain.canonical(value) == value
    assert domain.from_unit(domain.to_unit(value)) == value


@given(st.floats(-1, 1))
def test_values_near_zero_survive_coding_where_the_range_crosses_zero(x):
    domain = Real(-1, 1)
    value = domain.canonical(x)
    assert float(domain.text(value)) == value
    assert domain.from_unit(domain.to_unit(value)) == value


@given(domains(), units, units)
def test_from_unit_rises(domain, u, v):
    u, v = min(u, v), max(u, v)
    a, b = domain.from_unit(u), domain.from_unit(v)
    if isinstance(domain, Values):
        assert domain.values.index(a) <= domain.values.index(b)
    else:
        assert a <= b


@given(domains(), seeds, st.sampled_from([1e-9, 0.1, 3.0]))
def test_a_neighbour_is_another_value(domain, seed, scale):
    rng = random.Random(seed)
    value = domain.draw(rng)
    new = domain.neighbour(value, rng, scale)
    assert domain.contains(new)
    if domain.size != 1:
        assert new != value or domain.size is None


@given(domains(), st.integers(1, 30))
def test_a_grid_is_distinct_sorted_and_has_both_bounds(domain, n):
    grid = domain.grid(n)
    assert len(set(grid)) == len(grid)
    assert all(domain.canonical(v) == v for v in grid)
    if isinstance(domain, Values):
        assert grid == domain.values
        return
    assert list(grid) == sorted(grid)
    assert len(grid) <= n
    assert grid[0] == domain.from_unit(0)
    if n > 1:
        assert grid[-1] == domain.from_unit(1)


@given(domains())
def test_json_gives_the_domain_back(domain):
    assert Domain.from_json(json.loads(json.dumps(domain.to_json()))) == domain
    assert hash(Domain.from_json(domain.to_json())) == hash(domain)


@given(domains(), seeds)
def test_a_restriction_is_inside(domain, seed):
    rng = random.Random(seed)
    a, b = domain.draw(rng), domain.draw(rng)
    assert domain.restrict(a).draw(rng) == a
    assert domain.restrict([a, b]).draw(rng) in (a, b)
    if isinstance(domain, (Real, Integer)):
        low, high = min(a, b), max(a, b)
        part = domain.restrict((low, high))
        assert low <= part.draw(rng) <= high
        assert part.contains(a)
        assert part.contains(b)


@pytest.mark.parametrize(
    ("domain", "value", "text"),
    [
        (Real(0, 2000), 1024.0, "1024"),
        (Real(-1, 1), 1, "1"),
        (Real(-1, 1), -0.0, "0"),
        (Real(-1, 1), 0.997763781234, "0.99776378"),
        (Real(-1, 1), -0.00028196877, "-0.00028196877"),
        (Real(1e-6, 1), 0.00099883403, "0.00099883403"),
        (Real(1 / 3, 2 / 3), 1 / 3, "0.33333334"),
        (Real(1 / 3, 2 / 3), 2 / 3, "0.66666666"),
        (Real(0, 1, step=0.1), 0.30000000000000004, "0.3"),
        (Integer(8, 128), 27, "27"),
        (Integer(8, 128), 27.0, "27"),
        (Values([1e-5, 0.001, 1.0]), 1e-5, "1e-05"),
        (Values([1e-5, 0.001, 1.0]), 1.0, "1.0"),
        (Values([True, False]), True, "True"),
        (Values(["a b", "x"]), "a b", "a b"),
    ],
)
def test_texts(domain, value, text):
    assert domain.text(value) == text


def test_narrow_ranges_get_more_digits():
    assert Real(0, 1).digits == 8
    narrow = Real(1, 1 + 1e-9)
    assert len({narrow.draw(random.Random(k)) for k in range(100)}) > 90
    exact = Real(1, 1 + 1e-15)
    assert {exact.draw(random.Random(k)) for k in range(99)} == {1 + k * 2**-52 for k in range(6)}


def test_bounds_are_reached_exactly():
    for domain in (Real(-1, 1), Real(1e-6, 1, log=True), Real(1e-6, 1)):
        assert domain.from_unit(0) == domain.low
        assert domain.from_unit(1) == domain.high
    assert Real(-1, 1).grid(2) == (-1.0, 1.0)
    assert Real(1e-4, 1e-1, log=True).grid(4) == (1e-4, 1e-3, 1e-2, 1e-1)
    assert Integer(0, 4000).grid(10) == (0, 444, 889, 1333, 1778, 2222, 2667, 3111, 3556, 4000)
    assert Integer(1, 3).grid(99) == (1, 2, 3)
    assert Real(0, 1, step=0.25).grid(9) == (0, 0.25, 0.5, 0.75, 1)
    assert Real(0, 1).grid(1) == (0.0,)


def test_log_draws_are_spread_over_the_decades():
    rng = random.Random(1)
    domain = Real(1e-6, 1, log=True)
    share = sum(domain.draw(rng) < 1e-3 for _ in range(2000)) / 2000
    assert 0.45 < share < 0.55
    whole = Integer(1, 1000, log=True)
    assert 0.3 < sum(whole.draw(rng) <= 10 for _ in range(2000)) / 2000 < 0.5


def test_integers_are_drawn_evenly():
    rng = random.Random(1)
    drawn = [Integer(1, 4).draw(rng) for _ in range(4000)]
    assert all(850 < drawn.count(k) < 1150 for k in range(1, 5))


def test_ordered_values_move_near_and_unordered_ones_anywhere():
    rng = random.Random(1)
    near = [Values(list(range(100))).neighbour(20, rng, 0.02) for _ in range(300)]
    assert max(abs(v - 20) for v in near) < 12
    anywhere = [Values(list(range(100)), ordered=False).neighbour(20, rng, 0.02) for _ in range(300)]
    assert max(anywhere) > 90
    assert 20 not in near + anywhere


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Real(2, 1), "reversed; write \\(1, 2\\)"),
        (lambda: Real(1, 1), "equal; for a single value write the list \\[1\\]"),
        (lambda: Real(math.nan, 1), "not a finite number"),
        (lambda: Real(0, math.inf), "not a finite number"),
        (lambda: Real(0, 1, log=True), "lower bound above 0"),
        (lambda: Real(0, 1, step=0), "not positive"),
        (lambda: Real(0, 1, step=2), "larger than the range"),
        (lambda: Real(1, 2, step=0.5, log=True), "cannot be combined"),
        (lambda: Real(True, 2), "a bool; a number is needed"),
        (lambda: Real("0", 1), "a str; a number is needed"),
        (lambda: Real(-1.7e308, 1.7e308), "too wide"),
        (lambda: Real(0, 10**400), "too large"),
        (lambda: Real(0, 1, digits=99), "from 1 to 17"),
        (lambda: Integer(0, 2**53 + 1), "beyond 2\\*\\*53"),
        (lambda: Integer(0, 1.5), "no whole number"),
        (lambda: Integer(0, 10, step=0), "not positive"),
        (lambda: Integer(0, 10, step=11), "larger than the range"),
        (lambda: Integer(0, 10, log=True), "at least 1"),
        (lambda: Integer(-(2**53), 2**53), "more than 2\\*\\*50"),
        (lambda: Integer(False, 10), "a bool; a number is needed"),
        (lambda: Values([]), "is empty"),
        (lambda: Values(["a", "b", "a"]), "'a' is a duplicate"),
        (lambda: Values([1, 1.0]), "1.0 is a duplicate of 1 "),
        (lambda: Values([1, "1"]), "'1' is a duplicate of 1 "),
        (lambda: Values([None]), "is None; a list holds"),
        (lambda: Values([math.nan]), "write it as a string, 'nan'"),
        (lambda: Values("abc"), "no list of values"),
        (lambda: Values(["a\0"]), "NUL"),
        (lambda: Values(["a", "\udcff"]), r"'\\udcff' has half a character"),
        (lambda: domain_from((1, 2, 3)), "has 3 elements"),
        (lambda: domain_from(("a", "b")), "a choice is a \\[list\\]"),
        (lambda: domain_from({1, 2}), "is a set; write"),
        (lambda: Real(0, 1).canonical(2), "2 is outside \\(0, 1\\)"),
        (lambda: Real(0, 1).canonical("0.5"), "a str; a number"),
        (lambda: Integer(0, 9).canonical(1.5), "no whole number"),
        (lambda: Values(["a"]).canonical("b"), "not one of \\['a'\\]"),
        (lambda: Real(0, 1).restrict((0, 2)), "reaches outside \\(0, 1\\)"),
        (lambda: Real(0, 1).restrict((0.5, 0.1)), "reversed"),
        (lambda: Integer(0, 9).restrict([3, 10]), "10, which is not in"),
        (lambda: Values(["a"]).restrict("b"), "'b', which is not in"),
        (lambda: Real(0, 1).restrict([]), "empty list"),
        (lambda: Real(0, 1).grid(0), "at least 1"),
        (lambda: Domain.from_json({"type": "set"}), "unknown"),
        (lambda: Domain.from_json({}), "does not describe"),
    ],
)
def test_bad_input_is_refused_with_the_reason(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


def test_the_published_forms():
    assert domain_from((1, 10)) == Integer(1, 10)
    assert domain_from((1, 10), 1.0) == Real(1, 10)
    assert domain_from((1, 10.0), 1) == Real(1, 10)
    assert domain_from([1, 2]) == Values([1, 2])
    assert domain_from(Integer(1, 2)) == Integer(1, 2)


def test_numpy_scalars_are_taken_as_numbers():
    numpy = pytest.importorskip("numpy")
    assert type(Values([numpy.float64(0.5), numpy.int64(2)]).values[1]) is int
    assert domain_from((numpy.int64(1), numpy.int32(5))) == Integer(1, 5)
    assert Values([1, 2]) != Values([1.0, 2.0])


def test_stepped_values_survive_a_sub_range():
    part = Real(1 / 3, 5, step=1 / 3).restrict((1, 2))
    assert part.values == (1.0, 1.3333333, 1.6666667, 2.0)
