"""The strategy ``genetic``: demes that breed from whatever has been evaluated."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import attrgetter
from random import Random
from typing import Any

import attrs
import numpy as np

from hpo_core import Capability, Outlook, Params, Pause, Proposal, Result, SpaceError, Strategy, Trial
from hpo_core.space import Domain
from hpo_core.trial import Value
from hpo_genetic._archive import Archive
from hpo_genetic._codec import Codec, Vector
from hpo_genetic._deme import Deme, Individual
from hpo_genetic._documented import Breeding, Steps
from hpo_genetic._local import LocalSearch
from hpo_genetic._options import GeneticOptions
from hpo_genetic._seen import Seen
from hpo_genetic._weights import Weights

DEFAULTS_TAG = "deme1_ind0"
_FRESH = 30
"""Tries to breed a point that was not evaluated before."""
_COUNTABLE = 200_000
"""Finite spaces up to this size are walked through when breeding finds nothing new."""
_PENDING = 2048
"""Running trials that are remembered; only a driver that loses trials has more."""
_THROUGHOUT = 0.2
"""Share of bred children whose hyperparameters are all mutated, as in the original."""
_FIRST_LOSSES = 12
"""Results whose median says what losses are like where nobody has searched yet."""
_MEMORY = 0.97
"""How much of an operator's credit is left after one result."""
_PLAIN = ("asked", "told", "foreign", "done", "walked", "visit", "scouts", "scale", "chance")
"""Attributes that are JSON values as they are."""
_WORTH = 1e-4
"""Gains around the best that count as such, as a share of what the first results differ from it."""
_PROGRESS = 0.05
"""The same elsewhere, as a share of how much worse than the best it still is."""
_AWAY = 0.6
"""Share of children that are made elsewhere once the neighbourhood of the best gives no more gains."""
_ARMS = ("bred", "differential", "screened", "quadratic")
_loss = attrgetter("loss")
_NO_STEPS = Steps()


