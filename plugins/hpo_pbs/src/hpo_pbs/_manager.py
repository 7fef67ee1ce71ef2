"""The workload manager ``pbs``: one pilot job that holds the nodes, and starts programs on them."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import field, frozen, validators

from hpo_core import AllocationError, Capability, Failure, LaunchError, Node, WorkloadManager
from hpo_core.allocation import AllocationRequest
from hpo_core.events import AllocationLost, AllocationNotice, EventLoop, NodesJoined, NodesLeft, Timer
from hpo_pbs._answers import Answer, Job, read_id
from hpo_pbs._client import Client, environment
from hpo_pbs._command import Command
from hpo_pbs._deletion import Deletion
from hpo_pbs._folder import JobFolder
from hpo_pbs._guarding import Guard
from hpo_pbs._request import Arguments, qsub_words, read_arguments
from hpo_pbs._verdict import Verdict, judge, never_runs

_FIRST_WORD_S = 3.0
"""How long `acquire` waits for what qsub says of a request: it refuses wrong ones at once."""

_CONFIRM_S = 40.0
"""How long `release` waits until PBS says that all is given back; then the guard goes on alone."""

_CLEAN_S = 60.0
_NEWS_SOONEST_S, _NEWS_LATEST_S = 0.1, 2.0
"""From one look into the job's folder to the next."""

_LOOK_SOONEST_S = 0.5
_LOOK_AGAIN_S = 0.1
_MOST_BACKOFF_S = 60.0
_SILENCE_S = 30.0
"""A silence of the server that is worth a word."""

_UNHEARD_S = 60.0
_ENDING_S = 20.0
_NEAR_THE_LIMIT_S = 60.0

_WAITING = {
    "Q": "waits in the queue",
    "H": "is held",
    "W": "waits for its time",
    "T": "is being moved",
    "M": "was moved to another server",
    "S": "is suspended",
    "U": "is suspended, as its workstation is in use",
}


@frozen
class PbsOptions:
    """Options of the workload manager ``pbs``.

    Attributes:
        cpus: processors to ask for on each node (``ncpus``); 0: one for each evaluation that runs there at a time.
        gpus: GPUs to ask for on each node (``ngpus``), shared out among its evaluations; they are numbered from 0.
        exclusive: nobody else on the nodes (``place=scatter:excl``).
        renewals: how often another allocation is asked for when the time of one is over, or nearly, and the
            study still runs.
        poll: seconds from one look at the queue to the next, once the job runs; longer while the server does not
            answer, sooner at first.
        patience: seconds without a sign of life from the driver's host after which the job ends itself.
        shared_dir: a folder that all nodes see, for the job's script and messages; empty: ``~/.hpo-pbs``. A hidden
            folder that this user alone may enter is made in it, and removed in the end.
        starter: what gets programs to the nodes: ``pbsdsh``, ``pbs_tmrsh``, ``ssh``, or ``auto``, the first that is
            there.
        command_timeout: seconds that a command of PBS may take before it counts as not answered.
    """

    cpus: int = field(default=0, validator=validators.ge(0))
    gpus: int = field(default=0, validator=validators.ge(0))
    exclusive: bool = False
    renewals: int = field(default=0, validator=validators.ge(0))
    poll: float = field(default=10.0, validator=validators.ge(0.1))
    patience: float = field(default=600.0, validator=validators.ge(2))
    shared_dir: str = ""
    starter: str = field(default="auto", validator=validators.in_(("auto", "pbsdsh", "pbs_tmrsh", "ssh")))
    command_timeout: float = field(default=30.0, validator=validators.ge(1))


