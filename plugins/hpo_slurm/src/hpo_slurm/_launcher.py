"""The launcher ``slurm``: each evaluation is one job step, started by one srun."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from attrs import field, mutable

from hpo_core import Capability, ConfigurationError, Evaluation, Launcher, LaunchError
from hpo_core.events import AllocationNotice, Ended, EventLoop, Key, Output, Started
from hpo_core.trial import Failure
from hpo_slurm import _commands as cmd
from hpo_slurm._child import Child
from hpo_slurm._clerk import LoopCalls
from hpo_slurm._client import Client, environment
from hpo_slurm._manager import SlurmManager
from hpo_slurm._task import SWEEP, program
from hpo_slurm._verdict import Doubt, Verdict, judge

_TAIL = 8192
"""Bytes of stderr in which Slurm's own words are looked for."""

_PROBE_S = 30.0
_LOOK_AGAIN_S = 0.5
_MOST_LOOKS = 20
_SETTLING_S = 120.0
"""A controller that was started again refuses steps for a while; this long it is asked again."""

_SWEEP = "sweep"
_SWEEP_S = 1.0
"""A step that outlives its KILL so long has processes that Slurm does not find."""

_SRUN_TERM_S = 3.0
_SRUN_KILL_S = 60.0
_CLOSE_S = 20.0
_CLEAN_S = 60.0

_ONE_EVALUATION = frozenset(
    f"HPO_{name}"
    for name in (
        *("STUDY", "STUDY_DIRECTORY", "TRIAL", "ATTEMPT", "TAG", "DIRECTORY", "CHECKPOINT", "NODELIST"),
        *("NUM_NODES", "FIDELITY", "EVALUATION", "SESSION", "CORES"),
    )
)
"""What describes one evaluation; a study that runs inside another's evaluation doesn't pass it on."""


@mutable(eq=False)
class _Step:
    """An evaluation that was launched and has not ended.

    Attributes:
        evaluation: what runs.
        child: its srun, where one runs.
        ending: whether it is to end, because somebody said so.
        killed: whether TERM was not enough, or not wanted.
        first_refusal_s: when Slurm first refused to start it, on the loop's clock.
        messages: what srun said.
        errors: the end of what the program wrote to stderr.
        looks: how often Slurm was asked in vain what became of it.
    """

    evaluation: Evaluation
    child: Child | None = None
    ending: bool = False
    killed: bool = False
    first_refusal_s: float | None = None
    messages: bytes = b""
    errors: bytes = b""
    looks: int = 0
    timers: list[Any] = field(factory=list)

    @property
    def key(self) -> Key:
        return self.evaluation.key

    @property
    def name(self) -> str:
        return self.evaluation.name

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(slot.node for slot in self.evaluation.slots)


