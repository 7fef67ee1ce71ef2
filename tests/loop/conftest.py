"""Studies on the simulated cluster, and strategies that do as they are told."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import hpo_core as hpo
from hpo_core.journal import read
from watching import Listed, Log

SPACE = [["--x", 0.5, (0.0, 1.0)]]


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Callable[..., hpo.Study]]:
    """Make a study on the simulated cluster; `log` hears of its life, virtual time included."""
    made: list[hpo.Study] = []

    def make(
        *,
        params: Any = None,
        log: Log | None = None,
        observers: Sequence[hpo.Observer] = (),
        study: dict[str, Any] | None = None,
        objective: Callable[..., float] | None = None,
        run_time: Callable[..., float] | None = lambda values: 1.0,
        sigma: float = 1.0,
        **evaluator: Any,
    ) -> hpo.Study:
        launcher: dict[str, Any] = {"objective": objective, "run_time": run_time, "sigma": sigma}
        chosen = hpo.Evaluator(
            "program", launcher_options=launcher, **{"workload_manager": "simulated", "nodes": 8, **evaluator}
        )
        options = {"seed": 3, "directory": tmp_path / f"study{len(made)}", "evaluate_defaults": False}
        log = log or Log()
        log.evaluator = chosen
        space = hpo.Params(SPACE if params is None else params)
        made.append(hpo.Study(space, chosen, observers=[*observers, log], **{**options, **(study or {})}))
        return made[-1]

    yield make
    for study in made:
        study.close()
        assert study.evaluator is not None
        study.evaluator.close()


@pytest.fixture
def records() -> Callable[[hpo.Study, str], list[dict[str, Any]]]:
    """The records of one kind in a study's journal."""
    return lambda study, kind: [line.record for line in read(study.directory) if line.record["record"] == kind]


@pytest.fixture
def listed() -> Iterator[type[Listed]]:
    """A strategy that proposes what `Listed.plan` holds, and writes down what is asked and told."""
    Listed.plan, Listed.calls = [], []
    yield Listed
    Listed.plan, Listed.calls = [], []
