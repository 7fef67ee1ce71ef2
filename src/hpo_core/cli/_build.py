"""From a description to `Params`, `Evaluator` and `Study`; what these refuse is said of the key that caused it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from hpo_core import condition
from hpo_core._words import did_you_mean
from hpo_core.cli._description import Description
from hpo_core.cli._grammar import as_written, parse_condition, parse_domain
from hpo_core.evaluator import Evaluator
from hpo_core.exceptions import (
    ConfigurationError,
    CyclicConditionError,
    HpoError,
    PluginError,
    PluginNotFoundError,
    SpaceError,
    StudyChangedError,
)
from hpo_core.interfaces import Observer
from hpo_core.space import Integer, Params, Real, Values
from hpo_core.study import Study

_PARAM_KEYS = ("range", "values", "default", "log", "step", "type", "ordered")
_CONDITION_KEYS = ("flag", "when", "values", "range")
_TYPES = ("real", "integer")


@frozen
class Parts:
    """What a study is made of."""

    description: Description
    params: Params
    evaluator: Evaluator

    def study(self, observers: Sequence[Observer] = (), **changed: Any) -> Study:
        """Make the study.

        Args:
            observers: beside those that the description names.
            changed: arguments of `Study` that differ from the description's.

        Raises:
            ConfigurationError: something is wrong; it names the key.
            PluginError: a name is not known, or its plugin cannot be used.
        """
        arguments = dict(self.description.given("study")) | changed
        arguments["observers"] = [*arguments.get("observers", ()), *observers]
        with blaming(self.description):
            return Study(self.params, self.evaluator, **arguments)


@contextmanager
def blaming(description: Description) -> Iterator[None]:
    """What is refused within is said of the key that caused it, where that can be told."""
    try:
        yield
    except StudyChangedError:
        raise
    except (ConfigurationError, PluginError) as error:
        path = _blame(error, description.values)
        if path is None:
            raise
        raise description.mistake(path, str(error).removeprefix("Evaluator: ")) from error


def build(description: Description) -> Parts:
    """Make space and evaluator.

    Raises:
        ConfigurationError: something is wrong; it names the key, and in a study file the line.
    """
    description.check()
    return Parts(description, _params(description), _evaluator(description))


# The space


def _params(description: Description) -> Params:
    tables = description.values.get("params")
    if not tables:
        raise description.mistake((), "there is nothing to vary: give --param, or [params] in a study file")
    params = Params([_element(description, flag, entry) for flag, entry in tables.items()])
    for index, entry in enumerate(description.values.get("conditions", ())):
        _add_condition(description, params, index, entry)
    for key, add in (("constraints", params.add_constraints), ("forbidden", params.add_forbidden)):
        for index, text in enumerate(description.values.get(key, ())):
            try:
                add([text])
            except SpaceError as error:
                raise description.mistake((key, index), str(error)) from error
    _check(description, params)
    return params


def _element(description: Description, flag: str, entry: Any) -> list[Any]:
    """One element for `Params`."""
    path = ("params", flag)
    if isinstance(entry, str):
        try:
            entry = parse_domain(entry)
        except ConfigurationError as error:
            raise description.mistake(path, str(error)) from error
    if not isinstance(entry, dict):
        example = "{ range = [0.1, 1.0] }"
        raise description.mistake(path, f"must be a table such as {example}, or text such as '0.1:1.0'; not {entry!r}")
    _check_keys(description, path, entry, _PARAM_KEYS)
    if ("range" in entry) == ("values" in entry):
        raise description.mistake(path, "needs either range = [low, high] or values = [...]")
    try:
        domain = _range(description, path, entry) if "range" in entry else _values(description, path, entry)
    except SpaceError as error:
        raise description.mistake((*path, _culprit(str(error), entry)), str(error)) from error
    element = [flag, as_written(entry["default"]), domain] if "default" in entry else [flag, domain]
    try:
        Params([element])
    except SpaceError as error:
        message = str(error).removeprefix(f"{flag}: ")
        raise description.mistake((*path, "default") if "default" in entry else path, message) from error
    return element


def _range(description: Description, path: Sequence[str], entry: Mapping[str, Any]) -> Real | Integer:
    bounds, kind = entry["range"], entry.get("type")
    if not isinstance(bounds, list) or len(bounds) != 2:
        raise description.mistake((*path, "range"), f"must be [low, high], not {bounds!r}")
    if "ordered" in entry:
        raise description.mistake((*path, "ordered"), "goes with values; a range is ordered anyway")
    if kind is not None and kind not in _TYPES:
        hint = did_you_mean(str(kind), _TYPES)
        raise description.mistake((*path, "type"), f"{kind!r} is neither 'real' nor 'integer'{hint}")
    more = {key: entry[key] for key in ("log", "step") if key in entry}
    if kind is None:
        numbers = [*bounds, *(entry[key] for key in ("step", "default") if key in entry)]
        kind = "real" if any(isinstance(number, float) for number in numbers) else "integer"
    return Integer(*bounds, **more) if kind == "integer" else Real(*bounds, **more)


def _values(description: Description, path: Sequence[str], entry: Mapping[str, Any]) -> Values:
    for key in ("log", "step", "type"):
        if key in entry:
            raise description.mistake((*path, key), "goes with range; values are used as they are written")
    values = entry["values"]
    return Values(
        [as_written(value) for value in values] if isinstance(values, list) else values,
        ordered=entry.get("ordered", True),
    )


def _culprit(message: str, entry: Mapping[str, Any]) -> str:
    """The key of a parameter's table that a message speaks of."""
    for key in ("ordered", "step", "log"):
        if key in entry and re.search(rf"\b{key}\b", message):
            return key
    return "range" if "range" in entry else "values"


