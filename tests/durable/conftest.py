"""What the tests of durability share: small programs, and drivers that may be killed."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from driving import Driver
from hpo_core import _processes


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Start drivers; whatever a test leaves of them is ended."""
    drivers: list[Driver] = []

    def start(*, study: dict[str, Any] | None = None, **evaluator: Any) -> Driver:
        settings = {"workload_manager": "local", **evaluator}
        driver = Driver(tmp_path / "study", settings, {"seed": 5, **(study or {})})
        drivers.append(driver)
        return driver

    yield start
    for driver in drivers:
        if driver.process.poll() is None:
            driver.signal(signal.SIGKILL)
            driver.process.communicate()
        if (driver.directory / "journal.jsonl").exists():
            _processes.sweep("HPO_STUDY", driver.study_id, 0.0)


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Write a Python program and get the command that runs it."""

    def write(text: str, name: str = "program.py") -> str:
        (tmp_path / name).write_text("import os, sys, time, signal, subprocess\n" + text)
        return f"{sys.executable} -S {tmp_path / name}"

    return write
