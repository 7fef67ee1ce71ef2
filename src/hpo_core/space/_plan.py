"""A space made ready for use: order, effective domains, drawing, and mending of violated constraints.

Built once by `Params` whenever the space has changed; nothing here changes after that, caches excepted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import NamedTuple

from hpo_core.exceptions import SpaceError
from hpo_core.space._conditions import Bound, Outcome, Spec, together
from hpo_core.space._domains import Domain, Drawer, Value
from hpo_core.space._expression import Comparison, Compiled, Expression, Literal

Point = dict[str, Value]
_TRIES = 100
_STEPS = 300
_NOISE = 0.15


class Entry(NamedTuple):
    """An effective domain with its drawer; both None where restrictions leave no value."""

    domain: Domain | None
    draw: Drawer | None


_NO_VALUE = Entry(None, None)


class Constraint:
    """A relation that must not be False (or, forbidden, must not be True)."""

    __slots__ = ("expression", "flags", "forbidden", "gaps", "holds", "literals", "text")

    def __init__(self, expression: Expression, *, forbidden: bool) -> None:
        self.expression = expression
        self.forbidden = forbidden
        self.text = f"not allowed: {expression}" if forbidden else f"required: {expression}"
        self.flags = expression.flags()
        self.holds = expression.compiled()
        literals = [node.value for node in expression.walk() if isinstance(node, Literal)]
        self.literals = tuple(dict.fromkeys(literals))
        self.gaps: tuple[Compiled, ...] = tuple(
            node.gap() for node in expression.walk() if isinstance(node, Comparison)
        )

    def violated(self, point: Mapping[str, Value]) -> bool:
        return self.holds(point) is self.forbidden


class Variable:
    """One flag: its own domain, and what is left of it at a point."""

    __slots__ = (
        "_bind",
        "_cache",
        "base",
        "bounds",
        "entry",
        "flag",
        "index",
        "outcome",
        "parents",
        "restricted",
    )

    def __init__(self, index: int, flag: str, base: Domain, bounds: Sequence[Bound]) -> None:
        self.index, self.flag, self.base = index, flag, base
        self.entry = Entry(base, base.drawer())
        self.bounds = tuple(bounds)
        self.parents = tuple(dict.fromkeys(parent for one in bounds for parent in one.parents))
        # One restriction alone was found to fit when it was added.
        self.restricted = sum(len(one.restrictions) for one in bounds) > 1
        self.outcome: Outcome | None = together([one.outcome for one in bounds]) if bounds else None
        self._cache: dict[tuple[Spec, ...], Entry] = {}

    def effective(self, point: Mapping[str, Value]) -> Entry | None:
        """What the flag may be, given its parents' values; None while it is inactive."""
        if self.outcome is None:
            return self.entry
        specs = self.outcome(point)
        if specs is None:
            return None
        return self.entry if not specs else self.narrowed(specs)

    def narrowed(self, specs: tuple[Spec, ...]) -> Entry:
        """The own domain under these restrictions."""
        found = self._cache.get(specs)
        if found is None:
            domain: Domain | None = self.base
            for spec in specs:
                domain = None if domain is None else _narrowed(domain, spec.value)
            found = _NO_VALUE if domain is None else Entry(domain, domain.drawer())
            self._cache[specs] = found
        return found


def _narrowed(domain: Domain, spec: object) -> Domain | None:
    try:
        return domain.narrowed(spec)
    except SpaceError:  # a range of strings whose ends another restriction has taken away
        return None


class Violation(NamedTuple):
    """Something wrong with a point, and the flags that could mend it."""

    text: str
    flags: tuple[str, ...]
    gaps: tuple[Compiled, ...]
    literals: tuple[Value, ...] = ()


def _missing(violation: Violation, point: Point) -> float:
    """How far the sides of a violated relation are apart."""
    gaps = [gap(point) for gap in violation.gaps]
    return float(sum(abs(gap) for gap in gaps if gap is not None and math.isfinite(gap)))


