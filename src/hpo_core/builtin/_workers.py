"""The pilot's workers, one on each node: wanted, started, there, lost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

from attrs import mutable

from hpo_core._pilot import links
from hpo_core.builtin._meeting import Meeting, PilotOptions
from hpo_core.events import EventLoop, NodesLeft, Timer
from hpo_core.exceptions import HpoError
from hpo_core.interfaces import WorkloadManager
from hpo_core.trial import Failure

_PATIENCE_S = 1.0
"""When the loop was busy for long, what was sent meanwhile is heard before anybody is taken for dead."""


@mutable(eq=False)
class Worker:
    """A node's worker, from when it is wanted until it is lost."""

    node: str
    peer: links.Peer | None = None
    useful: bool = False
    """Whether an evaluation has ended on it."""


class Workers:
    """The workers of a study.

    Args:
        events: its loop.
        options: of the launcher.
        manager: starts processes on nodes; None: nobody does.
        came: is told of a node whose worker is there now.
        lost: is told of a node whose worker is not there any more or will not come, why, and what failure that is.
        heard: is told what workers say: which one, the kind of message, its body.
    """

    def __init__(
        self,
        events: EventLoop,
        options: PilotOptions,
        manager: WorkloadManager | None,
        *,
        came: Callable[[str], None],
        lost: Callable[[str, str, Failure], None],
        heard: Callable[[Worker, int, bytes], None],
    ) -> None:
        self._events, self._options, self._manager = events, options, manager
        self._came, self._lost_node, self._heard = came, lost, heard
        self._workers: dict[str, Worker] = {}
        self._wanted: list[Worker] = []
        self._losses: dict[str, int] = {}
        self._anybody_came = False
        self._is_open = True
        self.meeting: Meeting | None = None
        """Set before anybody is wanted."""

    def peers(self) -> dict[str, links.Peer]:
        """Node to worker, of those that are there."""
        return {node: worker.peer for node, worker in self._workers.items() if worker.peer is not None}

    def has(self, node: str) -> bool:
        """Whether the worker of a node is there."""
        worker = self._workers.get(node)
        return worker is not None and worker.peer is not None

    def tell(self, node: str, text: bytes) -> None:
        """Send a message; nobody hears it where there is no worker."""
        worker = self._workers.get(node)
        if worker is not None and worker.peer is not None:
            worker.peer.send(text)

    def want(self, node: str) -> None:
        """Start a worker on a node that has none; all that are wanted in one moment, together."""
        if node not in self._workers:
            worker = self._workers[node] = Worker(node)
            if not self._wanted:
                self._events.call_later(0.0, self._spawn)
            self._wanted.append(worker)

    def arrived(self, peer: links.Peer) -> None:
        """A worker has proved itself."""
        node = peer.handshake.node
        worker = self._workers.setdefault(node, Worker(node))
        if worker.peer is not None:
            peer.refuse("this node has a worker already")
            return
        self._anybody_came = True
        worker.peer = peer
        peer.frame = partial(self._frame, worker)
        peer.lost = partial(self._lost, worker, peer)
        self._came(node)

    def lose(self, node: str, why: str) -> None:
        """Take a worker for lost that says nothing any more."""
        worker = self._workers.get(node)
        if worker is not None and worker.peer is not None:
            self._lost(worker, worker.peer, why)

    def give_up(self, node: str, why: str) -> None:
        """A node is gone: its worker is neither waited for nor heard any more."""
        worker = self._workers.pop(node, None)
        if worker is not None:
            if worker in self._wanted:
                self._wanted.remove(worker)
            if worker.peer is not None:
                worker.peer.close()
            self._losses.pop(node, None)
            self._lost_node(node, why, Failure.NODE_LOST)

    def close(self, bye: bytes, deadline: float) -> None:
        """Tell all to end, and wait until they have gone.

        Args:
            bye: what they are told.
            deadline: until when (`time.monotonic`, s).
        """
        self._is_open = False
        there = list(self.peers().values())
        for peer in there:
            peer.send(bye)
            peer.link.flush()
        for peer in there:
            peer.link.finish(deadline)
        if self.meeting is not None:
            self.meeting.close()
        self._workers.clear()
        self._wanted.clear()

    def later_yet(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call after a delay, and after what came meanwhile has been heard."""

        def due() -> None:
            self._events.call_later(_PATIENCE_S, call)

        return self._events.call_later(delay_s, due)

    def _spawn(self) -> None:
        workers, self._wanted = self._wanted, []
        if not self._is_open or not workers or self.meeting is None:
            return
        timeout_s = self._options.connect_timeout
        self.meeting.expect(timeout_s + _PATIENCE_S)
        python = self._options.python or sys.executable
        words = (python, "-I", "-S", self.meeting.worker_file, self.meeting.config_file)
        ended = partial(self._spawn_ended, workers)
        for worker in workers:
            self.later_yet(timeout_s, partial(self._did_not_come, worker, ""))
        if self._manager is None:
            ended("this launcher has no workload manager")
            return
        try:
            self._manager.spawn(words, [worker.node for worker in workers], ended)
        except HpoError as error:
            ended(str(error))

    def _spawn_ended(self, workers: Sequence[Worker], printed: str) -> None:
        if not self._is_open:
            return
        for worker in workers:
            if self._workers.get(worker.node) is not worker:
                continue
            if worker.peer is None:
                self._did_not_come(worker, printed or "it printed nothing")
            else:  # A connection tells by itself, in a moment; files don't.
                why = printed or "its process has ended"
                self._events.call_later(_PATIENCE_S, partial(self._lost, worker, worker.peer, why))

    def _did_not_come(self, worker: Worker, printed: str) -> None:
        """No worker on this node: a fault of the set-up if there never was one anywhere, else of the node."""
        if not self._is_open or worker.peer is not None or self._workers.get(worker.node) is not worker:
            return
        if printed:
            why = f"the worker on {worker.node} could not be started: {printed}"
        else:
            hint = "" if self.meeting is None else self.meeting.hint()
            why = f"the worker on {worker.node} did not connect within {self._options.connect_timeout:g} s{hint}"
        self._drop(worker, why, Failure.NODE_LOST if self._anybody_came else Failure.COULD_NOT_START)

    def _lost(self, worker: Worker, peer: links.Peer, why: str) -> None:
        if self._is_open and worker.peer is peer and self._workers.get(worker.node) is worker:
            peer.close()
            self._drop(worker, f"the worker on {worker.node} was lost: {why}", Failure.NODE_LOST)

    def _drop(self, worker: Worker, why: str, failure: Failure) -> None:
        node = worker.node
        del self._workers[node]
        self._losses[node] = 0 if worker.useful else self._losses.get(node, 0) + 1
        if self._losses[node] >= self._options.max_losses:
            self._losses[node] = 0
            self._events.post(NodesLeft((node,), f"{why} ({self._options.max_losses} times in a row)"))
        self._lost_node(node, why, failure)

    def _frame(self, worker: Worker, kind: int, body: bytes) -> None:
        if self._is_open:
            self._heard(worker, kind, body)
