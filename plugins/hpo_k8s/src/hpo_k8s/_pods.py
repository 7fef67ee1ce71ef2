"""What a pod says, and what is to be made of it: pure functions of the API's objects."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from attrs import frozen

from hpo_core import Failure
from hpo_k8s._connection import Object
from hpo_k8s._jobs import CONTAINER
from hpo_k8s._prologue import FILES

INDEX = "batch.kubernetes.io/job-completion-index"

NEVER_STARTS = frozenset(
    {"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
"""Reasons of waiting that do not heal by themselves."""
NO_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"})
CANNOT_START = frozenset({"StartError", "ContainerCannotRun"})

_DISRUPTIONS = {
    "PreemptionByScheduler": Failure.PREEMPTED,
    "EvictionByEvictionAPI": Failure.PREEMPTED,
    "TerminationByKubelet": Failure.PREEMPTED,
    "DeletionByTaintManager": Failure.NODE_LOST,
    "DeletionByPodGC": Failure.NODE_LOST,
}
_PODS_OWN = {
    "Evicted": Failure.PREEMPTED,
    "Preempting": Failure.PREEMPTED,
    "Shutdown": Failure.PREEMPTED,
    "NodeShutdown": Failure.PREEMPTED,
    "Terminated": Failure.PREEMPTED,
    "NodeLost": Failure.NODE_LOST,
    "NodeAffinity": Failure.NODE_LOST,
    "UnexpectedAdmissionError": Failure.NODE_LOST,
    "OutOfcpu": Failure.NODE_LOST,
    "OutOfmemory": Failure.NODE_LOST,
    "OutOfpods": Failure.NODE_LOST,
}


@frozen
class Pod:
    """One pod as far as it concerns us.

    Attributes:
        name: of the pod.
        evaluation: name of the evaluation, by its label.
        index: its place among the pods of its Job.
        node: where it is; empty: nowhere yet.
        preparing: whether a container runs that has to end before ours begins.
        unprepared: why such a one failed, in its own words.
        started: whether our container ran, or runs.
        ended: whether our container has ended, or never will run.
        settled: whether the pod as a whole has: nothing is added to its state after that.
        deleting: whether somebody deleted it.
        grace_s: what it was given then.
        gone: whether there is no such pod any more.
        exit_code: of our container.
        reason, message: of our container's end or waiting.
        own_reason, own_message: of the pod as a whole.
        disruption, disrupted_by: why it has to go, and in whose words.
        unschedulable: the scheduler's words, where it found no node.
        memory_limit: of our container, whoever set it; empty: none.
    """

    name: str
    evaluation: str
    index: int = 0
    node: str = ""
    preparing: bool = False
    unprepared: str = ""
    started: bool = False
    ended: bool = False
    settled: bool = False
    deleting: bool = False
    grace_s: float = 0.0
    gone: bool = False
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    own_reason: str = ""
    own_message: str = ""
    disruption: str = ""
    disrupted_by: str = ""
    unschedulable: str = ""
    memory_limit: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing of it runs."""
        return self.ended or self.gone


@frozen
class Verdict:
    """How an evaluation ended, as `hpo_core.events.Ended` has it."""

    exit_code: int | None = None
    signal: int | None = None
    failure: Failure | None = None
    message: str = ""


