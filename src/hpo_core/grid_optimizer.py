"""Grid search with the arguments of CrayAI HPO."""

from __future__ import annotations

from typing import Any, ClassVar

from hpo_core.optimizer import Optimizer as _Optimizer


class GridOptimizer(_Optimizer):
    """Employs a grid search to minimize the figure of merit (FoM).

    The default values are evaluated first, then every point of the grid, the last flag fastest.

    Args:
        evaluator: how to run the command.
        grid_size: grid points of each range, both bounds among them; lists of values are used whole. Default 4.
        chunk_size: grid points per batch. Default 1000.
        seed: for defaults that are drawn; 0: a random one. Default 0.
        name: experiment name, the prefix of the log file. Default ``""``: no log file.
        log_fn: the older way to name the log file. Default ``""``.
        verbose: enable verbose output. Default False.
        directory: where the study is kept. Default: a fresh ``hpo-study-N``.

    Attributes:
        best_fom: figure of merit of the best hyperparameters; None before a result.
        best_params: best hyperparameters, flag to value; None before a result.
    """

    strategy = "grid"
    _options: ClassVar[dict[str, Any]] = {"grid_size": 4, "chunk_size": 1000}


Optimizer = GridOptimizer
"""The older name: ``hpo.grid.Optimizer``."""
