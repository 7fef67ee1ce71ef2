"""Points as vectors: where the strategy's arithmetic happens. Everything that leaves it goes through the space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np

from hpo_core import Integer, Params, Real, Values
from hpo_core.trial import Value

Vector = list[float]
"""One coordinate in [0, 1] for each flag; NaN where the flag is inactive."""
Array = np.ndarray[Any, np.dtype[np.float64]]

_DECADES = 100.0
"""A range of positive numbers whose bounds are this far apart is searched on a logarithmic scale as well."""


class Codec:
    """Coordinates of points. Those of numbers are places in their range, those of list values cells of the list.

    Ranges that span decades have logarithmic coordinates even where the user has not asked for ``log``: distances
    between settings such as learning rates are ratios.

    Args:
        space: the search space.
    """

    def __init__(self, space: Params) -> None:
        self.space = space
        self.domains = list(space.domains.items())
        self.size = len(self.domains)
        self.conditional = bool(space.conditions)
        self.plain = not (space.conditions or space.constraints or space.forbidden)
        self.unordered = [isinstance(d, Values) and not d.ordered for _, d in self.domains]
        self.logs = [_spans_decades(d) for _, d in self.domains]
        self.counts = [d.size for _, d in self.domains]
        self._features = [(k, self.counts[k] or 0) for k in range(self.size) if self.unordered[k]]
        self.numeric = np.array([not one for one in self.unordered])

    def vector(self, values: Mapping[str, Value]) -> Vector:
        """The coordinates of a point."""
        return [
            self.coordinate(k, values[flag]) if flag in values else math.nan for k, (flag, _) in enumerate(self.domains)
        ]

    def coordinate(self, k: int, value: Any) -> float:
        """The coordinate of one value."""
        domain = self.domains[k][1]
        if self.logs[k]:
            low, high = math.log(domain.low), math.log(domain.high)  # type: ignore[attr-defined]
            return min(max((math.log(value) - low) / (high - low), 0.0), 1.0)
        return domain.to_unit(value)

    def value(self, k: int, u: float) -> Value:
        """The value at a coordinate."""
        domain = self.domains[k][1]
        u = min(max(u, 0.0), 1.0)
        if self.logs[k]:
            low, high = domain.low, domain.high  # type: ignore[attr-defined]
            number = min(max(math.exp(math.log(low) + u * (math.log(high) - math.log(low))), low), high)
            return domain.canonical(round(number) if isinstance(domain, Integer) else number)
        return domain.from_unit(u)

    def point(self, vector: Sequence[float], rng: Random) -> dict[str, Value]:
        """The valid point at these coordinates; what is missing is drawn."""
        partial = {flag: self.value(k, vector[k]) for k, (flag, _) in enumerate(self.domains) if vector[k] == vector[k]}
        return self.space.complete(partial, rng)

    def draw(self, rng: Random) -> dict[str, Value]:
        """A random point; ranges that span decades are drawn on either scale."""
        values = self.space.draw(rng)
        changed = {
            flag: self.value(k, rng.random())
            for k, (flag, _) in enumerate(self.domains)
            if self.logs[k] and flag in values and rng.random() < 0.5
        }
        return self.space.complete({**values, **changed}, rng) if changed else values

    def features(self, vectors: Array) -> Array:
        """Rows whose Euclidean distance says how much points differ: one-hot for unordered lists."""
        base = np.where(self.numeric, vectors, 0.0)
        parts = [np.nan_to_num(base, nan=0.5)]
        for k, count in self._features:
            column = vectors[:, k]
            cell = np.where(np.isnan(column), -1, np.minimum(np.nan_to_num(column) * count, count - 1)).astype(int)
            parts.append(0.7071 * (cell[:, None] == np.arange(count)[None, :]))
        if self.conditional:
            parts.append(0.5 * np.isnan(vectors))
        return np.hstack(parts)


def _spans_decades(domain: object) -> bool:
    if isinstance(domain, Real):
        return not domain.log and domain.step is None and domain.low > 0 and domain.high / _DECADES >= domain.low
    if isinstance(domain, Integer):
        return not domain.log and domain.step == 1 and domain.low >= 1 and domain.high / _DECADES >= domain.low
    return False
