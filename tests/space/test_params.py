"""Points of a space: laws that hold for every space, and the messages for wrong ones."""

import copy
import itertools
import json
import math
import os
import pickle
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_core import condition
from hpo_core.exceptions import SpaceError
from hpo_core.space import Integer, Params, Real, Values
from hpo_core.testing.spaces import spaces

seeds = st.integers(0, 10**6)
unit = st.one_of(st.floats(0, 1), st.just(math.nan), st.sampled_from([0.0, 1.0, -3.0, math.inf]))


def example():
    return Params(
        [
            ["--learning_rate", 1e-4, (1e-6, 1)],
            ["--dropout_rate", (0.1, 1)],
            ["--optimizer", "sgd", ["sgd", "gd", "adam"]],
        ]
    )


def test_the_published_example():
    params = example()
    shown = params.get_params()
    assert list(shown) == ["--learning_rate", "--dropout_rate", "--optimizer"]
    assert shown["--learning_rate"] == "0.0001"
    assert shown["--optimizer"] == "sgd"
    assert 0.1 <= float(shown["--dropout_rate"]) <= 1
    assert params.get_params() == shown
    assert params.get_ordered_param_when_valid() == list(params.flags)
    assert params.get_dependency_graph_as_str() == ""
    assert params.domains["--learning_rate"] == Real(1e-6, 1)
    assert dict(params.defaults) == {"--learning_rate": 1e-4, "--optimizer": "sgd"}
    assert params.size is None


@given(spaces(), seeds)
def test_draws_are_valid_and_their_text_reads_back(params, seed):
    point = params.draw(random.Random(seed))
    assert params.is_valid(point)
    assert params.canonical(point) == point
    assert list(point) == [flag for flag in params.flags if flag in point]
    texts = dict(zip(point, (text for text in params.render(point)), strict=True))
    for flag, text in texts.items():
        assert text.startswith(f"{flag}=")
    assert params.parse_text({flag: text[len(flag) + 1 :] for flag, text in texts.items()}) == point
    assert params.draw(random.Random(seed)) == point
    assert len(params.key(point)) == len(params)
    assert hash(params.key(point)) == hash(params.key(dict(reversed(point.items()))))


@settings(max_examples=40)
@given(spaces(), seeds)
def test_decode_undoes_encode(params, seed):
    point = params.draw(random.Random(seed))
    units = params.encode(point)
    assert [math.isnan(u) for u in units] == [flag not in point for flag in params.flags]
    assert all(math.isnan(u) or 0 <= u <= 1 for u in units)
    assert params.decode(units, random.Random(1)) == point


@settings(max_examples=40)
@given(spaces(), seeds, st.lists(unit, min_size=8, max_size=8))
def test_every_vector_decodes_to_a_valid_point(params, seed, units):
    assert params.is_valid(params.decode(units[: len(params)], random.Random(seed)))


@settings(max_examples=40)
@given(spaces(), seeds, st.sampled_from([None, 1, 3]))
def test_a_neighbour_is_valid_and_another_point(params, seed, count):
    rng = random.Random(seed)
    point = params.draw(rng)
    new = params.neighbour(point, rng, count=count)
    assert params.is_valid(new)
    if new == point:
        others = (params.draw(rng) for _ in range(20))
        assert all(other == point for other in others)


@settings(max_examples=40)
@given(spaces(), seeds)
def test_complete_keeps_a_valid_point_and_survives_any_part(params, seed):
    rng = random.Random(seed)
    point = params.draw(rng)
    assert params.complete(point, rng) == point
    other = params.draw(rng)
    mixed = {flag: rng.choice([point, other]).get(flag, "no value of this") for flag in params.flags}
    assert params.is_valid(params.complete(mixed, rng))
    assert params.is_valid(params.complete({}, rng))


@settings(max_examples=40)
@given(spaces(constraints=False), seeds)
def test_complete_keeps_all_that_is_active_and_possible(params, seed):
    rng = random.Random(seed)
    given_values = {flag: domain.draw(rng) for flag, domain in params.domains.items()}
    point = params.complete(given_values, rng)
    for flag in point:
        effective = params.domain(flag, point)
        if effective.contains(given_values[flag]):
            assert point[flag] == given_values[flag]


@settings(max_examples=40)
@given(spaces(), seeds)
def test_fixed_values_stay(params, seed):
    rng = random.Random(seed)
    point = params.draw(rng)
    flag = rng.choice(list(point))
    drawn = params.draw(rng, fixed={flag: point[flag]})
    assert params.is_valid(drawn)
    assert drawn.get(flag, point[flag]) == point[flag]


