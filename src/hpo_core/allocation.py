"""Where evaluations run: nodes, the slots on them, and what is asked of a workload manager."""

from __future__ import annotations

import heapq
import math
from bisect import insort
from collections.abc import Callable, Mapping

from attrs import field, frozen, validators


@frozen
class Node:
    """One machine of an allocation, or a number of slots where there is nothing to allocate.

    Attributes:
        name: unique within the allocation; what the launcher uses to reach it.
        slots: evaluations that may run on it at the same time, at least 1.
        gpus: device ids, as text, shared out evenly among the slots.
        cores: core numbers, shared out evenly among the slots; empty: not pinned.
        ends_at: the clock's time (s) at which the node is taken away, or None.
    """

    name: str
    slots: int = field(default=1, validator=validators.ge(1))
    gpus: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()
    ends_at: float | None = None


@frozen
class Slot:
    """A place for one evaluation on one node: the node, and its share of GPUs and cores."""

    node: str
    index: int = 0
    gpus: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()


@frozen
class AllocationRequest:
    """What a workload manager is asked for.

    Attributes:
        nodes: how many nodes, at least 1.
        nodes_per_eval: nodes that one evaluation takes, at least 1.
        slots: evaluations at the same time, or 0 for ``nodes // nodes_per_eval``.
        timeout_s: the time asked for, in seconds.
        args: the user's text for the allocation command, verbatim; it wins over our defaults.
        jobid: an allocation that is there already, or 0.
        name: a name for the job: ``hpo-`` and the id of the study for which it is first asked.
        environment: variables the nodes' processes need, beyond the driver's own.
    """

    nodes: int = field(default=1, validator=validators.ge(1))
    nodes_per_eval: int = field(default=1, validator=validators.ge(1))
    slots: int = field(default=0, validator=validators.ge(0))
    timeout_s: float = 1800.0
    args: str = ""
    jobid: int = 0
    name: str = "hpo"
    environment: Mapping[str, str] = field(factory=dict)


