"""Keeps account of a study's evaluations on the cluster, from the Job that is asked for to the last word of its log.

One thread, that of the clerk's desk, owns all state: what the driver wants and what the cluster says is told there.
Requests are made by its hands, logs are read by the followers, pods are watched by one more thread.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import attrs

from hpo_core import Evaluation, Failure
from hpo_core.events import AllocationNotice, Ended, Event, EventLoop, Key, Output, Started
from hpo_k8s._client import Client, selector
from hpo_k8s._connection import Object
from hpo_k8s._desk import Desk
from hpo_k8s._logs import Feed, Follower
from hpo_k8s._manager import K8sManager
from hpo_k8s._manifest import EVALUATION, name_of, study_labels
from hpo_k8s._options import K8sOptions
from hpo_k8s._pods import Pod, Verdict, of_code, read, verdict
from hpo_k8s._requests import Requests
from hpo_k8s._waiting import hopeless
from hpo_k8s._watch import Watch
from hpo_k8s._work import Work

_DELETED_AT_ONCE = 50
"""Jobs in one request."""
_GARBAGE_AT_ONCE = 50
"""Checkpoints that one evaluation deletes before it begins."""
_SETTLES_WITHIN_S = 3.0
"""How long the state of a pod is waited for whose container has ended; one with sidecars may never have one."""
_LAST_WORDS_S = 5.0
"""How long the log of what we ended is asked for while nobody answers."""
_PODLESS_S = 3.0
"""How long a Job may lack pods before the reason is asked for; and how often it is."""
_REFUSED_S = 30.0
"""How long pods of a Job may be refused for another reason than a quota."""
_QUOTA_AGAIN_S = 300.0
"""When slots are tried again for which a quota had no room."""


class Clerk:
    """The account of one study; see the module.

    Args:
        client: talks to the API server.
        requests: made for the study.
        options: the user's.
        study_id: of the study.
        events: where evaluations' events are posted.
        manager: gives slots up for which a quota has no room; None: nobody does.
    """

    def __init__(
        self,
        client: Client,
        requests: Requests,
        options: K8sOptions,
        study_id: str,
        events: EventLoop,
        manager: K8sManager | None,
    ) -> None:
        self._client, self._requests, self._options = client, requests, options
        self._events, self._manager = events, manager
        self._works: dict[Key, Work] = {}
        self._by_name: dict[str, Work] = {}
        self._told: set[str] = set()
        self._stop = threading.Event()
        self._followers = ThreadPoolExecutor(options.followers, "hpo-k8s-log")
        self._recorded: list[str] = []
        """Names of Jobs that are needed no more."""
        self._garbage: dict[tuple[str, ...], None] = {}
        """Checkpoints to be deleted: the places where each may be."""
        self._withdrawn_s: float | None = None
        self._proven = False
        self._last_words_s = min(_LAST_WORDS_S, options.patience_s)
        self._desk = Desk("hpo-k8s", self._tick, lambda: bool(self._works or self._recorded), self._break_down)
        watch = Watch(
            client,
            selector(study_labels(study_id)),
            options.watch_s,
            listed=partial(self._desk.tell, self._listed),
            changed=partial(self._desk.tell, self._changed),
            notice=self._notice,
            stop=self._stop,
        )
        self._watching = threading.Thread(target=watch.run, name="hpo-k8s-watch", daemon=True)
        self._watching.start()

    # From the driver

    def launch(self, evaluation: Evaluation) -> None:
        """Make its Job."""
        self._desk.tell(self._launch, evaluation)

    def end(self, key: Key, grace_s: float) -> None:
        """End its pods."""
        self._desk.tell(self._end, key, grace_s)

    def adopt(self, evaluations: Sequence[Evaluation]) -> list[Key]:
        """Go on with those whose Jobs are there.

        Raises:
            ApiError: the server could not be asked.
        """
        found = self._requests.adoptable(evaluations)
        for evaluation in found:
            self._desk.tell(self._adopt, evaluation)
        return [evaluation.key for evaluation in found]

    def forget(self, keys: Sequence[Key]) -> None:
        """Delete their Jobs."""
        self._desk.tell(self._forget, tuple(keys))

    def discard(self, directories: Sequence[Sequence[str]]) -> None:
        """Have checkpoints deleted by the pods of evaluations to come."""
        self._desk.tell(self._take_garbage, [tuple(places) for places in directories])

    @property
    def garbage(self) -> list[tuple[str, ...]]:
        """Checkpoints that no evaluation has deleted; to be asked after `stop`."""
        left = [places for work in self._works.values() for places in work.garbage]
        return [*left, *self._garbage]

    def stop(self) -> None:
        """No event follows; what runs is left to whoever sweeps."""
        self._stop.set()
        self._client.stop()
        self._watching.join()
        self._desk.stop()
        self._followers.shutdown(cancel_futures=True)

    # At the desk

    def _break_down(self, error: Exception) -> None:
        for work in self._works.values():
            if not work.told:
                fault = f"a fault of hpo-k8s, please report it: {error!r}"
                self._post(Ended(work.evaluation.key, failure=Failure.COULD_NOT_START, message=fault))

    def _post(self, event: Event) -> None:
        if not self._stop.is_set():
            self._events.post(event)

    def _notice(self, text: str) -> None:
        self._post(AllocationNotice(text))

    def _notice_once(self, text: str, detail: str = "") -> None:
        """The same text once, whatever the detail; that has a name in it which is another one each time."""
        if text not in self._told:
            self._told.add(text)
            self._notice(text + detail)

    def _add(self, evaluation: Evaluation) -> Work:
        key = evaluation.key
        feed = Feed(lambda data: self._post(Output(key, data)), self._notice)
        work = Work(evaluation, name_of(evaluation.name), feed)
        self._works[key] = self._by_name[work.name] = work
        return work

    def _launch(self, evaluation: Evaluation) -> None:
        work = self._add(evaluation)
        if evaluation.files is not None and evaluation.files.checkpoint:
            work.garbage = tuple(self._garbage)[:_GARBAGE_AT_ONCE]
            for places in work.garbage:
                del self._garbage[places]
        work.creating = True
        self._ask(
            work,
            lambda: self._requests.create(
                evaluation,
                [path for places in work.garbage for path in places],
                lambda: work.grace_s is None and work.verdict is None,
                lambda words: self._desk.tell(self._short_of_quota, work, words),
            ),
            self._created,
        )

    def _adopt(self, evaluation: Evaluation) -> None:
        work = self._add(evaluation)
        work.created_s = time.monotonic()
        self._ask(work, partial(self._requests.pods_of, work.name), self._adopted)

    def _adopted(self, work: Work, pods: Sequence[Object]) -> None:
        for pod in pods:
            self._changed("MODIFIED", pod)

    def _take_garbage(self, directories: Iterable[tuple[str, ...]]) -> None:
        self._garbage.update(dict.fromkeys(directories))

    def _forget(self, keys: Iterable[Key]) -> None:
        for key in keys:
            work = self._works.pop(key, None)
            if work is not None:
                del self._by_name[work.name]
                self._take_garbage(work.garbage)
                work.forgotten = True
                if not work.creating:  # Else it could be made once more, after it was deleted.
                    self._recorded.append(work.name)

    def _created(self, work: Work, refusal: str) -> None:
        work.creating = False
        if not refusal:
            work.created_s = time.monotonic()
        if work.forgotten:
            self._recorded.append(work.name)
        elif work.grace_s is not None:
            self._terminate(work, work.grace_s)
        elif refusal and work.verdict is None:
            self._decide(work, _could_not_start(refusal))

    def _end(self, key: Key, grace_s: float) -> None:
        work = self._works.get(key)
        if work is not None and work.verdict is None and (work.grace_s is None or grace_s < work.grace_s):
            work.grace_s = grace_s
            if work.follower is not None:
                work.follower.patience_s = self._last_words_s
            if not work.creating:
                self._terminate(work, grace_s)

    def _terminate(self, work: Work, grace_s: float) -> None:
        self._ask(work, partial(self._requests.terminate, work.name, grace_s, work.width), self._terminated)

    def _terminated(self, work: Work, pods: Sequence[Object]) -> None:
        self._seen(work, pods)
        work.terminated, work.terminated_s = True, time.monotonic()
        self._judge(work)

    def _listed(self, pods: Sequence[Object]) -> None:
        by_name: dict[str, list[Object]] = {}
        for pod in pods:
            by_name.setdefault((pod["metadata"].get("labels") or {}).get(EVALUATION, ""), []).append(pod)
        for work in list(self._works.values()):
            self._seen(work, by_name.get(work.name, ()))
            self._judge(work)

    def _seen(self, work: Work, pods: Sequence[Object]) -> None:
        """All its pods that there are; what the watch saw end meanwhile stays ended, however old the list is."""
        there = {pod["metadata"]["name"]: read(pod, EVALUATION) for pod in pods}
        gone = {name: attrs.evolve(pod, gone=True) for name, pod in work.pods.items() if name not in there}
        over = {name: pod for name, pod in work.pods.items() if name in there and pod.over}
        work.pods = gone | there | over

    def _changed(self, kind: str, item: Object) -> None:
        pod = read(item, EVALUATION)
        work = self._by_name.get(pod.evaluation)
        if work is None:
            return
        before = work.pods.get(pod.name)
        if before is not None and before.gone:
            return
        if before is not None and before.disruption and not pod.disruption:
            pod = attrs.evolve(pod, disruption=before.disruption, disrupted_by=before.disrupted_by)
        work.pods[pod.name] = attrs.evolve(pod, gone=True) if kind == "DELETED" else pod
        self._judge(work)

    # What an evaluation has come to

    def _judge(self, work: Work) -> None:
        if work.verdict is not None:
            return
        pods = list(work.pods.values())
        self._note_start(work, pods)
        over = all(pod.over for pod in pods)
        if work.grace_s is not None:
            if work.terminated and over:
                self._decide(work, work.because or _ended_by_us(pods))
            return
        failed = any(pod.over and (pod.gone or pod.exit_code != 0) for pod in pods)
        if pods and over and (len(pods) >= work.width or failed):
            work.over_s = work.over_s or time.monotonic()
            settled = all(pod.settled or pod.gone for pod in pods)
            if settled or time.monotonic() - work.over_s > _SETTLES_WITHIN_S:
                self._decide(work, self._verdict(work, pods))
        elif work.created_s is not None:
            self._wait_for(work, pods)

    def _verdict(self, work: Work, pods: Sequence[Pod]) -> Verdict:
        limit = work.evaluation.memory_limit_bytes
        found = verdict(pods, f"{limit / 2**20:.4g} MiB" if limit else "")
        if found.failure is Failure.NODE_LOST:
            self._requests.lost()
        self._proven = self._proven or (found.failure is None and found.exit_code not in (126, 127))
        return found

    def _note_start(self, work: Work, pods: Sequence[Pod]) -> None:
        for pod in pods:
            if pod.index == 0 and pod.over:
                work.over.set()
            if pod.started and pod.index == 0 and not work.started:
                work.started, work.garbage = True, ()
                where = f"pod {pod.name}" + (f" on {pod.node}" if pod.node else "")
                self._post(Started(work.evaluation.key, where))
                patience_s = self._options.patience_s if work.grace_s is None else self._last_words_s
                follower = Follower(self._client, pod.name, work.feed, work.over, self._stop, patience_s)
                work.follower, work.following = follower, self._follow(work, follower, self._followers)

    def _follow(self, work: Work, follower: Follower, pool: ThreadPoolExecutor | None = None) -> Future[None]:
        done = partial(self._log_is_done, work)
        return self._desk.ask(follower.run, done, done, pool)

    def _log_is_done(self, work: Work, fault: Exception | None) -> None:
        if fault is not None:
            self._notice(f"a fault of hpo-k8s, please report it: the log of {work.name} is cut: {fault!r}")
        if work.follower is not None and work.follower.cut and work.grace_s is None:
            self._notice(f"a pod of {work.name} is gone before its log was read to the end: output is lost")
        work.log_done = True
        if work.verdict is not None:
            self._finish(work)

    def _decide(self, work: Work, found: Verdict) -> None:
        """How it ended is known; once its log is whole, that is told."""
        work.verdict = found
        work.over.set()
        if work.following is None or work.log_done:
            self._finish(work)
        elif work.follower is not None and work.following.cancel():  # All threads that follow were busy with others.
            self._follow(work, work.follower)

    def _finish(self, work: Work) -> None:
        if not work.told and work.verdict is not None:
            work.told = True
            found = self._told_apart(work, work.verdict)
            self._post(Ended(work.evaluation.key, found.exit_code, found.signal, found.failure, found.message))

    def _told_apart(self, work: Work, found: Verdict) -> Verdict:
        """A command that could not be run at all is a fault of the set-up."""
        if found.failure is not None or found.exit_code not in (126, 127) or work.grace_s is not None:
            return found
        evaluation = work.evaluation
        if found.exit_code == 126 and evaluation.directory and not work.feed.count:
            message = f"there is no directory {evaluation.directory} in the pod"
        elif evaluation.argv and not self._proven:
            message = f"there is no program '{evaluation.argv[0]}' in the image that can be run"
        else:
            return found
        return attrs.evolve(found, failure=Failure.COULD_NOT_START, message=message)

    def _give_up(self, work: Work, words: str) -> None:
        """End what can't begin."""
        if work.grace_s is None:
            work.because = _could_not_start(words)
            self._end(work.evaluation.key, 0.0)

    # Waiting

    def _wait_for(self, work: Work, pods: Sequence[Pod]) -> None:
        """It has not ended: whether it ever will begin."""
        now_s = time.monotonic()
        words = hopeless(work, self._options, now_s)
        if words:
            self._give_up(work, words)
        for pod in pods:
            if pod.unschedulable:
                self._notice_once(f"pods wait for a node; the scheduler says: {pod.unschedulable}")
            elif pod.deleting and not pod.over:
                work.deleting_s = work.deleting_s or now_s
                if now_s - work.deleting_s > self._options.lost_timeout_s + pod.grace_s:
                    why = pod.disrupted_by or "deleted"
                    words = f"pod {pod.name} was given up with its node {pod.node}: {why}"
                    self._decide(work, Verdict(failure=Failure.NODE_LOST, message=words))
        if len(pods) < work.width and now_s - max(work.looked_s, work.created_s or now_s) >= _PODLESS_S:
            work.looked_s = now_s
            self._ask(work, partial(self._requests.why_no_pod, work.name), self._looked)

    def _looked(self, work: Work, answer: tuple[bool, Sequence[str]]) -> None:
        """Why a Job has fewer pods than it needs."""
        there, messages = answer
        if work.verdict is not None or work.grace_s is not None or len(work.pods) >= work.width:
            return
        now_s = time.monotonic()
        if not there:
            if work.pods:
                return  # They go with it, and each says how.
            words = f"job {work.name} was deleted by somebody else"
            self._requests.lost()
            self._decide(work, Verdict(failure=Failure.NODE_LOST, message=words))
        elif any("exceeded quota" in text for text in messages):
            self._short_of_quota(work, messages[-1])
        elif messages:
            work.refused_s = work.refused_s or now_s
            if now_s - work.refused_s >= _REFUSED_S:
                self._give_up(work, f"the pods of job {work.name} are refused: {messages[-1]}")
        elif now_s - (work.created_s or now_s) >= self._options.pending_timeout_s:
            count = f"{len(work.pods)} of its {work.width} pods" if work.pods else "no pod"
            self._give_up(work, f"job {work.name} was given {count} (pending_timeout_s)")

    def _short_of_quota(self, work: Work, message: str) -> None:
        """There is no room for it: others go first, or it waits."""
        words = f"a quota of namespace {self._client.namespace} has no room for more pods"
        self._notice_once(f"{words}, fewer run at a time: ", message)
        slots = [slot.node for slot in work.evaluation.slots]
        if self._manager is not None and self._manager.withdraw(slots, words):
            self._withdrawn_s = time.monotonic()
            return
        others = any(
            pod.started and not pod.over for one in self._works.values() if one is not work for pod in one.pods.values()
        )
        work.refused_s = None if others else work.refused_s or time.monotonic()
        if work.refused_s is not None and time.monotonic() - work.refused_s >= self._options.pending_timeout_s:
            timeout_s = self._options.pending_timeout_s
            self._give_up(work, f"{words} within {timeout_s:g} s (pending_timeout_s): {message}")

    def _tick(self) -> None:
        now_s = time.monotonic()
        while self._recorded:
            over, self._recorded = self._recorded[:_DELETED_AT_ONCE], self._recorded[_DELETED_AT_ONCE:]
            self._desk.ask(partial(self._requests.delete, over), lambda _: None, self._undeleted)
        for work in list(self._works.values()):
            if work.follower is not None and work.over.is_set():
                work.follower.hurry()
            too_long_s = self._options.lost_timeout_s + (work.grace_s or 0)
            if work.verdict is None and work.terminated and now_s - work.terminated_s > too_long_s:
                names = ", ".join(pod.name for pod in work.pods.values() if not pod.over)
                self._notice(f"gave up waiting for the end of {names}: the node does not answer")
                self._decide(work, work.because or Verdict(signal=signal.SIGKILL))
            else:
                self._judge(work)
        if self._withdrawn_s is not None and now_s - self._withdrawn_s > _QUOTA_AGAIN_S and self._manager is not None:
            self._withdrawn_s = None
            self._manager.restore()

    # Requests

    def _ask(self, work: Work, request: Callable[[], Any], then: Callable[[Work, Any], None]) -> None:
        """Make a request for an evaluation, and go on with its answer."""
        self._desk.ask(request, partial(then, work), partial(self._unanswered, work))

    def _unanswered(self, work: Work, error: Exception) -> None:
        """A request came to nothing, after all patience."""
        if work.verdict is not None:
            return
        if work.grace_s is not None and work.because is None:
            self._notice(f"job {work.name} could not be ended, and is deleted later: {error}")
            self._decide(work, Verdict(signal=signal.SIGKILL))
        else:
            self._decide(work, work.because or _could_not_start(f"the cluster could not be asked: {error}"))

    def _undeleted(self, error: Exception) -> None:
        """They are deleted with the study at the latest."""
        self._notice_once(f"Jobs that are over can't be deleted now: {error}")


def _could_not_start(message: str) -> Verdict:
    return Verdict(failure=Failure.COULD_NOT_START, message=message.removesuffix("."))


def _ended_by_us(pods: Collection[Pod]) -> Verdict:
    codes = [pod.exit_code for pod in sorted(pods, key=lambda pod: pod.index) if pod.exit_code is not None]
    return of_code(codes[0]) if codes else Verdict(signal=signal.SIGKILL)
