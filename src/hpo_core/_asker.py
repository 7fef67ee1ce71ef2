"""Calls to a strategy: on the loop's thread, or on one thread of its own where the strategy says it is slow."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from hpo_core.events import Asked, EventLoop

T = TypeVar("T")


class Asker(ABC):
    """Makes calls one after the other, in order of `submit`."""

    @abstractmethod
    def submit(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        """Make the call; then, on the loop's thread, pass on what it returned."""

    def close(self) -> None:
        """No more calls will come."""


class InlineAsker(Asker):
    """Calls at once."""

    def submit(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        then(call())


class ThreadAsker(Asker):
    """Calls on a thread of its own; answers come as `Asked` events, errors are raised on the loop's thread."""

    def __init__(self, events: EventLoop) -> None:
        self._events = events
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="hpo-strategy", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        self._calls.put((call, then))

    def close(self) -> None:
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, then = item
            self._events.post(Asked(_Answer.of(call, then)))


class _Answer:
    """What a call came to, to be taken up on the loop's thread."""

    def __init__(self, take_up: Callable[[], None]) -> None:
        self.take_up = take_up

    @classmethod
    def of(cls, call: Callable[[], Any], then: Callable[[Any], None]) -> _Answer:
        try:
            value = call()
        except BaseException as error:  # noqa: BLE001 - raised again on the loop's thread
            caught = error

            def fail() -> None:
                raise caught

            return cls(fail)
        return cls(lambda: then(value))


def take_up(event: Asked) -> None:
    """Go on with the answer that an event brought."""
    answer = event.answer
    if isinstance(answer, _Answer):
        answer.take_up()
