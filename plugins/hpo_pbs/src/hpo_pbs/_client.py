"""The commands of PBS on this host: found, run, understood."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from hpo_core import AllocationError
from hpo_core.clusters import Runner
from hpo_pbs._answers import Answer, Job, read_table, read_versions, sequence
from hpo_pbs._dialect import DIALECTS, Dialect

_DETECT_S = 5.0


class Client(Runner):
    """Runs commands of PBS, each with a limit of time.

    Args:
        timeout_s: that limit.

    Attributes:
        dialect: whose commands they are.
        folder: where qstat is.
        why_not: one sentence, where `find` found nothing.
    """

    def __init__(self, timeout_s: float = 30.0) -> None:
        super().__init__(environment, timeout_s)
        self.dialect = Dialect()
        self.folder = self.why_not = ""

    def find(self, timeout_s: float = _DETECT_S) -> str | None:
        """Find the commands, and whose they are.

        Returns:
            what `qstat --version` said; None: see `why_not`.
        """
        self.why_not = "there is no 'qstat', neither on PATH nor where /etc/pbs.conf says that PBS is"
        qstat = find_program("qstat")
        if not qstat:
            return None
        answer = self.run((qstat, "--version"), timeout_s)
        said = f"{answer.out}\n{answer.err}"
        dialect = DIALECTS.get(read_versions(said))
        if dialect is None:
            self.why_not = (
                f"{qstat} does not say that it is of PBS or Torque ('qstat --version'"
                + (f" did not answer within {timeout_s:g} s" if answer.code is None else "")
                + "); Slurm and Grid Engine have a program of that name too"
            )
            return None
        self.dialect, self.folder = dialect(), os.path.dirname(qstat)
        missing = [name for name in ("qsub", "qdel", "qselect") if not find_program(name)]
        if missing:
            self.why_not = f"there is a 'qstat' of PBS in {self.folder}, but no {' and no '.join(missing)}"
            return None
        return " ".join(said.split())

    def need(self) -> None:
        """Find the commands.

        Raises:
            AllocationError: they are not there.
        """
        if self.find(self.timeout_s) is None:
            raise AllocationError(f"no PBS on this machine: {self.why_not}")

    def answers(self) -> bool:
        """Whether the server answers now."""
        return self.named("hpo", _DETECT_S).code == 0

    def program(self, name: str) -> str:
        """The path of a command: what a user would get, since sites have their own before those of PBS."""
        return find_program(name) or os.path.join(self.folder, name)

    def call(
        self,
        words: Sequence[str],
        timeout_s: float | None = None,
        *,
        out: Path | None = None,
        started: Callable[[int], None] | None = None,
    ) -> Answer:
        """Run a command, and wait for it; see `Runner.run`."""
        answer = self.run((self.program(words[0]), *words[1:]), timeout_s, out=out, started=started)
        return self.dialect.answer(answer.code, answer.out, answer.err)

    def job(self, number: str) -> Job | None:
        """How a job stands; its state is empty where PBS knows it no more. None: no answer."""
        for history in (False, True):
            words = self.dialect.status(number, history=history)
            if words is None:
                break
            answer = self.call(words)
            try:
                job = self.dialect.read(answer, number)
            except ValueError:
                return self.job(number)  # in the other form, from now on
            if job is not None:
                return job
            if not answer.gone and not (history and not answer.silent):
                return None
        return Job(number, "")

    def named(self, name: str, timeout_s: float | None = None) -> Answer:
        """Ids of this user's jobs of a name that are not over."""
        return self.call(self.selection(name), timeout_s)

    def shows(self, job: str, text: str) -> bool | None:
        """Whether a text stands in what PBS says of a job; None: no answer."""
        answer = self.call(("qstat", "-f", job))
        if answer.code != 0 and not answer.gone:
            return None
        return text in answer.out.replace("\n\t", "")

    def selection(self, name: str) -> tuple[str, ...]:
        """The command that asks for this user's jobs of a name that are not over; the name is its last word."""
        return self.dialect.select(pwd.getpwuid(os.getuid()).pw_name, name)

    def left(self, jobs: Sequence[str]) -> list[str]:
        """Which of these jobs are not over, as far as PBS answers."""
        return [job for job in jobs if not self._is_over(job)]

    def _is_over(self, job: str) -> bool:
        """Whether plain ``qstat ID`` says that a job is gone, or shows it in a state in which it is over."""
        answer = self.call(("qstat", job))
        return answer.gone or read_table(answer.out).get(sequence(job)) in self.dialect.over


def environment() -> dict[str, str]:
    """The driver's variables, with messages and times in English."""
    return {**os.environ, "LC_ALL": "C"}


def find_program(name: str) -> str | None:
    """A command on PATH, where pbs.conf says, or where PBS usually is."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join([*_configured(), "/opt/pbs/bin"]))


def _configured() -> list[str]:
    try:
        text = Path(os.environ.get("PBS_CONF_FILE", "/etc/pbs.conf")).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [os.path.join(value.strip(), "bin") for value in re.findall(r"^PBS_EXEC=(.*)$", text, re.MULTILINE)]
