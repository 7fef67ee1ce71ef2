"""The one thread that talks to a scheduler, so that the study's loop never waits for it."""

from __future__ import annotations

import os
import threading
import traceback
from collections import deque
from collections.abc import Callable

from hpo_core.events import EventLoop, RealEventLoop, Timer, Wake


class Clerk:
    """A thread with an event loop of its own.

    Args:
        name: of the thread.
        failed: is told, in that thread, of a fault of ours; the thread ends then.
    """

    def __init__(self, name: str, failed: Callable[[str], None]) -> None:
        self._failed = failed
        self._calls: deque[Callable[[], None]] = deque()
        self._events = RealEventLoop()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Call a function in the clerk's thread, after those that were given before; from any thread."""
        self._calls.append(function)
        if not self._closed:
            self._events.post(Wake())
            self._events.wake()

    def call_later(self, delay_s: float, function: Callable[[], None]) -> Timer:
        """Call a function later; clerk's thread only."""
        return self._events.call_later(delay_s, function)

    def watch(self, fd: int, function: Callable[[], None]) -> None:
        """Call a function whenever `fd` can be read; clerk's thread only."""
        self._events.watch(fd, function)

    def unwatch(self, fd: int) -> None:
        """Stop watching, before `fd` is closed; in the clerk's thread, or harmless once that has ended."""
        if not self._closed:
            self._events.unwatch(fd)

    def now(self) -> float:
        """The same clock as the loop's of a study."""
        return self._events.now()

    def close(self) -> None:
        """Let the running call end, and drop the others."""
        self._closed = True
        self._events.post(Wake())
        self._events.wake()
        self._thread.join()
        self._events.close()

    def _run(self) -> None:
        try:
            while not self._closed:
                while self._calls and not self._closed:
                    self._calls.popleft()()
                if not self._closed:
                    self._events.next_events()
        except Exception:  # noqa: BLE001 - a thread that dies unheard would leave the study waiting for ever
            self._failed(f"a fault in {self._thread.name}:\n{traceback.format_exc()}")


class LoopCalls:
    """Calls functions on the thread of a study's loop, from any other.

    Args:
        events: the loop; this is made on its thread.
    """

    def __init__(self, events: EventLoop) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._events = events
        self._lock = threading.Lock()
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        events.watch(self._read_end, self._run)

    def call(self, function: Callable[[], None]) -> None:
        """Call a function on the loop's thread soon; never, once this is closed."""
        self._calls.append(function)
        with self._lock:
            if self._write_end >= 0:
                try:
                    os.write(self._write_end, b"\0")
                except BlockingIOError:
                    pass  # so many are waiting that it wakes anyway

    def close(self) -> None:
        """Drop what was not called yet; loop's thread."""
        with self._lock:
            write_end, self._write_end = self._write_end, -1
        if write_end >= 0:
            try:
                self._events.unwatch(self._read_end)
            except (KeyError, ValueError, RuntimeError):
                pass  # that loop was closed before
            os.close(self._read_end)
            os.close(write_end)
            self._calls.clear()

    def _run(self) -> None:
        try:
            os.read(self._read_end, 4096)
        except BlockingIOError:
            pass
        for _ in range(len(self._calls)):
            if self._calls:
                self._calls.popleft()()
