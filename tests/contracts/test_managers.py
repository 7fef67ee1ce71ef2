"""Our own workload managers keep the contract that everybody's must."""

import pytest

from hpo_core.builtin.local import LocalManager
from hpo_core.builtin.simulated import SimulatedManager, SimulatedManagerOptions
from hpo_core.testing import WorkloadManagerContract


class TestLocal(WorkloadManagerContract):
    @pytest.fixture
    def manager(self):
        return LocalManager()


class TestSimulated(WorkloadManagerContract):
    @pytest.fixture
    def manager(self):
        return SimulatedManager()


class TestSimulatedQueue(WorkloadManagerContract):
    patience_s = 4000.0

    @pytest.fixture
    def manager(self):
        return SimulatedManager(SimulatedManagerOptions(queue_wait=3600.0))
