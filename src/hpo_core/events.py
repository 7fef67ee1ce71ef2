"""One clock and one place for what happens next.

The study's loop waits here and nowhere else. Launchers and workload managers post events from wherever they
live, a thread or a file descriptor's callback, and never wait for the loop. The virtual loop has the same
methods and no real time: when nothing is left to do now, it jumps to the next thing that is due.
"""

from __future__ import annotations

import heapq
import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from attrs import frozen, mutable

from hpo_core.allocation import Node
from hpo_core.trial import Failure

Key = tuple[int, int]
"""Trial number and attempt."""


@frozen
class Started:
    """An evaluation runs now; its run time and its time limit count from here."""

    key: Key
    where: str = ""
    """What names it outside: process id, job step, pod; for people."""


@frozen
class Output:
    """Bytes that an evaluation wrote; ``stream`` is ``stdout`` or ``stderr``."""

    key: Key
    data: bytes
    stream: str = "stdout"


@frozen
class Ended:
    """An evaluation is over and none of its processes is left.

    Attributes:
        key: trial and attempt.
        exit_code: of the command; None when a signal ended it or it never ran.
        signal: number of the signal that ended it, or None.
        failure: a class that the launcher knows and the loop can't (node lost, could not start), or None.
        message: one sentence for people where ``failure`` is given.
        cpu_s: processor time of the command in seconds, or None where unknown.
        memory_bytes: peak resident memory of the command, or None where unknown.
    """

    key: Key
    exit_code: int | None = None
    signal: int | None = None
    failure: Failure | None = None
    message: str = ""
    cpu_s: float | None = None
    memory_bytes: int | None = None


@frozen
class NodesJoined:
    """Nodes can be used from now on; `more`: whether others of those that were asked for may follow."""

    nodes: tuple[Node, ...]
    more: bool = True


@frozen
class NodesLeft:
    """Nodes are gone. The loop ends what ran on them, and counts it as `failure`."""

    names: tuple[str, ...]
    reason: str = ""
    failure: Failure = Failure.NODE_LOST


@frozen
class AllocationNotice:
    """News of the allocation for people, such as the scheduler's reason for waiting."""

    text: str


@frozen
class AllocationLost:
    """There will be no more nodes."""

    reason: str
    failure: Failure = Failure.ALLOCATION_ENDED


@frozen
class Asked:
    """A slow strategy's answer has come from its thread."""

    answer: object


@frozen
class Interrupt:
    """Somebody wants the study to stop: 1 orderly, 2 at once."""

    level: int = 1
    reason: str = "interrupted"
    wait_s: float | None = None
    """How long running evaluations may go on, or None for the evaluator's own time."""


@frozen
class Wake:
    """Nothing but a reason to look again."""


Event = (
    Started | Output | Ended | NodesJoined | NodesLeft | AllocationNotice | AllocationLost | Asked | Interrupt | Wake
)


@mutable(eq=False)
class Timer:
    """A callback that is due at a time; `cancel` makes it never run."""

    when: float
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        """Never run the callback; harmless after it ran."""
        self.callback = None


