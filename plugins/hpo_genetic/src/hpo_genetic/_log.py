"""Log files as CrayAI HPO writes them: a row for each generation, and for each deme a row for each individual."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from hpo_core import Observer, Result, Trial
from hpo_core.trial import Value

if TYPE_CHECKING:
    from hpo_core import Study

NOTHING = "NA"
"""Stands where there is no value, so that columns stay in place."""
_TAG = re.compile(r"deme(\d+)_ind(\d+)")


@frozen
class _Row:
    deme: int
    individual: int
    tag: str
    loss: float
    values: Mapping[str, Value]
    parent: int | None = None


class DemeLog(Observer):
    r"""Writes ``NAME`` with a row for each generation, and ``Deme<N>_NAME`` with a row for each individual.

    The first holds ``generation epoch best_fom avg_fom checkpoint_in checkpoint_out FLAG ...``: the best so far with
    its flags, and the mean over the generation's individuals that have a figure of merit. The others hold
    ``generation tag fitness FoM FLAG ...``, by id; fitness is ``exp(-10 x^2)`` with
    ``x = (FoM - best) / (worst - best)`` over the deme's individuals of that generation, 0 for failures.
    ``checkpoint_in`` and ``checkpoint_out`` are the tags of the trials whose checkpoints the best so far went on from,
    and left.
    A generation is the next ``num_demes * pop_size`` results; the last one may be shorter. All are readable with
    ``pandas.read_csv(path, sep=r"\s+")``.

    Args:
        path: the first file; files that exist are overwritten with a warning.
        num_demes: number of demes.
        pop_size: individuals of each.
        gens_per_epoch: generations of an epoch.
    """

    name = "deme-log"

    def __init__(self, path: str | os.PathLike[str], *, num_demes: int, pop_size: int, gens_per_epoch: int = 1) -> None:
        self._path = Path(path)
        self._demes = num_demes
        self._size = num_demes * pop_size
        self._epoch = gens_per_epoch
        self._files: list[TextIOWrapper] = []
        """Open while a study goes on."""
        self._began = False
        self._rows: list[_Row] = []
        self._generation = 0
        self._best: _Row | None = None

    def study_started(self, study: Study) -> None:
        names = [self._path.name, *(f"Deme{k}_{self._path.name}" for k in range(1, self._demes + 1))]
        if self._began:
            self._files = [open(self._path.with_name(name), "a", buffering=1) for name in names]
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._domains = study.params.domains
        self._trials = study.trials
        self._checkpoints = study.evaluator is not None and bool(study.evaluator.checkpoint)
        self._sign = -1.0 if study.maximize else 1.0
        flags = [_word(flag) for flag in self._domains]
        heads = [["generation", "epoch", "best_fom", "avg_fom", "checkpoint_in", "checkpoint_out"]]
        heads += [["generation", "tag", "fitness", "FoM"]] * self._demes
        for name, head in zip(names, heads, strict=True):
            path = self._path.with_name(name)
            if path.exists():
                warnings.warn(f"overwriting existing log file: {path}", stacklevel=2)
            file = open(path, "w", buffering=1)
            file.write(" ".join([*head, *flags]) + "\n")
            self._files.append(file)
        self._began = True

    def trial_finished(self, trial: Trial, result: Result) -> None:
        if not self._files:
            return
        named = _TAG.fullmatch(trial.tag)
        deme, individual = (int(named[1]), int(named[2])) if named else (1, 0)
        if not 1 <= deme <= self._demes:
            deme = 1
        row = _Row(deme, individual, trial.tag, result.loss if result.ok else math.inf, trial.values, trial.parent)
        self._rows.append(row)
        if row.loss < (math.inf if self._best is None else self._best.loss):
            self._best = row
        if len(self._rows) == self._size:
            self._write()

    def study_finished(self, study: Study) -> None:
        if self._files and self._rows:
            self._write()
        for file in self._files:
            file.close()
        self._files = []

    def _write(self) -> None:
        generation, rows, self._rows = self._generation, self._rows, []
        self._generation += 1
        known = [row.loss for row in rows if row.loss < math.inf]
        mean = math.fsum(known) / len(known) if known else math.inf
        best = self._best
        cells = [str(generation), str(generation // self._epoch + 1)]
        cells += [self._number(math.inf if best is None else best.loss), self._number(mean)]
        cells += self._lineage(best)
        self._files[0].write(" ".join([*cells, *self._cells({} if best is None else best.values)]) + "\n")
        if generation == 0:
            defaults = [row for row in rows if row.tag == "deme1_ind0"]
            rows = rows + [
                _Row(k, 0, f"deme{k}_ind0", row.loss, row.values) for row in defaults for k in range(2, self._demes + 1)
            ]
        for deme in range(1, self._demes + 1):
            members = sorted((row for row in rows if row.deme == deme), key=lambda row: row.individual)
            for row, fitness in zip(members, _fitness([row.loss for row in members]), strict=True):
                cells = [str(generation), _word(row.tag), f"{fitness:.6f}", self._number(row.loss)]
                self._files[deme].write(" ".join([*cells, *self._cells(row.values)]) + "\n")

    def _lineage(self, row: _Row | None) -> list[str]:
        if row is None or not self._checkpoints:
            return [NOTHING, NOTHING]
        before = NOTHING if row.parent is None else _word(self._trials[row.parent - 1].trial.tag)
        return [before, _word(row.tag)]

    def _number(self, loss: float) -> str:
        return f"{self._sign * loss:.10g}"

    def _cells(self, values: Mapping[str, Value]) -> list[str]:
        return [
            _word(domain.text(values[flag])) if flag in values else NOTHING for flag, domain in self._domains.items()
        ]


def _fitness(losses: Sequence[float]) -> list[float]:
    known = [loss for loss in losses if loss < math.inf]
    if not known:
        return [0.0 for _ in losses]
    low, width = min(known), (max(known) - min(known)) or 1.0
    return [math.exp(-10.0 * ((loss - low) / width) ** 2) if loss < math.inf else 0.0 for loss in losses]


def _word(text: str) -> str:
    """One word: a blank inside a flag or value would shift the columns."""
    return "_".join(text.split()) or NOTHING
