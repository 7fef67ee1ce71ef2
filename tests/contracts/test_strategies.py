"""Our own strategies keep the contract that everybody's must."""

from hpo_core.builtin.grid import GridOptions, GridStrategy
from hpo_core.builtin.random import RandomStrategy
from hpo_core.testing import StrategyContract


class TestRandom(StrategyContract):
    strategy = RandomStrategy
    constant_cost = True
    examples = 8


class TestGrid(StrategyContract):
    strategy = GridStrategy
    examples = 8


class TestFineGrid(StrategyContract):
    strategy = GridStrategy
    options = GridOptions(grid_size=12)
    constant_cost = True
    examples = 3


class TestGridOfThreePoints(StrategyContract):
    strategy = GridStrategy
    options = GridOptions(grid_size=3)
    examples = 3
