"""Jobs are given back: deleted, by force where they take too long, until PBS says that they are gone."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from hpo_core import AllocationError
from hpo_core.clusters import repeat
from hpo_pbs._answers import read_id, sequence
from hpo_pbs._client import Client

FORCE_AFTER_S = 15.0
_PAUSES_S = (0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
_AGAIN_S = 5.0
_CLEAN_S = 60.0


def delete(client: Client, jobs: Sequence[str], limit_s: float, *, silence_s: float = math.inf) -> bool:
    """Delete jobs.

    Args:
        client: of PBS; when it is aborted, this ends too.
        jobs: their ids.
        limit_s: how long that is tried.
        silence_s: how long it is tried while PBS does not answer.

    Returns:
        whether all are gone.
    """
    left, began = list(jobs), time.monotonic()
    deleted_at: float | None = None
    heard_at = began

    def end() -> bool:
        nonlocal left, deleted_at, heard_at
        now = time.monotonic()
        if left and (deleted_at is None or now > deleted_at + _AGAIN_S):
            late = deleted_at is not None and now > began + FORCE_AFTER_S
            answer = client.call(client.dialect.delete(left, force=late))
            deleted_at = None if answer.silent else now
        if deleted_at is not None:
            heard_at = now
        left = client.left(left)
        return not left or client.aborted or now > heard_at + silence_s

    return repeat(end, limit_s, _PAUSES_S) and not left


def clean(client: Client, study_id: str, shared: Path) -> tuple[str, ...]:
    """Delete what an earlier driver of a study left, with its folders in `shared`.

    Returns:
        what that was, for people.

    Raises:
        AllocationError: PBS did not answer within a minute, or a job does not end; trying again may help.
    """
    if shutil.which("qselect") is None:
        raise AllocationError(
            "there is no qselect on PATH, so that nobody knows what an earlier driver of this study left in PBS"
        )
    name = f"hpo-{study_id}"
    answer = client.named(name)

    def answered() -> bool:
        nonlocal answer
        if answer.silent:
            answer = client.named(name)
        return not answer.silent or client.aborted

    repeat(answered, _CLEAN_S, _PAUSES_S)
    if answer.code != 0:
        raise AllocationError(
            f"nobody knows what an earlier driver of this study left, since PBS does not say: {answer.complaint}; "
            "try again when 'qselect' answers"
        )
    folders = list(shared.glob(f".{name}-*"))
    noted = [_noted(file) for folder in folders for file in folder.glob("*/submitted")]
    named = answer.out.split()
    found = dict.fromkeys([*named, *(job for job in noted if job is not None)])
    ours = sequence(os.environ.get("PBS_JOBID", ""))
    left = [job for job in found if sequence(job) != ours and (job in named or client.left([job]))]
    if left and not delete(client, left, _CLEAN_S):
        raise AllocationError(f"PBS does not end what an earlier driver left: job {', job '.join(left)}")
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return tuple(f"job {job} ({name})" for job in left)


def _noted(submitted: Path) -> str | None:
    """The id in what a qsub said; None where there is none, or an earlier driver's guard has just removed it."""
    try:
        return read_id(submitted.read_text(errors="replace"))
    except OSError:
        return None
