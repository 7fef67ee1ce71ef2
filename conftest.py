"""Where pytest-xdist runs several tests at a time, those of Slurm take turns: there is one cluster."""

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class OneCluster(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "slurm" if nodeid.startswith("plugins/hpo_slurm/") else nodeid

    return OneCluster(config, log)
