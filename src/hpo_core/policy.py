"""What is done about each class of failure: tried again or not, how often, after what delay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from hpo_core.trial import Failure


@frozen
class Policy:
    """What follows a failed attempt.

    Attributes:
        tries_again: times, counted over all failures of the trial that share the reason for trying again;
            None: as often as `Evaluator.num_retries` says.
        delay_s: seconds before the next attempt; None: as `Evaluator.retry_delay` says.
        stops: whether the study stops: the set-up is at fault, and every other trial would fail as well.
    """

    tries_again: int | None = None
    delay_s: float | None = None
    stops: bool = False


_PROGRAM = Policy()

POLICIES: Mapping[Failure, Policy] = {
    Failure.EXIT_CODE: _PROGRAM,
    Failure.SIGNAL: _PROGRAM,
    Failure.TIME_LIMIT: _PROGRAM,
    Failure.MEMORY_LIMIT: _PROGRAM,
    Failure.NO_METRIC: _PROGRAM,
    Failure.NAN_METRIC: _PROGRAM,
    Failure.COULD_NOT_START: Policy(tries_again=0, stops=True),
    Failure.NODE_LOST: Policy(tries_again=3, delay_s=0.0),
    Failure.PREEMPTED: Policy(tries_again=10, delay_s=0.0),
    Failure.ALLOCATION_ENDED: Policy(tries_again=10, delay_s=0.0),
    Failure.CANCELLED: Policy(tries_again=0),
}
"""The table that the documentation shows; failures that are not the program's fault don't use up its retries."""


def tries_again(failure: Failure, earlier: Sequence[Failure], num_retries: int) -> bool:
    """Whether a trial that has just failed is tried again.

    Args:
        failure: class of this failure.
        earlier: classes of its earlier attempts' failures.
        num_retries: `Evaluator.num_retries`.
    """
    policy = POLICIES[failure]
    if policy.tries_again is None:
        return sum(past.programs_fault for past in earlier) < num_retries
    return sum(past is failure for past in earlier) < policy.tries_again
