"""The workload manager `local` starts programs of ours, as every manager with SPAWNS does."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_core import _processes
from hpo_core.allocation import AllocationRequest
from hpo_core.builtin.local import LocalManager
from hpo_core.events import RealEventLoop

from .conftest import until


@pytest.fixture
def events() -> Iterator[RealEventLoop]:
    loop = RealEventLoop()
    yield loop
    loop.close()


@pytest.fixture
def manager(events: RealEventLoop) -> Iterator[LocalManager]:
    manager = LocalManager()
    manager.acquire(AllocationRequest(), events)
    yield manager
    manager.release()


def wait(events: RealEventLoop, told: list[str]) -> str:
    deadline = time.monotonic() + 20
    while not told:
        assert time.monotonic() < deadline
        events.next_events(events.now() + 0.02)
    return told[0]


def test_each_process_finds_its_node_and_what_is_printed_is_told(events, manager, monkeypatch) -> None:
    monkeypatch.setenv("HPO_TRIAL", "of another study")
    told: list[str] = []
    words = ("sh", "-c", "cat; echo out $HPO_NODE ${HPO_TRIAL-none}; echo err >&2; exit 3")
    manager.spawn(words, ("n1", "n2"), told.append)
    assert sorted(wait(events, told).split("\n")) == ["err", "err", "out n1 none", "out n2 none"]


def test_it_is_told_once_when_the_last_has_ended(events, manager, tmp_path: Path) -> None:
    told: list[str] = []
    words = ("sh", "-c", f"[ $HPO_NODE = n1 ] || while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo $HPO_NODE")
    manager.spawn(words, ("n1", "n2"), told.append)
    events.next_events(events.now() + 0.3)
    assert told == []
    (tmp_path / "go").touch()
    assert sorted(wait(events, told).split("\n")) == ["n1", "n2"]
    events.next_events(events.now() + 0.1)
    assert len(told) == 1


def test_what_cannot_start_is_told_and_not_raised(events, manager, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told: list[str] = []
    manager.spawn(("/nonexistent/program",), ("n1",), told.append)
    assert told == []
    assert wait(events, told) == "cannot start /nonexistent/program: No such file or directory"
    assert not list(tmp_path.iterdir())


def test_release_ends_it_and_leaves_nothing(events, manager, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    told: list[str] = []
    manager.spawn(("sh", "-c", f"trap '' TERM; echo $$ > {tmp_path}/pid; sleep 60"), ("n1",), told.append)
    assert len(os.listdir("/proc/self/fd")) == before
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    manager.release()
    assert not _processes.started(int((tmp_path / "pid").read_text()))
    events.next_events(events.now() + 0.6)
    assert told == []


def test_what_a_killed_driver_printed_to_is_removed(events, manager, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    nobody = 2**22 + 1  # more than a process id can be
    for name in (f"hpo-spawned-{nobody}-x", f"hpo-spawned-{os.getpid()}-x", "hpo-spawned-else"):
        (tmp_path / name).touch()
    told: list[str] = []
    manager.spawn(("true",), ("n1",), told.append)
    wait(events, told)
    assert sorted(os.listdir(tmp_path)) == [f"hpo-spawned-{os.getpid()}-x", "hpo-spawned-else"]
