"""Whole studies through workers: nothing is lost and nothing is left, also when the driver is killed."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import hpo_core as hpo
from driving import Driver, gone_within, left_of
from hpo_core import _processes
from hpo_core.trial import State

from .conftest import processes_with, until

SPACE = [["--x", 0.5, (0.0, 1.0)], ["--n", 3, (1, 9)]]
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-S", "-c", "import signal,time;signal.signal(15,signal.SIG_IGN);time.sleep(60)"])
subprocess.Popen(["sleep", "60"], start_new_session=True)
time.sleep(60)
"""


def study(tmp_path: Path, command: str, n_trials: int, **settings: object) -> hpo.Study:
    evaluator = hpo.Evaluator(command, **{"workload_manager": "local", "launcher": "pilot", **settings})
    made = hpo.Study(hpo.Params(SPACE), evaluator, n_trials=n_trials, seed=3, directory=tmp_path / "study")
    made.optimize()
    return made


def test_a_thousand_short_evaluations_each_hears_its_own_output(tmp_path: Path) -> None:
    with study(tmp_path, "echo FoM: $HPO_TRIAL; :", 1000, num_parallel_evals=4) as done:
        assert [record.fom for record in done.trials] == list(range(1, 1001))
        assert {record.result.nodes for record in done.trials} == {(os.uname().nodename,)}
    assert not list((tmp_path / "study").glob("pilot-*"))


def test_several_nodes_side_by_side_and_together(tmp_path: Path, many_nodes) -> None:
    command = "echo FoM: $HPO_NUM_NODES; echo $HPO_NODE $HPO_NODELIST; :"
    settings = {
        "workload_manager": "many",
        "nodes": 4,
        "nodes_per_eval": 2,
        "launcher_options": {"address": "127.0.0.1"},
    }
    with study(tmp_path, command, 20, **settings) as done:
        assert {record.fom for record in done.trials} == {2}
        assert all(len(set(record.result.nodes)) == 2 for record in done.trials)


def test_slots_have_gpus_of_their_own(tmp_path: Path) -> None:
    command = f"echo $CUDA_VISIBLE_DEVICES $ROCR_VISIBLE_DEVICES > {tmp_path}/$HPO_TRIAL; sleep 0.3; echo FoM: 1; :"
    with study(tmp_path, command, 2, num_parallel_evals=2, manager_options={"gpus": "5,7"}):
        assert sorted((tmp_path / name).read_text() for name in "12") == ["5 5\n", "7 7\n"]


def test_failures_are_told_apart(tmp_path: Path) -> None:
    command = "case $HPO_TRIAL in 1) exit 3;; 2) kill -9 $$;; 3) sleep 60;; *) echo FoM: 1;; esac; :"
    with study(tmp_path, command, 4, num_parallel_evals=2, eval_timeout="1s", num_retries=0) as done:
        assert [record.result.message.partition(",")[0] for record in done.trials] == [
            "exit code 3",
            "ended by signal 9 (SIGKILL)",
            "it ran longer than eval_timeout",
            "",
        ]


def test_a_worker_killed_in_the_middle_costs_no_trial(tmp_path: Path, many_nodes) -> None:
    """Its evaluations run again, by another worker; no retry of the program's is used up."""
    killer = f"[ -e {tmp_path}/done ] || {{ : > {tmp_path}/done; kill -9 $PPID; sleep 60; }}"
    settings = {"workload_manager": "many", "nodes": 2, "launcher_options": {"address": "127.0.0.1"}}
    command = f"[ $HPO_TRIAL != 7 ] || {killer}; echo FoM: 1; :"
    with study(tmp_path, command, 30, num_retries=0, **settings) as done:
        assert {record.state for record in done.trials} == {State.DONE}
        assert done.trials[6].result.attempts == 2
        assert not left_of(done.id)


def test_a_study_after_another_on_the_same_evaluator(tmp_path: Path) -> None:
    evaluator = hpo.Evaluator("echo FoM: 1; :", workload_manager="local", launcher="pilot")
    for number in range(2):
        with hpo.Study(hpo.Params(SPACE), evaluator, n_trials=3, directory=tmp_path / str(number)) as one:
            one.optimize()
            assert one.best_fom == 1


def test_what_cannot_start_stops_the_study_with_the_reason(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/nonexistent/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(
        hpo.StudyStopped, match=r"cannot start '.*/program .* on .*: .* is there, but not the interpreter"
    ):
        study(tmp_path, str(program), 3)


def test_a_manager_without_nodes_for_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(hpo.ConfigurationError, match="needs a workload manager that starts a process of ours"):
        study(tmp_path, "true", 1, workload_manager="simulated")


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Start drivers; whatever a test leaves of them is ended."""
    drivers: list[Driver] = []

    def start(command: str, **launcher_options: object) -> Driver:
        settings = {
            "cmd": command,
            "workload_manager": "local",
            "launcher": "pilot",
            "num_parallel_evals": 2,
            "launcher_options": launcher_options,
        }
        drivers.append(Driver(tmp_path / "study", settings, {"seed": 5}))
        return drivers[-1]

    yield start
    for driver in drivers:
        if driver.process.poll() is None:
            driver.signal(signal.SIGKILL)
            driver.process.communicate()
        if (driver.directory / "journal.jsonl").exists():
            _processes.sweep("HPO_STUDY", driver.study_id, 0.0)


@pytest.mark.parametrize("transport", ["tcp", "files"])
def test_kill_9_of_the_driver_ends_all_evaluations_and_the_workers(drive, tmp_path: Path, transport: str) -> None:
    program = tmp_path / "stubborn.py"
    program.write_text(STUBBORN)
    driver = drive(f"{sys.executable} -S {program}", transport=transport, silence=3)
    driver.wait_for_processes(6)
    assert processes_with("worker.pyz")
    driver.signal(signal.SIGKILL)
    driver.end()
    assert gone_within(driver.study_id, 15.0)
    until(lambda: not processes_with(str(tmp_path)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_signals_leave_nothing(drive, tmp_path: Path, number: int) -> None:
    program = tmp_path / "stubborn.py"
    program.write_text(STUBBORN)
    driver = drive(f"{sys.executable} -S {program}")
    driver.wait_for_processes(6)
    driver.signal(number)
    time.sleep(0.5)  # two at once would be one
    driver.signal(number)
    out, err = driver.end(limit_s=30)
    assert "stopped:" in out, err
    assert not left_of(driver.study_id)
    until(lambda: not processes_with(str(tmp_path)))


def test_after_kill_9_the_study_goes_on_where_it_stopped(drive, tmp_path: Path) -> None:
    command = f"sleep 0.05; echo FoM: $HPO_TRIAL >> {tmp_path}/ran; echo FoM: $HPO_TRIAL; :"
    for results in (5, 15):
        driver = drive(command)
        driver.wait_for_results(results)
        driver.signal(signal.SIGKILL)
        driver.end()
    stale = list((tmp_path / "study").glob("pilot-*"))
    assert len(stale) == 1
    with hpo.Study.load(tmp_path / "study", n_trials=40) as study:
        study.optimize()
        assert [record.number for record in study.trials] == list(range(1, len(study.trials) + 1))
        assert all(record.fom == record.number for record in study.trials)
    assert not stale[0].exists()
