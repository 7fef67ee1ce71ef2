"""When a study ends: each budget, alone and on a study that goes on; on the virtual clock."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

import hpo_core as hpo
from hpo_core import State, StopReason
from watching import Generations, Listed, Log, point

Simulate = Callable[..., hpo.Study]


def by_x(values: Mapping[str, str]) -> float:
    return float(values["--x"])


def test_n_trials_counts_trials_and_retries_not(simulate: Simulate) -> None:
    log = Log()
    study = simulate(log=log, objective=lambda values: float("nan"), num_retries=2, study={"n_trials": 10})
    study.optimize()
    assert study.stop_reason is StopReason.TRIALS
    assert len(study.trials) == 10
    assert len(log.times("started")) == 30


def test_the_timeout_counts_from_the_first_launch_and_cancels_what_is_overdue(simulate: Simulate) -> None:
    study = simulate(
        manager_options={"queue_wait": 3600.0}, timeout="10s", run_time=lambda values: 4.0, study={"n_trials": 100}
    )
    study.optimize()
    assert study.stop_reason is StopReason.TIMEOUT
    states = [record.state for record in study.trials]
    assert (states.count(State.DONE), states.count(State.CANCELLED), len(states)) == (16, 8, 24)
    assert study._ledger.elapsed_s == pytest.approx(10.0)


def test_a_study_whose_time_is_over_launches_nothing_more(simulate: Simulate) -> None:
    log = Log()
    study = simulate(log=log, timeout="10s", run_time=lambda values: 4.0)
    study.optimize()
    before = len(study.trials)
    study.optimize()
    assert (study.stop_reason, len(study.trials)) == (StopReason.TIMEOUT, before)
    assert len(log.times("started")) == before


def test_the_timeout_is_cumulative_over_sessions(simulate: Simulate) -> None:
    study = simulate(timeout="10s", run_time=lambda values: 4.0, study={"n_trials": 8})
    study.optimize()
    study.close()
    with hpo.Study.load(study.directory, study.evaluator, n_trials=1000) as again:
        again.optimize()
        assert again.stop_reason is StopReason.TIMEOUT
        assert again._ledger.elapsed_s == pytest.approx(10.0)
        assert [record.state for record in again.trials].count(State.DONE) == 16


@pytest.mark.parametrize("maximize", [False, True])
def test_the_target_ends_the_study_in_the_users_sign(simulate: Simulate, maximize: bool) -> None:
    target = 0.9 if maximize else 0.1
    study = simulate(objective=by_x, maximize=maximize, study={"target": target, "n_trials": 1000})
    study.optimize()
    assert study.stop_reason is StopReason.TARGET
    assert study.best_fom is not None
    assert study.best_fom >= target if maximize else study.best_fom <= target
    assert len(study.trials) < 1000
    before = len(study.trials)
    study.optimize()
    assert len(study.trials) == before


def test_patience(simulate: Simulate, listed: type[Listed]) -> None:
    listed.plan = [point(x) for x in (0.5, 0.6, 0.4, 0.4, 0.7, 0.8, 0.1)]
    study = simulate(objective=by_x, nodes=1, study={"strategy": listed, "patience": 3})
    study.optimize()
    assert study.stop_reason is StopReason.NO_IMPROVEMENT
    assert [record.fom for record in study.trials] == [0.5, 0.6, 0.4, 0.4, 0.7, 0.8]


def test_max_failures_counts_those_in_a_row(simulate: Simulate, listed: type[Listed]) -> None:
    bad = 0.25
    listed.plan = [point(x) for x in (bad, bad, 0.5, bad, bad, bad, 0.5)]
    study = simulate(
        objective=lambda values: float("nan") if by_x(values) == bad else 1.0,
        nodes=1,
        study={"strategy": listed, "max_failures": 3},
    )
    study.optimize()
    assert study.stop_reason is StopReason.FAILURES
    assert len(study.trials) == 6


def test_a_strategy_that_is_done_ends_the_study(simulate: Simulate, listed: type[Listed]) -> None:
    listed.plan = [point(0.1), point(0.2)]
    study = simulate(study={"strategy": listed, "n_trials": 10})
    study.optimize()
    assert study.stop_reason is StopReason.EXHAUSTED
    assert study.stop_detail == "the strategy has nothing more to propose"
    assert {record.state for record in study.trials} == {State.DONE}


class Looks(hpo.Strategy):
    """Writes down its outlook at each ask."""

    name = "looks"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seen: list[tuple[int, int | None, float | None]] = []

    def ask(self) -> hpo.Proposal:
        self.seen.append((self.outlook.slots, self.outlook.trials_left, self.outlook.time_left_s))
        return hpo.Proposal(self.space.draw(self.rng))


def test_the_outlook_is_kept_up_to_date(simulate: Simulate) -> None:
    study = simulate(
        nodes=4,
        timeout="100s",
        manager_options={"node_failures": {"sim3": 1.5}},
        study={"strategy": Looks, "n_trials": 9},
    )
    study.optimize()
    strategy = study._ledger.strategy
    assert isinstance(strategy, Looks)
    assert [left for _, left, _ in strategy.seen] == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert [time for _, _, time in strategy.seen] == [100.0] * 4 + [99.0] * 4 + [98.0]
    assert [slots for slots, _, _ in strategy.seen] == [4] * 8 + [3]


@pytest.mark.parametrize(
    ("settings", "slots"),
    [
        ({"nodes": 8}, 8),
        ({"nodes": 8, "nodes_per_eval": 2}, 4),
        ({"nodes": 7, "nodes_per_eval": 2, "num_parallel_evals": 3}, 3),
        ({"nodes": 8, "num_parallel_evals": 3}, 3),
        ({"nodes": 2, "num_parallel_evals": 3}, 3),
        ({"nodes": 1, "num_parallel_evals": 5}, 5),
    ],
)
def test_as_many_run_at_a_time_as_there_are_slots_and_none_is_asked_ahead(
    simulate: Simulate, settings: dict[str, int], slots: int
) -> None:
    log = Log()
    study = simulate(log=log, study={"strategy": Looks, "n_trials": 3 * slots}, **settings)
    study.optimize()
    strategy = study._ledger.strategy
    assert isinstance(strategy, Looks)
    assert {seen for seen, _, _ in strategy.seen} == {slots}
    assert log.words() == ["study started", *(["started"] * slots + ["finished"] * slots) * 3, "study finished"]
    assert sorted(log.times("started")) == [float(i // slots) for i in range(3 * slots)]


def test_a_barrier_is_honoured_and_nothing_spins(simulate: Simulate) -> None:
    log = Log()
    study = simulate(
        log=log, run_time=lambda values: 1.0 + by_x(values), study={"strategy": Generations, "n_trials": 40}
    )
    study.optimize()
    strategy = study._ledger.strategy
    assert isinstance(strategy, Generations)
    assert study.stop_reason is StopReason.TRIALS
    assert log.words()[1:-1] == (["started"] * 4 + ["finished"] * 4) * 10
    assert strategy.calls["ask"] == 40 + strategy.calls["wait"]
    assert strategy.calls["wait"] <= 40, "one refusal for each tell at the most"


def test_a_point_that_is_put_in_when_the_budget_is_spent_holds_nothing_up(simulate: Simulate) -> None:
    class Enqueues(hpo.Observer):
        def study_started(self, study: hpo.Study) -> None:
            self.study = study

        def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
            self.study.enqueue({"--x": 0.25})

    study = simulate(observers=[Enqueues()], study={"n_trials": 12})
    study.optimize()
    assert study.stop_reason is StopReason.TRIALS
    assert len(study.trials) == 12
