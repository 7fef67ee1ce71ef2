"""Whether a node still runs programs: a job step that does nothing."""

from __future__ import annotations

from collections.abc import Callable

from hpo_core.events import EventLoop
from hpo_slurm._child import Child
from hpo_slurm._client import environment
from hpo_slurm._commands import srun_words
from hpo_slurm._manager import SlurmManager
from hpo_slurm._verdict import judge

_PROBE_S = 30.0


class Probes:
    """Tries nodes; several who ask for one at the same time share the answer.

    Args:
        events: on whose thread answers are given.
    """

    def __init__(self, events: EventLoop) -> None:
        self._events = events
        self._waiting: dict[str, list[Callable[[bool], None]]] = {}
        self.children: set[Child] = set()
        """What runs."""

    def try_node(self, manager: SlurmManager, node: str, then: Callable[[bool], None]) -> None:
        """Start a step on a node, and tell whether that works."""
        if node in self._waiting:
            self._waiting[node].append(then)
            return
        if not manager.holds(node):
            then(False)
            return
        self._waiting[node] = [then]
        words = (*srun_words(manager.job or 0, (node,), "hpo-probe", arguments=("--chdir=/",)), "true")
        said: list[bytes] = []

        def over(code: int) -> None:
            self.children.discard(child)
            timer.cancel()
            verdict = judge(code, b"".join(said).decode(errors="replace"), "")
            works = code == 0 or (code > 0 and not verdict.node)
            for waiting in self._waiting.pop(node):
                waiting(works)

        try:
            child = Child(self._events, lambda _: words, environment(), lambda _, data: said.append(data), over)
        except OSError:
            del self._waiting[node]
            then(True)
            return
        self.children.add(child)
        timer = self._events.call_later(_PROBE_S, child.kill)
