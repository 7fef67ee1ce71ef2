"""Genetic search with the arguments of CrayAI HPO."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from hpo_core import Observer
from hpo_core.evaluator import Evaluator
from hpo_core.optimizer import Optimizer as _Optimizer
from hpo_genetic._log import DemeLog


class GeneticOptimizer(_Optimizer):
    """Employs a genetic search to minimize the figure of merit (FoM).

    Hyperparameters can be optimized from a list of values or a range of values. From a list only its values are
    searched, and mutations occur with respect to their indices, near ones more often than far ones.

    Args:
        evaluator: how to run the command; None: build it now, give it one before `optimize`.
        generations: number of generations. Default 1000.
        num_demes: number of distinct demes (populations). Default 4.
        pop_size: number of individuals per deme; a generation is ``num_demes * pop_size`` evaluations. Default 64.
        mutation_rate: probability of mutation per hyperparameter of a child. Default 0.05.
        crossover_rate: probability of crossover per hyperparameter of a child. Default 0.33.
        migration_interval: generations between migrations of the demes' best. Default 5.
        mul_mutation_bounds: sizes of multiplicative mutations, as shares of the value: upper bound of a small one,
            lower and upper bound of a large one. Default ``[0.01, 0.1, 0.2]``.
        add_mutation_bounds: the same for additive ones, as shares of the range. Default ``[0.03, 0.03, 0.13]``.
        name: experiment name, the prefix of the log files ``<name>.log`` and ``Deme<N>_<name>.log``. Default ``""``:
            no log files.
        verbose: enable verbose output. Default False.
        seed: seed of the random number generator; 0: a random one. Default 0.
        log_fn: the older way to name the log files. Default ``""``.
        gens_per_epoch: generations per epoch of population-based training, with an evaluator that has a `checkpoint`:
            those of an epoch start from the same weights, what they leave is where the next ones start. Default 1.
        synchronous: wait for the whole generation before the next is bred. Default False.
        allow_duplicates: evaluate a point again where breeding gives it again. Default False.
        documented_only: breed by the documented mutation and crossover alone. Default False.
        directory: where the study is kept. Default: a fresh ``hpo-study-N``.

    Attributes:
        best_fom: figure of merit of the best hyperparameters; None before a result.
        best_params: best hyperparameters, flag to value; None before a result.
    """

    strategy = "genetic"
    _options: ClassVar[dict[str, Any]] = {
        "generations": 1000,
        "num_demes": 4,
        "pop_size": 64,
        "mutation_rate": 0.05,
        "crossover_rate": 0.33,
        "migration_interval": 5,
        "mul_mutation_bounds": [0.01, 0.1, 0.2],
        "add_mutation_bounds": [0.03, 0.03, 0.13],
        "gens_per_epoch": 1,
        "synchronous": False,
        "allow_duplicates": False,
        "documented_only": False,
    }

    def __init__(self, evaluator: Evaluator | None = None, **arguments: Any) -> None:
        for name in ("mul_mutation_bounds", "add_mutation_bounds"):
            given = arguments.get(name, self._options[name])
            arguments[name] = list(given) if isinstance(given, Iterable) else given
        super().__init__(evaluator, **arguments)

    def _n_trials(self) -> int | None:
        counts = [self.__dict__[name] for name in ("generations", "num_demes", "pop_size")]
        if all(type(count) is int and count > 0 for count in counts):
            return int(math.prod(counts))
        return None  # The options are refused with a message of their own.

    def _log(self, path: Path) -> Observer:
        own = self.__dict__
        return DemeLog(path, num_demes=own["num_demes"], pop_size=own["pop_size"], gens_per_epoch=own["gens_per_epoch"])


Optimizer = GeneticOptimizer
"""The older name: ``hpo.genetic.Optimizer``."""
