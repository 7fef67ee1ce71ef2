"""The strategy ``pbt``: members train an epoch at a time, and the worst go on with the weights of the best."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import attrs

from hpo_core import Capability, Outlook, Params, Pause, Proposal, Result, Strategy, Trial
from hpo_core.trial import Value
from hpo_genetic._codec import Codec
from hpo_genetic._explore import explored
from hpo_genetic._member import Member
from hpo_genetic._pbt_options import PBTOptions


class PBTStrategy(Strategy):
    """Population-based training: hyperparameters change while the weights that they train are kept.

    Jaderberg and others, "Population Based Training of Neural Networks", arXiv:1711.09846, 2017; asynchronous, with a
    trial for each step of training that continues another's checkpoint: Li and others, "A Generalized Framework for
    Population Based Training", KDD 2019.

    A trial is one epoch of a member: it starts from the checkpoint of its parent and leaves its own. A member whose
    epoch has ended is proposed again as soon as a slot is free, and goes on with its own weights; but

    - exploit (truncation selection): one that is among the worst takes over the weights and hyperparameters of one of
      the best. It is compared with each other member by what both had reached when they had been trained equally
      long, so that slow members are not thought bad; whom it takes over has the best weights now.
    - explore: the hyperparameters taken over are perturbed or drawn anew, through the space's algebra.
    - one whose evaluation failed takes over from one of the best too, or begins anew where nobody has weights.

    Member 1 begins with the defaults, which the study evaluates itself; the others begin spread over the space. Points
    that others put in take the places of members that have not begun, later ones are not heeded. The fidelity of a
    trial is for how many epochs its weights have been trained when it ends.
    """

    name = "pbt"
    interface_version = 1
    Options = PBTOptions
    capabilities = frozenset({Capability.CONTINUES})

    def __init__(
        self, space: Params, *, seed: int, options: PBTOptions | None = None, outlook: Outlook | None = None
    ) -> None:
        super().__init__(space, seed=seed, options=options, outlook=outlook)
        own: PBTOptions = self.options
        self._members = [Member(number) for number in range(1, own.pop_size + 1)]
        self._codec = Codec(space)
        # Latin hypercube: McKay, Beckman & Conover, Technometrics 21(2), 1979.
        self._cells = [self.rng.sample(range(own.pop_size), own.pop_size) for _ in range(self._codec.size)]
        self._asked = 0
        self._told = 0
        self._done = False

    # Asking

    def ask(self) -> Proposal | Pause:
        own: PBTOptions = self.options
        training = [one for one in self._members if one.age < own.epochs]
        if not training or self._asked >= own.pop_size * own.epochs:
            self._done = True
        if self._done:
            return Pause.DONE
        ready = [one for one in training if not one.running]
        if not self._members[0].steps and self._defaults_may_come():
            ready = [one for one in ready if one is not self._members[0]]
        if not ready:
            return Pause.WAIT
        return self._next_epoch(min(ready, key=lambda one: (one.age, one.turn, one.number)))

    def _defaults_may_come(self) -> bool:
        """Whether the place of member 1 is kept free: as long as others have yet to end their first epoch."""
        return any(not one.steps or (one.steps == 1 and one.running) for one in self._members[1:])

    def _next_epoch(self, member: Member) -> Proposal:
        own: PBTOptions = self.options
        info: dict[str, Any] = {}
        if member is self._members[0] and not member.steps:
            member.number = own.pop_size + 1  # The number 1 is that of the defaults, which may yet come.
        donor = self._donor(member)
        if donor is not None:
            info["from"] = donor.number
            member.take_over(donor)
            values = explored(member.values, self.space, self.rng, factors=own.factors, resample=own.resample)
        elif member.trial is not None:
            values = dict(member.values)
        else:
            values = self._beginning(member)
        member.steps += 1
        member.running = True
        self._asked += 1
        return Proposal(
            values,
            parent=member.trial,
            fidelity=member.age + 1.0,
            tag=f"member{member.number}_epoch{member.steps}",
            info={"member": member.number, "epoch": member.steps, **info},
        )

    def _beginning(self, member: Member) -> dict[str, Value]:
        """Where a member without weights begins: in its own part of the space, or anywhere after a failure."""
        if member.steps:
            return self._codec.draw(self.rng)
        place = self._members.index(member)
        count = self.options.pop_size
        units = [(cells[place] + self.rng.random()) / count for cells in self._cells]
        return self.space.complete(
            {flag: self._codec.value(k, units[k]) for k, (flag, _) in enumerate(self._codec.domains)}, self.rng
        )

    def _donor(self, member: Member) -> Member | None:
        """Whose weights the member takes over, its own after a failure perhaps; None: it goes on as it was."""
        known = [one for one in self._members if one.losses and one.age < self.options.epochs]
        worth = max(1, int(self.options.quantile * len(known)))
        ranked = sorted(known, key=lambda one: (one.losses[-1], one.number))
        if member.failed:
            donors = [one for one in ranked if one is not member][:worth] or ranked
        elif self._is_settled(member, known) and sum(member.is_behind(one) for one in known) >= len(known) - worth:
            donors = [one for one in ranked[:worth] if one.losses[-1] < member.losses[-1]]
        else:
            return None
        return donors[int(self.rng.random() * len(donors))] if donors else None

    def _is_settled(self, member: Member, known: Sequence[Member]) -> bool:
        """Whether it is time to compare: after a few epochs with its weights, and with half the population at least."""
        own: PBTOptions = self.options
        return bool(member.losses) and member.since >= own.ready_interval and 2 * len(known) >= max(own.pop_size, 4)

    def foreign(self, proposal: Proposal, origin: str) -> Proposal:
        return attrs.evolve(proposal, tag="member1_epoch1" if origin == "baseline" else "", fidelity=1.0)

    # Telling

    def tell(self, trial: Trial, result: Result) -> None:
        self._told += 1
        member = self._member_of(trial, result)
        if member is None:
            return
        if "member" not in trial.info:
            self._asked += 1
        member.running = False
        member.steps = max(member.steps, trial.info.get("epoch", 1))
        member.turn = self._told
        member.failed = not result.ok
        if result.ok:
            member.learn(trial.number, int(trial.fidelity or 1), dict(trial.values), result.loss)

    def _member_of(self, trial: Trial, result: Result) -> Member | None:
        """The member whose epoch a trial was; a trial of others may become the first epoch of one."""
        number, first = trial.info.get("member"), self._members[0]
        if number is not None:
            if number == self.options.pop_size + 1:
                first.number = number
            return next((one for one in self._members if one.number == number), None)
        if trial.origin == "baseline":
            return None if first.steps else first
        if trial.origin == "inserted" or not result.ok:
            return None  # It has no checkpoint.
        return next((one for one in self._members[1:] if not one.steps), None)

    def continuable(self) -> Collection[int]:
        return {one.trial for one in self._members if one.trial is not None}

    # Saving

    def get_state(self) -> Any:
        return {
            **super().get_state(),
            "members": [one.to_json() for one in self._members],
            "asked": self._asked,
            "told": self._told,
            "done": self._done,
        }

    def set_state(self, state: Any) -> None:
        super().set_state(state)
        self._members = [Member.from_json(one) for one in state["members"]]
        self._asked, self._told, self._done = state["asked"], state["told"], state["done"]
