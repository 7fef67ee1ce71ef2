"""The other half of population-based training: what changes when a member goes on with another's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from hpo_core import Params, Values
from hpo_core.space import Domain
from hpo_core.trial import Value
from hpo_genetic._documented import whole


def explored(
    values: Mapping[str, Value], space: Params, rng: Random, *, factors: Sequence[float], resample: float
) -> dict[str, Value]:
    """A valid point near this one: each hyperparameter is perturbed, or drawn anew with probability `resample`."""
    moved = {}
    for flag, value in values.items():
        domain = space.domain(flag, values) or space.domains[flag]
        moved[flag] = domain.draw(rng) if rng.random() < resample else perturbed(value, domain, rng, factors)
    return space.complete(moved, rng)


def perturbed(value: Any, domain: Domain, rng: Random, factors: Sequence[float]) -> Value:
    """A value one step away, within its bounds.

    Positive numbers are multiplied by one of the factors; where a range reaches to zero or below, so that a factor may
    have no effect, the step is a share of the range. Whole numbers move by one at least, list values to the index
    beside theirs; in an unordered list nothing is near, so that a value stays.
    """
    if isinstance(domain, Values):
        if not domain.ordered:
            return value  # type: ignore[no-any-return]
        place = domain.values.index(value) + (1 if rng.random() < 0.5 else -1)
        return domain.values[min(max(place, 0), len(domain.values) - 1)]
    factor = factors[int(rng.random() * len(factors))]
    low, high = domain.low, domain.high  # type: ignore[attr-defined]
    new = value * factor if low > 0 else value + (factor - 1.0) * (high - low)
    new = min(max(new, low), high)
    return domain.canonical(new) if domain.size is None else whole(value, new, factor - 1.0, domain)
