"""The workload manager ``pbs``: one job that holds the nodes, and starts programs on them."""

from __future__ import annotations

import json
import shlex
import shutil
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from hpo_core import AllocationError, Capability, Failure, LaunchError, Node, WorkloadManager
from hpo_core.allocation import AllocationRequest
from hpo_core.clusters import Clerk, Guard, Looks, Standing, lay_out, share_out, split_arguments
from hpo_core.events import EventLoop, Timer
from hpo_pbs import _guard, _leftovers
from hpo_pbs._answers import Job
from hpo_pbs._around import Script, job_around
from hpo_pbs._client import Client, environment
from hpo_pbs._folder import JobFolder, make_base
from hpo_pbs._options import PbsOptions
from hpo_pbs._orders import Orders
from hpo_pbs._request import read_arguments
from hpo_pbs._submission import Submission, words_for
from hpo_pbs._verdict import Verdict, judge, never_runs

_FIRST_WORD_S = 3.0
"""How long `acquire` waits for what qsub says of a request: it refuses wrong ones at once."""

_CONFIRM_S = 40.0
"""How long `release` waits until PBS says that all is given back; then the guard goes on alone."""

_SILENCE_S = 10.0
"""How long it waits for a server that does not answer."""

_NEWS_SOONEST_S, _NEWS_LATEST_S = 0.1, 2.0
"""From one look into the job's folder to the next."""

_UNHEARD_S = 60.0
_ENDING_S = 20.0
_NEAR_THE_LIMIT_S = 60.0
_DAY_S = 24 * 3600.0

_WAITING = {
    "Q": "waits in the queue",
    "H": "is held",
    "W": "waits for its time",
    "T": "is being moved",
    "M": "was moved to another server",
    "S": "is suspended",
    "U": "is suspended, as its workstation is in use",
}


