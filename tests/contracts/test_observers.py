"""Our own observers keep the contract that everybody's must, and wrong ones are caught."""

import io
import sys

import pytest

import hpo_core as hpo
from hpo_core._tablelog import TableLog
from hpo_core.builtin.observers import Evaluations, Progress
from hpo_core.testing import ObserverContract


class TestProgress(ObserverContract):
    @pytest.fixture
    def observer(self):
        return Progress()


class TestEvaluations(ObserverContract):
    @pytest.fixture
    def observer(self):
        return Evaluations(io.StringIO(), notices=True)


class TestTableLog(ObserverContract):
    @pytest.fixture
    def observer(self, tmp_path):
        return TableLog(tmp_path / "first.log")


class TestDoesNothing(ObserverContract):
    @pytest.fixture
    def observer(self):
        return hpo.Observer()


class Misspelt(hpo.Observer):
    def trial_finish(self, trial, result):
        """Never called."""


class ExpectsResults(hpo.Observer):
    def trial_finished(self, trial, result):
        assert result.ok


class ExpectsTrials(hpo.Observer):
    def study_finished(self, study):
        study.best_trial.number  # noqa: B018


class ExpectsEnds(hpo.Observer):
    def __init__(self):
        self.running = set()

    def trial_started(self, trial, attempt):
        self.running.add((trial.number, attempt))

    def trial_finished(self, trial, result):
        self.running.discard((trial.number, result.attempts))

    def study_finished(self, study):
        assert not self.running


class ExpectsToBeNew(hpo.Observer):
    def __init__(self):
        self.study = None

    def study_started(self, study):
        assert self.study is None
        self.study = study


class Meddles(hpo.Observer):
    def trial_finished(self, trial, result):
        self.study.enqueue({"--x": 0.25, "--how": "plain"})

    def study_started(self, study):
        self.study = study


class LeavesFilesOpen(hpo.Observer):
    files: list[io.TextIOWrapper] = []  # noqa: RUF012

    def study_started(self, study):
        self.files.append(open("log.txt", "a"))


class KeepsItsFileOpen(hpo.Observer):
    files: dict[str, io.TextIOWrapper] = {}  # noqa: RUF012

    def study_started(self, study):
        if not self.files:
            self.files["log"] = open("log.txt", "a")


MUTANTS = [
    (Misspelt, "test_declares_itself"),
    (ExpectsResults, "test_hears_a_whole_life"),
    (ExpectsTrials, "test_hears_of_a_study_without_trials"),
    (ExpectsEnds, "test_hears_of_an_interruption"),
    (ExpectsToBeNew, "test_serves_one_study_after_the_other"),
    (Meddles, "test_changes_nothing"),
    (LeavesFilesOpen, "test_holds_nothing_afterwards"),
    (KeepsItsFileOpen, "test_holds_nothing_afterwards"),
]


@pytest.mark.parametrize(("mutant", "check"), MUTANTS)
def test_wrong_observers_are_caught(mutant, check, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = {} if check == "test_declares_itself" else {"elsewhere": tmp_path}
    if check == "test_holds_nothing_afterwards" and not sys.platform.startswith("linux"):
        pytest.skip("this system does not show open files")
    try:
        with pytest.raises(AssertionError):
            getattr(ObserverContract(), check)(mutant(), **more)
    finally:
        for file in LeavesFilesOpen.files:
            file.close()
