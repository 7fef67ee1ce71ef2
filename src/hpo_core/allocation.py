"""Where evaluations run: nodes, the slots on them, and what is asked of a workload manager."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    slot returned to a node that left is dropped.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._ending = 0
        """Nodes whose end is known."""
        self._free: dict[str, list[Slot]] = {}
        self._claimed: dict[str, list[tuple[Slot, bool]]] = {}
        """Taken before their node joined, and whether the whole node is."""
        self._taken: dict[str, list[Slot]] = {}
        """What is out, object by object: a node that left and came again owes nothing to its former slots."""

    def join(self, node: Node) -> None:
        """Add a node with all its slots free; a node that is there already is left as it is."""
        if node.name not in self._nodes:
            self._nodes[node.name] = node
            self._ending += node.ends_at is not None
            self._free[node.name] = _share_out(node)
            self._taken[node.name] = []
            for slot, whole in self._claimed.pop(node.name, ()):
                self._claim(slot, whole)

    def leave(self, name: str) -> None:
        """Take a node out; unknown names are ignored, since a loss may be reported twice."""
        node = self._nodes.pop(name, None)
        self._ending -= node is not None and node.ends_at is not None
        self._free.pop(name, None)
        self._taken.pop(name, None)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that are there, in the order in which they joined."""
        return tuple(self._nodes.values())

    @property
    def capacity(self) -> int:
        """Slots in all, free and taken."""
        return sum(node.slots for node in self._nodes.values())

    @property
    def free(self) -> int:
        """Slots that are free now."""
        return sum(map(len, self._free.values()))

    @property
    def has_ends(self) -> bool:
        """Whether the end of any node is known."""
        return self._ending > 0

    def room(self, nodes: int = 1, *, until: float | None = None) -> int:
        """Evaluations of so many nodes that fit in what is free now; `until` as in `take`."""
        if nodes == 1 and until is None:
            return self.free
        usable = self._usable(until)
        if nodes == 1:
            return sum(len(self._free[name]) for name in usable)
        return sum(len(self._free[name]) == self._nodes[name].slots for name in usable) // nodes

    def evaluations(self, nodes: int = 1) -> int:
        """Evaluations of so many nodes that fit when all is free."""
        return self.capacity if nodes == 1 else len(self._nodes) // nodes

    def take(self, nodes: int = 1, *, until: float | None = None) -> tuple[Slot, ...] | None:
        """Give out slots for one evaluation, or None when it does not fit now.

        Args:
            nodes: nodes that the evaluation takes.
            until: the clock's time (s) at which it is expected to end; nodes that end sooner are passed over.
        """
        usable = self._usable(until)
        if nodes == 1:
            for name in usable:
                if self._free[name]:
                    slot = self._free[name].pop(0)
                    self._taken[name].append(slot)
                    return (slot,)
            return None
        whole = [name for name in usable if len(self._free[name]) == self._nodes[name].slots][:nodes]
        if len(whole) < nodes:
            return None
        slots = tuple(Slot(name, 0, self._nodes[name].gpus, self._nodes[name].cores) for name in whole)
        for slot in slots:
            self._free[slot.node] = []
            self._taken[slot.node].append(slot)
        return slots

    def _usable(self, until: float | None) -> Iterable[str]:
        if until is None:
            return self._nodes
        return [name for name, node in self._nodes.items() if node.ends_at is None or node.ends_at >= until]

    def claim(self, slots: tuple[Slot, ...]) -> None:
        """Take exactly these slots, which an earlier driver gave out, now or when their nodes join.

        What is not there, or taken already, is passed over.
        """
        for slot in slots:
            if slot.node in self._nodes:
                self._claim(slot, len(slots) > 1)
            else:
                self._claimed.setdefault(slot.node, []).append((slot, len(slots) > 1))

    def _claim(self, slot: Slot, whole: bool) -> None:
        free = self._free[slot.node]
        if whole and len(free) == self._nodes[slot.node].slots:
            free.clear()
            self._taken[slot.node].append(slot)
        elif not whole and any(own.index == slot.index for own in free):
            free[:] = [own for own in free if own.index != slot.index]
            self._taken[slot.node].append(slot)

    def give_back(self, slots: tuple[Slot, ...]) -> None:
        """Return what `take` gave out; what is not out (any more) is ignored."""
        for slot in slots:
            if slot.node in self._claimed:
                self._claimed[slot.node] = [entry for entry in self._claimed[slot.node] if entry[0] is not slot]
            taken = self._taken.get(slot.node, [])
            places = [i for i, other in enumerate(taken) if other is slot]
            if not places:
                continue
            del taken[places[0]]
            node = self._nodes[slot.node]
            if len(slots) > 1:
                self._free[slot.node] = _share_out(node)
            else:
                self._free[slot.node].append(_share(node, slot.index))
                self._free[slot.node].sort(key=_index)


def _index(slot: Slot) -> int:
    return slot.index


def _share_out(node: Node) -> list[Slot]:
    return [_share(node, index) for index in range(node.slots)]


def _share(node: Node, index: int) -> Slot:
    gpus, cores = len(node.gpus) // node.slots, len(node.cores) // node.slots
    return Slot(
        node.name,
        index,
        node.gpus[index * gpus : (index + 1) * gpus],
        node.cores[index * cores : (index + 1) * cores],
    )
