"""What a driver holds of PBS, for the guard that gives it back when the driver is killed (`hpo_core.clusters.guard`).

It is made with SETTINGS, a JSON object:

    folder, beat_s                   every beat_s seconds FOLDER/heartbeat is changed
    qstat, qdel, force               commands, and what makes qdel end a job by force
    qselect, name                    the command that lists jobs of a name that are not over, but for that name
    gone                             exit codes of qstat for jobs that are over or unknown

It hears:

    qsub PID FILE   a job is being asked for; its id will stand in FILE. 0: no longer
    job ID          a job of the driver
    gone ID         that job is over
    script PID      the job's script runs beside the driver, in a job that is not ours

Jobs are deleted, by force where they don't end by themselves, until PBS says that they are gone; then FOLDER is
removed. A job of a qsub that never gave its id is found by its name, and known by FOLDER in its words. The heartbeat
stops at once, so that a job ends itself even where nobody can reach PBS.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time

from hpo_core.clusters.guard import Leftovers, run, runs, send

_QSUB_S = 120.0
_FORCE_AFTER_S = 15.0
_AGAIN_S = 5.0


def read_id(text: str) -> str | None:
    """As `hpo_pbs._answers.read_id`, which can't be imported here."""
    found = [line.strip() for line in text.splitlines() if re.fullmatch(r"\s*\d+(\.[\w.-]+)?\s*", line)]
    return next((line for line in reversed(found) if "." in line), found[-1] if found else None)


class Left(Leftovers):
    """What a driver leaves behind when it is killed."""

    def __init__(self, settings: str) -> None:
        given = json.loads(settings)
        self.folder, self.beat_s, self.name = given["folder"], given["beat_s"], given["name"]
        self.qstat, self.qdel, self.qselect = given["qstat"], given["qdel"], given["qselect"]
        self.force, self.gone = given["force"], given["gone"]
        self.qsub, self.submitted, self.script = 0, "", 0
        self.jobs: set[str] = set()
        self.searches = False
        self.deleted_at: float | None = None

    def hear(self, word: str, text: str) -> None:
        if word == "qsub":
            pid, _, self.submitted = text.partition(" ")
            self.qsub = int(pid)
        elif word == "job":
            self.jobs.add(text)
        elif word == "gone":
            self.jobs.discard(text)
        elif word == "script":
            self.script = int(text)

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
        send(self.script, signal.SIGTERM)
        self.began = time.monotonic()
        while self.qsub and runs(self.qsub) and time.monotonic() < self.began + _QSUB_S:
            time.sleep(0.1)
        if self.submitted:
            try:
                with open(self.submitted, errors="replace") as file:
                    job = read_id(file.read())
            except OSError:
                job = None
            if job is None:
                self.searches = True
            else:
                self.jobs.add(job)

    def end(self) -> bool:
        searched = self.search()
        self.jobs -= {job for job in self.jobs if self.is_gone(job)}
        now = time.monotonic()
        if self.jobs and (self.deleted_at is None or now > self.deleted_at + _AGAIN_S):
            late = self.deleted_at is not None and now > self.began + _FORCE_AFTER_S
            run(self.qdel, *(self.force if late else ()), *sorted(self.jobs))
            self.deleted_at = now
        return searched and not self.jobs

    def search(self) -> bool:
        """Find a job whose id is not known; whether PBS answered, or there is none."""
        if not self.searches:
            return True
        code, out, _ = run(*self.qselect, self.name)
        if code != 0:
            return False
        answers = {job: run(self.qstat, "-f", job) for job in out.split() if job not in self.jobs}
        self.jobs |= {job for job, (_, said, _) in answers.items() if self.folder in said.replace("\n\t", "")}
        return all(code == 0 or code in self.gone for code, _, _ in answers.values())

    def is_gone(self, job: str) -> bool:
        """Whether PBS says that a job is over; without an answer it is not."""
        code, out, _ = run(self.qstat, job)
        if code in self.gone:
            return True
        rows = [line.split() for line in out.splitlines() if line.startswith(job.partition(".")[0] + ".")]
        return code == 0 and any(len(row) > 4 and row[-2] in ("F", "X", "C") for row in rows)

    def finish(self) -> None:
        if not self.jobs:
            shutil.rmtree(self.folder, ignore_errors=True)
