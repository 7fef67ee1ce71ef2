"""Nodes come late, fail, and are taken away; evaluations of several widths share them."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hpo_core as hpo
from hpo_core import Failure, State, StopReason
from hpo_core import events as ev
from hpo_core.allocation import AllocationRequest
from hpo_core.builtin.simulated import SimulatedLauncher, SimulatedManager
from hpo_core.registry import added
from hpo_core.trial import Evaluation
from watching import Listed, Log, point

Simulate = Callable[..., hpo.Study]
Records = Callable[[hpo.Study, str], list[dict[str, Any]]]


class Used(hpo.Observer):
    """Checks at every launch that nobody else has its slots, and writes down who runs where."""

    name = "used"

    def __init__(self) -> None:
        self.study: hpo.Study | None = None
        self.order: list[int] = []

    def study_started(self, study: hpo.Study) -> None:
        assert study.evaluator is not None
        launcher = study.evaluator.backend.launcher
        assert isinstance(launcher, SimulatedLauncher)
        original, self.where, self.clashes = launcher.launch, dict[tuple[int, int], set[Any]](), list[str]()

        def launch(evaluation: Evaluation) -> None:
            mine = {(slot.node, slot.index) for slot in evaluation.slots}
            nodes = {slot.node for slot in evaluation.slots}
            assert len(nodes) == int(evaluation.environment["HPO_NUM_NODES"]) == len(evaluation.slots)
            for key in launcher._running:
                if mine & self.where[key]:
                    self.clashes.append(f"{key} and {evaluation.key}")
            self.where[evaluation.key] = mine
            self.order.append(evaluation.trial)
            original(evaluation)

        launcher.launch = launch  # type: ignore[method-assign]


def test_queue_wait(simulate: Simulate) -> None:
    log = Log()
    study = simulate(log=log, manager_options={"queue_wait": 7200.0}, study={"n_trials": 16})
    study.optimize()
    assert log.times("started") == [7200.0] * 8 + [7201.0] * 8
    assert study._ledger.elapsed_s == pytest.approx(2.0), "waiting in the queue does not count"


def test_a_lost_nodes_evaluation_runs_elsewhere_and_uses_up_no_retry(simulate: Simulate, records: Records) -> None:
    log = Log()
    study = simulate(
        log=log, run_time=lambda values: 3.0, manager_options={"node_failures": {"sim1": 5.0}}, study={"n_trials": 24}
    )
    study.optimize()
    assert study.stop_reason is StopReason.TRIALS
    assert {record.state for record in study.trials} == {State.DONE}
    (lost,) = records(study, "attempt")
    assert (lost["failure"], lost["nodes"], lost["attempt"]) == ("node lost", ["sim1"], 1)
    result = study.trials[lost["trial"] - 1].result
    assert result is not None
    assert result.attempts == 2
    assert result.nodes != ("sim1",)
    assert any("lost sim1: node failure" in notice for notice in log.notices)
    assert any("trying again" in notice for notice in log.notices)


def test_a_trial_whose_nodes_fail_again_and_again_is_given_up(simulate: Simulate, listed: type[Listed]) -> None:
    listed.plan = [point(0.5)]
    failures = {f"sim{i}": float(i) for i in range(1, 6)}
    study = simulate(
        run_time=lambda values: 10.0, manager_options={"node_failures": failures}, study={"strategy": listed}
    )
    study.optimize()
    result = study.trials[0].result
    assert result is not None
    assert (result.failure, result.attempts) == (Failure.NODE_LOST, 4)


def test_when_all_nodes_failed_the_study_stops_and_open_trials_stay_open(simulate: Simulate) -> None:
    failures = {"sim1": 5.0, "sim2": 6.0}
    study = simulate(nodes=2, run_time=lambda values: 4.0, manager_options={"node_failures": failures})
    study.optimize()
    assert (study.stop_reason, study.stop_detail) == (StopReason.ALLOCATION, "no node is left: node failure")
    assert [record.state for record in study.trials] == [State.DONE, State.DONE, State.RUNNING, State.RUNNING]


def test_the_end_of_the_allocation_stops_the_study_and_open_trials_stay_open(
    simulate: Simulate, records: Records
) -> None:
    unannounced = {"walltime": 10.0, "announced": False}
    study = simulate(run_time=lambda values: 4.0, manager_options=unannounced, study={"n_trials": 100})
    study.optimize()
    assert study.stop_reason is StopReason.ALLOCATION
    assert study.stop_detail == "the allocation's time is over"
    assert [record["failure"] for record in records(study, "attempt")] == ["allocation ended"] * 8
    states = [record.state for record in study.trials]
    assert (states.count(State.DONE), states.count(State.RUNNING)) == (16, 8)
    assert records(study, "stopped")[-1]["reason"] == "the allocation's time is over"
    study.close()
    fresh = hpo.Evaluator("program", workload_manager="simulated", nodes=8)
    with fresh, hpo.Study.load(study.directory, fresh, n_trials=24) as again:
        again.optimize()
        assert {record.state for record in again.trials} == {State.DONE}
        assert [record.result.attempts for record in again.trials if record.result][16:] == [3] * 8


def test_nodes_that_are_lost_while_the_study_stops_leave_their_trials_open(simulate: Simulate) -> None:
    class StopsAt6(hpo.Observer):
        def trial_started(self, trial: hpo.Trial, attempt: int) -> None:
            if trial.number == 6:
                log.events.post(ev.Interrupt(wait_s=100.0))

    log = Log()
    study = simulate(
        log=log,
        observers=[StopsAt6()],
        run_time=lambda values: 4.0,
        manager_options={"node_failures": {"sim1": 2.0}, "walltime": 3.0, "announced": False},
    )
    study.optimize()
    assert study.stop_reason is StopReason.INTERRUPTED
    assert {record.state for record in study.trials} == {State.RUNNING}


# -- widths ---------------------------------------------------------------------------------------------------


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_evaluations_of_all_widths_never_share_a_slot_and_all_run(simulate: Simulate, data: st.DataObject) -> None:
    nodes = data.draw(st.integers(1, 9))
    widths = data.draw(st.lists(st.integers(1, nodes), min_size=1, max_size=40))
    times = data.draw(st.lists(st.sampled_from([0.5, 1.0, 2.5, 7.0]), min_size=1, max_size=5))
    per_node = data.draw(st.integers(1, 2))
    failing = data.draw(
        st.dictionaries(st.sampled_from(["sim1", "sim2"]), st.sampled_from([0.5, 1.0, 3.0]), max_size=1)
    )
    if max(widths) > nodes - len(failing):
        failing = {}
    Listed.plan = [point(0.5, nodes=width) for width in widths]
    clock, used = iter(range(10**6)), Used()
    study = simulate(
        nodes=nodes,
        num_parallel_evals=nodes * per_node,
        observers=[used],
        run_time=lambda values: times[next(clock) % len(times)],
        manager_options={"node_failures": failing},
        study={"strategy": Listed},
    )
    study.optimize()
    assert used.clashes == []
    assert study.stop_reason is StopReason.EXHAUSTED
    assert [record.state for record in study.trials] == [State.DONE] * len(widths)
    for record, width in zip(study.trials, widths, strict=True):
        assert record.result is not None
        assert len(set(record.result.nodes)) == width
    study.close()


def test_nodes_as_a_hyperparameter(simulate: Simulate) -> None:
    log, used = Log(), Used()
    study = simulate(
        log=log,
        observers=[used],
        params=[["--N", 1, [1, 2, 4]], ["--x", 0.5, (0.0, 1.0)]],
        flag={"nodes_per_evaluation": "--N"},
        run_time=lambda values: 1.0 / int(values["--N"]),
        study={"n_trials": 60},
    )
    study.optimize()
    assert used.clashes == []
    widths = [len(set(record.result.nodes)) for record in study.trials if record.result]
    assert widths == [record.values["--N"] for record in study.trials]
    assert set(widths) == {1, 2, 4}


def test_a_width_of_zero_means_one_and_no_number_is_refused(simulate: Simulate) -> None:
    study = simulate(params=[["--N", 0, (0, 1)]], flag={"nodes_per_evaluation": "--N"}, study={"n_trials": 8})
    study.optimize()
    assert [len(record.result.nodes) for record in study.trials if record.result] == [1] * 8
    study = simulate(params=[["--N", "two", ["two", "one"]]], flag={"nodes_per_evaluation": "--N"})
    with pytest.raises(hpo.ConfigurationError, match=r"--N=(one|two) of trial 1 is no number of nodes"):
        study.optimize()


def test_a_wide_evaluation_is_overtaken_a_bounded_number_of_times(simulate: Simulate, listed: type[Listed]) -> None:
    """Sixteen may pass; then slots are kept until it fits."""
    listed.plan = [point(0.5, nodes=width) for width in [1] * 8 + [8] + [1] * 100]
    used, number = Used(), iter(range(10**6))
    study = simulate(
        observers=[used], run_time=lambda values: 1.0 + 0.01 * (next(number) % 7), study={"strategy": listed}
    )
    study.optimize()
    place = used.order.index(9)
    assert 8 < place <= 8 + 16
    assert len(used.order) == 109


def test_narrow_ones_use_what_a_wide_one_leaves_free(simulate: Simulate, listed: type[Listed]) -> None:
    listed.plan = [point(0.5, nodes=width) for width in (5, 4, 1, 1, 1, 1)]
    log = Log()
    study = simulate(log=log, study={"strategy": listed})
    study.optimize()
    starts = {number: time for time, what, number, _ in log.lines if what == "started"}
    assert starts == {1: 0.0, 3: 0.0, 4: 0.0, 5: 0.0, 2: 1.0, 6: 1.0}


def test_a_strategy_is_not_asked_on_and_on_when_nothing_fits(simulate: Simulate) -> None:
    """Three of eight nodes are free beside a five; every proposal wants five."""

    class Wide(Listed):
        def ask(self) -> hpo.Proposal:
            self.calls.append(("ask", 0))
            assert len(self.calls) < 1000
            return point(0.5, nodes=5)

    Wide.calls = []
    study = simulate(study={"strategy": Wide, "n_trials": 20})
    study.optimize()
    assert [record.state for record in study.trials] == [State.DONE] * 20
    ahead = [len([c for c in Wide.calls[:i] if c[0] == "ask"]) - n for n, i in enumerate(
        [i for i, call in enumerate(Wide.calls) if call[0] == "tell"]
    )]  # fmt: skip
    assert max(ahead) <= 9, "asked ahead of the results by little more than there are nodes"


@pytest.mark.parametrize("by_flag", [False, True])
def test_a_trial_that_is_too_wide_is_a_clear_error_after_the_others_ended(
    simulate: Simulate, listed: type[Listed], by_flag: bool
) -> None:
    params = [["--N", 1, (1, 20)]]
    if by_flag:
        listed.plan = [hpo.Proposal({"--N": width}) for width in (2, 3, 9, 1)]
    else:
        listed.plan = [hpo.Proposal({"--N": 1}, nodes=width) for width in (2, 3, 9, 1)]
    study = simulate(
        params=params,
        flag={"nodes_per_evaluation": "--N"} if by_flag else {},
        run_time=lambda values: 100.0,
        study={"strategy": listed},
    )
    with pytest.raises(hpo.StudyStopped, match="trial 3 needs 9 nodes, and the allocation has 8"):
        study.optimize()
    assert [record.state for record in study.trials] == [State.DONE, State.DONE, State.RUNNING, State.DONE]


def test_a_trial_that_became_too_wide_because_nodes_failed_is_a_clear_error(
    simulate: Simulate, listed: type[Listed]
) -> None:
    listed.plan = [point(0.5, nodes=8)] * 2
    study = simulate(manager_options={"node_failures": {"sim8": 0.5}}, study={"strategy": listed})
    with pytest.raises(hpo.StudyStopped, match=r"trial [12] needs 8 nodes, and the allocation has 7"):
        study.optimize()


def test_a_trial_wider_than_all_the_nodes_that_there_will_be_stops_the_study(simulate: Simulate) -> None:
    """Six nodes were asked for, two came, and no more will: nobody waits for the others."""

    class Fewer(SimulatedManager):
        name = "fewer"

        def acquire(self, request: AllocationRequest, events: ev.EventLoop) -> None:
            super().acquire(attrs.evolve(request, nodes=2), events)

        def _join(self) -> None:
            self._events.post(ev.NodesJoined(tuple(self._nodes.values()), more=False))

    with added(Fewer):
        study = simulate(workload_manager="fewer", launcher="simulated", nodes=6, nodes_per_eval=3)
        with pytest.raises(hpo.StudyStopped, match="needs 3 nodes, and the allocation has 2"):
            study.optimize()
