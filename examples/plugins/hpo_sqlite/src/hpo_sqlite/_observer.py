"""Rows of a database for what an observer hears."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from pathlib import Path
from typing import Any

from hpo_core import Observer, Report, Result, Study, Trial

_TABLES = """
CREATE TABLE IF NOT EXISTS trials (
    study TEXT, number INTEGER, tag TEXT, origin TEXT, arguments TEXT, flags TEXT, parent INTEGER, fidelity REAL,
    attempts INTEGER, state TEXT, fom REAL, metrics TEXT, failure TEXT, message TEXT, exit_code INTEGER,
    duration_s REAL, nodes TEXT, PRIMARY KEY (study, number));
CREATE TABLE IF NOT EXISTS reports (study TEXT, number INTEGER, step REAL, fom REAL, metrics TEXT);
CREATE TABLE IF NOT EXISTS notices (study TEXT, text TEXT);
"""


class SqliteObserver(Observer):
    """Keeps ``trials.sqlite`` in the study's directory; any program may read it at any time.

    Each trial is one row of ``trials``, from its first launch; a study that goes on brings the rows of earlier sessions
    with it. Values of flags and metrics are JSON.

    Args:
        path: another file, which several studies may share one after the other; None: the study's own.

    Raises:
        sqlite3.Error: from any method, when the file can't be written; the study then goes on without this observer.
    """

    name = "sqlite"
    interface_version = 1

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._database: sqlite3.Connection | None = None

    def study_started(self, study: Study) -> None:
        self._study = study.id
        self._database = sqlite3.connect(self._path or study.directory / "trials.sqlite", isolation_level=None)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_TABLES)
        self._database.execute("BEGIN")
        for record in study.trials:
            self._write(record.trial, record.result)
        self._database.execute("COMMIT")

    def trial_started(self, trial: Trial, attempt: int) -> None:
        self._write(trial, None, attempts=attempt)

    def trial_reported(self, trial: Trial, report: Report) -> None:
        row = (self._study, trial.number, report.step, _number(report.fom), _json(report.metrics))
        self._execute("INSERT INTO reports VALUES (?, ?, ?, ?, ?)", row)

    def trial_finished(self, trial: Trial, result: Result) -> None:
        self._write(trial, result)

    def notice(self, text: str) -> None:
        if self._database is not None:
            self._execute("INSERT INTO notices VALUES (?, ?)", (self._study, text))

    def study_finished(self, study: Study) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _write(self, trial: Trial, result: Result | None, attempts: int = 0) -> None:
        row: dict[str, Any] = {
            "study": self._study,
            "number": trial.number,
            "tag": trial.tag,
            "origin": trial.origin,
            "arguments": trial.arguments,
            "flags": _json(trial.values),
            "parent": trial.parent,
            "fidelity": trial.fidelity,
            "attempts": attempts,
            "state": "running",
        }
        if result is not None:
            row |= {
                "attempts": result.attempts,
                "state": result.state.value,
                "fom": _number(result.fom),
                "metrics": _json(result.metrics),
                "failure": result.failure.value if result.failure else None,
                "message": result.message or None,
                "exit_code": result.exit_code,
                "duration_s": result.duration_s,
                "nodes": ",".join(result.nodes),
            }
        places = ", ".join("?" * len(row))
        self._execute(f"INSERT OR REPLACE INTO trials ({', '.join(row)}) VALUES ({places})", tuple(row.values()))

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        if self._database is not None:
            self._database.execute(statement, values)


def _number(value: float) -> float | None:
    """What a database can compare: no NaN."""
    return None if math.isnan(value) else value


def _json(values: Any) -> str:
    return json.dumps(dict(values), ensure_ascii=False)
