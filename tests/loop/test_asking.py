"""Slots are kept busy; the strategy is asked no more than it must be; what it answers is checked."""

from collections.abc import Callable
from typing import Any

import pytest

import hpo_core as hpo
from hpo_core import Pause, Proposal, State, StopReason
from watching import Listed, Log, point

Simulate = Callable[..., hpo.Study]


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_an_asynchronous_strategy_keeps_64_slots_busy(simulate: Simulate, sigma: float) -> None:
    log = Log()
    study = simulate(log=log, nodes=64, run_time=None, sigma=sigma, study={"n_trials": 1024})
    study.optimize()
    last = max(log.times("started"))
    ends = {number: time for time, what, number, _ in log.lines if what == "finished"}
    busy = sum(min(ends[number], last) - time for time, what, number, _ in log.lines if what == "started")
    assert len(ends) == 1024
    assert busy / (64 * last) >= 0.99


def test_equal_seeds_give_equal_studies(simulate: Simulate) -> None:
    logs = [Log(), Log()]
    studies = [simulate(log=log, run_time=None, study={"n_trials": 100}) for log in logs]
    for study in studies:
        study.optimize()
    assert logs[0].lines == logs[1].lines
    assert [dict(record.values) for record in studies[0].trials] == [
        dict(record.values) for record in studies[1].trials
    ]


class Stuck(hpo.Strategy):
    """Proposes twice, then waits for ever."""

    name = "stuck"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.asks = 0

    def ask(self) -> Proposal | Pause:
        self.asks += 1
        return point(0.5) if self.asks <= 2 else Pause.WAIT


def test_a_deadlock_is_noticed(simulate: Simulate) -> None:
    study = simulate(study={"strategy": Stuck, "n_trials": 10})
    with pytest.raises(hpo.StudyStopped, match="strategy 'stuck' waits for results, and none is on its way"):
        study.optimize()
    strategy = study._ledger.strategy
    assert isinstance(strategy, Stuck)
    assert strategy.asks == 4, "twice for a trial, once more, and once after both were told"
    assert [record.state for record in study.trials] == [State.DONE, State.DONE]


def test_a_strategy_that_waits_before_anything_ran_is_a_deadlock(simulate: Simulate, listed: type[Listed]) -> None:
    listed.plan = [Pause.WAIT] * 100
    study = simulate(manager_options={"queue_wait": 60.0}, study={"strategy": listed})
    with pytest.raises(hpo.StudyStopped, match="'listed' waits"):
        study.optimize()
    assert len(listed.calls) == 1


def test_a_strategy_that_waits_is_asked_again_after_each_tell_only(simulate: Simulate, listed: type[Listed]) -> None:
    listed.plan = [point(0.1), point(0.2), Pause.WAIT, Pause.WAIT, point(0.3)]
    study = simulate(run_time=lambda values: 10 * float(values["--x"]), study={"strategy": listed})
    study.optimize()
    assert study.stop_reason is StopReason.EXHAUSTED
    assert listed.calls == [
        ("ask", 0), ("ask", 1), ("ask", 2), ("tell", 1), ("ask", 3), ("tell", 2), ("ask", 4), ("ask", 5), ("tell", 3)
    ]  # fmt: skip


def test_done_is_final(simulate: Simulate, listed: type[Listed]) -> None:
    listed.plan = [point(0.1), point(0.2)]
    study = simulate(study={"strategy": listed})
    study.optimize()
    assert listed.calls == [("ask", 0), ("ask", 1), ("ask", 2), ("tell", 1), ("tell", 2)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "strategy 'listed' answered None; ask must return a Proposal, Pause.WAIT or Pause.DONE"),
        ({"--x": 0.5}, "must return a Proposal"),
        (Proposal({"--x": 2.0}), "strategy 'listed' proposed an invalid point"),
        (Proposal({"--y": 0.5}), "strategy 'listed' proposed an invalid point"),
    ],
)
def test_a_wrong_answer_stops_the_study_and_names_the_strategy(
    simulate: Simulate, listed: type[Listed], answer: Any, words: str
) -> None:
    listed.plan = [point(0.1), answer, point(0.2)]
    study = simulate(nodes=1, study={"strategy": listed})
    with pytest.raises(hpo.HpoError, match=words):
        study.optimize()
    assert [record.state for record in study.trials] == [State.DONE]


def test_a_retry_waits_as_long_as_it_was_told(simulate: Simulate) -> None:
    log = Log()
    study = simulate(
        log=log, nodes=1, objective=lambda values: float("nan"), num_retries=2, retry_delay="1m", study={"n_trials": 1}
    )
    study.optimize()
    assert [(time, attempt) for time, what, _, attempt in log.lines if what == "started"] == [
        (0.0, 1), (61.0, 2), (122.0, 3)
    ]  # fmt: skip
    assert study.trials[0].state is State.FAILED
    assert study.stop_reason is StopReason.TRIALS


def test_while_a_retry_waits_its_slot_is_used(simulate: Simulate) -> None:
    log, foms = Log(), iter([float("nan")])
    study = simulate(
        log=log,
        nodes=1,
        objective=lambda values: next(foms, 0.0),
        num_retries=1,
        retry_delay=2.5,
        study={"n_trials": 6},
    )
    study.optimize()
    assert log.numbers("started") == [1, 2, 3, 4, 1, 5, 6]
    assert log.times("started") == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert study.trials[0].result is not None
    assert study.trials[0].result.attempts == 2
