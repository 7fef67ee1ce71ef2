"""The short forms of the command line."""

import pytest

from hpo_core.cli._grammar import parse_condition, parse_domain, parse_param, parse_setting, parse_value
from hpo_core.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("1e-5:1e-1:log", {"range": [1e-5, 1e-1], "log": True}),
        ("1:10", {"range": [1, 10]}),
        ("1:10:real:step=0.5:default=2", {"range": [1, 10], "type": "real", "step": 0.5, "default": 2}),
        ("-1:.5", {"range": [-1, 0.5]}),
        ("1.:10:int", {"range": [1.0, 10], "type": "integer"}),
        ("sgd,adam", {"values": ["sgd", "adam"]}),
        ("1,2.5,true,x", {"values": [1, 2.5, "true", "x"]}),
        ("sgd,adam:unordered:default=adam", {"values": ["sgd", "adam"], "ordered": False, "default": "adam"}),
        ("'a:b,c',\"d\"", {"values": ["a:b,c", "d"]}),
        ("it's,ok", {"values": ["it's", "ok"]}),
        ("5", {"values": [5]}),
        ("(a,b)", {"values": ["(a", "b)"]}),
    ],
)
def test_domains(text, table):
    found = parse_domain(text)
    assert found == table
    assert repr(found) == repr(table), "types too"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no values"),
        ("1:2:lgo", "'lgo' has no meaning behind a range .did you mean 'log'"),
        ("1:x", "'x' is no number"),
        ("a,b:log", "'log' has no meaning behind a list"),
        ("1:2:default", "no meaning"),
        ("(0, 1)", "looks like a range in Python; here that is 0:1$"),
        ("1-10", "'1-10' is one text; a range is written 1:10$"),
        ("0.5..2", "'0.5..2' is one text; a range is written 0.5:2$"),
        ("0.5, (1e-3,1)", "here that is 1e-3:1:default=0.5$"),
    ],
)
def test_mistakes_in_domains(text, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_domain(text)


def test_the_flag_stands_before_the_first_equals_sign():
    assert parse_param("--optimizer lr=1:2") == ("--optimizer lr", {"range": [1, 2]})
    with pytest.raises(ConfigurationError, match="FLAG=LOW:HIGH"):
        parse_param("--lr")


def test_conditions():
    assert parse_condition("--b if --a == 'x if y'") == {"flag": "--b", "when": "--a == 'x if y'"}
    assert parse_condition("--b=0.1:0.5 if --a > 2") == {"flag": "--b", "when": "--a > 2", "range": [0.1, 0.5]}
    assert parse_condition("--b=x,y if --a > 2") == {"flag": "--b", "when": "--a > 2", "values": ["x", "y"]}
    for text in ("--b", "--b if ", " if --a > 2", "--b=1:2:log if --a > 2"):
        with pytest.raises(ConfigurationError):
            parse_condition(text)


def test_settings():
    assert parse_setting("n_trials=3") == (("n_trials",), 3)
    assert parse_setting("strategy_options.grid_size=3") == (("strategy_options", "grid_size"), 3)
    assert parse_setting("params.--lr.default=0.1") == (("params", "--lr", "default"), 0.1)
    assert parse_setting("params.'a=b.c'.values=[1, 2]") == (("params", "a=b.c", "values"), [1, 2])
    assert parse_setting("name=a=b") == (("name",), "a=b")
    for text in ("n_trials", "=3", "a b=3"):
        with pytest.raises(ConfigurationError):
            parse_setting(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("3.0", 3.0), (".5", 0.5), ("true", True), ("bare word", "bare word"), ("'3'", "3"), ("007", "007"),
     ("2024-01-01", "2024-01-01"), ("{a = 1}", {"a": 1}), ("1_000", 1000), ("...", "...")],
)  # fmt: skip
def test_values_are_typed_as_in_toml(text, value):
    assert repr(parse_value(text)) == repr(value)


def test_what_begins_like_a_list_must_be_one():
    with pytest.raises(ConfigurationError, match="no TOML value"):
        parse_value("[1, 2")
