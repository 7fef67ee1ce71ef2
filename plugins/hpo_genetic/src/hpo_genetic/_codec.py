"""Points as vectors: where the strategy's arithmetic happens. Everything that leaves it goes through the space."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from random import Random
from typing import Any

import numpy as np

from hpo_core import Integer, Params, Real, SpaceError, Values
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
        self._places = [self._place(k) for k in range(self.size)]
        self._all_numbers = self.plain and all(isinstance(d, (Real, Integer)) for _, d in self.domains)
        self._codes = [(flag, domain.code) for flag, domain in self.domains]
        self._makers = [self._maker(k) for k in range(self.size)]
        self._features = [(k, self.counts[k] or 0) for k in range(self.size) if self.unordered[k]]
        self.places = not (self.conditional or any(self.unordered))
        """Whether all coordinates are there at every point, and say where it is in a range or in an ordered list."""
        self.numeric = np.array([not one for one in self.unordered])
        self._deciding = self._named_by_conditions()
        self._narrowing = any(rule.restricts for rule in space.conditions)
        self._asked = [k for k, _, asked in self._deciding if asked]

    def _named_by_conditions(self) -> list[tuple[int, bool, bool]]:
        """Coordinates of the flags that conditions name, parents first: whether it has a condition, and is in others'.

        Empty where there are constraints, which can name any flag.
        """
        if self.plain or self.space.constraints or self.space.forbidden:
            return []
        graph = self.space.get_dependency_graph()
        places = {flag: k for k, (flag, _) in enumerate(self.domains)}
        flags = self.space.get_ordered_param_when_valid()
        named = [(places[flag], graph.in_degree(flag) > 0, graph.out_degree(flag) > 0) for flag in flags]
        return [one for one in named if one[1] or one[2]]

    def _place(self, k: int) -> tuple[str, Callable[[Any], float]]:
        """A flag, and what gives the coordinate of its value."""
        flag, domain = self.domains[k]
        if not self.logs[k]:
            return flag, domain.to_unit
        low, high = math.log(domain.low), math.log(domain.high)  # type: ignore[attr-defined]
        return flag, lambda value: min(max((math.log(value) - low) / (high - low), 0.0), 1.0)

    def _maker(self, k: int) -> tuple[str, Callable[[float], Value]]:
        """A flag, and what gives its value at a coordinate; all coordinates count, those outside [0, 1] are clamped."""
        flag, domain = self.domains[k]
        if not self.logs[k]:
            return flag, domain.from_unit
        low, high = domain.low, domain.high  # type: ignore[attr-defined]
        start, width, whole = math.log(low), math.log(high) - math.log(low), isinstance(domain, Integer)

        def make(u: float) -> Value:
            number = min(max(math.exp(start + min(max(u, 0.0), 1.0) * width), low), high)
            return domain.canonical(round(number) if whole else number)

        return flag, make

    def vector(self, values: Mapping[str, Value]) -> Vector:
        """The coordinates of a point."""
        return [place(values[flag]) if flag in values else math.nan for flag, place in self._places]

    def value(self, k: int, u: float) -> Value:
        """The value at a coordinate."""
        return self._makers[k][1](u)

    def point(self, vector: Sequence[float], rng: Random) -> dict[str, Value]:
        """The valid point at these coordinates; what is missing is drawn."""
        if self.plain:
            return {flag: make(u) for (flag, make), u in zip(self._makers, vector, strict=True)}
        partial = {flag: make(u) for (flag, make), u in zip(self._makers, vector, strict=True) if u == u}
        return self.space.complete(partial, rng)

    def settled(self, rows: Array, centre: Array, rng: Random) -> Array:
        """The coordinates of the valid points that `point` makes of these, without the values that decide nothing.

        Args:
            rows: variations of the centre.
            centre: coordinates of a valid point.
            rng: for what is missing.
        """
        if not self._deciding:
            return np.array([self.vector(self.point(row, rng)) for row in rows.tolist()])
        unmoved = (rows[:, self._asked] == centre[self._asked]).all(1) & (not self._narrowing)
        pairs = zip(rows.tolist(), unmoved.tolist(), strict=True)
        return np.array([row if same else self._settled(row, rng) for row, same in pairs])

    def _settled(self, row: Vector, rng: Random) -> Vector:
        settled = list(row)
        values: dict[str, Value] = {}
        for k, conditional, asked in self._deciding:
            flag, own = self.domains[k]
            try:
                domain = self.space.domain(flag, values) if conditional else own
            except SpaceError:  # several restrictions leave no value beside these: others must give way
                return self.vector(self.point(row, rng))
            u = row[k]
            if domain is None:
                settled[k] = math.nan
            elif u != u or domain is not own:
                value = self.value(k, u) if u == u else None
                if value is None or not domain.contains(value):
                    value = domain.from_unit(rng.random())
                    settled[k] = self._places[k][1](value)
                values[flag] = value
            elif asked:
                values[flag] = self.value(k, u)
        return settled

    def completed(self, values: dict[str, Value], rng: Random) -> dict[str, Value]:
        """A valid point with values that are each possible by themselves, as far as they are possible together."""
        return values if self.plain else self.space.complete(values, rng)

    def key(self, values: Mapping[str, Value]) -> int:
        """A number that tells points apart, the same in every process; two points share one by chance alone."""
        codes: Any = values.values()
        if not self._all_numbers:
            codes = [code(values[flag]) if flag in values else math.nan for flag, code in self._codes]
        return int.from_bytes(blake2b(array("d", codes), digest_size=7).digest(), "big")

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
        """Rows whose Euclidean distance says how much points differ: one-hot for unordered lists.

        Where all coordinates are places in ranges or ordered lists, these are the rows themselves.
        """
        if self.places:
            return vectors
        missing = np.isnan(vectors)
        numbers = np.where(missing, 0.5, vectors)
        numbers[:, ~self.numeric] = 0.0
        parts = [numbers]
        for k, count in self._features:
            column = vectors[:, k]
            cell = np.where(missing[:, k], -1, np.minimum(np.nan_to_num(column) * count, count - 1)).astype(int)
            parts.append(0.7071 * (cell[:, None] == np.arange(count)[None, :]))
        if self.conditional:
            parts.append(0.5 * missing)
        return np.concatenate(parts, axis=1)


def _spans_decades(domain: object) -> bool:
    if isinstance(domain, Real):
        return not domain.log and domain.step is None and domain.low > 0 and domain.high / _DECADES >= domain.low
    if isinstance(domain, Integer):
        return not domain.log and domain.step == 1 and domain.low >= 1 and domain.high / _DECADES >= domain.low
    return False