class Plan:
    """The compiled space."""

    __slots__ = (
        "ancestors",
        "by_flag",
        "conditional",
        "constraints",
        "draws",
        "exacts",
        "flags",
        "in_order",
        "order",
        "restricted",
        "variables",
    )

    def __init__(
        self,
        domains: Mapping[str, Domain],
        bounds: Sequence[Bound],
        constraints: Sequence[Constraint],
        order: Sequence[str],
    ) -> None:
        self.flags = tuple(domains)
        self.variables = tuple(
            Variable(index, flag, domain, [one for one in bounds if one.dependent == flag] if bounds else ())
            for index, (flag, domain) in enumerate(domains.items())
        )
        self.by_flag = {variable.flag: variable for variable in self.variables}
        self.order = tuple(self.by_flag[flag] for flag in order)
        self.in_order = self.order == self.variables
        self.constraints = tuple(constraints)
        self.conditional = bool(bounds)
        self.restricted = tuple(variable for variable in self.order if variable.restricted)
        self.draws = tuple((variable.flag, variable.base.drawer()) for variable in self.variables)
        self.exacts: tuple[tuple[str, Callable[[object], Value]], ...] = ()
        """What checks each flag's value, where no value depends on others."""
        if not bounds and not constraints:
            self.exacts = tuple((flag, domain.exact) for flag, domain in domains.items())
        self.ancestors: dict[str, tuple[str, ...]] = {}
        for variable in self.order:
            above = [a for parent in variable.parents for a in (*self.ancestors[parent], parent)]
            self.ancestors[variable.flag] = tuple(dict.fromkeys(above))

    def sorted(self, point: Point) -> Point:
        """The point in the order of Params."""
        return point if self.in_order else {flag: point[flag] for flag in self.flags if flag in point}

    def fill(self, random: Callable[[], float], given: Mapping[str, Value] | None = None) -> Point:
        """A point of active flags, parents first: given values where they fit, the rest drawn."""
        point: Point = {}
        if not given:
            for variable in self.order:
                entry = variable.entry if variable.outcome is None else variable.effective(point)
                if entry is not None and entry.draw is not None:
                    point[variable.flag] = entry.draw(random)
            return point
        for variable in self.order:
            entry = variable.entry if variable.outcome is None else variable.effective(point)
            if entry is None or entry.domain is None or entry.draw is None:
                continue
            if variable.flag in given:
                try:
                    point[variable.flag] = entry.domain.canonical(given[variable.flag])
                    continue
                except SpaceError:
                    pass
            point[variable.flag] = entry.draw(random)
        return point

    def violations(self, point: Mapping[str, Value]) -> list[Violation]:
        """Everything wrong with a filled point."""
        found = [Violation(c.text, c.flags, c.gaps, c.literals) for c in self.constraints if c.violated(point)]
        for variable in self.restricted:
            if variable.effective(point) is _NO_VALUE:
                text = f"the restrictions of {variable.flag} leave no value"
                found.append(Violation(text, variable.parents, ()))
        return found

    def draw(self, rng: Random) -> Point:
        """A random point: rejection first, so that draws are uniform where that is possible."""
        random = rng.random
        if not self.constraints and not self.restricted:
            return self.sorted(self.fill(random))
        point: Point = {}
        for _ in range(_TRIES):
            point = self.fill(random)
            if not self.violations(point):
                return self.sorted(point)
        return self.sorted(self._stir(self.mend(point, rng), rng, {}))

    def _stir(self, point: Point, rng: Random, fixed: Mapping[str, Value]) -> Point:
        """Move a mended point about in what is allowed, so that it keeps no trace of how it was found.

        One flag after another is redrawn from an interval of places that shrinks to the old one until the
        point is valid (slice sampling of the uniform distribution: Neal 2003, fig. 5).
        """
        for _ in range(2):
            for flag in self.flags:
                if not self._movable(flag, point, fixed):
                    continue
                domain = self._domain(flag, point)
                if domain is None:
                    continue
                place, low, high = domain.to_unit(point[flag]), 0.0, 1.0
                for _ in range(8):
                    u = low + (high - low) * rng.random()
                    trial = self.fill(rng.random, {**point, flag: domain.from_unit(u)})
                    if not self.violations(trial):
                        point = trial
                        break
                    low, high = (u, high) if u < place else (low, u)
        return point

    def draw_with(self, rng: Random, fixed: Mapping[str, Value]) -> Point:
        """A random point that has the fixed values wherever their flags are active."""
        point: Point = {}
        for _ in range(_TRIES):
            point = self.fill(rng.random, fixed)
            if self._keeps(point, fixed) and not self.violations(point):
                return self.sorted(point)
        point = self.mend(point, rng, fixed=fixed)
        return self.sorted(self._stir(point, rng, fixed))

    def _keeps(self, point: Point, fixed: Mapping[str, Value]) -> bool:
        return all(point[flag] == fixed[flag] for flag in fixed if flag in point)

    def complete(self, given: Mapping[str, Value], rng: Random, locked: Collection[str] = ()) -> Point:
        """The given values with the rest drawn; violations are mended with small changes."""
        point = self.fill(rng.random, given)
        if not self.violations(point):
            return self.sorted(point)
        if any(flag not in given for flag in point):
            for _ in range(20):
                again = self.fill(rng.random, given)
                if not self.violations(again):
                    return self.sorted(again)
        try:
            fixed = {flag: point[flag] for flag in locked if flag in point}
            return self.mend(point, rng, fixed=fixed, near=given)
        except SpaceError:
            if locked:
                raise
            return self.draw(rng)

    def baseline(self, rng: Random, defaults: Mapping[str, Value]) -> Point:
        """The defaults, where active and fitting, with the rest drawn. SpaceError where they conflict."""
        point: Point = {}
        kept: Point = {}
        for _ in range(_TRIES):
            point = self.fill(rng.random, defaults)
            wrong = self.violations(point)
            if not wrong:
                return self.sorted(point)
            kept = {flag: point[flag] for flag in point if flag in defaults and point[flag] == defaults[flag]}
            if len(kept) == len(point):
                break
        else:
            try:
                return self.mend(point, rng, fixed=kept)
            except SpaceError:
                wrong = self.violations(point)
        flags = dict.fromkeys(flag for one in wrong for flag in one.flags if flag in kept)
        shown = ", ".join(f"{flag}={point[flag]!r}" for flag in flags)
        raise SpaceError(f"the defaults violate a constraint ({wrong[0].text}) with {shown}")

    def mend(
        self,
        point: Point,
        rng: Random,
        *,
        fixed: Mapping[str, Value] | None = None,
        near: Mapping[str, Value] | None = None,
    ) -> Point:
        """Walk from a point that violates something to one that does not.

        Args:
            point: where to start.
            rng: source of chance.
            fixed: values that must stay while their flags are active.
            near: values that should stay; steps that leave them alone or move them little are preferred.

        Raises:
            SpaceError: nothing was found within a bounded number of steps; the constraints are named.
        """
        fixed, start = fixed or {}, dict(point)
        texts: dict[str, None] = {}
        for step in range(_STEPS):
            wrong = self.violations(point)
            kept = self._keeps(point, fixed)
            if not wrong and kept:
                return self.sorted(point)
            texts.update(dict.fromkeys(one.text for one in wrong))
            if not kept:
                texts["the fixed values do not fit the restrictions beside them"] = None
            if not wrong:
                lost = [flag for flag in fixed if flag in point and point[flag] != fixed[flag]]
                wrong = [Violation("", tuple(lost), ())]
            target = wrong[int(rng.random() * len(wrong))]
            if step % 100 == 99 and near is None:
                point = self.fill(rng.random, fixed)
                continue
            moved = self._step(point, target, rng, fixed, near, start)
            point = self.fill(rng.random, fixed) if moved is None else moved
        raise SpaceError("no point was found that satisfies all of: " + "; ".join(texts))

    def _step(
        self,
        point: Point,
        target: Violation,
        rng: Random,
        fixed: Mapping[str, Value],
        near: Mapping[str, Value] | None,
        start: Point,
    ) -> Point | None:
        """The best of some single changes, or now and then any change."""
        above = dict.fromkeys(a for flag in target.flags for a in self.ancestors[flag])
        movable = [flag for flag in dict.fromkeys(target.flags) if self._movable(flag, point, fixed)]
        movable_above = [flag for flag in above if flag not in movable and self._movable(flag, point, fixed)]
        if not movable or (movable_above and rng.random() < _NOISE):
            movable = movable_above or movable
        if not movable:
            return None
        if rng.random() < _NOISE:
            flag = movable[int(rng.random() * len(movable))]
            entry = self.by_flag[flag].effective(point)
            if entry is not None and entry.draw is not None:
                return self.fill(rng.random, {**point, flag: entry.draw(rng.random)})
        best: tuple[tuple[float, ...], Point] | None = None
        for flag in movable:
            domain = self._domain(flag, point)
            if domain is None:
                continue
            for value in self._candidates(flag, domain, point, target, rng):
                trial = self.fill(rng.random, {**point, flag: value})
                wrong = self.violations(trial)
                bad = len(wrong) + (not self._keeps(trial, fixed))
                missing = sum(_missing(one, trial) for one in wrong)
                tie = (rng.random(),) if near is None else self._distance(trial, start, near)
                cost = (float(bad), missing, *tie)
                if best is None or cost < best[0]:
                    best = cost, trial
        return best[1] if best else None

    def _movable(self, flag: str, point: Point, fixed: Mapping[str, Value]) -> bool:
        if flag not in point or flag in fixed:
            return False
        domain = self._domain(flag, point)
        return domain is not None and domain.size != 1

    def _domain(self, flag: str, point: Point) -> Domain | None:
        entry = self.by_flag[flag].effective(point)
        return None if entry is None else entry.domain

    def _distance(self, trial: Point, start: Point, near: Mapping[str, Value]) -> tuple[float, float]:
        changed, length = 0.0, 0.0
        for flag in near:
            if flag in start and trial.get(flag) != start[flag]:
                changed += 1
                base = self.by_flag[flag].base
                length += abs(base.to_unit(trial[flag]) - base.to_unit(start[flag])) if flag in trial else 1.0
        return changed, length

    def _candidates(self, flag: str, domain: Domain, point: Point, target: Violation, rng: Random) -> list[Value]:
        """Some draws, both ends, values named in the relation, and where a line through both ends meets it."""
        low, high = domain.from_unit(0.0), domain.from_unit(1.0)
        found: list[Value] = [low, high, *(domain.draw(rng) for _ in range(4))]
        found += [domain.canonical(value) for value in target.literals if domain.contains(value)]
        if domain.kind != "number":
            return found
        here = dict(point)
        for gap in target.gaps:
            here[flag] = low
            below = gap(here)
            here[flag] = high
            above = gap(here)
            if below is None or above is None or below == above or not math.isfinite(above - below):
                continue
            a, b = float(low), float(high)
            for x in (a - below * (b - a) / (above - below),):
                if a <= x <= b or b <= x <= a:
                    found += self._around(domain, x)
        return found

    def _around(self, domain: Domain, x: float) -> list[Value]:
        try:
            unit = domain.to_unit(domain.canonical(round(x) if domain.size is not None else x))
        except SpaceError:
            return []
        nudge = 1e-6 if domain.size is None else 1.0 / domain.size
        return [domain.from_unit(unit), domain.from_unit(unit - nudge), domain.from_unit(unit + nudge)]

    def decode(self, units: Sequence[float], rng: Random) -> Point:
        """The point at these places of the effective domains; NaN is drawn."""
        point: Point = {}
        for variable in self.order:
            entry = variable.effective(point)
            if entry is None or entry.domain is None or entry.draw is None:
                continue
            u = units[variable.index]
            point[variable.flag] = entry.draw(rng.random) if u != u else entry.domain.from_unit(u)
        if not self.violations(point):
            return self.sorted(point)
        given = [v.flag for v in self.variables if not math.isnan(units[v.index])]
        near = {flag: point[flag] for flag in given if flag in point}
        return self.complete(near, rng)

    def encode(self, values: Mapping[str, Value]) -> list[float]:
        """The places of the values in their effective domains; NaN for inactive flags."""
        units = [math.nan] * len(self.variables)
        for variable in self.variables:
            if variable.flag in values:
                entry = variable.effective(values)
                domain = variable.base if entry is None or entry.domain is None else entry.domain
                units[variable.index] = domain.to_unit(values[variable.flag])
        return units

    def neighbour(self, values: Mapping[str, Value], rng: Random, scale: float, count: int | None) -> Point:
        """A point near this one that differs from it, if there is any."""
        origin = self.fill(rng.random, values)
        if self.violations(origin):
            origin = self.complete(values, rng)
        movable = [flag for flag in self.flags if self._movable(flag, origin, {})]
        if not movable:
            return self.sorted(origin)
        rejected: list[tuple[Point, list[str]]] = []
        for _ in range(30):
            chosen = self._choose(movable, rng, count)
            given: Point = dict(origin)
            for flag in chosen:
                domain = self._domain(flag, origin)
                if domain is not None:
                    given[flag] = domain.neighbour(origin[flag], rng, scale)
            point = self.fill(rng.random, given)
            if point == origin:
                continue
            if not self.violations(point):
                return self.sorted(point)
            rejected.append((point, chosen))
        for point, chosen in rejected[:5]:
            try:
                mended = self.complete(point, rng, locked=chosen)
            except SpaceError:
                continue
            if mended != origin:
                return mended
        for _ in range(5):
            point = self.draw(rng)
            if point != origin:
                return point
        return self.sorted(origin)

    def _choose(self, movable: Sequence[str], rng: Random, count: int | None) -> list[str]:
        if count is None:
            chance = 1.0 / len(movable)
            chosen = [flag for flag in movable if rng.random() < chance]
            return chosen or [movable[int(rng.random() * len(movable))]]
        picked = rng.sample(range(len(movable)), max(1, min(count, len(movable))))
        return [movable[k] for k in sorted(picked)]

    def canonical(self, values: Mapping[str, object]) -> Point:
        """The typed point, if the values are one. Raises SpaceError naming the flag and the reason."""
        if self.exacts:
            try:
                return {flag: exact(values[flag]) for flag, exact in self.exacts}
            except (KeyError, SpaceError):
                pass  # what follows says what is wrong
        point: Point = {}
        for variable in self.order:
            flag = variable.flag
            entry = variable.entry if variable.outcome is None else variable.effective(point)
            if entry is None:
                if flag in values:
                    because = "; ".join(one.text for one in variable.bounds)
                    raise SpaceError(f"{flag} has a value but is inactive here ({because})")
                continue
            if entry.domain is None:
                raise SpaceError(f"{flag} is active but its restrictions leave no value here")
            if flag not in values:
                raise SpaceError(f"{flag} is active and has no value")
            try:
                point[flag] = entry.domain.exact(values[flag])
            except SpaceError as error:
                raise SpaceError(f"{flag}: {error}") from None
        for wrong in self.violations(point):
            shown = ", ".join(f"{flag}={point[flag]!r}" for flag in wrong.flags if flag in point)
            raise SpaceError(f"the point violates a constraint ({wrong.text}) with {shown}")
        return self.sorted(point)
