"""Whether an evaluation that has not begun ever will: pure functions of what is known of it."""

from __future__ import annotations

from hpo_k8s._options import K8sOptions
from hpo_k8s._pods import NEVER_STARTS, NO_IMAGE, Pod
from hpo_k8s._work import Work


def hopeless(work: Work, options: K8sOptions, now_s: float) -> str:
    """Why it will not, or was waited for too long, with the cluster's own words; empty: it may yet."""
    waiting = [pod for pod in work.pods.values() if not (pod.started or pod.ended or pod.gone)]
    if work.image_s is None and any(pod.reason in NO_IMAGE for pod in waiting):
        work.image_s = now_s
    return next(filter(None, (_hopeless(work, pod, options, now_s) for pod in waiting)), "")


def _hopeless(work: Work, pod: Pod, options: K8sOptions, now_s: float) -> str:
    if pod.reason in NEVER_STARTS:
        return f"pod {pod.name} can't start: {pod.reason}: {pod.message}"
    if pod.reason in NO_IMAGE and work.image_s is not None and now_s - work.image_s >= options.image_timeout_s:
        return f"the image could not be pulled within {options.image_timeout_s:g} s (image_timeout_s): {pod.message}"
    if now_s - (work.created_s or now_s) < options.pending_timeout_s or pod.preparing:
        return ""
    within = f"within {options.pending_timeout_s:g} s (pending_timeout_s)"
    if pod.unschedulable:
        return f"no node was found for pod {pod.name} {within}; the scheduler says: {pod.unschedulable}"
    state = ": ".join(filter(None, (pod.reason, pod.message)))
    return f"pod {pod.name} did not start {within}; it is at {state or 'nothing yet'}"
