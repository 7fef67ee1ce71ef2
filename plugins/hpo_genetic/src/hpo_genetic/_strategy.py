"""The strategy ``genetic``: demes that breed from whatever has been evaluated."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from random import Random
from typing import Any

import numpy as np

from hpo_core import Capability, Outlook, Params, Pause, Proposal, Result, SpaceError, Strategy, Trial
from hpo_core.trial import Value
from hpo_genetic._archive import Archive
from hpo_genetic._codec import Array, Codec, Vector
from hpo_genetic._deme import Deme, Individual
from hpo_genetic._documented import Breeding, Steps
from hpo_genetic._model import Interpolation, Quadratic, nearest, squared_distances
from hpo_genetic._options import GeneticOptions
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
_MEMORY = 0.97
"""How much of an operator's credit is left after one result."""
_PLAIN = (
    "asked", "told", "foreign", "done", "walked", "phase", "stale", "scouts", "radius", "good", "bad", "newton",
    "scale", "chance",
)  # fmt: skip
"""Attributes that are JSON values as they are."""
_ALL_PAIRS = 16
"""Dimensions up to which a quadratic function may have all its mixed terms."""
_ANY_QUADRATIC = 60
"""Dimensions up to which there is a quadratic function at all."""
_ARMS = ("bred", "differential", "screened", "quadratic")


