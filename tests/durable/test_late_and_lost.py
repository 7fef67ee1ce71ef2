"""Losses that are no fault of the program, late words of old attempts, and clocks that jump."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

import hpo_core as hpo
from hpo_core import events as ev
from hpo_core.allocation import AllocationRequest, Node
from hpo_core.builtin.local import LocalLauncher
from hpo_core.builtin.simulated import SimulatedLauncher, SimulatedManager
from hpo_core.testing.plugins import registered
from hpo_core.trial import Failure

PARAMS = [["--x", 0.5, (0.0, 1.0)]]


class Fickle(SimulatedManager):
    """Takes its first node away after 0.5 s and gives another one a second later."""

    name = "fickle"
    failure: ClassVar[Failure] = Failure.NODE_LOST

    def acquire(self, request: AllocationRequest, events: ev.EventLoop) -> None:
        self.attach(events)

    def attach(self, events: ev.EventLoop) -> None:
        events.post(ev.NodesJoined((Node("first"),)))
        events.call_later(0.5, lambda: events.post(ev.NodesLeft(("first",), "taken away", self.failure)))
        events.call_later(1.5, lambda: events.post(ev.NodesJoined((Node("second"),))))


@pytest.mark.parametrize("failure", [Failure.NODE_LOST, Failure.PREEMPTED, Failure.ALLOCATION_ENDED])
def test_losses_are_tried_again_elsewhere_without_using_up_retries(tmp_path: Path, failure: Failure) -> None:
    manager = type("Manager", (Fickle,), {"failure": failure})
    with registered(manager):
        evaluator = hpo.Evaluator(
            "program", workload_manager="fickle", num_retries=0, launcher_options={"run_time": lambda values: 1.0}
        )
        with hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=2, seed=1, directory=tmp_path / "s") as study:
            study.optimize()
    first = study.trials[0].result
    assert first.state is hpo.State.DONE
    assert first.attempts == 2
    assert first.nodes == ("second",)
    attempts = [line for line in (tmp_path / "s" / "journal.jsonl").read_text().splitlines() if '"attempt"' in line]
    assert f'"failure":"{failure.value}"' in attempts[0]
    assert "taken away" in attempts[0]


class Echo(SimulatedLauncher):
    """Says each attempt's end again, late and with another result, while the next attempt runs."""

    name = "echo"

    def launch(self, evaluation: hpo.Evaluation) -> None:
        super().launch(evaluation)
        if evaluation.attempt > 1:
            old = (evaluation.trial, evaluation.attempt - 1)
            self.events.call_later(0.1, lambda: self.events.post(ev.Output(old, b"FoM: -99\n")))
            self.events.call_later(0.2, lambda: self.events.post(ev.Ended(old, 0)))


def test_a_late_result_of_an_old_attempt_is_rejected(tmp_path: Path) -> None:
    with registered(Fickle, Echo):
        evaluator = hpo.Evaluator(
            "program",
            workload_manager="fickle",
            launcher="echo",
            launcher_options={"run_time": lambda values: 1.0, "objective": lambda values: 7.0},
        )
        with hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=1, directory=tmp_path / "s") as study:
            study.optimize()
    assert study.best_fom == 7.0
    assert study.trials[0].result.attempts == 2


def test_a_clock_that_jumps_breaks_nothing(
    tmp_path: Path, program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock goes back a day with every look; durations and limits are on another clock."""
    looks = itertools.count(1)
    start = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: start - next(looks) * 86_400 * 10**9)
    evaluator = hpo.Evaluator(program("time.sleep(0.1); print('FoM: 1')"), workload_manager="local", timeout="20s")
    with hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=3, directory=tmp_path / "s") as study:
        study.optimize()
    assert next(looks) > 6
    assert all(0.1 <= record.result.duration_s < 10 for record in study.trials)
    with hpo.Study.load(tmp_path / "s") as study:
        assert 0.3 <= study.elapsed_s < 10


class NoSuchPlace(LocalLauncher):
    """Can never start anything."""

    name = "no-such-place"

    def launch(self, evaluation: hpo.Evaluation) -> None:
        raise hpo.LaunchError("the door is closed")


def test_what_cannot_start_stops_the_study_and_stays_open(tmp_path: Path) -> None:
    with registered(NoSuchPlace):
        evaluator = hpo.Evaluator("true", workload_manager="local", launcher="no-such-place", num_retries=5)
        with hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=9, directory=tmp_path / "s") as study:
            with pytest.raises(hpo.StudyStopped, match="trial 1 could not be started: the door is closed"):
                study.optimize()
            assert study.trials[0].state is hpo.State.RUNNING
            assert len(study.trials) == 1
