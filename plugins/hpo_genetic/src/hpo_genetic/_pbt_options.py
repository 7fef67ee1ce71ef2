"""Options of the strategy ``pbt``, checked, with messages for people."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, Factory, field, frozen

from hpo_genetic._options import _count, _number, _rate


def _members(instance: object, attribute: Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 2:
        raise ValueError(
            f"{attribute.name}={value!r} must be a whole number, 2 or more: one alone has nobody to learn of"
        )


def _share(instance: object, attribute: Attribute[float], value: object) -> None:
    meaning = "a share above 0, and 0.5 at most (0.2 is a fifth of the population)"
    if not 0.0 < _number(value, attribute.name, meaning) <= 0.5:
        raise ValueError(f"{attribute.name}={value!r} must be {meaning}")


def _factors(instance: object, attribute: Attribute[Any], value: object) -> None:
    meaning = "a list of numbers above 0 to multiply by, such as [0.8, 1.2]"
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"{attribute.name}={value!r} must be {meaning}")
    if min(_number(one, attribute.name, meaning) for one in value) <= 0.0:
        raise ValueError(f"{attribute.name}={value!r} must be {meaning}")


@frozen
class PBTOptions:
    """Options of the strategy ``pbt``.

    Attributes:
        pop_size: members of the population, the defaults' among them; no more than these run at the same time.
        epochs: for how many epochs weights are trained; a search has ``pop_size * epochs`` trials at most.
        quantile: a member that is among this share of the population, counted from the worst, goes on with the
            weights of one that is among the same share of the best.
        ready_interval: epochs that a member trains before it may give up its weights, at the start and after each time.
        factors: what a number may be multiplied by when weights are taken over. Where a range reaches to zero or
            below, the step is this share of the range: 1.2 goes up by 20 % of it.
        resample: probability for each hyperparameter to be drawn anew instead; values of unordered lists change in no
            other way.
    """

    pop_size: int = field(default=20, validator=_members)
    epochs: int = field(default=100, validator=_count)
    quantile: float = field(default=0.2, validator=_share)
    ready_interval: int = field(default=4, validator=_count)
    factors: list[float] = field(default=Factory(lambda: [0.8, 1.2]), validator=_factors)
    resample: float = field(default=0.0, validator=_rate)
