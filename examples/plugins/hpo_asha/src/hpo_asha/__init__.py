"""The strategy ``asha`` for hpo-core: work is stopped early, or gone on with, by how it compares with others."""

from __future__ import annotations

from hpo_asha._strategy import AshaOptions, AshaStrategy
from hpo_core import Strategy, hookimpl

__all__ = ["AshaOptions", "AshaStrategy", "hpo_register_strategy"]


@hookimpl
def hpo_register_strategy() -> type[Strategy]:
    return AshaStrategy
