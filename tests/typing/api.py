"""What users and plugin authors write, for the type checker alone: it must pass mypy --strict."""

from __future__ import annotations

import hpo_core as hpo
from hpo_core import Pause, Proposal, Result, Strategy, Trial, condition, hookimpl

params = hpo.Params([["--lr", 1e-3, (1e-5, 1e-1)], ["--optimizer", "sgd", ["sgd", "adam"]]])
params.add_conditions([condition.equals("--lr", "--optimizer", "sgd")])
evaluator = hpo.Evaluator("python train.py", workload_manager="local", num_parallel_evals=2, timeout="2h")
study = hpo.Study(params, evaluator, strategy="random", n_trials=200, seed=7, directory="my-study")
study.optimize()
fom: float | None = study.best_fom
if study.best_params is not None:
    value: bool | int | float | str = study.best_params["--lr"]
trial: Trial | None = study.ask()
if trial is not None:
    study.tell(trial, 0.25)
for record in study.trials:
    state: hpo.State = record.state

optimizer = hpo.RandomOptimizer(evaluator, num_iters=129, seed=3)
optimizer.optimize(params)
best: float | None = optimizer.best_fom


class Guess(Strategy):
    """The smallest strategy."""

    name = "guess"

    def ask(self) -> Proposal | Pause:
        """A random point."""
        return Proposal(self.space.draw(self.rng))

    def tell(self, trial: Trial, result: Result) -> None:
        """Nothing to learn."""


@hookimpl
def hpo_register_strategy() -> type[Strategy]:
    """One strategy."""
    return Guess
