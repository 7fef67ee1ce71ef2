"""The contracts of workload managers and of launchers, on both stand-ins."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_core.builtin.pilot import PilotLauncher, PilotOptions
from hpo_core.events import RealEventLoop
from hpo_core.testing import LauncherContract, WorkloadManagerContract
from hpo_pbs import PbsManager, PbsOptions


class Contract(WorkloadManagerContract):
    @pytest.fixture
    def manager(self, running) -> PbsManager:
        return PbsManager(PbsOptions(poll=0.5))

    @pytest.fixture
    def held(self, running) -> Callable[[], object]:
        return lambda: (running.jobs(), [path.name for path in (running.home / ".hpo-pbs").glob(".*")])

    @pytest.fixture
    def brief(self) -> hpo.AllocationRequest:
        return hpo.AllocationRequest(nodes=2, slots=2, timeout_s=2.0, name="hpo-contract")

    @pytest.fixture
    def impossible(self) -> hpo.AllocationRequest:
        return hpo.AllocationRequest(nodes=9, slots=9, timeout_s=60.0, name="hpo-contract")


class TestOpenPbs(Contract):
    @pytest.fixture
    def running(self, cluster):
        return cluster


class TestTorque(Contract):
    @pytest.fixture
    def running(self, torque):
        return torque


@pytest.fixture(scope="module")
def allocation(standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PbsManager]:
    """One of two nodes, for all checks of a launcher."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("PBS_CONF_FILE", "/dev/null")
        patch.setenv("PATH", f"{standin.bin}:{os.environ['PATH']}")
        standin.begin(home)
        manager, events = PbsManager(PbsOptions(poll=30.0)), RealEventLoop()
        manager.acquire(hpo.AllocationRequest(nodes=2, timeout_s=900.0, name="hpo-contract"), events)
        standin.wait_for(lambda: manager._standing.names or events.next_events(events.now() + 0.1))
        yield manager
        manager.release()
        events.close()
        standin.begin(home)


class TestPilot(LauncherContract):
    """Through pbsdsh; an evaluation starts programs on its second node as mpiexec with PBS support does."""

    many = 12
    elsewhere = "pbsdsh -n 1 -- /usr/bin/env HPO_EVALUATION=$HPO_EVALUATION /bin/sh -c {quoted} &"

    @pytest.fixture
    def launcher(self, allocation: PbsManager, events, tmp_path: Path, monkeypatch) -> PilotLauncher:
        monkeypatch.chdir(tmp_path)
        allocation.attach(events)
        launcher = PilotLauncher(PilotOptions(address="127.0.0.1"))
        launcher.manager = allocation
        return launcher

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        (tmp_path / "evaluations").mkdir()
        return tmp_path / "evaluations"

    @pytest.fixture
    def slots(self) -> Sequence[hpo.Slot]:
        return [hpo.Slot("node01"), hpo.Slot("node02")]
