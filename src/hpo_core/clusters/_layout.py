"""How many evaluations a node of an allocation takes, and what each has of its GPUs: pure functions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from attrs import frozen

from hpo_core.allocation import AllocationRequest
from hpo_core.exceptions import AllocationError


@frozen
class Layout:
    """Which nodes of a job are used.

    Attributes:
        names: of these nodes.
        slots: evaluations on each at the same time.
        problem: one sentence where there are fewer than were asked for; else empty.
    """

    names: tuple[str, ...]
    slots: int
    problem: str = ""


def lay_out(request: AllocationRequest, job: str, names: Sequence[str], *, owned: bool) -> Layout:
    """Choose among a job's nodes, and share the evaluations out.

    Args:
        request: what was asked for.
        job: its id, for the sentence.
        names: all of its nodes.
        owned: whether it was asked for by us; else `request.nodes` beyond 1 says how many of its nodes are used.
    """
    problem = f"nodes={request.nodes}, and job {job} has {len(names)}: these are used"
    used = tuple(names if owned or request.nodes == 1 else names[: request.nodes])
    return Layout(used, slots_on_each(request, len(used)), problem if len(used) < request.nodes else "")


def slots_on_each(request: AllocationRequest, nodes: int) -> int:
    """Evaluations that run on each of so many nodes at the same time."""
    evaluations = request.slots or max(1, nodes // request.nodes_per_eval)
    return max(1, -(-evaluations * request.nodes_per_eval // nodes))


def share_out(gpus: Sequence[str], slots: int) -> tuple[str, ...]:
    """GPUs for the slots in order; where there are fewer GPUs than slots, as many share one as must."""
    sharing = -(-slots // len(gpus)) if gpus else 1
    return tuple(gpu for gpu in gpus for _ in range(sharing))


def split_arguments(text: str) -> list[str]:
    """The words of ``alloc_args``.

    Raises:
        AllocationError: a quote is not closed.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise AllocationError(f"alloc_args={text!r} cannot be split into words: {error}") from error