@given(spaces())
def test_the_baseline_has_the_defaults(params):
    point = params.baseline(random.Random(1))
    assert params.is_valid(point)
    for flag, value in params.defaults.items():
        if flag in point and params.domain(flag, point).contains(value):
            assert point[flag] == value


@settings(max_examples=40)
@given(spaces(), seeds)
def test_json_pickle_and_copy_give_the_space_back(params, seed):
    point = params.draw(random.Random(seed))
    for again in (
        Params.from_json(json.loads(json.dumps(params.to_json()))),
        pickle.loads(pickle.dumps(params)),
        copy.deepcopy(params),
    ):
        assert again == params
        assert params.difference(again) == []
        assert again.draw(random.Random(seed)) == point


@settings(max_examples=10)
@given(spaces(max_flags=200), seeds)
def test_large_spaces(params, seed):
    rng = random.Random(seed)
    point = params.draw(rng)
    assert params.is_valid(point)
    assert params.is_valid(params.neighbour(point, rng))
    assert params.decode(params.encode(point), rng) == point


@settings(max_examples=40)
@given(spaces(max_flags=4), st.integers(1, 3))
def test_a_grid_has_no_duplicates_and_goes_on_from_any_position(params, n):
    cursor = params.grid(n)
    seen = []
    for point in itertools.islice(cursor, 40):
        assert params.is_valid(point)
        seen.append(params.key(point))
        position = json.loads(json.dumps(cursor.position))
        after = [params.key(p) for p in itertools.islice(params.grid(n, position=position), 2)]
        ahead = [params.key(p) for p in itertools.islice(params.grid(n), len(seen), len(seen) + 2)]
        assert after == ahead
    assert len(set(seen)) == len(seen)


def test_the_grid_runs_the_last_flag_fastest():
    params = Params([["-a", -1.0, (-1.0, 1.0)], ["-b", ["x", "y", "z"]], ["-c", (0, 5)]])
    cursor = params.grid(2)
    assert cursor.total == 12
    assert cursor.position is None
    want = list(itertools.product((-1.0, 1.0), "xyz", (0, 5)))
    assert [tuple(p.values()) for p in cursor] == want
    assert list(cursor) == []
    assert list(params.grid(2, position=cursor.position)) == []


def test_a_conditional_grid_collapses_what_is_inactive():
    params = Params([["-c", (0, 1)], ["-a", ["x", "y"]]])
    params.add_conditions([condition.equals("-c", "-a", "x")])
    assert list(params.grid(2)) == [{"-c": 0, "-a": "x"}, {"-c": 1, "-a": "x"}, {"-a": "y"}]
    assert params.grid(2).total is None


def test_a_constrained_grid_leaves_out_what_is_not_allowed():
    params = Params([["--min", (0, 4)], ["--max", (0, 4)]])
    params.add_constraints(["--min <= --max"])
    points = [(p["--min"], p["--max"]) for p in params.grid(5)]
    assert points == [(a, b) for a in range(5) for b in range(a, 5)]
    for bad in ([0], [9, 9], ["a", "b"], [4, 0, 1]):
        with pytest.raises(SpaceError, match="no position"):
            params.grid(5, position=bad)
    with pytest.raises(SpaceError, match="at least 1"):
        params.grid(0)


def test_size_counts_points():
    assert Params([["-a", [1, 2]], ["-b", (0, 9)], ["-c", Real(0, 1, step=0.5)]]).size == 60
    assert Params([["-a", [1, 2]], ["-b", (0.0, 9.0)]]).size is None


def test_hard_constraints_are_met():
    params = Params([[f"--w{k}", (0.0, 1.0)] for k in range(6)])
    params.add_constraints([" + ".join(params.flags) + " <= 0.05", "--w0 > --w1"])
    for seed in range(5):
        assert sum(params.draw(random.Random(seed)).values()) <= 0.05
    drawn = [params.draw(random.Random(seed))["--w5"] for seed in range(40)]
    assert len(set(drawn)) > 35
    whole = Params([["--a", (0, 1000)], ["--b", (0, 1000)], ["--c", (0, 1000)]])
    whole.add_constraints(["--a + --b + --c == 1000", "--a % 8 == 0"])
    for seed in range(5):
        point = whole.draw(random.Random(seed))
        assert sum(point.values()) == 1000
        assert whole.is_valid(whole.neighbour(point, random.Random(seed)))