class SlurmLauncher(Launcher):
    """Runs each evaluation by ``srun`` on the nodes of its slots, one task a node.

    ``launch_args`` is split into words as a shell does and comes after our own options, so that it wins. What srun
    itself says is kept apart from what the program writes.
    """

    name = "slurm"
    interface_version = 1
    capabilities = frozenset({Capability.STREAMS, Capability.MULTI_NODE, Capability.KILLS_TREES})
    managers = ("slurm",)
    manager: SlurmManager | None

    def __init__(self, options: Any = None, *, launch_args: str = "") -> None:
        super().__init__(options, launch_args=launch_args)
        try:
            self._arguments = tuple(shlex.split(launch_args))
        except ValueError as error:
            raise ConfigurationError(f"launch_args={launch_args!r} cannot be split into words: {error}") from error
        self._is_open = False

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            raise ConfigurationError(
                "SIGCHLD is ignored in this process, so that no exit status can be had; "
                "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) first"
            )
        self._steps: dict[Key, _Step] = {}
        self._probes: dict[str, list[Callable[[bool], None]]] = {}
        self._probing: set[Child] = set()
        self._to_term: set[str] = set()
        self._to_kill: set[str] = set()
        self._to_sweep: set[str] = set()
        self._to_confirm: dict[str, Ended] = {}
        self._rests_since: dict[str, float] = {}
        self._has_started_one = False
        self._told_guard = False
        self._loop = LoopCalls(events)
        inherited = {name: text for name, text in environment().items() if name not in _ONE_EVALUATION}
        self._base_environment = {**inherited, "HPO_SESSION": secrets.token_hex(8)}
        self._is_open = True

    @property
    def _manager(self) -> SlurmManager:
        if self.manager is None or self.manager.clerk is None or self.manager.job is None:
            raise LaunchError("there is no Slurm allocation in which a job step could be started")
        return self.manager

    # Starting

    def launch(self, evaluation: Evaluation) -> None:
        directory = evaluation.directory
        if directory is not None and not os.path.isdir(directory):
            raise LaunchError(f"cannot start '{evaluation.command}': there is no directory {directory}")
        step = _Step(evaluation)
        self._start(step)
        self._steps[step.key] = step
        self.events.post(Started(step.key, f"a step of job {self._manager.job} on {','.join(step.nodes)}"))

    def preview(self, evaluation: Evaluation) -> str:
        job = "JOBID" if self.manager is None or self.manager.job is None else self.manager.job
        nodes = [slot.node for slot in evaluation.slots] or ["NODE"]
        words = cmd.srun_words(job, nodes, evaluation.name, arguments=self._arguments)
        return shlex.join((*words, "sh", "-c", evaluation.command))

    def _start(self, step: _Step) -> None:
        manager, evaluation = self._manager, step.evaluation
        if not self._told_guard:
            self._told_guard = True
            manager.tell_guard(f"name hpo-{self.study_id}-")
        own = {
            **self._base_environment,
            **evaluation.environment,
            "HPO_EVALUATION": evaluation.name,
            "PWD": evaluation.directory or os.getcwd(),
        }
        words_of_task = program(evaluation, self._arguments)

        def words(error: str) -> Sequence[str]:
            start = cmd.srun_words(
                manager.job or 0, step.nodes, evaluation.name, arguments=self._arguments, error=error
            )
            return (*start, *words_of_task)

        try:
            step.child = Child(self.events, words, own, partial(self._heard, step), partial(self._srun_ended, step))
        except OSError as error:
            raise LaunchError(f"cannot start '{evaluation.command}' by srun: {error.strerror}") from error
        manager.tell_guard(f"srun {step.child.pid}")

    # What it does

    def _heard(self, step: _Step, stream: str, data: bytes) -> None:
        if stream == "stdout":
            self.events.post(Output(step.key, data, "stdout"))
        elif stream == "errors":
            step.errors = (step.errors + data)[-_TAIL:]
            self.events.post(Output(step.key, data, "stderr"))
        else:
            step.messages = (step.messages + data)[-_TAIL:]

    def _srun_ended(self, step: _Step, code: int) -> None:
        child, step.child = step.child, None
        if child is not None:
            self._tell_guard(f"srun -{child.pid}")
        verdict = judge(code, step.messages.decode(errors="replace"), step.errors.decode(errors="replace"))
        if verdict.doubt not in (Doubt.REFUSED, Doubt.SILENT):
            self._has_started_one = True
        if step.ending:
            self._confirm(step, Ended(step.key, verdict.exit_code, verdict.signal))
        elif verdict.doubt is Doubt.NONE:
            self._tell(step, verdict)
        elif verdict.doubt is Doubt.NODE:
            self._probe(step.nodes[0], lambda works: self._told_of_node(step, verdict, works))
        else:
            self._examine(step, verdict)

    def _tell(self, step: _Step, verdict: Verdict) -> None:
        """The evaluation is over."""
        if self._steps.pop(step.key, None) is None:
            return
        for timer in step.timers:
            timer.cancel()
        failure, message = verdict.failure, verdict.message
        evaluation = step.evaluation
        if failure is None and verdict.exit_code in (126, 127) and evaluation.argv is not None:
            failure, message = Failure.COULD_NOT_START, _last_line(step.errors) or "the program could not be run"
        if failure is not None and step.messages:
            self.events.post(Output(step.key, step.messages, "stderr"))
        self.events.post(Ended(step.key, verdict.exit_code, verdict.signal, failure, message if failure else ""))

    # What srun leaves open

    def _examine(self, step: _Step, verdict: Verdict) -> None:
        """Have the clerk look at the job first: what it posts comes before the end of this evaluation."""
        manager, loop = self._manager, self._loop

        def look() -> None:
            runs = manager.look()
            loop.call(lambda: self._examined(step, verdict, runs))

        self._clerk_call(look)

    def _examined(self, step: _Step, verdict: Verdict, runs: bool | None) -> None:
        if step.ending:
            self._confirm(step, Ended(step.key, verdict.exit_code, verdict.signal))
            return
        if runs is None and verdict.doubt is not Doubt.SILENT and step.looks < _MOST_LOOKS:
            step.looks += 1
            step.timers.append(self.events.call_later(_LOOK_AGAIN_S, lambda: self._examine(step, verdict)))
            return
        if runs is False:
            self._tell(step, _of_allocation(verdict, "the allocation is over"))
            return
        gone = [name for name in step.nodes if not self._manager.holds(name)] if runs else []
        if gone:
            self._tell(step, _lost(verdict, gone[0]))
        elif verdict.doubt is Doubt.SILENT:
            self._later(step, verdict)
        elif verdict.doubt is Doubt.REFUSED:
            self._refused(step, verdict)
        elif verdict.failure is Failure.TIME_LIMIT and self._manager.ends_soon():
            self._tell(step, _of_allocation(verdict, "the time of the allocation is over"))
        else:
            self._tell(step, verdict)

    def _refused(self, step: _Step, verdict: Verdict) -> None:
        if verdict.node:
            self._manager.node_failed(verdict.node, verdict.message)
            self._tell(step, _lost(verdict, verdict.node))
            return
        now = self.events.now()
        if step.first_refusal_s is None:
            step.first_refusal_s = now
        if self._has_started_one and now - step.first_refusal_s < _SETTLING_S:
            self._later(step, verdict)
        else:
            self._tell(step, Verdict(verdict.exit_code, None, Failure.COULD_NOT_START, verdict.message))

    def _later(self, step: _Step, verdict: Verdict) -> None:
        """Start it again in a while: it has not begun."""
        if step.first_refusal_s is None:
            step.first_refusal_s = self.events.now()
            self.events.post(
                AllocationNotice(f"{step.name} is not started yet, and will be tried again: {verdict.message}")
            )
        waited_s = self.events.now() - step.first_refusal_s
        step.timers.append(self.events.call_later(min(10.0, 1.0 + waited_s / 4), lambda: self._start_again(step)))

    def _start_again(self, step: _Step) -> None:
        if step.key not in self._steps:
            return
        step.messages = step.errors = b""
        step.timers.clear()
        try:
            self._start(step)
        except LaunchError as error:
            self._tell(step, Verdict(None, None, Failure.COULD_NOT_START, str(error)))

    def _told_of_node(self, step: _Step, verdict: Verdict, works: bool) -> None:
        if works or step.ending:
            self._tell(step, verdict)
        else:
            self._manager.node_failed(step.nodes[0], "no job step can be started on it")
            self._tell(step, _lost(verdict, step.nodes[0]))

    def _probe(self, node: str, then: Callable[[bool], None]) -> None:
        """See whether a node still runs programs; several who ask at the same time share the answer."""
        if node in self._probes:
            self._probes[node].append(then)
            return
        manager = self._manager
        if not manager.holds(node):
            then(False)
            return
        self._probes[node] = [then]
        words = (*cmd.srun_words(manager.job or 0, (node,), "hpo-probe", arguments=("--chdir=/",)), "true")
        said: list[bytes] = []

        def over(code: int) -> None:
            self._probing.discard(child)
            timer.cancel()
            verdict = judge(code, b"".join(said).decode(errors="replace"), "")
            works = code == 0 or (code > 0 and not verdict.node)
            for waiting in self._probes.pop(node):
                waiting(works)

        try:
            child = Child(self.events, lambda _: words, environment(), lambda _, data: said.append(data), over)
        except OSError:
            del self._probes[node]
            then(True)
            return
        self._probing.add(child)
        timer = self.events.call_later(_PROBE_S, child.kill)

    # Ending

    def end(self, key: Key, grace_s: float) -> None:
        step = self._steps.get(key)
        if step is None:
            return
        step.ending = True
        for timer in step.timers:
            timer.cancel()
        step.timers.clear()
        if step.child is None:
            if step.name not in self._to_confirm:
                self._confirm(step, Ended(key, None, signal.SIGTERM))
            return
        if grace_s > 0 and not step.killed:
            self._batch(self._to_term, step.name, "TERM")
            step.timers.append(self.events.call_later(grace_s, lambda: self._kill(step)))
        else:
            self._kill(step)

    def _kill(self, step: _Step) -> None:
        """KILL for the whole step; srun is told as well where that does not help soon."""
        step.killed = True
        self._batch(self._to_kill, step.name, "")
        sweep = partial(self._batch, self._to_sweep, step.name, _SWEEP)
        step.timers.append(self.events.call_later(_SWEEP_S, sweep))
        step.timers.append(self.events.call_later(_SRUN_TERM_S, lambda: self._signal_srun(step, signal.SIGTERM)))
        step.timers.append(self.events.call_later(_SRUN_KILL_S, lambda: self._signal_srun(step, signal.SIGKILL)))

    def _signal_srun(self, step: _Step, number: int) -> None:
        if step.child is not None:
            if number == signal.SIGKILL:
                step.child.kill()
            else:
                step.child.signal(number)

    def _batch(self, names: set[str], name: str, signal_name: str) -> None:
        """One command for all steps that are ended in the same moment."""
        names.add(name)
        if len(names) == 1:
            self._clerk_call(partial(self._cancel, self._loop, names, signal_name))

    def _cancel(self, loop: LoopCalls, names: set[str], signal_name: str) -> None:
        """In the clerk's thread."""
        chosen = set[str]()
        while names:
            chosen.add(names.pop())
        client = self._client
        steps = client.steps()
        if steps is None:
            return  # the timers will tell srun
        found = {name: step for step, name in steps if name in chosen}
        if signal_name == _SWEEP:
            self._sweep(client, list(found.values()))
            signal_name = ""
        client.cancel(list(found.values()), signal_name=signal_name)
        missing = chosen - found.keys()
        if missing:
            loop.call(lambda: self._not_begun(missing))

    def _not_begun(self, names: Collection[str]) -> None:
        """What is to end and is no step yet: srun will not make one of it any more."""
        for step in self._steps.values():
            if step.name in names:
                self._signal_srun(step, signal.SIGTERM)

    def _confirm(self, step: _Step, ended: Ended) -> None:
        """Tell the end of what was ended by us once Slurm has no step of that name any more."""
        self._to_confirm[step.name] = ended
        if len(self._to_confirm) == 1:
            self._clerk_call(partial(self._look_for_rests, self._loop, self._to_confirm))

    def _look_for_rests(self, loop: LoopCalls, waiting: dict[str, Ended]) -> None:
        """In the clerk's thread."""
        names = set(waiting)
        client = self._client
        steps = client.steps()
        if steps is None:
            loop.call(lambda: self._confirmed(set()))
            return
        rests = {name: step for step, name in steps if name in names}
        client.cancel(list(rests.values()))
        now = time.monotonic()
        self._rests_since = {step: self._rests_since.get(step, now) for step in rests.values()}
        self._sweep(client, [step for step, since in self._rests_since.items() if now - since > _SWEEP_S])
        loop.call(lambda: self._confirmed(names - rests.keys()))

    def _sweep(self, client: Client, steps: Sequence[str]) -> None:
        """Where Slurm lost track of a step's processes, no scancel reaches them: go there and kill them."""
        manager = self.manager
        if steps and manager is not None and manager.job is not None:
            pattern = "|".join(step.replace(".", "[.]") for step in steps)
            words = cmd.srun_words(manager.job, manager.names(), "hpo-sweep", arguments=("--chdir=/",))
            client.run((*words, "sh", "-c", SWEEP, "sh", pattern))

    def _confirmed(self, names: Collection[str]) -> None:
        for name in names:
            ended = self._to_confirm.pop(name, None)
            step = None if ended is None else self._steps.pop(ended.key, None)
            if step is not None and ended is not None:
                for timer in step.timers:
                    timer.cancel()
                self.events.post(ended)
        if self._to_confirm:
            self.events.call_later(0.2 if names else 1.0, self._confirm_again)

    def _confirm_again(self) -> None:
        if self._is_open and self._to_confirm:
            self._clerk_call(partial(self._look_for_rests, self._loop, self._to_confirm))

    @property
    def _client(self) -> Client:
        return Client() if self.manager is None else self.manager.client

    def _clerk_call(self, function: Callable[[], None]) -> None:
        clerk = None if self.manager is None else self.manager.clerk
        if clerk is not None:
            clerk.call(function)

    def _tell_guard(self, line: str) -> None:
        if self.manager is not None:
            self.manager.tell_guard(line)

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._loop.close()
        steps, self._steps = list(self._steps.values()), {}
        children = [step.child for step in steps if step.child is not None] + list(self._probing)
        for child in children:
            child.forget()
        if steps:
            self._end_now({step.name for step in steps}, children)
        for child in children:
            if not child.wait(1.0 if steps else 0.0):
                child.kill()
                child.wait(5.0)
            self._tell_guard(f"srun -{child.pid}")
        for step in steps:
            for timer in step.timers:
                timer.cancel()

    def _end_now(self, names: set[str], children: Sequence[Child]) -> None:
        """KILL for all that runs, and wait until it is gone."""
        began, told = time.monotonic(), False
        client = self._client
        while True:
            listed = client.steps()
            left = [] if listed is None else [step for step, name in listed if name in names]
            if time.monotonic() - began > _SWEEP_S:
                self._sweep(client, left)
            client.cancel(left)
            if not told:
                told = True
                begun = {name for _, name in listed or ()}
                for child in children:
                    if listed is None or not names <= begun:
                        child.signal(signal.SIGTERM)
            if (listed is not None and not left and all(child.wait(0.0) for child in children)) or (
                time.monotonic() - began > _CLOSE_S
            ):
                return
            time.sleep(0.05)

    def clean(self, study_id: str, grace_s: float) -> Sequence[str]:
        """End all job steps of this study, of whatever job, and wait until they are gone.

        Raises:
            LaunchError: Slurm did not answer within a minute, or something does not end; trying again may help.
        """
        client = self._client
        found: dict[str, str] = {}
        until, told_s = time.monotonic() + _CLEAN_S + grace_s, 0.0
        while True:
            steps = client.steps()
            if steps is not None:
                left = {step: name for step, name in steps if name.startswith(f"hpo-{study_id}-")}
                found |= left
                if not left:
                    return tuple(f"job step {step} ({name})" for step, name in found.items())
                now = time.monotonic()
                if not told_s:
                    told_s = now
                    client.cancel(list(left), signal_name="TERM" if grace_s > 0 else "")
                elif now - told_s > grace_s:
                    client.cancel(list(left))
            if time.monotonic() > until:
                raise LaunchError(
                    "Slurm's controller does not answer, so that nobody knows what an earlier driver of this study left"
                    if steps is None
                    else f"Slurm does not end what an earlier driver left: {', '.join(found)}"
                )
            time.sleep(0.05)


def _of_allocation(verdict: Verdict, text: str) -> Verdict:
    failure = Failure.PREEMPTED if verdict.failure is Failure.PREEMPTED else Failure.ALLOCATION_ENDED
    return Verdict(verdict.exit_code, verdict.signal, failure, text)


def _lost(verdict: Verdict, node: str) -> Verdict:
    return Verdict(verdict.exit_code, verdict.signal, Failure.NODE_LOST, f"node {node} was lost: {verdict.message}")


def _last_line(data: bytes) -> str:
    lines = data.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
