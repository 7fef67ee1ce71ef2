"""Ways to break the promises that were tried once, one test each."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo_core as hpo
from driving import Driver, gone_within, left_of
from hpo_core import _processes
from hpo_core.journal import NAME, Journal, read

Program = Callable[..., str]
Drive = Callable[..., Driver]
PARAMS = [["--x", 0.5, (0.0, 1.0)]]


def test_a_snapshot_is_never_taken_before_everything_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_core.study._SNAPSHOT_ON_CLOSE", 1)
    real = Journal.flush
    fail = False

    def flush(journal: Journal, **how: Any) -> None:
        if fail:
            raise hpo.JournalError("no room")
        real(journal, **how)

    monkeypatch.setattr(Journal, "flush", flush)
    study = hpo.Study(hpo.Params(PARAMS), seed=1, directory=tmp_path / "s")
    study.tell(study.ask(), 1.0)
    trial = study.ask()
    fail = True
    with pytest.raises(hpo.JournalError):
        study.tell(trial, 0.5)
    fail = False
    study.close()
    assert not (tmp_path / "s" / "snapshot").exists()
    with hpo.Study.load(tmp_path / "s") as study:
        assert study.trials[1].fom == 0.5
        assert study._ledger.told == 2


def test_an_interrupted_failure_that_has_retries_left_stays_open(drive: Drive, program: Program) -> None:
    text = "time.sleep(0.5); sys.exit(3) if os.environ['HPO_ATTEMPT'] == '1' else print('FoM: 0.2')"
    driver = drive(cmd=program(text), num_retries=3, stop_wait=20, study={"n_trials": 1})
    driver.wait_for_processes(1)
    driver.signal(signal.SIGINT)
    driver.end()
    assert driver.records("finished") == []
    again = drive(cmd=program(text), num_retries=3, study={"n_trials": 1})
    again.end()
    assert [record["fom"] for record in again.records("finished")] == [0.2]


@pytest.mark.parametrize("way", ["limit", "kill"])
def test_a_study_inside_an_evaluation_leaves_nothing(drive: Drive, program: Program, tmp_path: Path, way: str) -> None:
    stubborn = program("signal.signal(15, signal.SIG_IGN); time.sleep(60)", "stubborn.py")
    inner = program(
        f"import hpo_core as hpo\n"
        f"evaluator = hpo.Evaluator({stubborn!r}, workload_manager='local', num_parallel_evals=2)\n"
        f"hpo.Study(hpo.Params({PARAMS!r}), evaluator, directory={str(tmp_path / 'inner')!r}).optimize()\n",
        "inner.py",
    ).replace(" -S ", " ")
    limit = {"eval_timeout": 3, "grace": 0.2} if way == "limit" else {}
    driver = drive(cmd=inner, study={"n_trials": 1}, **limit)
    journal = tmp_path / "inner" / NAME
    driver.wait_until(lambda: journal.exists() and journal.stat().st_size > 0)
    inner_id = next(iter(read(tmp_path / "inner"))).record["id"]
    driver.wait_until(lambda: len(left_of(inner_id)) >= 2)
    if way == "kill":
        driver.signal(signal.SIGKILL)
    driver.end()
    assert gone_within(driver.study_id, 8.0)
    assert gone_within(inner_id, 8.0)


def test_a_forked_child_that_ends_takes_nothing_with_it(tmp_path: Path) -> None:
    study = hpo.Study(hpo.Params(PARAMS), directory=tmp_path / "s")
    code = (
        "import os, sys, hpo_core as hpo\n"
        f"study = hpo.Study(hpo.Params({PARAMS!r}), directory={str(tmp_path / 'forked')!r})\n"
        "if os.fork() == 0: sys.exit(0)\n"
        "os.wait()\n"
        f"print(os.path.exists({str(tmp_path / 'forked' / 'lock')!r}))\n"
        "study.tell(study.ask(), 1.0)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "True\n"
    study.close()


def test_a_strategy_that_hangs_is_left_at_the_second_signal(tmp_path: Path) -> None:
    code = (
        "import time, hpo_core as hpo\n"
        "class Hangs(hpo.Strategy):\n"
        "    name = 'hangs'\n"
        "    def ask(self):\n"
        "        print('asked', flush=True)\n"
        "        while True: time.sleep(0.1)\n"
        f"evaluator = hpo.Evaluator('sleep 60', workload_manager='local', num_parallel_evals=2)\n"
        f"hpo.Study(hpo.Params({PARAMS!r}), evaluator, strategy=Hangs, directory={str(tmp_path / 's')!r}).optimize()\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert driver.stdout.readline() == "asked\n"
    driver.send_signal(signal.SIGINT)
    time.sleep(0.3)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=10)
    study_id = next(iter(read(tmp_path / "s"))).record["id"]
    assert gone_within(study_id, 3.0)


def test_a_guard_that_was_killed_is_replaced(tmp_path: Path, program: Program) -> None:
    seen = []

    class KillsGuards(hpo.Observer):
        def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
            for pid in _processes._all():
                words = _processes._read(pid, "cmdline").split(b"\0")
                if b"HPO_SESSION" in words and _processes._stat(pid)[1] == str(os.getpid()):
                    seen.append(pid)
                    os.kill(pid, signal.SIGKILL)
                    time.sleep(0.05)

    evaluator = hpo.Evaluator(program("print('FoM: 1')"), workload_manager="local")
    study = hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=3, observers=[KillsGuards()], directory=tmp_path / "s")
    with study:
        study.optimize()
        assert len(study.trials) == 3
    assert len(set(seen)) == 3


def test_ignored_sigchld_is_refused_before_anything_runs_and_mended_by_the_command(tmp_path: Path) -> None:
    script = "trap '' CHLD; exec \"$@\""
    code = (
        "import hpo_core as hpo, signal\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        f"study = hpo.Study(hpo.Params({PARAMS!r}), hpo.Evaluator('true', workload_manager='local'), n_trials=1,"
        f" directory={str(tmp_path / 'a')!r})\n"
        "try: study.optimize()\n"
        "except hpo.ConfigurationError as error: print(error, len(study.trials))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "SIGCHLD is ignored" in answer.stdout
    assert answer.stdout.endswith(" 0\n")
    command = ["-m", "hpo_core", "run", "-d", str(tmp_path / "b"), "--trials", "1", "--param", "--x=0.0:1.0"]
    subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, *command, "--", "echo FoM: 1"], check=True, capture_output=True
    )


def test_sources_that_hold_the_study_and_its_workspaces_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.sh").write_text("ls; echo FoM: 1")
    evaluator = hpo.Evaluator("sh train.sh", workload_manager="local", src_path=".")
    with hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=1, directory="s") as study:
        study.optimize()
    with hpo.Study.load("s", n_trials=2) as study:
        study.optimize()
        assert len(study.trials) == 2
    assert (tmp_path / "run" / "point2" / ".hpo" / "stdout").read_text() == "train.sh\nFoM: 1\n"


def test_a_relative_directory_stays_where_it_was_when_the_driver_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    evaluator = hpo.Evaluator("false", workload_manager="local")
    with hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=1, directory="s") as study:
        os.chdir("other")
        study.optimize()
        assert study.trials[0].result.message == "exit code 1"
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["journal.jsonl", "output"]
    assert list((tmp_path / "other").iterdir()) == []


def test_a_study_that_could_not_be_begun_leaves_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Journal) -> None:
        raise hpo.JournalError("no room")

    monkeypatch.setattr(Journal, "flush", fails)
    with pytest.raises(hpo.JournalError):
        hpo.Study(hpo.Params(PARAMS), directory=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_strategy_that_looks_at_what_is_left_repeats_itself_on_resume(tmp_path: Path) -> None:
    class Looks(hpo.Strategy):
        name = "looks"

        def ask(self) -> hpo.Proposal:
            return hpo.Proposal({"--x": 1.0 / (1.0 + (self.outlook.trials_left or 0))})

    with hpo.Study(hpo.Params(PARAMS), strategy=Looks, n_trials=6, seed=1, directory=tmp_path / "s") as study:
        for _ in range(4):
            study.tell(study.ask(), 1.0)
    with hpo.Study.load(tmp_path / "s", strategy=Looks, n_trials=9) as study:
        assert study._ledger.notes == []
        study.tell(study.ask(), 1.0)
    with hpo.Study.load(tmp_path / "s", strategy=Looks) as study:
        assert study._ledger.notes == []