def test_draws_under_constraints_stay_uniform():
    params = Params([["--min", (0.0, 1.0)], ["--max", (0.0, 1.0)]])
    params.add_constraints(["--min <= --max"])
    rng = random.Random(1)
    drawn = [params.draw(rng) for _ in range(3000)]
    mean = sum(p["--max"] for p in drawn) / len(drawn)
    assert abs(mean - 2 / 3) < 0.02


def test_complete_mends_as_little_as_possible():
    params = Params([["--min", (0, 100)], ["--max", (0, 100)], ["--x", (0, 100)]])
    params.add_constraints(["--min <= --max"])
    point = params.complete({"--min": 52, "--max": 50, "--x": 7}, random.Random(1))
    assert point["--x"] == 7
    assert point in ({"--min": 50, "--max": 50, "--x": 7}, {"--min": 52, "--max": 52, "--x": 7})


def test_forbidden_combinations_do_not_occur():
    params = Params([["--opt", ["sgd", "adam"]], ["--lr", (0.0, 1.0)]])
    params.add_forbidden(["--opt == 'sgd' and --lr > 0.1"])
    for seed in range(200):
        point = params.draw(random.Random(seed))
        assert point["--opt"] == "adam" or point["--lr"] <= 0.1
    with pytest.raises(SpaceError, match=r"not allowed: .* --lr > 0.1.*--opt='sgd', --lr=0.5"):
        params.canonical({"--opt": "sgd", "--lr": 0.5})


def test_an_impossible_space_names_its_constraints():
    params = Params([["--a", (0, 4)], ["--b", (0, 4)]])
    params.add_constraints(["--a > --b", "--b > --a"])
    with pytest.raises(SpaceError, match=r"required: --a > --b|required: --b > --a"):
        params.check()


def test_defaults_that_violate_a_constraint_are_refused():
    params = Params([["--a", 3, (0, 4)], ["--b", 1, (0, 4)], ["--c", (0, 4)]])
    params.add_constraints(["--a < --b"])
    with pytest.raises(SpaceError, match=r"the defaults violate .*--a < --b.* with --a=3, --b=1"):
        params.check()


def test_a_default_that_a_condition_excludes_is_drawn():
    params = Params([["--a", "x", ["x", "y"]], ["--b", 9, (0, 9)]])
    params.add_conditions([condition.equals("--b", "--a", "x", (0, 3))])
    params.check()
    assert params.baseline(random.Random(1))["--b"] <= 3


def test_canonical_types_and_rounds():
    params = Params([["--n", 8, (1, 64)], ["--lr", (0.0, 1.0)], ["--s", Real(0, 1, step=0.1)]])
    point = params.canonical({"--s": 0.1 + 0.2, "--lr": 1 / 3, "--n": 8.0})
    assert list(point.items()) == [("--n", 8), ("--lr", 0.33333333), ("--s", 0.3)]
    assert type(point["--n"]) is int
    assert params.render(point) == ["--n=8", "--lr=0.33333333", "--s=0.3"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"--a": "x", "--b": 3, "--bb": 1}, "unknown flag '--bb'. Did you mean '--b'"),
        ({"--a": "x"}, "--b is active and has no value"),
        ({"--a": "y", "--b": 3}, "--b has a value but is inactive here \\(--b \\| --a == 'x'\\)"),
        ({"--a": "z"}, "--a: 'z' is not one of \\['x', 'y'\\]"),
        ({"--a": "x", "--b": 99}, "--b: 99 is outside \\(0, 9\\)"),
        ({"--a": "x", "--b": "3"}, "--b: '3' is a str; a whole number"),
        ({"--a": "x", "--b": 8}, "violates a constraint \\(required: --b < 8\\) with --b=8"),
    ],
)
def test_what_is_no_point_is_refused(values, message):
    params = Params([["--a", ["x", "y"]], ["--b", (0, 9)]])
    params.add_conditions([condition.equals("--b", "--a", "x")])
    params.add_constraints(["--b < 8"])
    assert not params.is_valid(values)
    with pytest.raises(SpaceError, match=message):
        params.canonical(values)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ([], "Params is empty"),
        ("--lr", "takes a list of lists"),
        ({"--lr": (0, 1)}, "takes a list of lists"),
        (["--lr"], "element 1 of Params is '--lr'; write \\[flag"),
        ([["--lr"]], "element 1 .* write"),
        ([["--a", 1, 2, 3]], "element 1 .* write"),
        ([[3, (0, 1)]], "starts with 3; a flag"),
        ([["", (0, 1)]], "empty flag"),
        ([["--a\n", (0, 1)]], "line breaks"),
        ([["--a\0b", (0, 1)]], "NUL"),
        ([["--a\ud800", (0, 1)]], "half a character"),
        ([[" --a", (0, 1)]], "write '--a'"),
        ([["--a", (0, 1)], ["--a", (0, 2)]], "--a: this flag is there twice"),
        ([["--a", 2, (0, 1)]], "--a: the default does not fit: 2 is outside \\(0, 1\\)"),
        ([["--a", "x", (0, 1)]], "--a: the default does not fit: 'x' is a str"),
        ([["--a", "x", ["y"]]], "--a: the default does not fit: 'x' is not one of"),
        ([["--a", True, (0, 1)]], "--a: the default does not fit: True is a bool"),
        ([["--a", None, (0, 1)]], "--a: the default None is no value"),
        ([["--a", (0, 1), [1, 2]]], "--a: the second of three elements is the default"),
        ([["--a", 3, Integer(0, 8, step=2)]], "--a: the default 3 is off the grid; the nearest value is 4"),
        ([["--a", (1, 0)]], "--a: the bounds \\(1, 0\\) are reversed"),
        ([["--a", []]], "--a: the list of values is empty"),
        ([["--a", 5]], "--a: 5 is an int; write \\(low, high\\)"),
    ],
)
def test_bad_elements_are_refused_with_the_flag_and_the_reason(elements, message):
    with pytest.raises(SpaceError, match=message):
        Params(elements)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--a <= --bb", "unknown word '--bb'"),
        ("--a", "no relation"),
        ("1 < 2", "names no flag"),
        (3, "is a string"),
    ],
)
def test_bad_constraints_are_refused_and_nothing_is_added(text, message):
    params = Params([["--a", (0, 1)], ["--b", (0, 1)]])
    for add in (params.add_constraints, params.add_forbidden):
        with pytest.raises(SpaceError, match=message):
            add(["--a <= --b", text])
    assert params.constraints == params.forbidden == ()