def read(pod: Object, evaluation_label: str) -> Pod:
    """A pod of the API; it may hold next to nothing."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    labels = metadata.get("labels") or {}
    ours = [one for one in status.get("containerStatuses") or () if one["name"] == CONTAINER]
    state = (ours[0].get("state") or {}) if ours else {}
    ended, waiting = state.get("terminated"), state.get("waiting") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    disruption = conditions.get("DisruptionTarget", {})
    scheduled = conditions.get("PodScheduled", {})
    phase = status.get("phase", "Pending")
    settled = phase in ("Succeeded", "Failed")
    before = status.get("initContainerStatuses") or ()
    state_before: Object = next((one["state"] for one in before if not _is_done(one.get("state") or {})), {})
    if waiting.get("reason", "PodInitializing") == "PodInitializing":
        waiting = state_before.get("waiting") or waiting
    detail = ended or waiting
    return Pod(
        name=metadata["name"],
        evaluation=labels.get(evaluation_label, ""),
        index=int(labels.get(INDEX, (metadata.get("annotations") or {}).get(INDEX, 0))),
        node=(pod.get("spec") or {}).get("nodeName", ""),
        preparing="running" in state_before,
        unprepared=_unprepared(before),
        started="running" in state or (ended is not None and ended.get("reason") not in CANNOT_START),
        ended=ended is not None or settled,
        settled=settled,
        deleting="deletionTimestamp" in metadata,
        grace_s=float(metadata.get("deletionGracePeriodSeconds") or 0),
        exit_code=None if ended is None else ended.get("exitCode"),
        reason=detail.get("reason", ""),
        message=detail.get("message", ""),
        own_reason=status.get("reason", ""),
        own_message=status.get("message", ""),
        disruption=disruption.get("reason", "") if disruption.get("status") == "True" else "",
        disrupted_by=disruption.get("message", ""),
        unschedulable=scheduled.get("message", "no node fits")
        if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
        else "",
        memory_limit=_memory_limit((pod.get("spec") or {}).get("containers") or ()),
    )


def _memory_limit(containers: Sequence[Object]) -> str:
    limits = [(one.get("resources") or {}).get("limits") or {} for one in containers if one["name"] == CONTAINER]
    return str(limits[0].get("memory", "")) if limits else ""


def _is_done(state: Object) -> bool:
    """Whether a container before ours ended as it should."""
    ended = state.get("terminated")
    return ended is not None and ended.get("exitCode") == 0


def _unprepared(before: Sequence[Object]) -> str:
    """Why our container never begins, if one before it failed."""
    for one in before:
        ended = (one.get("state") or {}).get("terminated")
        if ended is not None and not _is_done(one["state"]):
            said = (ended.get("message") or "").strip() or f"exit code {ended.get('exitCode')}, {ended.get('reason')}"
            return said if one["name"] == FILES else f"its container {one['name']} failed: {said}"
    return ""


def verdict(pods: Sequence[Pod], memory_limit: str = "") -> Verdict:
    """What an evaluation comes to whose pods are over, ended by nobody of us.

    Args:
        pods: all of them; where there are several, that of index 0 speaks unless another failed first.
        memory_limit: of one pod, for people; empty: as the pod has it.
    """
    pods = sorted(pods, key=_index)
    failed = [pod for pod in pods if not (pod.ended and pod.exit_code == 0 and pod.reason != "OOMKilled")]
    if not failed:
        return Verdict(exit_code=0)
    own = [pod for pod in failed if not pod.deleting and not pod.gone]
    return _verdict((own or failed)[0], memory_limit)


def _verdict(pod: Pod, memory_limit: str) -> Verdict:
    if pod.own_reason == "DeadlineExceeded":
        return Verdict(failure=Failure.TIME_LIMIT, message=f"pod {pod.name} ran longer than its deadline (deadline_s)")
    for reasons, reason, words in (
        (_PODS_OWN, pod.own_reason, pod.own_message),
        (_DISRUPTIONS, pod.disruption, pod.disrupted_by),
    ):
        if reason in reasons and not (pod.ended and pod.exit_code == 0):
            return Verdict(
                exit_code=pod.exit_code,
                failure=reasons[reason],
                message=f"pod {pod.name} had to go: {reason}{_said(words)}",
            )
    if pod.unprepared and not pod.started:
        return Verdict(
            failure=Failure.COULD_NOT_START,
            message=f"what it needs could not be made ready in pod {pod.name}: {pod.unprepared}",
        )
    if pod.reason == "OOMKilled":
        limit = memory_limit or pod.memory_limit or "its node has"
        return Verdict(
            exit_code=pod.exit_code,
            failure=Failure.MEMORY_LIMIT,
            message=f"out of memory: a process of pod {pod.name} held more than {limit}",
        )
    if pod.reason in CANNOT_START:
        return Verdict(
            exit_code=pod.exit_code,
            failure=Failure.COULD_NOT_START,
            message=f"the command could not be started in pod {pod.name}: {pod.message or pod.reason}",
        )
    if pod.reason == "ContainerStatusUnknown":
        return Verdict(failure=Failure.NODE_LOST, message=f"the node lost track of pod {pod.name}{_said(pod.message)}")
    if pod.exit_code is None:
        why = "was deleted by somebody else, or went away with its node" if pod.gone else "failed without a word"
        return Verdict(failure=Failure.NODE_LOST, message=f"pod {pod.name} {why}{_said(pod.own_message)}")
    if pod.deleting:
        return Verdict(
            exit_code=pod.exit_code,
            failure=Failure.NODE_LOST,
            message=f"pod {pod.name} was deleted by somebody else while it ran",
        )
    return of_code(pod.exit_code)


def of_code(code: int) -> Verdict:
    """The end of a command: a shell and a container both say 128 + N of signal N."""
    if 128 < code < 128 + signal.NSIG:
        return Verdict(signal=code - 128)
    return Verdict(exit_code=code)


def _said(words: str) -> str:
    return f": {words}" if words else ""


def _index(pod: Pod) -> int:
    return pod.index
