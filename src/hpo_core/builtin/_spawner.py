"""Programs of ours that run on this machine for as long as they are needed: what a manager's `spawn` starts."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Sequence

from attrs import field, mutable

from hpo_core import _engine, _processes
from hpo_core.events import EventLoop

_SOONEST_S, _LATEST_S = 0.02, 0.5
_TERM_S = 3.0
_TOLD_AT_MOST = 2000
_PRINTED = re.compile(r"hpo-spawned-(\d+)-")


@mutable(eq=False)
class _Batch:
    """What one call has started."""

    printed: str
    """A file with all that they print."""
    ended: Callable[[str], None]
    pids: list[int] = field(factory=list)
    failure: str = ""


class Spawner:
    """Starts programs in sessions of their own. It looks now and then whether they run, and holds no file open."""

    def __init__(self) -> None:
        self._batches: list[_Batch] = []

    def spawn(
        self, events: EventLoop, words: Sequence[str], nodes: Sequence[str], ended: Callable[[str], None]
    ) -> None:
        """Start a program once for each name; see `WorkloadManager.spawn`.

        Args:
            events: on whose thread `ended` is called.
            words: the program and its arguments.
            nodes: each process finds its own in ``HPO_NODE``.
            ended: gets what was last printed, once none of them runs.
        """
        import tempfile

        _remove_stale(tempfile.gettempdir())
        fd, path = tempfile.mkstemp(prefix=f"hpo-spawned-{os.getpid()}-")
        batch = _Batch(path, ended)
        self._batches.append(batch)
        try:
            for node in nodes:
                batch.pids.append(
                    os.posix_spawnp(
                        words[0],
                        tuple(words),
                        {**_engine.inherited(), b"HPO_NODE": os.fsencode(node)},
                        file_actions=[
                            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                            (os.POSIX_SPAWN_OPEN, 1, path, os.O_WRONLY | os.O_APPEND, 0),
                            (os.POSIX_SPAWN_DUP2, 1, 2),
                        ],
                        setsid=True,
                        setsigmask=[],
                    )
                )
        except OSError as error:
            batch.failure = f"cannot start {words[0]}: {error.strerror}"
        finally:
            os.close(fd)
        events.call_later(0.0 if batch.failure else _SOONEST_S, lambda: self._look(events, batch, _SOONEST_S))

    def close(self) -> None:
        """End what still runs, TERM before KILL, and wait for it; nobody is told any more."""
        for number, limit_s in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, _TERM_S)):
            deadline = time.monotonic() + limit_s
            for batch in self._batches:
                for pid in _left(batch):
                    os.killpg(pid, number)
            while any(_left(batch) for batch in self._batches) and time.monotonic() < deadline:
                time.sleep(0.01)
        for batch in self._batches:
            _read_and_remove(batch.printed)
        self._batches.clear()

    def _look(self, events: EventLoop, batch: _Batch, pause_s: float) -> None:
        if batch not in self._batches:
            return
        if _left(batch):
            pause_s = min(pause_s * 1.5, _LATEST_S)
            events.call_later(pause_s, lambda: self._look(events, batch, pause_s))
            return
        self._batches.remove(batch)
        printed = _read_and_remove(batch.printed)
        batch.ended(batch.failure or printed)


def _left(batch: _Batch) -> list[int]:
    """Those that still run; the others are reaped."""
    left = []
    for pid in batch.pids:
        try:
            if not os.waitpid(pid, os.WNOHANG)[0]:
                left.append(pid)
        except ChildProcessError:
            pass  # somebody else waited for it
    batch.pids = left
    return left


def _remove_stale(folder: str) -> None:
    """Remove what drivers that were killed have left, if it is this user's."""
    for name in os.listdir(folder) if _processes.can_find() else ():
        match = _PRINTED.match(name)
        if match and not _processes.started(int(match[1])):
            try:
                os.unlink(os.path.join(folder, name))
            except OSError:
                pass  # somebody else's


def _read_and_remove(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            text = file.read()
        os.unlink(path)
    except OSError:
        return ""
    return text[-_TOLD_AT_MOST:].strip()
