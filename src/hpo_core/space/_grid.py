"""Walking over all points of a grid, with a position that can be stored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hpo_core.exceptions import SpaceError
from hpo_core.space._domains import Domain, Value
from hpo_core.space._plan import Constraint, Plan, Point

INACTIVE = -1


class GridCursor(Iterator["dict[str, Value]"]):
    """The points of a grid, each once.

    The order is that of the product with the last flag fastest. Where conditions make a flag depend on a
    later one, parents count as earlier. Inactive flags take part with nothing, points that violate constraints are
    left out.

    Attributes:
        position: the index of each flag of the last point in its list of grid values, in the order of Params,
            -1 for inactive flags; None before the first point. JSON-serialisable;
            ``params.grid(n, position=...)`` goes on behind it.
        total: the number of points where no conditions or constraints hide it, else None.
    """

    def __init__(self, plan: Plan, n: int, position: Sequence[int] | None = None) -> None:
        if type(n) is not int or n < 1:
            raise SpaceError(f"a grid of {n!r} points per flag: a whole number of at least 1 is needed")
        self._plan, self._n = plan, n
        self._order = plan.order
        self._grids: dict[Domain, tuple[Value, ...]] = {}
        level_of = {variable.flag: level for level, variable in enumerate(self._order)}
        self._checks: list[list[Constraint]] = [[] for _ in self._order]
        for constraint in plan.constraints:
            level = max((level_of[flag] for flag in constraint.flags), default=0)
            self._checks[level].append(constraint)
        self._digits = [INACTIVE] * len(self._order)
        self._choices: list[tuple[Value, ...]] = [()] * len(self._order)
        self._point: Point = {}
        self.position: list[int] | None = None
        self.total: int | None = None
        if not plan.conditional and not plan.constraints:
            self.total = math.prod(len(self._grid(variable.base)) for variable in self._order)
        if position is not None:
            self._restore(position)

    def _grid(self, domain: Domain) -> tuple[Value, ...]:
        found = self._grids.get(domain)
        if found is None:
            found = self._grids[domain] = domain.grid(self._n)
        return found

    def _open(self, level: int) -> bool:
        """Look at what the flag of this level may be here; False where it may be nothing at all."""
        entry = self._order[level].effective(self._point)
        self._digits[level] = INACTIVE
        if entry is None:
            self._choices[level] = ()
            return True
        self._choices[level] = () if entry.domain is None else self._grid(entry.domain)
        return bool(self._choices[level])

    def _set(self, level: int, digit: int) -> None:
        self._digits[level] = digit
        self._point[self._order[level].flag] = self._choices[level][digit]

    def _allowed(self, level: int) -> bool:
        # A constraint that is decided by flags up to here stays decided, whatever the later ones are.
        return not any(constraint.violated(self._point) for constraint in self._checks[level])

    def _restore(self, position: Sequence[int]) -> None:
        wrong = SpaceError(f"{position!r} is no position in this grid")
        if len(position) != len(self._order):
            raise wrong
        for level, variable in enumerate(self._order):
            digit = position[variable.index]
            if type(digit) is not int or not self._open(level):
                raise wrong
            if not self._choices[level]:
                if digit != INACTIVE:
                    raise wrong
            elif 0 <= digit < len(self._choices[level]):
                self._set(level, digit)
            else:
                raise wrong
        self.position = list(position)

    def __iter__(self) -> GridCursor:
        return self

    def __next__(self) -> dict[str, Value]:
        last = len(self._order) - 1
        level, forward = (0, True) if self.position is None else (last, False)
        if self.position is None:
            self._point.clear()
        while True:
            if forward:
                if level > last:
                    return self._found()
                forward = self._open(level)
                if forward and self._choices[level]:
                    self._set(level, 0)
            else:
                while level >= 0 and self._digits[level] + 1 >= len(self._choices[level]):
                    self._point.pop(self._order[level].flag, None)
                    level -= 1
                if level < 0:
                    if self.position is not None:
                        self._restore(self.position)
                    raise StopIteration
                self._set(level, self._digits[level] + 1)
                forward = True
            if forward and not self._allowed(level):
                forward = False
            if forward:
                level += 1

    def _found(self) -> dict[str, Value]:
        position = [INACTIVE] * len(self._order)
        for level, variable in enumerate(self._order):
            position[variable.index] = self._digits[level]
        self.position = position
        return self._plan.sorted(dict(self._point))
