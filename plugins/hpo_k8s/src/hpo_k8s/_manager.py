"""Nothing is allocated on Kubernetes: a node here is room for one pod."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from hpo_core import AllocationRequest, Capability, Failure, Node, WorkloadManager
from hpo_core.events import EventLoop, NodesJoined, NodesLeft


class K8sManager(WorkloadManager):
    """As many slots as pods may run at the same time; the cluster's scheduler places them.

    Kubernetes has to be named: ``workload_manager="auto"`` never chooses it, since it needs an image too.
    """

    name = "k8s"
    interface_version = 1
    default_launcher = "k8s"
    capabilities = frozenset({Capability.MULTI_NODE})

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._lock = threading.Lock()
        self._here: tuple[Node, ...] = ()
        self._withdrawn: tuple[Node, ...] = ()
        self._events: EventLoop | None = None

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        count = max(request.nodes, request.slots * request.nodes_per_eval)
        self._here = tuple(Node(f"pod-{number}") for number in range(1, count + 1))
        self.attach(events)

    def attach(self, events: EventLoop) -> None:
        with self._lock:
            self._events = events
            self._here, self._withdrawn = (*self._here, *self._withdrawn), ()
        events.post(NodesJoined(self._here))

    def release(self) -> None:
        """Nothing was taken."""
        self._events = None

    def withdraw(self, names: Collection[str], reason: str) -> bool:
        """Use fewer slots, as a quota leaves no room for these.

        Returns:
            whether they were withdrawn: at least as many always stay.
        """
        with self._lock:
            gone = tuple(node for node in self._here if node.name in names)
            events = self._events
            if events is None or not gone or len(self._here) < 2 * len(gone):
                return False
            self._here = tuple(node for node in self._here if node not in gone)
            self._withdrawn += gone
        events.post(NodesLeft(tuple(node.name for node in gone), reason, Failure.PREEMPTED))
        return True

    def restore(self) -> None:
        """Try the slots again that were withdrawn."""
        with self._lock:
            back, self._withdrawn = self._withdrawn, ()
            events = self._events
            self._here += back
        if back and events is not None:
            events.post(NodesJoined(back))
