"""A study of Optuna's in memory, asked and told."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from attrs import field, frozen, validators
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from hpo_core import Capability, Outlook, Params, Pause, Proposal, Result, SpaceError, State, Strategy, Trial
from hpo_core.space import Value
from hpo_optuna._translation import Parameter, parameters

SAMPLERS = {
    "cma-es": "CmaEsSampler",
    "gp": "GPSampler",
    "nsga2": "NSGAIISampler",
    "qmc": "QMCSampler",
    "random": "RandomSampler",
    "tpe": "TPESampler",
}

_WORST = 1e100
"""Losses are cut here: samplers square them."""


@frozen
class OptunaOptions:
    """Options of the strategy ``optuna``.

    Attributes:
        sampler: ``tpe``, ``gp`` (needs torch), ``cma-es`` (needs cmaes), ``nsga2``, ``qmc`` (needs scipy), ``random``.
        arguments: what Optuna's class of that sampler takes, by name; not the seed.
    """

    sampler: str = field(default="tpe", validator=validators.in_(tuple(SAMPLERS)))
    arguments: dict[str, Any] = field(factory=dict)


class OptunaStrategy(Strategy):
    """What an Optuna sampler suggests, flag after flag, in a space with conditions.

    Trials that run are known to Optuna as running ones, and ``tpe`` keeps away from them (``constant_liar``). Where a
    suggestion violates a relation of the space, it is mended, and Optuna hears of the point that ran. Failed trials
    are failed ones there, those that were stopped early are pruned ones.

    Optuna's own state can't be saved as text: what is saved is what was asked and told, which is repeated.
    """

    name = "optuna"
    interface_version = 1
    capabilities = frozenset({Capability.SLOW})
    Options = OptunaOptions

    def __init__(
        self, space: Params, *, seed: int, options: OptunaOptions | None = None, outlook: Outlook | None = None
    ) -> None:
        super().__init__(space, seed=seed, options=options, outlook=outlook)
        self._order = [flag for flag in space.get_ordered_param_when_valid() if flag in space.flags]
        self._begin()

    def _begin(self) -> None:
        self._calls: list[Any] = []
        self._asked: dict[int, tuple[optuna.Trial, dict[str, Value]]] = {}
        self._study = _study(self.options, self.rng.getrandbits(32))

    def ask(self) -> Proposal | Pause:
        self._calls.append(None)
        asked = self._study.ask()
        suggested: dict[str, Value] = {}
        for flag in self._order:
            try:
                domain = self.space.domain(flag, suggested)
            except SpaceError:
                continue  # Restrictions leave nothing here: the point is mended below.
            if domain is not None:
                parameter = Parameter(self.space, flag, domain)
                suggested[flag] = parameter.suggested(asked)
        values = suggested if self.space.is_valid(suggested) else self.space.complete(suggested, self.rng)
        self._asked[asked.number] = asked, suggested
        return Proposal(values, info={"optuna": asked.number})

    def tell(self, trial: Trial, result: Result) -> None:
        self._tell(trial.info.get("optuna"), dict(trial.values), _outcome(result))

    def _tell(self, number: int | None, values: dict[str, Value], outcome: list[Any]) -> None:
        self._calls.append([number, values, outcome])
        loss, steps = outcome
        asked, suggested = self._asked.pop(-1 if number is None else number, (None, {}))
        if asked is not None and suggested == values:
            if loss is None:
                self._study.tell(asked, state=TrialState.FAIL)
            elif steps is None:
                self._study.tell(asked, loss)
            else:
                asked.report(loss, steps)
                self._study.tell(asked, state=TrialState.PRUNED)
            return
        if asked is not None:
            self._study.tell(asked, state=TrialState.FAIL)
        if loss is not None:
            known = parameters(self.space, values)
            self._study.add_trial(
                create_trial(
                    state=TrialState.COMPLETE if steps is None else TrialState.PRUNED,
                    value=loss if steps is None else None,
                    params={one.name: one.choice(values[flag]) for flag, one in known.items()},
                    distributions={one.name: one.distribution for one in known.values()},
                    intermediate_values=None if steps is None else {steps: loss},
                )
            )

    def get_state(self) -> Any:
        return {"calls": [*self._calls]}

    def set_state(self, state: Any) -> None:
        for call in state["calls"]:
            if call is None:
                self.ask()
            else:
                self._tell(*call)


def _outcome(result: Result) -> list[Any]:
    """The loss, None for a failure, and the reports heard of one that was stopped early, else None."""
    loss = min(max(result.loss, -_WORST), _WORST) if result.ok else None
    return [loss, result.steps if result.state is State.STOPPED else None]


def _study(options: OptunaOptions, seed: int) -> optuna.Study:
    """A study in memory, without a word about it."""
    own = {"constant_liar": True} if options.sampler == "tpe" else {}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            kind: type[BaseSampler] = getattr(optuna.samplers, SAMPLERS[options.sampler])
            return optuna.create_study(sampler=kind(**{**own, **options.arguments, "seed": seed}))
    finally:
        optuna.logging.set_verbosity(verbosity)
