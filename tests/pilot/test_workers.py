"""Workers come and go, and each evaluation ends exactly once all the same."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo_core import _processes
from hpo_core.builtin import pilot
from hpo_core.events import NodesLeft
from hpo_core.testing.launchers import STUDY
from hpo_core.trial import Failure

from .conftest import processes_with, until, workers


def left_of(key: tuple[int, int]) -> list[int]:
    """Living processes of an evaluation."""
    return _processes.find("HPO_EVALUATION", f"hpo-{STUDY}-{key[0]}-{key[1]}")


BOTH = pytest.mark.parametrize("transport", ["tcp", "files"])


def test_workers_are_started_together_and_only_where_they_are_needed(stage_with) -> None:
    stage = stage_with()
    keys = [stage.on(node, command="echo $HPO_NODE") for node in ("n1", "n3", "n3")]
    stage.wait(*keys)
    assert [stage.output(key) for key in keys] == [b"n1\n", b"n3\n", b"n3\n"]
    stage.wait(stage.on("n1", command="true"), stage.on("n4", command="true"))
    assert stage.manager.spawned == [("n1", "n3"), ("n4",)]


@BOTH
def test_an_evaluation_of_several_nodes_ends_on_all_of_them(stage_with, tmp_path: Path, transport: str) -> None:
    """What has its mark is ended, wherever it was started; here the others' processes are what n1 started apart."""
    stage = stage_with(transport=transport)
    show = "echo $HPO_NODE; cat $HPO_HOSTFILE; setsid sleep 300 & echo $! >&2; exit 3"
    key = stage.on("n2", "n4", "n1", command=show)
    assert stage.wait(key).exit_code == 3
    assert stage.output(key, "stdout") == b"n2\nn2\nn4\nn1\n"
    assert not _processes.started(int(stage.output(key, "stderr")))
    assert not list(Path(stage.launcher._meeting.folder).glob("*.hosts"))
    key = stage.on("n1", "n2", command="trap '' TERM; echo here; while :; do sleep 0.05; done")
    stage.until(lambda: stage.output(key), "its start")
    stage.launcher.end(key, 0.2)
    assert stage.wait(key).signal == signal.SIGKILL


def test_one_node_needs_no_host_file(stage_with) -> None:
    stage = stage_with()
    key = stage.on("n1", command="echo ${HPO_HOSTFILE-none}")
    stage.wait(key)
    assert stage.output(key) == b"none\n"


@BOTH
def test_a_killed_worker_takes_its_evaluations_along_and_the_next_one_finds_a_clean_node(stage_with, transport) -> None:
    stage = stage_with(transport=transport, silence=3)
    keys = [stage.on("n1", command="echo $$; trap '' TERM; setsid sleep 300 & sleep 300") for _ in range(2)]
    spared = stage.on("n2", command="sleep 1; echo fine")
    stage.until(lambda: all(stage.output(key) for key in keys), "their start")
    os.kill(workers(stage)["n1"], signal.SIGKILL)
    ended = [stage.wait(key) for key in keys]
    assert [end.failure for end in ended] == [Failure.NODE_LOST] * 2
    assert "the worker on n1 was lost" in ended[0].message
    stage.wait(stage.on("n1", command="true"))
    for key in keys:
        assert not left_of(key)
        assert len(stage.ends(key)) == 1
    assert stage.wait(spared).exit_code == 0


def test_children_of_a_killed_worker_are_gone_though_nobody_comes_after_it(stage_with) -> None:
    stage = stage_with()
    key = stage.on("n1", command="echo $$; trap '' TERM; setsid sleep 300 & sleep 300")
    stage.until(lambda: stage.output(key), "its start")
    os.kill(workers(stage)["n1"], signal.SIGKILL)
    stage.wait(key)
    until(lambda: not left_of(key))


def test_a_worker_that_is_told_to_end_by_its_node_ends_everything(stage_with) -> None:
    stage = stage_with()
    key = stage.on("n1", command="echo $$; setsid sleep 300 & sleep 300")
    stage.until(lambda: stage.output(key), "its start")
    os.kill(workers(stage)["n1"], signal.SIGTERM)
    assert stage.wait(key).failure is Failure.NODE_LOST
    assert not left_of(key)


