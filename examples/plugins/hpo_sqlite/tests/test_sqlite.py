"""What stands in the database is what the study says."""

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_sqlite import SqliteObserver

SPACE = hpo.Params([["--x", 0.5, (0.0, 1.0)], ["--how", "plain", ["plain", 'with "quotes"', "\u00e4"]]])


def objective(values) -> float:
    return math.nan if float(values["--x"]) > 0.8 else float(values["--x"])


def evaluator() -> hpo.Evaluator:
    return hpo.Evaluator("program", workload_manager="simulated", nodes=2, launcher_options={"objective": objective})


def rows(path: Path, text: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(text).fetchall()


@pytest.fixture
def study(tmp_path) -> hpo.Study:
    with (
        evaluator() as runs,
        hpo.Study(SPACE, runs, n_trials=20, seed=3, directory=tmp_path / "s", observers=[SqliteObserver()]) as study,
    ):
        return study.optimize()


def test_each_trial_is_a_row(study):
    found = rows(
        study.directory / "trials.sqlite", "SELECT number, state, fom, flags, arguments FROM trials ORDER BY number"
    )
    assert len(found) == 20
    for (number, state, fom, flags, arguments), record in zip(found, study.trials, strict=True):
        assert (number, state) == (record.number, record.state.value)
        assert json.loads(flags) == dict(record.values)
        assert arguments == record.trial.arguments
        assert fom == (record.fom if record.result.ok else None)


def test_the_best_is_one_question_away(study):
    best = rows(study.directory / "trials.sqlite", "SELECT number, min(fom) FROM trials WHERE state = 'done'")
    assert best == [(study.best_trial.number, study.best_fom)]


def test_reports_are_rows(study):
    reports = rows(study.directory / "trials.sqlite", "SELECT number, step, fom, metrics FROM reports")
    assert {(number, fom) for number, _, fom, _ in reports if fom is not None} == {
        (record.number, record.fom) for record in study.trials if record.result.ok
    }
    assert {step for _, step, _, _ in reports} == {1.0}


def test_an_observer_that_comes_late_has_the_earlier_trials_too(study, tmp_path):
    path = tmp_path / "other.sqlite"
    with hpo.Study.load(study.directory, evaluator(), n_trials=30, observers=[SqliteObserver(path)]) as more:
        more.optimize()
        more.evaluator.close()
    assert rows(path, "SELECT count(*), count(DISTINCT study) FROM trials WHERE state != 'running'") == [(30, 1)]


def test_a_file_that_cannot_be_written_harms_nothing(tmp_path):
    observer = SqliteObserver(tmp_path / "no" / "such" / "folder.sqlite")
    with (
        evaluator() as runs,
        hpo.Study(SPACE, runs, n_trials=5, seed=3, directory=tmp_path / "s", observers=[observer]) as study,
    ):
        with pytest.warns(UserWarning, match="SqliteObserver is switched off"):
            study.optimize()
        assert len(study.trials) == 5


def test_several_studies_share_a_file(tmp_path):
    observer = SqliteObserver(tmp_path / "all.sqlite")
    for name in ("one", "two"):
        with (
            evaluator() as runs,
            hpo.Study(SPACE, runs, n_trials=5, seed=3, directory=tmp_path / name, observers=[observer]) as study,
        ):
            study.optimize()
    found = rows(tmp_path / "all.sqlite", "SELECT study, count(*) FROM trials GROUP BY study")
    assert [count for _, count in found] == [5, 5]