def test_other_misuse_is_refused():
    params = example()
    rng = random.Random(1)
    for call, message in (
        (lambda: params.decode([0.5], rng), "1 numbers cannot be decoded for 3 flags"),
        (lambda: params.draw(rng, fixed={"--lr": 1}), "unknown flag '--lr'"),
        (lambda: params.draw(rng, fixed={"--optimizer": "x"}), "--optimizer: 'x' is not"),
        (lambda: params.complete({"--optimiser": "sgd"}, rng), "Did you mean '--optimizer'"),
        (lambda: params.parse_text({"--learning_rate": "x"}), "--learning_rate: 'x' is no number"),
        (lambda: params.domain("--lr", {}), "unknown flag"),
        (lambda: Params.from_json({"params": [{}]}), "does not describe"),
    ):
        with pytest.raises(SpaceError, match=message):
            call()


def test_differences_are_told():
    old = Params([["--a", 1, (0, 9)], ["--b", (0, 9)], ["--o", ["x", "y"]]])
    new = Params([["--a", 2, (0, 8)], ["--o", ["x", "y"]], ["--c", (0, 9)]])
    new.add_conditions([condition.equals("--a", "--o", "x")])
    new.add_constraints(["--c > 1"])
    assert old.difference(new) == [
        "--b is gone",
        "--c is new",
        "--a was Integer(low=0, high=9, log=False, step=1) and is Integer(low=0, high=8, log=False, step=1)",
        "the default of --a was 1 and is 2",
        "the condition '--a | --o == 'x'' is new",
        "the constraint (required: --c > 1) is new",
    ]
    swapped = Params([["--b", (0, 9)], ["--a", 1, (0, 9)], ["--o", ["x", "y"]]])
    assert old.difference(swapped) == ["the order of the flags was --a, --b, --o and is --b, --a, --o"]
    assert Params([["--a", [1, 2]]]) != Params([["--a", [1.0, 2.0]]])


def test_flags_are_opaque_text():
    params = Params([["--optimizer lr", 0.001, (1e-6, 1)], ["100%", Values([True, False])]])
    params.add_constraints(["--optimizer lr < 0.5", "`100%`"])
    assert params.render(params.baseline(random.Random(1))) == ["--optimizer lr=0.001", "100%=True"]
    assert Params.from_json(params.to_json()) == params


def test_importing_the_space_is_cheap():
    code = (
        "import sys, hpo_core.space as s, random\n"
        "s.Params([['-a', (0, 1)]]).draw(random.Random(1))\n"
        "bad = {'numpy', 'networkx', 'scipy', 'pandas'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
