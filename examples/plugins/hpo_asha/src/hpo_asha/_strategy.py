"""ASHA: Li and others, "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import attrs
from attrs import field, frozen, validators

from hpo_asha._rung import Rung
from hpo_core import (
    Capability,
    ConfigurationError,
    Outlook,
    Params,
    Pause,
    Proposal,
    Report,
    Result,
    Strategy,
    Trial,
)


@frozen
class AshaOptions:
    """Options of the strategy ``asha``.

    Attributes:
        mode: ``stop`` ends programs early by what they print; ``continue`` runs each for a little, and the best
            again for longer.
        min_fidelity: the paper's r: the first rung, in steps (``stop``) or as the fidelity (``continue``).
        max_fidelity: the paper's R: nothing gets more than this; None: no bound, with ``stop`` only.
        reduction: the paper's eta: one of so many goes on from each rung.
    """

    mode: Literal["stop", "continue"] = field(default="stop", validator=validators.in_(("stop", "continue")))
    min_fidelity: int = field(default=1, validator=validators.ge(1))
    max_fidelity: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    reduction: int = field(default=4, validator=validators.ge(2))

    def __attrs_post_init__(self) -> None:
        if self.mode == "continue" and self.max_fidelity is None:
            raise ConfigurationError("mode 'continue' needs max_fidelity, the most work for one point, such as 64")
        if self.max_fidelity is not None and self.max_fidelity < self.min_fidelity:
            raise ConfigurationError(f"max_fidelity={self.max_fidelity} is less than min_fidelity={self.min_fidelity}")

    def fidelity(self, rung: int) -> int:
        """The work that leads to a rung, counted from 0."""
        work: int = self.min_fidelity * self.reduction**rung
        return work if self.max_fidelity is None else min(work, self.max_fidelity)

    def is_top(self, rung: int) -> bool:
        """Whether nothing goes on from this rung."""
        return self.max_fidelity is not None and self.fidelity(rung) >= self.max_fidelity


class AshaStrategy(Strategy):
    """Random points, most of which get little work.

    With ``stop``, a trial is ended at the first rung (report with a step of r, r eta, r eta^2, ...) where it is not
    among the best 1/eta of all that came so far. The program need not know.

    With ``continue`` (the paper's algorithm 2), a trial is run up to a rung, and as soon as it is among the best 1/eta
    there, another trial goes on from its checkpoint up to the next one. Where the study has no checkpoints, that one
    begins anew. The program does as much as its fidelity says.

    Trials of others that did not run as much as a rung takes are not heeded with ``continue``.
    """

    name = "asha"
    interface_version = 1
    capabilities = frozenset({Capability.REPORTS})
    Options = AshaOptions

    def __init__(
        self, space: Params, *, seed: int, options: AshaOptions | None = None, outlook: Outlook | None = None
    ) -> None:
        super().__init__(space, seed=seed, options=options, outlook=outlook)
        self._own: AshaOptions = self.options
        self._rungs: list[Rung] = []
        self._next: dict[int, int] = {}
        """With ``stop``: the rung that each running trial has yet to reach."""
        if self._own.mode == "continue":
            continues = {Capability.CONTINUES} if self.outlook.checkpoints else ()
            self.capabilities = frozenset(continues)

    def ask(self) -> Proposal | Pause:
        if self._own.mode == "stop":
            return Proposal(self.space.draw(self.rng))
        # Algorithm 2, get_job: from the highest rung down, whoever may go on does; else one begins below.
        for k in reversed(range(len(self._rungs))):
            if self._own.is_top(k):
                continue
            for number, values in self._rungs[k].promotable(self._own.reduction):
                self._rungs[k].promoted.add(number)
                return self._proposal(values, k + 1, number)
        return self._proposal(self.space.draw(self.rng), 0, None)

    def _proposal(self, values: dict[str, Any], rung: int, parent: int | None) -> Proposal:
        return Proposal(
            values,
            parent=parent if self.outlook.checkpoints else None,
            fidelity=float(self._own.fidelity(rung)),
            info={"rung": rung},
        )

    def foreign(self, proposal: Proposal, origin: str) -> Proposal:
        """Others' points get the full work, so that the results of the search can be compared with theirs."""
        if self._own.mode == "stop" or origin == "inserted":
            return proposal
        assert self._own.max_fidelity is not None  # noqa: S101 - for the type checker
        return attrs.evolve(proposal, fidelity=float(self._own.max_fidelity))

    def tell(self, trial: Trial, result: Result) -> None:
        if self._own.mode == "stop":
            self._next.pop(trial.number, None)
        elif "rung" in trial.info:
            self._rung(trial.info["rung"]).add(result.loss, trial.number, dict(trial.values))

    def report(self, trial: Trial, report: Report) -> bool:
        if self._own.mode == "continue":
            return False
        rung = self._next.get(trial.number, 0)
        if report.step < self._own.fidelity(rung):
            return False
        while not self._own.is_top(rung) and report.step >= self._own.fidelity(rung + 1):
            rung += 1
        self._next[trial.number] = rung + 1
        self._rung(rung).add(report.loss, trial.number, {})
        return self._own.is_top(rung) or not self._rungs[rung].is_among_best(trial.number, self._own.reduction)

    def _rung(self, k: int) -> Rung:
        while len(self._rungs) <= k:
            self._rungs.append(Rung())
        return self._rungs[k]

    def continuable(self) -> Collection[int]:
        if Capability.CONTINUES not in self.capabilities:
            return ()
        return {number for k, rung in enumerate(self._rungs) if not self._own.is_top(k) for number in rung.waiting()}

    def get_state(self) -> Any:
        return {
            **super().get_state(),
            "rungs": [rung.to_json() for rung in self._rungs],
            "next": sorted(map(list, self._next.items())),
        }

    def set_state(self, state: Any) -> None:
        super().set_state(state)
        self._rungs = [Rung(*one) for one in state["rungs"]]
        self._next = dict(state["next"])
