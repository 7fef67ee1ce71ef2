"""PBS for hpo-core: the workload manager ``pbs``, for OpenPBS, PBS Professional and Torque."""

from __future__ import annotations

from hpo_core import WorkloadManager, hookimpl
from hpo_pbs._manager import PbsManager
from hpo_pbs._options import PbsOptions

__all__ = ["PbsManager", "PbsOptions", "hpo_register_workload_manager"]


@hookimpl
def hpo_register_workload_manager() -> type[WorkloadManager]:
    return PbsManager
