"""What a driver holds of Slurm, for the guard that gives it back when the driver is killed (`hpo_core.clusters.guard`).

It is made with MARK, the comment that the driver's requests carry, and hears:

    salloc PID      a request is on its way; 0: no longer
    job ID          the allocation that the driver acquired
    name TEXT       job steps with names that begin so are the driver's
    srun PID        a job step's process began, or, with a minus before PID, ended
    folder PATH     a folder to be removed

Job steps get TERM, a second later KILL; requests and allocation are cancelled, found by id and by MARK.
"""

from __future__ import annotations

import os
import shutil
import signal
import time

from hpo_core.clusters.guard import Leftovers, run, send

_GRACE_S = 1.0


class Left(Leftovers):
    """What a driver leaves behind when it is killed."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.salloc = 0
        self.job = ""
        self.names: tuple[str, ...] = ()
        self.sruns: set[int] = set()
        self.folder = ""

    def hear(self, word: str, text: str) -> None:
        if word == "salloc":
            self.salloc = int(text)
        elif word == "job":
            self.job = text
        elif word == "name":
            self.names = (*self.names, text)
        elif word == "srun" and text.startswith("-"):
            self.sruns.discard(int(text[1:]))
        elif word == "srun":
            self.sruns.add(int(text))
        elif word == "folder":
            self.folder = text

    def steps(self) -> list[str] | None:
        """Ids of the driver's job steps; None: no answer."""
        if not self.names:
            return []
        rows = _squeue("--steps", "%i|%j")
        return None if rows is None else [step for step, name in rows if name.startswith(self.names)]

    def jobs(self) -> list[str] | None:
        """Ids of the jobs that the driver asked for; None: no answer."""
        rows = _squeue("%i|%k")
        return None if rows is None else [job for job, comment in rows if job == self.job or comment == self.mark]

    def begin(self) -> None:
        send(self.salloc, signal.SIGTERM)
        steps = self.steps()
        if steps:
            run("scancel", "--signal=TERM", *steps)
            time.sleep(_GRACE_S)
        for pid in self.sruns:
            send(pid, signal.SIGTERM)

    def end(self) -> bool:
        jobs, steps = self.jobs(), self.steps()
        left = [*(steps or ()), *(jobs or ())]
        if left:
            run("scancel", *left)
        return jobs == [] and steps == []

    def finish(self) -> None:
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def _squeue(*words: str) -> list[tuple[str, str]] | None:
    *options, form = words
    code, text, _ = run("squeue", "--noheader", f"--user={os.getuid()}", *options, f"--format={form}")
    if code != 0:
        return None
    pairs = (line.strip().partition("|") for line in text.splitlines())
    return [(first, second) for first, _, second in pairs if first]
