"""The contracts of hpo-core, on the fake cluster, or on a real one where HPO_K8S_TEST_CONTEXT names it."""

import os

import pytest

from hpo_core import AllocationRequest, Slot
from hpo_core.testing import AdoptingContract, LauncherContract, WorkloadManagerContract
from hpo_k8s import K8sLauncher, K8sManager, K8sOptions

REAL = bool(os.environ.get("HPO_K8S_TEST_CONTEXT"))


class TestLauncher(LauncherContract):
    """The launcher keeps the promises of its capabilities."""

    patience_s = 180.0 if REAL else 30.0
    many = 8 if REAL else 30

    @pytest.fixture
    def launcher(self, options):
        return K8sLauncher(K8sOptions(**options))

    @pytest.fixture
    def slots(self):
        return (Slot("pod-1"), Slot("pod-2"))

    @pytest.fixture
    def directory(self, shared):
        return shared


class TestAdopting(AdoptingContract):
    """A second driver goes on with what the first began."""

    patience_s = 180.0 if REAL else 30.0

    @pytest.fixture
    def launcher(self, options):
        return K8sLauncher(K8sOptions(**options))

    @pytest.fixture
    def successor(self, options):
        return K8sLauncher(K8sOptions(**options))

    @pytest.fixture
    def tmp_path(self, shared):
        return shared


class TestManager(WorkloadManagerContract):
    """The manager has as many nodes as it was asked for."""

    @pytest.fixture
    def manager(self):
        return K8sManager()

    @pytest.fixture
    def wanted(self):
        return AllocationRequest(nodes=2, slots=2, timeout_s=120.0, name="hpo-contract")
