"""Kubernetes for hpo-core: the workload manager and the launcher ``k8s``, a Job for each evaluation."""

from __future__ import annotations

from hpo_core import Launcher, WorkloadManager, hookimpl
from hpo_k8s._launcher import K8sLauncher
from hpo_k8s._manager import K8sManager
from hpo_k8s._options import K8sOptions

__all__ = ["K8sLauncher", "K8sManager", "K8sOptions", "hpo_register_launcher", "hpo_register_workload_manager"]


@hookimpl
def hpo_register_workload_manager() -> type[WorkloadManager]:
    return K8sManager


@hookimpl
def hpo_register_launcher() -> type[Launcher]:
    return K8sLauncher
