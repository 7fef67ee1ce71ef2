"""The strategy keeps the promises of all strategies, with small demes and as it comes."""

from hpo_core.testing.strategies import StrategyContract
from hpo_genetic import GeneticOptions, GeneticStrategy


class TestSmallDemes(StrategyContract):
    strategy = GeneticStrategy
    options = GeneticOptions(num_demes=2, pop_size=5)
    examples = 5  # constant_cost = True holds as well, and takes ten seconds: see the part 'cost' of the benchmark


class TestSynchronous(StrategyContract):
    strategy = GeneticStrategy
    options = GeneticOptions(num_demes=2, pop_size=4, synchronous=True, documented_only=True)
    examples = 3
    steps = 30
