"""When a scheduler is asked again."""

from __future__ import annotations

import time
from collections.abc import Callable

_SOONEST_S = 0.5
_SILENCE_S = 30.0
"""A silence that is worth a word."""
_MOST_BACKOFF_S = 60.0


class Looks:
    """The pauses between looks at a job: short at first, and ever longer while nobody answers, up to a minute.

    Args:
        who: what is asked, for people, such as ``the PBS server``.
        poll_s: seconds between looks when all goes well.
        notice: is told of a silence of half a minute, and of its end.
    """

    def __init__(self, who: str, poll_s: float, notice: Callable[[str], None]) -> None:
        self._who, self._poll_s, self._notice = who, poll_s, notice
        self._silent_since: float | None = None
        self._told = False
        self._pause_s = _SOONEST_S
        self._wait_s = 0.0

    @property
    def silent(self) -> bool:
        """Whether there was no answer when it was last asked."""
        return self._silent_since is not None

    def begin(self) -> None:
        """Another job is looked at."""
        self._pause_s = _SOONEST_S

    def no_answer(self) -> None:
        """Nobody answered, which says nothing of the job."""
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > _SILENCE_S and not self._told:
            self._told = True
            self._notice(f"{self._who} does not answer; what runs goes on, nothing new can be started")

    def answered(self) -> None:
        """Somebody answered."""
        self._silent_since, self._wait_s = None, 0.0
        if self._told:
            self._told = False
            self._notice(f"{self._who} answers again")

    def next_s(self, *, soon: bool = False) -> float:
        """Seconds until the next look.

        Args:
            soon: something is about to change.
        """
        if self.silent:
            self._wait_s = min(max(self._wait_s * 2, self._pause_s), max(_MOST_BACKOFF_S, self._poll_s))
            return self._wait_s
        pause_s, self._pause_s = min(self._pause_s, self._poll_s), min(self._pause_s * 2, self._poll_s)
        return min(_SOONEST_S, self._poll_s) if soon else pause_s
