"""A thread that does one thing after the other, and hands that do for it what takes time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from hpo_k8s._connection import Stopped

_HANDS = 8
_TICK_S = 0.5


class Desk:
    """Whoever works here owns its state alone: all that happens is told, and done in that order on one thread.

    Args:
        name: of its threads.
        tick: called now and then on that thread while `busy` says so.
        busy: asked on that thread.
        broken: takes the exception that ended the thread.
    """

    def __init__(
        self, name: str, tick: Callable[[], None], busy: Callable[[], bool], broken: Callable[[Exception], None]
    ) -> None:
        self._tick, self._busy, self._broken = tick, busy, broken
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._hands = ThreadPoolExecutor(_HANDS, f"{name}-hand")
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def tell(self, what: Callable[..., None], *arguments: Any) -> None:
        """Have something done on the thread; from any other."""
        self._queue.put(partial(what, *arguments))

    def ask(
        self,
        request: Callable[[], Any],
        then: Callable[[Any], None],
        otherwise: Callable[[Exception], None],
        pool: ThreadPoolExecutor | None = None,
    ) -> Future[None]:
        """Do on a hand what takes time, and go on with its answer, or its fault, on the thread.

        Args:
            request: what takes time; nothing follows where it was `Stopped`.
            then: takes its answer.
            otherwise: takes its fault.
            pool: other hands.
        """
        return (pool or self._hands).submit(self._do, request, then, otherwise)

    def stop(self) -> None:
        """Do nothing more; returns when all threads have ended."""
        self._queue.put(None)
        self._thread.join()
        self._hands.shutdown(cancel_futures=True)

    def _do(
        self, request: Callable[[], Any], then: Callable[[Any], None], otherwise: Callable[[Exception], None]
    ) -> None:
        try:
            answer = request()
        except Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - it must not be lost with the thread
            self.tell(otherwise, error)
        else:
            self.tell(then, answer)

    def _run(self) -> None:
        next_s = time.monotonic() + _TICK_S
        try:
            while True:
                try:
                    call = self._queue.get(timeout=max(0.0, next_s - time.monotonic()) if self._busy() else None)
                except queue.Empty:
                    pass
                else:
                    if call is None:
                        return
                    call()
                if time.monotonic() >= next_s:
                    next_s = time.monotonic() + _TICK_S
                    self._tick()
        except Exception as error:
            self._broken(error)
            raise