class PbsManager(WorkloadManager):
    """Nodes of one PBS job: its own, or the one around this process, which is never deleted.

    A thread runs the commands and reads the job's folder; what it learns is posted to the loop. A server that does not
    answer means nothing: nodes leave only when PBS says that the job is over, or the launcher can't reach them.
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
        self._standing = Standing()
        self._base: Path | None = None
        self._clerk_or_none: Clerk | None = None
        self._guard: Guard | None = None
        self._script: Script | None = None
        self._orders: Orders | None = None
        self._reset()

    def _reset(self) -> None:
        """Begin without any job."""
        self.job: str | None = None
        self._folder: JobFolder | None = None
        self._submission: Submission | None = None
        self._begun = False
        self._places: dict[str, int] = {}
        self._timers: dict[str, Timer] = {}
        self._news_s = 0.0
        self._ending_since: float | None = None
        self._runs_since: float | None = None
        self._told_unheard = False
        self._ends_at: float | None = None

    @classmethod
    def detect(cls) -> str | None:
        client = Client()
        said = client.find()
        return f"qstat: {said}" if said is not None and client.answers() else None

    # Getting nodes

    def preview(self, request: AllocationRequest) -> str:
        arguments = split_arguments(request.args)
        self._client.find()  # else it is as OpenPBS would be asked
        asked = read_arguments(arguments, self._client.dialect)
        if job_around(self._client, lambda text: None) is not None:
            return ""
        folder = self._shared / f".{request.name}"
        return shlex.join(words_for(self._client.dialect, request, asked, self.options, folder))

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        words = split_arguments(request.args)
        self._client.need()
        self._arguments = read_arguments(words, self._client.dialect)
        self._request = request
        self._standing.begin(events)
        self._looks = Looks("the PBS server", self.options.poll, self._standing.notice)
        self._renewals = self._numbers = 0
        self._mine: list[str] = []
        self._reset()
        inside = job_around(self._client, self._standing.notice)
        self.owned = inside is None
        self._base = make_base(self._shared, request.name)
        try:
            self._orders = Orders(events)
            self._guard = Guard(_guard.__file__, (self._guard_settings(self._base),), environment())
            self._clerk_or_none = Clerk("hpo-pbs", self._standing.lose)
            self._folder = self._new_folder()
            if inside is None:
                self._ask_first()
            else:
                self._join_job(inside)
        except BaseException:
            self.release()
            raise

    def attach(self, events: EventLoop) -> None:
        self._close_orders()
        self._orders = Orders(events)
        self._standing.attach(events)

    def explain(self) -> str:
        return self._standing.words

    @property
    def _shared(self) -> Path:
        return Path(self.options.shared_dir).absolute() if self.options.shared_dir else Path.home() / ".hpo-pbs"

    @property
    def _clerk(self) -> Clerk:
        if self._clerk_or_none is None:
            raise RuntimeError("there is no allocation")
        return self._clerk_or_none

    def _guard_settings(self, base: Path) -> str:
        client, dialect = self._client, self._client.dialect
        qselect, *selects, _ = client.selection("")
        settings = {
            "folder": str(base),
            "beat_s": max(0.5, min(10.0, self.options.patience / 10)),
            "qstat": client.program("qstat"),
            "qdel": client.program("qdel"),
            "force": dialect.force,
            "qselect": [client.program(qselect), *selects],
            "name": self._arguments.name or self._request.name,
            "gone": sorted(dialect.answer.gone_codes),
        }
        return json.dumps(settings)

    def _new_folder(self) -> JobFolder:
        if self._base is None:
            raise RuntimeError("there is no allocation")
        self._numbers += 1
        return JobFolder(
            self._base,
            self._numbers,
            bin_folder=self._client.folder,
            starter=self.options.starter,
            patience_s=self.options.patience,
        )

    def _ask_first(self) -> None:
        """Have the clerk run qsub, and hear its first word."""
        heard = threading.Event()
        refusal = ""

        def ask() -> None:
            nonlocal refusal
            try:
                refusal = self._submit()
            finally:
                heard.set()

        self._clerk.call(ask)
        if heard.wait(_FIRST_WORD_S) and refusal:
            raise AllocationError(refusal)
        self._clerk.call(lambda: self._standing.lose(refusal) if refusal else None)

    def _submit(self) -> str:
        """Ask for a job; what PBS has against it, where it is refused."""
        if self._submission is None:
            if self._folder is None:
                self._folder = self._new_folder()
            self._standing.words = "an allocation is being asked for"
            self._submission = Submission(
                self._client,
                self._request,
                self._arguments,
                self.options,
                self._folder,
                self._mine,
                self._tell_guard,
            )
        submission = self._submission
        self.job = submission.submit()
        if self.job is not None:
            self._mine.append(self.job)
            self._standing.words = f"job {self.job} was submitted"
            self._watch()
        elif not submission.refusal:
            self._standing.say(f"PBS does not take the job ({submission.problem}); trying again")
            self._later("qsub", submission.wait_s(), self._ask_again)
        return submission.refusal

    def _ask_again(self) -> None:
        try:
            refusal = self._submit()
        except AllocationError as error:
            refusal = str(error)
        if refusal:
            self._standing.lose(refusal)

    def _join_job(self, job: str) -> None:
        """Use the job around this process: its script runs beside us, on the node where we are."""
        self.job = job
        self._standing.words = f"job {job}, in which this process runs"
        if self._folder is not None:
            self._script = Script(self._folder.script)
            self._tell_guard(f"script {self._script.pid}")
        self._clerk.call(self._watch)

    # Watching, in the clerk's thread

    def _later(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        """Call later; one call of each name is under way at most."""
        earlier = self._timers.get(name)
        if earlier is not None:
            earlier.cancel()
        self._timers[name] = self._clerk.call_later(delay_s, call)

    def _forget_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _watch(self) -> None:
        self._looks.begin()
        self._later("look", self._looks.next_s(), self._look)
        self._hear_soon()

    def _hear_soon(self) -> None:
        self._news_s = _NEWS_SOONEST_S
        self._later("news", self._news_s, self._hear_news)

    def _hear_news(self) -> None:
        """See what the job's script says."""
        folder = self._folder
        if folder is None or self._standing.lost is not None:
            return
        news = folder.news()
        for line in news:
            word, _, text = line.partition(" ")
            if word == "begun":
                self._begun = True
                self._places = folder.nodes()
                self._later("look", 0.0, self._look)  # it knows the end of the nodes
            elif word == "ended" and text.isdigit() and self._orders is not None:
                self._orders.over(folder, int(text))
            elif word == "over":
                self._later("look", 0.0, self._look)
        if self._script is not None and self._script.exit_code is not None and not news:
            code = self._script.exit_code
            self._lose(f"the script that starts programs on the nodes of job {self.job} ended (exit code {code})")
        if self._standing.lost is None:
            latest_s = _NEWS_LATEST_S if self._begun else _NEWS_LATEST_S / 2
            self._news_s = _NEWS_SOONEST_S if news else min(self._news_s * 1.3, latest_s)
            self._later("news", self._news_s, self._hear_news)

    def _look(self) -> None:
        """Ask how the job stands."""
        if self.job is None or self._standing.lost is not None:
            return
        if self._guard is not None:
            self._guard.revive()
        job = self._client.job(self.job)
        if job is None:
            self._looks.no_answer()
            self._join_nodes()
        else:
            self._looks.answered()
            self._stands(job)
        if self.job is not None and self._standing.lost is None:
            self._later("look", self._looks.next_s(soon=self._ending_since is not None), self._look)

    def _stands(self, job: Job) -> None:
        """What is to be done about it."""
        if job.state == "E" and self._ending_since is None:
            self._ending_since = self._clerk.now()
        if job.state == "E" and self._clerk.now() - (self._ending_since or 0.0) < _ENDING_S:
            return
        self._ending_since = None
        if job.state in ("", "E") or job.state in self._client.dialect.over:
            self._is_over(job)
        elif job.state in "RB":
            self._runs(job)
        elif job.state in "SU":
            self._standing.say(f"job {job.id} {_WAITING[job.state]}{_reason(job)}")
        else:
            self._waits(job)

    def _waits(self, job: Job) -> None:
        if self._standing.names:
            self._begun = False
            self._standing.leave_all("the job was put back into the queue", Failure.PREEMPTED)
        self._standing.words = f"job {job.id} {_WAITING.get(job.state, 'waits')}{_reason(job)}"
        if self.owned and self._submission is not None and self.job is not None and never_runs(job):
            asked = shlex.join(self._submission.words)
            if self._delete(self.job):
                self._lose(f"PBS would let job {job.id} wait for ever: {job.comment} (asked: {asked})")
        else:
            self._standing.say(self._standing.words)

    def _runs(self, job: Job) -> None:
        now = self._clerk.now()
        self._runs_since = self._runs_since or now
        self._standing.words = f"job {job.id} runs on {len(job.hosts)} nodes"
        if job.left_s is not None:
            self._standing.words += f", {job.left_s / 60:.0f} min left"
            self._ends_at = now + job.left_s
        if self._standing.names:
            self._note_hosts(job)
        elif self._begun:
            self._join_nodes()
        elif now - self._runs_since > _UNHEARD_S and not self._told_unheard and self._folder is not None:
            self._told_unheard = True
            self._standing.notice(
                f"job {job.id} runs, and nothing was heard of its script for {_UNHEARD_S:.0f} s: do its nodes see "
                f"{self._folder.path}? The option shared_dir names a folder that they see"
            )

    def _note_hosts(self, job: Job) -> None:
        """See whether nodes were taken out of the job; names may have a domain or not."""
        there = {host.partition(".")[0] for host in job.hosts}
        names = self._standing.names
        gone = [name for name in names if name.partition(".")[0] not in there]
        if len(gone) < len(names):
            self._standing.leave(gone, "PBS has taken it out of the job")

    def _join_nodes(self) -> None:
        """The script has begun: its nodes can be used. A server that says nothing of their end is not waited for."""
        if self._standing.names or not self._begun or self._ending_since is not None:
            return
        request, came = self._request, len(self._places)
        if self.owned and came < request.nodes and request.nodes_per_eval == 1 and not self._arguments.says_nodes:
            request = attrs.evolve(request, slots=request.slots or request.nodes)  # all processors, on fewer hosts
        layout = lay_out(request, str(self.job), tuple(self._places), owned=self.owned)
        if layout.problem:
            self._standing.notice(layout.problem)
        if self._ends_at is None and self._looks.silent and self.owned:
            self._ends_at = self._clerk.now() + (self._arguments.walltime_s or self._request.timeout_s)
        gpus = share_out(tuple(map(str, range(self.options.gpus))), layout.slots)
        self._standing.join(Node(name, layout.slots, gpus, (), self._ends_at) for name in layout.names)

    # The end of a job

    def _is_over(self, job: Job) -> None:
        if self._folder is None or self.job is None or self._standing.lost is not None:
            return
        verdict = judge(
            job if job.state else None,
            self.job,
            begun=self._begun or bool(self._folder.read("answers")),
            output=self._folder.read("output"),
            time_was_up=self._ends_at is not None and self._clerk.now() > self._ends_at - _NEAR_THE_LIMIT_S,
            folder=str(self._folder.path),
            deleted=self._client.dialect.deleted,
        )
        self._forget(self.job)
        self._job_ended(verdict)

    def _job_ended(self, verdict: Verdict) -> None:
        """Go on with another job, or tell that there will be no more nodes."""
        if self.owned and verdict.again and self._renewals < self.options.renewals:
            self._standing.leave_all(verdict.text, verdict.failure)
            self._end_orders(verdict.text)
            self._renew(verdict.text)
        else:
            self._lose(verdict.text, verdict.failure)

    def renew(self) -> bool:
        job = self.job
        if self._base is None or self._standing.lost is not None or not self.owned:
            return False
        if not self._standing.names:
            return True  # the next one is on its way
        if self._renewals >= self.options.renewals:
            return False
        self._clerk.call(lambda: self._exchange(job))
        return True

    def _exchange(self, job: str | None) -> None:
        """Give a job back whose time is nearly over, unless another one has taken its place already."""
        if job is not None and self.job == job and self._standing.lost is None:
            text = f"the time of job {job} is nearly over"
            self._standing.leave_all(text, Failure.ALLOCATION_ENDED)
            if self._delete(job):
                self._renew(text)

    def _renew(self, why: str) -> None:
        self._forget_timers()
        self._reset()
        self._renewals += 1
        again = f"{self._renewals} of {self.options.renewals}"
        self._standing.notice(f"{why}; asking for another allocation ({again})")
        self._ask_again()

    def _delete(self, job: str) -> bool:
        """Give a job back, until it is gone: its nodes may be those of the next one."""
        self._forget_timers()
        if not _leftovers.delete(self._client, [job], _DAY_S):
            return False
        self._forget(job)
        self._end_orders("its job was given back")
        return True

    def _forget(self, job: str) -> None:
        self._tell_guard(f"gone {job}")
        self._mine[:] = [one for one in self._mine if one != job]

    def _lose(self, reason: str, failure: Failure = Failure.ALLOCATION_ENDED) -> None:
        self._forget_timers()
        self._standing.lose(reason, failure)
        self._end_orders(reason)

    def _end_orders(self, reason: str) -> None:
        if self._orders is not None:
            self._orders.end_all(reason)

    def _tell_guard(self, line: str) -> None:
        if self._guard is not None:
            self._guard.tell(line)

    # Programs on nodes

    def spawn(self, words: Sequence[str], nodes: Sequence[str], ended: Callable[[str], None]) -> None:
        folder, known = self._folder, self._places
        places = {name: known[name] for name in nodes if name in known and self._standing.holds(name)}
        if folder is None or self._orders is None or len(places) < len(nodes):
            left = ", ".join(name for name in nodes if name not in places)
            raise LaunchError(f"no program can be started on {left}: job {self.job} has no such node now")
        self._orders.give(folder, words, places, self._request.environment, ended)
        self._clerk.call(self._hear_soon)

    def _close_orders(self) -> None:
        orders, self._orders = self._orders, None
        if orders is not None:
            orders.close()

    # Giving back

    def release(self) -> None:
        if self._base is None:
            return
        base, self._base = self._base, None
        self._client.abort()
        if self._clerk_or_none is not None:
            self._clerk_or_none.close()
            self._clerk_or_none = None
        self._close_orders()
        self._client.resume()
        gone = self._give_back()
        jobs = f"job {', job '.join(self._mine)}" if self._mine else f"a job called {self._request.name}"
        script, self._script = self._script, None
        if script is not None:
            script.close()
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.close(done=gone)
        if gone or guard is None:
            shutil.rmtree(base, ignore_errors=True)
        self._reset()
        self._standing.end("the allocation was given back" if self.owned else "the allocation is left as it was")
        if not gone:
            text = (
                f"PBS does not say that {jobs} is over: a process in the background goes on giving it back, for a day"
            )
            self._standing.end(text)
            warnings.warn(text, stacklevel=2)

    def _give_back(self) -> bool:
        """Delete all jobs of ours; whether none is left."""
        if self._submission is not None and not self._submission.settled:
            found = self._submission.find()
            if found is None:
                return False
            self._mine += found
        return not self._mine or _leftovers.delete(self._client, self._mine, _CONFIRM_S, silence_s=_SILENCE_S)

    def clean(self, study_id: str) -> Sequence[str]:
        """Delete jobs of this study that an earlier driver left, and wait until they are gone.

        Raises:
            AllocationError: PBS did not answer within a minute, or a job does not end; trying again may help.
        """
        self._client.need()
        return _leftovers.clean(self._client, study_id, self._shared)


def _reason(job: Job) -> str:
    return f": {job.comment}" if job.comment else ""
