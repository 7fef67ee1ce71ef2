"""The contract of workload managers, on the stand-in."""

from collections.abc import Callable

import pytest

from hpo_core.testing import WorkloadManagerContract
from hpo_pbs import PbsManager, PbsOptions


class TestManager(WorkloadManagerContract):
    patience_s = 20.0

    @pytest.fixture
    def manager(self, cluster) -> PbsManager:
        return PbsManager(PbsOptions(poll=0.5))

    @pytest.fixture
    def held(self, cluster) -> Callable[[], object]:
        return lambda: (cluster.jobs(), [path.name for path in (cluster.home / ".hpo-pbs").glob(".*")])
