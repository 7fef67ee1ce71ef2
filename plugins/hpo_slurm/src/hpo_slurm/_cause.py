"""Why an allocation is over: a pure function of what Slurm says of it."""

from __future__ import annotations

from hpo_core.trial import Failure
from hpo_slurm._commands import Job


def cause(job: Job, *, time_was_up: bool) -> tuple[Failure, str]:
    """What the end of a job is for its evaluations, and one sentence for people.

    Args:
        job: in its last state; empty where Slurm knows it no more.
        time_was_up: whether its time was over or nearly so, by our own clock.
    """
    match job.state:
        case "TIMEOUT" | "DEADLINE":
            return Failure.ALLOCATION_ENDED, f"the time of allocation {job.id} is over"
        case "PREEMPTED":
            return Failure.PREEMPTED, f"Slurm gave the nodes of allocation {job.id} to another job"
        case "NODE_FAIL" | "BOOT_FAIL":
            return Failure.NODE_LOST, f"allocation {job.id} ended: its nodes failed"
        case "CANCELLED":
            return Failure.ALLOCATION_ENDED, f"allocation {job.id} was cancelled from outside (scancel)"
        case "":
            return Failure.ALLOCATION_ENDED, f"Slurm no longer knows allocation {job.id}"
    if job.reason == "TimeLimit" or time_was_up:
        return Failure.ALLOCATION_ENDED, f"the time of allocation {job.id} is over"
    return Failure.ALLOCATION_ENDED, f"allocation {job.id} ended ({job.state.lower()})"
