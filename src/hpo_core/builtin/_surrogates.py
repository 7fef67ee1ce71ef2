"""What stands in for the program on a simulated cluster: a function, a distribution of run times, an earlier study."""

from __future__ import annotations

import importlib.util
import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from hpo_core import journal
from hpo_core._words import seconds
from hpo_core.exceptions import ConfigurationError, JournalError, SpaceError
from hpo_core.space import Domain, Params, Values
from hpo_core.trial import Failure, State

Words = Mapping[str, str]
"""Flags and values as they stand on a command line."""
Function = Callable[[Words], Any]
"""From flags to a number; an objective may give several, one after the other."""

_FUNCTION = re.compile(r"(.+\.py):(\w+)")
_NINE_TENTHS = 1.2815515655446004
"""The standard normal distribution's quantile of 0.9."""


@frozen
class Point:
    """A trial of an earlier study.

    Attributes:
        units: flag to its place in the range, 0 to 1, or to the value itself where no value is nearer than another.
        fom: figure of merit, or NaN for a failure.
        exit_code: that the program gave, 1 for failures that had another reason.
        duration_s: run time in seconds.
    """

    units: Mapping[str, float | str]
    fom: float
    exit_code: int
    duration_s: float


class Recorded:
    """An earlier study as a surrogate: an evaluation does what the nearest trial that was recorded did.

    Near is what differs little, summed over all flags: numbers by their place in the range (on its scale), others by
    being equal; a flag that one of the two does not have counts as different. Trials that the study itself ended
    (STOPPED, CANCELLED) or that lost their node say nothing of the program, and are passed over.

    Args:
        directory: the earlier study's.

    Raises:
        ConfigurationError: there is no study, or none of its trials ended by itself.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        try:
            lines = journal.read(self.directory)
            header = next(lines, None)
            if header is None or "params" not in header.record:
                raise ConfigurationError(f"{directory} holds no study")
            self.params = Params.from_json(header.record["params"])
            self._domains = self.params.domains
            self.points = self._points(line.record for line in lines)
        except JournalError as error:
            raise ConfigurationError(str(error)) from error
        if not self.points:
            raise ConfigurationError(f"nothing to play: no trial of the study in {directory} has ended by itself")
        self._found: dict[frozenset[tuple[str, float | str]], Point] = {}

    def __call__(self, words: Words) -> Point:
        """The nearest recorded trial, the earliest of equals.

        Raises:
            SpaceError: a value lies outside of what the study searched.
        """
        units = self._units(words)
        key = frozenset(units.items())
        if key not in self._found:
            self._found[key] = min(self.points, key=lambda point: _distance(units, point.units))
        return self._found[key]

    def _points(self, records: Iterable[Mapping[str, Any]]) -> tuple[Point, ...]:
        units: dict[int, Mapping[str, float | str]] = {}
        points = []
        for record in records:
            if record["record"] == "asked":
                flags = record["values"].items()
                units[record["trial"]] = {flag: _unit(self._domains[flag], value) for flag, value in flags}
            elif record["record"] == "finished" and _ended_by_itself(record):
                fom = float(record["fom"]) if record["state"] == State.DONE.value else math.nan
                exit_code = 0 if record["state"] == State.DONE.value else record.get("exit_code") or 1
                points.append(Point(units[record["trial"]], fom, exit_code, record["duration_s"]))
        return tuple(points)

    def _units(self, words: Words) -> dict[str, float | str]:
        units = {}
        for flag, domain in self._domains.items():
            text = words.get(flag.split()[-1])  # of a flag that holds blanks, the value stands behind the last word
            if text is not None:
                try:
                    units[flag] = _unit(domain, domain.parse(text))
                except SpaceError as error:
                    raise SpaceError(f"{self.directory} says nothing of {flag}={text}: {error}") from error
        return units


def function_of(given: Function | str) -> Function | None:
    """The function that is given, or that a text such as ``surrogate.py:loss`` names; None for other texts.

    Raises:
        ConfigurationError: there is no such file, or no such function in it.
    """
    if not isinstance(given, str):
        return given
    match = _FUNCTION.fullmatch(given)
    if match is None:
        return None
    path, name = Path(match[1]), match[2]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigurationError(f"{given!r}: there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigurationError(f"{given!r}: {path} can't be imported: {type(error).__name__}: {error}") from error
    function: Function | None = getattr(module, name, None)
    if not callable(function):
        raise ConfigurationError(f"{given!r}: {path} has no function {name}")
    return function


def durations(given: float | str, rng: random.Random) -> Callable[[], float]:
    """Draws seconds from a duration, or from two: one in ten is less than the first, one in ten more than the second.

    Args:
        given: seconds, or text such as ``90s``, ``10m``, ``5m:20m``.
        rng: of the log-normal distribution between two durations.

    Raises:
        ConfigurationError: it is neither.
    """
    texts = [given] if isinstance(given, float) else given.split(":")
    limits = [seconds(text, "time", plain=1.0) for text in texts]
    if len(limits) == 1:
        return lambda: limits[0]
    if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
        raise ConfigurationError(f"{given!r} must be a duration such as '10m', or two such as '5m:20m'")
    low, high = map(math.log, limits)
    return lambda: rng.lognormvariate((low + high) / 2, (high - low) / (2 * _NINE_TENTHS))


def _unit(domain: Domain, value: Any) -> float | str:
    return str(value) if isinstance(domain, Values) and not domain.ordered else domain.to_unit(value)


def _distance(here: Mapping[str, float | str], there: Mapping[str, float | str]) -> float:
    total = float(len(there.keys() - here.keys()))
    for flag, unit in here.items():
        other = there.get(flag)
        if isinstance(unit, float) and isinstance(other, float):
            total += abs(unit - other)
        else:
            total += unit != other
    return total


def _ended_by_itself(record: Mapping[str, Any]) -> bool:
    failure = record.get("failure")
    return record["state"] in (State.DONE.value, State.FAILED.value) and (
        failure is None or Failure(failure).programs_fault
    )
