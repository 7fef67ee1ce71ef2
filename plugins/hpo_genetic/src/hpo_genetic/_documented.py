"""The documented way to make a child: crossover for each hyperparameter, then mutation for each hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from attrs import frozen

from hpo_core import Integer, Values
from hpo_core.space import Domain
from hpo_core.trial import Value


@frozen
class Steps:
    """How an individual mutates; inherited and varied with it, so that good habits survive with good individuals.

    Self-adaptation of mutation as in evolution strategies: Bäck & Schwefel, "An overview of evolutionary
    algorithms for parameter optimization", Evolutionary Computation 1(1), 1993.

    Attributes:
        large: probability that a mutation is a large one.
        bend: above 1 sizes are nearer to their lower bound, below 1 to their upper one.
    """

    large: float = 0.5
    bend: float = 1.0

    def varied(self, rng: Random) -> Steps:
        """A child's."""
        odds = math.log(self.large / (1.0 - self.large)) + rng.gauss(0.0, 0.5)
        bend = self.bend * math.exp(rng.gauss(0.0, 0.3))
        return Steps(round(min(max(1.0 / (1.0 + math.exp(-odds)), 0.1), 0.9), 6), round(min(max(bend, 0.1), 10.0), 6))


class Breeding:
    """The documented operators with a user's knobs.

    Args:
        mutation_rate: probability of mutation for each hyperparameter.
        crossover_rate: probability for each hyperparameter to come from the second parent.
        mul: bounds of multiplicative mutation.
        add: bounds of additive mutation.
    """

    def __init__(self, mutation_rate: float, crossover_rate: float, mul: Sequence[float], add: Sequence[float]) -> None:
        self.mutation_rate = mutation_rate
        self.crossover_rate = crossover_rate
        self.mul = tuple(mul)
        self.add = tuple(add)

    def cross(self, first: Mapping[str, Value], second: Mapping[str, Value], rng: Random) -> dict[str, Value]:
        """The first parent with some hyperparameters of the second one (uniform crossover)."""
        child = dict(first)
        for flag, value in second.items():
            if rng.random() < self.crossover_rate:
                child[flag] = value
        return child

    def mutate(
        self, values: Mapping[str, Value], domains: Mapping[str, Domain], steps: Steps, rng: Random, *, rate: float
    ) -> dict[str, Value]:
        """The values with each hyperparameter mutated with probability `rate`."""
        return {
            flag: self.moved(value, domains[flag], steps, rng) if rng.random() < rate else value
            for flag, value in values.items()
        }

    def moved(self, value: Any, domain: Domain, steps: Steps, rng: Random) -> Value:
        """A mutated value: multiplied or added to, by a small or a large step, clamped to the bounds.

        Additive steps are shares of the range, on the logarithmic scale where the range has one. Whole numbers move by
        one at least; list values move to near indices.
        """
        large = rng.random() < steps.large
        if isinstance(domain, Values):
            return self._moved_index(value, domain, large, steps, rng)
        multiply = rng.random() < 0.5
        bounds = self.mul if multiply else self.add
        low, high = (bounds[1], bounds[2]) if large else (0.0, bounds[0])
        amount = (low + (high - low) * rng.random() ** steps.bend) * (1.0 if rng.random() < 0.5 else -1.0)
        bottom, top = domain.low, domain.high  # type: ignore[attr-defined]
        if multiply:
            new = value * (1.0 + amount)
        elif getattr(domain, "log", False):
            new = domain.from_unit(domain.to_unit(value) + amount)
        else:
            new = value + amount * (top - bottom)
        new = min(max(new, bottom), top)
        if domain.size is None:
            return domain.canonical(new)
        return whole(value, new, amount, domain)

    def _moved_index(self, value: Value, domain: Values, large: bool, steps: Steps, rng: Random) -> Value:
        count = len(domain.values)
        if count == 1:
            return value
        position = domain.values.index(value)
        if not domain.ordered:
            other = int(rng.random() * (count - 1))
            return domain.values[other + (other >= position)]
        low, high = (self.add[1], self.add[2]) if large else (0.0, self.add[0])
        reach = max(1, round((low + (high - low) * rng.random() ** steps.bend) * count))
        while large and rng.random() < 0.25:  # near indices mostly, any index now and then
            reach += 1
        reach = min(reach, count - 1) * (1 if rng.random() < 0.5 else -1)
        new = position + reach
        if not 0 <= new < count:
            new = position - reach
        index: int = min(max(new, 0), count - 1)
        return domain.values[index]


def whole(value: Any, new: float, amount: float, domain: Domain) -> Value:
    """The nearest value of a grid, another one than before."""
    step = domain.step  # type: ignore[attr-defined]
    if isinstance(domain, Integer):
        new = round(new)
    if abs(new - value) < step:
        new = value + (step if amount >= 0.0 else -step)
    bottom, top = domain.low, domain.high  # type: ignore[attr-defined]
    if not bottom <= new <= top:
        new = value - (new - value)
    if not bottom <= new <= top:
        new = min(max(new, bottom), top)
    return domain.canonical(new)
