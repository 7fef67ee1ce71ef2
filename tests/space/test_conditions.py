"""Conditions, their graph, and what they do to points."""

import random

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_core import condition
from hpo_core.exceptions import CyclicConditionError, SpaceError
from hpo_core.space import Integer, Params, Real
from hpo_core.testing.spaces import spaces


def seven():
    """The published example."""
    params = Params([[f"-{c}", 1.0, (1, 10.0)] for c in "abcdefg"])
    conditions = [
        condition.greater_than("-b", "-a", 2),
        condition.greater_than("-b", "-c", 3),
        condition.less_than("-f", "-d", 2),
        condition.less_than("-e", "-b", 4),
        condition.less_than("-a", "-g", 5),
        condition.less_than("-c", "-g", 5),
    ]
    params.add_conditions(conditions)
    return params


def test_the_published_example():
    params = seven()
    assert params.get_ordered_param_when_valid() == ["-d", "-f", "-g", "-a", "-c", "-b", "-e"]
    assert (
        params.get_dependency_graph_as_str()
        == "-b | -a > 2;-b | -c > 3;-f | -d < 2;-e | -b < 4;-a | -g < 5;-c | -g < 5"
    )
    assert params.get_params() == {f"-{c}": "1" for c in "abcdefg"}
    assert params.baseline(random.Random(1)) == {"-a": 1, "-c": 1, "-d": 1, "-f": 1, "-g": 1}
    for seed in range(200):
        point = params.draw(random.Random(seed))
        assert list(point) == sorted(point)
        assert ("-a" in point) == ("-c" in point) == (point["-g"] < 5)
        assert ("-b" in point) == (point.get("-a", 0) > 2 and point.get("-c", 0) > 3)
        assert ("-e" in point) == (point.get("-b", 9) < 4)
        assert ("-f" in point) == (point["-d"] < 2)
    params.check()


def test_graph_methods_take_networkx_graphs():
    params = seven()
    assert params.detect_cycle(params.get_dependency_graph()) is False
    own = nx.DiGraph([("-b", "-a"), ("-a", "x"), ("-c", "-b")])
    assert params.serialize_graph(own) == ["-c", "-b", "-a", "x"]
    own.add_edge("x", "-b")
    assert params.detect_cycle(own) is True
    with pytest.raises(CyclicConditionError) as caught:
        params.serialize_graph(own)
    assert caught.value.cycle == ("-a", "x", "-b")


def test_a_cycle_can_be_looked_at_and_not_used():
    params = Params([[f"-{c}", (0.0, 1.0)] for c in "abc"])
    params.add_conditions([condition.less_than("-a", "-b", 1), condition.less_than("-b", "-a", 1)])
    assert params.detect_cycle(params.get_dependency_graph())
    assert params.get_dependency_graph_as_str() == "-a | -b < 1;-b | -a < 1"
    for use in (params.check, params.get_ordered_param_when_valid, lambda: params.draw(random.Random(1))):
        with pytest.raises(CyclicConditionError, match="-a -> -b -> -a") as caught:
            use()
        assert caught.value.cycle == ("-a", "-b")


@given(st.integers(2, 12), st.data())
def test_any_cycle_is_found(size, data):
    order = data.draw(st.permutations([f"-p{k}" for k in range(size)]))
    params = Params([[f"-p{k}", (0.0, 1.0)] for k in range(size)])
    edges = list(zip(order, order[1:] + order[:1], strict=True))
    extra = data.draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=5))
    edges += [(order[min(e)], order[max(e)]) for e in extra if e[0] != e[1]]
    params.add_conditions([condition.less_than(b, a, 0.5) for a, b in edges])
    with pytest.raises(CyclicConditionError) as caught:
        params.check()
    cycle = caught.value.cycle
    assert all(step in edges for step in zip(cycle, cycle[1:] + cycle[:1], strict=True))


@settings(max_examples=50)
@given(spaces(max_flags=30))
def test_parents_come_first(params):
    order = params.get_ordered_param_when_valid()
    assert sorted(order) == sorted(params.flags)
    for parent, dependent in params.get_dependency_graph().edges:
        assert order.index(parent) < order.index(dependent)


def test_condition_works_by_itself():
    c = condition.Condition("-b", "-a", 2, operator=">")
    assert (c.dependent_param, c.parent_param, c.parent_param_value) == ("-b", "-a", 2)
    assert (c.dependent_param_value, c.operator, str(c)) == (None, ">", "-b | -a > 2")
    assert condition.equals("-b", "-a", 1).operator == "=="
    assert condition.not_equals("-b", "-a", 1).operator == "!="
    assert condition.inside("-b", "-a", [1, 2]).operator == "in"
    assert condition.Condition("-b", "-a", 2).operator == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "int"), (1.5, "float"), ("x", "str"), (True, "bool"), (["a"], "list(str)"), ([1, 2], "list(int)"),
     ([1, "a"], "list(int, str)"), ([], "list"), ((1.0, 2.0), "tuple(float)")],
)  # fmt: skip
def test_type_as_str(value, text):
    assert condition.Condition("-b", "-a", 1).type_as_str(value) == text


