"""What is asked of Slurm."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hpo_core.clusters import Answer, Runner
from hpo_slurm import _commands as cmd
from hpo_slurm._commands import Job

_OF_THE_SITE = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS")
"""What tells the commands which cluster is meant."""

_SETTINGS = ("SLURM_", "SQUEUE_", "SCANCEL_")
"""Variables that act as options, most of them set by a job around us for itself."""


def environment() -> dict[str, str]:
    """The driver's variables, without those that change what Slurm's commands do."""
    return {name: text for name, text in os.environ.items() if not name.startswith(_SETTINGS) or name in _OF_THE_SITE}


class Client(Runner):
    """Runs commands of Slurm.

    Args:
        timeout_s: the longest that any of them may take.
    """

    def __init__(self, timeout_s: float = 30.0) -> None:
        super().__init__(environment, timeout_s)

    def ask(self, words: Sequence[str], timeout_s: float | None = None) -> Answer | None:
        """Run a command.

        Returns:
            what it said; None where Slurm did not answer in time, or is not there.
        """
        answer = self.run(words, timeout_s)
        unreachable = answer.code != 0 and ("Unable to contact" in answer.err or "timed out" in answer.err)
        return None if answer.code is None or unreachable else answer

    def job(self, number: int) -> Job | None:
        """How a job stands; its state is empty where Slurm does not know it. None: no answer."""
        answer = self.ask(cmd.job_words(number))
        if answer is None or (answer.code and "Invalid job id" not in answer.err):
            return None
        return cmd.read_job(answer.out) or Job(number, "")

    def jobs(self) -> list[tuple[int, str, str, str]] | None:
        """Id, state, name and comment of all of this user's jobs; None: no answer."""
        answer = self.ask(cmd.jobs_words(os.getuid()))
        return None if answer is None or answer.code else cmd.read_jobs(answer.out)

    def steps(self) -> list[tuple[str, str]] | None:
        """Id and name of all of this user's job steps; None: no answer."""
        answer = self.ask(cmd.steps_words(os.getuid()))
        return None if answer is None or answer.code else cmd.read_steps(answer.out)

    def cancel(self, what: Sequence[str | int], *, signal_name: str = "") -> bool:
        """End jobs and steps, or signal them; what is over already does no harm.

        Returns:
            whether Slurm answered.
        """
        if not what:
            return True
        chosen = ("--signal", signal_name) if signal_name else ()
        return self.ask(("scancel", *chosen, *map(str, what))) is not None
