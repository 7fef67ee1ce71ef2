"""How an allocation stands, as the study's loop is told."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from hpo_core.allocation import Node
from hpo_core.events import AllocationLost, AllocationNotice, EventLoop, NodesJoined, NodesLeft
from hpo_core.trial import Failure


class Standing:
    """The nodes that the loop was told of, and the end of them all; used from any thread.

    Attributes:
        words: how it stands, for people: what `WorkloadManager.explain` gives.
        lost: that there will be no more nodes, once that was told.
    """

    def __init__(self, words: str = "no allocation was asked for yet") -> None:
        self.words = words
        self.lost: AllocationLost | None = None
        self._events: EventLoop | None = None
        self._nodes: dict[str, Node] = {}
        self._said = ""
        self._lock = threading.RLock()

    def begin(self, events: EventLoop) -> None:
        """A new allocation is asked for: there is no node yet."""
        with self._lock:
            self._events, self.lost = events, None
            self._nodes, self._said = {}, ""

    def attach(self, events: EventLoop) -> None:
        """Tell another loop from now on, beginning with what is there."""
        with self._lock:
            self._events, self._said = events, ""
            if self._nodes:
                events.post(NodesJoined(tuple(self._nodes.values()), more=False))
            if self.lost is not None:
                events.post(self.lost)

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes that are there, in order."""
        with self._lock:
            return tuple(self._nodes)

    def holds(self, name: str) -> bool:
        """Whether a node is there."""
        return name in self._nodes

    def join(self, nodes: Iterable[Node]) -> None:
        """Nodes can be used from now on."""
        with self._lock:
            joined = {node.name: node for node in nodes if node.name not in self._nodes}
            self._nodes |= joined
            if joined:
                self._post(NodesJoined(tuple(joined.values()), more=False))

    def leave(self, names: Sequence[str], reason: str, failure: Failure = Failure.NODE_LOST) -> None:
        """Nodes are gone; those that were not there are passed over."""
        with self._lock:
            left = tuple(name for name in names if self._nodes.pop(name, None) is not None)
            if left:
                self._post(NodesLeft(left, reason, failure))

    def leave_all(self, reason: str, failure: Failure) -> None:
        """All nodes are gone; others may come."""
        self.leave(self.names, reason, failure)

    def lose(self, reason: str, failure: Failure = Failure.ALLOCATION_ENDED) -> None:
        """There will be no more nodes; told once."""
        with self._lock:
            if self.lost is None:
                self.words = reason
                self.leave_all(reason, failure)
                self.lost = AllocationLost(reason, failure)
                self._post(self.lost)

    def say(self, text: str) -> None:
        """Tell people, where it is news."""
        with self._lock:
            if text != self._said:
                self._said = text
                self.notice(text)

    def notice(self, text: str) -> None:
        """Tell people."""
        with self._lock:
            self._post(AllocationNotice(text))

    def end(self, words: str) -> None:
        """The allocation was given back: nothing is told any more."""
        with self._lock:
            self.words = words
            self._nodes = {}

    def _post(self, event: NodesJoined | NodesLeft | AllocationLost | AllocationNotice) -> None:
        if self._events is not None:
            self._events.post(event)
