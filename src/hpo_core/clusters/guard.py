"""A process on the driver's host that gives everything back when the driver is killed.

A program of its own, with nothing but Python's library: ``python guard.py MODULE ARGUMENTS``. The file MODULE has a
class `Left`, a kind of `Leftovers`, which is made with ARGUMENTS. It hears on its standard input, line by line, a word
and a text each, what there is to give back; ``done`` says that the driver has done that itself. If the input ends
without that word, the driver was killed, or could not wait any longer: then the guard ends what is left.
"""

from __future__ import annotations

import os
import runpy
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

_COMMAND_S = 30.0
_PAUSES_S = (0.2, 0.3, 0.5, 1.0, 1.0, 2.0, 2.0, 5.0, 5.0, 10.0, 30.0)
_GIVE_UP_S = 24 * 3600.0


class Leftovers:
    """What a driver leaves behind when it is killed."""

    beat_s: float | None = None
    """Seconds from one `beat` to the next, as long as the driver lives; None: there are none."""

    def hear(self, word: str, text: str) -> None:
        """Take one line of what the driver says."""

    def beat(self, count: int) -> None:
        """Show that the driver lives.

        Args:
            count: how often it was called.
        """

    def begin(self) -> None:
        """The driver has gone: what is done once."""

    def end(self) -> bool:
        """End what is left; called again and again, for a day at most.

        Returns:
            whether the scheduler says that nothing is.
        """
        return True

    def finish(self) -> None:
        """All is over: remove files."""


def repeat(
    end: Callable[[], bool], limit_s: float = _GIVE_UP_S, pauses_s: Sequence[float] = _PAUSES_S, *, times: int = 1
) -> bool:
    """Call a function until it says that nothing is left.

    Args:
        end: ends what is left; returns whether nothing was.
        limit_s: seconds until it is called no more.
        pauses_s: seconds between the calls; the last of them again and again.
        times: how often in a row nothing must be left.

    Returns:
        whether nothing is left.
    """
    until, clear, waits = time.monotonic() + limit_s, 0, list(pauses_s)
    while True:
        clear = clear + 1 if end() else 0
        if clear >= times:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(waits.pop(0) if len(waits) > 1 else waits[0])


def run(*words: str) -> tuple[int | None, str, str]:
    """Exit code, output and errors of a command; the code is None where it failed to run, or took more than 30 s."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_COMMAND_S
        )
    except (OSError, subprocess.SubprocessError):
        return None, "", ""
    return done.returncode, done.stdout, done.stderr


def send(pid: int, number: int) -> None:
    """Signal a process, which may be gone already; 0 is none."""
    if pid:
        try:
            os.kill(pid, number)
        except OSError:
            pass


def runs(pid: int) -> bool:
    """Whether a process is there that is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def _listen(left: Leftovers) -> bool:
    """Hear the driver until it has gone; whether it said that all was given back."""
    done, count, next_beat, heard = False, 0, 0.0, b""
    while True:
        now = time.monotonic()
        if left.beat_s is not None and now >= next_beat:
            count, next_beat = count + 1, now + left.beat_s
            left.beat(count)
        if not select.select([0], [], [], None if left.beat_s is None else max(0.0, next_beat - now))[0]:
            continue
        data = os.read(0, 4096)
        if not data:
            return done
        *lines, heard = (heard + data).split(b"\n")
        for line in lines:
            word, _, text = line.decode(errors="surrogateescape").partition(" ")
            done = done or word == "done"
            left.hear(word, text)


def main(module: str, *arguments: str) -> None:
    """Listen until the input ends, and clean up if that came without a word."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.modules["hpo_core.clusters.guard"] = sys.modules["__main__"]  # for the module, which imports from here
    left: Leftovers = runpy.run_path(module)["Left"](*arguments)
    if not _listen(left):
        left.begin()
        repeat(left.end, times=2)
        left.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
