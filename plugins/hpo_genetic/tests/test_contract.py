"""The strategies keep the promises of all strategies, the log those of all observers."""

import pytest

from hpo_core.testing import ObserverContract
from hpo_core.testing.strategies import StrategyContract
from hpo_genetic import GeneticOptions, GeneticStrategy, PBTOptions, PBTStrategy
from hpo_genetic._log import DemeLog


class TestSmallDemes(StrategyContract):
    strategy = GeneticStrategy
    options = GeneticOptions(num_demes=2, pop_size=5)
    examples = 5  # constant_cost = True holds as well, and takes ten seconds: see the part 'cost' of the benchmark


class TestSynchronous(StrategyContract):
    strategy = GeneticStrategy
    options = GeneticOptions(num_demes=2, pop_size=4, synchronous=True, documented_only=True)
    examples = 3
    steps = 30


class TestPBT(StrategyContract):
    strategy = PBTStrategy
    options = PBTOptions(pop_size=4)
    constant_cost = True
    examples = 8


class TestDemesThatTrain(StrategyContract):
    strategy = GeneticStrategy
    options = GeneticOptions(num_demes=2, pop_size=4, gens_per_epoch=2)
    checkpoints = True
    examples = 6


class TestLog(ObserverContract):
    @pytest.fixture
    def observer(self, tmp_path):
        return DemeLog(tmp_path / "first.log", num_demes=2, pop_size=3)
