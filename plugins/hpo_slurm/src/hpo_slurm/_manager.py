"""The workload manager ``slurm``: one allocation, watched from a thread of its own."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hpo_core import AllocationError, Capability, WorkloadManager
from hpo_core.allocation import AllocationRequest, Node
from hpo_core.clusters import Clerk, Guard, Looks, Standing, lay_out, share_out, split_arguments
from hpo_core.events import EventLoop
from hpo_core.trial import Failure
from hpo_slurm import _commands as cmd
from hpo_slurm import _guard, _leftovers
from hpo_slurm._cause import cause
from hpo_slurm._client import Client, environment
from hpo_slurm._commands import Job
from hpo_slurm._holder import Holder
from hpo_slurm._inquiry import inquire
from hpo_slurm._options import SlurmOptions
from hpo_slurm._programs import Programs
from hpo_slurm._salloc import Salloc

_FIRST_WORD_S = 3.0
"""How long `acquire` waits for what salloc says of a request: it refuses wrong ones at once."""

_CONFIRM_S = 20.0
"""How long `release` waits until Slurm says that all is given back; then the guard goes on alone."""

_ENDING_S = 3.0
"""How long a job that is ending is given to show why."""

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
        self._standing = Standing()
        self._suspects: set[str] = set()
        self._guard: Guard | None = None
        self._holder: Holder | None = None
        self._salloc: Salloc | None = None

    @classmethod
    def detect(cls) -> str | None:
        answer = Client(5.0).ask(("scontrol", "ping"))
        if answer is None or answer.code:
            return None
        up = [line.strip() for line in answer.out.splitlines() if re.search(r"\bUP\b", line)]
        return f"scontrol ping: {up[0]}" if up else None

    # Getting nodes

    def preview(self, request: AllocationRequest) -> str:
        arguments = split_arguments(request.args)
        if request.jobid or _job_around():
            return ""
        return shlex.join(self._words(request, f"{request.name}:MARK", arguments))

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        self._arguments = split_arguments(request.args)
        self._request, self._events = request, events
        self.client = Client(self.options.command_timeout)
        self._standing.begin(events)
        self._renewals, self._suspects = 0, set[str]()
        self._ends_at: float | None = None
        self._ending_since: float | None = None
        self._hurries = False
        self._programs = Programs(f"{request.name}-spawn", request.environment)
        self._looks = Looks("Slurm's controller", self.options.poll, self._standing.notice)
        self.owned = not self._find_allocation()
        self._mark = f"{request.name}:{secrets.token_hex(6)}"
        self._guard = Guard(_guard.__file__, (self._mark,), environment())
        self.clerk = Clerk("hpo-slurm", self._standing.lose)
        try:
            if self.owned:
                salloc = self._ask_for_nodes()
                if salloc.refused:
                    asked = shlex.join(salloc.words)
                    raise AllocationError(f"Slurm refuses the allocation: {salloc.refused} (asked: {asked})")
        except BaseException:
            self.release()
            raise
        self.clerk.call(self._start_watching)

    def attach(self, events: EventLoop) -> None:
        self._events = events
        self._standing.attach(events)

    def explain(self) -> str:
        return self._standing.words

    def _find_allocation(self) -> bool:
        """Look for an allocation that is there already, named by the user or by the job around us."""
        self.job, asked = (self._request.jobid or None), "alloc_jobid"
        if self.job is None:
            self.job, asked = _job_around(), "SLURM_JOB_ID"
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
        self._standing.notice(f"{asked}={self.job} in the environment {became}; a new allocation is asked for")
        self.job = None
        return False

    def _words(self, request: AllocationRequest, mark: str, arguments: Sequence[str]) -> tuple[str, ...]:
        exclusive = self.options.exclusive
        return cmd.salloc_words(
            request.name, mark, request.nodes, request.timeout_s, exclusive=exclusive, arguments=arguments
        )

    def _ask_for_nodes(self) -> Salloc:
        """Start salloc, and hear its first words: what can never be met it refuses at once."""
        request = self._request
        words = self._words(request, self._mark, self._arguments)
        self.job = None
        self._standing.words = "an allocation is being asked for"
        self._salloc = Salloc(words, {**environment(), **request.environment}, self._named)
        self.tell_guard(f"salloc {self._salloc.pid}")
        self._salloc.first_words(_FIRST_WORD_S)
        self.tell_guard(f"salloc {self._salloc.pid}")
        return self._salloc

    def _named(self, job: int) -> None:
        self.job = job
        self.tell_guard(f"job {job}")

    # Watching, in the clerk's thread

    @property
    def _clerk(self) -> Clerk:
        if self.clerk is None:
            raise RuntimeError("there is no allocation")
        return self.clerk

    def _start_watching(self) -> None:
        if self._salloc is not None:
            self._salloc.watch(self._clerk, self._salloc_speaks)
        self._tick()

    def _salloc_speaks(self) -> None:
        salloc = self._salloc
        if salloc is not None:
            self.tell_guard(f"salloc {salloc.pid}")
        if salloc is not None and salloc.refused:
            self._standing.lose(f"Slurm refuses the allocation: {salloc.refused}")
        elif self.job is not None:
            self.look()

    def _tick(self) -> None:
        if self._guard is not None:
            self._guard.revive()
        if self._standing.lost is None:
            self.look()
            self._clerk.call_later(self._looks.next_s(soon=self._hurries or self._ending_since is not None), self._tick)

    def look(self) -> bool | None:
        """Ask Slurm how the job stands and post what is new; clerk's thread only.

        Returns:
            whether it runs; None where Slurm did not answer, or it is ending and does not say why yet.
        """
        number = self.job
        if number is None or self._standing.lost is not None:
            return False
        job = self.client.job(number)
        if job is None:
            self._looks.no_answer()
            return None
        self._looks.answered()
        self._hurries = False
        if job.state in cmd.PENDING | cmd.STARTING:
            self._waits(job)
        elif job.state in cmd.RUNNING:
            self._runs(job)
        elif job.state in cmd.ENDING:
            self._is_ending(job)
        else:
            self._is_over(job)
        return None if self._ending_since is not None else bool(self._standing.names)

    def _waits(self, job: Job) -> None:
        standing = self._standing
        standing.leave_all("the job was put back into the queue", Failure.PREEMPTED)
        waits = job.state in cmd.PENDING
        standing.words = f"job {job.id} waits: {job.reason}" if waits else f"job {job.id}'s nodes start"
        if job.reason in cmd.NEVER and self.owned:
            if self._salloc is not None:
                self._salloc.terminate()
            self.client.cancel([job.id])
            standing.lose(
                f"Slurm would let job {job.id} wait for ever ({job.reason}): ask for what its partition allows, "
                "by nodes, alloc_timeout and alloc_args"
            )
        elif job.reason in ("None", ""):
            self._hurries = True
        else:
            standing.say(standing.words)

    def _runs(self, job: Job) -> None:
        self._ending_since = None
        standing = self._standing
        standing.words = f"job {job.id} runs on {len(job.nodes)} nodes"
        if job.left_s is not None:
            standing.words += f", {job.left_s / 60:.0f} min left"
        self._ends_at = None if job.left_s is None else self._clerk.now() + job.left_s
        usable = tuple(name for name in job.nodes if name not in self._suspects)
        before = standing.names
        standing.leave([name for name in before if name not in job.nodes], "node failure, says Slurm")
        if not before and usable:
            self._join(job, usable)

    def _join(self, job: Job, names: tuple[str, ...]) -> None:
        """The allocation's nodes are there."""
        layout = lay_out(self._request, str(job.id), names, owned=self.owned)
        found = inquire(self.client, job.id, layout.names, cores=self.options.pin_cores)
        for problem in (layout.problem, found.problem):
            if problem:
                self._standing.notice(problem)
        self._standing.join(
            Node(
                name,
                layout.slots,
                share_out(found.gpus.get(name, ()), layout.slots),
                found.cores.get(name, ()) if self.options.pin_cores else (),
                self._ends_at,
            )
            for name in layout.names
        )
        if self.owned and self.options.holder_patience and self._holder is None:
            self._holder = Holder(
                self._clerk,
                job.id,
                names,
                Path(self.options.shared_dir or "."),
                self.options.holder_patience,
                notice=self._standing.notice,
            )
            self.tell_guard(f"folder {self._holder.folder}")

    def _is_ending(self, job: Job) -> None:
        """It is ending, and its last state will say why."""
        if self._ending_since is None:
            self._ending_since = self._clerk.now()
        elif self._clerk.now() - self._ending_since > _ENDING_S:
            self._is_over(job)

    def _is_over(self, job: Job) -> None:
        self._ending_since = None
        failure, text = cause(job, time_was_up=self.ends_soon())
        self._standing.words = f"job {job.id} is over: {text}"
        self._close_holder()
        self._standing.leave_all(text, failure)
        if self._may_renew() and job.state != "CANCELLED":
            self._ask_again(text)
        else:
            self._standing.lose(text, failure)

    def renew(self) -> bool:
        job = self.job
        if self.clerk is None or job is None or self._standing.lost is not None or not self._may_renew():
            return False
        self.clerk.call(lambda: self._exchange(job))
        return True

    def _may_renew(self) -> bool:
        return self.owned and self._renewals < self.options.renewals

    def _exchange(self, job: int) -> None:
        """Give an allocation back whose time is nearly over, unless another one has taken its place already."""
        if self.job == job and self._standing.lost is None:
            text = f"the time of allocation {job} is nearly over"
            self._close_holder()
            self._standing.leave_all(text, Failure.ALLOCATION_ENDED)
            self.client.cancel([job])
            self._ask_again(text)

    def _ask_again(self, why: str) -> None:
        self._renewals += 1
        self._suspects = set()
        self._looks.begin()
        again = f"{self._renewals} of {self.options.renewals}"
        self._standing.notice(f"{why}; asking for another allocation ({again})")
        try:
            self._ask_for_nodes().watch(self._clerk, self._salloc_speaks)
        except AllocationError as error:
            self._standing.lose(str(error))
            return
        self._clerk.call(self._salloc_speaks)

    # What the launcher asks

    def holds(self, name: str) -> bool:
        """Whether a node is there."""
        return self._standing.holds(name)

    def names(self) -> tuple[str, ...]:
        """The nodes that are there."""
        return self._standing.names

    def ends_soon(self) -> bool:
        """Whether the time of the allocation is over, or nearly."""
        return self._ends_at is not None and time.monotonic() > self._ends_at - _NEAR_THE_LIMIT_S

    def node_failed(self, name: str, reason: str) -> None:
        """A node that srun can't reach is used no more, whatever Slurm says of it; any thread."""
        if self._standing.holds(name):
            self._suspects = {*self._suspects, name}
            self._standing.leave([name], reason)
            if not self._standing.names:
                self._standing.lose("no node of the allocation can be reached", Failure.NODE_LOST)

    def tell_guard(self, line: str) -> None:
        """Say what is to be given back if this process is killed (see `hpo_slurm._guard`)."""
        if self._guard is not None:
            self._guard.tell(line)

    def spawn(self, words: Sequence[str], nodes: Sequence[str], ended: Callable[[str], None]) -> None:
        if self.job is None:
            raise AllocationError("there is no allocation on whose nodes a program could be started")
        self.tell_guard(f"name {self._programs.name}")
        self._programs.start(self._events, self.job, words, nodes, ended)

    # Giving back

    def release(self) -> None:
        if self.clerk is None:
            return
        self.client.abort()
        self.clerk.close()
        self.clerk = None
        self._close_holder()
        names = (self._programs.name,) if self._programs.running else ()
        self._programs.terminate()
        salloc, self._salloc = self._salloc, None
        if salloc is not None:
            salloc.terminate()
        self.client.resume()
        gone = bool(salloc and salloc.refused and self.job is None) or _leftovers.give_back(
            self.client, _CONFIRM_S, owned=self.owned, job=self.job, mark=self._mark, names=names
        )
        if salloc is not None:
            salloc.close()
        self._programs.close()
        if self._guard is not None:
            self._guard.close(done=gone)
            self._guard = None
        self._standing.end("the allocation was given back" if self.owned else "the allocation is left as it was")

    def _close_holder(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def clean(self, study_id: str) -> Sequence[str]:
        """Cancel jobs and steps of this study that an earlier driver left, and wait until they are gone.

        Raises:
            AllocationError: Slurm did not answer within a minute, or something does not end; trying again may help.
        """
        return _leftovers.clean(self.client, study_id)


def _job_around() -> int | None:
    """The job that this process runs in."""
    text = os.environ.get("SLURM_JOB_ID") or os.environ.get("SLURM_JOBID") or ""
    return int(text) if text.isdigit() else None
