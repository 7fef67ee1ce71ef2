"""Genetic search with the arguments of CrayAI HPO; it comes with the distribution hpo-genetic."""

from __future__ import annotations

from typing import Any

from hpo_core.exceptions import PluginNotFoundError


def __getattr__(name: str) -> Any:
    if name not in ("GeneticOptimizer", "Optimizer"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from hpo_genetic import GeneticOptimizer
    except ModuleNotFoundError as error:
        if error.name != "hpo_genetic":
            raise
        raise PluginNotFoundError(
            "GeneticOptimizer comes with hpo-genetic: pip install hpo-genetic "
            "(from a checkout: pip install -e plugins/hpo_genetic)",
            kind="strategy",
            name="genetic",
            known=(),
        ) from None
    return GeneticOptimizer
