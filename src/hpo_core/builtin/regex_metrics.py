"""Metric parser ``regex``: the user's own regular expression, tried on each line of stdout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from hpo_core.exceptions import ConfigurationError
from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import MetricParser, MetricReader, Reading
from hpo_core.metrics import read_number


@frozen
class RegexOptions:
    r"""Options of ``regex``.

    Attributes:
        pattern: a Python regular expression, searched for within each line. Named groups are the metrics
            (``(?P<loss>\S+)``; what can't stand in a group's name is written ``_``), or one plain group is the only
            metric. A group called ``step`` is the step. A group must hold a number and nothing else.
            An expression that backtracks without end (``(a+)+b``) stalls the study: that risk is the author's.
    """

    pattern: str = ""


class RegexMetrics(MetricParser):
    r"""Metrics by a regular expression; all matches of a line count, in order.

    Without the option ``pattern`` a literal text is taken as the pattern: ``metric=r'f1 is (\S+)'``.

    Raises:
        ConfigurationError: the pattern is invalid (with its position), or has no group for a metric.
    """

    name = "regex"
    Options = RegexOptions

    def __init__(self, metrics: Sequence[str], *, literal: bool = False, options: Any = None) -> None:
        super().__init__(metrics, literal=literal, options=options)
        text = self.options.pattern or (self.metrics[0] if literal else "")
        if not text:
            raise ConfigurationError(r"metric parser 'regex' needs the option 'pattern', such as r'loss=(?P<loss>\S+)'")
        self._pattern = _compile(text)
        self._groups = _groups(self._pattern, self.metrics, literal)

    def reader(self) -> MetricReader:
        return _RegexReader(self._pattern, self._groups)

    def expected(self) -> str:
        r"""Such as ``a line with /loss=(\S+)/ and a number in its group``."""
        plural = "s" if len(self._groups) > 1 else ""
        return f"a line with /{self._pattern.pattern}/ and a number in its group{plural}"


def _compile(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        where = "" if error.pos is None else f" at position {error.pos} (before {text[error.pos :][:20]!r})"
        raise ConfigurationError(f"metric pattern {text!r}: {error.msg}{where}") from error
    except (OverflowError, RecursionError) as error:
        raise ConfigurationError(f"metric pattern {text!r}: {error}") from error


def _groups(pattern: re.Pattern[str], metrics: tuple[str, ...], literal: bool) -> dict[str, int]:
    """Metric to number of its group."""
    named = dict(pattern.groupindex)
    others = set(range(1, pattern.groups + 1)) - {named.pop("step", 0)}
    if len(metrics) == 1 and len(others) == 1 and (literal or not named):
        return {metrics[0]: others.pop()}
    groups = {}
    for metric in metrics:
        group = re.sub(r"\W", "_", metric)
        if group not in named:
            there = f"it has {', '.join(named)}" if named else "it has no named group"
            raise ConfigurationError(
                f"metric pattern {pattern.pattern!r} has no group for '{metric}': {there}; "
                f"write (?P<{group}>...) around the number"
            )
        groups[metric] = named[group]
    return groups


class _RegexReader(MetricReader):
    def __init__(self, pattern: re.Pattern[str], groups: dict[str, int]) -> None:
        self._pattern = pattern
        self._groups = groups
        self._step = pattern.groupindex.get("step")
        self._lax: re.Pattern[str] | None = re.compile(pattern.pattern, pattern.flags | re.IGNORECASE)

    def line(self, text: str) -> Sequence[Reading]:
        readings = [reading for match in self._pattern.finditer(text) if (reading := self._reading(match)) is not None]
        if readings:
            self._lax = None
        elif self._lax is not None and (near := self._lax.search(text)):
            self.near_miss = near[0][:200] or text[:200]
            self._lax = None
        return readings

    def _reading(self, match: re.Match[str]) -> Reading | None:
        metrics = {}
        for metric, group in self._groups.items():
            if match[group] is not None and (value := read_number(match[group])) is not None:
                metrics[metric] = value
        if not metrics:
            return None
        step = match[self._step] if self._step else None
        return Reading(metrics, read_number(step) if step else None)


@hookimpl
def hpo_register_metric_parser() -> type[MetricParser]:
    """The parser ``regex``."""
    return RegexMetrics
