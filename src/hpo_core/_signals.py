"""Signals that stop a study, while it runs on the main thread."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from hpo_core.events import EventLoop, Interrupt, RealEventLoop

_TERM_WAIT_S = 2.0


class StopSignals:
    """INT, TERM and HUP stop the study in order; the second one at once. What was ignored stays ignored (nohup).

    Where the loop is stuck in a plugin that hangs, the second one raises KeyboardInterrupt there.

    Args:
        events: where the `Interrupt` goes.
    """

    def __init__(self, events: EventLoop) -> None:
        self._events = events
        self._before: dict[int, Any] = {}
        self._count = 0

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread() or self._events.virtual:
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._handle)

    def __exit__(self, *exception: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1 and self._events.holds(Interrupt):
            # The loop has not even taken the first one: something that it called hangs.
            raise KeyboardInterrupt
        by_hand = number == signal.SIGINT
        name = "Ctrl-C" if by_hand else signal.Signals(number).name
        self._events.post(Interrupt(min(self._count, 2), name, None if by_hand else _TERM_WAIT_S))
        if isinstance(self._events, RealEventLoop):
            self._events.wake()
