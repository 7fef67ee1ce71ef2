"""The workload manager ``slurm``: one allocation, watched from a thread of its own."""

from __future__ import annotations

import os
import re
import secrets
import select
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hpo_core import AllocationError, Capability, Node, WorkloadManager
from hpo_core.allocation import AllocationRequest
from hpo_core.events import AllocationLost, AllocationNotice, EventLoop, NodesJoined, NodesLeft
from hpo_core.trial import Failure
from hpo_slurm import _commands as cmd
from hpo_slurm._child import Child
from hpo_slurm._clerk import Clerk
from hpo_slurm._client import Client, environment
from hpo_slurm._commands import Job
from hpo_slurm._guarding import Guard
from hpo_slurm._holder import Holder
from hpo_slurm._inquiry import inquire, share_out
from hpo_slurm._options import SlurmOptions

_FIRST_WORD_S = 3.0
"""How long `acquire` waits for what salloc says of a request: it refuses wrong ones at once."""

_CONFIRM_S = 20.0
"""How long `release` waits until Slurm says that all is given back; then the guard goes on alone."""

_CLEAN_S = 60.0
_ENDING_S = 3.0
"""How long a job that is ending is given to show why."""

_SILENCE_S = 30.0
"""A silence of the controller that is worth a word."""

_MOST_BACKOFF_S = 60.0
_NEAR_THE_LIMIT_S = 90.0
"""Slurm looks at time limits about once a minute."""


