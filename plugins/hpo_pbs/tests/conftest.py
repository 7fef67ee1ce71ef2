"""A stand-in PBS of four nodes: real programs called qsub, qstat ... on PATH, and one small server behind them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STANDIN = Path(__file__).with_name("standin")
COMMANDS = {
    "openpbs": ("qsub", "qstat", "qdel", "qselect", "pbsnodes", "pbsdsh", "pbs_tmrsh"),
    "torque": ("qsub", "qstat", "qdel", "qselect", "pbsdsh"),
}


class Cluster:
    """The stand-in, as seen by somebody beside us."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.home = folder, folder / "bin", folder
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
        """The letter of a job."""
        rows = [line.split() for line in self.ask("qstat", "-x", job)["out"].splitlines()]
        return next((row[-2] for row in rows if row and row[0] == job), "")

    def jobs(self) -> list[str]:
        """Jobs that are not over."""
        return str(self.ask("qselect")["out"]).split()

    def is_down(self, down: bool) -> None:
        """Whether the server refuses to answer."""
        (self.folder / "down").touch() if down else (self.folder / "down").unlink()

    def wait_for(self, condition: Callable[[], object], limit_s: float = 20.0, pause_s: float = 0.02) -> None:
        """Poll until something is so."""
        until = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < until, f"it did not come to pass; jobs: {self.jobs()}"
            time.sleep(pause_s)

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