class EventLoop(ABC):
    """Time, timers, file descriptors and posted events, for one study at a time."""

    virtual: bool = False
    """Whether time is simulated, so that nothing real may be waited for."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()

    @abstractmethod
    def now(self) -> float:
        """Seconds on a clock that never goes back; its zero means nothing."""

    @abstractmethod
    def post(self, event: Event) -> None:
        """Add an event; from any thread, returns at once."""

    @abstractmethod
    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` on the loop's thread whenever `fd` can be read, until `unwatch`."""

    @abstractmethod
    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`; must come before it is closed."""

    @abstractmethod
    def _sleep(self, until: float | None) -> None:
        """Let things happen, at most until that time, and return as soon as something did."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the loop's thread at time `when` (s) or soon after. Loop's thread only."""
        timer = Timer(when, callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in `delay_s` seconds. Loop's thread only."""
        return self.call_at(self.now() + delay_s, callback)

    def next_events(self, until: float | None = None) -> Sequence[Event]:
        """Wait for events and return all that are there, in order of posting.

        Args:
            until: give up at this time (s) and return nothing; None waits for as long as it takes.
        """
        while True:
            self._run_due_timers()
            if self._events:
                return tuple([self._events.popleft() for _ in range(len(self._events))])
            if until is not None and self.now() >= until:
                return ()
            due = self._timers[0][0] if self._timers else None
            self._sleep(due if until is None else until if due is None else min(until, due))

    def _run_due_timers(self) -> None:
        timers = self._timers
        while timers and (timers[0][2].callback is None or timers[0][0] <= self.now()):
            timer = heapq.heappop(timers)[2]
            if timer.callback is not None:
                callback, timer.callback = timer.callback, None
                callback()

    def holds(self, kind: type) -> bool:
        """Whether an event of this kind waits to be taken."""
        return any(isinstance(event, kind) for event in tuple(self._events))

    def close(self) -> None:
        """Give back what the loop holds of the operating system."""


@mutable(eq=False)
class _Waker:
    """A pipe that makes a sleeping selector return."""

    read_end: int
    write_end: int


class RealEventLoop(EventLoop):
    """The loop of the real world: the system's poll and the monotonic clock."""

    def __init__(self) -> None:
        super().__init__()
        self._watched: dict[int, Callable[[], None]] = {}
        self._poll: select.epoll | select.poll
        self._poll, self._unit_s = (select.epoll(), 1.0) if hasattr(select, "epoll") else (select.poll(), 1e-3)
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        os.set_blocking(write_end, False)
        self._waker = _Waker(read_end, write_end)
        self._thread = threading.get_ident()
        self.watch(read_end, self._drain_waker)

    now = staticmethod(time.monotonic)

    def post(self, event: Event) -> None:
        self._events.append(event)
        if threading.get_ident() != self._thread:
            self.wake()

    def wake(self) -> None:
        """Make a sleeping loop look again; safe from threads and signal handlers."""
        try:
            os.write(self._waker.write_end, b"\0")
        except OSError:
            pass  # The pipe is full, so the loop wakes anyway; or it is closed already.

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        if fd in self._watched:
            raise ValueError(f"file descriptor {fd} is watched already")
        self._poll.register(fd, select.POLLIN)
        self._watched[fd] = callback

    def unwatch(self, fd: int) -> None:
        del self._watched[fd]
        self._poll.unregister(fd)

    def _sleep(self, until: float | None) -> None:
        timeout = None if until is None else max(0.0, until - self.now()) / self._unit_s
        ready = self._poll.poll(timeout)
        if len(ready) == 1:
            self._watched[ready[0][0]]()
            return
        for callback in [self._watched[fd] for fd, _ in ready]:
            callback()

    def _drain_waker(self) -> None:
        try:
            while os.read(self._waker.read_end, 4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        if isinstance(self._poll, select.epoll):
            self._poll.close()
        write_end, self._waker.write_end = self._waker.write_end, -1  # a late post must not write elsewhere
        os.close(self._waker.read_end)
        os.close(write_end)


class VirtualEventLoop(EventLoop):
    """A loop without real time: it jumps to whatever is due next.

    Raises:
        RuntimeError: from `next_events`, when nothing is due and nothing was given to wait for: in the
            real world the study would hang here.
    """

    virtual = True

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def post(self, event: Event) -> None:
        self._events.append(event)

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        raise RuntimeError("a virtual event loop watches no file descriptors: nothing real may be waited for")

    def unwatch(self, fd: int) -> None:
        raise RuntimeError("a virtual event loop watches no file descriptors")

    def _sleep(self, until: float | None) -> None:
        if until is None:
            raise RuntimeError("nothing will ever happen: no event, no timer, and no time to give up at")
        self._now = max(self._now, until)