class SlurmManager(WorkloadManager):
    """Nodes of one Slurm allocation: its own, or one that is there already and is never ended.

    A thread asks Slurm how the job stands, seldom and with limits of time; what it learns is posted to the loop.
    A controller that does not answer means nothing: nodes leave only when Slurm says so, or srun can't reach them.
    """

    name = "slurm"
    interface_version = 1
    default_launcher = "slurm"
    capabilities = frozenset({Capability.MULTI_NODE, Capability.SPAWNS})
    Options = SlurmOptions
    options: SlurmOptions

    def __init__(self, options: SlurmOptions | None = None) -> None:
        super().__init__(options or SlurmOptions())
        self.client = Client(self.options.command_timeout)
        self.job: int | None = None
        self.clerk: Clerk | None = None
        self._lock = threading.RLock()
        self._nodes: dict[str, Node] = {}
        self._suspects: set[str] = set()
        self._guard: Guard | None = None
        self._holder: Holder | None = None
        self._salloc: subprocess.Popen[str] | None = None
        self._spawned: list[Child] = []
        self._lost: AllocationLost | None = None
        self._words = "no allocation was asked for yet"

    @classmethod
    def detect(cls) -> str | None:
        answer = Client(5.0).run(("scontrol", "ping"))
        if answer is None or answer.code:
            return None
        up = [line.strip() for line in answer.out.splitlines() if re.search(r"\bUP\b", line)]
        return f"scontrol ping: {up[0]}" if up else None

    # Getting nodes

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        try:
            self._arguments = shlex.split(request.args)
        except ValueError as error:
            raise AllocationError(f"alloc_args={request.args!r} cannot be split into words: {error}") from error
        self._request, self._events = request, events
        self.client = Client(self.options.command_timeout)
        self._renewals, self._lost, self._refused = 0, None, ""
        self._ends_at: float | None = None
        self._nodes, self._suspects = {}, set()
        self.owned = not self._find_allocation()
        self._mark = f"{request.name}:{secrets.token_hex(6)}"
        self._guard = Guard(self._mark)
        self._begin_watching()
        try:
            if self.owned:
                self._ask_for_nodes()
        except BaseException:
            self.release()
            raise
        self._clerk.call(self._start_watching)

    def attach(self, events: EventLoop) -> None:
        with self._lock:
            self._events = events
            self._said = ""
            if self._nodes:
                events.post(NodesJoined(tuple(self._nodes.values())))
            if self._lost is not None:
                events.post(self._lost)

    def explain(self) -> str:
        return self._words

    def _find_allocation(self) -> bool:
        """Look for an allocation that is there already, named by the user or by the job around us."""
        self.job, asked = (self._request.jobid or None), "alloc_jobid"
        if self.job is None:
            text = os.environ.get("SLURM_JOB_ID") or os.environ.get("SLURM_JOBID") or ""
            self.job, asked = (int(text) if text.isdigit() else None), "SLURM_JOB_ID"
        if self.job is None:
            return False
        job = self.client.job(self.job)
        if job is None or job.state in cmd.PENDING | cmd.STARTING | cmd.RUNNING:
            return True  # Without an answer it is waited for, as one that is queued.
        became = f"is over: {job.state}" if job.state else "is not known to Slurm"
        if self._request.jobid:
            raise AllocationError(
                f"alloc_jobid={self.job}: this allocation {became}; give the number of one that waits or runs "
                "(squeue shows them), or 0 for a new one"
            )
        self._notice(f"{asked}={self.job} in the environment {became}; a new allocation is asked for")
        self.job = None
        return False

    def _ask_for_nodes(self) -> None:
        """Start salloc, and hear its first words: what can never be met it refuses at once."""
        request = self._request
        words = cmd.salloc_words(
            request.name,
            self._mark,
            request.nodes,
            request.timeout_s,
            exclusive=self.options.exclusive,
            arguments=self._arguments,
        )
        self.job, self._heard = None, ""
        self._words = "an allocation is being asked for"
        try:
            self._salloc = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**environment(), **request.environment},
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise AllocationError(f"salloc cannot be started ({error.strerror}): is Slurm on this machine?") from error
        self._tell_guard(f"salloc {self._salloc.pid}")
        until = time.monotonic() + _FIRST_WORD_S
        while self.job is None and self._salloc is not None and time.monotonic() < until:
            if select.select([self._stderr], [], [], max(0.0, until - time.monotonic()))[0]:
                self._hear_salloc()
        if self._refused:
            raise AllocationError(f"Slurm refuses the allocation: {self._refused} (asked: {shlex.join(words)})")

    @property
    def _stderr(self) -> int:
        if self._salloc is None or self._salloc.stderr is None:
            raise RuntimeError("salloc does not run")
        return self._salloc.stderr.fileno()

    def _hear_salloc(self) -> None:
        """Take what salloc says; at its end, see whether it was a grant or a refusal."""
        salloc = self._salloc
        if salloc is None or salloc.stderr is None:
            return
        data = os.read(self._stderr, 4096)
        self._heard += data.decode(errors="replace")
        found = cmd.GRANTED.search(self._heard) or cmd.QUEUED.search(self._heard)
        if found and self.job is None:
            self.job = int(found.group(1))
            self._tell_guard(f"job {self.job}")
        if data:
            return
        code = salloc.wait()
        salloc.stderr.close()
        self._salloc = None
        self._tell_guard("salloc 0")
        if code and not cmd.GRANTED.search(self._heard):
            self._refused = cmd.complaint(self._heard) or f"salloc ended with code {code}"

    # Watching, in the clerk's thread

    @property
    def _clerk(self) -> Clerk:
        if self.clerk is None:
            raise RuntimeError("there is no allocation")
        return self.clerk

    def _begin_watching(self) -> None:
        self._said = ""
        self._silent_since: float | None = None
        self._ending_since: float | None = None
        self._told_silence = False
        self._hurries = False
        self._delay_s = self.options.poll
        self.clerk = Clerk(lambda text: self._lose(text, Failure.ALLOCATION_ENDED))

    def _start_watching(self) -> None:
        if self._salloc is not None:
            fd = self._stderr
            self._clerk.watch(fd, partial(self._salloc_speaks, fd))
        self._tick()

    def _salloc_speaks(self, fd: int) -> None:
        before = self.job
        self._clerk.unwatch(fd)
        self._hear_salloc()
        if self._salloc is not None:
            self._clerk.watch(fd, partial(self._salloc_speaks, fd))
        if self._refused:
            self._lose(f"Slurm refuses the allocation: {self._refused}", Failure.ALLOCATION_ENDED)
        elif self.job is not None and (before is None or self._salloc is None):
            self.look()

    def _tick(self) -> None:
        if self._lost is None:
            self.look()
            self._clerk.call_later(self._next_look_s(), self._tick)

    def _next_look_s(self) -> float:
        if self._silent_since is not None:
            self._delay_s = min(max(self._delay_s, 0.5) * 2, max(_MOST_BACKOFF_S, self.options.poll))
        else:
            self._delay_s = self.options.poll
        return min(self._delay_s, 0.5) if self._hurries or self._ending_since is not None else self._delay_s

    def look(self) -> bool | None:
        """Ask Slurm how the job stands and post what is new; clerk's thread only.

        Returns:
            whether it runs; None where Slurm did not answer, or it is ending and does not say why yet.
        """
        number = self.job
        if number is None or self._lost is not None:
            return False
        job = self.client.job(number)
        if job is None:
            self._note_silence()
            return None
        self._note_answer()
        self._hurries = False
        if job.state in cmd.PENDING | cmd.STARTING:
            self._waits(job)
        elif job.state in cmd.RUNNING:
            self._runs(job)
        elif job.state in cmd.ENDING:
            self._is_ending(job)
        else:
            self._is_over(job)
        return None if self._ending_since is not None else bool(self._nodes)

    def _note_silence(self) -> None:
        now = self._clerk.now()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > _SILENCE_S and not self._told_silence:
            self._told_silence = True
            self._notice("Slurm's controller does not answer; what runs goes on, nothing new can be started")

    def _note_answer(self) -> None:
        if self._silent_since is not None:
            self._silent_since = None
            if self._told_silence:
                self._told_silence = False
                self._notice("Slurm's controller answers again")

    def _waits(self, job: Job) -> None:
        if self._nodes:
            self._drop(tuple(self._nodes), "the job was put back into the queue", Failure.PREEMPTED)
        self._words = f"job {job.id} waits: {job.reason}" if job.state in cmd.PENDING else f"job {job.id}'s nodes start"
        if job.reason in cmd.NEVER and self.owned:
            self._cancel_job()
            self._lose(
                f"Slurm would let job {job.id} wait for ever ({job.reason}): ask for what its partition allows, "
                "by nodes, alloc_timeout and alloc_args",
                Failure.ALLOCATION_ENDED,
            )
        elif job.reason in ("None", ""):
            self._hurries = True
        else:
            self._say(self._words)

    def _runs(self, job: Job) -> None:
        self._ending_since = None
        self._words = f"job {job.id} runs on {len(job.nodes)} nodes"
        if job.left_s is not None:
            self._words += f", {job.left_s / 60:.0f} min left"
        self._ends_at = None if job.left_s is None else self._clerk.now() + job.left_s
        with self._lock:
            gone = tuple(name for name in self._nodes if name not in job.nodes)
            self._suspects.intersection_update(job.nodes)
            usable = tuple(name for name in job.nodes if name not in self._suspects)
        if gone:
            self._drop(gone, "node failure, says Slurm", Failure.NODE_LOST)
        if not self._nodes and not gone and usable:
            self._join(job, usable)

    def _join(self, job: Job, names: tuple[str, ...]) -> None:
        """The allocation's nodes are there."""
        request = self._request
        if not self.owned and request.nodes > 1:
            if request.nodes > len(names):
                self._notice(f"nodes={request.nodes}, and job {job.id} has {len(names)}: these are used")
            names = names[: request.nodes]
        wanted = request.slots or max(1, len(names) // request.nodes_per_eval)
        slots = max(1, -(-wanted * request.nodes_per_eval // len(names)))
        found = inquire(self.client, job.id, names, cores=self.options.pin_cores)
        if found.problem:
            self._notice(found.problem)
        nodes = tuple(
            Node(
                name,
                slots,
                share_out(found.gpus.get(name, ()), slots),
                found.cores.get(name, ()) if self.options.pin_cores else (),
                self._ends_at,
            )
            for name in names
        )
        with self._lock:
            self._nodes = {node.name: node for node in nodes}
            self._events.post(NodesJoined(nodes, more=False))
        if self.owned and self.options.holder_patience and self._holder is None:
            self._holder = Holder(
                self._clerk,
                job.id,
                names,
                Path(self.options.shared_dir or "."),
                self.options.holder_patience,
                notice=self._notice,
            )
            self._tell_guard(f"folder {self._holder.folder}")

    def _is_ending(self, job: Job) -> None:
        """It is ending, and its last state will say why."""
        if self._ending_since is None:
            self._ending_since = self._clerk.now()
        elif self._clerk.now() - self._ending_since > _ENDING_S:
            self._is_over(job)

    def _is_over(self, job: Job) -> None:
        self._ending_since = None
        failure, text = self._cause(job)
        self._words = f"job {job.id} is over: {text}"
        self._close_holder()
        if self._nodes:
            self._drop(tuple(self._nodes), text, failure)
        if self._may_renew() and job.state != "CANCELLED":
            self._ask_again(text)
        else:
            self._lose(text, failure)

    def renew(self) -> bool:
        job = self.job
        if self.clerk is None or job is None or self._lost is not None or not self._may_renew():
            return False
        self.clerk.call(lambda: self._exchange(job))
        return True

    def _may_renew(self) -> bool:
        return self.owned and self._renewals < self.options.renewals

    def _exchange(self, job: int) -> None:
        """Give an allocation back whose time is nearly over, unless another one has taken its place already."""
        if self.job == job and self._lost is None:
            text = f"the time of allocation {job} is nearly over"
            self._close_holder()
            self._drop(tuple(self._nodes), text, Failure.ALLOCATION_ENDED)
            self.client.cancel([job])
            self._ask_again(text)

    def _ask_again(self, why: str) -> None:
        self._renewals += 1
        self._suspects.clear()
        self._notice(f"{why}; asking for another allocation ({self._renewals} of {self.options.renewals})")
        try:
            self._ask_for_nodes()
        except AllocationError as error:
            self._lose(str(error), Failure.ALLOCATION_ENDED)
            return
        if self._salloc is not None:
            fd = self._stderr
            self._clerk.watch(fd, partial(self._salloc_speaks, fd))
        self._clerk.call(self._look_again)

    def _look_again(self) -> None:
        self.look()

    def _cause(self, job: Job) -> tuple[Failure, str]:
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
        if job.reason == "TimeLimit" or self.ends_soon():
            return Failure.ALLOCATION_ENDED, f"the time of allocation {job.id} is over"
        return Failure.ALLOCATION_ENDED, f"allocation {job.id} ended ({job.state.lower()})"

    def _drop(self, names: tuple[str, ...], reason: str, failure: Failure) -> None:
        with self._lock:
            left = tuple(name for name in names if self._nodes.pop(name, None) is not None)
            if left:
                self._events.post(NodesLeft(left, reason, failure))

    def _lose(self, reason: str, failure: Failure) -> None:
        with self._lock:
            if self._lost is None:
                self._words = reason
                if self._nodes:
                    self._drop(tuple(self._nodes), reason, failure)
                self._lost = AllocationLost(reason, failure)
                self._events.post(self._lost)

    def _cancel_job(self) -> None:
        if self._salloc is not None:
            self._salloc.terminate()
        if self.job is not None:
            self.client.cancel([self.job])

    def _say(self, text: str) -> None:
        """A notice, where it is news."""
        if text != self._said:
            self._said = text
            self._notice(text)

    def _notice(self, text: str) -> None:
        with self._lock:
            self._events.post(AllocationNotice(text))

    def _tell_guard(self, line: str) -> None:
        if self._guard is not None:
            self._guard.tell(line)

    # What the launcher asks

    def holds(self, name: str) -> bool:
        """Whether a node is there."""
        return name in self._nodes

    def names(self) -> tuple[str, ...]:
        """The nodes that are there."""
        with self._lock:
            return tuple(self._nodes)

    def ends_soon(self) -> bool:
        """Whether the time of the allocation is over, or nearly."""
        return self._ends_at is not None and time.monotonic() > self._ends_at - _NEAR_THE_LIMIT_S

    def node_failed(self, name: str, reason: str) -> None:
        """A node that srun can't reach is used no more, whatever Slurm says of it; any thread."""
        with self._lock:
            if name not in self._nodes:
                return
            self._suspects.add(name)
            self._drop((name,), reason, Failure.NODE_LOST)
            none_left = not self._nodes
        if none_left:
            self._lose("no node of the allocation can be reached", Failure.NODE_LOST)

    def tell_guard(self, line: str) -> None:
        """Say what is to be given back if this process is killed (see `hpo_slurm._guard`)."""
        self._tell_guard(line)

    # Giving back

    def release(self) -> None:
        if self.clerk is None:
            return
        self.client.abort()
        self.clerk.close()
        self.clerk = None
        self._close_holder()
        for child in self._spawned:
            child.forget()
            child.signal(signal.SIGTERM)
        salloc, self._salloc = self._salloc, None
        if salloc is not None:
            salloc.terminate()
        self.client = Client(self.options.command_timeout)
        names = (self._spawn_name,) if self._spawned else ()
        gone = self._give_back(names)
        if salloc is not None:
            _end(salloc)
        for child in self._spawned:
            if not child.wait(2.0):
                child.kill()
                child.wait(5.0)
        self._spawned.clear()
        with self._lock:
            self._nodes, self._suspects = {}, set()
        if self._guard is not None:
            self._guard.close(done=gone)
            self._guard = None
        self._words = "the allocation was given back" if self.owned else "the allocation is left as it was"

    def _give_back(self, names: tuple[str, ...]) -> bool:
        """Cancel what is ours until Slurm says that it is gone."""
        if self._refused and self.job is None:
            return True
        until, pause_s = time.monotonic() + _CONFIRM_S, 0.05
        while True:
            left: list[str | int] | None = [*self._own_steps(names)] if names else []
            if self.owned:
                jobs = self._own_jobs(ending=time.monotonic() < until - _CONFIRM_S + _ENDING_S)
                left = None if jobs is None or left is None else [*left, *jobs]
            if left == []:
                return True
            if time.monotonic() > until:
                return False
            self.client.cancel(left if left is not None else [self.job] if self.owned and self.job else [])
            time.sleep(pause_s)
            pause_s = min(1.0, pause_s * 2)

    def _own_steps(self, names: tuple[str, ...]) -> list[str]:
        steps = self.client.steps()
        return [] if steps is None else [step for step, name in steps if name in names]

    def _own_jobs(self, *, ending: bool) -> list[int] | None:
        """Those that are ours; a job that is ending stays for minutes where a node of it died."""
        jobs = self.client.jobs()
        if jobs is None:
            return None
        return [
            number
            for number, state, _, comment in jobs
            if (number == self.job or comment == self._mark) and (ending or state not in cmd.ENDING)
        ]

    def _close_holder(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def clean(self, study_id: str) -> Sequence[str]:
        """Cancel jobs and steps of this study that an earlier driver left, and wait until they are gone.

        Raises:
            AllocationError: Slurm did not answer within a minute, or something does not end; trying again may help.
        """
        name = f"hpo-{study_id}"
        ours = os.environ.get("SLURM_JOB_ID", "")
        found: dict[str, str] = {}
        left: dict[str, str] = {}
        began, pause_s = time.monotonic(), 0.05
        while True:
            ending = time.monotonic() < began + _ENDING_S
            jobs, steps = self.client.jobs(), self.client.steps()
            if jobs is not None and steps is not None:
                left = {
                    str(number): f"allocation {number} ({state.lower()})"
                    for number, state, called, comment in jobs
                    if (called == name or comment.startswith(f"{name}:"))
                    and str(number) != ours
                    and (ending or state not in cmd.ENDING)
                }
                left |= {step: f"job step {step} ({called})" for step, called in steps if called == f"{name}-spawn"}
                found |= left
                if not left:
                    return tuple(found.values())
                self.client.cancel(list(left))
            if time.monotonic() > began + _CLEAN_S:
                raise AllocationError(
                    f"Slurm's controller did not answer for {_CLEAN_S:.0f} s, so that nobody knows what an earlier "
                    "driver of this study left; try again when 'scontrol ping' says UP"
                    if jobs is None or steps is None
                    else f"Slurm does not end what an earlier driver left: {', '.join(left.values())}"
                )
            time.sleep(pause_s)
            pause_s = min(1.0, pause_s * 2)

    # Programs on nodes

    @property
    def _spawn_name(self) -> str:
        return f"{self._request.name}-spawn"

    def spawn(self, words: Sequence[str], nodes: Sequence[str], ended: Callable[[str], None]) -> None:
        if self.job is None:
            raise AllocationError("there is no allocation on whose nodes a program could be started")
        heard: list[bytes] = []

        def hear(stream: str, data: bytes) -> None:
            heard.append(data)
            del heard[:-20]

        def over(code: int) -> None:
            self._spawned.remove(child)
            ended(b"".join(heard)[-2000:].decode(errors="replace").strip() or f"srun ended with code {code}")

        start = cmd.srun_words(self.job, tuple(nodes), self._spawn_name)
        text = 'HPO_NODE=$SLURMD_NODENAME exec "$0" "$@"'
        command = (*start, "sh", "-c", text, *words)
        own = {**environment(), **self._request.environment}
        self._tell_guard(f"name {self._spawn_name}")
        try:
            child = Child(self._events, lambda _: command, own, hear, over)
        except OSError as error:
            raise AllocationError(f"srun cannot be started: {error.strerror}") from error
        self._spawned.append(child)


def _end(process: subprocess.Popen[str]) -> None:
    """Wait for a process that was told to end."""
    if process.stderr is not None:
        process.stderr.close()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
