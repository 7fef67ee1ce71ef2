"""From a program's output to its figure of merit: the half that is the same for every metric parser.

    bytes --LineSplitter--> lines --MetricReader (a plugin's)--> readings --Collector--> reports, outcome

`MetricSpec` is what the user asked for: names, weights, rule over repeats, direction. Everything runs in bounded
memory, whatever the program prints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any, Literal, Self

from attrs import field, frozen

from hpo_core._collector import Collector, Outcome
from hpo_core._lines import MAX_LINE, LineSplitter
from hpo_core._numbers import NUMBER, read_number, to_number
from hpo_core._words import did_you_mean
from hpo_core.exceptions import ConfigurationError

__all__ = [
    "DEFAULT_METRIC",
    "MAX_LINE",
    "NUMBER",
    "RULES",
    "Collector",
    "LineSplitter",
    "MetricSpec",
    "Outcome",
    "Rule",
    "read_number",
    "to_number",
]

Rule = Literal["last", "first", "min", "max"]
"""Which of several values counts: the last, the first, or the smallest or largest figure of merit."""

RULES: tuple[Rule, ...] = ("last", "first", "min", "max")

DEFAULT_METRIC: Mapping[str, float] = MappingProxyType({"FoM": 1.0})


@frozen
class MetricSpec:
    """What the user wants measured. Make it with `MetricSpec.parse`.

    Attributes:
        names: what the parser looks for: names, or the one literal text as the user wrote it (``'f1: '``).
        weights: one for each name; the figure of merit is the weighted sum.
        literal: whether `names` holds one literal text.
        rule: which of several values counts.
        maximize: whether a larger figure of merit is better.
        parser: name of the metric parser.
        labels: the metrics' names as they stand in results: ``f1`` for the literal text ``'f1: '``.
        names_to_labels: the one to the other.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    literal: bool = False
    rule: Rule = "last"
    maximize: bool = False
    parser: str = "text"
    labels: tuple[str, ...] = field(init=False, repr=False, eq=False)
    names_to_labels: Mapping[str, str] = field(init=False, repr=False, eq=False)

    @labels.default
    def _labels(self) -> tuple[str, ...]:
        return tuple(map(_label, self.names)) if self.literal else self.names

    @names_to_labels.default
    def _names_to_labels(self) -> Mapping[str, str]:
        return dict(zip(self.names, self.labels, strict=True))

    @classmethod
    def parse(
        cls,
        metric: object = DEFAULT_METRIC,
        *,
        rule: str = "last",
        maximize: bool = False,
        parser: str = "text",
    ) -> Self:
        """Check what the user wrote.

        Args:
            metric: one literal text (``'f1: '``, weight 1), or a dict of names with weights: finite numbers,
                not all zero, any sum. Blanks, ``:`` and ``=`` at the end of a name are dropped.
            rule: ``last`` (default), ``first``, ``min`` or ``max``. ``min`` and ``max`` compare figures of merit
                in the user's own sign, whatever the direction.
            maximize: whether a larger figure of merit is better.
            parser: name of the metric parser; not looked up here.

        Raises:
            ConfigurationError: it names the key, what was given, and what would be right.
        """
        if rule not in RULES:
            raise ConfigurationError(
                f"metric rule {rule!r} is unknown{did_you_mean(str(rule), RULES)}; it is one of {', '.join(RULES)}"
            )
        if not isinstance(maximize, bool):
            raise ConfigurationError(f"maximize: {maximize!r} is neither True nor False")
        if not isinstance(parser, str) or not parser:
            raise ConfigurationError(f"metric parser: {parser!r} is no name; write one such as 'text'")
        rest = (rule, maximize, parser)
        if isinstance(metric, str):
            return cls((metric,), (1.0,), True, *rest)
        weights = _weights(metric)
        return cls(tuple(weights), tuple(weights.values()), False, *rest)

    def fom(self, metrics: Mapping[str, float]) -> float:
        """The weighted sum, in the user's sign; a metric with weight 0 is recorded and has no influence.

        Args:
            metrics: label to value, all of them.
        """
        total = 0.0
        for name, weight in zip(self.labels, self.weights, strict=True):
            if weight:
                total += weight * metrics[name]
        return total

    def loss(self, fom: float) -> float:
        """What strategies minimise: `fom` or its negative; ``inf`` where it is not finite."""
        if not math.isfinite(fom):
            return math.inf
        return -fom if self.maximize else fom

    def to_json(self) -> dict[str, Any]:
        """JSON values from which `from_json` makes an equal object."""
        metric = self.names[0] if self.literal else dict(zip(self.names, self.weights, strict=True))
        return {"metric": metric, "rule": self.rule, "maximize": self.maximize, "parser": self.parser}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The object that `to_json` described.

        Raises:
            ConfigurationError: as `parse`, or a key is unknown.
        """
        unknown = set(data) - {"metric", "rule", "maximize", "parser"}
        if unknown:
            raise ConfigurationError(f"metric: unknown key {sorted(unknown)[0]!r}")
        return cls.parse(**data)


def _label(text: str) -> str:
    """The name under which a literal text or a dict's key stands in results."""
    if not text.strip():
        raise ConfigurationError(f"metric: {text!r} is empty; write the text before the number, such as 'FoM: '")
    if "\n" in text or "\r" in text:
        raise ConfigurationError(f"metric: {text!r} has a line break; metrics are looked for within one line")
    return text.strip().rstrip(" \t:=") or text.strip()


def _weights(metric: object) -> dict[str, float]:
    if not isinstance(metric, Mapping):
        raise ConfigurationError(
            f"metric: {metric!r} is neither text nor a dict; write 'FoM: ' or {{'loss': 0.5, 'error': 0.5}}"
        )
    weights: dict[str, float] = {}
    for key, weight in metric.items():
        if not isinstance(key, str):
            raise ConfigurationError(f"metric: key {key!r} is no text; a key is the name that the program prints")
        name = _label(key)
        if name in weights:
            raise ConfigurationError(f"metric: {key!r} names '{name}' twice; give each name one weight")
        weights[name] = _weight(key, weight)
    if not any(weights.values()):
        given = "all weights are zero" if weights else "the dict is empty"
        raise ConfigurationError(f"metric: {given}; give at least one metric a weight, such as {{'FoM': 1.0}}")
    return weights


def _weight(key: str, weight: object) -> float:
    if isinstance(weight, Real) and not isinstance(weight, bool):
        try:
            value = float(weight)
        except OverflowError:
            value = math.inf
        if math.isfinite(value):
            return value
    raise ConfigurationError(f"metric: weight of {key!r} is {weight!r}; it must be a finite number such as 1.0")
