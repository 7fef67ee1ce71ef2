"""One evaluation as the clerk knows it."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from attrs import field, mutable

from hpo_core import Evaluation
from hpo_k8s._logs import Feed, Follower
from hpo_k8s._pods import Pod, Verdict


@mutable(eq=False)
class Work:
    """One evaluation.

    Attributes:
        evaluation: what runs.
        name: of its Job.
        feed: its log.
        garbage: checkpoints that are deleted before it begins.
        over: set once its own container has ended.
        pods: by their names, as last seen.
        creating: whether its Job is being asked for.
        created_s: when its Job was there, or None.
        started: whether that was told.
        follower: reads its log.
        following: the same as a task.
        log_done: whether the whole log was passed on.
        grace_s: time between TERM and KILL, where it is to be ended.
        terminated: whether all that takes was asked for.
        terminated_s: when.
        because: how it ends where we end it for a reason of our own.
        verdict: how it ended; the log may still be read.
        told: whether that was.
        forgotten: whether it is on disk.
        over_s: when its pods were first seen over.
        image_s: since when its image can't be had.
        refused_s: since when its pods are refused.
        deleting_s: since when somebody else deletes a pod.
        looked_s: when the reason for having no pod was last asked for.
    """

    evaluation: Evaluation
    name: str
    feed: Feed
    garbage: tuple[tuple[str, ...], ...] = ()
    over: threading.Event = field(factory=threading.Event)
    pods: dict[str, Pod] = field(factory=dict)
    creating: bool = False
    created_s: float | None = None
    started: bool = False
    follower: Follower | None = None
    following: Future[None] | None = None
    log_done: bool = False
    grace_s: float | None = None
    terminated: bool = False
    terminated_s: float = 0.0
    because: Verdict | None = None
    verdict: Verdict | None = None
    told: bool = False
    forgotten: bool = False
    over_s: float | None = None
    image_s: float | None = None
    refused_s: float | None = None
    deleting_s: float | None = None
    looked_s: float = 0.0

    @property
    def width(self) -> int:
        """Pods that it takes."""
        return max(len(self.evaluation.slots), 1)
