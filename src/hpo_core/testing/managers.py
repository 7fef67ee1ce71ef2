"""The contract of workload managers: subclass it in your tests, give it a fixture, run pytest."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import attrs
import pytest

from hpo_core.allocation import AllocationRequest, Node
from hpo_core.events import AllocationLost, Event, EventLoop, NodesJoined, NodesLeft
from hpo_core.exceptions import AllocationError
from hpo_core.interfaces import INTERFACE_VERSION, Capability, WorkloadManager


class WorkloadManagerContract:
    """What every workload manager promises.

    Subclasses define the fixture `manager`, and may define `wanted`, `held`, `brief` and `impossible`::

        class TestMine(WorkloadManagerContract):
            @pytest.fixture
            def manager(self):
                return MyManager()
    """

    patience_s: ClassVar[float] = 60.0
    """The longest wait for nodes (s); more for clusters that take their time."""
    acquire_within_s: ClassVar[float] = 10.0
    """The longest that `acquire` may take: it asks, and waits for nothing."""
    late_s: ClassVar[float] = 60.0
    """How much later than announced nodes may go (s): schedulers look at the clock now and then."""
    most_nodes: ClassVar[int] = 3
    """Nodes that the check for several nodes asks for."""

    @pytest.fixture
    def manager(self) -> Iterator[WorkloadManager] | WorkloadManager:
        """A manager to be tested, without an allocation."""
        raise NotImplementedError("define the fixture 'manager'")

    @pytest.fixture
    def wanted(self) -> AllocationRequest:
        """What is asked for."""
        return AllocationRequest(nodes=1, slots=2, timeout_s=120.0, name="hpo-contract")

    @pytest.fixture
    def held(self) -> Callable[[], object] | None:
        """Says what this manager holds outside, such as the names of its jobs in the queue; None: nobody knows.

        It is compared before `acquire` and after `release`.
        """
        return None

    @pytest.fixture
    def brief(self) -> AllocationRequest | None:
        """Asks for nodes that are taken away within `patience_s`; None: this manager's nodes stay, or go much later."""
        return None

    @pytest.fixture
    def impossible(self) -> AllocationRequest | None:
        """Asks for what can never be had, such as more nodes than there are; None: there is no such thing."""
        return None

    @pytest.fixture
    def released(self, manager: WorkloadManager) -> Iterator[WorkloadManager]:
        """The manager; its allocation is given back after the check."""
        yield manager
        manager.release()

    def test_declares_itself(self, manager: WorkloadManager) -> None:
        """A manager has a name, a launcher that goes with it, its most nodes, options, a known interface version."""
        assert manager.name.strip() == manager.name != ""
        assert manager.default_launcher.strip()
        assert manager.max_nodes is None or manager.max_nodes >= 1
        assert all(isinstance(one, Capability) for one in manager.capabilities)
        assert manager.interface_version == INTERFACE_VERSION
        assert manager.Options is None or attrs.has(manager.Options)

    def test_detects_or_not(self, manager: WorkloadManager) -> None:
        """Detecting answers None or one line that says what answered, and raises nothing."""
        found = type(manager).detect()
        assert found is None or (isinstance(found, str) and found.strip() and "\n" not in found)

    def test_event_loop_works(self, manager: WorkloadManager) -> None:
        """Each study gets a loop of its own that posts, waits, calls back, and closes."""
        events, other = manager.event_loop(), manager.event_loop()
        assert events is not other
        called: list[float] = []
        due = events.now() + 0.05
        events.call_at(due, lambda: called.append(events.now()))
        events.post(NodesLeft(("nobody",)))
        assert events.next_events(due + 1.0) == (NodesLeft(("nobody",)),)
        assert list(events.next_events(due + 0.05)) == []
        assert called
        assert called[0] >= due
        events.close()
        other.close()

    def test_acquire_gives_what_was_asked_for(self, released: WorkloadManager, wanted: AllocationRequest) -> None:
        """Nodes join with at least as many slots as evaluations are to run at the same time."""
        with _Hearing(released, self.patience_s) as heard:
            start_s = time.monotonic()
            released.acquire(wanted, heard.events)
            assert time.monotonic() - start_s < self.acquire_within_s, "acquire must not wait for nodes"
            nodes = heard.nodes(wanted.nodes)
            slots = wanted.slots or wanted.nodes // wanted.nodes_per_eval
            assert sum(node.slots for node in nodes) >= slots
            _check_nodes(nodes)

    def test_acquire_gives_all_nodes(self, released: WorkloadManager, wanted: AllocationRequest) -> None:
        """With MULTI_NODE: as many nodes join as were asked for, with different names."""
        if Capability.MULTI_NODE not in released.capabilities:
            pytest.skip("Capability.MULTI_NODE is not declared")
        several = attrs.evolve(wanted, nodes=self.most_nodes, slots=0)
        with _Hearing(released, self.patience_s) as heard:
            released.acquire(several, heard.events)
            nodes = heard.nodes(self.most_nodes)
            assert len(nodes) == self.most_nodes
            _check_nodes(nodes)

    def test_attach_gives_all_nodes_again(self, released: WorkloadManager, wanted: AllocationRequest) -> None:
        """Another study on the same allocation hears of the same nodes, at once; the first one hears no more."""
        if Capability.MULTI_NODE in released.capabilities:
            wanted = attrs.evolve(wanted, nodes=self.most_nodes, slots=0)
        with _Hearing(released, self.patience_s) as first:
            released.acquire(wanted, first.events)
            nodes = first.nodes(wanted.nodes)
        with _Hearing(released, self.patience_s) as second:
            released.attach(second.events)
            second.listen(0.0)
            assert {node.name for node in second.joined} == {node.name for node in nodes}
            assert second.nodes(wanted.nodes) == nodes

    def test_nodes_are_not_lost_by_themselves(self, released: WorkloadManager, wanted: AllocationRequest) -> None:
        """Nodes that joined stay: none leaves within a moment, and the allocation is not lost."""
        with _Hearing(released, self.patience_s) as heard:
            released.acquire(wanted, heard.events)
            heard.nodes(wanted.nodes)
            heard.listen(0.3)
            assert not [event for event in heard.all if isinstance(event, (NodesLeft, AllocationLost))]

    def test_nodes_go_when_their_time_is_over(self, released: WorkloadManager, brief: AllocationRequest | None) -> None:
        """With `brief`: all nodes leave, the loss is told, and no later than any `Node.ends_at` that was announced."""
        if brief is None:
            pytest.skip("no fixture 'brief': the nodes stay")
        with _Hearing(released, self.patience_s) as heard:
            released.acquire(brief, heard.events)
            nodes = heard.nodes(brief.nodes)
            heard.until_lost()
            left = {name for event in heard.all if isinstance(event, NodesLeft) for name in event.names}
            assert left == {node.name for node in nodes}, "the allocation is lost, and nodes are there"
            ends = [node.ends_at for node in nodes if node.ends_at is not None]
            assert not ends or heard.events.now() <= max(ends) + self.late_s, "nodes stayed longer than was announced"

    def test_says_that_nodes_never_come(self, released: WorkloadManager, impossible: AllocationRequest | None) -> None:
        """With `impossible`: it is refused, or told as lost, with a reason; nobody waits for ever."""
        if impossible is None:
            pytest.skip("no fixture 'impossible': everything can be had")
        with _Hearing(released, self.patience_s) as heard:
            try:
                released.acquire(impossible, heard.events)
                reason = heard.until_lost().reason
            except AllocationError as error:
                reason = str(error)
            assert reason.strip()

    def test_explains_itself(self, released: WorkloadManager, wanted: AllocationRequest) -> None:
        """How nodes would be asked for, and how the allocation stands before, during and after it, is text."""
        assert isinstance(released.preview(wanted), str)
        assert isinstance(released.explain(), str)
        with _Hearing(released, self.patience_s) as heard:
            released.acquire(wanted, heard.events)
            heard.nodes(wanted.nodes)
            assert isinstance(released.explain(), str)
            released.release()
            assert isinstance(released.explain(), str)

    def test_release_is_harmless_before_acquire(self, manager: WorkloadManager) -> None:
        """A study may fail before it asked for nodes."""
        manager.release()
        manager.release()

    def test_release_is_harmless_twice(self, manager: WorkloadManager, wanted: AllocationRequest) -> None:
        """Giving back may be asked for more than once, also while nodes are still waited for."""
        with _Hearing(manager, self.patience_s) as heard:
            manager.acquire(wanted, heard.events)
            manager.release()
            manager.release()
            heard.listen(0.3)
            assert all(event.nodes for event in heard.all if isinstance(event, NodesJoined)), "nobody joined"

    def test_release_gives_everything_back(
        self, manager: WorkloadManager, wanted: AllocationRequest, held: Callable[[], object] | None
    ) -> None:
        """After `release` nothing is left: no job (see `held`), no thread, no process, no open file."""
        before_held = None if held is None else held()
        gc.collect()
        before = _held_here()
        with _Hearing(manager, self.patience_s) as heard:
            manager.acquire(wanted, heard.events)
            heard.nodes(wanted.nodes)
            manager.release()
        deadline = time.monotonic() + (min(2.0, self.patience_s) if held is None else self.patience_s)
        while True:
            left = _more(_held_here(), before)
            left_outside = None if held is None else held()
            if not left and left_outside == before_held:
                return
            assert time.monotonic() < deadline, f"left behind: {left}, outside: {left_outside}, not {before_held}"
            time.sleep(0.05)


