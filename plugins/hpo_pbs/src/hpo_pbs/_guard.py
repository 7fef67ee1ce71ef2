"""What a driver holds of PBS, for the guard that gives it back when the driver is killed (`hpo_core.clusters.guard`).

It is made with FOLDER BEAT_S QDEL QSTAT FORCES. Every BEAT_S seconds it changes FOLDER/heartbeat. It hears:

    qsub PID FILE   a job is being asked for; its id will stand in FILE. 0: no longer
    job ID          a job of the driver
    gone ID         that job is over

Jobs are deleted, by force where they don't end by themselves (FORCES is 1), until PBS says that they are gone; then
FOLDER is removed. The heartbeat stops at once, so that a job ends itself even where nobody can reach PBS.
"""

from __future__ import annotations

import os
import re
import shutil
import time

from hpo_core.clusters.guard import Leftovers, run, runs

_QSUB_S = 120.0
_FORCE_AFTER_S = 15.0
_AGAIN_S = 5.0


class Left(Leftovers):
    """What a driver leaves behind when it is killed."""

    def __init__(self, folder: str, beat_s: str, qdel: str, qstat: str, forces: str) -> None:
        self.folder, self.beat_s = folder, float(beat_s)
        self.qdel, self.qstat, self.forces = qdel, qstat, forces == "1"
        self.qsub, self.submitted = 0, ""
        self.jobs: set[str] = set()
        self.deleted_at: float | None = None

    def hear(self, word: str, text: str) -> None:
        if word == "qsub":
            pid, _, self.submitted = text.partition(" ")
            self.qsub = int(pid)
        elif word == "job":
            self.jobs.add(text)
        elif word == "gone":
            self.jobs.discard(text)

    def beat(self, count: int) -> None:
        """Change the file; in place, since a disk that is full lets that be done."""
        try:
            fd = os.open(os.path.join(self.folder, "heartbeat"), os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError:
            return
        try:
            os.pwrite(fd, b"%010d\n" % count, 0)
        except OSError:
            pass
        finally:
            os.close(fd)

    def begin(self) -> None:
        """A job that is being asked for gets its id first."""
        self.began = time.monotonic()
        while self.qsub and runs(self.qsub) and time.monotonic() < self.began + _QSUB_S:
            time.sleep(0.1)
        if self.submitted:
            try:
                with open(self.submitted) as file:
                    words = file.read().split()
            except OSError:
                return
            if words and re.match(r"\d+(\.|$)", words[-1]):
                self.jobs.add(words[-1])

    def end(self) -> bool:
        self.jobs -= {job for job in self.jobs if self.is_gone(job)}
        now = time.monotonic()
        if self.jobs and (self.deleted_at is None or now > self.deleted_at + _AGAIN_S):
            late = self.forces and self.deleted_at is not None and now > self.began + _FORCE_AFTER_S
            run(self.qdel, *(("-W", "force") if late else ()), *sorted(self.jobs))
            self.deleted_at = now
        return not self.jobs

    def is_gone(self, job: str) -> bool:
        """Whether PBS says that a job is over; without an answer it is not."""
        code, out, _ = run(self.qstat, job)
        if code in (35, 153):
            return True
        rows = [line.split() for line in out.splitlines() if line.startswith(job.partition(".")[0] + ".")]
        return code == 0 and any(len(row) > 4 and row[-2] in ("F", "X", "C") for row in rows)

    def finish(self) -> None:
        if not self.jobs:
            shutil.rmtree(self.folder, ignore_errors=True)
