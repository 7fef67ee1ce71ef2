"""A deme: a bounded population, best first."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from operator import attrgetter
from random import Random
from typing import Any

from attrs import field, frozen

from hpo_core.trial import Value
from hpo_genetic._codec import Vector
from hpo_genetic._documented import Steps

_loss = attrgetter("loss")


@frozen(eq=False)
class Individual:
    """An evaluated point that may have children."""

    loss: float
    order: int
    values: Mapping[str, Value]
    vector: Vector
    steps: Steps = field(factory=Steps)

    def __lt__(self, other: Individual) -> bool:
        return (self.loss, self.order) < (other.loss, other.order)

    def to_json(self) -> list[Any]:
        vector = [None if u != u else u for u in self.vector]
        return [self.loss, self.order, dict(self.values), vector, [self.steps.large, self.steps.bend]]

    @classmethod
    def from_json(cls, data: list[Any]) -> Individual:
        loss, order, values, vector, steps = data
        return cls(loss, order, values, [float("nan") if u is None else u for u in vector], Steps(*steps))


class Deme:
    """The best `capacity` individuals that were born in a deme or migrated to it.

    Attributes:
        members: best first.
        next_id: id of the next individual.
        results: results heard of.
        migrations: how often its best has migrated.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.members: list[Individual] = []
        self.next_id = 1
        self.results = 0
        self.migrations = 0

    def add(self, one: Individual) -> None:
        """Let an individual in; the worst gives way where the deme is full."""
        members = self.members
        if len(members) < self.capacity or one.loss < members[-1].loss:
            insort(members, one, key=_loss)
            del members[self.capacity :]

    def parent(self, rng: Random) -> Individual:
        """The better of a few random members: only ranks count, so that no figure of merit is too large.

        Tournament selection: Goldberg & Deb, "A comparative analysis of selection schemes used in genetic
        algorithms", FOGA 1991. Tournaments grow with the deme, so that a larger one does not choose less.
        """
        count = len(self.members)
        size = 2 if count < 12 else 3 if count < 32 else 4
        return self.members[int(count * min([rng.random() for _ in range(size)]))]

    def to_json(self) -> dict[str, Any]:
        return {
            "members": [one.to_json() for one in self.members],
            "next_id": self.next_id,
            "results": self.results,
            "migrations": self.migrations,
        }

    def set_json(self, data: Mapping[str, Any]) -> None:
        self.members = [Individual.from_json(one) for one in data["members"]]
        self.next_id, self.results, self.migrations = data["next_id"], data["results"], data["migrations"]
