"""Random search with the arguments of CrayAI HPO."""

from __future__ import annotations

from typing import Any, ClassVar

from hpo_core.exceptions import ConfigurationError
from hpo_core.optimizer import Optimizer as _Optimizer


class RandomOptimizer(_Optimizer):
    """Employs a random search to minimize the figure of merit (FoM).

    Args:
        evaluator: how to run the command.
        num_iters: evaluations to run, that of the default values among them. Default 1000.
        seed: seed of the random number generator; 0: a random one. Default 0.
        name: experiment name, the prefix of the log file. Default ``""``: no log file.
        log_fn: the older way to name the log file. Default ``""``.
        verbose: enable verbose output. Default False.
        directory: where the study is kept. Default: a fresh ``hpo-study-N``.

    Attributes:
        best_fom: figure of merit of the best hyperparameters; None before a result.
        best_params: best hyperparameters, flag to value; None before a result.
    """

    strategy = "random"
    _own: ClassVar[dict[str, Any]] = {"num_iters": 1000}

    def _n_trials(self) -> int | None:
        number = self.__dict__["num_iters"]
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ConfigurationError(f"RandomOptimizer: num_iters={number!r} must be a whole number, 1 or more")
        return number


Optimizer = RandomOptimizer
"""The older name: ``hpo.random.Optimizer``."""
