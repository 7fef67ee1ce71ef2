"""Our own workload managers keep the contract that everybody's must."""

import pytest

from hpo_core.allocation import AllocationRequest
from hpo_core.builtin.local import LocalManager
from hpo_core.builtin.simulated import SimulatedManager, SimulatedManagerOptions
from hpo_core.events import AllocationLost, NodesJoined
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


class TestSimulatedEnd(WorkloadManagerContract):
    patience_s = 1e6

    @pytest.fixture
    def manager(self):
        return SimulatedManager(SimulatedManagerOptions(walltime=3600.0))

    @pytest.fixture
    def brief(self):
        return AllocationRequest(nodes=2, timeout_s=3600.0)


def test_simulated_walltime_goes_on_from_study_to_study():
    """The second study on an allocation has what the first one left, on a clock that begins again."""
    manager = SimulatedManager(SimulatedManagerOptions(queue_wait=10.0, walltime=100.0))
    first, second = manager.event_loop(), manager.event_loop()
    manager.acquire(AllocationRequest(nodes=2), first)
    assert isinstance(first.next_events(60.0)[0], NodesJoined)
    assert first.next_events(60.0) == ()
    manager.attach(second)
    assert isinstance(second.next_events(0.0)[0], NodesJoined)
    assert isinstance(second.next_events()[-1], AllocationLost)
    assert second.now() == 50.0
    assert first.next_events(1000.0) == ()
