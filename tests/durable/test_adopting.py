"""Evaluations that outlive their driver are adopted by the next one, where the launcher can."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import detaching
from driving import gone_within, left_of
from hpo_core import _processes
from hpo_core.journal import read

Start = Callable[..., "subprocess.Popen[str]"]

WAITS = """
n = int(os.environ["HPO_TRIAL"])
with open(sys.argv[1] + f"/started.{n}", "a") as file:
    file.write("once\\n")
print("FoM:", 10 + n, flush=True)
while not os.path.exists(sys.argv[1] + "/go"):
    time.sleep(0.01)
print("FoM:", n, flush=True)
"""


class World:
    """A study whose driver can be killed while its evaluations wait for a file."""

    def __init__(self, folder: Path, command: str) -> None:
        self.folder, self.directory, self.command = folder, folder / "study", f"{command} {folder}"
        self.drivers: list[subprocess.Popen[str]] = []

    def drive(self, n_trials: int = 4, strategy: str = "listener") -> "subprocess.Popen[str]":
        words = [sys.executable, detaching.__file__, str(self.directory), self.command, str(n_trials), strategy]
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.drivers.append(process)
        return process

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert self.drivers[-1].poll() is None, self.drivers[-1].communicate()
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.01)

    def kill_driver_while_two_run(self) -> None:
        process = self.drive()
        self.until(lambda: len(self.records("report")) == 2)
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def records(self, kind: str) -> list[dict[str, Any]]:
        if not (self.directory / "journal.jsonl").exists():
            return []
        return [line.record for line in read(self.directory) if line.record["record"] == kind]

    def end(self) -> dict[str, Any]:
        (self.folder / "go").touch()
        out, err = self.drivers[-1].communicate(timeout=30)
        assert self.drivers[-1].returncode == 0, err
        told: dict[str, Any] = json.loads(out)
        return told

    def starts(self) -> dict[int, int]:
        files = self.folder.glob("started.*")
        return {int(path.suffix[1:]): len(path.read_text().splitlines()) for path in files}

    @property
    def study_id(self) -> str:
        return str(self.records("study")[0]["id"])


@pytest.fixture
def world(tmp_path: Path, program: Callable[[str], str]) -> Iterator[World]:
    world = World(tmp_path, program(WAITS))
    yield world
    for process in world.drivers:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if world.records("study"):
        _processes.sweep("HPO_STUDY", world.study_id, 0.0)


def test_what_still_runs_is_adopted_and_not_run_again(world: World) -> None:
    world.kill_driver_while_two_run()
    assert len(left_of(world.study_id)) >= 2, "they outlive their driver"
    world.drive()
    world.until(lambda: len(list(world.directory.glob("detached/*/adopted"))) == 2)
    told = world.end()
    assert "budget" in told["stop"]
    assert world.starts() == dict.fromkeys(range(1, 5), 1)
    assert world.records("attempt") == []
    finished = {record["trial"]: record for record in world.records("finished")}
    assert {number: record["fom"] for number, record in finished.items()} == {1: 1, 2: 2, 3: 3, 4: 4}
    assert all(record["attempts"] == 1 for record in finished.values())
    assert finished[1]["duration_s"] > 0
    assert gone_within(world.study_id, 5.0)


def test_what_ended_while_nobody_drove_is_adopted_with_all_its_output(world: World) -> None:
    world.kill_driver_while_two_run()
    (world.folder / "go").touch()
    assert gone_within(world.study_id, 10.0)
    world.drive()
    world.end()
    assert world.starts() == dict.fromkeys(range(1, 5), 1)
    assert {record["trial"]: record["fom"] for record in world.records("finished")} == {1: 1, 2: 2, 3: 3, 4: 4}


def test_a_strategy_hears_each_report_of_an_adopted_evaluation_once(world: World) -> None:
    world.kill_driver_while_two_run()
    world.drive()
    heard = Counter(map(tuple, world.end()["heard"]))
    assert heard == Counter({(n, step): 1 for n in range(1, 5) for step in (1.0, 2.0, -1.0)})
    assert Counter(record["trial"] for record in world.records("report")) == dict.fromkeys(range(1, 5), 2)


def test_what_died_while_nobody_drove_runs_again_as_a_new_attempt(world: World) -> None:
    world.kill_driver_while_two_run()
    victim = f"hpo-{world.study_id}-1-1"
    assert _processes.sweep("HPO_EVALUATION", victim, 0.0)
    world.drive()
    world.end()
    assert world.starts() == {1: 2, 2: 1, 3: 1, 4: 1}
    assert [(record["trial"], record["attempt"]) for record in world.records("attempt")] == [(1, 1)]
    assert {record["trial"]: record["attempts"] for record in world.records("finished")} == {1: 2, 2: 1, 3: 1, 4: 1}


def test_adopted_evaluations_keep_their_slots(world: World) -> None:
    """Two slots, two adopted: nothing new starts before one of them ends."""
    world.kill_driver_while_two_run()
    world.drive()
    world.until(lambda: len(world.records("resumed")) == 1)
    time.sleep(0.3)
    assert world.starts() == {1: 1, 2: 1}
    world.end()


def test_killed_again_and_again_each_trial_starts_once(world: World) -> None:
    world.kill_driver_while_two_run()
    for _ in range(3):
        process = world.drive()
        resumed = len(world.records("resumed"))
        world.until(lambda resumed=resumed: len(world.records("resumed")) > resumed)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate()
    world.drive()
    world.end()
    assert world.starts() == dict.fromkeys(range(1, 5), 1)
    assert not os.path.exists(world.directory / "journal.jsonl.torn-0")


def test_hpo_clean_ends_them(world: World) -> None:
    world.kill_driver_while_two_run()
    words = [sys.executable, "-c", CLEAN, str(world.directory)]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "ended process" in out
    assert left_of(world.study_id) == []


CLEAN = f"""
import sys
sys.path.insert(0, {os.path.dirname(detaching.__file__)!r})
from detaching import DetachingLauncher, Listener
from hpo_core.cli import main
from hpo_core.registry import added
with added(DetachingLauncher, Listener):
    main(["clean", sys.argv[1]])
"""
