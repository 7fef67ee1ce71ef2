"""Calls to a strategy: on the loop's thread, or on one thread of its own where the strategy says it is slow."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from hpo_core.events import Asked, EventLoop

T = TypeVar("T")


class Asker(ABC):
    """Makes calls one after the other, in order of `submit`."""

    pending: int = 0
    """Calls submitted whose answers have not been taken up."""

    @abstractmethod
    def submit(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        """Make the call; then, on the loop's thread, pass on what it returned."""

    def close(self, *, wait: bool) -> None:
        """No more calls will come; those that have not begun are dropped.

        Args:
            wait: until a call that has begun is over: nobody else may use the strategy before that.
        """


class InlineAsker(Asker):
    """Calls at once."""

    def submit(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        then(call())


class ThreadAsker(Asker):
    """Calls on a thread of its own; answers come as `Asked` events, errors are raised on the loop's thread."""

    def __init__(self, events: EventLoop, name: str = "hpo-strategy") -> None:
        self._events = events
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        self.pending += 1
        self._calls.put((call, then))

    def close(self, *, wait: bool) -> None:
        self._closed = True
        self._calls.put(None)
        if wait:
            self._thread.join()

    def _work(self) -> None:
        while (item := self._calls.get()) is not None and not self._closed:
            answer = _answer(*item)
            self._events.post(Asked(partial(self._take_up, answer)))

    def _take_up(self, answer: Callable[[], None]) -> None:
        self.pending -= 1
        answer()


def _answer(call: Callable[[], Any], then: Callable[[Any], None]) -> Callable[[], None]:
    """Make the call; gives what is to be done with its outcome on the loop's thread."""
    try:
        return partial(then, call())
    except BaseException as error:  # noqa: BLE001 - raised again on the loop's thread
        caught = error

        def fail() -> None:
            raise caught

        return fail


def take_up(event: Asked) -> None:
    """Go on with the answer that an event brought."""
    if callable(event.answer):
        event.answer()