class _Hearing:
    """An event loop of a manager, and what was heard there."""

    def __init__(self, manager: WorkloadManager, patience_s: float) -> None:
        self.events: EventLoop = manager.event_loop()
        self.patience_s = patience_s
        self.all: list[Event] = []

    def __enter__(self) -> _Hearing:
        return self

    def __exit__(self, *exception: object) -> None:
        self.events.close()

    @property
    def joined(self) -> list[Node]:
        """The nodes that joined."""
        return [node for event in self.all if isinstance(event, NodesJoined) for node in event.nodes]

    def listen(self, seconds: float) -> None:
        """Hear events for so long."""
        until = self.events.now() + seconds
        while heard := self.events.next_events(until):
            self.all += heard

    def until_lost(self) -> AllocationLost:
        """Wait until it is told that there will be no more nodes."""
        until = self.events.now() + self.patience_s
        while not (lost := [event for event in self.all if isinstance(event, AllocationLost)]):
            heard = self.events.next_events(until)
            assert heard, f"within {self.patience_s:g} s, nobody said that the allocation is lost: {self.all}"
            self.all += heard
        return lost[0]

    def nodes(self, count: int) -> Sequence[Node]:
        """Wait until so many nodes have joined."""
        until = self.events.now() + self.patience_s
        while len(self.joined) < count:
            heard = self.events.next_events(until)
            assert heard, f"{len(self.joined)} of {count} nodes joined within {self.patience_s:g} s: {self.all}"
            self.all += heard
            lost = [event for event in heard if isinstance(event, AllocationLost)]
            assert not lost, f"the allocation was lost: {lost[0].reason}"
        return self.joined


def _check_nodes(nodes: Sequence[Node]) -> None:
    assert all(node.name.strip() and node.slots >= 1 for node in nodes)
    assert len({node.name for node in nodes}) == len(nodes), "two nodes have the same name"


def _held_here() -> dict[str, int]:
    """What this process holds: threads, child processes, open files."""
    counts = {"threads": threading.active_count()}
    if os.path.isdir("/proc/self/fd"):
        counts["open files"] = len(os.listdir("/proc/self/fd"))
        counts["child processes"] = len(_children())
    return counts


def _children() -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # It ended meanwhile.
        if int(fields[1]) == os.getpid():
            found.append(int(name))
    return found


def _more(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """What is more now than before, and by how much."""
    return {what: count - before[what] for what, count in now.items() if count > before[what]}
