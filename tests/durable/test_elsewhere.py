"""A study goes on somewhere else, or with other settings of its evaluator."""

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo_core as hpo
from hpo_core import _processes
from hpo_core._place import Place
from hpo_core._view import StudyView
from hpo_core.allocation import AllocationRequest
from hpo_core.builtin.local import LocalManager
from hpo_core.events import EventLoop
from hpo_core.exceptions import LeftoverWarning
from hpo_core.journal import read
from hpo_core.testing.plugins import registered

Program = Callable[[str], str]


class Cleaning(LocalManager):
    """A manager that says what it is asked to end."""

    name = "cleaning"
    cleaned: list[str] = []  # noqa: RUF012

    def clean(self, study_id: str) -> list[str]:
        self.cleaned.append(study_id)
        return ["an allocation"]


class Full(LocalManager):
    """A manager that has no nodes."""

    name = "full"

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        raise hpo.AllocationError("no nodes today")


class Heard(hpo.Observer):
    """Keeps what is said."""

    name = "heard"

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def begun(directory: Path, command: str, **arguments: object) -> None:
    """A study of two trials."""
    evaluator = hpo.Evaluator(command, **{"workload_manager": "local", **arguments})
    space = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
    with evaluator, hpo.Study(space, evaluator, n_trials=2, directory=directory) as study:
        study.optimize()


def evaluators(directory: Path) -> list[dict[str, object]]:
    """What is recorded of them, after the first."""
    records = (line.record for line in read(directory))
    return [record["evaluator"] for record in records if record["record"] == "evaluator"]


def hpo_clean(directory: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "hpo_core", "clean", str(directory)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


@pytest.fixture
def value(program: Program) -> str:
    return program("print('FoM:', sys.argv[-1].split('=')[1])")


def test_some_arguments_change_and_stay_so(tmp_path: Path, value: str) -> None:
    begun(tmp_path / "s", value, num_retries=1)
    with hpo.Study.load(tmp_path / "s", {"num_parallel_evals": 3, "eval_timeout": "1m"}, n_trials=4) as study:
        study.optimize()
    for _ in range(2):
        with hpo.Study.load(tmp_path / "s", n_trials=6) as study:
            assert study.evaluator is not None
            assert (study.evaluator.num_parallel_evals, study.evaluator.eval_timeout_s) == (3, 60.0)
            assert study.evaluator.num_retries == 1
            study.optimize()
            assert len(study.trials) == 6
    kept = {"cmd": value, "workload_manager": "local", "num_retries": 1}
    assert evaluators(tmp_path / "s") == [{**kept, "num_parallel_evals": 3, "eval_timeout": "1m"}]


def test_what_is_only_looked_at_is_not_changed(tmp_path: Path, value: str) -> None:
    begun(tmp_path / "s", value)
    hpo.Study.load(tmp_path / "s", {"num_retries": 9}).close()
    with hpo.Study.load(tmp_path / "s") as study:
        assert study.evaluator is not None
        assert study.evaluator.num_retries == 0


def test_the_change_also_stands_in_a_snapshot(tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_core.study._SNAPSHOT_ON_CLOSE", 1)
    begun(tmp_path / "s", value)
    with hpo.Study.load(tmp_path / "s", {"num_retries": 9}, n_trials=3) as study:
        study.optimize()
    assert (tmp_path / "s/snapshot").exists()
    with hpo.Study.load(tmp_path / "s") as study:
        assert study.evaluator is not None
        assert study.evaluator.num_retries == 9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_retry": 3}, r"no argument 'num_retry' \(did you mean 'num_retries'\?\)"),
        ({"nodes": -1}, "nodes=-1 must be a whole number"),
        ({"workload_manager": "locla"}, "did you mean 'local'"),
        ({"nodes": 4}, "nodes=4 with workload_manager='local', which has 1"),
    ],
)
def test_a_wrong_change_is_refused_and_the_study_is_as_it_was(tmp_path: Path, value: str, changed, message) -> None:
    begun(tmp_path / "s", value)
    before = (tmp_path / "s/journal.jsonl").read_bytes()
    with pytest.raises(hpo.HpoError, match=message):
        hpo.Study.load(tmp_path / "s", changed)
    assert (tmp_path / "s/journal.jsonl").read_bytes() == before
    hpo.Study.load(tmp_path / "s").close()


def test_another_command_is_a_change_of_what_results_mean_until_it_is_allowed(tmp_path: Path, value: str) -> None:
    begun(tmp_path / "s", value)
    changed = {"cmd": f"{value} --more"}
    with (
        hpo.Study.load(tmp_path / "s", changed, n_trials=3) as study,
        pytest.raises(hpo.StudyChangedError, match="cmd"),
    ):
        study.optimize()
    assert evaluators(tmp_path / "s") == []
    with hpo.Study.load(tmp_path / "s", changed, n_trials=3, allow_changes=True) as study:
        study.optimize()
    with hpo.Study.load(tmp_path / "s", n_trials=4) as study:  # accepted once
        study.optimize()
        assert len(study.trials) == 4