def test_a_node_whose_workers_do_nothing_but_die_is_given_up(stage_with) -> None:
    stage = stage_with(max_losses=2)
    stage.wait(stage.on("n2", command="true"))
    left: list[NodesLeft] = []
    post = stage.events.post
    stage.events.post = lambda event: left.append(event) if isinstance(event, NodesLeft) else post(event)
    for _ in range(2):
        key = stage.on("n1", command="echo $$; sleep 300")
        stage.until(lambda key=key: stage.output(key), "its start")
        assert not left
        os.kill(workers(stage)["n1"], signal.SIGKILL)
        assert stage.wait(key).failure is Failure.NODE_LOST
    assert [event.names for event in left] == [("n1",)]
    assert "2 times in a row" in left[0].reason


def test_a_worker_that_hangs_is_lost_when_it_does_not_end_what_it_should(stage_with, monkeypatch) -> None:
    monkeypatch.setattr(pilot, "_NO_ANSWER_S", 0.2)
    stage = stage_with()
    key = stage.on("n1", command="echo $$; sleep 300")
    stage.until(lambda: stage.output(key), "its start")
    worker = workers(stage)["n1"]
    os.kill(worker, signal.SIGSTOP)
    stage.launcher.end(key, 0.1)
    ended = stage.wait(key)
    assert ended.failure is Failure.NODE_LOST
    assert "did not end an evaluation" in ended.message
    os.kill(worker, signal.SIGCONT)
    until(lambda: not left_of(key))


def test_an_interpreter_that_is_not_there_is_told(stage_with) -> None:
    stage = stage_with(python="/nonexistent/python")
    ended = stage.wait(stage.on("n1", command="true"))
    assert ended.failure is Failure.COULD_NOT_START
    assert "cannot start /nonexistent/python: No such file or directory" in ended.message


