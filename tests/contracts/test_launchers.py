"""Our own launchers keep the contract that everybody's must."""

import pytest

from hpo_core.allocation import AllocationRequest, Slot
from hpo_core.builtin.local import LocalLauncher, LocalManager
from hpo_core.builtin.pilot import PilotLauncher, PilotOptions
from hpo_core.builtin.simulated import SimulatedLauncher, SimulatedLauncherOptions
from hpo_core.testing import LauncherContract, SimulatedLauncherContract


class TestLocal(LauncherContract):
    @pytest.fixture
    def launcher(self):
        return LocalLauncher()


class Names(LocalManager):
    """Nodes that are names, all of them this machine."""

    max_nodes = None


class _PilotOnThisMachine(LauncherContract):
    transport = "tcp"
    elsewhere = "setsid sh -c {quoted} &"

    @pytest.fixture
    def slots(self):
        return (Slot("n1"), Slot("n2"))

    @pytest.fixture
    def launcher(self, events):
        manager = Names()
        manager.acquire(AllocationRequest(), events)
        launcher = PilotLauncher(PilotOptions(transport=self.transport, address="127.0.0.1"))
        launcher.manager = manager
        yield launcher
        manager.release()


class TestPilot(_PilotOnThisMachine):
    pass


class TestPilotOverFiles(_PilotOnThisMachine):
    transport = "files"


class TestSimulated(SimulatedLauncherContract):
    patience_s = 1e6

    @pytest.fixture
    def slots(self):
        return (Slot("sim1"), Slot("sim2"))

    @pytest.fixture
    def launcher(self):
        return SimulatedLauncher(SimulatedLauncherOptions(run_time=lambda values: 1.0 if values else 1e5))
