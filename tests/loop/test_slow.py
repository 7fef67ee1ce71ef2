"""A slow strategy thinks on a thread of its own: what runs is launched and heard meanwhile, and its order is kept."""

import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

import hpo_core as hpo
from hpo_core import Capability, Pause, Proposal, State, StopReason
from hpo_core import events as ev
from hpo_core.journal import read

PARAMS = [["--x", 0.5, (0.0, 1.0)]]


class Thinks(hpo.Strategy):
    """Takes `pause_s` for each proposal, which depends on all that it was told, in order."""

    name = "thinks"
    capabilities = frozenset({Capability.SLOW})
    pause_s: ClassVar[float] = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.calls: list[tuple[str, Any]] = []
        self.threads: set[str] = set()
        self.inside = 0

    def ask(self) -> Proposal | Pause:
        self._enter()
        time.sleep(self.pause_s)
        x = self.rng.random() / (1 + sum(number for what, number in self.calls if what == "tell"))
        self.calls.append(("ask", x))
        self.inside -= 1
        return Proposal({"--x": x})

    def tell(self, trial: hpo.Trial, result: hpo.Result) -> None:
        self._enter()
        time.sleep(self.pause_s / 10)
        self.calls.append(("tell", trial.number))
        self.inside -= 1

    def _enter(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.inside += 1
        assert self.inside == 1, "two calls at the same time"


class Times(hpo.Observer):
    def __init__(self) -> None:
        self.started: dict[tuple[int, int], float] = {}
        self.finished: dict[int, float] = {}

    def trial_started(self, trial: hpo.Trial, attempt: int) -> None:
        self.started[trial.number, attempt] = time.monotonic()

    def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
        self.finished[trial.number] = time.monotonic()


def local(directory: Path, command: str, strategy: type[hpo.Strategy], slots: int = 4, **study: Any) -> hpo.Study:
    evaluator = hpo.Evaluator(command, workload_manager="local", num_parallel_evals=slots, grace=0.5)
    return hpo.Study(
        hpo.Params(PARAMS), evaluator, strategy=strategy, directory=directory, **{"seed": 5, "n_trials": 12, **study}
    )


def test_others_are_launched_and_heard_while_a_slow_strategy_thinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Thinks, "pause_s", 0.4)
    times = Times()
    study = local(tmp_path / "s", "echo FoM: 1 #", Thinks, n_trials=11, observers=[times])
    for x in range(1, 9):
        study.enqueue({"--x": x / 10})
    with study:
        begin = time.monotonic()
        study.optimize()
    quick = [times.finished[number] - begin for number in range(1, 10)]
    assert max(quick[:4]) < 0.4, "nothing that was put in waits for the strategy"
    strategy = study._ledger.strategy
    assert isinstance(strategy, Thinks)
    assert strategy.threads == {"hpo-strategy"}
    assert {record.state for record in study.trials} == {State.DONE}


def test_retries_do_not_wait_for_a_slow_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thinks, "pause_s", 0.5)
    times = Times()
    command = "sh -c '[ $HPO_ATTEMPT = 2 ] || exit 1; echo FoM: 1' x"
    study = local(tmp_path / "s", command, Thinks, slots=2, n_trials=2, observers=[times])
    assert study.evaluator is not None
    study.evaluator.num_retries = 1
    with study:
        study.optimize()
    assert times.started[1, 2] < times.started[2, 1]
    assert times.started[1, 2] - times.started[1, 1] < 0.4


def test_the_order_of_asks_and_tells_is_recorded_and_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thinks, "pause_s", 0.01)
    command = f"{sys.executable} -S -c 'import random,time; time.sleep(random.random() / 20); print(\"FoM: 1\")' "
    with local(tmp_path / "s", command, Thinks, n_trials=40) as study:
        study.optimize()
    strategy = study._ledger.strategy
    assert isinstance(strategy, Thinks)
    asked = [value for what, value in strategy.calls if what == "ask"]
    assert [record.values["--x"] for record in study.trials][1:] == pytest.approx(asked)
    told = [number for what, number in strategy.calls if what == "tell"]
    finished = [line.record["trial"] for line in read(study.directory) if line.record["record"] == "finished"]
    assert told == finished, "told in the order in which they are on disk"
    assert sorted(told) == list(range(1, 41)), "all is told when the study returns"
    monkeypatch.setattr(Thinks, "pause_s", 0.0)
    with hpo.Study.load(tmp_path / "s", strategy=Thinks) as again:
        repeated = again._ledger.strategy
        assert isinstance(repeated, Thinks)
        assert again._ledger.notes == []
        assert repeated.calls == strategy.calls


