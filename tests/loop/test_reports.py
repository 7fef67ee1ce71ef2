"""A strategy that hears reports stops a real program early; what it heard is recorded and repeated."""

import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

import hpo_core as hpo
from hpo_core import Capability, Proposal, State
from hpo_core.journal import read

EPOCHS = """
import sys, time
x = float(sys.argv[1].partition("=")[2])
for epoch in range(1, 31):
    print(f"FoM: {x + 1 / epoch}", flush=True)
    time.sleep(0.01 if epoch < 5 or x < 0.5 else 1)
"""


class Halves(hpo.Strategy):
    """Stops what is worse than the best at the third report; its proposals depend on all that it heard."""

    name = "halves"
    capabilities = frozenset({Capability.REPORTS})

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.calls: list[tuple[str, int, float]] = []

    def ask(self) -> Proposal:
        memory = zlib.crc32(repr(self.calls).encode()) % 1000 / 1e5
        asked = sum(what == "ask" for what, _, _ in self.calls)
        x = 0.1 + 0.8 * (asked % 2) + memory
        self.calls.append(("ask", asked, 0.0))
        return Proposal({"--x": x})

    def tell(self, trial: hpo.Trial, result: hpo.Result) -> None:
        self.calls.append(("tell", trial.number, result.loss))

    def report(self, trial: hpo.Trial, report: hpo.Report) -> bool:
        self.calls.append(("report", trial.number, report.step))
        return report.step == 3 and float(trial.values["--x"]) >= 0.5


class SlowHalves(Halves):
    name = "slow-halves"
    capabilities = frozenset({Capability.REPORTS, Capability.SLOW})


@pytest.fixture(params=[Halves, SlowHalves])
def stopped(request: pytest.FixtureRequest, tmp_path: Path) -> hpo.Study:
    (tmp_path / "train.py").write_text(EPOCHS)
    command = f"{sys.executable} -S {tmp_path / 'train.py'}"
    with (
        hpo.Evaluator(command, workload_manager="local", num_parallel_evals=3, grace=0.5) as evaluator,
        hpo.Study(
            hpo.Params([["--x", 0.1, (0.0, 1.0)]]),
            evaluator,
            strategy=request.param,
            n_trials=8,
            seed=1,
            directory=tmp_path / "s",
        ) as study,
    ):
        study.optimize()
    return study


def test_a_trial_is_stopped_and_keeps_its_last_report(stopped: hpo.Study) -> None:
    records = [line.record for line in read(stopped.directory)]
    states = []
    for trial in stopped.trials:
        result = trial.result
        assert result is not None
        states.append(result.state)
        heard = [record for record in records if record["record"] == "report" and record["trial"] == trial.number]
        x = float(trial.values["--x"])
        if result.state is State.STOPPED:
            assert 3 <= result.steps <= 5
            assert result.fom == pytest.approx(x + 1 / result.steps)
            assert result.loss == result.fom
            assert result.failure is None
            assert [record["step"] for record in heard][:3] == [1, 2, 3]
        else:
            assert result.steps == len(heard) == 30
            assert heard[2]["fom"] == pytest.approx(x + 1 / 3)
            assert heard[2]["metrics"] == {"FoM": heard[2]["fom"]}
    assert states.count(State.STOPPED) == sum(float(trial.values["--x"]) > 0.5 for trial in stopped.trials) >= 3


def test_all_that_was_heard_is_repeated_in_order_on_load(stopped: hpo.Study) -> None:
    first = stopped._ledger.strategy
    assert isinstance(first, Halves)
    with hpo.Study.load(stopped.directory, strategy=type(first)) as again:
        second = again._ledger.strategy
        assert isinstance(second, Halves)
        assert again._ledger.notes == []
        assert second.calls == first.calls
        assert list(again.trials) == list(stopped.trials)


def test_reports_are_not_recorded_for_a_strategy_that_does_not_listen(tmp_path: Path) -> None:
    command = "printf 'FoM: 3\\nFoM: 2\\n' #"
    with (
        hpo.Evaluator(command, workload_manager="local") as evaluator,
        hpo.Study(hpo.Params([["--x", 0.1, (0.0, 1.0)]]), evaluator, n_trials=2, directory=tmp_path / "s") as study,
    ):
        study.optimize()
        assert [record.result.steps for record in study.trials if record.result] == [2, 2]
    assert "report" not in {line.record["record"] for line in read(tmp_path / "s")}
