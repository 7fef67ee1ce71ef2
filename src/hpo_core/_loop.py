"""The study's event loop: ask, launch, read, record, tell; once, for every strategy and every backend.

Each turn has the same order: take the events that are there; put finished trials on disk; tell the strategy;
ask it while slots are free; put what it asked on disk; launch; wait for the next event.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import mutable

from hpo_core import _workspace
from hpo_core import events as ev
from hpo_core._asker import Asker, InlineAsker, ThreadAsker, take_up
from hpo_core._blame import guarded
from hpo_core._checkpoints import Checkpoints
from hpo_core._ledger import Ledger
from hpo_core._lifetimes import Lifetimes
from hpo_core._observers import Observers
from hpo_core._output import OutputFile
from hpo_core._plan import Planner, width
from hpo_core._record import seconds_since
from hpo_core._running import Running
from hpo_core._signals import StopSignals
from hpo_core._words import duration
from hpo_core.allocation import Node, Slot, SlotPool
from hpo_core.budget import Budget, StopReason
from hpo_core.exceptions import HpoError, LaunchError, StudyStopped
from hpo_core.interfaces import Capability, Outlook
from hpo_core.metrics import Collector
from hpo_core.policy import POLICIES, Policy, tries_again
from hpo_core.trial import Failure, Pause, Proposal, Report, Result, State, Trial

if TYPE_CHECKING:
    from hpo_core._backend import Backend
    from hpo_core.evaluator import Evaluator

_SNAPSHOT_EVERY = 100_000
"""Finished trials from one snapshot to the next."""

_OVERTAKEN_AT_MOST = 16
"""Evaluations that may pass a wide one which waits for nodes, before slots are kept for it."""


@mutable(eq=False)
class _Waiting:
    """A trial that has no slots yet."""

    trial: Trial
    attempt: int
    overtaken: int = 0


class Loop:
    """Runs a study until a budget, the strategy, or somebody ends it.

    Args:
        ledger: what is recorded, and the strategy.
        evaluator: the user's settings.
        backend: what runs evaluations.
        budget: when to end.
        observers: who hears of it.
        outlook: kept up to date for the strategy.
        study_id: part of all names of jobs and files.
        moved: called when there are nodes for the first time, before anything is launched.
    """

    def __init__(
        self,
        ledger: Ledger,
        evaluator: Evaluator,
        backend: Backend,
        budget: Budget,
        observers: Observers,
        outlook: Outlook,
        study_id: str,
        *,
        moved: Callable[[], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._evaluator = evaluator
        self._backend = backend
        self._budget = budget
        self._observers = observers
        self._outlook = outlook
        self._study_id = study_id
        self._moved = moved
        self._spec = evaluator.metric_spec
        self._pool = SlotPool()
        earlier_s = ledger.history.last_durations(Lifetimes.LAST)
        self._makes_files = backend.launcher.makes_files
        discard = backend.launcher.discard if self._makes_files else None
        self._checkpoints = Checkpoints(evaluator, ledger, study_id, elsewhere=discard)
        self._continues = bool(evaluator.checkpoint) and Capability.CONTINUES in ledger.strategy.capabilities
        limit_s = evaluator.eval_timeout_s
        self._lifetimes = Lifetimes(limit_s, evaluator.grace_s, earlier_s)
        self._limit_s = math.inf if limit_s is None else limit_s
        self._renewing = False
        self._all_joined = False
        self._cleared = False
        self._running: dict[ev.Key, Running] = {}
        self._limited: OrderedDict[ev.Key, Running] = OrderedDict()
        """What runs in limited time, in order of the starts, and so of the ends."""
        self._limit_is_timed = False
        self._waiting: deque[_Waiting] = deque()
        self._asking = 0
        self._idle = False
        self._forsaken = False
        self._over: list[ev.Key] = []
        """Evaluations whose results are not on disk yet."""
        self._delayed = 0
        self._done = False
        self._stop: StopReason | None = None
        self._stop_detail = ""
        self._lost: ev.AllocationLost | None = None
        self._gone: set[str] = set()
        self._fault: str = ""
        self._first_launch_s: float | None = None
        self._elapsed_before = ledger.elapsed_s
        self._usual_width = max(evaluator.nodes_per_eval, 1)
        self._plan = Planner(evaluator, ledger.directory, study_id, elsewhere=self._makes_files)
        launcher, launchers_fault = backend.launcher, f"launcher '{backend.launcher.name}' failed in"
        parsers_fault = f"metric parser '{backend.parser.name}' failed"
        self._have_adopted = guarded(launcher.adopt, f"{launchers_fault} adopt")
        self._have_cleaned = guarded(launcher.clean, f"{launchers_fault} clean")
        self._have_ended = guarded(launcher.end, f"{launchers_fault} end")
        self._have_forgotten = guarded(launcher.forget, f"{launchers_fault} forget")
        self._have_launched = guarded(launcher.launch, f"{launchers_fault} launch", passing=LaunchError)
        self._begin = guarded(Running.begin, parsers_fault)
        self._read = guarded(Running.read, parsers_fault)
        self._read_rest = guarded(Running.read_rest, parsers_fault)
        self._result = guarded(Running.result, parsers_fault)
        self._collector = guarded(partial(Collector, self._spec, backend.parser), parsers_fault)
        self._keeps_all = bool(evaluator.src_path) or evaluator.keep_output == "all"
        self._most = evaluator.num_parallel_evals or math.inf
        """Evaluations at the same time, whatever there is room for."""
        self._hears_reports = Capability.REPORTS in ledger.strategy.capabilities
        self._handlers: dict[type, Callable[[Any], None]] = {
            ev.Started: self._started,
            ev.Output: self._output,
            ev.Ended: self._ended,
            ev.NodesJoined: self._nodes_joined,
            ev.NodesLeft: self._nodes_left,
            ev.AllocationNotice: self._allocation_notice,
            ev.AllocationLost: self._allocation_lost,
            ev.Asked: take_up,
            ev.Interrupt: self._interrupt,
            ev.Wake: _nothing,
        }
        self._merged = Capability.MERGED_OUTPUT in backend.launcher.capabilities
        self._adopts = Capability.ADOPTS in backend.launcher.capabilities

    def run(self) -> tuple[StopReason, str]:
        """Run to the end.

        Returns:
            why it stopped, and a detail for people.

        Raises:
            StudyStopped: nothing can be evaluated as things are set up, or strategy or metric parser raised;
                what was recorded is intact.
            AllocationError: no nodes can be had.
            JournalError: the disk fails; everything recorded before is intact.
        """
        if len(self._ledger.history):
            for ended in self._backend.clean(self._study_id):
                self._observers.notice(f"ended what an earlier driver left: {ended}")
        self._events = self._backend.begin(self._study_id)
        slow = Capability.SLOW in self._ledger.strategy.capabilities and not self._events.virtual
        self._asker: Asker = ThreadAsker(self._events) if slow else InlineAsker()
        inline = self._events.virtual or not self._continues or self._makes_files
        self._files: Asker = InlineAsker() if inline else ThreadAsker(self._events, "hpo-files")
        if self._continues:
            self._checkpoints.find()
        try:
            with StopSignals(self._events):
                self._take_up_open_trials()
                self._check_budget()
                self._fill_slots()
                while not self._finished():
                    self._turn()
                    self._fill_slots()
        finally:
            if self._asker.pending:
                self._ledger.forsake()
            self._asker.close(wait=not self._forsaken)
            self._files.close(wait=False)
            self._note_elapsed()
            self._backend.finish(self._events)
        self._ledger.flush()
        if self._fault:
            raise StudyStopped(self._fault)
        return self._stop or StopReason.EXHAUSTED, self._stop_detail

    # One turn

    def _turn(self) -> None:
        self._hear()
        self._note_elapsed()
        self._check_budget()
        self._ledger.flush()
        if self._over:
            self._have_forgotten(self._over)
            self._over = []
        self._tell()

    def _hear(self) -> None:
        """Take events until one came that may change what is to be done: a start alone does not."""
        events: Collection[ev.Event] = ()
        started = True
        while started:
            events = self._events.next_events(self._time_limit())
            started = bool(events)
            for event in events:
                kind = type(event)
                self._handlers[kind](event)
                started = started and kind is ev.Started

    def _allocation_notice(self, event: ev.AllocationNotice) -> None:
        self._observers.notice(event.text)

    def _allocation_lost(self, event: ev.AllocationLost) -> None:
        self._lost = event
        self._observers.notice(event.reason)

    def _nodes_joined(self, event: ev.NodesJoined) -> None:
        self._renewing = self._cleared = False
        if self._moved is not None:
            self._moved()
            self._moved = None
        self._all_joined = not event.more
        for node in event.nodes:
            node = self._lifetimes.cleared_in_time(node, self._events.now())
            self._pool.join(node)
            self._gone.discard(node.name)
            if node.ends_at is not None:
                self._events.call_at(node.ends_at, partial(self._clear, node))
        self._note_slots()

    def _clear(self, node: Node) -> None:
        """A node's time is nearly over: what runs on it is ended in good time, and tried again elsewhere."""
        if node in self._pool.nodes:
            left = ev.NodesLeft((node.name,), "the allocation's time is nearly over", Failure.ALLOCATION_ENDED)
            self._cleared = True
            self._nodes_left(left, grace_s=self._evaluator.grace_s)
            self._events.post(ev.Wake())

    def _nodes_left(self, event: ev.NodesLeft, grace_s: float = 0.0) -> None:
        gone = {node.name for node in self._pool.nodes} & set(event.names)
        self._gone |= gone
        for name in gone:
            self._pool.leave(name)
        self._note_slots()
        if gone:
            self._observers.notice(f"lost {', '.join(sorted(gone))}: {event.reason}")
        for running in list(self._running.values()):
            if any(slot.node in event.names for slot in running.evaluation.slots):
                self._end(running, event.failure, event.reason, grace_s=grace_s)

    def _finished(self) -> bool:
        if self._running or (not self._forsaken and (self._asker.pending or self._files.pending)):
            return False
        if self._stop is not None or self._fault:
            return True
        if self._lost is not None and not self._pool.capacity:
            self._end_study(StopReason.ALLOCATION, self._lost.reason)
            return True
        if self._work_left() and self._nodes_end_too_soon():
            self._renewing = self._backend.renew()
            if not self._renewing:
                took_s = self._lifetimes.expected_s
                took = f"nine of ten took up to {duration(took_s)}" if took_s else "none has ended in time"
                self._end_study(StopReason.ALLOCATION, f"the allocation ends too soon for another evaluation ({took})")
                return True
        if self._pool.capacity and self._work_left():
            nodes, needed = len(self._pool.nodes), self._next_width()
            if needed > max(nodes, self._nodes_to_come()):
                which = f"trial {self._waiting[0].trial.number}" if self._waiting else "each evaluation"
                self._fault = f"{which} needs {needed} nodes, and the allocation has {nodes}"
                return True
        if self._waiting or self._delayed:
            return False
        if self._budget_spent():
            self._end_study(StopReason.TRIALS)
            return True
        if self._ledger.queued:
            return False
        if self._done:
            self._end_study(StopReason.EXHAUSTED)
            return True
        if self._idle and self._pool.capacity:
            self._fault = (
                f"strategy '{self._ledger.strategy.name}' waits for results, and none is on its way: "
                "nothing runs, nothing is asked, and it is not done. This is a fault of the strategy"
            )
            return True
        return False

    def _work_left(self) -> bool:
        """Whether anything is to be run yet, as far as can be known without asking the strategy."""
        if self._waiting or self._delayed:
            return True
        return not self._budget_spent() and bool(self._ledger.queued or not (self._done or self._idle))

    def _nodes_end_too_soon(self) -> bool:
        """Whether there would be room, were it not for the end of the nodes; told once for each allocation."""
        if self._renewing or self._lost is not None:
            return False
        if not self._pool.capacity:
            return bool(self._cleared)
        needed = self._next_width()
        return self._pool.room(needed) > 0 and self._pool.room(needed, until=self._until()) == 0

    def _next_width(self) -> int:
        """Nodes that the next evaluation takes, as far as that can be known."""
        return self._width(self._waiting[0].trial) if self._waiting else self._usual_width

    def _until(self) -> float | None:
        """When an evaluation that begins now is expected to have ended; None where no end of a node is known."""
        return self._events.now() + self._lifetimes.expected_s if self._pool.has_ends else None

    def _nodes_to_come(self) -> int:
        """Nodes that there will be once all have joined; 0 where no more are to be expected."""
        request = self._backend.request
        if request.jobid or self._all_joined or self._lost is not None:
            return 0
        return request.nodes - len(self._gone)

    # Asking and launching

    def _take_up_open_trials(self) -> None:
        """What an earlier driver left open is adopted, or confirmed ended and run again as a new attempt."""
        ledger = self._ledger
        if not len(ledger.history):
            return
        adopted = self._adopt()
        numbers = [number for number in ledger.history.open_numbers() if number not in adopted]
        for ended in self._have_cleaned(self._study_id, self._evaluator.grace_s):
            self._observers.notice(f"ended what an earlier driver left running: {ended}")
        for number in numbers:
            trial, attempt = ledger.history.trial(number), len(ledger.attempts.get(number, ())) + 1
            lost = Result(State.CANCELLED, failure=Failure.CANCELLED, message="its driver ended", attempts=attempt)
            ledger.attempted(trial, attempt, lost)
            self._waiting.append(_Waiting(trial, attempt + 1))

    def _adopt(self) -> set[int]:
        """Go on with evaluations of an earlier driver, where the launcher finds them; gives their trials' numbers."""
        if not self._adopts:
            return set()
        found: dict[ev.Key, Running] = {}
        for number, launch in self._ledger.launches.items():
            running = self._prepare(self._ledger.trial(number), launch.attempt, launch.slots)
            running.heard = self._ledger.reports.get(number, 0)
            running.adopted = True
            running.started_s -= 0.0 if self._events.virtual else seconds_since(launch.time)
            found[running.evaluation.key] = running
        adopted = self._have_adopted([running.evaluation for running in found.values()])
        for running in sorted((found[key] for key in adopted), key=lambda running: running.started_s):
            self._pool.claim(running.evaluation.slots)
            self._begin(running)
            self._now_runs(running)
            self._limit(running)
            self._observers.notice(f"trial {running.trial.number} still runs, or has ended meanwhile: adopted")
        return {number for number, _ in adopted}

    def _fill_slots(self) -> None:
        """Launch what waits, then ask for more, while slots are free; two writes at the most."""
        while self._pool.free and self._stop is None and not self._fault:
            if self._waiting:
                self._launch_waiting()
            if not self._pool.free or not self._ask_for_more():
                return

    def _launch_waiting(self) -> None:
        launchable = self._take_slots()
        if self._adopts:
            for waiting, slots in launchable:
                self._ledger.launched(waiting.trial, waiting.attempt, slots)
        self._ledger.flush(durable=self._backend.is_remote and not self._events.virtual)
        for waiting, slots in launchable:
            if not self._fault:
                self._launch(waiting, slots)

    def _take_slots(self) -> list[tuple[_Waiting, tuple[Slot, ...]]]:
        """Give slots to waiting trials: first come, first served, with bounded overtaking of wide ones."""
        taken: list[tuple[_Waiting, tuple[Slot, ...]]] = []
        kept: deque[_Waiting] = deque()
        until = self._until() if self._waiting else None
        while self._waiting and self._pool.free and len(self._running) + len(taken) < self._most:
            waiting = self._waiting.popleft()
            slots = self._pool.take(self._width(waiting.trial), until=until)
            if slots is None:
                kept.append(waiting)
            else:
                taken.append((waiting, slots))
                for overtaken in kept:
                    overtaken.overtaken += 1
            if kept and kept[0].overtaken >= _OVERTAKEN_AT_MOST:
                break
        self._waiting.extendleft(reversed(kept))
        return taken

    def _ask_for_more(self) -> bool:
        """Get trials for the free slots.

        Returns:
            whether trials wait now that did not before.
        """
        if self._stop is not None or self._fault:
            return False
        before = len(self._waiting)
        wanted = self._room() - self._asking
        if before:
            wanted -= before - 1  # the first that waits, waits for more than is free
            if self._waiting[0].overtaken >= _OVERTAKEN_AT_MOST:
                return False
        while wanted > 0 and not self._budget_spent():
            if self._ledger.queued:
                self._waiting.append(_Waiting(self._ledger.next_queued(), 1))
            elif self._done or self._idle:
                break
            else:
                self._asking += 1
                then = partial(self._answered, self._ledger.told, self._ledger.heard)
                self._asker.submit(partial(self._ledger.consult, "ask"), then)
            wanted -= 1
        return len(self._waiting) > before

    def _room(self) -> int:
        """Evaluations of the usual width that can be launched now."""
        room = self._pool.room(self._usual_width, until=self._until())
        return int(min(room, self._most - len(self._running)))

    def _note_slots(self) -> None:
        self._outlook.slots = int(min(self._pool.evaluations(self._usual_width), self._most))

    def _answered(self, told: int, heard: int, answer: Proposal | Pause) -> None:
        self._asking -= 1
        if answer is Pause.DONE:
            self._done = True
        elif answer is Pause.WAIT:
            self._idle = told == self._ledger.told
        elif isinstance(answer, Proposal):
            self._waiting.append(_Waiting(self._ledger.admit(answer, "strategy", told=told, heard=heard), 1))
        else:
            self._fault = (
                f"strategy '{self._ledger.strategy.name}' answered {answer!r}; "
                "ask must return a Proposal, Pause.WAIT or Pause.DONE"
            )

    def _launch(self, waiting: _Waiting, slots: tuple[Slot, ...]) -> None:
        """Make ready what an attempt needs, and launch it; other things go on while a checkpoint is copied."""
        running = self._prepare(waiting.trial, waiting.attempt, slots)
        make_ready = self._preparation(running)
        if waiting.trial.parent is None or make_ready is None:
            self._start(running, None if make_ready is None else _trouble(make_ready))
            return
        self._running[running.evaluation.key] = running
        running.being_prepared = True
        self._files.submit(partial(_trouble, make_ready), partial(self._prepared, running))

    def _preparation(self, running: Running) -> Callable[[], None] | None:
        """What makes the files that an evaluation finds, if any."""
        if not (self._evaluator.src_path or self._evaluator.checkpoint):
            return None
        evaluation = running.evaluation
        here = not self._makes_files
        checkpoint = None
        if here and self._evaluator.checkpoint:
            checkpoint = self._checkpoints.begin(running.trial, evaluation.attempt)

        def make_ready() -> None:
            if here and self._evaluator.src_path:
                workspace = Path(str(evaluation.directory))
                _workspace.prepare(Path(self._evaluator.src_path), workspace, self._study_id)
            if checkpoint is not None:
                checkpoint()
            if self._evaluator.src_path:
                _workspace.write_script(running.script, evaluation)

        return make_ready

    def _prepared(self, running: Running, trouble: HpoError | None) -> None:
        """The files of an evaluation were copied."""
        while self._checkpoints.notes:
            self._observers.notice(self._checkpoints.notes.pop())
        if self._running.get(running.evaluation.key) is not running or running.cause is not None:
            return
        if self._stop is not None or self._fault:
            self._end(running, Failure.CANCELLED, f"the study stopped: {self._stop_detail or self._fault}")
            return
        running.being_prepared = False
        del self._running[running.evaluation.key]
        self._start(running, trouble)

    def _start(self, running: Running, trouble: HpoError | None) -> None:
        evaluation = running.evaluation
        if trouble is None:
            self._begin(running)
            try:
                self._have_launched(evaluation)
            except LaunchError as error:
                trouble = error
        if trouble is None:
            running.started_s = self._events.now()
            self._now_runs(running)
            return
        self._pool.give_back(evaluation.slots)
        message, attempt = str(trouble), evaluation.attempt
        failed = Result(State.FAILED, failure=Failure.COULD_NOT_START, message=message, attempts=attempt)
        self._could_not_start(running.trial, attempt, failed)

    def _now_runs(self, running: Running) -> None:
        """An evaluation was launched, or adopted."""
        self._running[running.evaluation.key] = running
        if self._first_launch_s is None:
            self._first_launch_s = self._events.now()
        self._observers.trial_started(running.trial, running.evaluation.attempt)

    def _started(self, event: ev.Started) -> None:
        """It runs since now: what its launcher needed before that does not count as its time."""
        running = self._running.get(event.key)
        if running is not None and not running.adopted and event.key not in self._limited:
            running.started_s = self._events.now()
            self._limit(running)

    def _limit(self, running: Running) -> None:
        """From now on its time is limited."""
        if self._limit_s < math.inf:
            self._limited[running.evaluation.key] = running
            if not self._limit_is_timed:
                self._time_limits()

    def _time_limits(self) -> None:
        """End what is overdue, and come again for the first of the others: one timer for all."""
        while self._limited:
            key, running = next(iter(self._limited.items()))
            due_s = running.started_s + self._limit_s
            self._limit_is_timed = due_s > self._events.now()
            if self._limit_is_timed:
                self._events.call_at(due_s, self._time_limits)
                return
            del self._limited[key]
            self._end(running, Failure.TIME_LIMIT, f"it ran longer than eval_timeout, {duration(self._limit_s)}")
        self._limit_is_timed = False

    def _prepare(self, trial: Trial, attempt: int, slots: tuple[Slot, ...]) -> Running:
        evaluation, kept = self._plan(trial, attempt, slots, len(slots))
        if self._makes_files:
            evaluation = attrs.evolve(evaluation, files=self._checkpoints.files(trial, attempt))
        limit, keeps_all = self._evaluator.max_output_bytes, self._keeps_all
        return Running(
            trial,
            evaluation,
            self._collector(),
            self._events.now(),
            OutputFile(kept.stdout, keep=keeps_all, limit=limit),
            OutputFile(kept.stderr, keep=keeps_all, limit=limit),
            kept.script,
            proven=len(self._ledger.history.order) > 0,
            merged=self._merged,
        )

    def _width(self, trial: Trial) -> int:
        return width(self._evaluator, trial)

    # What evaluations do

    def _output(self, event: ev.Output) -> None:
        running = self._running.get(event.key)
        if running is None:
            return
        for report in self._read(running, event.data, event.stream):
            self._report(running, report)

    def _report(self, running: Running, report: Report) -> None:
        self._observers.trial_reported(running.trial, report)
        if not self._hears_reports or running.cause is not None:
            return
        if running.heard > 0:
            running.heard -= 1
            return
        self._ledger.reported(running.trial, report)
        call = partial(self._ledger.consult, "report", running.trial, report)
        self._asker.submit(call, partial(self._stop_or_not, running))

    def _stop_or_not(self, running: Running, stop: bool) -> None:
        if stop:
            self._end(running, State.STOPPED)

    def _end(self, running: Running, cause: Failure | State, why: str = "", *, grace_s: float | None = None) -> None:
        """End an evaluation for a reason of ours; its `Ended` follows."""
        if running.evaluation.key in self._running and running.cause is None:
            running.cause, running.why = cause, why
            self._end_launched(running, self._evaluator.grace_s if grace_s is None else grace_s)

    def _end_launched(self, running: Running, grace_s: float) -> None:
        if running.being_prepared:
            self._events.post(ev.Ended(running.evaluation.key))
        else:
            self._have_ended(running.evaluation.key, grace_s)

    def _ended(self, event: ev.Ended) -> None:
        running = self._running.pop(event.key, None)
        if running is None:
            return  # A late word on an attempt that was given up.
        self._pool.give_back(running.evaluation.slots)
        self._limited.pop(event.key, None)
        rest = self._read_rest(running)
        result = self._result(running, event, self._events.now(), self._ledger.sign)
        if running.cause is None:
            self._lifetimes.took(result.duration_s)
        for report in rest:
            self._observers.trial_reported(running.trial, report)
        self._keep_output(running, result)
        self._settle(running.trial, running.evaluation.attempt, result)
        self._over.append(event.key)

    def _settle(self, trial: Trial, attempt: int, result: Result) -> None:
        """A trial is over, or its next attempt waits."""
        failure = result.failure
        if failure is None:
            self._ledger.finish(trial, result)
            return
        policy = POLICIES[failure]
        earlier = self._ledger.attempts.get(trial.number, ())
        again = tries_again(failure, earlier, self._evaluator.num_retries)
        if policy.stops:
            self._could_not_start(trial, attempt, result)
        elif (again or not failure.programs_fault) and (self._stop is StopReason.INTERRUPTED or self._fault):
            self._ledger.attempted(trial, attempt, result)
        elif self._stop is None and again:
            self._ledger.attempted(trial, attempt, result)
            self._observers.notice(f"trial {trial.number}, attempt {attempt}: {result.message}; trying again")
            self._try_again(_Waiting(trial, attempt + 1), policy)
        else:
            self._ledger.finish(trial, result)

    def _try_again(self, waiting: _Waiting, policy: Policy) -> None:
        delay_s = self._evaluator.retry_delay_s if policy.delay_s is None else policy.delay_s
        if not delay_s:
            self._waiting.append(waiting)
            return
        self._delayed += 1

        def due() -> None:
            self._delayed -= 1
            self._waiting.append(waiting)
            self._events.post(ev.Wake())

        self._events.call_later(delay_s, due)

    def _could_not_start(self, trial: Trial, attempt: int, result: Result) -> None:
        """A fault of the set-up, not of the point: stop, and leave the trial open for a resumed study."""
        self._ledger.attempted(trial, attempt, result)
        self._fault = f"trial {trial.number} could not be started: {result.message}"
        self._cancel_running(self._evaluator.grace_s)

    def _keep_output(self, running: Running, result: Result) -> None:
        failed = result.failure is not None and result.state is not State.CANCELLED
        try:
            for file in (running.stdout, running.stderr):
                file.close(keep=failed)
            if failed and not self._evaluator.src_path:
                _workspace.write_script(running.script, running.evaluation)
        except OSError as error:
            self._observers.notice(f"the output of trial {running.trial.number} could not be kept: {error}")

    # Telling

    def _tell(self) -> None:
        for trial, result in self._ledger.untold():
            self._idle = False
            self._observers.trial_finished(trial, result)
            self._asker.submit(partial(self._ledger.consult, "tell", trial, result), _nothing)
            if self._continues:
                self._files.submit(partial(_trouble, self._checkpoints.keep(trial.number)), self._note_trouble)
                self._asker.submit(partial(self._ledger.consult, "continuable"), self._collect)
        journal = self._ledger.journal
        if journal is not None and isinstance(self._asker, InlineAsker):
            self._ledger.save_snapshot(journal, every=_SNAPSHOT_EVERY)

    def _collect(self, continuable: Collection[int]) -> None:
        self._files.submit(partial(_trouble, self._checkpoints.collect(continuable)), self._note_trouble)

    def _note_trouble(self, trouble: HpoError | None) -> None:
        if trouble is not None:
            self._fault = self._fault or str(trouble)

    # Ending

    def _budget_spent(self) -> bool:
        n_trials = self._budget.n_trials
        left = None if n_trials is None else n_trials - self._ledger.asked - self._asking
        self._outlook.trials_left = left
        return left is not None and left <= 0

    def _check_budget(self) -> None:
        if self._stop is not None:
            return
        budget, ledger = self._budget, self._ledger
        best = math.inf if ledger.best is None else ledger.history.loss(ledger.best)
        if budget.target is not None and best <= ledger.sign * budget.target:
            self._end_study(StopReason.TARGET)
        elif budget.patience is not None and ledger.since_best >= budget.patience:
            self._end_study(StopReason.NO_IMPROVEMENT)
        elif budget.max_failures is not None and ledger.failed_in_a_row >= budget.max_failures:
            self._end_study(StopReason.FAILURES)
        elif budget.timeout_s is not None:
            self._outlook.time_left_s = max(0.0, budget.timeout_s - ledger.elapsed_s)
            limit = self._time_limit()  # as next_events compares it: the difference may round to just below
            if ledger.elapsed_s >= budget.timeout_s or (limit is not None and self._events.now() >= limit):
                self._end_study(StopReason.TIMEOUT)

    def _end_study(self, reason: StopReason, detail: str = "") -> None:
        self._stop, self._stop_detail = reason, detail or reason.value
        self._cancel_running(self._evaluator.grace_s)

    def _cancel_running(self, grace_s: float) -> None:
        for running in self._running.values():
            if running.cause is None:
                running.cause, running.why = (
                    Failure.CANCELLED,
                    f"the study stopped: {self._stop_detail or self._fault}",
                )
            self._end_launched(running, grace_s)

    def _interrupt(self, event: ev.Interrupt) -> None:
        self._stop = self._stop or StopReason.INTERRUPTED
        self._stop_detail = self._stop_detail or event.reason
        if event.level > 1:
            self._forsaken = True  # not even a strategy that hangs is waited for
            self._cancel_running(0.0)
            return
        wait_s = self._evaluator.stop_wait_s if event.wait_s is None else event.wait_s
        self._events.call_later(wait_s, partial(self._cancel_running, self._evaluator.grace_s))
        if self._running:
            self._observers.notice(
                f"{event.reason}: no new evaluations; the {len(self._running)} that run have {duration(wait_s)} "
                "to end (again: at once)"
            )

    def _time_limit(self) -> float | None:
        if self._budget.timeout_s is None or self._first_launch_s is None or self._stop is not None:
            return None
        return self._first_launch_s + self._budget.timeout_s - self._elapsed_before

    def _note_elapsed(self) -> None:
        if self._first_launch_s is not None:
            self._ledger.elapsed_s = self._elapsed_before + self._events.now() - self._first_launch_s


def _nothing(answer: object) -> None:
    pass


def _trouble(job: Callable[[], None]) -> HpoError | None:
    """Do something, and return what kept it from being done."""
    try:
        job()
    except HpoError as error:
        return error
    return None
