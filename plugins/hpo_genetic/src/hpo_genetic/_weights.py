"""Which checkpoint a child of the genetic search goes on from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import astuple, frozen

from hpo_core import Trial
from hpo_genetic._deme import Deme, Individual


@frozen
class _Origin:
    """Whose weights an individual has: those of `trial`, made from `parent`'s in `epoch`, its `depth`-th in a row."""

    trial: int
    parent: int | None
    epoch: int
    depth: int


class Weights:
    """The checkpoints behind the members of the demes.

    In an epoch all children start from the same weights, those that the epochs before have left: a member that was born
    in the epoch stands for the checkpoint that it started from, an older one for what it wrote.

    Args:
        demes: whose members may be chosen.
    """

    def __init__(self, demes: Sequence[Deme]) -> None:
        self._demes = demes
        self._origins: dict[int, _Origin] = {}

    def add(self, order: int, trial: Trial, epoch: int) -> None:
        """Keep whence an individual's weights are; one that was inserted never ran and has none.

        Args:
            order: the individual's.
            trial: its trial.
            epoch: the one in which a trial of others counts.
        """
        if trial.origin == "inserted":
            return
        if len(self._origins) > 2 * sum(deme.capacity for deme in self._demes):
            kept = {one.order for one in self._members()}
            self._origins = {known: origin for known, origin in self._origins.items() if known in kept}
        self._origins[order] = _Origin(
            trial.number, trial.parent, trial.info.get("epoch", epoch), int(trial.fidelity or 1)
        )

    def of(self, one: Individual, epoch: int) -> tuple[int | None, int]:
        """The trial whose checkpoint a child of this epoch loads from a parent, None without one, and its depth."""
        origin = self._origins.get(one.order)
        if origin is None:
            return None, 0
        return (origin.trial, origin.depth) if origin.epoch < epoch else (origin.parent, origin.depth - 1)

    def needed(self, epoch: int) -> set[int]:
        """Trials whose checkpoints may be loaded now, or from the next epoch on."""
        now = {self.of(one, epoch)[0] for one in self._members()}
        later = {self._origins[one.order].trial for one in self._members() if one.order in self._origins}
        return {number for number in now | later if number is not None}

    def to_json(self) -> list[Any]:
        """All of it as JSON values."""
        return [[order, *astuple(origin)] for order, origin in self._origins.items()]

    def set_json(self, data: Sequence[Any]) -> None:
        """Go on from what `to_json` gave."""
        self._origins = {order: _Origin(*origin) for order, *origin in data}

    def _members(self) -> Iterator[Individual]:
        return (one for deme in self._demes for one in deme.members)