class PbsManager(WorkloadManager):
    """Nodes of one PBS job: its own, or the one around this process, which is never deleted.

    Nothing here waits but `acquire`, for a moment, and `release`. A server that does not answer means nothing: nodes
    leave only when PBS says that the job is over, or the launcher can't reach them.
    """

    name = "pbs"
    interface_version = 1
    default_launcher = "pilot"
    capabilities = frozenset({Capability.MULTI_NODE, Capability.SPAWNS})
    Options = PbsOptions
    options: PbsOptions

    def __init__(self, options: PbsOptions | None = None) -> None:
        super().__init__(options or PbsOptions())
        self._client = Client(self.options.command_timeout)
        self._base: Path | None = None
        self._words = "no allocation was asked for yet"
        self._guard: Guard | None = None
        self._reset()

    def _reset(self) -> None:
        """Begin without any job."""
        self.job: str | None = None
        self._folder: JobFolder | None = None
        self._begun = False
        self._pilot: subprocess.Popen[bytes] | None = None
        self._nodes: dict[str, Node] = {}
        self._places: dict[str, int] = {}
        self._orders: dict[int, Callable[[str], None]] = {}
        self._qsub: Command | None = None
        self._look_command: Command | None = None
        self._deletion: Deletion | None = None
        self._timers: dict[str, Timer] = {}
        self._look_s = self._silent_s = self._news_s = 0.0
        self._silent_since: float | None = None
        self._ending_since: float | None = None
        self._runs_since: float | None = None
        self._told_silence = self._told_unheard = False
        self._ends_at: float | None = None
        self._said = ""

    @classmethod
    def detect(cls) -> str | None:
        client = Client()
        said = client.find()
        return f"qstat: {said}" if said is not None and client.answers() else None

    # Getting nodes

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        try:
            words = shlex.split(request.args)
        except ValueError as error:
            raise AllocationError(f"alloc_args={request.args!r} cannot be split into words: {error}") from error
        self._arguments: Arguments = read_arguments(words)
        self._client.need()
        self._request, self._events = request, events
        self._renewals, self._keep = 0, True
        self._lost: AllocationLost | None = None
        self._acquiring, self._refusal = True, ""
        self._numbers = 0
        self._reset()
        inside = self._allocation_around()
        self.owned = inside is None
        self._mine: list[str] = []
        try:
            self._make_base(request.name)
            self._guard = Guard(self._guard_words(), environment())
            if inside is None:
                self._submit()
                if self._qsub is not None:
                    self._qsub.wait(_FIRST_WORD_S)
                if self._refusal:
                    raise AllocationError(self._refusal)
                if self._qsub is not None:
                    self._qsub.listen(events)
            else:
                self._join(inside)
        except BaseException:
            self.release()
            raise
        self._acquiring = False

    def attach(self, events: EventLoop) -> None:
        self._events = events
        self._said = ""
        self._orders.clear()
        self._timers.clear()
        if self._nodes:
            events.post(NodesJoined(tuple(self._nodes.values())))
        if self._lost is not None:
            events.post(self._lost)
            return
        for command in (self._qsub, self._look_command):
            if command is not None and command.runs:
                command.listen(events)
        if self._deletion is not None:
            self._deletion.go_on(events)
        elif self.job is not None:
            self._watch()
        elif self._qsub is None:
            self._later("qsub", 0.0, self._submit_and_listen)

    def explain(self) -> str:
        return self._words

    def _allocation_around(self) -> str | None:
        """The job that this process is part of."""
        job, nodes = os.environ.get("PBS_JOBID"), os.environ.get("PBS_NODEFILE")
        if not job or not nodes or os.environ.get("SLURM_JOB_ID") or not os.access(nodes, os.R_OK):
            return None
        answer = self._client.call(("qstat", job))
        if answer.gone or self._client.says_over(answer, job):
            self._notice(f"PBS_JOBID={job} in the environment is over; a new allocation is asked for")
            return None
        return job

    def _make_base(self, name: str) -> None:
        shared = Path(self.options.shared_dir).absolute() if self.options.shared_dir else Path.home() / ".hpo-pbs"
        try:
            shared.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._base = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=shared))
        except OSError as error:
            raise AllocationError(
                f"no folder can be made in {shared} ({error.strerror}), where the job's script and messages would be; "
                "the option shared_dir names another place that the nodes see"
            ) from error

    def _guard_words(self) -> tuple[str, ...]:
        beat_s = max(0.5, min(10.0, self.options.patience / 10))
        program, dialect = self._client.program, self._client.dialect
        return str(self._base), f"{beat_s:g}", program("qdel"), program("qstat"), str(int(dialect.forces))

    def _new_folder(self) -> JobFolder:
        if self._base is None:
            raise RuntimeError("there is no allocation")
        self._numbers += 1
        try:
            return JobFolder(
                self._base / f"{self._numbers}-{secrets.token_hex(2)}",
                bin_folder=self._client.folder,
                starter=self.options.starter,
                patience_s=self.options.patience,
            )
        except OSError as error:
            raise AllocationError(f"the job's folder can't be made in {self._base}: {error.strerror}") from error

    def _submit(self) -> None:
        """Start qsub; `_submitted` hears how that went."""
        request, options = self._request, self.options
        if self._folder is None:
            self._folder = self._new_folder()
        self._words = "an allocation is being asked for"
        wanted = request.slots or max(1, request.nodes // request.nodes_per_eval)
        self._qsub_words = qsub_words(
            self._client.dialect,
            request.name,
            request.nodes,
            request.timeout_s,
            self._arguments,
            cpus=options.cpus or self._slots(wanted, request.nodes),
            gpus=options.gpus,
            exclusive=options.exclusive,
            output=str(self._folder.path / "output"),
            script=self._folder.script,
            keep=self._keep,
        )
        submitted = self._folder.path / "submitted"
        self._qsub = self._client.start(self._qsub_words, self._submitted, out=submitted)
        self._tell_guard(f"qsub {self._qsub.pid} {submitted}")

    def _submit_and_listen(self) -> None:
        try:
            self._submit()
        except AllocationError as error:
            self._lose(str(error))
        else:
            if self._qsub is not None:
                self._qsub.listen(self._events)

    def _submitted(self, answer: Answer) -> None:
        """What qsub said."""
        self._qsub = None
        if self._folder is None:
            return  # it is being given back
        self.job = read_id(self._folder.read("submitted"))
        if self.job is not None:
            self._mine.append(self.job)
            self._tell_guard(f"job {self.job}")
            self._tell_guard("qsub 0 ")
            self._words = f"job {self.job} was submitted"
            self._silent_s = 0.0
            self._watch()
        elif answer.silent:
            self._silent_s = min(max(2.0, self._silent_s * 2), _MOST_BACKOFF_S)
            self._say(f"PBS does not take the job ({answer.complaint}); trying again")
            self._later("qsub", self._silent_s, self._submit_again)
        elif self._keep and "-k" in answer.err and "llegal" in answer.err:
            self._keep = False  # older versions don't know how to show output early
            self._later("qsub", 0.0, self._submit_and_listen)
        else:
            self._refusal = f"PBS refuses the job: {answer.complaint} (asked: {shlex.join(self._qsub_words)})"
            if not self._acquiring:
                self._lose(self._refusal)

    def _submit_again(self) -> None:
        """A qsub that did not answer may have got through all the same: its job is taken, if it can be found."""
        if "-N" in self._arguments.options:
            self._submit_and_listen()
        else:
            words = self._client.qselect(self._request.name)
            self._look_command = self._client.ask(self._events, words, self._found)

    def _found(self, answer: Answer) -> None:
        found = read_id(answer.out)
        if found is not None and self._folder is not None and found not in self._mine:
            self._folder.write("submitted", f"{found}\n")
            self._submitted(answer)
        else:
            self._submit_and_listen()

    def _join(self, job: str) -> None:
        """Use the job around this process: its script runs beside us, on the node where we are."""
        self.job = job
        self._folder = self._new_folder()
        self._words = f"job {job}, in which this process runs"
        self._pilot = subprocess.Popen(
            ["/bin/sh", self._folder.script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._watch()

    # Watching

    def _later(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        """Call later; one call of each name is under way at most."""
        earlier = self._timers.get(name)
        if earlier is not None:
            earlier.cancel()
        self._timers[name] = self._events.call_later(delay_s, call)

    def _watch(self) -> None:
        self._look_s, self._news_s = _LOOK_SOONEST_S, _NEWS_SOONEST_S
        self._later("look", _LOOK_SOONEST_S, self._look)
        self._later("news", _NEWS_SOONEST_S, self._hear_news)

    def _hear_news(self) -> None:
        """See what the job's script says."""
        if self._folder is None or self._lost is not None:
            return
        news = self._folder.news()
        for line in news:
            word, _, text = line.partition(" ")
            if word == "begun":
                self._script_begun(text)
            elif word == "ended" and text.isdigit():
                self._order_ended(int(text))
            elif word == "over":
                self._later("look", 0.0, self._look)
        if self._pilot is not None and self._pilot.poll() is not None and not news:
            self._pilot_ended(self._pilot.returncode)
        if self._lost is None:
            latest_s = _NEWS_LATEST_S if self._begun else _NEWS_LATEST_S / 2
            self._news_s = _NEWS_SOONEST_S if news else min(self._news_s * 1.3, latest_s)
            self._later("news", self._news_s, self._hear_news)

    def _script_begun(self, text: str) -> None:
        if self._folder is None:
            return
        self._begun = True
        self._places = self._folder.nodes()
        self._later("look", 0.0, self._look)  # it knows the end of the nodes

    def _order_ended(self, number: int) -> None:
        ended = self._orders.pop(number, None)
        if ended is not None and self._folder is not None:
            ended(self._folder.said(number))

    def _pilot_ended(self, code: int) -> None:
        self._pilot = None
        self._lose(f"the script that starts programs on the nodes of job {self.job} ended (exit code {code})")

    def _look(self) -> None:
        """Ask how the job stands."""
        if self.job is None or self._lost is not None:
            return
        if self._look_command is not None and self._look_command.runs:
            self._later("look", _LOOK_AGAIN_S, self._look)
            return
        if self._guard is not None:
            self._guard.revive()
        words = self._client.dialect.status(self.job)
        if words is not None:
            self._look_command = self._client.ask(self._events, words, self._looked)

    def _looked(self, answer: Answer) -> None:
        if self.job is None:
            return
        try:
            job = self._client.dialect.read(answer, self.job)
        except ValueError:
            self._later("look", 0.0, self._look)
            return
        if job is not None:
            self._note_answer()
            self._stands(job)
        elif answer.gone:
            self._note_answer()
            self._look_back()
        else:
            self._note_silence()
            self._join_nodes()
        if self._lost is None:
            self._later("look", self._next_look_s(), self._look)

    def _next_look_s(self) -> float:
        if self._silent_since is not None:
            self._silent_s = min(max(self._silent_s * 2, self._look_s), max(_MOST_BACKOFF_S, self.options.poll))
            return self._silent_s
        self._silent_s = 0.0
        self._look_s = min(self._look_s * 2, self.options.poll)
        return min(1.0, self.options.poll) if self._ending_since is not None else self._look_s

    def _note_silence(self) -> None:
        now = self._events.now()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > _SILENCE_S and not self._told_silence:
            self._told_silence = True
            self._notice("the PBS server does not answer; what runs goes on, nothing new can be asked for")

    def _note_answer(self) -> None:
        self._silent_since = None
        if self._told_silence:
            self._told_silence = False
            self._notice("the PBS server answers again")

    def _stands(self, job: Job) -> None:
        """What is to be done about it."""
        if job.state in self._client.dialect.over:
            self._is_over(job)
            return
        if job.state == "E":
            now = self._events.now()
            self._ending_since = self._ending_since or now
            if now - self._ending_since > _ENDING_S:
                self._is_over(job)
            return
        self._ending_since = None
        if job.state in "RB":
            self._runs(job)
        elif job.state in "SU":
            self._say(f"job {job.id} {_WAITING[job.state]}{_reason(job)}")
        else:
            self._waits(job)

    def _waits(self, job: Job) -> None:
        if self._nodes:
            self._begun = False
            self._drop("the job was put back into the queue", Failure.PREEMPTED)
        self._words = f"job {job.id} {_WAITING.get(job.state, 'waits')}{_reason(job)}"
        if self.owned and never_runs(job):
            asked = shlex.join(self._qsub_words)
            self._delete_and(
                lambda: self._lose(f"PBS would let job {job.id} wait for ever: {job.comment} (asked: {asked})")
            )
        else:
            self._say(self._words)

    def _runs(self, job: Job) -> None:
        now = self._events.now()
        self._runs_since = self._runs_since or now
        self._words = f"job {job.id} runs on {len(job.hosts)} nodes"
        if job.left_s is not None:
            self._words += f", {job.left_s / 60:.0f} min left"
            self._ends_at = now + job.left_s
        if self._nodes:
            self._note_hosts(job)
        elif self._begun:
            self._join_nodes()
        elif now - self._runs_since > _UNHEARD_S and not self._told_unheard and self._folder is not None:
            self._told_unheard = True
            self._notice(
                f"job {job.id} runs, and nothing was heard of its script for {_UNHEARD_S:.0f} s: do its nodes see "
                f"{self._folder.path}? The option shared_dir names a folder that they see"
            )

    def _note_hosts(self, job: Job) -> None:
        """See whether nodes were taken out of the job; names may have a domain or not."""
        there = {host.partition(".")[0] for host in job.hosts}
        gone = tuple(name for name in self._nodes if name.partition(".")[0] not in there)
        if gone and len(gone) < len(self._nodes):
            for name in gone:
                del self._nodes[name]
            self._events.post(NodesLeft(gone, "PBS has taken it out of the job"))

    def _join_nodes(self) -> None:
        """The script has begun: its nodes can be used. A server that says nothing of their end is not waited for."""
        if self._nodes or not self._begun or self._ending_since is not None or self._deletion is not None:
            return
        request, names = self._request, tuple(self._places)
        if not self.owned and request.nodes > 1:
            names = names[: request.nodes]
        if request.nodes > len(names):
            self._notice(f"nodes={request.nodes}, and job {self.job} has {len(names)}: these are used")
        wanted = request.slots or max(1, len(names) // request.nodes_per_eval)
        slots = self._slots(wanted, len(names))
        if self._ends_at is None and self._silent_since is not None and self.owned:
            self._ends_at = self._events.now() + (self._arguments.walltime_s or request.timeout_s)
        self._nodes = {name: Node(name, slots, self._gpus(slots), (), self._ends_at) for name in names}
        self._events.post(NodesJoined(tuple(self._nodes.values())))

    def _slots(self, evaluations: int, nodes: int) -> int:
        return max(1, -(-evaluations * self._request.nodes_per_eval // nodes))

    def _gpus(self, slots: int) -> tuple[str, ...]:
        """GPUs for the slots in order; where there are fewer than slots, as many share one as must."""
        ids = tuple(map(str, range(self.options.gpus)))
        sharing = -(-slots // len(ids)) if ids else 1
        return tuple(gpu for gpu in ids for _ in range(sharing))

    # The end of a job

    def _look_back(self) -> None:
        """It is not among the living: what does the server remember?"""
        words = None if self.job is None else self._client.dialect.status(self.job, history=True)
        if words is None:
            self._is_over(None)
        else:
            self._look_command = self._client.ask(self._events, words, self._looked_back)

    def _looked_back(self, answer: Answer) -> None:
        if self.job is None or self._lost is not None:
            return
        try:
            job = self._client.dialect.read(answer, self.job)
        except ValueError:
            job = None
        if job is not None and job.state not in self._client.dialect.over:
            self._stands(job)
        elif job is not None or not answer.silent:
            self._is_over(job)

    def _is_over(self, job: Job | None) -> None:
        if self._folder is None or self._lost is not None or self._deletion is not None:
            return
        verdict = judge(
            job,
            str(self.job),
            begun=self._begun,
            output=self._folder.read("output"),
            time_was_up=self._ends_at is not None and self._events.now() > self._ends_at - _NEAR_THE_LIMIT_S,
            folder=str(self._folder.path),
        )
        self._tell_guard(f"gone {self.job}")
        self._mine = [one for one in self._mine if one != self.job]
        self._job_ended(verdict)

    def _job_ended(self, verdict: Verdict) -> None:
        """Go on with another job, or tell that there will be no more nodes."""
        self._words = verdict.text
        if not (self.owned and verdict.again and self._renewals < self.options.renewals):
            self._lose(verdict.text, verdict.failure)
            return
        self._drop(verdict.text, verdict.failure)
        self._end_orders(verdict.text)
        self._ask_again(verdict.text)

    def _ask_again(self, why: str) -> None:
        self._forget_timers()
        self._reset()
        self._renewals += 1
        self._notice(f"{why}; asking for another allocation ({self._renewals} of {self.options.renewals})")
        self._submit_and_listen()

    def renew(self) -> bool:
        if self._base is None or self._lost is not None or not self.owned:
            return False
        if not self._nodes:
            return True  # the next one is on its way
        if self._renewals >= self.options.renewals:
            return False
        text = f"the time of job {self.job} is nearly over"
        self._drop(text, Failure.ALLOCATION_ENDED)
        self._delete_and(lambda: self._ask_again(text))
        return True

    def _delete_and(self, then: Callable[[], None]) -> None:
        """Give the job back, and go on once it is gone: its nodes may be those of the next one."""
        if self.job is None or self._deletion is not None:
            return
        job = self.job
        self._forget_timers()

        def gone() -> None:
            self._deletion = None
            self._tell_guard(f"gone {job}")
            self._mine.remove(job)
            self._end_orders("its job was given back")
            then()

        self._deletion = Deletion(self._client, [job], gone)
        self._deletion.go_on(self._events)

    def _drop(self, reason: str, failure: Failure) -> None:
        if self._nodes:
            names, self._nodes = tuple(self._nodes), {}
            self._events.post(NodesLeft(names, reason, failure))

    def _lose(self, reason: str, failure: Failure = Failure.ALLOCATION_ENDED) -> None:
        if self._lost is None:
            self._forget_timers()
            self._words = reason
            self._drop(reason, failure)
            self._lost = AllocationLost(reason, failure)
            self._events.post(self._lost)
            self._end_orders(reason)

    def _end_orders(self, reason: str) -> None:
        orders, self._orders = self._orders, {}
        for ended in orders.values():
            ended(reason)

    def _forget_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _say(self, text: str) -> None:
        """A notice, where it is news."""
        if text != self._said:
            self._said = text
            self._notice(text)

    def _notice(self, text: str) -> None:
        self._events.post(AllocationNotice(text))

    def _tell_guard(self, line: str) -> None:
        if self._guard is not None:
            self._guard.tell(line)

    # Programs on nodes

    def spawn(self, words: Sequence[str], nodes: Sequence[str], ended: Callable[[str], None]) -> None:
        places = {name: self._places[name] for name in nodes if name in self._nodes}
        if self._folder is None or len(places) < len(nodes):
            left = ", ".join(name for name in nodes if name not in places)
            raise LaunchError(f"no program can be started on {left}: job {self.job} has no such node now")
        try:
            number = self._folder.order(words, places, self._request.environment)
        except OSError as error:
            raise LaunchError(f"{self._folder.path} can't be written: {error.strerror}") from error
        self._orders[number] = ended
        self._news_s = _NEWS_SOONEST_S
        self._later("news", _NEWS_SOONEST_S, self._hear_news)

    # Giving back

    def release(self) -> None:
        if self._base is None:
            return
        base, self._base = self._base, None
        self._forget_timers()
        self._orders.clear()
        for work in (self._look_command, self._deletion):
            if work is not None:
                work.abandon()
        gone = not self.owned or self._give_back()
        self._end_pilot()
        if self._guard is not None:
            self._guard.close(done=gone)
        if gone or self._guard is None:
            shutil.rmtree(base, ignore_errors=True)
        self._guard = None
        self._reset()
        self._words = "the allocation was given back" if self.owned else "the allocation is left as it was"

    def _give_back(self) -> bool:
        """Delete what is ours; whether it is gone."""
        if self._qsub is not None:
            folder, self._folder = self._folder, None
            self._qsub.wait(self.options.command_timeout)
            found = None if folder is None else read_id(folder.read("submitted"))
            if found is not None:
                self._mine.append(found)
                self._tell_guard(f"job {found}")
        self._forget_timers()
        return not self._mine or Deletion(self._client, self._mine, lambda: None).finish(_CONFIRM_S)

    def _end_pilot(self) -> None:
        pilot, self._pilot = self._pilot, None
        if pilot is None:
            return
        for number, limit_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(pilot.pid, number)
            except ProcessLookupError:
                pass  # it was gone already
            try:
                pilot.wait(limit_s)
            except subprocess.TimeoutExpired:
                continue
            return

    def clean(self, study_id: str) -> Sequence[str]:
        """Delete jobs of this study that an earlier driver left, and wait until they are gone.

        Raises:
            AllocationError: PBS did not answer within a minute, or a job does not end; trying again may help.
        """
        self._client.need()
        name = f"hpo-{study_id}"
        answer = self._client.call(self._client.qselect(name), _CLEAN_S)
        if answer.code != 0:
            raise AllocationError(
                f"nobody knows what an earlier driver of this study left, since PBS does not say: {answer.complaint}; "
                "try again when 'qselect' answers"
            )
        shared = Path(self.options.shared_dir).absolute() if self.options.shared_dir else Path.home() / ".hpo-pbs"
        folders = list(shared.glob(f".{name}-*"))
        noted = (read_id(file.read_text(errors="replace")) for folder in folders for file in folder.glob("*/submitted"))
        found = dict.fromkeys([*answer.out.split(), *(job for job in noted if job is not None)])
        found.pop(os.environ.get("PBS_JOBID", ""), None)
        live = [job for job in found if job in answer.out.split() or self._is_there(job)]
        if live and not Deletion(self._client, live, lambda: None).finish(_CLEAN_S):
            raise AllocationError(f"PBS does not end what an earlier driver left: job {', job '.join(live)}")
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return tuple(f"job {job} ({name})" for job in live)

    def _is_there(self, job: str) -> bool:
        answer = self._client.call(("qstat", job))
        return not answer.gone and not self._client.says_over(answer, job)


def _reason(job: Job) -> str:
    return f": {job.comment}" if job.comment else ""
