"""Search spaces that are hard for one reason each."""

from __future__ import annotations

from collections.abc import Callable

from hpo_core.condition import Condition
from hpo_core.space import Integer, Params, Real


def one_of_each() -> Params:
    """A small space with one hyperparameter of each kind."""
    return Params(
        [
            ["--lr", 1e-3, Real(1e-6, 1.0, log=True)],
            ["--layers", 2, (1, 9)],
            ["--dropout", (0.0, 0.5)],
            ["--optimizer", "sgd", ["sgd", "adam", "lion"]],
            ["--nesterov", [True, False]],
        ]
    )


def _chain() -> Params:
    space = Params([[f"--p{k}", (0, 3)] for k in range(12)])
    space.add_conditions([Condition(f"--p{k}", f"--p{k - 1}", 2, operator="<=") for k in range(1, 12)])
    return space


def _forbidden() -> Params:
    space = Params([["--low", 0, (0, 9)], ["--high", 9, (0, 9)], ["--kind", ["a", "b"]]])
    space.add_constraints(["--low < --high"])
    space.add_forbidden(["--kind == 'a' and --low > 2"])
    return space


def _wide() -> Params:
    return Params([[f"--p{k}", (0.0, 1.0)] if k % 2 else [f"--p{k}", (1, 9)] for k in range(200)])


HARD: dict[str, Callable[[], Params]] = {
    "chain": _chain,
    "forbidden": _forbidden,
    "log": lambda: Params([["--x", Real(1e-300, 1e300, log=True)], ["--n", Integer(1, 10**9, log=True)]]),
    "one of each": one_of_each,
    "one flag": lambda: Params([["--x", 0.5, (0.0, 1.0)]]),
    "one point": lambda: Params([["--only", ["this"]]]),
    "tiny": lambda: Params([["--a", [True, False]], ["--b", (1, 2)]]),
    "wide": _wide,
}
