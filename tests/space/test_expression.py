"""Relations: reading, printing, three-valued truth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core.exceptions import SpaceError
from hpo_core.space import Integer, Real, Values
from hpo_core.space import _expression as ex

FLAGS = ("--a", "--b", "-a", "--a-b", "--optimizer lr", "opt", "--use", "3x", "--not", "`odd\\", "--a in")
DOMAINS = {
    "--a": Real(0, 1), "--b": Integer(0, 9), "-a": Real(-9, 9), "--a-b": Integer(0, 9),
    "--optimizer lr": Real(0, 1),
    "opt": Values(["sgd", "adam"]), "--use": Values([True, False]),
}  # fmt: skip

literals = st.one_of(st.integers(-99, 99), st.floats(-1e9, 1e9), st.text(max_size=5), st.booleans())
flags = st.sampled_from(FLAGS).map(ex.Flag)
symbols = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
sums = st.recursive(
    st.one_of(flags, literals.map(ex.Literal)),
    lambda inner: st.one_of(
        st.builds(ex.Arithmetic, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner, inner),
        flags.map(ex.Negative),
    ),
    max_leaves=5,
)
relations = st.recursive(
    st.one_of(
        st.builds(ex.Comparison, symbols, sums, sums),
        st.builds(ex.Membership, st.sampled_from(["in", "not in"]), sums, st.lists(literals, max_size=3).map(tuple)),
        flags,
    ),
    lambda inner: st.one_of(
        inner.map(ex.Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: ex.And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: ex.Or(tuple(parts))),
    ),
    max_leaves=6,
)


@given(relations)
def test_printed_expressions_parse_to_themselves(expression):
    assert ex.parse(str(expression), FLAGS) == expression


def test_long_and_odd_flags_are_recognised():
    assert ex.parse("--a-b <= --a - -a", FLAGS).flags() == ("--a-b", "--a", "-a")
    assert ex.parse("--optimizer lr>0.1", FLAGS).flags() == ("--optimizer lr",)
    assert ex.parse("`3x` > 1", FLAGS).flags() == ("3x",)
    assert ex.parse("--a-1 < 2", FLAGS).flags() == ("--a",)
    assert ex.parse("`--a in` > 1", FLAGS).flags() == ("--a in",)


@pytest.mark.parametrize(
    ("text", "point", "truth"),
    [
        ("--a <= --b", {"--a": 1, "--b": 2}, True),
        ("--a + 2 * --b <= 10", {"--a": 1, "--b": 5}, False),
        ("2 + 3 * 2 == 8", {}, True),
        ("7 - 2 - 1 == 4", {}, True),
        ("-(--a) == -1", {"--a": 1}, True),
        ("0.1 <= --a < 0.5", {"--a": 0.5}, False),
        ("opt == 'sgd' and --a > 0.1", {"opt": "sgd", "--a": 0.2}, True),
        ("opt in ['sgd', \"adam\"]", {"opt": "adam"}, True),
        ("opt not in ['sgd']", {"opt": "sgd"}, False),
        ("not (opt == 'sgd' or --a > 1)", {"opt": "adam", "--a": 1}, True),
        ("--use and --a > 0", {"--use": True, "--a": 1}, True),
        ("--use == False", {"--use": True}, False),
        ("--b % 2 == 0", {"--b": 4}, True),
        ("--a > 1", {}, None),
        ("not --a > 1", {}, None),
        ("--a > 1 and --b > 1", {"--b": 0}, False),
        ("--a > 1 and --b > 1", {"--b": 2}, None),
        ("--a > 1 or --b > 1", {"--b": 2}, True),
        ("1 / --b > 1", {"--b": 0}, None),
        ("opt < 3", {"opt": "sgd"}, None),
    ],
)
def test_truth(text, point, truth):
    assert ex.parse(text, FLAGS).compiled()(point) is truth


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ("--a <= --max", "unknown word '--max'", 7),
        ("--a <= opr", "unknown word 'opr'. Did you mean 'opt'\\? A string is written 'opr'", 7),
        ("--a = 3", "'=' is not expected here. Equality is written '=='", 4),
        ("--a <", "the expression ends where a flag or a value is needed", 5),
        ("(--a < 3", "'\\)' is missing", 8),
        ("opt in sgd", "a list such as", 7),
        ("opt in [sgd]", "A string is written 'sgd'", 8),
        ("opt == 'sgd", "the closing ' is missing", 7),
        ("--a < 3 --b", "'--b' is not expected here; an operator is missing", 8),
        ("`nope` > 1", "unknown flag 'nope'", 0),
        ("--a and and", "'and' stands where", 8),
        ("--a > 1e999", "too large", 6),
    ],
)
def test_errors_show_the_place(text, message, caret):
    with pytest.raises(SpaceError, match=message) as caught:
        ex.parse(text, FLAGS)
    marked = str(caught.value).splitlines()[-1]
    assert marked.index("^") - 4 == caret


@pytest.mark.parametrize("text", ["", "   ", 3])
def test_an_empty_expression_is_refused(text):
    with pytest.raises(SpaceError):
        ex.parse(text, FLAGS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("opt < 3", "'opt' is text and '3' is a number"),
        ("opt == 3", "'opt' is text"),
        ("--a == 'x'", "is a number and"),
        ("opt + 1 < 2", "one cannot compute with"),
        ("opt == 'sdg'", "never is 'sdg'. Did you mean 'sgd'"),
        ("opt in ['adam', 'x']", "never is 'x'"),
        ("--use < 1", "no order"),
        ("--a", "is no relation"),
        ("--a and --b > 1", "a relation is needed"),
        ("--a + 1", "is no relation"),
    ],
)
def test_nonsense_is_refused_before_it_runs(text, message):
    with pytest.raises(SpaceError, match=message):
        ex.check_types(ex.parse(text, FLAGS), DOMAINS)
