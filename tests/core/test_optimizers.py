"""The fronts of CrayAI HPO: wrong arguments are refused where they are written."""

from __future__ import annotations

import pytest

import hpo_core as hpo


@pytest.mark.parametrize(
    ("optimizer", "arguments", "message"),
    [
        (hpo.RandomOptimizer, {"num_iters": 0}, "num_iters=0 must be a whole number, 1 or more"),
        (hpo.RandomOptimizer, {"num_iters": 2.5}, "num_iters=2.5 must be a whole number"),
        (hpo.RandomOptimizer, {"num_iters": "ten"}, "num_iters='ten' must be a whole number"),
        (hpo.RandomOptimizer, {"num_iter": 10}, r"no argument 'num_iter' \(did you mean 'num_iters'\?\)"),
        (hpo.GridOptimizer, {"grid_size": "four"}, "GridOptimizer, option 'grid_size': 'four' is not int"),
        (hpo.GridOptimizer, {"chunk_size": 0}, "GridOptimizer: .*chunk_size"),
    ],
)
def test_a_wrong_argument_is_refused_where_it_is_written(optimizer, arguments, message):
    with pytest.raises(hpo.ConfigurationError, match=message):
        optimizer(hpo.Evaluator("true", workload_manager="local"), **arguments)
