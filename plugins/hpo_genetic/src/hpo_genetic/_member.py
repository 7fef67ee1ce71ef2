"""A member of a population that trains: what it has come to, and what it is about to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, asdict, mutable

from hpo_core.trial import Value

REMEMBERED = 16
"""Latest epochs whose losses are kept: members that are farther apart are compared by what is there."""


@mutable(eq=False)
class Member:
    """A member; its weights and all that is known of them come from `trial`.

    Attributes:
        number: its name, from 1.
        steps: epochs that it was asked for.
        running: whether the last of them has not ended.
        failed: whether the last that ended failed.
        turn: when its last epoch ended: who waits longest goes first.
        since: epochs since it took over weights, or began.
        trial: the trial whose checkpoint it goes on from; None: it has no weights yet.
        age: epochs that these weights were trained.
        values: hyperparameters of their last epoch.
        losses: after their last epochs, the latest last.
    """

    number: int
    steps: int = 0
    running: bool = False
    failed: bool = False
    turn: int = 0
    since: int = 0
    trial: int | None = None
    age: int = 0
    values: Mapping[str, Value] = Factory(dict)
    losses: list[float] = Factory(list)

    def loss(self, age: int) -> float:
        """The loss after that many epochs, or after the nearest that is remembered."""
        return self.losses[min(max(age - self.age - 1, -len(self.losses)), -1)]

    def is_behind(self, other: Member) -> bool:
        """Whether the other had a lower loss when both had been trained for as many epochs as the younger one."""
        age = min(self.age, other.age)
        return other.loss(age) < self.loss(age)

    def take_over(self, other: Member) -> None:
        """Go on with another's weights."""
        self.trial, self.age, self.values, self.losses = other.trial, other.age, other.values, list(other.losses)
        self.since = 0

    def learn(self, trial: int, age: int, values: Mapping[str, Value], loss: float) -> None:
        """Take in the weights that a trial has made of its own or another's."""
        self.losses = [*self.losses, loss][-REMEMBERED:] if age == self.age + 1 else [loss]
        self.trial, self.age, self.values = trial, age, values
        self.since += 1

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {**asdict(self), "values": dict(self.values)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Member:
        """The member that `to_json` described."""
        return cls(**data)