def test_a_program_that_is_no_worker_is_told_with_what_it_printed(stage_with, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'module load python first'; exit 1\n")
    program.chmod(0o755)
    stage = stage_with(python=str(program))
    ended = stage.wait(stage.on("n1", command="true"), stage.on("n2", command="true"))
    assert ended.failure is Failure.COULD_NOT_START
    assert "could not be started: module load python first" in ended.message


def test_a_worker_that_does_not_connect_in_time_is_told_with_what_can_be_done(stage_with, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o755)
    stage = stage_with(python=str(program), connect_timeout=0.3)
    ended = stage.wait(stage.on("n1", command="true"))
    assert ended.failure is Failure.COULD_NOT_START
    assert "did not connect within 0.3 s (to 127.0.0.1:" in ended.message
    assert "'address' and 'transport'" in ended.message


UNREACHABLE = {"port": 1}
"""Nothing listens there."""


def test_where_the_driver_cannot_be_reached_files_are_used(stage_with) -> None:
    stage = stage_with(UNREACHABLE)
    key = stage.on("n1", command="echo hello")
    assert stage.wait(key).exit_code == 0
    assert stage.output(key) == b"hello\n"


def test_with_tcp_alone_it_is_told_what_was_tried(stage_with) -> None:
    stage = stage_with(UNREACHABLE, transport="tcp", connect_timeout=0.5)
    ended = stage.wait(stage.on("n1", command="true"))
    assert ended.failure is Failure.COULD_NOT_START


def test_the_secret_is_in_a_file_of_ones_own_and_nowhere_else(stage_with) -> None:
    stage = stage_with()
    key = stage.on("n1", command="env; sleep 300")
    stage.until(lambda: stage.output(key), "its start")
    folder = Path(stage.launcher._meeting.folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    secret = stage.launcher._meeting.secret.hex()
    assert secret in (folder / "config.json").read_text()
    assert secret.encode() not in stage.output(key)
    pid = workers(stage)["n1"]
    for name in ("cmdline", "environ"):
        assert secret.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()


def test_nothing_is_left_after_close(stage_with) -> None:
    stage = stage_with()
    stage.wait(stage.on("n1", command="true"))
    folder = stage.launcher._meeting.folder
    stage.on("n2", command="sleep 300")  # its worker is just being started
    stage.listen(0.01)
    stage.close()
    assert not os.path.exists(folder)
    until(lambda: not processes_with(folder))


def test_evaluations_have_the_drivers_directory_and_environment(stage_with, tmp_path: Path, monkeypatch) -> None:
    home = tmp_path / "it's here"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("OF_THE_DRIVER", "ü")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("HPO_TRIAL", "99")
    stage = stage_with()
    key = stage.on("n1", command="pwd; echo $OF_THE_DRIVER; echo $HPO_TRIAL")
    stage.wait(key)
    assert stage.output(key).decode() == f"{home}\nü\n{key[0]}\n"


def test_a_working_directory_that_the_node_lacks_is_told(stage_with, tmp_path: Path) -> None:
    stage = stage_with({"directory": str(tmp_path / "nowhere")})
    ended = stage.wait(stage.on("n1", command="true"))
    assert ended.failure is Failure.COULD_NOT_START
    assert "working directory can't be entered" in ended.message


@BOTH
def test_much_output_of_many_is_whole_and_does_not_fill_the_memory(stage_with, transport: str) -> None:
    stage = stage_with(transport=transport)
    command = "head -c 30000000 /dev/zero | tr '\\000' {0}; echo; echo end {0} >&2"
    keys = {name: stage.on("n1", command=command.format(name)) for name in "abc"}
    stage.wait(*keys.values(), limit_s=60)
    for name, key in keys.items():
        assert stage.output(key, "stdout") == name.encode() * 30_000_000 + b"\n"
        assert stage.output(key, "stderr") == f"end {name}\n".encode()


@BOTH
def test_programs_wait_while_the_driver_does_not_listen(stage_with, transport: str) -> None:
    """A worker holds little of what they write meanwhile, and nothing is lost."""
    stage = stage_with(transport=transport)
    key = stage.on("n1", command="echo begin; head -c 150000000 /dev/zero | tr '\\000' x")
    stage.until(lambda: stage.output(key), "its start")
    pid = workers(stage)["n1"]
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        lines = Path(f"/proc/{pid}/status").read_text().split("\n")
        assert int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) < 80_000
        time.sleep(0.05)
    stage.wait(key, limit_s=60)
    assert len(stage.output(key)) == 150_000_006


def test_what_an_earlier_driver_left_on_a_node_is_ended_before_anything_runs(stage_with) -> None:
    stage = stage_with()
    with subprocess.Popen(["sleep", "300"], env={**os.environ, "HPO_STUDY": STUDY}, start_new_session=True) as left:
        spared = stage.on("n2", command="echo here; sleep 300")
        stage.until(lambda: stage.output(spared), "its start")
        assert left.wait(20) == -signal.SIGKILL
        stage.wait(stage.on("n1", command="true"))
        assert stage.ends(spared) == []


def test_a_second_worker_on_a_node_is_turned_away_and_does_no_harm(stage_with, tmp_path: Path) -> None:
    stage = stage_with()
    key = stage.on("n1", command=f"echo here; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo fine")
    stage.until(lambda: stage.output(key), "its start")
    meeting = stage.launcher._meeting
    words = [sys.executable, "-I", "-S", meeting.worker_file, meeting.config_file]
    with subprocess.Popen(words, env={**os.environ, "HPO_NODE": "n1"}, stderr=subprocess.PIPE, text=True) as second:
        stage.until(lambda: second.poll() is not None, "its end")
        assert second.stderr is not None
        assert second.stderr.read() == "worker on n1: it was refused: this node has a worker already\n"
    (tmp_path / "go").touch()
    assert stage.wait(key).exit_code == 0
    assert stage.output(key) == b"here\nfine\n"


@BOTH
def test_workers_run_on_python_3_8(stage_with, transport: str) -> None:
    old = shutil.which("python3.8")
    if old is None or subprocess.run([old, "-c", ""], capture_output=True).returncode:
        pytest.skip("needs a python3.8 on PATH")
    stage = stage_with(python=old, transport=transport)
    key = stage.on("n1", "n2", command="echo hello; setsid sleep 300 & exit 4")
    assert stage.wait(key).exit_code == 4
    assert stage.output(key) == b"hello\n"


def test_resource_use_is_told(stage_with) -> None:
    stage = stage_with()
    program = "x = bytearray(80_000_000); n = sum(range(3_000_000))"
    ended = stage.wait(stage.start(stage.evaluation("", argv=(sys.executable, "-S", "-c", program))))
    assert ended.cpu_s is not None
    assert ended.cpu_s > 0.01
    assert ended.memory_bytes is not None
    assert 80_000_000 < ended.memory_bytes < 400_000_000
