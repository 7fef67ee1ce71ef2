"""The strategy keeps the promises of all strategies, with Optuna's own randomness and memory inside."""

from hpo_core.testing import StrategyContract
from hpo_optuna import OptunaOptions, OptunaStrategy


class TestTPE(StrategyContract):
    strategy = OptunaStrategy
    options = OptunaOptions(arguments={"n_startup_trials": 5, "n_ei_candidates": 4})
    examples = 1
    steps = 20
