"""How long evaluations take, learned from those that ended, so that none begins that its nodes would not outlive."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from hpo_core.allocation import Node

_QUANTILE = 0.9
_MARGIN = 0.1
"""Share of a node's remaining time that is kept at the most for ending what runs on it."""


class Lifetimes:
    """Expected run times, and the time at which a node is to be cleared.

    Args:
        limit_s: longest time of one evaluation in seconds, or None.
        grace_s: seconds that evaluations get to end.
        durations_s: run times of earlier evaluations in seconds, the last one last.
    """

    LAST = 64
    """Evaluations that are remembered."""

    def __init__(self, limit_s: float | None, grace_s: float, durations_s: Iterable[float] = ()) -> None:
        self._limit_s = limit_s
        self._grace_s = grace_s
        self._durations_s = deque(durations_s, maxlen=self.LAST)
        self._expected_s: float | None = None

    def took(self, duration_s: float) -> None:
        """An evaluation ended by itself after so many seconds."""
        self._durations_s.append(duration_s)
        self._expected_s = None

    @property
    def expected_s(self) -> float:
        """Seconds within which nine of ten evaluations end, by the last ones; 0 before the first."""
        if self._expected_s is None:
            ordered = sorted(self._durations_s)
            self._expected_s = ordered[int(_QUANTILE * (len(ordered) - 1) + 0.5)] if ordered else 0.0
            if self._limit_s is not None:
                self._expected_s = min(self._expected_s, self._limit_s)
        return self._expected_s

    def cleared_in_time(self, node: Node, now_s: float) -> Node:
        """The node with the time at which evaluations on it are ended, which is before it is taken away."""
        if node.ends_at is None:
            return node
        margin_s = min(self._grace_s, _MARGIN * max(0.0, node.ends_at - now_s))
        return attrs.evolve(node, ends_at=node.ends_at - margin_s)
