"""The line finder: every key of a TOML text has its line."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core.cli._lines import find_lines, line_of

TEXT = (
    '''\
# a comment with = and [brackets]
command = "a # no comment"
"n.trials" = 3
text = """
fake = 1
[fake]
"""
a.b.c = 1

[params]
"--lr" = { range = [1e-5, 1.0], log = true }
--bare = { values = ["x", "]", '}'],
           default = "x" }
'--literal' = 'it'''
    + """'
values = [
  1, # one
  "two",
]

[[conditions]]
flag = "--a"

[[conditions]]
flag = "--b"
when = '''
--a == "[x]"
'''
[conditions.deep]
x = 1

[strategy_options.inner]
size = 3
"""
)

TEXT = TEXT.replace(
    '--bare = { values = ["x", "]", \'}\'],\n           default', '--bare = { values = ["x", "]", \'}\'], default'
)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("command",), 2),
        (("n.trials",), 3),
        (("text",), 4),
        (("a", "b", "c"), 8),
        (("params",), 10),
        (("params", "--lr", "range"), 11),
        (("params", "--lr", "log"), 11),
        (("params", "--bare", "default"), 12),
        (("params", "--literal"), 13),
        (("params", "values", 1), 16),
        (("conditions", 0, "flag"), 20),
        (("conditions", 1, "flag"), 23),
        (("conditions", 1, "when"), 24),
        (("conditions", 1, "deep", "x"), 28),
        (("strategy_options",), 30),
        (("strategy_options", "inner", "size"), 31),
    ],
)
def test_each_key_has_its_line(path, line):
    tomllib.loads(TEXT)
    assert line_of(find_lines(TEXT), path) == line


def test_what_is_not_there_has_the_line_of_what_is_around_it():
    lines = find_lines(TEXT)
    assert line_of(lines, ("params", "--lr", "step")) == 11
    assert line_of(lines, ("nothing",)) is None
    assert ("fake",) not in lines


@given(st.text(alphabet="ab=.[]{}\"'\\,#\n \t1", max_size=60))
def test_no_text_makes_it_fail_and_valid_text_has_all_its_keys(text):
    lines = find_lines(text)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert {path[0] for path in lines} == set(values)


def test_escapes_in_quoted_keys_are_understood():
    assert find_lines('\n"a\\u002db" = 1\n') == {("a-b",): 2}
