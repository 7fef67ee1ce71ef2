"""The log of CrayAI HPO: a table of one row per evaluation, separated by blanks, with one header line."""

from __future__ import annotations

import math
import os
import warnings
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_core.interfaces import Observer
from hpo_core.trial import Result, Trial

if TYPE_CHECKING:
    from hpo_core.study import Study

NOTHING = "NA"
"""Stands where there is no value, so that columns stay in place."""


class TableLog(Observer):
    r"""Writes ``generation epoch best_fom avg_fom checkpoint_in checkpoint_out FLAG ...``, a row per evaluation.

    ``generation`` counts evaluations from 0, ``epoch`` is one more; ``best_fom`` is the best so far, ``avg_fom`` the
    evaluation's own figure of merit (``inf`` for a failure), and the flags are those of the evaluation. Readable
    with ``pandas.read_csv(path, sep=r"\\s+")``.

    Args:
        path: the file; one that exists is overwritten with a warning.
    """

    name = "table-log"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._file: TextIOWrapper | None = None
        self._rows: int | None = None
        """Rows so far; None before the first study."""
        self._best = math.inf

    def study_started(self, study: Study) -> None:
        if self._rows is not None:
            self._file = open(self._path, "a", buffering=1)
            return
        if self._path.exists():
            warnings.warn(f"overwriting existing log file: {self._path}", stacklevel=2)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "w", buffering=1)
        self._rows = 0
        self._domains = study.params.domains
        self._sign = -1.0 if study.maximize else 1.0
        head = ["generation", "epoch", "best_fom", "avg_fom", "checkpoint_in", "checkpoint_out"]
        self._file.write(" ".join([*head, *map(_word, self._domains)]) + "\n")

    def trial_finished(self, trial: Trial, result: Result) -> None:
        if self._file is None or self._rows is None:
            return
        self._best = min(self._best, result.loss)
        own = self._sign * result.loss
        cells = [str(self._rows), str(self._rows + 1), f"{self._sign * self._best:.10g}", f"{own:.10g}"]
        cells += [NOTHING, NOTHING]
        cells += [
            _word(domain.text(trial.values[flag])) if flag in trial.values else NOTHING
            for flag, domain in self._domains.items()
        ]
        self._file.write(" ".join(cells) + "\n")
        self._rows += 1

    def study_finished(self, study: Study) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _word(text: str) -> str:
    """One word: a blank inside a flag or value would shift the columns."""
    return "_".join(text.split()) or NOTHING
