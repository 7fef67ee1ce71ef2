"""The launcher ``urika`` for hpo-core: evaluations run by ``run_training`` on Cray Urika systems."""

from __future__ import annotations

from hpo_core import Launcher, hookimpl
from hpo_urika._launcher import UrikaLauncher, UrikaOptions

__all__ = ["UrikaLauncher", "UrikaOptions", "hpo_register_launcher"]


@hookimpl
def hpo_register_launcher() -> type[Launcher]:
    return UrikaLauncher
