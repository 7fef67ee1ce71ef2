"""Small real programs, and an empty directory to run them in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo_core as hpo

VALUE = '#!/bin/sh\necho "FoM: ${1#*=}"\n'
"""The first flag's value is the figure of merit."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, which is the current one, with the program ``./value``."""
    monkeypatch.chdir(tmp_path)
    make_program("value", VALUE)
    return tmp_path


def make_program(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


@pytest.fixture
def program(here: Path) -> Callable[[str, str], Path]:
    """Writes an executable file."""
    return make_program


@pytest.fixture
def search(here: Path) -> Callable[..., hpo.Study]:
    """Runs a study of a command in the directory ``study`` and closes it."""

    def run(cmd: str = "./value", *, params: Any = None, study: dict[str, Any] | None = None, **evaluator: Any):
        space = hpo.Params([["--x", 5, (0, 9)]] if params is None else params)
        options = {"n_trials": 3, "seed": 1, "directory": "study", **(study or {})}
        with (
            hpo.Evaluator(cmd, **{"workload_manager": "local", **evaluator}) as chosen,
            hpo.Study(space, chosen, **options) as made,
        ):
            return made.optimize()

    return run
