"""Slurm's commands, run politely: one at a time for a purpose, each with a limit of time."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence

from attrs import frozen

from hpo_slurm import _commands as cmd
from hpo_slurm._commands import Job

_OF_THE_SITE = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS")
"""What tells the commands which cluster is meant."""

_SETTINGS = ("SLURM_", "SQUEUE_", "SCANCEL_")
"""Variables that act as options, most of them set by a job around us for itself."""


def environment() -> dict[str, str]:
    """The driver's variables, without those that change what Slurm's commands do."""
    return {name: text for name, text in os.environ.items() if not name.startswith(_SETTINGS) or name in _OF_THE_SITE}


@frozen
class Answer:
    """What a command said.

    Attributes:
        code: its exit code.
        out, err: what it printed.
    """

    code: int
    out: str
    err: str

    @property
    def unreachable(self) -> bool:
        """Whether the controller did not answer."""
        return self.code != 0 and ("Unable to contact" in self.err or "timed out" in self.err)


class Client:
    """Runs commands of Slurm.

    Args:
        timeout_s: the longest that any of them may take.
    """

    def __init__(self, timeout_s: float = 30.0) -> None:
        self.timeout_s = timeout_s
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._aborted = False

    def run(self, words: Sequence[str], timeout_s: float | None = None) -> Answer | None:
        """Run a command to its end.

        Returns:
            what it said; None where Slurm did not answer in time, or is not there.
        """
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError:
            return None
        with process:
            with self._lock:
                self._running.add(process)
                if self._aborted:
                    process.kill()
            try:
                out, err = process.communicate(timeout=self.timeout_s if timeout_s is None else timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return None
            finally:
                with self._lock:
                    self._running.discard(process)
        answer = Answer(process.returncode, out, err)
        return None if answer.unreachable or process.returncode < 0 else answer

    def abort(self) -> None:
        """End what runs in other threads; it is as if Slurm had not answered."""
        with self._lock:
            self._aborted = True
            for process in self._running:
                process.kill()

    def job(self, number: int) -> Job | None:
        """How a job stands; its state is empty where Slurm does not know it. None: no answer."""
        answer = self.run(cmd.job_words(number))
        if answer is None or (answer.code and "Invalid job id" not in answer.err):
            return None
        return cmd.read_job(answer.out) or Job(number, "")

    def jobs(self) -> list[tuple[int, str, str, str]] | None:
        """Id, state, name and comment of all of this user's jobs; None: no answer."""
        answer = self.run(cmd.jobs_words(os.getuid()))
        return None if answer is None or answer.code else cmd.read_jobs(answer.out)

    def steps(self) -> list[tuple[str, str]] | None:
        """Id and name of all of this user's job steps; None: no answer."""
        answer = self.run(cmd.steps_words(os.getuid()))
        return None if answer is None or answer.code else cmd.read_steps(answer.out)

    def cancel(self, what: Sequence[str | int], *, signal_name: str = "") -> bool:
        """End jobs and steps, or signal them; what is over already does no harm.

        Returns:
            whether Slurm answered.
        """
        if not what:
            return True
        chosen = ("--signal", signal_name) if signal_name else ()
        return self.run(("scancel", *chosen, *map(str, what))) is not None
