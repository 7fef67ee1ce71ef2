"""A stand-in PBS of four nodes: real programs called qsub, qstat ... on PATH, and one small server behind them."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hpo_core as hpo
from hpo_core import _processes
from hpo_core.journal import read

DRIVER = Path(__file__).with_name("driver.py")
STANDIN = Path(__file__).with_name("standin")
COMMANDS = {
    "openpbs": ("qsub", "qstat", "qdel", "qselect", "pbsnodes", "pbsdsh", "pbs_tmrsh", "pbs_attach", "ssh"),
    "torque": ("qsub", "qstat", "qdel", "qselect", "pbsdsh", "ssh"),
}


class Watching(hpo.Observer):
    """Writes down what is heard."""

    name = "watching"

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


class Driver:
    """A driver in a process of its own, which can be killed."""

    def __init__(self, here: Path, settings: dict[str, Any]) -> None:
        self.here, self.heard = here, here / "driver.out"
        with self.heard.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(DRIVER), json.dumps(settings)],
                cwd=here,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self, text: str) -> int:
        return self.heard.read_text().count(text)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self, limit_s: float = 60.0) -> str:
        self.process.wait(limit_s)
        return self.heard.read_text()

    def study_id(self) -> str:
        return str(next(iter(read(self.here / "study"))).record["id"])

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Cluster:
    """The stand-in, as seen by somebody beside us."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.home = folder, folder / "bin", folder
        self.drivers: list[Driver] = []
        self.user = getpass.getuser()
        self.bin.mkdir()
        self.server = subprocess.Popen(
            [sys.executable, "-I", "-S", str(STANDIN / "server.py"), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.server.stdout is not None
        assert self.server.stdout.readline() == b"ready\n"

    def begin(self, home: Path, kind: str = "openpbs") -> None:
        """Be as new, for somebody with this home."""
        self.home = home
        for name in ("down", "hangs", "settings.json"):
            (self.folder / name).unlink(missing_ok=True)
        for program in self.bin.iterdir():
            program.unlink()
        for name in COMMANDS[kind]:
            self.write(name, f"exec {self.real(name, kind)}")
        self.ask("begin", kind)

    def real(self, name: str, kind: str = "openpbs") -> str:
        """What is in a command; for those that do something else besides."""
        return f'{sys.executable} -I -S {STANDIN}/client.py {self.folder} {kind} {name} "$@"'

    def write(self, name: str, text: str) -> None:
        """Make a command."""
        program = self.bin / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    def set(self, **settings: Any) -> None:
        """Change what differs from site to site."""
        (self.folder / "settings.json").write_text(json.dumps(settings))

    def control(self, *words: str) -> None:
        """Do something to the cluster from outside."""
        self.ask("control", *words)

    def calls(self, name: str) -> list[str]:
        """How a command was called so far, by programs."""
        return [words for words in self.ask("calls")["out"].splitlines() if words.split()[0] == name]

    def ask(self, command: str, *arguments: str) -> Any:
        """Ask the server directly: for looking on, cheaper than a program."""
        asked = {"command": command, "arguments": arguments, "cwd": str(self.home), "env": dict(os.environ)}
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(f"{self.folder}/socket")
            server.sendall(json.dumps(asked).encode() + b"\n")
            with server.makefile() as file:
                return json.loads(file.readline())

    def run(self, words: list[str] | str, **more: Any) -> "subprocess.CompletedProcess[str]":
        """Run a command, and hear what it says."""
        return subprocess.run(
            words,
            shell=isinstance(words, str),
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=30,
            **more,
        )

    def state(self, job: str) -> str:
        """The letter of a job; empty where it is forgotten."""
        return str(self.ask("state", job)["out"])

    def jobs(self) -> list[str]:
        """Jobs that are not over."""
        return str(self.ask("jobs")["out"]).split()

    def is_down(self, down: bool) -> None:
        """Whether the server refuses to answer."""
        (self.folder / "down").touch() if down else (self.folder / "down").unlink()

    def wait_for(self, condition: Callable[[], object], limit_s: float = 60.0, pause_s: float = 0.02) -> None:
        """Poll until something is so."""
        until = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < until, f"it did not come to pass; jobs: {self.jobs()}; {self.left()}"
            time.sleep(pause_s)

    # Studies on it

    @staticmethod
    def settings(command: str, **arguments: Any) -> dict[str, Any]:
        """Of an evaluator; `options` are those of the manager."""
        return {
            "cmd": command,
            "workload_manager": "pbs",
            "alloc_timeout": 5,
            "manager_options": {"poll": 0.5, **arguments.pop("options", {})},
            "launcher_options": {"address": "127.0.0.1"},
            **arguments,
        }

    def study(self, command: str, n_trials: int, **arguments: Any) -> tuple[hpo.Study, Watching]:
        """Run one here, to its end."""
        watching, directory = Watching(), arguments.pop("directory", "study")
        with hpo.Evaluator(**self.settings(command, **arguments)) as evaluator:
            study = hpo.Study(
                hpo.Params([["--x", 0.5, (0.0, 1.0)]]),
                evaluator,
                n_trials=n_trials,
                seed=1,
                observers=[watching],
                directory=directory,
            )
            study.optimize()
            study.close()
        return study, watching

    def driver(self, command: str, n_trials: int, **arguments: Any) -> Driver:
        """Run one in a process of its own, which is killed after the test, whatever comes."""
        given = {"evaluator": self.settings(command, **arguments), "study": {"n_trials": n_trials}}
        self.drivers.append(Driver(self.home, given))
        return self.drivers[-1]

    def driver_inside(self, command: str, n_trials: int, **arguments: Any) -> Path:
        """A job's script that runs one, notes its process id in `pid`, touches `over`, and waits for `stop`."""
        given = {"evaluator": self.settings(command, **arguments), "study": {"n_trials": n_trials}}
        script = self.home / "job.sh"
        script.write_text(
            f"PATH={self.bin}:$PATH; export PATH\n{sys.executable} {DRIVER} '{json.dumps(given)}' &\n"
            "echo $! > pid; wait; touch over; while [ ! -e stop ]; do sleep 0.1; done\n"
        )
        return script

    def left(self) -> list[str]:
        """Processes that work for this home or run here, but for the stand-in itself and us."""
        found = []
        for pid in _processes._all():
            words = _processes._read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
            mine = str(self.home) in words or f"HOME={self.home}".encode() in _processes._environment(pid)
            if mine and pid not in (os.getpid(), self.server.pid) and _processes.started(pid):
                found.append(f"{pid}: {words}")
        return found

    def asleep(self) -> int:
        """Evaluations that have come to their long sleep."""
        return len([line for line in self.left() if line.endswith(": sleep 60 ")])

    def guards(self) -> list[int]:
        """Process ids of guards."""
        return [int(line.partition(":")[0]) for line in self.left() if "hpo_pbs/_guard.py" in line]

    def kill_guards(self) -> None:
        """Now, without a word."""
        for pid in self.guards():
            os.kill(pid, signal.SIGKILL)

    def nothing_is_left(self) -> None:
        """No job, no process, no folder."""
        self.wait_for(lambda: self.jobs() == [])
        self.wait_for(lambda: not self.left(), pause_s=0.1)
        self.wait_for(lambda: not list((self.home / ".hpo-pbs").glob(".*")))

    def close(self) -> None:
        """End it, with all that runs on it."""
        (self.folder / "socket").unlink()
        self.server.wait(10)
        assert self.server.stdout is not None
        self.server.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def standin() -> Iterator[Cluster]:
    """One for all tests."""
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="pbs-")))  # a socket's path is short
    yield cluster
    cluster.close()


@pytest.fixture
def fresh(standin: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A home and an environment for one test; the cluster does not run yet."""
    for name in [name for name in os.environ if name.startswith(("PBS_", "SLURM_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PBS_CONF_FILE", "/dev/null")
    monkeypatch.setenv("PATH", f"{standin.bin}:{os.environ['PATH']}")
    monkeypatch.chdir(home)
    yield standin
    while standin.drivers:
        standin.drivers.pop().kill()
    standin.kill_guards()  # after a test that failed: they would try for a day
    standin.begin(home)


@pytest.fixture
def cluster(fresh: Cluster) -> Cluster:
    """OpenPBS."""
    fresh.begin(Path.home())
    return fresh


@pytest.fixture
def torque(fresh: Cluster) -> Cluster:
    """Torque."""
    fresh.begin(Path.home(), "torque")
    return fresh
