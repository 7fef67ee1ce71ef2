"""A strategy or a metric parser that raises: the study stops, says whose fault it is, and can go on."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import hpo_core as hpo
from driving import gone_within
from hpo_core import Capability, Proposal, State, StopReason
from hpo_core.interfaces import MetricParser, MetricReader, Reading
from hpo_core.journal import read

PARAMS = [["--x", 0.5, (0.0, 1.0)]]


class Fragile(hpo.Strategy):
    """Raises at the nth call of one method; mended by `broken = ""`."""

    name = "fragile"
    capabilities = frozenset({Capability.REPORTS})
    broken: ClassVar[str] = ""
    error: ClassVar[BaseException] = KeyError("lost my mind")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.calls: dict[str, int] = {}
        self.told: list[int] = []

    def _count(self, method: str) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1
        if method == self.broken and self.calls[method] == 5:
            raise self.error

    def ask(self) -> Proposal:
        self._count("ask")
        return Proposal(self.space.draw(self.rng))

    def tell(self, trial: hpo.Trial, result: hpo.Result) -> None:
        self._count("tell")
        self.told.append(trial.number)

    def report(self, trial: hpo.Trial, report: hpo.Report) -> bool:
        self._count("report")
        return False


class SlowFragile(Fragile):
    """The same, on a thread of its own."""

    name = "slow-fragile"
    capabilities = frozenset({Capability.REPORTS, Capability.SLOW})


@pytest.fixture(autouse=True)
def _mended() -> Any:
    yield
    Fragile.broken = ""


@pytest.mark.parametrize("method", ["ask", "tell", "report"])
@pytest.mark.parametrize("strategy", [Fragile, SlowFragile])
def test_a_strategy_that_raises_stops_the_study_which_goes_on_once_it_is_mended(
    tmp_path: Path, strategy: type[Fragile], method: str
) -> None:
    Fragile.broken = method
    running = 'for i in 1 2 3 4 5 6; do echo "FoM: $i"; sleep 0.02; done; case $HPO_TRIAL in 4) sleep 60;; esac;'
    with (
        hpo.Evaluator(f"sh -c '{running}' x", workload_manager="local", num_parallel_evals=2, grace=0.5) as evaluator,
        hpo.Study(
            hpo.Params(PARAMS), evaluator, strategy=strategy, n_trials=12, seed=1, directory=tmp_path / "s"
        ) as study,
    ):
        with pytest.raises(hpo.StudyStopped) as caught:
            study.optimize()
        assert re.search(f"strategy '{strategy.name}' failed in {method}: KeyError: 'lost my mind'", str(caught.value))
        assert caught.value.__cause__ is Fragile.error
        assert study.stop_reason is None
        assert gone_within(study.id, 5.0)
    records = [line.record for line in read(tmp_path / "s")]
    assert "lost my mind" in records[-1]["reason"]
    done = {record["trial"] for record in records if record["record"] == "finished"}
    Fragile.broken = ""
    with (
        hpo.Evaluator("echo FoM: 0.5 #", workload_manager="local") as evaluator,
        hpo.Study.load(tmp_path / "s", evaluator, strategy=strategy, allow_changes=True) as again,
    ):
        fragile = again._ledger.strategy
        assert isinstance(fragile, Fragile)
        assert sorted(fragile.told) == sorted(done)
        again.optimize()
        assert again.stop_reason is StopReason.TRIALS
        assert {record.state for record in again.trials} == {State.DONE}
        assert sorted(fragile.told) == list(range(1, 13))
        assert again._ledger.notes == []


def test_a_strategy_that_raises_again_while_it_is_brought_back_is_named_too(tmp_path: Path) -> None:
    Fragile.broken = "tell"
    with hpo.Study(hpo.Params(PARAMS), strategy=Fragile, seed=1, directory=tmp_path / "s") as study:
        for _ in range(4):
            study.tell(study.ask() or 0, 1.0)
        trial = study.ask()
        assert trial is not None
        with pytest.raises(hpo.StudyStopped, match="'fragile' failed in tell"):
            study.tell(trial, 1.0)
        assert study.trials[4].state is State.DONE
    for _ in range(2):
        with pytest.raises(hpo.StudyStopped, match="'fragile' failed in tell"):
            hpo.Study.load(tmp_path / "s", strategy=Fragile)
    Fragile.broken = ""
    with hpo.Study.load(tmp_path / "s", strategy=Fragile) as again:
        assert len(again.trials) == 5


def test_the_state_of_a_strategy_that_failed_is_never_saved(tmp_path: Path) -> None:
    Fragile.broken = "tell"
    with hpo.Study(hpo.Params(PARAMS), strategy=Fragile, seed=1, directory=tmp_path / "s") as study:
        for _ in range(4):
            study.tell(study.ask() or 0, 1.0)
        fifth = study.ask() or 0
        with pytest.raises(hpo.StudyStopped):
            study.tell(fifth, 1.0)
        journal = study._ledger.journal
        assert journal is not None
        study._ledger.save_snapshot(journal, every=1)
    assert not (tmp_path / "s" / "snapshot").exists()


class BadReader(MetricReader):
    where = ""

    def line(self, text: str) -> Sequence[Reading]:
        if self.where == "line":
            raise ValueError("cannot read this")
        return [Reading({"FoM": float(text)})]

    def finish(self, directory: Path) -> Sequence[Reading]:
        if self.where == "finish":
            raise ValueError("cannot read this")
        return ()


class BadParser(MetricParser):
    name = "bad"

    def reader(self) -> MetricReader:
        if BadReader.where == "reader":
            raise ValueError("cannot read this")
        return BadReader()


@pytest.mark.parametrize("where", ["reader", "line", "finish"])
def test_a_metric_parser_that_raises_stops_the_study_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(BadReader, "where", where)
    command = "sh -c 'echo 1; [ $HPO_TRIAL = 1 ] || sleep 60' x"
    with (
        hpo.Evaluator(command, workload_manager="local", num_parallel_evals=2, grace=0.5) as evaluator,
        hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=3, seed=1, directory=tmp_path / "s") as study,
    ):
        evaluator.backend.parser = BadParser(["FoM"])
        with pytest.raises(
            hpo.StudyStopped, match="metric parser 'bad' failed: ValueError: cannot read this"
        ) as caught:
            study.optimize()
        assert isinstance(caught.value.__cause__, ValueError)
        assert gone_within(study.id, 5.0)
        assert {record.state for record in study.trials} == {State.RUNNING}
    with (
        hpo.Evaluator("echo FoM: 1 #", workload_manager="local") as mended,
        hpo.Study.load(tmp_path / "s", mended) as again,
    ):
        again.optimize()
        assert [record.state for record in again.trials] == [State.DONE] * 3


def test_a_fault_of_the_set_up_leaves_what_ran_open(tmp_path: Path) -> None:
    """Only the command of trial 2 cannot be started; the other is not to blame."""
    command = "sh -c 'case $HPO_TRIAL in 2) exit 127;; *) sleep 60;; esac; echo FoM: 1' x"
    with (
        hpo.Evaluator(command, workload_manager="local", num_parallel_evals=2, grace=0.5) as evaluator,
        hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=3, seed=1, directory=tmp_path / "s") as study,
    ):
        with pytest.raises(hpo.StudyStopped, match="trial 2 could not be started"):
            study.optimize()
        states = [record.state for record in study.trials]
        assert states == [State.RUNNING, State.RUNNING]
