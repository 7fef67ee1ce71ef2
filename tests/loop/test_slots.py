"""Slots: what is given out at the same time is disjoint, whatever nodes come and go."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core.allocation import Node, Slot, SlotPool

Steps = list[tuple[str, int, int]]
STEPS: st.SearchStrategy[Steps] = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "back", "back", "join", "leave"]),
        st.integers(0, 7),
        st.integers(1, 4),
    ),
    max_size=60,
)


class Player:
    """Plays steps on a pool beside the plainest model: for each life of a node, the indices that are out."""

    def __init__(self) -> None:
        self.pool = SlotPool()
        self.nodes: dict[str, Node] = {}
        self.lives: dict[str, int] = {}
        self.out: list[tuple[tuple[Slot, ...], dict[str, int]]] = []
        self._life = count()

    def join(self, which: int, slots: int) -> None:
        node = Node(f"n{which}", slots=slots, gpus=tuple(f"{which}.{i}" for i in range(slots)))
        self.pool.join(node)
        if node.name not in self.nodes:
            self.nodes[node.name] = node
            self.lives[node.name] = next(self._life)

    def leave(self, which: int, _: int) -> None:
        self.pool.leave(f"n{which}")
        self.nodes.pop(f"n{which}", None)
        self.lives.pop(f"n{which}", None)

    def take(self, _: int, nodes: int) -> None:
        room = self.pool.room(nodes)
        slots = self.pool.take(nodes)
        assert (slots is not None) == (room > 0)
        if slots is None:
            return
        assert len(slots) == nodes == len({slot.node for slot in slots})
        self.out.append((slots, {slot.node: self.lives[slot.node] for slot in slots}))

    def back(self, which: int, _: int) -> None:
        if self.out:
            self.pool.give_back(self.out.pop(which % len(self.out))[0])

    def held(self) -> dict[str, set[str]]:
        """The GPUs, one a slot, that are out on the nodes that are there."""
        held: dict[str, set[str]] = {name: set() for name in self.nodes}
        for slots, lives in self.out:
            for slot in slots:
                if self.lives.get(slot.node) == lives[slot.node]:
                    assert slot.gpus
                    assert held[slot.node].isdisjoint(slot.gpus), "a slot was given out twice"
                    held[slot.node].update(slot.gpus)
        return held

    def check(self) -> None:
        held = self.held()
        assert {node.name for node in self.pool.nodes} == set(self.nodes)
        assert self.pool.capacity == sum(node.slots for node in self.nodes.values())
        assert self.pool.free == self.pool.capacity - sum(map(len, held.values()))


@given(STEPS)
def test_slots_given_out_are_disjoint_and_none_is_lost(steps: Steps) -> None:
    player = Player()
    for kind, which, size in steps:
        moves: dict[str, Callable[[int, int], Any]] = {
            "take": player.take, "back": player.back, "join": player.join, "leave": player.leave
        }  # fmt: skip
        moves[kind](which, size)
        player.check()
    while player.out:
        player.back(0, 0)
    assert player.pool.free == player.pool.capacity


@given(st.integers(1, 6), st.integers(0, 12), st.integers(0, 24))
def test_gpus_and_cores_are_shared_out_evenly_and_never_twice(slots: int, gpus: int, cores: int) -> None:
    pool = SlotPool()
    pool.join(Node("n", slots=slots, gpus=tuple(map(str, range(gpus))), cores=tuple(range(cores))))
    taken = [slot for _ in range(slots) for slot in pool.take() or ()]
    assert len(taken) == slots
    assert pool.take() is None
    for shares, total in (([s.gpus for s in taken], gpus), ([s.cores for s in taken], cores)):
        assert {len(share) for share in shares} == {total // slots}
        flat = [item for share in shares for item in share]
        assert len(set(flat)) == len(flat)


def test_several_nodes_are_taken_whole() -> None:
    pool = SlotPool()
    for name in "ab":
        pool.join(Node(name, slots=2, gpus=("0", "1")))
    one = pool.take()
    assert one is not None
    assert (pool.free, pool.room(1), pool.room(2), pool.evaluations(2)) == (3, 3, 0, 1)
    assert pool.take(2) is None
    pool.give_back(one)
    both = pool.take(2)
    assert both == (Slot("a", 0, ("0", "1")), Slot("b", 0, ("0", "1")))
    assert pool.free == 0
    pool.give_back(both)
    assert pool.free == 4


def test_a_node_that_comes_again_owes_nothing_to_its_former_slots() -> None:
    pool = SlotPool()
    pool.join(Node("a"))
    before = pool.take()
    pool.leave("a")
    pool.leave("a")
    pool.join(Node("a"))
    now = pool.take()
    assert before is not None
    pool.give_back(before)
    assert pool.take() is None, "the slot of the node's second life is taken"
    assert now is not None
    pool.give_back(now)
    pool.give_back(now)
    assert pool.free == 1


def test_nodes_that_end_too_soon_are_passed_over() -> None:
    pool = SlotPool()
    pool.join(Node("short", ends_at=10.0))
    pool.join(Node("long"))
    assert pool.take(until=11.0) == (Slot("long"),)
    assert pool.take(until=11.0) is None
    assert pool.take(until=10.0) == (Slot("short"),)
    pool.join(Node("soon", ends_at=5.0))
    assert (pool.room(), pool.room(until=6.0), pool.has_ends) == (1, 0, True)
    for name in ("short", "soon"):
        pool.leave(name)
    assert not pool.has_ends


def test_what_an_earlier_driver_gave_out_is_taken_now_or_when_its_node_joins() -> None:
    pool = SlotPool()
    pool.join(Node("a", slots=2, gpus=("0", "1")))
    here, there = (Slot("a", 1, ("1",)),), (Slot("b", 0),)
    pool.claim(here)
    pool.claim(there)
    assert pool.take() == (Slot("a", 0, ("0",)),)
    assert pool.take() is None
    pool.join(Node("b"))
    assert pool.take() is None
    pool.give_back(there)
    pool.give_back(here)
    assert pool.take() == (Slot("a", 1, ("1",)),)
    assert pool.take() == (Slot("b", 0),)


def test_a_claim_given_back_before_its_node_joins_is_forgotten() -> None:
    pool = SlotPool()
    claimed = (Slot("a", 0), Slot("b", 0))
    pool.claim(claimed)
    pool.give_back(claimed)
    for name in "ab":
        pool.join(Node(name, slots=2))
    assert pool.free == 4


def test_a_claim_of_several_nodes_takes_them_whole() -> None:
    pool = SlotPool()
    claimed = (Slot("a", 0), Slot("b", 0))
    for name in "abc":
        pool.join(Node(name, slots=2))
    pool.claim(claimed)
    assert (pool.free, pool.room(2)) == (2, 0)
    pool.give_back(claimed)
    assert (pool.free, pool.room(2)) == (6, 1)


def test_a_claim_on_a_slot_that_is_there_no_longer_takes_nothing() -> None:
    pool = SlotPool()
    pool.join(Node("a", slots=2))
    beyond = (Slot("a", 7),)
    pool.claim(beyond)
    pool.give_back(beyond)
    assert pool.free == 2


def test_joining_twice_changes_nothing() -> None:
    pool = SlotPool()
    pool.join(Node("a", slots=2))
    pool.take()
    pool.join(Node("a", slots=5))
    assert (pool.capacity, pool.free) == (2, 1)


@pytest.mark.parametrize("slots", [0, -1])
def test_a_node_has_a_slot(slots: int) -> None:
    with pytest.raises(ValueError, match="slots"):
        Node("a", slots=slots)


def test_taking_and_giving_back_costs_the_same_with_many_nodes_and_leaves_nothing_behind() -> None:
    pool = SlotPool()
    for i in range(5000):
        pool.join(Node(f"n{i}"))
    for _ in range(3):
        out = [pool.take() for _ in range(5000)]
        assert pool.take() is None
        assert pool.free == 0
        for slots in reversed(out):
            assert slots is not None
            pool.give_back(slots)
    assert pool.free == pool.capacity == 5000
    assert pool.take() == (Slot("n0"),)
    held = pool._open._heap, pool._whole._heap
    assert max(map(len, held)) <= 5000
