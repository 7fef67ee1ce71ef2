"""A process on the driver's host that gives everything back when the driver is killed.

A program of its own, with nothing but Python's library: ``python _guard.py MARK``. It hears on its standard
input, line by line, what there is to give back:

    salloc PID      a request is on its way; 0: no longer
    job ID          the allocation that the driver acquired
    name TEXT       job steps with names that begin so are the driver's
    srun PID        a job step's process began, or, with a minus before PID, ended
    folder PATH     a folder to be removed
    done            all was given back by the driver itself

If the input ends without ``done``, the driver was killed. The guard then ends its job steps (TERM, a second later
KILL), its requests and its allocation, found by id and by MARK, the comment that they carry; again and again until
Slurm confirms that nothing is left. Then it removes the folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

_COMMAND_S = 30.0
_GRACE_S = 1.0
_AGAIN_S = (0.2, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_GIVE_UP_S = 24 * 3600.0


class Left:
    """What a driver leaves behind when it is killed."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.salloc = 0
        self.job = ""
        self.names: tuple[str, ...] = ()
        self.sruns: set[int] = set()
        self.folder = ""
        self.done = False

    def hear(self, line: str) -> None:
        """Take one line of what the driver says."""
        word, _, text = line.partition(" ")
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
        elif word == "done":
            self.done = True

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

    def give_back(self) -> None:
        """End it all, and see that it is gone."""
        _signal(self.salloc, signal.SIGTERM)
        steps = self.steps()
        if steps:
            _run("scancel", "--signal=TERM", *steps)
            time.sleep(_GRACE_S)
        for pid in self.sruns:
            _signal(pid, signal.SIGTERM)
        until, clear, waits = time.monotonic() + _GIVE_UP_S, 0, list(_AGAIN_S)
        while time.monotonic() < until and clear < 2:
            jobs, steps = self.jobs(), self.steps()
            clear = clear + 1 if jobs == [] and steps == [] else 0
            if steps:
                _run("scancel", *steps)
            if jobs:
                _run("scancel", *jobs)
            time.sleep(waits.pop(0) if len(waits) > 1 else waits[0])


def _squeue(*words: str) -> list[tuple[str, str]] | None:
    *options, form = words
    text = _run("squeue", "--noheader", f"--user={os.getuid()}", *options, f"--format={form}")
    if text is None:
        return None
    pairs = (line.strip().partition("|") for line in text.splitlines())
    return [(first, second) for first, _, second in pairs if first]


def _run(*words: str) -> str | None:
    """What a command prints; None where it failed or took too long."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _signal(pid: int, number: int) -> None:
    if pid:
        try:
            os.kill(pid, number)
        except OSError:
            pass  # It is gone.


def main(mark: str) -> None:
    """Listen until the input ends, and clean up if that came without a word."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left = Left(mark)
    for line in sys.stdin:
        left.hear(line.strip())
    if not left.done:
        left.give_back()
        if left.folder:
            shutil.rmtree(left.folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
