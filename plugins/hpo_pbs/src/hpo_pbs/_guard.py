"""A process on the driver's host that shows its life to the job, and gives everything back when it is killed.

A program of its own, with nothing but Python's library: ``python _guard.py FOLDER BEAT_S QDEL QSTAT FORCES``. Every
BEAT_S seconds it changes FOLDER/heartbeat. It hears on its standard input, line by line, what there is to give back:

    qsub PID FILE   a job is being asked for; its id will stand in FILE. 0: no longer
    job ID          a job of the driver
    gone ID         that job is over
    done            all was given back by the driver itself

If the input ends without ``done``, the driver was killed, or could not wait any longer. The guard then deletes the
jobs, by force where they don't end by themselves (FORCES is 1), again and again until PBS says that they are gone.
Then it removes FOLDER. The heartbeat stops at once, so that the job ends itself even where nobody can reach PBS.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time

_COMMAND_S = 30.0
_QSUB_S = 120.0
_FORCE_AFTER_S = 15.0
_AGAIN_S = (0.3, 0.5, 0.5, 1.0, 1.0, 2.0, 2.0, 5.0, 5.0, 10.0, 30.0)
_GIVE_UP_S = 24 * 3600.0


class Left:
    """What a driver leaves behind when it is killed."""

    def __init__(self, folder: str, qdel: str, qstat: str, *, forces: bool) -> None:
        self.folder = folder
        self.qdel, self.qstat, self.forces = qdel, qstat, forces
        self.qsub, self.submitted = 0, ""
        self.jobs: set[str] = set()
        self.done = False

    def hear(self, line: str) -> None:
        """Take one line of what the driver says."""
        word, _, text = line.partition(" ")
        if word == "qsub":
            pid, _, self.submitted = text.partition(" ")
            self.qsub = int(pid)
        elif word == "job":
            self.jobs.add(text)
        elif word == "gone":
            self.jobs.discard(text)
        elif word == "done":
            self.done = True

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

    def give_back(self) -> None:
        """End it all, and see that it is gone."""
        self.wait_for_qsub()
        begin, waits, deleted_at = time.monotonic(), list(_AGAIN_S), 0.0
        while self.jobs and time.monotonic() < begin + _GIVE_UP_S:
            self.jobs -= {job for job in self.jobs if self.is_gone(job)}
            if self.jobs and time.monotonic() > deleted_at + 5.0:
                late = self.forces and deleted_at and time.monotonic() > begin + _FORCE_AFTER_S
                _run(self.qdel, *(("-W", "force") if late else ()), *sorted(self.jobs))
                deleted_at = time.monotonic()
            if self.jobs:
                time.sleep(waits.pop(0) if len(waits) > 1 else waits[0])
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_for_qsub(self) -> None:
        """A job that is being asked for gets its id first."""
        until = time.monotonic() + _QSUB_S
        while self.qsub and _runs(self.qsub) and time.monotonic() < until:
            time.sleep(0.1)
        if self.submitted:
            try:
                with open(self.submitted) as file:
                    words = file.read().split()
            except OSError:
                return
            if words and re.match(r"\d+(\.|$)", words[-1]):
                self.jobs.add(words[-1])

    def is_gone(self, job: str) -> bool:
        """Whether PBS says that a job is over; without an answer it is not."""
        code, out = _run(self.qstat, job)
        if code in (35, 153):
            return True
        rows = [line.split() for line in out.splitlines() if line.startswith(job.partition(".")[0] + ".")]
        return code == 0 and any(len(row) > 4 and row[-2] in ("F", "X", "C") for row in rows)


def _run(*words: str) -> tuple[int, str]:
    """Exit code and output of a command; 255 where it failed to run, or took too long."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_COMMAND_S,
        )
    except (OSError, subprocess.SubprocessError):
        return 255, ""
    return done.returncode, done.stdout


def _runs(pid: int) -> bool:
    """Whether a process is there that is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def main(folder: str, beat_s: float, qdel: str, qstat: str, forces: str) -> None:
    """Listen until the input ends, and clean up if that came without a word."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left = Left(folder, qdel, qstat, forces=forces == "1")
    count, next_beat, heard = 0, 0.0, b""
    while True:
        now = time.monotonic()
        if now >= next_beat:
            count, next_beat = count + 1, now + beat_s
            left.beat(count)
        if not select.select([0], [], [], max(0.0, next_beat - now))[0]:
            continue
        data = os.read(0, 4096)
        if not data:
            break
        *lines, heard = (heard + data).split(b"\n")
        for line in lines:
            left.hear(line.decode(errors="surrogateescape"))
    if not left.done:
        left.give_back()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:6])
