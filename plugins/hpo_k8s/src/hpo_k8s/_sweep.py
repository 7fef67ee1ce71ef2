"""Ends what is there of a study, and waits until it is gone."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence

from hpo_k8s._client import Client, Patience, selector
from hpo_k8s._connection import ApiError, Object
from hpo_k8s._manifest import EVALUATION, anchor_name, study_labels
from hpo_k8s._pods import read


def sweep(
    client: Client,
    study_id: str,
    grace_s: float,
    *,
    spare: Collection[str] = (),
    patience_s: float = 60.0,
    lost_timeout_s: float = 60.0,
) -> tuple[list[str], list[str]]:
    """End all pods of a study and delete its Jobs.

    Args:
        client: talks to the API server.
        study_id: of the study.
        grace_s: between TERM and KILL.
        spare: names of evaluations that go on.
        patience_s: how long a server that is away, or busy, is waited for.
        lost_timeout_s: how long the end of pods is waited for, beside their grace.

    Returns:
        Jobs that had not ended and are gone, and pods that are still there.

    Raises:
        ApiError: the server refused, or did not answer.
    """
    labels = selector(study_labels(study_id))
    query, patience = {"labelSelector": labels}, Patience(patience_s, patience_s)
    jobs = [one for one in client.all("jobs", query, patience=patience)[0] if one["metadata"]["name"] not in spare]
    if not spare:
        client.delete("services", anchor_name(study_id), patience=patience) if _is_wide(jobs) else None
        client.delete("configmaps", anchor_name(study_id), patience=patience)
    ended = [one["metadata"]["name"] for one in jobs if not is_finished(one)]
    for pod in _pods(client, query, patience, spare):
        if not read(pod, EVALUATION).over or not pod["metadata"].get("ownerReferences"):
            end_pod(client, pod["metadata"]["name"], grace_s, patience)
    if spare:
        for one in jobs:
            client.delete("jobs", one["metadata"]["name"], patience=patience)
    elif jobs:
        client.delete_all("jobs", labels, patience=patience)
    return ended, _wait_until_gone(client, query, patience, spare, grace_s + lost_timeout_s)


def end_pod(client: Client, name: str, grace_s: float, patience: Patience | None = None) -> bool:
    """TERM now, KILL after the grace.

    Returns:
        whether we may do that; if not, it can go with its Job, in its own time.
    """
    try:
        client.delete("pods", name, grace_s=max(1, math.ceil(grace_s)), patience=patience)
    except ApiError as error:
        if error.status == 403:
            return False
        raise
    return True


def _pods(client: Client, query: dict[str, str], patience: Patience, spare: Collection[str]) -> list[Object]:
    found, _ = client.all("pods", query, patience=patience)
    return [pod for pod in found if (pod["metadata"].get("labels") or {}).get(EVALUATION) not in spare]


def _wait_until_gone(
    client: Client, query: dict[str, str], patience: Patience, spare: Collection[str], limit_s: float
) -> list[str]:
    until_s, pause_s = time.monotonic() + limit_s, 0.05
    while True:
        left: Sequence[Object] = _pods(client, query, patience, spare)
        if not left or time.monotonic() > until_s:
            return [pod["metadata"]["name"] for pod in left]
        time.sleep(pause_s)
        pause_s = min(1.0, pause_s * 1.5)


def is_finished(job: Object) -> bool:
    """Whether a Job is over."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def _is_wide(jobs: Sequence[Object]) -> bool:
    return any(one["spec"].get("completionMode") == "Indexed" for one in jobs)
