"""Jobs are given back: deleted, by force where they take too long, until PBS says that they are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hpo_core.events import EventLoop, RealEventLoop, Timer, Wake
from hpo_pbs._answers import Answer
from hpo_pbs._client import Client
from hpo_pbs._command import Command

FORCE_AFTER_S = 15.0
_SOONEST_S, _LATEST_S = 0.2, 3.0
_AGAIN_S = 5.0


class Deletion:
    """Deletes jobs, beside the loop.

    Args:
        client: of PBS.
        jobs: their ids.
        done: is told once all are gone.
    """

    def __init__(self, client: Client, jobs: Iterable[str], done: Callable[[], None]) -> None:
        self.left = list(jobs)
        self._client, self._done = client, done
        self._pause_s = _SOONEST_S
        self._begin_s: float | None = None
        self._deleted_s: float | None = None
        self._command: Command | None = None
        self._timer: Timer | None = None

    def go_on(self, events: EventLoop) -> None:
        """Begin, or go on on another loop."""
        self._events = events
        if self._begin_s is None:
            self._begin_s = events.now()
        if self._command is not None and self._command.runs:
            self._command.listen(events)
        else:
            self._timer = events.call_later(0.0, self._delete)

    def abandon(self) -> None:
        """Do no more about it."""
        self._done = _nothing
        if self._timer is not None:
            self._timer.cancel()
        if self._command is not None:
            self._command.abandon()

    def finish(self, limit_s: float) -> bool:
        """Go on, and wait for it.

        Returns:
            whether all are gone.
        """
        events = RealEventLoop()
        done = self._done

        def over() -> None:
            done()
            events.post(Wake())

        self._done = over
        self.go_on(events)
        until = events.now() + limit_s
        while self.left and events.now() < until:
            events.next_events(until)
        if self.left:
            self.abandon()
        events.close()
        return not self.left

    def _delete(self) -> None:
        now = self._events.now()
        late = self._client.dialect.forces and self._begin_s is not None and now > self._begin_s + FORCE_AFTER_S
        self._deleted_s = now
        self._command = self._client.ask(self._events, self._client.qdel(self.left, force=late), self._look_soon)

    def _look_soon(self, answer: Answer) -> None:
        if answer.silent:
            self._deleted_s = None
        self._again(answer)

    def _look(self) -> None:
        words = ("qstat", self.left[0])
        self._command = self._client.ask(self._events, words, self._looked)

    def _looked(self, answer: Answer) -> None:
        if answer.gone or self._client.says_over(answer, self.left[0]):
            del self.left[0]
            self._pause_s = _SOONEST_S
        if not self.left:
            self._done()
            return
        self._again(answer)

    def _again(self, answer: Answer) -> None:
        self._pause_s = min(self._pause_s * (3 if answer.silent else 1.5), _LATEST_S)
        due = self._deleted_s is None or self._events.now() > self._deleted_s + _AGAIN_S
        self._timer = self._events.call_later(self._pause_s, self._delete if due else self._look)


def _nothing() -> None:
    pass