class GeneticStrategy(Strategy):
    """Demes of individuals that breed as results come in.

    Each ask makes one child, for the demes in turn, by one of four operators; how often each is used follows from what
    its last children were worth, and all keep a share.

    - ``bred``: the documented one. Parents are chosen by tournaments within the deme, hyperparameters come from either
      by `crossover_rate`, and mutate by `mutation_rate`; one child in five is mutated throughout.
    - ``differential``: differential evolution among the members of the deme.
    - ``screened``: many variations of the best, of which a model of all results likes one best.
    - ``quadratic``: where a quadratic function through the results around the best is lowest.

    The first individuals are spread over the space; breeding begins with the first results. When the neighbourhood of
    the best has given no gain worth having for long, more than half of the children are made by a second search with
    the same models: where the landscape as a whole is deepest, in a part of the space chosen at random, or a jump away
    from the best. It begins anew as soon as it does not come nearer to the best any more, or has overtaken it. What is
    kept is bounded, except for the set of points that were evaluated (ten bytes each).

    A pass of a model takes about as long as ten other children. It makes one at first, and the more the more results
    there are (`LocalSearch.brood`).

    Where trials have checkpoints, a child goes on from that of a third parent, which is chosen like the other two and
    independently of them: Vose and others, "Recombination of Artificial Neural Networks", arXiv:1901.03900, 2019. What
    a point is worth depends on the weights then, so that no model is made of the results: all children are bred, and a
    point may come again.

    Nothing but ranks decides which individuals survive and breed, failures do not, and no point is proposed twice
    unless `allow_duplicates` says so.
    """

    name = "genetic"
    interface_version = 1
    Options = GeneticOptions

    def __init__(
        self, space: Params, *, seed: int, options: GeneticOptions | None = None, outlook: Outlook | None = None
    ) -> None:
        super().__init__(space, seed=seed, options=options, outlook=outlook)
        own: GeneticOptions = self.options
        self._codec = Codec(space)
        self._breeding = Breeding(
            own.mutation_rate, own.crossover_rate, own.mul_mutation_bounds, own.add_mutation_bounds
        )
        self._demes = [Deme(own.pop_size) for _ in range(own.num_demes)]
        self._weights = Weights(self._demes)
        self._continues = self.outlook.checkpoints
        if self._continues:
            self.capabilities = self.capabilities | {Capability.CONTINUES}
        self._archive = Archive(self._codec)
        self._seen = Seen()
        self._pending: dict[str, Vector] = {}
        self._asked = 0
        self._told = 0
        self._foreign = 0
        self._dice = np.random.default_rng(abs(seed))
        self._home = LocalSearch(self._codec, self._archive, self._dice, radius=0.4, newton=0.2)
        self._away = self._elsewhere()
        self._visit = 1
        self._scouts = 1
        self._first_losses: list[float] = []
        self._usual = 0.0
        self._credit = dict.fromkeys(_ARMS, 1.0)
        self._uses = dict.fromkeys(_ARMS, 2.0)
        self._scale = 0.6
        self._chance = 0.7
        self._done = False
        self._cells: list[list[int]] = []
        self._walked = 0
        self._walk: Iterator[dict[str, Value]] | None = None
        self._reserved = self._defaults()
        self._first = max(min(self._codec.size + 4, own.num_demes * own.pop_size), 2)

    # Asking

    def ask(self) -> Proposal | Pause:
        own: GeneticOptions = self.options
        total = self._asked + self._foreign
        size = own.num_demes * own.pop_size
        if self._done or total >= own.generations * size:
            self._done = True
            return Pause.DONE
        if own.synchronous and total and total % size == 0 and self._told < self._asked:
            return Pause.WAIT
        number = self._asked % own.num_demes
        deme = self._demes[number]
        found = self._new_point(deme)
        if found is None:
            self._done = True
            return Pause.DONE
        values, info = found
        parent, depth = self._third_parent(deme, info)
        self._asked += 1
        tag = f"deme{number + 1}_ind{deme.next_id}"
        deme.next_id += 1
        self._pending[tag] = self._codec.vector(values)
        if len(self._pending) > _PENDING:
            self._pending.pop(next(iter(self._pending)))
        return Proposal(
            values,
            parent=parent,
            fidelity=depth + 1.0 if self._continues else None,
            tag=tag,
            info={"deme": number + 1, **info},
        )

    def _third_parent(self, deme: Deme, info: dict[str, Any]) -> tuple[int | None, int]:
        """The trial whose checkpoint a child goes on from, and how many trials have made it; notes the epoch."""
        if not self._continues:
            return None, 0
        info["epoch"] = self._epoch
        return self._weights.of(deme.parent(self.rng), self._epoch) if deme.members else (None, 0)

    def continuable(self) -> Collection[int]:
        return self._weights.needed(self._epoch)

    @property
    def _epoch(self) -> int:
        own: GeneticOptions = self.options
        return 1 + (self._told + self._foreign) // (own.num_demes * own.pop_size * own.gens_per_epoch)

    def foreign(self, proposal: Proposal, origin: str) -> Proposal:
        tag = DEFAULTS_TAG if origin == "baseline" else ""
        return attrs.evolve(proposal, tag=tag, fidelity=1.0 if self._continues else None)

    def _defaults(self) -> int | None:
        """The point of the defaults, which the study evaluates itself; it is not proposed while others are left."""
        try:
            return self._codec.key(self.space.baseline(Random(0)))
        except SpaceError:
            return None

    def _new_point(self, deme: Deme) -> tuple[dict[str, Value], dict[str, Any]] | None:
        tries = 1 if self.options.allow_duplicates else _FRESH
        for attempt in range(tries):
            values, info = self._make(deme, attempt)
            if self._enters(values) or self.options.allow_duplicates:
                return values, info
        for _ in range(20):
            values = self._codec.draw(self.rng)
            if self._enters(values):
                return values, {"by": "drawn"}
        values_or_none = self._next_unseen()
        return None if values_or_none is None else (values_or_none, {"by": "left over"})

    def _enters(self, values: Mapping[str, Value]) -> bool:
        """Whether a point is new; from now on it is not."""
        if self._continues:
            return True
        key = self._codec.key(values)
        return key != self._reserved and self._seen.add(key)

    def _next_unseen(self) -> dict[str, Value] | None:
        """Any point that was not evaluated: by walking through a finite space, by drawing in another."""
        sizes = self._codec.counts
        if all(count is not None for count in sizes):
            finite = [count for count in sizes if count is not None]
            if math.prod(finite) <= _COUNTABLE:
                if self._walk is None:
                    self._walk = iter(self.space.grid(max(finite)))
                    for _ in range(self._walked):
                        next(self._walk, None)
                for values in self._walk:
                    self._walked += 1
                    if self._is_unseen(values):
                        return values
                return None
        for _ in range(1000):
            values = self._codec.draw(self.rng)
            if self._is_unseen(values):
                return values
        return None

    def _is_unseen(self, values: Mapping[str, Value]) -> bool:
        """Whether a point is new, the defaults too if they were not evaluated; from now on it is not."""
        return self._seen.add(self._codec.key(values))

    def _make(self, deme: Deme, attempt: int) -> tuple[dict[str, Value], dict[str, Any]]:
        """A point, perhaps one that is known."""
        rng = self.rng
        if self._asked < self._first or len(deme.members) < 1 or self._told + self._foreign < 3:
            return self._founder(), {"by": "founder"}
        if self.options.documented_only or self._continues:
            return self._bred(deme, attempt)
        if self._settled and rng.random() < _AWAY and (found := self._child_from_away(attempt)) is not None:
            return found
        arm = self._choose(rng) if attempt <= 2 else "bred"
        if arm in ("screened", "quadratic"):
            if (found := self._near(self._home, arm, at=0, again=attempt > 0)) is not None:
                return found
            arm = "differential" if rng.random() < 0.5 else "bred"
        if arm == "differential" and not attempt and len(deme.members) >= 4:
            point, scale, chance = self._differential(deme)
            return point, {"by": arm, "scale": scale, "chance": chance}
        return self._bred(deme, attempt)

    def _choose(self, rng: Random) -> str:
        """An operator, by what its last children were worth: probability matching with a share for all.

        Fialho, Da Costa, Schoenauer & Sebag, "Analyzing bandit-based adaptive operator selection mechanisms",
        Annals of Mathematics and Artificial Intelligence 60, 2010.
        """
        worths = [self._credit[arm] / self._uses[arm] for arm in _ARMS]
        total, place = sum(worths) or 1.0, rng.random()
        for arm, worth in zip(_ARMS, worths, strict=True):
            place -= 0.08 + (1.0 - 0.08 * len(_ARMS)) * worth / total
            if place < 0.0:
                return arm
        return _ARMS[-1]

    def _near(
        self, search: LocalSearch, arm: str, *, at: int, again: bool = False
    ) -> tuple[dict[str, Value], dict[str, Any]] | None:
        """A child that a model of one of the two searches likes; None where no model may be made now."""
        for kind in dict.fromkeys((arm, "screened")):
            found = search.child(kind, self.rng, self._pending.values(), again=again)
            if found is not None:
                vector, reach = found
                return self._codec.point(vector, self.rng), {"by": kind, "at": at, "reach": reach}
        return None

    @property
    def _settled(self) -> bool:
        """Whether the neighbourhood of the best has given no gain worth having for long."""
        return self._home.stale > 12 + 5 * self._codec.size + len(self._pending)

    def _elsewhere(self) -> LocalSearch:
        return LocalSearch(self._codec, self._archive, self._dice, radius=0.2, newton=0.1)

    def _child_from_away(self, attempt: int) -> tuple[dict[str, Value], dict[str, Any]] | None:
        """A child of the search elsewhere, or a scout that finds out where it might begin; None as `_near`."""
        if self._scouts > 0 or self._away.focus is None:
            self._scouts -= 1
            return self._scout(attempt), {"by": "scout", "at": self._visit}
        return self._near(self._away, self.rng.choice(("screened", "quadratic")), at=self._visit)

    def _scout(self, attempt: int) -> dict[str, Value]:
        """Where the landscape as a whole is deepest, somewhere in the space, or a jump away from the best, in turn."""
        best = self._home.focus
        kind = self._visit % 3
        if kind == 1 and not attempt and (found := self._home.deepest()) is not None:
            return self._codec.point(found, self.rng)
        if kind == 2 or best is None:
            return self._founder()
        rng = self.rng
        vector = [
            u if u != u or rng.random() < 0.3 else min(max(u + rng.gauss(0.0, 0.15), 0.0), 1.0) for u in best.vector
        ]
        return self._codec.point(vector, rng)

    def _founder(self) -> dict[str, Value]:
        """An individual of the first generation: spread over the space by stratified sampling.

        One cell of each hyperparameter is used once in every round (Latin hypercube: McKay, Beckman & Conover,
        Technometrics 21(2), 1979).
        """
        rng, rounds = self.rng, self._first
        if not self._cells or not self._cells[0]:
            self._cells = [rng.sample(range(rounds), rounds) for _ in range(self._codec.size)]
        logs = self._codec.logs
        values = {}
        for k, cells in enumerate(self._cells):
            u = (cells.pop() + rng.random()) / rounds
            flag, domain = self._codec.domains[k]
            linear = logs[k] and rng.random() < 0.3
            values[flag] = domain.from_unit(u) if linear else self._codec.value(k, u)
        return self.space.complete(values, rng)

    def _bred(self, deme: Deme, attempt: int) -> tuple[dict[str, Value], dict[str, Any]]:
        """A child by the documented operators; one in five is mutated throughout, as those of the original."""
        rng = self.rng
        first, second = deme.parent(rng), deme.parent(rng)
        steps = first.steps.varied(rng)
        child = self._breeding.cross(first.values, second.values, rng)
        rate = self._breeding.mutation_rate
        if rate and rng.random() < _THROUGHOUT + 0.02 * attempt:
            rate = 1.0
        point = self._codec.completed(child, rng)
        if rate:
            point = self._mutated(point, steps, rate)
            if point in (first.values, second.values):
                flag = rng.choice(list(point))
                domain = self._domains_at(point)[flag]
                if domain.size != 1:
                    moved = self._breeding.moved(point[flag], domain, steps, rng)
                    point = self._codec.completed({**point, flag: moved}, rng)
        return point, {"by": "bred", "steps": [steps.large, steps.bend]}

    def _mutated(self, point: dict[str, Value], steps: Steps, rate: float) -> dict[str, Value]:
        moved = self._breeding.mutate(point, self._domains_at(point), steps, self.rng, rate=rate)
        return self._codec.completed(moved, self.rng)

    def _domains_at(self, point: Mapping[str, Value]) -> Mapping[str, Domain]:
        """What each active flag may be beside the others."""
        own = self.space.domains
        if not self._codec.conditional:
            return own
        return {flag: self.space.domain(flag, point) or own[flag] for flag in point}

    def _differential(self, deme: Deme) -> tuple[dict[str, Value], float, float]:
        """A child by differential evolution, current-to-pbest/1/bin, with its scale and chance of crossover.

        Zhang & Sanderson, "JADE: adaptive differential evolution with optional external archive", IEEE
        Transactions on Evolutionary Computation 13(5), 2009.
        """
        rng, members = self.rng, deme.members
        count = len(members)
        base = deme.parent(rng).vector
        best = members[int(rng.random() * max(1, min(count // 5, 8)))].vector
        one, two = (members[int(rng.random() * count)].vector for _ in range(2))
        scale = round(min(max(rng.gauss(self._scale, 0.2), 0.05), 1.2), 6)
        chance = round(min(max(rng.gauss(self._chance, 0.2), 0.0), 1.0), 6)
        sure, unordered, draw = int(rng.random() * len(base)), self._codec.unordered, rng.random
        child = []
        for k, (u, b, p, q) in enumerate(zip(base, best, one, two, strict=True)):
            if k != sure and draw() >= chance:
                child.append(u)
                continue
            if unordered[k] or u != u:
                child.append(b if draw() < 0.5 else p)
                continue
            new = u + scale * ((b if b == b else u) - u) + (scale * (p - q) if p == p and q == q else 0.0)
            if new < 0.0:
                new = u * draw()
            elif new > 1.0:
                new = 1.0 - (1.0 - u) * draw()
            child.append(new)
        return self._codec.point(child, rng), scale, chance

    # Telling

    def tell(self, trial: Trial, result: Result) -> None:
        own: GeneticOptions = self.options
        values, epoch = trial.values, self._epoch if self._continues else 1
        vector = self._pending.pop(trial.tag, None)
        if vector is None:
            vector = self._codec.vector(values)
            if not self._continues:
                self._seen.add(self._codec.key(values))
        number = trial.info.get("deme")
        if number is None or not 1 <= number <= own.num_demes:
            self._foreign += 1
            homes = list(range(own.num_demes))
        else:
            self._told += 1
            homes = [number - 1]
        if self._continues and result.ok:
            self._weights.add(self._told + self._foreign, trial, epoch)
        loss = result.loss if result.ok else math.inf
        self._archive.add(vector, loss)
        one = None
        if loss < math.inf:
            steps = Steps(*trial.info["steps"]) if "steps" in trial.info else _NO_STEPS
            one = Individual(loss, self._told + self._foreign, values, vector, steps)
        self._learn(trial.info, one, homes)
        if one is not None:
            for home in homes:
                self._demes[home].add(one)
        for home in homes:
            self._demes[home].results += 1
            self._migrate(home)

    def _learn(self, info: Mapping[str, Any], one: Individual | None, homes: list[int]) -> None:
        """Move and adapt the searches, and credit the operator that made a child. `one` is None for a failure."""
        arm, at = info.get("by", ""), info.get("at")
        best = self._home.focus
        better = one is not None and (best is None or one < best)
        if at == 0:
            self._home.learn(arm, info.get("reach", 0.0), better, len(self._pending))
        if one is not None and len(self._first_losses) < _FIRST_LOSSES:
            self._first_losses.append(one.loss)
            self._usual = statistics.median(self._first_losses)
        if one is not None and better:
            self._home.move(one, _WORTH * (self._usual - one.loss))
        if at == self._visit:
            self._visited(info, one, best)
        elif arm in _ARMS and not at:
            self._reward(arm, info, one, better, self._demes[homes[0]].members)

    def _visited(self, info: Mapping[str, Any], one: Individual | None, best: Individual | None) -> None:
        """Go on elsewhere from a child, or begin anew."""
        away = self._away
        ahead = one is not None and (away.focus is None or one < away.focus)
        away.learn(info["by"], info.get("reach", 0.0), ahead, len(self._pending))
        if one is not None and ahead and best is not None:
            away.move(one, _PROGRESS * (one.loss - best.loss))
        overtaken = one is not None and best is not None and one < best
        if overtaken or (self._scouts <= 0 and away.stale > 8 + 3 * self._codec.size + len(self._pending)):
            self._away, self._visit = self._elsewhere(), self._visit + 1
            self._scouts = self._codec.size if self._visit % 3 == 2 else 1

    def _reward(
        self, arm: str, info: Mapping[str, Any], one: Individual | None, better: bool, members: Sequence[Individual]
    ) -> None:
        rank = 16 if one is None else bisect_right(members, one.loss, 0, min(len(members), 16), key=_loss)
        self._credit = {name: credit * _MEMORY + 0.01 for name, credit in self._credit.items()}
        self._uses = {name: uses * _MEMORY + 0.02 for name, uses in self._uses.items()}
        self._credit[arm] += 1.0 if better else 0.3 * max(0.0, 1.0 - rank / 8.0)
        self._uses[arm] += 1.0
        if arm == "differential" and better:
            self._scale += 0.1 * (info["scale"] - self._scale)
            self._chance += 0.1 * (info["chance"] - self._chance)

    def _migrate(self, home: int) -> None:
        """Send the deme's best to the next one, after the first generation and then every interval."""
        own: GeneticOptions = self.options
        deme = self._demes[home]
        interval = own.migration_interval
        while interval and deme.members and deme.results >= own.pop_size * (1.0 + interval * deme.migrations):
            deme.migrations += 1
            target = self._demes[(home + 1) % own.num_demes]
            target.next_id += 1
            if target is not deme:
                best = deme.members[0]
                if all(one.values != best.values for one in target.members):
                    target.add(best)

    # Saving

    def get_state(self) -> Any:
        return {
            **super().get_state(),
            "demes": [deme.to_json() for deme in self._demes],
            "archive": self._archive.to_json(),
            "weights": self._weights.to_json(),
            "seen": self._seen.to_json(),
            "pending": [[tag, [None if u != u else u for u in vector]] for tag, vector in self._pending.items()],
            "dice": self._dice.bit_generator.state,
            "home": self._home.to_json(),
            "away": self._away.to_json(),
            "credit": dict(self._credit),
            "uses": dict(self._uses),
            "first_losses": list(self._first_losses),
            "cells": [list(cells) for cells in self._cells],
            **{name: getattr(self, f"_{name}") for name in _PLAIN},
        }

    def set_state(self, state: Any) -> None:
        super().set_state(state)
        for deme, data in zip(self._demes, state["demes"], strict=True):
            deme.set_json(data)
        self._archive.set_json(state["archive"])
        self._weights.set_json(state["weights"])
        self._seen = Seen(state["seen"])
        self._pending = {tag: [math.nan if u is None else u for u in vector] for tag, vector in state["pending"]}
        self._dice.bit_generator.state = state["dice"]
        self._home.set_json(state["home"])
        self._away.set_json(state["away"])
        self._credit, self._uses = dict(state["credit"]), dict(state["uses"])
        self._first_losses = list(state["first_losses"])
        self._usual = statistics.median(self._first_losses or [0.0])
        self._cells = [list(cells) for cells in state["cells"]]
        for name in _PLAIN:
            setattr(self, f"_{name}", state[name])
        self._walk = None