def test_a_command_that_was_accepted_once_is_what_the_study_is_now(tmp_path: Path, value: str) -> None:
    begun(tmp_path / "s", value)
    with hpo.Study.load(tmp_path / "s", {"cmd": f"{value} --more"}, n_trials=3, allow_changes=True) as study:
        study.optimize()
    space = hpo.Params([["--x", 0.5, (0.0, 1.0)]])

    def again(command: str) -> hpo.Study:
        evaluator = hpo.Evaluator(command, workload_manager="local")
        return hpo.Study(space, evaluator, n_trials=4, directory=tmp_path / "s", resume_if_exists=True)

    with again(f"{value} --more") as study:
        study.optimize()
        assert len(study.trials) == 4
    with pytest.raises(hpo.StudyChangedError, match=r"cmd: recorded '.* --more', now"):
        again(value)


def test_what_was_meant_for_the_former_manager_is_forgotten() -> None:
    recorded = {
        "cmd": "c",
        "workload_manager": "slurm",
        "manager_options": {"poll": 2},
        "alloc_args": "-A x",
        "nodes": 4,
    }
    other = Place(recorded).changed({"workload_manager": "local", "nodes": 1})
    assert other.to_json() == {"cmd": "c", "workload_manager": "local", "nodes": 1}
    same = Place(recorded).changed({"manager_options": {"renewals": 2}, "workload_manager": "slurm"})
    assert same.to_json() == {**recorded, "manager_options": {"poll": 2, "renewals": 2}}
    launched = {"cmd": "c", "launcher": "slurm", "launch_args": "-n 2", "alloc_args": "-A x"}
    pilot = Place(launched).changed({"launcher": "pilot"})
    assert pilot.to_json() == {"cmd": "c", "launcher": "pilot", "alloc_args": "-A x"}


def test_auto_is_what_it_stood_for() -> None:
    recorded = {"cmd": "c", "alloc_args": "-A x", "nodes": 4}
    for name in ("slurm", "auto"):
        same = Place(recorded, "slurm").changed({"workload_manager": name})
        assert (same.alloc_args, same.nodes) == ("-A x", 4)
    other = Place(recorded, "slurm").changed({"workload_manager": "simulated"})
    assert (other.alloc_args, other.nodes) == ("", 4)
    here = Place(recorded, "slurm").changed({"workload_manager": "local"})
    assert (here.alloc_args, here.nodes) == ("", 0)


def test_what_auto_stood_for_is_recorded(tmp_path: Path, value: str) -> None:
    begun(tmp_path / "s", value, workload_manager="auto")
    assert StudyView(tmp_path / "s").places == [Place({"cmd": value}, "local", "local")]


def test_of_an_older_study_the_names_count_as_they_were_written() -> None:
    """Where nothing else was recorded: what still runs there may be adopted."""
    now = Place({"cmd": "c", "num_retries": 1}, "local", "local")
    assert now.looks_where(Place({"cmd": "c"}))
    assert not now.looks_where(Place({"cmd": "c", "workload_manager": "slurm"}))
    assert not now.looks_where(Place({"cmd": "c", "launcher": "pilot"}))


def test_where_there_are_no_nodes_nothing_is_changed(tmp_path: Path, value: str) -> None:
    """Neither what is recorded, nor what still runs in the former place."""
    with registered(Cleaning, Full):
        begun(tmp_path / "s", value, workload_manager="cleaning")
        Cleaning.cleaned.clear()
        changed = {"workload_manager": "full"}
        with (
            hpo.Study.load(tmp_path / "s", changed, n_trials=3) as study,
            pytest.raises(hpo.AllocationError, match="no nodes today"),
        ):
            study.optimize()
        assert Cleaning.cleaned == []
        with hpo.Study.load(tmp_path / "s", n_trials=3) as study:
            assert study.evaluator is not None
            assert study.evaluator.workload_manager == "cleaning"
            study.optimize()


def test_a_refused_change_leaves_no_trace(tmp_path: Path, value: str) -> None:
    begun(tmp_path / "s", value)
    before = (tmp_path / "s/journal.jsonl").read_bytes()
    with hpo.Study.load(tmp_path / "s", {"cmd": "true"}, n_trials=9) as study, pytest.raises(hpo.StudyChangedError):
        study.optimize()
    assert (tmp_path / "s/journal.jsonl").read_bytes() == before


@pytest.mark.parametrize("wrong", ["x", 3, ["nodes"]])
def test_what_is_no_evaluator_is_refused(tmp_path: Path, value: str, wrong: Any) -> None:
    begun(tmp_path / "s", value)
    with pytest.raises(hpo.ConfigurationError, match=r"must be hpo\.Evaluator, or a dict"):
        hpo.Study.load(tmp_path / "s", wrong)


def test_a_study_of_ask_and_tell_gets_an_evaluator(tmp_path: Path, value: str) -> None:
    with hpo.Study(hpo.Params([["--x", 0.5, (0.0, 1.0)]]), n_trials=2, directory=tmp_path / "s") as study:
        study.tell(study.ask(), 0.5)
    with pytest.raises(hpo.ConfigurationError, match="no evaluator, so that nothing of one can change"):
        hpo.Study.load(tmp_path / "s", {"num_parallel_evals": 2})
    changed = {"cmd": value, "workload_manager": "local"}
    with hpo.Study.load(tmp_path / "s", changed, allow_changes=True) as study:
        study.optimize()
    with hpo.Study.load(tmp_path / "s", n_trials=3) as study:
        study.optimize()
        assert len(study.trials) == 3


