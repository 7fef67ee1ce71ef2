"""Interrupts, posted as a signal handler would: in order, and at once."""

from collections.abc import Callable
from typing import Any

import pytest

import hpo_core as hpo
from hpo_core import State, StopReason
from hpo_core import events as ev
from watching import Log

Simulate = Callable[..., hpo.Study]
Records = Callable[[hpo.Study, str], list[dict[str, Any]]]


class Presses(hpo.Observer):
    """Posts interrupts when a trial starts."""

    def __init__(self, log: Log, trial: int, *interrupts: ev.Interrupt) -> None:
        self.log, self.trial, self.interrupts = log, trial, interrupts

    def trial_started(self, trial: hpo.Trial, attempt: int) -> None:
        if trial.number == self.trial and attempt == 1:
            for interrupt in self.interrupts:
                self.log.events.post(interrupt)


def test_after_one_interrupt_nothing_starts_and_what_runs_may_end(simulate: Simulate) -> None:
    log = Log()
    study = simulate(
        log=log,
        observers=[Presses(log, 12, ev.Interrupt(reason="Ctrl-C"))],
        run_time=lambda values: 5.0,
        stop_wait=10,
        study={"n_trials": 100},
    )
    study.optimize()
    assert (study.stop_reason, study.stop_detail) == (StopReason.INTERRUPTED, "Ctrl-C")
    assert [record.state for record in study.trials] == [State.DONE] * 16
    assert max(log.times("started")) == 5.0
    assert any("no new evaluations; the 8 that run have 10" in notice for notice in log.notices)


def test_what_runs_too_long_after_an_interrupt_is_ended_and_stays_open(simulate: Simulate, records: Records) -> None:
    log = Log()
    study = simulate(
        log=log,
        observers=[Presses(log, 1, ev.Interrupt(wait_s=2.0))],
        run_time=lambda values: 100.0,
        num_retries=5,
        study={"n_trials": 100},
    )
    study.optimize()
    assert study.stop_reason is StopReason.INTERRUPTED
    assert study._ledger.elapsed_s == pytest.approx(2.0)
    assert {record.state for record in study.trials} == {State.RUNNING}
    assert [record["failure"] for record in records(study, "attempt")] == ["cancelled"] * 8


def test_the_second_interrupt_ends_all_at_once(simulate: Simulate) -> None:
    log = Log()
    study = simulate(
        log=log,
        observers=[Presses(log, 1, ev.Interrupt(1, wait_s=1000.0), ev.Interrupt(2))],
        run_time=lambda values: 100.0,
    )
    study.optimize()
    assert study._ledger.elapsed_s == 0.0
    assert len(log.times("started")) == 8
    assert log.times("finished") == []


def test_an_interrupted_study_goes_on_where_it_was(simulate: Simulate) -> None:
    log = Log()
    study = simulate(log=log, observers=[Presses(log, 12, ev.Interrupt(wait_s=0.0))], study={"n_trials": 30})
    assert study.optimize().stop_reason is StopReason.INTERRUPTED
    assert study.optimize().stop_reason is StopReason.TRIALS
    assert [record.state for record in study.trials] == [State.DONE] * 30


def test_an_interrupt_while_waiting_for_nodes_ends_the_study_at_once(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    study = simulate(log=log, manager_options={"queue_wait": 1e6})
    loop = ev.VirtualEventLoop()
    loop.call_at(60.0, lambda: loop.post(ev.Interrupt(reason="Ctrl-C")))
    assert study.evaluator is not None
    monkeypatch.setattr(study.evaluator.backend.manager, "event_loop", lambda: loop)
    study.optimize()
    assert (study.stop_reason, loop.now()) == (StopReason.INTERRUPTED, 60.0)
    assert len(study.trials) == 0
