"""Where pytest-xdist runs several files of tests at a time, those of Slurm take turns: there is one cluster."""

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadFileScheduling

    class OneCluster(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "slurm" if nodeid.startswith("plugins/hpo_slurm/") else super()._split_scope(nodeid)

    return OneCluster(config, log)
