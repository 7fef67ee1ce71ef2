"""The strategy ``optuna`` for hpo-core: points from Optuna's samplers."""

from __future__ import annotations

from hpo_core import Strategy, hookimpl
from hpo_optuna._strategy import OptunaOptions, OptunaStrategy

__all__ = ["OptunaOptions", "OptunaStrategy", "hpo_register_strategy"]


@hookimpl
def hpo_register_strategy() -> type[Strategy]:
    return OptunaStrategy
