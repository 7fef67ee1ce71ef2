"""What one study asks of the cluster: each method makes its requests and returns when they are answered."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence

import attrs

from hpo_core import Evaluation
from hpo_k8s import _manifest
from hpo_k8s._access import rules
from hpo_k8s._client import Client, Patience, selector
from hpo_k8s._connection import ApiError, Object, Stopped
from hpo_k8s._files import Layout
from hpo_k8s._jobs import Jobs
from hpo_k8s._manifest import EVALUATION, anchor_name, name_of, study_labels
from hpo_k8s._pods import read
from hpo_k8s._sweep import end_pod, is_finished

AGAIN_S = 3.0
"""When a Job is asked for again that a quota refused."""
_ENDING_S = 30.0
"""Patience with requests that end something: nobody waits for the end of all patience to stop a study."""


class Requests:
    """The requests of one study; to be used from any thread.

    Args:
        client: talks to the API server.
        study_id: of the study.
        jobs: makes its Jobs.
        layout: where files are.
        notice: takes a sentence for people.

    Attributes:
        used: whether anything may have been made, or was adopted.
    """

    def __init__(
        self, client: Client, study_id: str, jobs: Jobs, layout: Layout, notice: Callable[[str], None]
    ) -> None:
        self._client, self._study_id, self._jobs, self._layout = client, study_id, jobs, layout
        self._notice = notice
        ending_s = min(_ENDING_S, client.patience.away_s)
        self._ending = Patience(ending_s, ending_s)
        self._making = threading.Lock()
        self._anchor: Object | None = None
        self._made: set[str] = set()
        self._lost = False
        self.used = False

    # Evaluations

    def create(
        self,
        evaluation: Evaluation,
        garbage: Sequence[str],
        wanted: Callable[[], bool],
        short_of_quota: Callable[[str], None],
    ) -> str:
        """Make an evaluation's Job.

        Args:
            evaluation: what is to run.
            garbage: checkpoints that its pod deletes.
            wanted: says whether it still is.
            short_of_quota: takes the cluster's words where a quota has no room, and it is tried again.

        Returns:
            nothing, or why it could not be made.
        """
        try:
            patience = attrs.evolve(self._client.patience, wanted=wanted)
            owner = self._ensure_study(patience, wide=len(evaluation.slots) > 1)
            job = self._jobs.job(evaluation, owner, garbage)
            while wanted():
                try:
                    if self._create_once(job, evaluation, patience):
                        return ""
                except ApiError as error:
                    if error.status != 403 or "exceeded quota" not in str(error):
                        raise
                    short_of_quota(str(error))
                    self._client.wait(AGAIN_S)
        except Stopped:
            raise
        except ApiError as error:
            return self._explain(error)
        return "it is not wanted any more"

    def _create_once(self, job: Object, evaluation: Evaluation, patience: Patience) -> bool:
        """Make a Job, whose name tells it from all others: to ask twice makes one."""
        try:
            self._client.create("jobs", job, patience)
        except ApiError as error:
            if error.status != 409:
                raise
            there = self._find(job["metadata"]["name"])
            if there is None or "deletionTimestamp" in there["metadata"]:
                self._client.wait(0.5)
                return False
            if not _is_of(there, evaluation):
                raise
        return True

    def adoptable(self, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
        """Those whose Jobs are there; the study's own objects become this driver's."""
        query, patience = self._query(), Patience(120.0, 120.0)
        jobs = {job["metadata"]["name"]: job for job in self._client.all("jobs", query, patience=patience)[0]}
        if not jobs:
            return []
        self._ensure_study(patience, wide=False)
        pods = {
            (pod["metadata"].get("labels") or {}).get(EVALUATION)
            for pod in self._client.all("pods", query, patience=patience)[0]
        }
        found = []
        for evaluation in evaluations:
            job = jobs.get(name_of(evaluation.name))
            if job is None or "deletionTimestamp" in job["metadata"] or not _is_of(job, evaluation):
                continue
            if job["metadata"]["name"] in pods or not is_finished(job):
                found.append(evaluation)
        self.used = True
        return found

    def terminate(self, name: str, grace_s: float, width: int) -> list[Object]:
        """End the pods of a Job, which has so many; gives those that there were, and sees to it that no more come."""
        live = self.pods_of(name, self._ending)
        if len(live) < width:
            self._client.delete("jobs", name, patience=self._ending)
            live = self.pods_of(name, self._ending)
        running = [pod["metadata"]["name"] for pod in live if not read(pod, EVALUATION).over]
        if not all(end_pod(self._client, pod, grace_s, self._ending) for pod in running):
            self._client.delete("jobs", name, patience=self._ending)
        return live

    def pods_of(self, name: str, patience: Patience | None = None) -> list[Object]:
        """The pods of a Job."""
        query = self._query(**{EVALUATION: name})
        return self._client.all("pods", query, patience=patience)[0]

    def _find(self, name: str) -> Object | None:
        """A Job, if there is one."""
        try:
            return self._client.get("jobs", name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def why_no_pod(self, name: str) -> tuple[bool, list[str]]:
        """Whether a Job is there, and what was said where its pods were refused."""
        try:
            there = self._find(name)
        except Stopped:
            raise
        except ApiError:
            return True, []  # It is asked again.
        if there is None:
            return False, []
        try:
            events, _ = self._client.all("events", {"fieldSelector": f"involvedObject.name={name}"})
        except ApiError:
            events = []  # They are for people; not everybody may read them.
        return True, [one.get("message", "") for one in events if one.get("reason") == "FailedCreate"]

    def delete(self, names: Collection[str]) -> None:
        """Delete Jobs with their pods."""
        labels = f"{selector(study_labels(self._study_id))},{EVALUATION} in ({','.join(names)})"
        self._client.delete_all("jobs", labels)

    def clear(self, garbage: Sequence[str], within_s: float) -> bool:
        """Delete checkpoints by a Job of its own; gives whether it ended in time."""
        if self._anchor is None:
            return False
        job, patience = self._jobs.clearing(_manifest.owner("ConfigMap", self._anchor), garbage), Patience(5.0, 5.0)
        self._client.create("jobs", job, patience)
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            if is_finished(self._client.get("jobs", job["metadata"]["name"], patience)):
                return True
            self._client.wait(0.3)
        return False

    # What belongs to the study as a whole

    def lost(self) -> None:
        """Somebody may have deleted all that is the study's: it is looked for before the next Job."""
        self._lost = True

    def _ensure_study(self, patience: Patience, *, wide: bool) -> Object:
        """Make what evaluations need beside their Jobs, once; gives the reference to the owner of all."""
        with self._making:
            if self._lost:
                self._lost, self._anchor = False, None
                self._made.clear()
            if self._anchor is None:
                self._anchor = self._make_anchor(patience)
            owner = _manifest.owner("ConfigMap", self._anchor)
            if self._layout.sources is not None:
                self._make_once("configmaps", _manifest.sources(self._study_id, self._layout.sources, owner), patience)
            if wide:
                self._make_once("services", _manifest.service(self._study_id, owner), patience)
            return owner

    def _make_anchor(self, patience: Patience) -> Object:
        owners = self._driver_pod()
        anchor = self._make("configmaps", _manifest.anchor(self._study_id, owners), patience)
        if (anchor["metadata"].get("ownerReferences") or []) == owners:
            return anchor
        try:
            return self._client.patch(
                "configmaps", anchor_name(self._study_id), {"metadata": {"ownerReferences": owners}}
            )
        except ApiError as error:
            if error.status != 403:
                raise
            self._notice(f"the study still belongs to the pod of an earlier driver, and goes with it: {error}")
            return anchor

    def _driver_pod(self) -> list[Object]:
        """The pod that we run in, as the owner of all: who deletes it, deletes all."""
        name = os.environ.get("HPO_POD_NAME") or os.environ.get("HOSTNAME", "")
        if not self._client.in_cluster or not name:
            return []
        found, _ = self._client.all("pods", {"fieldSelector": f"metadata.name={name}"})
        return [_manifest.owner("Pod", pod) for pod in found]

    def _make_once(self, kind: str, body: Object, patience: Patience) -> None:
        name = body["metadata"]["name"]
        if (kind + name) not in self._made:
            self._make(kind, body, patience)
            self._made.add(kind + name)

    def _make(self, kind: str, body: Object, patience: Patience) -> Object:
        try:
            made = self._client.create(kind, body, patience)
        except ApiError as error:
            self.used = self.used or error.status in (0, 409) or error.status >= 500
            if error.status != 409:
                raise
            return self._client.get(kind, body["metadata"]["name"])
        self.used = True
        return made

    def _query(self, **labels: str) -> dict[str, str]:
        return {"labelSelector": selector({**study_labels(self._study_id), **labels})}

    def _explain(self, error: ApiError) -> str:
        where = f"namespace '{self._client.namespace}'"
        if error.status == 403 and "exceeded quota" in str(error):
            return f"a quota of {where} has no room for what a study needs beside its Jobs: {error}"
        if error.status in (401, 403):
            return f"the cluster refuses: {error}; what has to be allowed is in the Role in hpo-k8s's README{rules()}"
        if error.status == 404:
            return f"there is no {where}: {error}"
        if error.status in (400, 422):
            return f"Kubernetes refuses the Job: {error}"
        return f"its Job could not be made in {where}: {error}"


def _is_of(job: Object, evaluation: Evaluation) -> bool:
    notes = job["metadata"].get("annotations") or {}
    return bool(notes.get("hpo-core/evaluation") == evaluation.name)
