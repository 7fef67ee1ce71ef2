"""Strategies that continue trials, and a driver that runs one of them."""

import sys
from collections.abc import Collection
from typing import Any, ClassVar

import hpo_core as hpo
from hpo_core import Capability, Pause, Proposal, Result, Trial
from hpo_core.registry import added


class Chain(hpo.Strategy):
    """Each trial continues the one before; a failed one is passed over."""

    name = "chain"
    capabilities = frozenset({Capability.CONTINUES})

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.last: int | None = None
        self.running = False

    def ask(self) -> Proposal | Pause:
        if self.running:
            return Pause.WAIT
        self.running = True
        return Proposal(self.space.draw(self.rng), parent=self.last)

    def tell(self, trial: Trial, result: Result) -> None:
        self.running = False
        if result.ok:
            self.last = trial.number

    def continuable(self) -> Collection[int]:
        return () if self.last is None else (self.last,)


class Wanderer(hpo.Strategy):
    """Continues any of the last few that ended well, or begins anew; several at the same time."""

    name = "wanderer"
    capabilities = frozenset({Capability.CONTINUES})
    most: ClassVar[int] = 3

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.good: list[int] = []

    def ask(self) -> Proposal | Pause:
        parent = self.rng.choice([*self.good, None])
        return Proposal(self.space.draw(self.rng), parent=parent)

    def tell(self, trial: Trial, result: Result) -> None:
        if result.ok:
            self.good = [*self.good, trial.number][-self.most :]

    def continuable(self) -> Collection[int]:
        return self.good


def main(directory: str, command: str, n_trials: int) -> None:
    """Begin or go on with a chain."""
    with added(Chain):
        study = hpo.Study(
            hpo.Params([["--x", 0.5, (0.0, 1.0)]]),
            hpo.Evaluator(command, workload_manager="local", checkpoint="ckpt"),
            strategy="chain",
            n_trials=n_trials,
            seed=3,
            directory=directory,
            resume_if_exists=True,
        )
        study.optimize()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
