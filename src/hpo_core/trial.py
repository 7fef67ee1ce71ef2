"""What the study's loop handles: proposals, trials, evaluations, reports, results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from attrs import Factory, field, frozen

from hpo_core.allocation import Slot

Value = bool | int | float | str
"""A hyperparameter's value as it runs."""


class State(Enum):
    """How a trial stands. RUNNING is the only state that changes."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    """Ended early because the strategy said so; its last report is its figure of merit."""
    CANCELLED = "cancelled"
    """Ended by the user or the study's budget; no fault of the command."""


class Failure(Enum):
    """Why an evaluation gave no figure of merit."""

    EXIT_CODE = "exit code"
    SIGNAL = "signal"
    TIME_LIMIT = "time limit"
    MEMORY_LIMIT = "memory limit"
    NO_METRIC = "no metric"
    NAN_METRIC = "metric not finite"
    COULD_NOT_START = "could not start"
    NODE_LOST = "node lost"
    PREEMPTED = "preempted"
    ALLOCATION_ENDED = "allocation ended"
    CANCELLED = "cancelled"

    @property
    def programs_fault(self) -> bool:
        """Whether the program or its set-up is to blame; only these use up `num_retries`."""
        return self not in _NOT_THE_PROGRAM


_NOT_THE_PROGRAM = frozenset({Failure.NODE_LOST, Failure.PREEMPTED, Failure.ALLOCATION_ENDED, Failure.CANCELLED})


class Pause(Enum):
    """What a strategy answers instead of a `Proposal`."""

    WAIT = "nothing now: ask again after the next tell"
    DONE = "nothing ever again"


@frozen
class Proposal:
    """One assignment that a strategy wants evaluated.

    Attributes:
        values: flag to value, active flags only, as the space's algebra gives them.
        parent: number of the trial that this one continues (its checkpoint is copied), or None.
        fidelity: how much of the full work to do, in the strategy's own unit, or None.
        nodes: nodes that this evaluation takes, or None for the evaluator's own number.
        tag: name in logs and workspaces; empty: the strategy's `Strategy.tag`.
        info: JSON values that the strategy wants back in `Strategy.tell`, recorded with the trial.
    """

    values: Mapping[str, Value]
    parent: int | None = None
    fidelity: float | None = None
    nodes: int | None = None
    tag: str = ""
    info: Mapping[str, Any] = field(factory=dict)


@frozen
class Trial:
    """One assignment with its number: what was asked, never changed afterwards.

    Attributes:
        number: from 1, for ever.
        values: flag to the value that runs (active flags only).
        arguments: the same as text, as it stands behind the command.
        origin: ``baseline``, ``enqueued``, ``inserted``, or ``strategy``.
        parent, fidelity, nodes, tag, info: as in the `Proposal`.
    """

    number: int
    values: Mapping[str, Value]
    arguments: str = ""
    tag: str = ""
    origin: str = "strategy"
    parent: int | None = None
    fidelity: float | None = None
    nodes: int | None = None
    info: Mapping[str, Any] = field(factory=dict)


@frozen
class Files:
    """What an evaluation finds when it begins, where its launcher makes that (`Launcher.makes_files`).

    Attributes:
        source: directory that is copied to `Evaluation.directory`; empty: none.
        checkpoint: checkpoint directory that is to be there; empty: none.
        parents: where the checkpoint is that it continues, one of these, to be copied to `checkpoint`; empty: it
            begins with an empty directory.
    """

    source: str = ""
    checkpoint: str = ""
    parents: tuple[str, ...] = ()


@frozen
class Evaluation:
    """One attempt to run a trial's command.

    Attributes:
        trial: the trial's number.
        attempt: from 1; a retry is the next attempt.
        command: the whole command line, ready for a POSIX shell.
        argv: the same as words, where no shell is needed to understand it; else None.
        directory: where it runs; None: where the driver runs.
        environment: variables set for it, beyond the driver's own.
        slots: where it runs.
        name: unique for jobs, steps and pods: made from study id, trial and attempt.
        memory_limit_bytes: most memory of all its processes together, or None; kept by launchers that declare it.
        files: what the launcher is to make for it, or None where the driver has made all.
    """

    trial: int
    attempt: int
    command: str
    argv: tuple[str, ...] | None
    directory: str | None
    environment: Mapping[str, str]
    slots: tuple[Slot, ...]
    name: str
    memory_limit_bytes: int | None = None
    files: Files | None = None

    @property
    def key(self) -> tuple[int, int]:
        """Trial number and attempt."""
        return self.trial, self.attempt


@frozen
class Report:
    """An intermediate value that a running evaluation printed.

    Attributes:
        step: the program's own step if it names one, else 1, 2, 3 ... in order of printing.
        metrics: name to value.
        fom: the figure of merit made of them, in the user's sign.
        loss: what strategies minimise: ``fom``, or its negative when maximising; ``inf`` where it is not finite.
    """

    step: float
    metrics: Mapping[str, float]
    fom: float
    loss: float = field(
        default=Factory(lambda self: self.fom if math.isfinite(self.fom) else math.inf, takes_self=True)
    )


@frozen
class Result:
    """How a trial ended.

    Attributes:
        state: DONE, FAILED, STOPPED or CANCELLED.
        fom: figure of merit in the user's sign; NaN where there is none.
        loss: what strategies minimise: ``fom``, or its negative when maximising; ``inf`` where there is none.
        metrics: name to value, possibly partial for a failure.
        failure: class of the failure, or None.
        message: one sentence on the failure, empty otherwise.
        exit_code: of the command, or None when it was ended by a signal or never ran.
        duration_s: run time of the last attempt in seconds.
        attempts: attempts made.
        nodes: names of the nodes of the last attempt.
        steps: intermediate reports heard.
        tail: last lines of output of a failed evaluation.
    """

    state: State
    fom: float = math.nan
    loss: float = math.inf
    metrics: Mapping[str, float] = field(factory=dict)
    failure: Failure | None = None
    message: str = ""
    exit_code: int | None = None
    duration_s: float = 0.0
    attempts: int = 1
    nodes: tuple[str, ...] = ()
    steps: int = 0
    tail: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a figure of merit to learn from."""
        return self.loss < math.inf


@frozen
class TrialRecord:
    """A trial beside what became of it: an item of `Study.trials`."""

    trial: Trial
    result: Result | None

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.trial.number

    @property
    def values(self) -> Mapping[str, Value]:
        """Flag to value, active flags only."""
        return self.trial.values

    @property
    def state(self) -> State:
        """How it stands."""
        return State.RUNNING if self.result is None else self.result.state

    @property
    def fom(self) -> float:
        """Figure of merit, NaN where there is none."""
        return math.nan if self.result is None else self.result.fom
