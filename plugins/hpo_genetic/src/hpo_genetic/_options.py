"""Options of the strategy ``genetic``: the documented arguments, checked, with messages for people."""

from __future__ import annotations

import math
from typing import Any

from attrs import Attribute, Factory, field, frozen


def _number(value: object, name: str, meaning: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name}={value!r} must be {meaning}")
    return float(value)


def _count(instance: object, attribute: Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{attribute.name}={value!r} must be a whole number, 1 or more")


def _rate(instance: object, attribute: Attribute[float], value: object) -> None:
    meaning = "a probability from 0 to 1 (0.05 is 5 %)"
    if not 0.0 <= _number(value, attribute.name, meaning) <= 1.0:
        raise ValueError(f"{attribute.name}={value!r} must be {meaning}")


def _interval(instance: object, attribute: Attribute[float], value: object) -> None:
    meaning = "a number of generations above 0, or 0 for no migration"
    if _number(value, attribute.name, meaning) < 0:
        raise ValueError(f"{attribute.name}={value!r} must be {meaning}")


def _bounds(instance: object, attribute: Attribute[Any], value: object) -> None:
    meaning = "three shares from 0 to 1: [small at most, large at least, large at most], such as [0.01, 0.1, 0.2]"
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise ValueError(f"{attribute.name}={value!r} must be {meaning}")
    small, low, high = (_number(one, attribute.name, meaning) for one in value)
    if not (0.0 <= small <= 1.0 and 0.0 <= low <= high <= 1.0):
        raise ValueError(f"{attribute.name}={value!r} must be {meaning}")


def _flag(instance: object, attribute: Attribute[bool], value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name}={value!r} must be True or False")


@frozen
class GeneticOptions:
    """Options of the strategy ``genetic``.

    Attributes:
        generations: generations of ``num_demes * pop_size`` evaluations each, the defaults' among them.
        num_demes: distinct populations.
        pop_size: individuals of each population.
        mutation_rate: probability of mutation for each hyperparameter of a child.
        crossover_rate: probability for each hyperparameter of a child to come from its second parent.
        migration_interval: generations between migrations of each deme's best to the next deme, the first after
            the first generation; fractions count, 0: no migration.
        mul_mutation_bounds: sizes of mutations as a share of the value: upper bound of a small one, lower and
            upper bound of a large one.
        add_mutation_bounds: the same, as a share of the range (of the list, for lists of values).
        gens_per_epoch: generations that start from the same checkpoints, where trials have checkpoints.
        synchronous: wait for all results of a generation before the next one is bred.
        allow_duplicates: evaluate a point again where breeding gives it again, for programs with noise.
        documented_only: breed by the documented mutation and crossover alone.
    """

    generations: int = field(default=1000, validator=_count)
    num_demes: int = field(default=4, validator=_count)
    pop_size: int = field(default=64, validator=_count)
    mutation_rate: float = field(default=0.05, validator=_rate)
    crossover_rate: float = field(default=0.33, validator=_rate)
    migration_interval: float = field(default=5.0, validator=_interval)
    mul_mutation_bounds: list[float] = field(default=Factory(lambda: [0.01, 0.1, 0.2]), validator=_bounds)
    add_mutation_bounds: list[float] = field(default=Factory(lambda: [0.03, 0.03, 0.13]), validator=_bounds)
    gens_per_epoch: int = field(default=1, validator=_count)
    synchronous: bool = field(default=False, validator=_flag)
    allow_duplicates: bool = field(default=False, validator=_flag)
    documented_only: bool = field(default=False, validator=_flag)
