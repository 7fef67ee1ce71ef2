"""Nodes whose end is known: nothing begins that they would not outlive, and what runs is ended in time."""

import itertools
from collections.abc import Callable
from typing import Any

import hpo_core as hpo
from hpo_core import Failure, State, StopReason
from hpo_core._lifetimes import Lifetimes
from hpo_core.allocation import Node
from watching import Log

Simulate = Callable[..., hpo.Study]
Records = Callable[[hpo.Study, str], list[dict[str, Any]]]


def test_no_evaluation_begins_that_could_not_end(simulate: Simulate, records: Records) -> None:
    """Four seconds each, a hundred seconds of nodes: the last ones begin in time, and the rest of it is given back."""
    log = Log()
    study = simulate(log=log, run_time=lambda values: 4.0, manager_options={"walltime": 102.0}, nodes=2, grace=1)
    study.optimize()
    assert study.stop_reason is StopReason.ALLOCATION
    assert "ends too soon for another evaluation (nine of ten took up to 4 s)" in study.stop_detail
    assert records(study, "attempt") == []
    assert max(log.times("started")) == 96.0
    assert {record.state for record in study.trials} == {State.DONE}
    assert len(study.trials) == 50


def test_a_study_that_stopped_so_goes_on_with_the_next_allocation(simulate: Simulate) -> None:
    study = simulate(run_time=lambda values: 4.0, manager_options={"walltime": 30.0}, nodes=4)
    study.optimize()
    done = len(study.trials)
    study.close()
    again = hpo.Study.load(study.directory, study.evaluator, n_trials=done + 1)
    study.evaluator.close()  # type: ignore[union-attr]
    with again:
        again.optimize()
        assert again.stop_reason is StopReason.TRIALS
        assert len(again.trials) == done + 1


def test_what_still_runs_is_ended_before_its_node_is_taken_away(simulate: Simulate, records: Records) -> None:
    """The first evaluations tell nothing yet: they begin, and are ended one second of grace before the end."""
    log = Log()
    study = simulate(log=log, run_time=lambda values: 1e4, manager_options={"walltime": 50.0}, nodes=2, grace=1)
    study.optimize()
    assert study.stop_reason is StopReason.ALLOCATION
    attempts = records(study, "attempt")
    assert [record["failure"] for record in attempts] == [Failure.ALLOCATION_ENDED.value] * 2
    assert [record["duration_s"] for record in attempts] == [49.0, 49.0]
    assert {record.state for record in study.trials} == {State.RUNNING}, "they run again when the study goes on"


def test_with_renewal_the_study_goes_on_until_its_budget(simulate: Simulate, records: Records) -> None:
    log = Log()
    study = simulate(
        log=log,
        run_time=lambda values: 4.0,
        manager_options={"walltime": 30.0, "renewals": 9, "queue_wait": 7.0},
        nodes=4,
        grace=1,
        study={"n_trials": 100},
    )
    study.optimize()
    assert study.stop_reason is StopReason.TRIALS
    assert len(study.trials) == 100
    assert records(study, "attempt") == []
    starts = sorted(set(log.times("started")))
    assert max(b - a for a, b in itertools.pairwise(starts)) == 11.0, "four seconds of running, seven in the queue"


def test_renewal_repeats_what_the_end_interrupted(simulate: Simulate, records: Records) -> None:
    times = iter([100.0, 100.0])
    study = simulate(
        run_time=lambda values: next(times, 5.0),
        manager_options={"walltime": 50.0, "renewals": 3},
        nodes=2,
        grace=1,
        study={"n_trials": 6},
    )
    study.optimize()
    assert study.stop_reason is StopReason.TRIALS
    assert len(records(study, "attempt")) == 2
    assert {record.state for record in study.trials} == {State.DONE}


def test_an_unfinished_strategy_alone_asks_for_renewal(simulate: Simulate) -> None:
    """A budget that is spent when the allocation nears its end is what the study stopped for."""
    study = simulate(
        run_time=lambda values: 4.0, manager_options={"walltime": 9.0}, nodes=2, grace=0, study={"n_trials": 4}
    )
    study.optimize()
    assert study.stop_reason is StopReason.TRIALS


def test_expected_run_time_is_that_of_nine_in_ten_and_never_beyond_the_limit() -> None:
    lifetimes = Lifetimes(None, 5.0)
    assert lifetimes.expected_s == 0.0
    for duration_s in range(1, 12):
        lifetimes.took(float(duration_s))
    assert lifetimes.expected_s == 10.0
    assert Lifetimes(3.0, 5.0, [1.0, 9.0]).expected_s == 3.0
    old = Lifetimes(None, 5.0, [1000.0] + [1.0] * Lifetimes.LAST)
    assert old.expected_s == 1.0, "the oldest are forgotten"


def test_the_margin_is_the_grace_but_no_more_than_a_tenth_of_what_is_left() -> None:
    lifetimes = Lifetimes(None, 5.0)
    assert lifetimes.cleared_in_time(Node("n", ends_at=1000.0), 0.0).ends_at == 995.0
    assert lifetimes.cleared_in_time(Node("n", ends_at=20.0), 10.0).ends_at == 19.0
    assert lifetimes.cleared_in_time(Node("n"), 10.0).ends_at is None
