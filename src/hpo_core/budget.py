"""When a study ends, and why it ended."""

from __future__ import annotations

from enum import Enum

from attrs import frozen


class StopReason(Enum):
    """Why a study stopped."""

    TRIALS = "all trials of the budget are done"
    EXHAUSTED = "the strategy has nothing more to propose"
    TIMEOUT = "the total time is over"
    TARGET = "the target was reached"
    NO_IMPROVEMENT = "no improvement for the stated number of trials"
    FAILURES = "too many failures in a row"
    INTERRUPTED = "interrupted"
    ALLOCATION = "the allocation ended"


@frozen
class Budget:
    """When a study ends; None means no such limit.

    Attributes:
        n_trials: trials asked to run.
        timeout_s: seconds from the first launch, over all sessions.
        target: figure of merit that is good enough, in the user's sign.
        patience: trials without improvement.
        max_failures: failed trials in a row.
    """

    n_trials: int | None = None
    timeout_s: float | None = None
    target: float | None = None
    patience: int | None = None
    max_failures: int | None = None
