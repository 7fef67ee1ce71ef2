"""Slurm for hpo-core: the workload manager ``slurm`` and the launcher ``slurm``."""

from __future__ import annotations

from hpo_core import Launcher, WorkloadManager, hookimpl
from hpo_slurm._launcher import SlurmLauncher
from hpo_slurm._manager import SlurmManager
from hpo_slurm._options import SlurmOptions

__all__ = [
    "SlurmLauncher",
    "SlurmManager",
    "SlurmOptions",
    "hpo_register_launcher",
    "hpo_register_workload_manager",
]


@hookimpl
def hpo_register_workload_manager() -> type[WorkloadManager]:
    return SlurmManager


@hookimpl
def hpo_register_launcher() -> type[Launcher]:
    return SlurmLauncher