def _add_condition(description: Description, params: Params, index: int, entry: Any) -> None:
    path: tuple[str | int, ...] = ("conditions", index)
    if isinstance(entry, str):
        try:
            entry = parse_condition(entry)
        except ConfigurationError as error:
            raise description.mistake(path, str(error)) from error
    if not isinstance(entry, dict):
        raise description.mistake(path, "must be a table with flag and when, or text 'FLAG if EXPRESSION'")
    _check_keys(description, path, entry, _CONDITION_KEYS)
    for key in ("flag", "when"):
        if key not in entry:
            raise description.mistake(path, f"needs {key}: flag = '--momentum', when = \"--optimizer == 'sgd'\"")
    if "values" in entry and "range" in entry:
        raise description.mistake((*path, "range"), "values and range exclude each other")
    limit = tuple(entry["range"]) if isinstance(entry.get("range"), list) else entry.get("values")
    try:
        params.add_conditions([condition.when(entry["flag"], entry["when"], limit)])
    except SpaceError as error:
        if entry["flag"] not in params.flags:
            path = (*path, "flag")
        elif "does not fit" in str(error):
            path = (*path, "range" if "range" in entry else "values")
        else:
            path = (*path, "when")
        raise description.mistake(path, str(error)) from error


def _check(description: Description, params: Params) -> None:
    try:
        params.check()
    except CyclicConditionError as error:
        entries = description.values.get("conditions", ())
        flags = [entry.get("flag") if isinstance(entry, dict) else None for entry in entries]
        index = next((i for i, flag in enumerate(flags) if flag in error.cycle), 0)
        raise description.mistake(("conditions", index), str(error)) from error
    except SpaceError as error:
        for key in ("constraints", "forbidden"):
            for index, text in enumerate(description.values.get(key, ())):
                if text in str(error):
                    raise description.mistake((key, index), str(error)) from error
        raise description.mistake(("params",), str(error)) from error


def _check_keys(
    description: Description, path: Sequence[str | int], entry: Mapping[str, Any], known: Sequence[str]
) -> None:
    for key in entry:
        if key not in known:
            hint = did_you_mean(key, known)
            raise description.mistake((*path, key), f"unknown key{hint}; there are: {', '.join(known)}")


# The evaluator


def _evaluator(description: Description) -> Evaluator:
    arguments = dict(description.given("evaluator"))
    if "cmd" not in arguments:
        raise description.mistake((), "there is no command: put it last, behind --, or 'command = ...' in a study file")
    try:
        return Evaluator(**arguments)
    except ConfigurationError as error:
        path = _wrong_alone(arguments) or _blame(error, description.values) or ()
        raise description.mistake(path, str(error).removeprefix("Evaluator: ")) from error


def _wrong_alone(arguments: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The argument that an evaluator refuses whatever the others are."""
    for name, value in arguments.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                Evaluator(**{"cmd": "true", name: value})
        except ConfigurationError:
            return (name,)
    return None


# Who is to blame

_PLUGIN_OPTION = re.compile(r"\A(strategy|workload manager|launcher|metric parser) '[^']*'(?:.*?\boption '(\w+)')?")
_TABLES = {
    "strategy": "strategy_options",
    "workload manager": "manager_options",
    "launcher": "launcher_options",
    "metric parser": "metric_options",
}


_COMMON_WORDS = frozenset({"name", "flag", "params"})
"""Keys that stand in messages about other things too."""


def _blame(error: HpoError, given: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The path of the key that a message speaks of, among those that were given; None where that can't be told."""
    message = str(error)
    if isinstance(error, PluginNotFoundError):
        key = "observers" if error.kind == "observer" else error.kind
        return (key,) if key in given else None
    match = _PLUGIN_OPTION.match(message)
    if match is not None and _TABLES[match[1]] in given:
        table = _TABLES[match[1]]
        return (table, match[2]) if match[2] else (table,)
    if message.startswith("the command "):
        return ("cmd",)
    for pattern in (r"\b{}=", r"\b{}\b"):
        places = {name: re.search(pattern.format(name), message) for name in given if name not in _COMMON_WORDS}
        found = [(match.start(), name) for name, match in places.items() if match is not None]
        if found:
            return (min(found)[1],)
    return None
