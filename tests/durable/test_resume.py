"""A study goes on where it stopped, exactly."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hpo_core as hpo
from driving import Driver
from hpo_core.journal import NAME, read
from hpo_core.trial import Failure, State

Program = Callable[[str], str]
Drive = Callable[..., Driver]


def space() -> hpo.Params:
    params = hpo.Params(
        [["--lr", hpo.Real(1e-5, 1e-1, log=True)], ["--opt", "sgd", ["sgd", "adam"]], ["--m", (0.0, 0.99)]]
    )
    params.add_conditions([hpo.condition.equals("--m", "--opt", "sgd")])
    return params


@pytest.mark.parametrize("strategy", ["random", "grid"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(data=st.data())
def test_interrupted_anywhere_the_same_order_of_tells_gives_the_same_trials(
    tmp_path: Path, strategy: str, data: st.DataObject
) -> None:
    """Reference and interrupted study do the same asks and tells; the second is thrown away and loaded in between."""
    for name in ("whole", "broken"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    studies = [
        hpo.Study(space(), strategy=strategy, seed=11, directory=tmp_path / name) for name in ("whole", "broken")
    ]
    running: list[int] = []
    for _ in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["ask", "ask", "tell", "enqueue", "insert", "reload"]))
        if action == "reload":
            studies[1].close()
            studies[1] = hpo.Study.load(tmp_path / "broken")
        elif action == "ask":
            trials = [study.ask() for study in studies]
            assert trials[0] == trials[1]
            if trials[0] is not None:
                running.append(trials[0].number)
        elif action == "tell" and running:
            number = running.pop(data.draw(st.integers(0, len(running) - 1)))
            fom = data.draw(st.sampled_from([1.0, 0.5, float("nan"), None]))
            for study in studies:
                study.tell(number, fom)
        elif action == "enqueue":
            for study in studies:
                study.enqueue({"--lr": 0.01, "--opt": "adam"})
        elif action == "insert":
            for study in studies:
                study.insert({"--lr": 0.02, "--opt": "adam"}, 0.75)
    assert [record.trial for record in studies[0].trials] == [record.trial for record in studies[1].trials]
    assert [record.state for record in studies[0].trials] == [record.state for record in studies[1].trials]
    assert studies[0].best_params == studies[1].best_params
    for study in studies:
        study.close()


def test_a_killed_and_resumed_run_proposes_what_an_uninterrupted_one_does(
    drive: Drive, program: Program, tmp_path
) -> None:
    command = program("time.sleep(0.02); print('FoM:', float(sys.argv[1].split('=')[1]))")
    driver = drive(cmd=command, study={"n_trials": 30})
    driver.wait_until(lambda: (driver.directory / NAME).exists() and (driver.directory / NAME).stat().st_size > 3000)
    driver.signal(9)
    driver.end()
    assert 0 < len(driver.records("finished")) < 30
    again = drive(cmd=command, study={"n_trials": 30})
    out, err = again.end()
    assert "all trials of the budget" in out, err
    whole = hpo.Study(
        hpo.Params([["--x", 0.5, (0.0, 1.0)], ["--n", 3, (1, 9)]]), seed=5, n_trials=30, directory=tmp_path / "whole"
    )
    while (trial := whole.ask()) is not None:
        whole.tell(trial, trial.values["--x"])
    whole.close()
    asked = [record["values"] for record in driver.records("asked")]
    assert asked == [dict(record.values) for record in whole.trials]
    assert sorted(record["trial"] for record in driver.records("finished")) == list(range(1, 31))


def test_running_trials_of_a_killed_driver_run_again_as_a_new_attempt(drive: Drive, program: Program) -> None:
    command = program("time.sleep(0 if os.environ['HPO_ATTEMPT'] == '2' else 60); print('FoM: 1')")
    driver = drive(cmd=command, num_parallel_evals=2, study={"n_trials": 2})
    driver.wait_for_processes(2)
    driver.signal(9)
    driver.end()
    out, err = drive(cmd=command, num_parallel_evals=2, study={"n_trials": 2}).end()
    assert "all trials" in out, err
    assert [record["attempts"] for record in driver.records("finished")] == [2, 2]


def test_more_trials_may_be_asked_for_and_the_total_time_is_cumulative(tmp_path: Path, program: Program) -> None:
    evaluator = hpo.Evaluator(program("time.sleep(0.05); print('FoM: 1')"), workload_manager="local")
    with hpo.Study(space(), evaluator, n_trials=3, seed=1, directory=tmp_path / "s") as study:
        study.optimize()
    with hpo.Study.load(tmp_path / "s", n_trials=5) as study:
        study.optimize()
        assert len(study.trials) == 5
    stops = [line.record["elapsed_s"] for line in read(tmp_path / "s") if line.record["record"] == "stopped"]
    assert stops[1] > stops[0] > 0.1
    with hpo.Study.load(tmp_path / "s") as study:
        assert study.budget.n_trials == 5


def test_resume_if_exists_takes_the_budget_that_is_asked_for_now(tmp_path: Path) -> None:
    for n_trials in (2, 4):
        with hpo.Study(space(), n_trials=n_trials, directory=tmp_path / "s", resume_if_exists=True) as study:
            while (trial := study.ask()) is not None:
                study.tell(trial, 1.0)
            assert len(study.trials) == n_trials


def test_a_changed_program_is_refused_with_its_name_unless_allowed(tmp_path: Path, program: Program) -> None:
    evaluator = hpo.Evaluator(program("print('FoM: 1')"), workload_manager="local")
    with hpo.Study(space(), evaluator, n_trials=1, seed=1, directory=tmp_path / "s") as study:
        study.optimize()
    program("print('FoM: 2')")
    with (
        hpo.Study.load(tmp_path / "s", n_trials=2) as study,
        pytest.raises(hpo.StudyChangedError, match=r"program.py changed.*allow_changes=True"),
    ):
        study.optimize()
    with hpo.Study.load(tmp_path / "s", n_trials=2, allow_changes=True) as study:
        study.optimize()
        assert len(study.trials) == 2
    with hpo.Study.load(tmp_path / "s", n_trials=3) as study:
        study.optimize()
        assert len(study.trials) == 3


def test_from_another_directory_the_right_one_is_named(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that the program is gone, nor that changes should be allowed: all trials would fail."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "first/run.sh").write_text("echo FoM: 1")
    monkeypatch.chdir(tmp_path / "first")
    evaluator = hpo.Evaluator("sh run.sh", workload_manager="local")
    with hpo.Study(space(), evaluator, n_trials=1, seed=1, directory=tmp_path / "s") as study:
        study.optimize()
    monkeypatch.chdir(tmp_path / "second")
    with (
        hpo.Study.load(tmp_path / "s", n_trials=2) as study,
        pytest.raises(hpo.StudyChangedError, match=rf"run.sh is gone.*cd {tmp_path}/first, and go on") as caught,
    ):
        study.optimize()
    assert "allow" not in str(caught.value)
    monkeypatch.chdir(tmp_path / "first")
    with hpo.Study.load(tmp_path / "s", n_trials=2) as study:
        study.optimize()
        assert len(study.trials) == 2


def test_a_program_that_is_mended_before_the_first_result_is_no_change(tmp_path: Path) -> None:
    evaluator = hpo.Evaluator(f"true && {tmp_path}/late.sh", workload_manager="local")
    with (
        hpo.Study(space(), evaluator, n_trials=1, seed=1, directory=tmp_path / "s") as study,
        pytest.raises(hpo.StudyStopped),
    ):
        study.optimize()
    (tmp_path / "late.sh").write_text("#!/bin/sh\necho FoM: 1")
    (tmp_path / "late.sh").chmod(0o700)
    with hpo.Study.load(tmp_path / "s") as study:
        study.optimize()
        assert study.best_fom == 1


@pytest.mark.parametrize("what", ["space", "command", "strategy"])
def test_another_study_is_not_mixed_in(tmp_path: Path, what: str) -> None:
    def make(changed: bool) -> hpo.Study:
        other = hpo.Params([["--lr", 1e-3, (1e-5, 1e-1)]])
        command = "true --other" if what == "command" and changed else "true"
        return hpo.Study(
            other if what == "space" and changed else space(),
            hpo.Evaluator(command, workload_manager="local"),
            strategy="grid" if what == "strategy" and changed else "random",
            directory=tmp_path / "s",
            resume_if_exists=True,
        )

    make(False).close()
    make(False).close()
    with pytest.raises(hpo.StudyChangedError) as caught:
        make(True)
    assert caught.value.differences


def test_a_strategy_that_does_not_repeat_itself_goes_on_from_the_results(tmp_path: Path) -> None:
    class Unsteady(hpo.Strategy):
        name = "unsteady"

        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            self.told: list[int] = []

        def ask(self) -> hpo.Proposal:
            return hpo.Proposal(self.space.draw(random.Random()))

        def tell(self, trial: hpo.Trial, result: hpo.Result) -> None:
            self.told.append(trial.number)

    with hpo.Study(space(), strategy=Unsteady, directory=tmp_path / "s") as study:
        for _ in range(5):
            study.tell(study.ask(), 1.0)
    with hpo.Study.load(tmp_path / "s", strategy=Unsteady) as study:
        assert study._ledger.strategy.told == [1, 2, 3, 4, 5]
        assert "does not repeat its proposals" in study._ledger.notes[0]


def test_a_journal_of_a_newer_format_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    from hpo_core.journal import decode, encode

    hpo.Study(space(), directory=tmp_path / "s").close()
    path = tmp_path / "s" / NAME
    header, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(encode({**(decode(header) or {}), "format": 99}) + b"".join(rest))
    with pytest.raises(hpo.JournalError, match="upgrade hpo-core"):
        hpo.Study.load(tmp_path / "s")


def test_a_torn_journal_is_mended_on_loading_and_said(tmp_path: Path) -> None:
    with hpo.Study(space(), directory=tmp_path / "s") as study:
        study.tell(study.ask(), 1.0)
    path = tmp_path / "s" / NAME
    path.write_bytes(path.read_bytes()[:-5])
    with hpo.Study.load(tmp_path / "s") as study:
        assert study.trials[0].state is State.RUNNING
        assert "torn" in study._ledger.notes[0]
        study.tell(1, 2.0)
        assert study.best_fom == 2.0


def test_a_recorded_result_is_never_changed(tmp_path: Path) -> None:
    with hpo.Study(space(), directory=tmp_path / "s") as study:
        trial = study.ask()
        study.tell(trial, 1.0)
        with pytest.raises(hpo.ConfigurationError, match="has its result already"):
            study.tell(trial, 2.0)
        assert study.trials[0].fom == 1.0


def test_journal_lines_are_plain_json_with_a_trial_number(tmp_path: Path) -> None:
    with hpo.Study(space(), directory=tmp_path / "s") as study:
        study.tell(study.ask(), None, failure="the power failed")
    records = [json.loads(line) for line in (tmp_path / "s" / NAME).read_text().splitlines()]
    assert [record["record"] for record in records] == ["study", "asked", "finished"]
    assert records[2]["trial"] == 1
    assert Failure(records[2]["failure"]) is Failure.NO_METRIC