def test_no_thread_is_left_and_no_call_goes_on_when_the_study_returns(tmp_path: Path) -> None:
    with local(tmp_path / "s", "echo FoM: 1 #", Thinks) as study:
        study.optimize()
        assert "hpo-strategy" not in {thread.name for thread in threading.enumerate()}


def test_an_error_in_the_last_tell_is_not_lost(tmp_path: Path) -> None:
    class Late(Thinks):
        name = "late"

        def tell(self, trial: hpo.Trial, result: hpo.Result) -> None:
            if trial.number == 3:
                raise ValueError("too late")

    with local(tmp_path / "s", "echo FoM: 1 #", Late, n_trials=3, slots=1) as study:
        with pytest.raises(hpo.StudyStopped, match="strategy 'late' failed in tell: ValueError: too late"):
            study.optimize()
        assert [record.state for record in study.trials] == [State.DONE] * 3


def test_a_strategy_that_hangs_is_not_waited_for_after_two_interrupts(tmp_path: Path) -> None:
    class Hangs(Thinks):
        name = "hangs"
        free = threading.Event()

        def ask(self) -> Proposal | Pause:
            self.free.wait(60)
            return Pause.DONE

    class Presses(hpo.Observer):
        def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
            assert study.evaluator is not None
            for level in (1, 2):
                study.evaluator.backend.launcher.events.post(ev.Interrupt(level))

    with local(tmp_path / "s", "echo FoM: 1 #", Hangs, observers=[Presses()]) as study:
        begin = time.monotonic()
        study.optimize()
        assert time.monotonic() - begin < 5
        assert study.stop_reason is StopReason.INTERRUPTED
        assert not study._ledger._sound, "a strategy in the middle of a call is not saved"
    Hangs.free.set()


def test_on_the_virtual_clock_a_slow_strategy_is_asked_inline(tmp_path: Path) -> None:
    evaluator = hpo.Evaluator("program", workload_manager="simulated", nodes=4)
    with (
        evaluator,
        hpo.Study(
            hpo.Params(PARAMS), evaluator, strategy=Thinks, n_trials=20, seed=1, directory=tmp_path / "s"
        ) as study,
    ):
        study.optimize()
        assert [record.state for record in study.trials] == [State.DONE] * 20


def test_a_slow_strategy_may_wait_for_its_generation(tmp_path: Path) -> None:
    class SlowGenerations(Thinks):
        name = "slow-generations"

        def ask(self) -> Proposal | Pause:
            asked = sum(what == "ask" for what, _ in self.calls)
            told = sum(what == "tell" for what, _ in self.calls)
            return Pause.WAIT if asked % 3 == 0 and told < asked else super().ask()

    with local(tmp_path / "s", "echo FoM: 1 #", SlowGenerations, n_trials=9, evaluate_defaults=False) as study:
        study.optimize()
        strategy = study._ledger.strategy
        assert isinstance(strategy, SlowGenerations)
        kinds = "".join(what[0] for what, _ in strategy.calls)
        assert kinds == "aaattt" * 3
        assert [record.state for record in study.trials] == [State.DONE] * 9


def test_a_slow_strategy_in_deadlock_is_noticed(tmp_path: Path) -> None:
    class Waits(Thinks):
        name = "waits"

        def ask(self) -> Proposal | Pause:
            return Pause.WAIT

    with (
        local(tmp_path / "s", "echo FoM: 1 #", Waits) as study,
        pytest.raises(hpo.StudyStopped, match="strategy 'waits' waits for results"),
    ):
        study.optimize()
