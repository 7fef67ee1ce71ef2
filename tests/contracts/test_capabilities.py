"""Strategies with every capability keep the contract too: its checks ask no more than the interface promises."""

from collections.abc import Collection
from typing import Any

import attrs

from hpo_core import Capability, Pause, Proposal, Report, Result, Trial
from hpo_core.interfaces import Strategy
from hpo_core.testing import StrategyContract


class Halving(Strategy):
    """A rung of four, then the best two go on from their checkpoints with twice the work; bad ones are stopped."""

    name = "halving"
    capabilities = frozenset({Capability.REPORTS, Capability.CONTINUES})
    size = 4

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.best = float("inf")
        self.proposed = 0
        self.told: list[tuple[float, int, dict[str, Any]]] = []
        self.queue: list[tuple[int, dict[str, Any]]] = []

    def ask(self) -> Proposal | Pause:
        if self.queue:
            parent, values = self.queue.pop(0)
            return Proposal(values, parent=parent, fidelity=2.0, info={"rung": 2})
        if self.proposed == self.size:
            return Pause.WAIT
        self.proposed += 1
        return Proposal(self.space.draw(self.rng), fidelity=1.0, info={"rung": 1})

    def foreign(self, proposal: Proposal, origin: str) -> Proposal:
        return attrs.evolve(proposal, fidelity=2.0)

    def tell(self, trial: Trial, result: Result) -> None:
        self.best = min(self.best, result.loss)
        if trial.origin != "strategy" or trial.info.get("rung") != 1:
            return
        self.told.append((result.loss, trial.number, dict(trial.values)))
        if len(self.told) == self.size:
            good = sorted((loss, number) for loss, number, _ in self.told)[:2]
            values = {number: values for _, number, values in self.told}
            self.queue += [(number, values[number]) for loss, number in good if loss < float("inf")]
            self.proposed, self.told = 0, []

    def report(self, trial: Trial, report: Report) -> bool:
        return report.step >= 3 and report.loss > self.best

    def continuable(self) -> Collection[int]:
        return [*(number for _, number, _ in self.told), *(parent for parent, _ in self.queue)]

    def get_state(self) -> Any:
        return {
            **super().get_state(),
            "best": repr(self.best),
            "proposed": self.proposed,
            "told": [[repr(loss), number, values] for loss, number, values in self.told],
            "queue": [list(item) for item in self.queue],
        }

    def set_state(self, state: Any) -> None:
        super().set_state(state)
        self.best = float(state["best"])
        self.proposed = state["proposed"]
        self.told = [(float(loss), number, values) for loss, number, values in state["told"]]
        self.queue = [tuple(item) for item in state["queue"]]


class TestHalving(StrategyContract):
    strategy = Halving
    constant_cost = True
    examples = 10


class Slow(Halving):
    """The same on a thread of its own."""

    name = "slow-halving"
    capabilities = Halving.capabilities | {Capability.SLOW}


class TestSlow(StrategyContract):
    strategy = Slow
    examples = 3
