"""A command of PBS, run beside the study's loop, which never waits for it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from hpo_core.events import EventLoop, Timer
from hpo_pbs._answers import Answer

_CHUNK = 64 * 1024


class Command:
    """A child process in a session of its own, so that a Ctrl-C does not reach it; killed when it takes too long.

    Args:
        words: the program and its arguments.
        environment: its variables.
        timeout_s: the longest that it may take.
        then: is told what it said, once, on the loop's thread.
        out: a file for what it prints; None: it stands in the answer.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        timeout_s: float,
        then: Callable[[Answer], None],
        *,
        out: Path | None = None,
    ) -> None:
        self._then = then
        self._until = time.monotonic() + timeout_s
        self._events: EventLoop | None = None
        self._timer: Timer | None = None
        self._heard = {"out": b"", "err": b""}
        self._pipes: dict[int, str] = {}
        self._late = False
        self._failure = ""
        try:
            with open(os.devnull if out is None else out, "wb") as file:
                self._process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if out is None else file,
                    stderr=subprocess.PIPE,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            self._failure = f"{words[0]} cannot be started: {error.strerror}"
            return
        for name, stream in (("out", self._process.stdout), ("err", self._process.stderr)):
            if stream is not None:
                fd = os.dup(stream.fileno())
                stream.close()
                os.set_blocking(fd, False)
                self._pipes[fd] = name

    @property
    def pid(self) -> int:
        """Its process id; 0 where it could not be started."""
        return 0 if self._failure else self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet, as far as was heard."""
        return bool(self._pipes)

    def listen(self, events: EventLoop) -> None:
        """Hear it on this loop from now on; whatever loop it was on before is closed, or heard of no more."""
        self._leave()
        self._events = events
        if not self._pipes:
            events.call_later(0.0, self._tell)
            return
        for fd in self._pipes:
            events.watch(fd, partial(self._read, fd))
        self._timer = events.call_at(events.now() + max(0.0, self._until - time.monotonic()), self._kill)

    def wait(self, limit_s: float) -> bool:
        """Wait for its end, on no loop.

        Returns:
            whether it has ended; then everything was told.
        """
        self._leave()
        until = min(self._until, time.monotonic() + limit_s)
        if not self._pipes:
            self._tell()
            return True
        while self._pipes and time.monotonic() < until:
            for fd in select.select(list(self._pipes), [], [], max(0.0, until - time.monotonic()))[0]:
                self._read(fd)
        if self._pipes and time.monotonic() >= self._until:
            self._kill()
        return not self._pipes

    def abandon(self) -> None:
        """Kill it and hear no more of it."""
        self._then = _nothing
        if self._pipes:
            self._kill()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._events is not None:
            for fd in self._pipes:
                _unwatch(self._events, fd)
        self._events = None

    def _read(self, fd: int) -> None:
        name = self._pipes.get(fd)
        if name is None:
            return
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        self._heard[name] += data
        if not data:
            del self._pipes[fd]
            if self._events is not None:
                _unwatch(self._events, fd)
            os.close(fd)
            if not self._pipes:
                self._end()

    def _kill(self) -> None:
        self._late = True
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._leave()
        for fd in self._pipes:
            os.close(fd)
        self._pipes.clear()
        self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            self._process.wait(max(0.0, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._late = True
            self._process.kill()
            self._process.wait()
        self._tell()

    def _tell(self) -> None:
        then, self._then = self._then, _nothing
        if self._failure:
            then(Answer(None, "", self._failure))
            return
        out, err = (self._heard[name].decode(errors="replace") for name in ("out", "err"))
        then(Answer(None if self._late else self._process.returncode, out, err))


def _nothing(answer: Answer) -> None:
    pass


def _unwatch(events: EventLoop, fd: int) -> None:
    try:
        events.unwatch(fd)
    except (KeyError, ValueError, RuntimeError):
        pass  # that loop was closed
