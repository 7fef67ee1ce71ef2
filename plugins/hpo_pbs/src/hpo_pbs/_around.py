"""A driver inside a PBS job: the job around it, and its script, which then runs beside us."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

from hpo_pbs._client import Client


def around() -> str | None:
    """The job that this process is part of, as its environment says."""
    job, nodes = os.environ.get("PBS_JOBID"), os.environ.get("PBS_NODEFILE")
    if not job or not nodes or os.environ.get("SLURM_JOB_ID") or not os.access(nodes, os.R_OK):
        return None
    return job


def job_around(client: Client, notice: Callable[[str], None]) -> str | None:
    """The job that this process is part of; None: there is none, or it is over."""
    job = around()
    if job is not None and not client.left([job]):
        notice(f"PBS_JOBID={job} in the environment is over; a new allocation is asked for")
        return None
    return job


class Script:
    """The job's script, on the node where we are.

    Args:
        path: of the script.
    """

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None as long as it runs."""
        return self._process.poll()

    def close(self) -> None:
        """End it: TERM, and KILL 5 s later."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                pass  # it was gone already
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                continue
            return
