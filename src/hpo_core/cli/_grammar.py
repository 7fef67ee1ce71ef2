"""Short forms on the command line: ``--param``, ``--condition``, ``--set``.

    FLAG=LOW:HIGH[:log][:step=S][:int|:real][:default=V]      a range
    FLAG=V1,V2,V3[:unordered][:default=V]                     a list of values
    FLAG[=LOW:HIGH | =V1,V2] if EXPRESSION                    a condition, with what the flag may be then
    KEY=VALUE                                                 any key of a study file, tables with dots

Values are typed as in TOML; what is no TOML value is text. Quotes keep ``,`` and ``:`` in a value. A range is one of
integers if both bounds (and step and default) are written as integers.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from hpo_core._words import did_you_mean
from hpo_core.exceptions import ConfigurationError

_RANGE_WORDS = ("log", "int", "real", "step=", "default=")
_LIST_WORDS = ("ordered", "unordered", "default=")
_PYTHON_RANGE = re.compile(r"(?P<default>[^'\"(]*)\((?P<low>[^,()]+),(?P<high>[^,()]+)\)\s*")
_DASHED_RANGE = re.compile(r"\s*(?P<low>\d+(?:\.\d*)?)\s*(?:-|\.\.)\s*(?P<high>\d+(?:\.\d*)?)\s*")
_TYPES = {"int": "integer", "integer": "integer", "real": "real"}


def parse_param(text: str) -> tuple[str, dict[str, Any]]:
    """A flag and its table as in a study file's ``[params]``.

    Raises:
        ConfigurationError: the text is not of this form.
    """
    flag, equals, body = text.partition("=")
    if not equals or not flag.strip():
        raise ConfigurationError("write FLAG=LOW:HIGH or FLAG=V1,V2, such as '--lr=1e-5:1e-1:log'")
    return flag.strip(), parse_domain(body)


def parse_domain(body: str) -> dict[str, Any]:
    """The table that a short form stands for, such as ``1e-5:1e-1:log``.

    Raises:
        ConfigurationError: the text is not of this form.
    """
    fields = _split(body, ":")
    if not fields[0].strip():
        raise ConfigurationError("there are no values; write LOW:HIGH or V1,V2,V3")
    if len(fields) > 1 and _is_number(fields[0]) and _is_number(fields[1]):
        table = {"range": [parse_value(fields[0]), parse_value(fields[1])]}
        return table | _range_words(fields[2:])
    if len(fields) > 1 and _is_number(fields[0]) and "," not in fields[0] and not _is_list_word(fields[1]):
        raise ConfigurationError(f"'{fields[1]}' is no number; a range is LOW:HIGH")
    _refuse_other_ranges(body)
    table = {"values": [as_written(parse_value(item)) for item in _split(fields[0], ",")]}
    return table | _list_words(fields[1:])


def _refuse_other_ranges(body: str) -> None:
    dashed = _DASHED_RANGE.fullmatch(body)
    if dashed:
        raise ConfigurationError(f"'{body.strip()}' is one text; a range is written {dashed['low']}:{dashed['high']}")
    found = _PYTHON_RANGE.fullmatch(body)
    if found and _is_number(found["low"]) and _is_number(found["high"]):
        default = found["default"].strip(" ,")
        right = f"{found['low'].strip()}:{found['high'].strip()}" + (f":default={default}" if default else "")
        raise ConfigurationError(f"'{body.strip()}' looks like a range in Python; here that is {right}")


def as_written(value: Any) -> Any:
    """A value as it stands on the command line: TOML's true and false are those words, not Python's."""
    return str(value).lower() if isinstance(value, bool) else value


def parse_condition(text: str) -> dict[str, Any]:
    """The table of a study file's ``[[conditions]]`` that a short form stands for.

    Raises:
        ConfigurationError: the text is not of this form.
    """
    head, word, expression = text.partition(" if ")
    if not word or not head.strip() or not expression.strip():
        raise ConfigurationError("write FLAG if EXPRESSION, such as \"--momentum if --optimizer == 'sgd'\"")
    flag, equals, body = head.partition("=")
    table: dict[str, Any] = {"flag": flag.strip(), "when": expression.strip()}
    if equals:
        domain = parse_domain(body.strip())
        more = set(domain) - {"range", "values"}
        if more:
            raise ConfigurationError(f"'{sorted(more)[0]}' has no meaning in a condition")
        table |= domain
    return table


def parse_setting(text: str) -> tuple[tuple[str, ...], Any]:
    """The path and the value of ``KEY=VALUE``; the key as TOML writes it, so quotes keep dots in a flag.

    Raises:
        ConfigurationError: the text is not of this form.
    """
    at = text.find("=")
    while at > 0:
        try:
            found = tomllib.loads(f"{text[:at]} = 0")
        except tomllib.TOMLDecodeError:
            at = text.find("=", at + 1)
            continue
        path = []
        while isinstance(found, dict):
            name = next(iter(found))
            path.append(name)
            found = found[name]
        return tuple(path), parse_value(text[at + 1 :])
    raise ConfigurationError("write KEY=VALUE, such as strategy_options.grid_size=3")


def parse_value(text: str) -> Any:
    """The value of a text in TOML syntax; text where it is none.

    Raises:
        ConfigurationError: it begins like a list, a table or a quoted text and is none.
    """
    text = text.strip()
    if text.startswith(".") or text.endswith("."):
        try:
            return float(text)  # As programs write numbers, and TOML doesn't.
        except ValueError:
            return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if text[:1] in tuple("[{\"'"):
            raise ConfigurationError(f"{text} is no TOML value: {error}") from error
        return text
    return value if isinstance(value, (bool, int, float, str, list, dict)) else text


def _range_words(words: list[str]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.strip().partition("=")
        if name == "log" and not equals:
            table["log"] = True
        elif name in _TYPES and not equals:
            table["type"] = _TYPES[name]
        elif name in ("step", "default") and equals:
            table[name] = parse_value(value)
        else:
            raise _unknown(word, _RANGE_WORDS, "a range")
    return table


def _list_words(words: list[str]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.strip().partition("=")
        if name in ("ordered", "unordered") and not equals:
            table["ordered"] = name == "ordered"
        elif name == "default" and equals:
            table["default"] = parse_value(value)
        else:
            raise _unknown(word, _LIST_WORDS, "a list of values")
    return table


def _unknown(word: str, known: tuple[str, ...], what: str) -> ConfigurationError:
    return ConfigurationError(
        f"'{word}' has no meaning behind {what}{did_you_mean(word, known)}; there are: "
        f"{', '.join(f':{name}' for name in known)} (quotes keep a ':' in a value)"
    )


def _is_list_word(word: str) -> bool:
    return word.strip().partition("=")[0] in ("ordered", "unordered", "default")


def _is_number(text: str) -> bool:
    try:
        value = parse_value(text)
    except ConfigurationError:
        return False
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _split(text: str, separator: str) -> list[str]:
    """Split outside of quotes."""
    parts, quote = [""], ""
    for character in text:
        if character == separator and not quote:
            parts.append("")
            continue
        parts[-1] += character
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not parts[-1][:-1].strip():
            quote = character
    return parts
