"""Jobs and job steps are given back: cancelled until Slurm says that they are gone."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection

from hpo_core import AllocationError, LaunchError
from hpo_core.clusters import repeat
from hpo_slurm import _commands as cmd
from hpo_slurm._client import Client

PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
_ENDING_S = 3.0
"""A job that is ending stays for minutes where a node of it died."""
_CLEAN_S = 60.0


def give_back(
    client: Client, limit_s: float, *, owned: bool, job: int | None, mark: str, names: Collection[str]
) -> bool:
    """Cancel what is ours.

    Args:
        client: of Slurm.
        limit_s: how long that is tried.
        owned: whether jobs are ours, and not only steps.
        job: our allocation, as far as it is known.
        mark: the comment that our jobs carry.
        names: of our steps.

    Returns:
        whether nothing is left.
    """
    counts = _counts_ending()

    def end() -> bool:
        steps = client.steps() if names else []
        jobs = client.jobs() if owned else []
        left: list[str | int] = [step for step, name in steps or () if name in names]
        left += [one for one, state, _, comment in jobs or () if (one == job or comment == mark) and counts(state)]
        client.cancel(left if jobs is not None else [*left, *((job,) if job else ())])
        return not left and steps is not None and jobs is not None

    return repeat(end, limit_s, PAUSES_S)


def clean(client: Client, study_id: str) -> tuple[str, ...]:
    """Cancel what an earlier driver of a study left.

    Returns:
        what that was, for people.

    Raises:
        AllocationError: Slurm did not answer within a minute, or something does not end; trying again may help. Or
            this machine has no Slurm.
    """
    if not _is_here():
        raise AllocationError(_NOT_HERE)
    name, ours = f"hpo-{study_id}", os.environ.get("SLURM_JOB_ID", "")
    found: dict[str, str] = {}
    left: dict[str, str] | None = None
    counts = _counts_ending()

    def end() -> bool:
        nonlocal left
        jobs, steps = client.jobs(), client.steps()
        if jobs is None or steps is None:
            left = None
            return False
        left = {
            str(number): f"allocation {number} ({state.lower()})"
            for number, state, called, comment in jobs
            if (called == name or comment.startswith(f"{name}:")) and str(number) != ours and counts(state)
        }
        left |= {step: f"job step {step} ({called})" for step, called in steps if called == f"{name}-spawn"}
        found.update(left)
        client.cancel(list(left))
        return not left

    if repeat(end, _CLEAN_S, PAUSES_S):
        return tuple(found.values())
    raise AllocationError(
        f"Slurm's controller did not answer for {_CLEAN_S:.0f} s, so that nobody knows what an earlier "
        "driver of this study left; try again when 'scontrol ping' says UP"
        if left is None
        else f"Slurm does not end what an earlier driver left: {', '.join(left.values())}"
    )


def clean_steps(client: Client, study_id: str, grace_s: float) -> tuple[str, ...]:
    """End all job steps of a study's evaluations, of whatever job: TERM, and KILL after `grace_s` seconds.

    Returns:
        what that was, for people.

    Raises:
        LaunchError: Slurm did not answer within a minute, or something does not end; trying again may help. Or this
            machine has no Slurm.
    """
    if not _is_here():
        raise LaunchError(_NOT_HERE)
    found: dict[str, str] = {}
    told_s: float | None = None
    answered = False

    def end() -> bool:
        nonlocal told_s, answered
        steps = client.steps()
        answered = steps is not None
        left = {step: name for step, name in steps or () if name.startswith(f"hpo-{study_id}-")}
        found.update(left)
        now = time.monotonic()
        if left and told_s is None:
            told_s = now
            client.cancel(list(left), signal_name="TERM" if grace_s > 0 else "")
        elif told_s is not None and now - told_s > grace_s:
            client.cancel(list(left))
        return answered and not left

    if repeat(end, _CLEAN_S + grace_s, PAUSES_S[:1]):
        return tuple(f"job step {step} ({name})" for step, name in found.items())
    raise LaunchError(
        f"Slurm does not end what an earlier driver left: {', '.join(found)}"
        if answered
        else "Slurm's controller does not answer, so that nobody knows what an earlier driver of this study left"
    )


_NOT_HERE = "there is no squeue on PATH, so that nobody knows what an earlier driver of this study left in Slurm"


def _is_here() -> bool:
    return shutil.which("squeue") is not None


def _counts_ending() -> Callable[[str], bool]:
    """Whether a job in a state is still to be waited for; one that is ending only for a while."""
    until = time.monotonic() + _ENDING_S
    return lambda state: state not in cmd.ENDING or time.monotonic() < until
