"""What a plugin's object declares counts, where options decide what it can do."""

import pytest
from attrs import frozen

import hpo_core as hpo
from hpo_core.builtin.simulated import SimulatedLauncher
from hpo_core.testing.plugins import registered


@frozen
class Options:
    wide: bool = False


class MayBeWide(SimulatedLauncher):
    name = "may-be-wide"
    capabilities = SimulatedLauncher.capabilities - {hpo.Capability.MULTI_NODE}
    Options = Options

    def __init__(self, options=None, *, launch_args=""):
        super().__init__(launch_args=launch_args)
        if options.wide:
            self.capabilities = self.capabilities | {hpo.Capability.MULTI_NODE}


def evaluator(wide: bool) -> hpo.Evaluator:
    return hpo.Evaluator(
        "program",
        nodes=4,
        nodes_per_eval=2,
        workload_manager="simulated",
        launcher="may-be-wide",
        launcher_options={"wide": wide},
    )


def test_an_object_may_do_more_than_its_class():
    with registered(MayBeWide), evaluator(wide=True) as one:
        assert hpo.Capability.MULTI_NODE in one.backend.launcher.capabilities
    assert hpo.Capability.MULTI_NODE not in MayBeWide.capabilities


def test_an_object_that_cannot_is_refused():
    with (
        registered(MayBeWide),
        evaluator(wide=False) as one,
        pytest.raises(hpo.ConfigurationError, match="'may-be-wide' runs an evaluation on one node"),
    ):
        _ = one.backend
