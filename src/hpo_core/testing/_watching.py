"""What a strategy does beside its answers: input and output, clocks, everybody's random numbers, lines of Python."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
import pytest
from attrs import frozen

from hpo_core.testing import _rehearsal as on_stage
from hpo_core.testing._rehearsal import Rehearsal
from hpo_core.trial import Pause, Proposal

_IO = (
    "open",
    "os.",
    "subprocess.",
    "socket.",
    "shutil.",
    "sqlite3.",
    "tempfile.",
    "urllib.",
    "http.",
    "ftplib.",
    "webbrowser.",
)
"""Beginnings of the names of audit events; see the table in Python's documentation."""


class _Auditor:
    """Python never takes an audit hook back, so there is one, asleep but for the time of a check."""

    def __init__(self) -> None:
        self.seen: list[str] | None = None
        self.thread = 0
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: object) -> None:
        if self.seen is not None and threading.get_ident() == self.thread and event.startswith(_IO):
            self.seen.append(event)


_auditor: _Auditor | None = None


@contextlib.contextmanager
def audited() -> Iterator[list[str]]:
    """Note the input and output of this thread."""
    global _auditor
    if _auditor is None:
        _auditor = _Auditor()
    seen: list[str] = []
    _auditor.thread, _auditor.seen = threading.get_ident(), seen
    sleep = time.sleep

    def noted(seconds: float) -> None:  # An audit event only since Python 3.13.
        if threading.get_ident() == _auditor.thread:
            seen.append("time.sleep")
        sleep(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", noted)
        try:
            yield seen
        finally:
            _auditor.seen = None


@contextlib.contextmanager
def other_global_randomness(seed: int) -> Iterator[None]:
    """Python's and numpy's own random numbers go on from somewhere else."""
    before, before_numpy = random.getstate(), np.random.get_state()
    random.seed(seed + 12345)
    np.random.seed(seed + 12345)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)


def make_clocks_jump(patch: pytest.MonkeyPatch, seed: int) -> None:
    rng, now = random.Random(seed), [1e9]

    def seconds() -> float:
        now[0] += rng.choice([0.0, 1e-6, 1.0, 3600.0, 1e7])
        return now[0]

    for name in ("time", "monotonic", "perf_counter", "process_time"):
        patch.setattr(time, name, seconds)
        patch.setattr(time, f"{name}_ns", lambda: int(seconds() * 1e9))


@frozen
class Cost:
    """What asks and tells took, in counts that do not depend on the machine's load.

    Attributes:
        lines: of Python that were executed.
        operations: with the losses that were told: comparisons and arithmetic, in compiled code too.
        memory_bytes: the most that each ask and tell allocated at a time, summed up; copies of a history show here.
    """

    lines: int
    operations: int
    memory_bytes: int


def ask_and_tell(rehearsal: Rehearsal, times: int) -> Cost:
    """What so many asks and tells cost, fewer where the strategy is done before."""
    lines = memory_bytes = 0
    operations_before = _Counted.operations

    def trace(frame: object, event: str, argument: object) -> Callable[..., Any]:
        nonlocal lines
        lines += event == "line"
        return trace

    @contextlib.contextmanager
    def counted() -> Iterator[None]:
        nonlocal memory_bytes
        before = sys.gettrace()
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)
            memory_bytes += tracemalloc.get_traced_memory()[1] - held

    tracemalloc.start()
    try:
        for _ in range(times):
            with counted():
                answer = rehearsal.strategy.ask()
            if answer is Pause.DONE:
                break
            if isinstance(answer, Proposal):
                trial = rehearsal.start(answer.values, "strategy", answer)
                rehearsal.open.remove(trial)
                result = on_stage.result(trial, "done")
                result = attrs.evolve(result, loss=_Counted(result.loss))
                with counted():
                    rehearsal.strategy.tell(trial, result)
    finally:
        tracemalloc.stop()
    return Cost(lines, _Counted.operations - operations_before, memory_bytes)


class _Counted(float):
    """A number that counts what is done with it, and all its like."""

    operations = 0


def _counting(name: str) -> Callable[..., Any]:
    plain = getattr(float, name)

    def method(self: float, *others: object) -> Any:
        _Counted.operations += 1
        return plain(self, *others)

    return method


for _name in (
    *("lt", "le", "gt", "ge", "eq", "ne", "hash", "neg", "abs", "float"),
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow"),
):
    setattr(_Counted, f"__{_name}__", _counting(f"__{_name}__"))