class GeneticStrategy(Strategy):
    """Demes of individuals that breed as results come in.

    Each ask makes one child, for the demes in turn, by one of four operators; how often each is used follows from what
    its last children were worth, and all keep a share.

    - ``bred``: the documented one. Parents are chosen by tournaments within the deme, hyperparameters come from either
      by `crossover_rate`, and mutate by `mutation_rate`; one child in five is mutated throughout.
    - ``differential``: differential evolution among the members of the deme.
    - ``screened``: many variations of the best, of which a model of all results likes one best.
    - ``quadratic``: where a quadratic function through the results around the best is lowest.

    The first individuals are spread over the space; breeding begins with the first results. When nothing near the best
    has become better for long, the models look elsewhere: where the landscape as a whole is deepest, in a part of the
    space chosen at random, or a jump away from the best. What is kept is bounded, except for the set of points that
    were evaluated (some bytes each).

    Where trials have checkpoints, a child goes on from that of a third parent, which is chosen like the other two and
    independently of them: Vose and others, "Recombination of Artificial Neural Networks", arXiv:1901.03900, 2019. What
    a point is worth depends on the weights then, so that no model is made of the results: all children are bred, and a
    point may come again.

    Nothing but ranks decides which individuals survive and breed, failures do not, and no point is proposed twice
    unless `allow_duplicates` says so.
    """

    name = "genetic"
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
            self.capabilities = self.capabilities | {Capability.CONTINUES}  # type: ignore[misc]
        self._archive = Archive(self._codec)
        self._seen: set[int] = set()
        self._pending: dict[str, Vector] = {}
        self._asked = 0
        self._told = 0
        self._foreign = 0
        self._best: Individual | None = None
        self._credit = dict.fromkeys(_ARMS, 1.0)
        self._uses = dict.fromkeys(_ARMS, 2.0)
        self._focus: Individual | None = None
        self._phase = 0
        self._stale = 0
        self._scouts = 0
        self._radius = 0.4
        self._good = 0
        self._bad = 0
        self._newton = 0.2
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
        if not self._continues:
            self._seen.add(self._hash(values))
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

    def tag(self, number: int) -> str:
        return DEFAULTS_TAG if number == 1 else f"point{number}"

    def _defaults(self) -> int | None:
        """The point of the defaults, which the study evaluates itself; it is not proposed while others are left."""
        try:
            return self._hash(self.space.baseline(Random(0)))
        except SpaceError:
            return None

    def _new_point(self, deme: Deme) -> tuple[dict[str, Value], dict[str, Any]] | None:
        tries = 1 if self.options.allow_duplicates else _FRESH
        for attempt in range(tries):
            values, info = self._make(deme, attempt)
            if self.options.allow_duplicates or self._is_new(values):
                return values, info
        for _ in range(20):
            values = self._codec.draw(self.rng)
            if self._is_new(values):
                return values, {"by": "drawn"}
        values_or_none = self._next_unseen()
        return None if values_or_none is None else (values_or_none, {"by": "left over"})

    def _is_new(self, values: Mapping[str, Value]) -> bool:
        if self._continues:
            return True
        key = self._hash(values)
        return key not in self._seen and (key != self._reserved)

    def _hash(self, values: Mapping[str, Value]) -> int:
        text = repr(self.space.key(values)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")

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
                    if self._hash(values) not in self._seen:
                        return values
                return None
        for _ in range(1000):
            values = self._codec.draw(self.rng)
            if self._hash(values) not in self._seen:
                return values
        return None

    def _make(self, deme: Deme, attempt: int) -> tuple[dict[str, Value], dict[str, Any]]:
        """A point, perhaps one that is known."""
        rng = self.rng
        if self._asked < self._first or len(deme.members) < 1 or self._told + self._foreign < 3:
            return self._founder(), {"by": "founder"}
        if self.options.documented_only or self._continues:
            return self._bred(deme, attempt)
        if self._scouts > 0:
            self._scouts -= 1
            return self._scout(), {"by": "scout", "at": self._phase}
        arm = self._choose(rng)
        if attempt > 2:
            arm = "bred"
        if arm == "differential" and len(deme.members) >= 4:
            point, scale, chance = self._differential(deme)
            return point, {"by": arm, "scale": scale, "chance": chance}
        if arm == "screened":
            return self._screened(deme), {"by": arm, "at": self._phase}
        if arm == "quadratic":
            found = self._quadratic(attempt)
            if found is not None:
                return found, {"by": arm, "at": self._phase}
            return self._screened(deme), {"by": "screened", "at": self._phase}
        return self._bred(deme, attempt)

    def _choose(self, rng: Random) -> str:
        """An operator, by what its last children were worth: probability matching with a share for all.

        Fialho, Da Costa, Schoenauer & Sebag, "Analyzing bandit-based adaptive operator selection mechanisms",
        Annals of Mathematics and Artificial Intelligence 60, 2010.
        """
        worth = {arm: self._credit[arm] / self._uses[arm] for arm in _ARMS}
        total = sum(worth.values()) or 1.0
        place = rng.random()
        for arm in _ARMS:
            place -= 0.08 + (1.0 - 0.08 * len(_ARMS)) * worth[arm] / total
            if place < 0.0:
                return arm
        return _ARMS[-1]

    def _scout(self) -> dict[str, Value]:
        """A place to go on from when the neighbourhood of the best is exhausted: far away, or a jump from the best."""
        if self._phase % 3 == 1 and (found := self._quadratic(0, wide=True)) is not None:
            return found
        if self._phase % 3 == 2 or self._best is None:
            return self._founder()
        rng = self.rng
        vector = [
            u if u != u or rng.random() < 0.3 else min(max(u + rng.gauss(0.0, 0.15), 0.0), 1.0)
            for u in self._best.vector
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
        point = self.space.complete(child, rng)
        if rate:
            point = self._mutated(point, steps, rate)
            if rate < 1.0 and not self._is_new(point):
                flag = rng.choice(list(point))
                domain = self.space.domain(flag, point)
                if domain is not None and domain.size != 1:
                    moved = self._breeding.moved(point[flag], domain, steps, rng)
                    point = self.space.complete({**point, flag: moved}, rng)
        return point, {"by": "bred", "steps": [steps.large, steps.bend]}

    def _mutated(self, point: dict[str, Value], steps: Steps, rate: float) -> dict[str, Value]:
        domains = {}
        for flag in point:
            domain = self.space.domain(flag, point)
            domains[flag] = self.space.domains[flag] if domain is None else domain
        moved = self._breeding.mutate(point, domains, steps, self.rng, rate=rate)
        return self.space.complete(moved, self.rng)

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
        sure = int(rng.random() * len(base))
        child = []
        for k, u in enumerate(base):
            if k != sure and rng.random() >= chance:
                child.append(u)
                continue
            if self._codec.unordered[k] or u != u:
                child.append((best if rng.random() < 0.5 else one)[k])
                continue
            b, p, q = best[k], one[k], two[k]
            new = u + scale * ((b if b == b else u) - u) + (scale * (p - q) if p == p and q == q else 0.0)
            if new < 0.0:
                new = u * rng.random()
            elif new > 1.0:
                new = 1.0 - (1.0 - u) * rng.random()
            child.append(new)
        return self._codec.point(child, rng), scale, chance

    # Children that a model has screened

    def _screened(self, deme: Deme) -> dict[str, Value]:
        """The child that a model of the results likes best, among many."""
        rng, codec = self.rng, self._codec
        _, features, losses = self._archive.tables()
        best = self._focus or self._best
        if best is None:
            return codec.draw(rng)
        dice = np.random.default_rng(rng.getrandbits(63))
        centre = np.array(best.vector)
        subset = nearest(features, codec.features(centre[None, :])[0], 160)
        x, y = features[subset], _tame(losses[subset], rng.random() < 0.5)
        model = Interpolation(x, y)
        candidates, points = self._candidates(deme, centre, dice)
        table = codec.features(candidates)
        expected = model(table)
        known = x
        if self._pending:
            waiting = codec.features(np.array(list(self._pending.values())[-256:]))
            known = np.vstack([x, waiting])
        gaps = np.sqrt(squared_distances(table, known).min(1))
        weight = rng.choice((0.5, 0.8, 0.95, 1.0))
        score = weight * _spread(expected) + (1.0 - weight) * (1.0 - _spread(gaps))
        score[gaps < 1e-9] = np.inf
        chosen = int(score.argmin())
        return points[chosen] if points else codec.point(candidates[chosen].tolist(), rng)

    def _candidates(self, deme: Deme, centre: Array, dice: np.random.Generator) -> tuple[Array, list[dict[str, Value]]]:
        codec, n = self._codec, self._codec.size
        count = 200 if codec.plain else 60
        width = self._radius * np.exp(dice.normal(0.0, 0.7, (count, 1)))
        active = np.where(np.isnan(centre), dice.random((count, n)), centre)
        share = np.maximum(np.minimum(1.0, dice.choice([1.0, 2.0, 4.0, 20.0], (count, 1)) / n), 1.0 / n)
        moving = dice.random((count, n)) < share
        moving[np.arange(count), dice.integers(0, n, count)] = True
        made = active + np.where(moving, dice.normal(0.0, 1.0, (count, n)) * width, 0.0)
        made = np.abs(made)
        made = np.clip(np.where(made > 1.0, 2.0 - made, made), 0.0, 1.0)
        for k, counted in enumerate(codec.counts):
            if codec.unordered[k]:
                drawn = dice.random(count)
                made[:, k] = np.where(moving[:, k] & (dice.random(count) < 0.5), drawn, active[:, k])
            elif counted is not None and not codec.logs[k]:
                cell = np.minimum(made[:, k] * counted, counted - 1).astype(int)
                old = np.minimum(active[:, k] * counted, counted - 1).astype(int)
                step = np.where(moving[:, k] & (cell == old), np.where(dice.random(count) < 0.5, 1, -1), 0)
                step = step * (dice.random(count) < 0.3)
                made[:, k] = (np.clip(cell + step, 0, counted - 1) + 0.5) / counted
        if codec.plain:
            return made, []
        points = [codec.point(row.tolist(), self.rng) for row in made]
        return np.array([codec.vector(point) for point in points]), points

    def _quadratic(self, attempt: int, *, wide: bool = False) -> dict[str, Value] | None:
        """Where a quadratic function through the results around the best has its minimum.

        A wide one goes through results all over the space, and shows where a landscape of many valleys is deepest.
        """
        best, codec, rng = (not wide and self._focus) or self._best, self._codec, self.rng
        if best is None:
            return None
        vectors, _, losses = self._archive.tables()
        centre = np.array(best.vector)
        same = np.ones(len(losses), dtype=bool)
        moving = ~np.isnan(centre) & codec.numeric
        for k in range(codec.size):
            if codec.unordered[k]:
                same &= (vectors[:, k] == centre[k]) | (np.isnan(vectors[:, k]) & np.isnan(centre[k]))
        same &= (np.isnan(vectors) == np.isnan(centre)).all(1)
        axes = np.flatnonzero(moving)
        n = len(axes)
        rows = np.flatnonzero(same)
        if not 0 < n <= _ANY_QUADRATIC or len(rows) < 2 * n + 3:
            return None
        table = vectors[np.ix_(rows, axes)] - centre[axes]
        wanted = min(int(1.25 * (n + 1) * (n + 2) / 2) + n, 400) if n <= _ALL_PAIRS else min(6 * n, 400)
        order = _thinned(table, losses[rows]) if wide else nearest(table, np.zeros(n), wanted)
        offsets, values = table[order], losses[rows[order]]
        ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
        weights = 1.0 + 19.0 * (1.0 - ranks / len(ranks)) ** 2
        model = Quadratic(offsets, _tame(values, False, keep=0.9), weights)
        reach = 1.0 if wide else self._newton
        low = np.maximum(-reach, -centre[axes])
        high = np.minimum(reach, 1.0 - centre[axes])
        step = model.minimiser(low, high)
        blur = 0.0 if wide else 0.02 * reach * (attempt > 0) + 0.2 * reach * min(len(self._pending), 10) / 10.0
        if blur:
            step = step + np.array([rng.gauss(0.0, blur) for _ in range(n)])
        made = centre.copy()
        made[axes] = np.clip(centre[axes] + step, 0.0, 1.0)
        return codec.point(made.tolist(), rng)

    # Telling

    def tell(self, trial: Trial, result: Result) -> None:
        own: GeneticOptions = self.options
        values = dict(trial.values)
        if not self._continues:
            self._seen.add(self._hash(values))
        epoch = self._epoch
        vector = self._pending.pop(trial.tag, None) or self._codec.vector(values)
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
        self._learn(trial.info, loss, homes)
        if loss < math.inf:
            steps = Steps(*trial.info["steps"]) if "steps" in trial.info else Steps()
            one = Individual(loss, self._told + self._foreign, values, vector, steps)
            for home in homes:
                self._demes[home].add(one)
            if self._best is None or one < self._best:
                self._best = self._focus = one
            elif trial.info.get("at") == self._phase and (self._focus is None or one < self._focus):
                self._focus = one
        for home in homes:
            self._demes[home].results += 1
            self._migrate(home)

    def _learn(self, info: Mapping[str, Any], loss: float, homes: list[int]) -> None:
        """Credit the operator that made a child, and adapt step sizes to what came of it."""
        arm = info.get("by")
        if arm not in _ARMS:
            return
        best = self._focus or self._best
        better = best is None or loss < best.loss
        if "at" in info and info["at"] == self._phase:
            self._stale = 0 if better else self._stale + 1
            if self._stale > 12 + 5 * self._codec.size + len(self._pending):
                self._phase, self._stale, self._focus = self._phase + 1, 0, None
                self._radius, self._newton, self._good, self._bad = 0.2, 0.1, 0, 0
                self._scouts = self._codec.size if self._phase % 3 == 2 else 1
        members = self._demes[homes[0]].members
        rank = sum(1 for one in members[:16] if one.loss <= loss)
        reward = 1.0 if better else 0.3 * max(0.0, 1.0 - rank / 8.0)
        for name in _ARMS:
            self._credit[name] = self._credit[name] * _MEMORY + 0.01
            self._uses[name] = self._uses[name] * _MEMORY + 0.02
        self._credit[arm] += reward
        self._uses[arm] += 1.0
        if arm == "screened":
            self._good = self._good + 1 if better else 0
            self._bad = 0 if better else self._bad + 1
            if self._good >= 2:
                self._radius, self._good = min(self._radius * 1.6, 0.5), 0
            elif self._bad >= max(4, self._codec.size):
                self._radius, self._bad = self._radius * 0.6, 0
                if self._radius < 1e-5:
                    self._radius = 0.3
        elif arm == "differential" and better:
            self._scale += 0.1 * (info["scale"] - self._scale)
            self._chance += 0.1 * (info["chance"] - self._chance)
        elif arm == "quadratic":
            self._newton = min(self._newton * 1.5, 0.5) if better else max(self._newton * 0.8, 1e-5)

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
            "seen": sorted(self._seen),
            "pending": [[tag, [None if u != u else u for u in vector]] for tag, vector in self._pending.items()],
            "best": None if self._best is None else self._best.to_json(),
            "focus": None if self._focus is None else self._focus.to_json(),
            "credit": dict(self._credit),
            "uses": dict(self._uses),
            "cells": [list(cells) for cells in self._cells],
            **{name: getattr(self, f"_{name}") for name in _PLAIN},
        }

    def set_state(self, state: Any) -> None:
        super().set_state(state)
        for deme, data in zip(self._demes, state["demes"], strict=True):
            deme.set_json(data)
        self._archive.set_json(state["archive"])
        self._weights.set_json(state["weights"])
        self._seen = set(state["seen"])
        self._pending = {tag: [math.nan if u is None else u for u in vector] for tag, vector in state["pending"]}
        self._best = None if state["best"] is None else Individual.from_json(state["best"])
        self._focus = None if state["focus"] is None else Individual.from_json(state["focus"])
        self._credit, self._uses = dict(state["credit"]), dict(state["uses"])
        self._cells = [list(cells) for cells in state["cells"]]
        for name in _PLAIN:
            setattr(self, f"_{name}", state[name])
        self._walk = None


def _tame(losses: Array, ranks: bool, *, keep: float = 0.5) -> Array:
    """Losses made fit for a model: one that is huge must not hide the others."""
    if ranks:
        order = np.argsort(np.argsort(losses, kind="stable"), kind="stable")
        return (order / max(len(losses) - 1, 1)) ** 2
    low, middle = float(losses.min()), float(np.quantile(losses, keep))
    if not middle > low:
        middle = float(losses.max())
    clipped: Array = np.minimum(losses, middle)
    return (clipped - low) / ((middle - low) or 1.0)


def _thinned(points: Array, losses: Array) -> Array:
    """Rows of good points that are well apart, so that no valley counts more than another."""
    apart = 0.003 * points.shape[1]
    left = np.argsort(losses, kind="stable")[: max(20, (3 * len(losses)) // 4)]
    kept: list[int] = []
    while len(left) and len(kept) < 250:
        kept.append(int(left[0]))
        left = left[((points[left] - points[left[0]]) ** 2).sum(1) > apart]
    return np.array(kept)


def _spread(values: Array) -> Array:
    low, high = float(values.min()), float(values.max())
    found: Array = (values - low) / ((high - low) or 1.0)
    return found