@pytest.mark.parametrize(("spec", "good"), [(0.5, {0.5}), ([0.25, 0.5], {0.25, 0.5}), ((0.2, 0.3), None)])
def test_the_dependent_is_restricted_while_the_condition_holds(spec, good):
    params = Params([["-b", (0.0, 1.0)], ["-a", ["x", "y"]]])
    params.add_conditions(
        [condition.any_of(condition.equals("-b", "-a", "x", spec), condition.equals("-b", "-a", "y"))]
    )
    seen = set()
    for seed in range(300):
        point = params.draw(random.Random(seed))
        assert params.canonical(point) == point
        seen |= {(point["-a"], point["-b"])}
    free = [b for a, b in seen if a == "y"]
    held = {b for a, b in seen if a == "x"}
    assert max(free) > 0.9
    assert held == good if good else all(0.2 <= b <= 0.3 for b in held)
    with pytest.raises(SpaceError, match="-b"):
        params.canonical({"-b": 0.9, "-a": "x"})


def test_a_condition_says_whether_it_restricts_values():
    free, bound = condition.equals("-b", "-a", "x"), condition.when("-b", "-a == 'y'", (0.0, 0.5))
    assert not free.restricts
    assert bound.restricts
    assert (free | bound).restricts
    assert not (free & condition.when("-b", "-c > 1")).restricts


def test_several_restrictions_intersect():
    params = Params([["-a", (0, 9)], ["-b", (0, 9)]])
    params.add_conditions([condition.when("-b", "-a >= 0", (2, 6)), condition.when("-b", "-a >= 5", (5, 9))])
    assert params.domain("-b", {"-a": 7}) == Integer(5, 6)
    assert params.domain("-b", {"-a": 3}) is None
    assert {params.draw(random.Random(k)).get("-b", 5) for k in range(200)} == {5, 6}


def test_restrictions_that_leave_nothing_are_avoided():
    params = Params([["-a", (0, 9)], ["-b", (0, 9)]])
    low = condition.when("-b", "-a >= 0", (0, 3))
    high = condition.any_of(condition.when("-b", "-a >= 5", (6, 9)), condition.when("-b", "-a < 5"))
    params.add_conditions([low, high])
    assert all(params.draw(random.Random(k))["-a"] < 5 for k in range(100))
    with pytest.raises(SpaceError, match="leave no value"):
        params.domain("-b", {"-a": 7})


def test_any_of_all_of_and_operators():
    a, b = condition.equals("-c", "-a", "x"), condition.equals("-c", "-b", "x")
    for rule, want in (
        (a | b, lambda p: "x" in (p["-a"], p["-b"])),
        (a & b, lambda p: p["-a"] == p["-b"] == "x"),
    ):
        params = Params([["-a", ["x", "y"]], ["-b", ["x", "y"]], ["-c", (0.0, 1.0)]])
        params.add_conditions([rule])
        assert params.get_dependency_graph_as_str().startswith("-c | (-a == 'x') ")
        for seed in range(50):
            point = params.draw(random.Random(seed))
            assert ("-c" in point) == want(point)


def test_when_an_inactive_parent_is_named_the_flag_is_inactive():
    params = Params([["-a", ["x", "y"]], ["-b", (0, 9)], ["-c", (0, 9)]])
    params.add_conditions([condition.equals("-b", "-a", "x"), condition.when("-c", "not (-b > 20)")])
    for seed in range(30):
        point = params.draw(random.Random(seed))
        assert ("-c" in point) == ("-b" in point)


def test_a_narrow_restriction_shows_all_its_digits():
    params = Params([["-a", ["x", "y"]], ["-b", 0.5, (0.0, 1.0)]])
    params.add_conditions([condition.equals("-b", "-a", "x", (0.5, 0.500000001))])
    for seed in range(50):
        point = params.draw(random.Random(seed))
        texts = dict(t.split("=") for t in params.render(point))
        assert params.parse_text(texts) == point
        if "-b" in point:
            assert 0.5 <= float(texts["-b"]) <= 0.500000001
    assert Real(0, 1) != params.domains["-b"]
    assert Params.from_json(params.to_json()) == params


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: condition.equals("-b", "-aa", 1), "unknown flag '-aa'. Did you mean '-a'"),
        (lambda: condition.equals("-q", "-a", 1), "unknown flag '-q'"),
        (lambda: condition.equals("-a", "-a", 1), "depend on itself"),
        (lambda: condition.when("-a", "-b > 1 and -a > 1"), "depend on itself"),
        (lambda: condition.when("-a", "-zz > 1"), "unknown word '-zz'"),
        (lambda: condition.greater_than("-b", "-o", 2), "text"),
        (lambda: condition.equals("-b", "-o", "adm"), "Did you mean 'adam'"),
        (lambda: condition.equals("-b", "-a", 1, (0, 99)), "-b: the condition .* reaches outside"),
        (lambda: condition.equals("-b", "-a", 1, 99), "names 99"),
        (lambda: condition.Condition("-b", "-a", 1), "has no operator"),
        (lambda: condition.Condition("-b", "-a", 1, operator="=~"), "operator '=~' is unknown"),
        (lambda: condition.inside("-b", "-a", 1), "needs a list"),
        (lambda: condition.equals("-b", "-a", [1]), "compares with one value"),
        (lambda: condition.when("-b", 3), "needs an expression"),
        (lambda: condition.any_of(), "at least one"),
        (
            lambda: condition.any_of(condition.equals("-b", "-a", 1), condition.equals("-o", "-a", 1)),
            "one flag",
        ),
        (lambda: "-b | -a", "is no condition"),
    ],
)
def test_bad_conditions_are_refused_and_nothing_is_added(make, message):
    params = Params([["-a", (0, 9)], ["-b", (0, 9)], ["-o", ["sgd", "adam"]]])
    with pytest.raises(SpaceError, match=message):
        params.add_conditions([condition.equals("-b", "-o", "sgd"), make()])
    assert params.conditions == ()