def test_the_total_time_may_be_changed_so_too(tmp_path: Path, value: str) -> None:
    begun(tmp_path / "s", value)
    with hpo.Study.load(tmp_path / "s", {"timeout": "2h"}) as study:
        assert study.budget.timeout_s == 7200


def test_what_cannot_be_recorded_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(hpo.ConfigurationError, match="inf among the options can't be recorded"):
        hpo.Evaluator(value, manager_options={"poll": float("inf")}).to_json()


def test_each_trial_shows_the_command_that_it_ran(tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "first")
    begun(tmp_path / "s", f"{value} --first")
    monkeypatch.chdir(tmp_path / "second")
    with hpo.Study.load(tmp_path / "s", {"cmd": f"{value} --second"}, n_trials=3, allow_changes=True) as study:
        study.optimize()
        commands = [study.command(number).split()[-2] for number in (1, 2, 3)]
    assert commands == ["--first", "--first", "--second"]
    view = StudyView(tmp_path / "s")
    assert [view.exact_command(number).split()[-2] for number in (1, 2, 3)] == commands
    places = [re.search(r"^cd (\S+)", view.script(number), re.MULTILINE) for number in (1, 2, 3)]
    assert [place and place[1] for place in places] == [str(tmp_path / name) for name in ("first", "first", "second")]


def test_workspaces_stay_where_they_are(tmp_path: Path, program: Program) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/run.sh").write_text("echo FoM: 1")
    begun(tmp_path / "s", "sh run.sh", src_path=tmp_path / "src", run_path=tmp_path / "run")
    for allow_changes in (False, True):
        with pytest.raises(hpo.StudyChangedError, match=r"run_path: recorded '.*/run', now 'other'.* it stays"):
            hpo.Study.load(tmp_path / "s", {"run_path": "other"}, allow_changes=allow_changes)


def test_on_another_manager_what_was_left_on_the_former_one_is_ended(tmp_path: Path, value: str) -> None:
    heard = Heard()
    with registered(Cleaning):
        begun(tmp_path / "s", value, workload_manager="cleaning")
        Cleaning.cleaned.clear()
        with hpo.Study.load(tmp_path / "s", {"workload_manager": "local"}, n_trials=3, observers=[heard]) as study:
            study.optimize()
            assert Cleaning.cleaned == [study.id]
    assert "ended what an earlier driver left: an allocation" in heard.notices


def test_a_former_manager_that_is_not_there_any_more_is_told_of(tmp_path: Path, value: str) -> None:
    heard = Heard()
    with registered(Cleaning):
        begun(tmp_path / "s", value, workload_manager="cleaning")
    with hpo.Study.load(tmp_path / "s", {"workload_manager": "local"}, n_trials=3, observers=[heard]) as study:
        with pytest.warns(LeftoverWarning, match="may have left something running .*'cleaning'.* look again"):
            study.optimize()
        assert len(study.trials) == 3
    outcome = hpo_clean(tmp_path / "s")
    assert outcome.returncode == 1
    assert "no workload manager is called 'cleaning'" in outcome.stderr
    assert "nothing was left" not in outcome.stdout
    Cleaning.cleaned.clear()
    with registered(Cleaning):  # Once it answers, that is over.
        for n_trials in (4, 5):
            with hpo.Study.load(tmp_path / "s", n_trials=n_trials) as study:
                study.optimize()
    assert Cleaning.cleaned == [study.id]
    assert hpo_clean(tmp_path / "s").stdout == "nothing was left running\n"


def test_clean_looks_where_the_last_session_ran(program: Program, tmp_path: Path) -> None:
    """The study was begun elsewhere; the driver that was killed ran evaluations here."""
    slow = program("import time; open('begun', 'w').close(); time.sleep(300)")
    with registered(Cleaning), hpo.Evaluator(slow, workload_manager="cleaning") as evaluator:
        study = hpo.Study(hpo.Params([["--x", 0.5, (0.0, 1.0)]]), evaluator, directory=tmp_path / "s")
        study.close()
    code = "import sys, hpo_core as hpo; hpo.Study.load(sys.argv[1], {'workload_manager': 'local'}).optimize()"
    driver = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s")], cwd=tmp_path)
    while not (tmp_path / "begun").exists():
        assert driver.poll() is None
    driver.kill()
    driver.wait()
    done = hpo_clean(tmp_path / "s")
    assert done.returncode == 0, done.stderr
    assert not _processes.find("HPO_STUDY", study.id)


def test_warnings_of_what_was_recorded_are_not_said_again(tmp_path: Path, value: str) -> None:
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        begun(tmp_path / "s", f"{value} @checkpoint")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hpo.Study.load(tmp_path / "s", {"num_retries": 1}).close()