class SlotPool:
    """The free and the taken slots of the nodes that are there now.

    An evaluation of one node takes one slot; one of several nodes takes whole nodes. Slots given out
    at the same time are disjoint. Nodes come and go: a node that leaves takes its slots with it, and a
    slot returned to a node that left is dropped. Nodes that joined first are given out first, at a cost that does not
    grow with their number.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._free: dict[str, list[int]] = {}
        """Indices in order."""
        self._taken: dict[str, dict[int, Slot]] = {}
        """What is out, object by object: a node that left and came again owes nothing to its former slots."""
        self._claimed: dict[str, list[tuple[Slot, bool]]] = {}
        """Taken before their node joined, and whether the whole node is."""
        self._rank: dict[str, int] = {}
        self._joined = 0
        self._open = _Ranked()
        """Nodes with free slots; some may have none any more."""
        self._whole = _Ranked()
        """Nodes of which all slots are free; of some that may be so no more."""
        self._first_end = math.inf
        self.capacity = 0
        """Slots in all, free and taken."""
        self.free = 0
        """Slots that are free now."""
        self._wholly_free = 0

    def join(self, node: Node) -> None:
        """Add a node with all its slots free; a node that is there already is left as it is."""
        if node.name in self._nodes:
            return
        self._joined += 1
        self._rank[node.name] = self._joined
        self._nodes[node.name] = node
        self._taken[node.name] = {}
        self._free[node.name] = []
        self.capacity += node.slots
        self._first_end = min(self._first_end, math.inf if node.ends_at is None else node.ends_at)
        self._set_free(node.name, list(range(node.slots)))
        for slot, whole in self._claimed.pop(node.name, ()):
            self._claim(slot, whole)

    def leave(self, name: str) -> None:
        """Take a node out; unknown names are ignored, since a loss may be reported twice."""
        if name not in self._nodes:
            return
        self._set_free(name, [])
        node = self._nodes.pop(name)
        del self._free[name], self._taken[name], self._rank[name]
        self.capacity -= node.slots
        if node.ends_at == self._first_end:
            ends = (other.ends_at for other in self._nodes.values() if other.ends_at is not None)
            self._first_end = min(ends, default=math.inf)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that are there, in the order in which they joined."""
        return tuple(self._nodes.values())

    @property
    def has_ends(self) -> bool:
        """Whether the end of any node is known."""
        return self._first_end < math.inf

    def room(self, nodes: int = 1, *, until: float | None = None) -> int:
        """Evaluations of so many nodes that fit in what is free now; `until` as in `take`."""
        if until is None or until <= self._first_end:
            return self.free if nodes == 1 else self._wholly_free // nodes
        usable = self._that_last(until)
        if nodes == 1:
            return sum(len(self._free[name]) for name in usable)
        return sum(map(self._is_whole, usable)) // nodes

    def evaluations(self, nodes: int = 1) -> int:
        """Evaluations of so many nodes that fit when all is free."""
        return self.capacity if nodes == 1 else len(self._nodes) // nodes

    def take(self, nodes: int = 1, *, until: float | None = None) -> tuple[Slot, ...] | None:
        """Give out slots for one evaluation, or None when it does not fit now.

        Args:
            nodes: nodes that the evaluation takes.
            until: the clock's time (s) at which it is expected to end; nodes that end sooner are passed over.
        """
        chosen = self._first_with_room(nodes, until)
        if len(chosen) < nodes:
            return None
        if nodes == 1:
            return (self._take_one(chosen[0]),)
        slots = []
        for name in chosen:
            node = self._nodes[name]
            slot = Slot(name, 0, node.gpus, node.cores)
            self._set_free(name, [])
            self._taken[name][id(slot)] = slot
            slots.append(slot)
        return tuple(slots)

    def _take_one(self, name: str) -> Slot:
        free = self._free[name]
        node = self._nodes[name]
        self._wholly_free -= len(free) == node.slots
        self.free -= 1
        slot = _share(node, free.pop(0))
        self._taken[name][id(slot)] = slot
        return slot

    def claim(self, slots: tuple[Slot, ...]) -> None:
        """Take exactly these slots, which an earlier driver gave out, now or when their nodes join.

        What is not there, or taken already, is passed over.
        """
        for slot in slots:
            if slot.node in self._nodes:
                self._claim(slot, len(slots) > 1)
            else:
                self._claimed.setdefault(slot.node, []).append((slot, len(slots) > 1))

    def give_back(self, slots: tuple[Slot, ...]) -> None:
        """Return what `take` gave out; what is not out (any more) is ignored."""
        for slot in slots:
            name = slot.node
            if self._claimed and name in self._claimed:
                self._claimed[name] = [entry for entry in self._claimed[name] if entry[0] is not slot]
            if self._taken.get(name, {}).pop(id(slot), None) is None:
                continue
            if len(slots) > 1:
                self._set_free(name, list(range(self._nodes[name].slots)))
            else:
                insort(self._free[name], slot.index)
                self.free += 1
                self._rank_again(name)

    def _first_with_room(self, nodes: int, until: float | None) -> list[str]:
        """The first so many nodes that have room for an evaluation of that width."""
        has_room = self._is_open if nodes == 1 else self._is_whole
        if until is not None and until > self._first_end:
            return [name for name in self._that_last(until) if has_room(name)][:nodes]
        ranked = self._open if nodes == 1 else self._whole
        return ranked.first(nodes, lambda rank, name: self._rank.get(name) == rank and has_room(name))

    def _that_last(self, until: float) -> list[str]:
        return [name for name, node in self._nodes.items() if node.ends_at is None or node.ends_at >= until]

    def _is_open(self, name: str) -> bool:
        return bool(self._free[name])

    def _is_whole(self, name: str) -> bool:
        return len(self._free[name]) == self._nodes[name].slots

    def _claim(self, slot: Slot, whole: bool) -> None:
        free = self._free[slot.node]
        if whole and self._is_whole(slot.node):
            self._set_free(slot.node, [])
            self._taken[slot.node][id(slot)] = slot
        elif not whole and slot.index in free:
            self._set_free(slot.node, [index for index in free if index != slot.index])
            self._taken[slot.node][id(slot)] = slot

    def _set_free(self, name: str, free: list[int]) -> None:
        """Make exactly these free, so that the sums and the heaps are right."""
        self._wholly_free -= self._is_whole(name)
        self.free += len(free) - len(self._free[name])
        self._free[name] = free
        self._rank_again(name)

    def _rank_again(self, name: str) -> None:
        """A node has other free slots than before, and did not count as wholly free."""
        free = len(self._free[name])
        if free:
            self._open.add(self._rank[name], name)
        if free == self._nodes[name].slots:
            self._wholly_free += 1
            self._whole.add(self._rank[name], name)


class _Ranked:
    """Names by rank, the lowest first, each once; those that no longer count are dropped when they come up."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._entries: set[tuple[int, str]] = set()

    def add(self, rank: int, name: str) -> None:
        """Add a name, or leave it where it is."""
        if (rank, name) not in self._entries:
            self._entries.add((rank, name))
            heapq.heappush(self._heap, (rank, name))

    def first(self, count: int, counts: Callable[[int, str], bool]) -> list[str]:
        """The first so many that count, or fewer; all of them stay."""
        found: list[tuple[int, str]] = []
        if count == 1 and self._heap and counts(*self._heap[0]):
            return [self._heap[0][1]]
        while self._heap and len(found) < count:
            entry = heapq.heappop(self._heap)
            if counts(*entry):
                found.append(entry)
            else:
                self._entries.discard(entry)
        for entry in found:
            heapq.heappush(self._heap, entry)
        return [name for _, name in found]


def _share(node: Node, index: int) -> Slot:
    if not (node.gpus or node.cores):
        return Slot(node.name, index)
    gpus, cores = len(node.gpus) // node.slots, len(node.cores) // node.slots
    return Slot(
        node.name,
        index,
        node.gpus[index * gpus : (index + 1) * gpus],
        node.cores[index * cores : (index + 1) * cores],
    )
