"""Both modes keep the promises of all strategies."""

from hpo_asha import AshaOptions, AshaStrategy
from hpo_core.testing import StrategyContract


class TestStop(StrategyContract):
    strategy = AshaStrategy
    options = AshaOptions(reduction=2)
    examples = 2


class TestContinue(StrategyContract):
    strategy = AshaStrategy
    options = AshaOptions(mode="continue", max_fidelity=9, reduction=3)
    checkpoints = True
    examples = 2


class TestContinueWithoutCheckpoints(StrategyContract):
    strategy = AshaStrategy
    options = AshaOptions(mode="continue", max_fidelity=8, reduction=2)
    examples = 2
