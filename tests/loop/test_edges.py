"""Edges of the loop: times that round, nodes that come one by one, values that are not finite, requests refused."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpo_core as hpo
from hpo_core import Capability, State, StopReason
from hpo_core import events as ev
from hpo_core.allocation import AllocationRequest
from hpo_core.builtin.local import LocalManager
from hpo_core.builtin.simulated import SimulatedManager
from hpo_core.exceptions import AllocationError
from watching import Listed, point

Simulate = Callable[..., hpo.Study]
SPACE = [["--x", 0.5, (0.0, 1.0)]]


class CountingLoop(ev.VirtualEventLoop):
    """Fails where a real study would spin."""

    waits = 0

    def next_events(self, until: float | None = None) -> tuple[ev.Event, ...]:
        self.waits += 1
        assert self.waits < 200, "the loop spins"
        return tuple(super().next_events(until))


@given(st.floats(0.0, 50.0), st.floats(0.1, 20.0))
@settings(max_examples=50, deadline=None)
def test_a_timeout_that_rounds_does_not_make_the_loop_spin(
    tmp_path_factory: pytest.TempPathFactory, queue_wait: float, timeout_s: float
) -> None:
    """Waiting ends at start + timeout; that minus the start may be a little less than the timeout."""
    evaluator = hpo.Evaluator(
        "program",
        workload_manager="simulated",
        timeout=f"{timeout_s:.9f}s",
        manager_options={"queue_wait": queue_wait},
        launcher_options={"run_time": lambda values: 1000.0},
    )
    evaluator.backend.manager.event_loop = CountingLoop  # type: ignore[method-assign]
    directory = tmp_path_factory.mktemp("studies") / "s"
    with evaluator, hpo.Study(hpo.Params(SPACE), evaluator, seed=1, directory=directory) as study:
        study.optimize()
    assert study.stop_reason is StopReason.TIMEOUT
    assert study._ledger.elapsed_s == pytest.approx(timeout_s, abs=1e-6)


class OneByOne(SimulatedManager):
    """Its nodes join a second after each other."""

    def _join(self) -> None:
        for place, node in enumerate(self._nodes.values()):
            self._events.call_later(place, partial(self._events.post, ev.NodesJoined((node,))))


def test_a_wide_trial_waits_for_nodes_that_are_still_to_join(simulate: Simulate) -> None:
    """Such as one that an earlier driver left open: it stands before the first node."""
    study = simulate(nodes=4, nodes_per_eval=4, study={"n_trials": 2})
    trial = study.ask()
    assert trial is not None
    study.close()
    with hpo.Evaluator("program", workload_manager="simulated", nodes=4, nodes_per_eval=4) as evaluator:
        evaluator.backend.manager = OneByOne()
        with hpo.Study.load(study.directory, evaluator) as again:
            again.optimize()
            assert [record.state for record in again.trials] == [State.DONE] * 2


def test_a_trial_that_is_wider_than_all_nodes_to_come_is_an_error(simulate: Simulate, listed: type[Listed]) -> None:
    listed.plan = [point(0.5, nodes=5)]
    study = simulate(nodes=4, study={"strategy": listed})
    assert study.evaluator is not None
    study.evaluator.backend.manager = OneByOne()
    with pytest.raises(hpo.StudyStopped, match="trial 1 needs 5 nodes"):
        study.optimize()


class StopsWhatIsNotFinite(hpo.Strategy):
    name = "stops-what-is-not-finite"
    capabilities = frozenset({Capability.REPORTS})

    def ask(self) -> hpo.Proposal:
        return point(0.5)

    def report(self, trial: hpo.Trial, report: hpo.Report) -> bool:
        return abs(report.fom) == float("inf") or report.fom != report.fom

    def tell(self, trial: hpo.Trial, result: hpo.Result) -> None:
        assert result.loss == float("inf")
        assert not result.ok


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("maximize", [False, True])
def test_a_stopped_trial_whose_last_report_is_not_finite_is_never_best(
    tmp_path: Path, value: str, maximize: bool
) -> None:
    command = f"sh -c 'echo FoM: {value}; exec sleep 60' x"
    with (
        hpo.Evaluator(command, workload_manager="local", maximize=maximize) as evaluator,
        hpo.Study(
            hpo.Params(SPACE), evaluator, strategy=StopsWhatIsNotFinite, n_trials=1, directory=tmp_path / "s"
        ) as study,
    ):
        study.optimize()
        assert [record.state for record in study.trials] == [State.STOPPED]
        assert study.best_fom is None
    with hpo.Study.load(tmp_path / "s", strategy=StopsWhatIsNotFinite) as again:
        assert again.best_fom is None


class Refuses(LocalManager):
    def acquire(self, request: AllocationRequest, events: ev.EventLoop) -> None:
        raise AllocationError("there will never be a node")


def test_a_refused_allocation_leaves_no_file_open_and_may_be_asked_for_again(tmp_path: Path) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not show open files")
    with (
        hpo.Evaluator("echo FoM: 1 #", workload_manager="local") as evaluator,
        hpo.Study(hpo.Params(SPACE), evaluator, n_trials=2, directory=tmp_path / "s") as study,
    ):
        evaluator.backend.manager = Refuses()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with pytest.raises(AllocationError, match="never be a node"):
                study.optimize()
        assert len(os.listdir("/proc/self/fd")) == before
        evaluator.backend.manager = LocalManager()
        study.optimize()
        assert [record.state for record in study.trials] == [State.DONE] * 2
