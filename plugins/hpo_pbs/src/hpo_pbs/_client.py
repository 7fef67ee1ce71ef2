"""The commands of PBS on this host: found, run, understood."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from hpo_core import AllocationError
from hpo_core.events import EventLoop
from hpo_pbs._answers import Answer, read_versions, sequence
from hpo_pbs._command import Command
from hpo_pbs._dialect import DIALECTS, Dialect

_DETECT_S = 5.0


class Client:
    """Runs commands of PBS, each with a limit of time.

    Args:
        timeout_s: that limit.

    Attributes:
        dialect: whose commands they are.
        folder: where they are.
    """

    def __init__(self, timeout_s: float = 30.0) -> None:
        self.timeout_s = timeout_s
        self.dialect = Dialect()
        self.folder = ""

    def find(self) -> str | None:
        """Find the commands, and whose they are.

        Returns:
            what `qstat --version` said; None: there are none, or they belong to something else.
        """
        qstat = find_program("qstat")
        if not qstat:
            return None
        answer = _run((qstat, "--version"))
        said = f"{answer.out}\n{answer.err}"
        dialect = DIALECTS.get(read_versions(said))
        if dialect is None:
            return None
        self.dialect, self.folder = dialect(), os.path.dirname(qstat)
        return " ".join(said.split())

    def need(self) -> None:
        """Find the commands.

        Raises:
            AllocationError: they are not there.
        """
        if self.find() is not None:
            return
        qstat = find_program("qstat")
        why = (
            f"{qstat} does not say that it is of PBS or Torque ('qstat --version'); Slurm and Grid Engine have a "
            "program of that name too"
            if qstat
            else "there is no 'qstat', neither on PATH nor where /etc/pbs.conf says that PBS is"
        )
        raise AllocationError(f"no PBS on this machine: {why}")

    def answers(self) -> bool:
        """Whether the server answers now."""
        return _run((self.program("qselect"), "-u", _user(), "-N", "hpo")).code == 0

    def program(self, name: str) -> str:
        """The path of a command."""
        return os.path.join(self.folder, name)

    def start(self, words: Sequence[str], then: Callable[[Answer], None], *, out: Path | None = None) -> Command:
        """Run a command that nobody listens to yet; see `Command`."""
        return Command((self.program(words[0]), *words[1:]), environment(), self.timeout_s, then, out=out)

    def ask(self, events: EventLoop, words: Sequence[str], then: Callable[[Answer], None]) -> Command:
        """Run a command, and tell what it said on the loop's thread."""
        command = self.start(words, then)
        command.listen(events)
        return command

    def call(self, words: Sequence[str], timeout_s: float | None = None) -> Answer:
        """Run a command, and wait for it."""
        return _run((self.program(words[0]), *words[1:]), self.timeout_s if timeout_s is None else timeout_s)

    def qdel(self, jobs: Sequence[str], *, force: bool = False) -> tuple[str, ...]:
        """The words that delete jobs."""
        return ("qdel", *(("-W", "force") if force else ()), *jobs)

    def qselect(self, name: str) -> tuple[str, ...]:
        """The words that ask for this user's jobs of a name that are not over."""
        return ("qselect", "-u", _user(), "-N", name)

    def says_over(self, answer: Answer, job: str) -> bool:
        """Whether plain ``qstat ID`` shows a state in which a job is over."""
        rows = [line.split() for line in answer.out.splitlines() if re.match(rf"{sequence(job)}\b", line)]
        return any(len(row) > 4 and row[-2] in self.dialect.over for row in rows)


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


def _run(words: Sequence[str], timeout_s: float = _DETECT_S) -> Answer:
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment(),
            timeout=timeout_s,
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Answer(None, "", str(error))
    return Answer(done.returncode, done.stdout, done.stderr)


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
