"""The contracts of workload managers and launchers, on a real Slurm."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hpo_core import Slot
from hpo_core.allocation import AllocationRequest
from hpo_core.events import RealEventLoop
from hpo_core.testing import LauncherContract, WorkloadManagerContract
from hpo_slurm import SlurmLauncher, SlurmManager, SlurmOptions

pytestmark = pytest.mark.cluster
QUICK = SlurmOptions(poll=0.2)


class TestManager(WorkloadManagerContract):
    @pytest.fixture
    def manager(self, cluster, here: Path) -> SlurmManager:
        return SlurmManager(QUICK)

    @pytest.fixture
    def held(self, cluster) -> Callable[[], object]:
        return cluster.jobs

    def test_nothing_is_left_in_the_directory(self, manager, wanted, here: Path) -> None:
        """The file that shows the driver's life is gone with the allocation."""
        events = RealEventLoop()
        manager.acquire(wanted, events)
        while not list(here.iterdir()):
            events.next_events(events.now() + 0.1)
        manager.release()
        events.close()
        assert list(here.iterdir()) == []


@pytest.fixture(scope="module")
def allocation(cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmManager]:
    """One allocation for all checks of the launcher."""
    manager = SlurmManager(SlurmOptions(poll=30.0, shared_dir=str(tmp_path_factory.mktemp("shared"))))
    events = RealEventLoop()
    manager.acquire(AllocationRequest(nodes=2, timeout_s=900.0, name="hpo-contract"), events)
    cluster.wait_for(lambda: manager.holds("n1") or events.next_events(events.now() + 0.1))
    yield manager
    manager.release()
    events.close()


class TestLauncher(LauncherContract):
    many = 12

    @pytest.fixture
    def launcher(self, allocation: SlurmManager, here: Path) -> SlurmLauncher:
        launcher = SlurmLauncher()
        launcher.manager = allocation
        return launcher

    @pytest.fixture
    def slots(self, allocation: SlurmManager) -> Sequence[Slot]:
        return [Slot(name) for name in allocation.names()]
