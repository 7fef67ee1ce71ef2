"""Genetic search and population-based training: strategies ``genetic`` and ``pbt``, and the optimizer of the seed.

The parts are imported when they are first used: a study with another strategy costs nothing here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpo_core import hookimpl

if TYPE_CHECKING:
    from hpo_core import Strategy
    from hpo_genetic._log import DemeLog
    from hpo_genetic._optimizer import GeneticOptimizer
    from hpo_genetic._options import GeneticOptions
    from hpo_genetic._pbt import PBTStrategy
    from hpo_genetic._pbt_options import PBTOptions
    from hpo_genetic._strategy import GeneticStrategy

__all__ = [
    "DemeLog",
    "GeneticOptimizer",
    "GeneticOptions",
    "GeneticStrategy",
    "PBTOptions",
    "PBTStrategy",
    "hpo_register_strategy",
]

_HOMES = {
    "DemeLog": "_log",
    "GeneticOptimizer": "_optimizer",
    "GeneticOptions": "_options",
    "GeneticStrategy": "_strategy",
    "PBTOptions": "_pbt_options",
    "PBTStrategy": "_pbt",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpo_genetic' has no attribute '{name}'")
    return getattr(import_module(f"hpo_genetic.{_HOMES[name]}"), name)


@hookimpl
def hpo_register_strategy() -> list[type[Strategy]]:
    from hpo_genetic._pbt import PBTStrategy
    from hpo_genetic._strategy import GeneticStrategy

    return [GeneticStrategy, PBTStrategy]
