"""Genetic search for hpo-core: the strategy ``genetic`` and the optimizer of the seed."""

from __future__ import annotations

from hpo_core import Strategy, hookimpl
from hpo_genetic._log import DemeLog
from hpo_genetic._optimizer import GeneticOptimizer
from hpo_genetic._options import GeneticOptions
from hpo_genetic._strategy import GeneticStrategy

__all__ = ["DemeLog", "GeneticOptimizer", "GeneticOptions", "GeneticStrategy", "hpo_register_strategy"]


@hookimpl
def hpo_register_strategy() -> type[Strategy]:
    return GeneticStrategy
