"""For all tests: how they are shared out, and signals as programs expect them."""

import signal

import pytest

for number, handler in {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}.items():
    if signal.getsignal(number) is signal.SIG_IGN:  # nohup did that, or a shell that began this in the background.
        signal.signal(number, handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Files of tests are run side by side; those of Slurm take turns, as there is one cluster."""
    from xdist.scheduler import LoadFileScheduling

    class OneCluster(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "slurm" if nodeid.startswith("plugins/hpo_slurm/") else super()._split_scope(nodeid)

    return OneCluster(config, log)
