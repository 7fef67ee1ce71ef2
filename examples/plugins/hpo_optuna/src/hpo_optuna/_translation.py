"""Flags of a space as Optuna's parameters, and back."""

from __future__ import annotations

from collections.abc import Mapping

from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo_core import Params, Values
from hpo_core.space import Domain, Value

_MOST_STEPS = 1000
"""A domain with more values than this is a continuous one for Optuna."""


class Parameter:
    """A flag beside the values of the flags that it depends on.

    Optuna wants that a parameter is always the same one: where conditions narrow what a flag may be, the narrowed one
    has a name of its own.

    Attributes:
        name: Optuna's.
        distribution: Optuna's; in it a list of values is its positions, a range goes from 0 to 1.
    """

    def __init__(self, space: Params, flag: str, domain: Domain) -> None:
        self._domain = domain
        self.name = flag if domain == space.domains[flag] else f"{flag} in {domain.to_json()}"
        self._size = domain.size or 0
        self.distribution: BaseDistribution
        if isinstance(domain, Values) and not domain.ordered:
            self.distribution = CategoricalDistribution(range(self._size))
        elif 0 < self._size <= _MOST_STEPS and not getattr(domain, "log", False):
            self.distribution = IntDistribution(0, self._size - 1)
        else:
            self.distribution = FloatDistribution(0.0, 1.0)

    def suggested(self, trial: Trial) -> Value:
        """The flag's value as Optuna suggests it for this trial."""
        own = self.distribution
        if isinstance(own, FloatDistribution):
            return self._domain.from_unit(trial.suggest_float(self.name, own.low, own.high))
        if isinstance(own, IntDistribution):
            return self._at(trial.suggest_int(self.name, own.low, own.high))
        return self._at(trial.suggest_categorical(self.name, range(self._size)))

    def choice(self, value: Value) -> int | float:
        """What Optuna would have suggested for this value."""
        unit = self._domain.to_unit(value)
        if isinstance(self.distribution, FloatDistribution):
            return unit
        return min(int(unit * self._size), self._size - 1)

    def _at(self, position: int) -> Value:
        return self._domain.from_unit((position + 0.5) / self._size)


def parameters(space: Params, values: Mapping[str, Value]) -> dict[str, Parameter]:
    """The active flags of a point."""
    domains = {flag: space.domain(flag, values) for flag in values}
    return {flag: Parameter(space, flag, domain) for flag, domain in domains.items() if domain is not None}
