"""The contract of observers: subclass it in your tests, give it a fixture, run pytest."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import difflib
import gc
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hpo_core.budget import StopReason
from hpo_core.evaluator import Evaluator
from hpo_core.events import Interrupt
from hpo_core.interfaces import Observer, Strategy
from hpo_core.journal import read
from hpo_core.space import Params
from hpo_core.study import Study
from hpo_core.trial import Pause, Result, State, Trial

_HOOKS = tuple(name for name in vars(Observer) if not name.startswith("_") and callable(getattr(Observer, name)))
_FLAGS: list[list[Any]] = [["--x", 0.5, (0.0, 1.0)], ["--how", "plain", ["plain", 'with, a "comma"', "\u00e4\u00df"]]]


class ObserverContract:
    """What every observer promises: it hears of whatever happens in a study, and never changes it.

    Subclasses define the fixture `observer`::

        class TestMine(ObserverContract):
            @pytest.fixture
            def observer(self, tmp_path):
                return MyObserver(tmp_path / "log.csv")
    """

    @pytest.fixture
    def observer(self) -> Observer:
        """An observer to be tested."""
        raise NotImplementedError("define the fixture 'observer'")

    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder to work in, where an observer may leave files."""
        place = tmp_path / "observed"
        place.mkdir()
        monkeypatch.chdir(place)
        return place

    def test_declares_itself(self, observer: Observer) -> None:
        """It has a name, and no method that only looks like one of an observer's."""
        assert isinstance(observer, Observer)
        assert observer.name.strip() == observer.name != ""
        own = [name for cls in type(observer).__mro__ if cls not in Observer.__mro__ for name in vars(cls)]
        for name in own:
            if not name.startswith("_") and name not in _HOOKS:
                near = difflib.get_close_matches(name, _HOOKS, n=1, cutoff=0.8)
                assert not near, f"{type(observer).__name__}.{name} is never called; is {near[0]} meant?"

    def test_hears_a_whole_life(self, observer: Observer, elsewhere: Path) -> None:
        """Good results, failures, retries, odd values and notices: nothing makes it raise."""
        study = _live(elsewhere / "study", observer)
        states = {record.state for record in study.trials}
        assert states == {State.DONE, State.FAILED}

    def test_hears_of_a_study_without_trials(self, observer: Observer, elsewhere: Path) -> None:
        """A study whose strategy proposes nothing begins and ends."""
        study = _live(elsewhere / "study", observer, strategy=_Nothing)
        assert len(study.trials) == 0

    def test_hears_of_an_interruption(self, observer: Observer, elsewhere: Path) -> None:
        """What runs is cancelled and stays open; nothing makes it raise."""
        study = _live(elsewhere / "study", observer, interrupted=True)
        assert study.stop_reason is StopReason.INTERRUPTED

    def test_serves_one_study_after_the_other(self, observer: Observer, elsewhere: Path) -> None:
        """The same object observes a second study, and one that goes on."""
        for name in ("one", "two"):
            _live(elsewhere / name, observer).close()
        with Study.load(elsewhere / "two", _evaluator(), observers=[observer], n_trials=20) as study:
            _run(study)
            assert len(study.trials) == 20

    def test_changes_nothing(self, observer: Observer, elsewhere: Path) -> None:
        """With it and without it, the study is the same."""
        with_it = _what_happened(_live(elsewhere / "with", observer))
        without = _what_happened(_live(elsewhere / "without", Observer()))
        assert with_it == without

    def test_holds_nothing_afterwards(self, observer: Observer, elsewhere: Path) -> None:
        """When a study has finished, no file stays open: a thousand studies in one process are not too many."""
        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("this system does not show open files")
        _live(elsewhere / "first", Observer()).close()  # Whatever is imported late is there now.
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for i in range(3):
            _live(elsewhere / f"more{i}", observer).close()
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= before


class _Nothing(Strategy):
    """Is done before it has begun."""

    name = "nothing"

    def ask(self) -> Pause:
        return Pause.DONE


class _Stops(Observer):
    """Interrupts a study after its fifth result."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._finished = 0

    def trial_finished(self, trial: Trial, result: Result) -> None:
        self._finished += 1
        if self._finished == 5:
            self._evaluator.backend.launcher.events.post(Interrupt(wait_s=0.5))


def _evaluator() -> Evaluator:
    def objective(values: Mapping[str, str]) -> float:
        x = float(values["--x"])
        return math.nan if x > 0.6 else 1e-300 if x < 0.1 else -x

    options: dict[str, Any] = {"objective": objective, "run_time": lambda values: 1.0 + float(values["--x"])}
    return Evaluator("program", workload_manager="simulated", nodes=3, num_retries=1, launcher_options=options)


def _live(
    directory: Path, observer: Observer, *, strategy: str | type[Strategy] = "random", interrupted: bool = False
) -> Study:
    """A study of fifteen trials, observed."""
    evaluator = _evaluator()
    others = [_Stops(evaluator)] if interrupted else []
    study = Study(
        Params(_FLAGS),
        evaluator,
        strategy=strategy,
        evaluate_defaults=strategy == "random",
        n_trials=15,
        seed=7,
        directory=directory,
        observers=[observer, *others],
    )
    _run(study)
    return study


def _run(study: Study) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        study.optimize()
    assert study.evaluator is not None
    study.evaluator.close()
    switched_off = [str(one.message) for one in heard if "is switched off" in str(one.message)]
    assert not switched_off, switched_off[0]


def _what_happened(study: Study) -> list[dict[str, Any]]:
    study.close()
    private = {"time", "id", "crc"}
    records = [line.record for line in read(study.directory)][1:]
    return [{key: value for key, value in record.items() if key not in private} for record in records]
