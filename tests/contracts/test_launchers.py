"""Our own launchers keep the contract that everybody's must."""

import pytest

from hpo_core.builtin.local import LocalLauncher
from hpo_core.builtin.simulated import SimulatedLauncher, SimulatedLauncherOptions
from hpo_core.testing import LauncherContract, SimulatedLauncherContract


class TestLocal(LauncherContract):
    @pytest.fixture
    def launcher(self):
        return LocalLauncher()


class TestSimulated(SimulatedLauncherContract):
    patience_s = 1e6

    @pytest.fixture
    def launcher(self):
        return SimulatedLauncher(SimulatedLauncherOptions(run_time=lambda values: 1.0 if values else 1e5))
