"""A driver in a process of its own, and a look at what is left running."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo_core import _processes
from hpo_core.journal import read

DRIVER = """
import sys, json
import hpo_core as hpo
settings = json.loads(sys.argv[1])
directory, study, evaluator = settings["directory"], settings["study"], settings["evaluator"]
params = hpo.Params([["--x", 0.5, (0.0, 1.0)], ["--n", 3, (1, 9)]])
study = hpo.Study(params, hpo.Evaluator(**evaluator), directory=directory, resume_if_exists=True, **study)
print("ready", flush=True)
study.optimize()
print("stopped:", study.stop_detail, flush=True)
"""


class Driver:
    """A driver in a process of its own."""

    def __init__(self, directory: Path, evaluator: dict[str, Any], study: dict[str, Any]) -> None:
        settings = json.dumps({"directory": str(directory), "evaluator": evaluator, "study": study})
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, settings],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_until(self, condition: Callable[[], bool], limit_s: float = 20.0) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.01)

    def wait_for_processes(self, count: int) -> None:
        journal = self.directory / "journal.jsonl"
        self.wait_until(lambda: journal.exists() and journal.stat().st_size > 0)
        self.wait_until(lambda: len(left_of(self.study_id)) >= count)

    def wait_for_results(self, count: int) -> None:
        """Until it has begun, and so many trials are recorded."""
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.wait_until(lambda: len(self.records("finished")) >= count)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self, limit_s: float = 30.0) -> tuple[str, str]:
        return self.process.communicate(timeout=limit_s)

    @property
    def study_id(self) -> str:
        return str(next(iter(read(self.directory))).record["id"])

    def records(self, kind: str) -> list[dict[str, Any]]:
        return [line.record for line in read(self.directory) if line.record["record"] == kind]


def left_of(study_id: str) -> list[int]:
    """Processes of a study that are alive."""
    return _processes.find("HPO_STUDY", study_id)


def gone_within(study_id: str, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while left_of(study_id):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
