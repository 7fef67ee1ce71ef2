"""Workload managers that are wrong in one way each, and the check of the kit that finds each out."""

import subprocess
import sys
import time
from typing import ClassVar

import attrs
import pytest

from hpo_core.allocation import AllocationRequest, Node
from hpo_core.builtin.local import LocalManager
from hpo_core.builtin.simulated import SimulatedManager
from hpo_core.events import AllocationLost, NodesJoined
from hpo_core.testing import WorkloadManagerContract


class ForgetsANode(SimulatedManager):
    def acquire(self, request, events):
        super().acquire(attrs.evolve(request, nodes=max(1, request.nodes - 1)), events)


class ForgetsOnAttach(SimulatedManager):
    """Tells the next study of one node only."""

    def attach(self, events):
        events.post(NodesJoined((next(iter(self._nodes.values())),)))


class NeverTimesOut(SimulatedManager):
    """Keeps its nodes when their time is over."""

    def _walltime(self, events):
        pass


class WaitsForEverForNodes(SimulatedManager):
    """Asks for more nodes than there are, and waits."""

    def acquire(self, request, events):
        pass


class KeepsLostNodes(SimulatedManager):
    """Says that the allocation is over, and not that its nodes are gone."""

    def _join(self):
        super()._join()
        self._events.post(AllocationLost("over"))


class TooFewSlots(LocalManager):
    def acquire(self, request, events):
        super().acquire(attrs.evolve(request, slots=1), events)


class SameNames(SimulatedManager):
    def acquire(self, request, events):
        events.post(NodesJoined(tuple(Node("node") for _ in range(request.nodes))))


class Leaks(LocalManager):
    """Keeps its allocation alive with a process that it forgets."""

    def acquire(self, request, events):
        self.kept = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        super().acquire(request, events)


class LeaksOutside(LocalManager):
    """Has a job in the queue that it does not cancel."""

    queue: ClassVar[list[str]] = []

    def acquire(self, request, events):
        self.queue.append("job")
        super().acquire(request, events)


class ReleasesOnce(LocalManager):
    def acquire(self, request, events):
        self.jobs = ["job"]
        super().acquire(request, events)

    def release(self):
        self.jobs.pop()


class NeedsAnAllocation(LocalManager):
    def release(self):
        assert self._node is not None


class OneLoop(LocalManager):
    loop = None

    def event_loop(self):
        self.loop = self.loop or super().event_loop()
        return self.loop


class Waits(LocalManager):
    """Waits in acquire until the nodes are there."""

    def acquire(self, request, events):
        time.sleep(0.3)
        super().acquire(request, events)


class DetectsLoudly(LocalManager):
    @classmethod
    def detect(cls):
        return True


WANTED = AllocationRequest(nodes=1, slots=2)
MANAGERS = [
    (NeverTimesOut, "test_nodes_go_when_their_time_is_over", (WANTED,)),
    (WaitsForEverForNodes, "test_says_that_nodes_never_come", (attrs.evolve(WANTED, nodes=10**6),)),
    (KeepsLostNodes, "test_nodes_go_when_their_time_is_over", (WANTED,)),
    (ForgetsANode, "test_acquire_gives_all_nodes", (WANTED,)),
    (SameNames, "test_acquire_gives_all_nodes", (WANTED,)),
    (ForgetsOnAttach, "test_attach_gives_all_nodes_again", (WANTED,)),
    (TooFewSlots, "test_acquire_gives_what_was_asked_for", (WANTED,)),
    (Waits, "test_acquire_gives_what_was_asked_for", (WANTED,)),
    (ReleasesOnce, "test_release_is_harmless_twice", (WANTED,)),
    (NeedsAnAllocation, "test_release_is_harmless_before_acquire", ()),
    (OneLoop, "test_event_loop_works", ()),
    (DetectsLoudly, "test_detects_or_not", ()),
    (Leaks, "test_release_gives_everything_back", (WANTED, None)),
    (LeaksOutside, "test_release_gives_everything_back", (WANTED, lambda: list(LeaksOutside.queue))),
]


@pytest.mark.parametrize(
    ("mutant", "check", "more"), MANAGERS, ids=[f"{mutant.__name__}-{check}" for mutant, check, _ in MANAGERS]
)
def test_wrong_managers_are_caught(mutant, check, more):
    contract, manager = WorkloadManagerContract(), mutant()
    contract.patience_s, contract.acquire_within_s = 0.5, 0.2
    try:
        method = getattr(contract, check)
        with pytest.raises((AssertionError, AttributeError, IndexError)):
            method(manager, *more)
    finally:
        if isinstance(manager, Leaks):
            manager.kept.kill()
            manager.kept.wait()
        if isinstance(manager, OneLoop):
            manager.loop.close()
