"""For all tests: how they are shared out, and signals as programs expect them."""

import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # A shell did that which started the tests in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Files of tests are run side by side; those of Slurm take turns, as there is one cluster."""
    from xdist.scheduler import LoadFileScheduling

    class OneCluster(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "slurm" if nodeid.startswith("plugins/hpo_slurm/") else super()._split_scope(nodeid)

    return OneCluster(config, log)
