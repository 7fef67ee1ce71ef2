"""A rung of the ladder: results that were given the same amount of work."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from typing import Any

REMEMBERED = 256
"""The best results that a rung keeps; what falls behind them is counted and never promoted."""


class Rung:
    """Counts results and keeps the best, in order.

    Attributes:
        count: results that came here, failures too.
        best: loss, trial number and values of the best, the best first; a failure is never among them.
        promoted: numbers of those that went on from here.
    """

    def __init__(self, count: int = 0, best: list[list[Any]] | None = None, promoted: list[int] | None = None) -> None:
        self.count = count
        self.best = [(loss, number, values) for loss, number, values in best or []]
        self.promoted = set(promoted or ())

    def add(self, loss: float, number: int, values: dict[str, Any]) -> None:
        """Take in a result; an infinite loss is a failure."""
        self.count += 1
        if loss < float("inf"):
            insort(self.best, (loss, number, values), key=lambda one: one[:2])
        for _, forgotten, _ in self.best[REMEMBERED:]:
            self.promoted.discard(forgotten)
        del self.best[REMEMBERED:]

    def is_among_best(self, number: int, reduction: int) -> bool:
        """Whether a trial belongs to the best 1/reduction, of which there is always one."""
        top = self.best[: max(1, self.count // reduction)]
        return any(number == one for _, one, _ in top)

    def promotable(self, reduction: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Trials among the best 1/reduction that have not gone on yet, the best first."""
        for _, number, values in self.best[: self.count // reduction]:
            if number not in self.promoted:
                yield number, values

    def waiting(self) -> set[int]:
        """Trials that may yet go on."""
        return {number for _, number, _ in self.best} - self.promoted

    def to_json(self) -> list[Any]:
        """What the constructor takes."""
        return [self.count, [list(one) for one in self.best], sorted(self.promoted)]
