"""Why a job is over: pure functions of what PBS says of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

from hpo_core import Failure
from hpo_pbs._answers import Job

_WALLTIME = frozenset({-29, -11})
"""Torque's -11 is in PBS a job that went back into the queue; `-r n` keeps ours from that."""
_NODES_FAILED = frozenset({-4, -5, -6, -14, -16, -17, -18, -19, -20, -30})
_ENDED_BY_SIGNAL = 256
_DRIVER_GONE, _TOLD_TO_END = 7, 8
"""What the job's own script exits with when nobody watches over it any more, and when it got TERM."""


@frozen
class Verdict:
    """Why a job is over.

    Attributes:
        text: one sentence for people.
        failure: what that is for the evaluations that ran in it.
        again: whether another allocation may do better.
    """

    text: str
    failure: Failure = Failure.ALLOCATION_ENDED
    again: bool = True


def judge(
    job: Job | None,
    number: str,
    *,
    begun: bool,
    output: str,
    time_was_up: bool,
    folder: str,
    deleted: Iterable[int] = (),
) -> Verdict:
    """Why a job is over.

    Args:
        job: what the server still knows; None: nothing, as where its history is switched off.
        number: the job's id, for the sentence.
        begun: whether the job's script was ever heard of.
        output: the end of the job's output.
        time_was_up: whether its walltime was over or nearly so, by our own clock.
        folder: where its script lies.
        deleted: exit statuses of jobs that somebody deleted, where no comment says so.
    """
    status = None if job is None else job.exit_status
    comment = "" if job is None else job.comment
    said = re.findall(r"^=>> PBS: (.*)$", output, re.MULTILINE)
    if status in _WALLTIME or "exceeded resource walltime" in comment or any("walltime" in line for line in said):
        return Verdict(f"the time of job {number} is over")
    if re.search("preempt", comment, re.IGNORECASE):
        return Verdict(f"PBS gave the nodes of job {number} to another job: {comment}", Failure.PREEMPTED)
    if status in _NODES_FAILED:
        return Verdict(f"job {number} ended because a node failed (exit status {status})", Failure.NODE_LOST)
    by = re.search(r"\bterminated(?: by (\S+))?", comment)
    if by:
        whom = f" by {by[1]}" if by[1] else ""
        return Verdict(f"job {number} was deleted{whom} (qdel)", again=False)
    if said:
        return Verdict(f"PBS ended job {number}: {said[-1]}")
    if not begun and status is not None and status >= 0:
        return Verdict(
            f"job {number} ended before its script was heard of (exit status {status}): do its nodes see {folder}? "
            "The option shared_dir names a folder that they see" + _quoted(output),
            again=False,
        )
    if status == _DRIVER_GONE:
        return Verdict(f"job {number} ended by itself, as it saw no sign of life from this driver")
    if time_was_up:
        return Verdict(f"the time of job {number} is over")
    if status in {*deleted, _TOLD_TO_END}:
        return Verdict(f"job {number} was deleted (exit status {status})", again=False)
    if status is None and not begun:
        return Verdict(
            f"job {number} was over before its script was heard of, and the server does not say why: it was deleted, "
            f"or its nodes don't see {folder}. The option shared_dir names a folder that they see" + _quoted(output),
            again=False,
        )
    if status is None:
        return Verdict(f"job {number} is over, and the server does not say why (it keeps no history of jobs)")
    if status < 0:
        return Verdict(f"PBS ended job {number} (exit status {status}{_also(comment)})")
    if status >= _ENDED_BY_SIGNAL:
        return Verdict(f"job {number} was ended by signal {status - _ENDED_BY_SIGNAL}{_also(comment)}")
    return Verdict(f"job {number} ended (exit status {status}{_also(comment)})")


def never_runs(job: Job) -> bool:
    """Whether a job that waits will wait for ever, as its scheduler says."""
    return job.state in "QHW" and job.comment.startswith("Can Never Run")


def _also(comment: str) -> str:
    return f"; {comment}" if comment else ""


def _quoted(output: str) -> str:
    lines = output.strip().splitlines()[-3:]
    return f". Its output: {' / '.join(lines)}" if lines else ""
