"""The launcher ``slurm``: each evaluation is one job step, started by one srun."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
from collections.abc import Sequence
from functools import partial
from typing import Any

from hpo_core import Capability, ConfigurationError, Evaluation, Launcher, LaunchError
from hpo_core.events import AllocationNotice, Ended, EventLoop, Key, Output, Started
from hpo_core.trial import Failure
from hpo_slurm import _commands as cmd
from hpo_slurm import _leftovers
from hpo_slurm._child import Child
from hpo_slurm._client import Client, environment
from hpo_slurm._ending import Ending, end_now
from hpo_slurm._manager import SlurmManager
from hpo_slurm._probes import Probes
from hpo_slurm._step import Step
from hpo_slurm._task import program
from hpo_slurm._verdict import Doubt, Verdict, judge

_TAIL = 8192
"""Bytes of stderr in which Slurm's own words are looked for."""

_LOOK_AGAIN_S = 0.5
_MOST_LOOKS = 20
_SETTLING_S = 120.0
"""A controller that was started again refuses steps for a while; this long it is asked again."""


_ONE_EVALUATION = frozenset(
    f"HPO_{name}"
    for name in (
        *("STUDY", "STUDY_DIRECTORY", "TRIAL", "ATTEMPT", "TAG", "DIRECTORY", "CHECKPOINT", "NODELIST"),
        *("NUM_NODES", "FIDELITY", "EVALUATION", "SESSION", "CORES"),
    )
)
"""What describes one evaluation; a study that runs inside another's evaluation doesn't pass it on."""


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
        self._steps: dict[Key, Step] = {}
        self._probes = Probes(events)
        if self.manager is None:
            raise ConfigurationError("the launcher 'slurm' needs the workload manager 'slurm'")
        self._manager = self.manager
        self._ending = Ending(events, self._manager, lambda: self._steps.values(), self._over)
        self._has_started_one = False
        self._told_guard = False
        inherited = {name: text for name, text in environment().items() if name not in _ONE_EVALUATION}
        self._base_environment = {**inherited, "HPO_SESSION": secrets.token_hex(8)}
        self._is_open = True

    # Starting

    def launch(self, evaluation: Evaluation) -> None:
        directory = evaluation.directory
        if directory is not None and not os.path.isdir(directory):
            raise LaunchError(f"cannot start '{evaluation.command}': there is no directory {directory}")
        step = Step(evaluation)
        self._start(step)
        self._steps[step.key] = step
        self.events.post(Started(step.key, f"a step of job {self._manager.job} on {','.join(step.nodes)}"))

    def preview(self, evaluation: Evaluation) -> str:
        job = "JOBID" if self.manager is None or self.manager.job is None else self.manager.job
        nodes = [slot.node for slot in evaluation.slots] or ["NODE"]
        words = cmd.srun_words(job, nodes, evaluation.name, arguments=self._arguments)
        return shlex.join((*words, "sh", "-c", evaluation.command))

    def _start(self, step: Step) -> None:
        manager, evaluation = self._manager, step.evaluation
        job = manager.job
        if manager.clerk is None or job is None:
            raise LaunchError("there is no Slurm allocation in which a job step could be started")
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
            start = cmd.srun_words(job, step.nodes, evaluation.name, arguments=self._arguments, error=error)
            return (*start, *words_of_task)

        try:
            step.child = Child(self.events, words, own, partial(self._heard, step), partial(self._srun_ended, step))
        except OSError as error:
            raise LaunchError(f"cannot start '{evaluation.command}' by srun: {error.strerror}") from error
        manager.tell_guard(f"srun {step.child.pid}")

    # What it does

    def _heard(self, step: Step, stream: str, data: bytes) -> None:
        if stream == "stdout":
            self.events.post(Output(step.key, data, "stdout"))
        elif stream == "errors":
            step.errors = (step.errors + data)[-_TAIL:]
            self.events.post(Output(step.key, data, "stderr"))
        else:
            step.messages = (step.messages + data)[-_TAIL:]

    def _srun_ended(self, step: Step, code: int) -> None:
        child, step.child = step.child, None
        if child is not None:
            self._manager.tell_guard(f"srun -{child.pid}")
        verdict = judge(code, step.messages.decode(errors="replace"), step.errors.decode(errors="replace"))
        if verdict.doubt not in (Doubt.REFUSED, Doubt.SILENT):
            self._has_started_one = True
        if step.ending:
            self._ending.confirm(step, Ended(step.key, verdict.exit_code, verdict.signal))
        elif verdict.doubt is Doubt.NONE:
            self._tell(step, verdict)
        elif verdict.doubt is Doubt.NODE:
            self._probes.try_node(self._manager, step.nodes[0], lambda works: self._told_of_node(step, verdict, works))
        else:
            self._examine(step, verdict)

    def _tell(self, step: Step, verdict: Verdict) -> None:
        """The evaluation is over."""
        if self._steps.pop(step.key, None) is None:
            return
        step.forget_timers()
        failure, message = verdict.failure, verdict.message
        evaluation = step.evaluation
        if failure is None and verdict.exit_code in (126, 127) and evaluation.argv is not None:
            failure, message = Failure.COULD_NOT_START, _last_line(step.errors) or "the program could not be run"
        if failure is not None and step.messages:
            self.events.post(Output(step.key, step.messages, "stderr"))
        self.events.post(Ended(step.key, verdict.exit_code, verdict.signal, failure, message if failure else ""))

    # What srun leaves open

    def _examine(self, step: Step, verdict: Verdict) -> None:
        """Have the clerk look at the job first: what it posts comes before the end of this evaluation."""
        manager, ending = self._manager, self._ending

        def look() -> None:
            runs = manager.look()
            ending.loop.call(lambda: self._examined(step, verdict, runs))

        ending.in_clerk(look)

    def _examined(self, step: Step, verdict: Verdict, runs: bool | None) -> None:
        if step.ending:
            self._ending.confirm(step, Ended(step.key, verdict.exit_code, verdict.signal))
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

    def _refused(self, step: Step, verdict: Verdict) -> None:
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

    def _later(self, step: Step, verdict: Verdict) -> None:
        """Start it again in a while: it has not begun."""
        if step.first_refusal_s is None:
            step.first_refusal_s = self.events.now()
            self.events.post(
                AllocationNotice(f"{step.name} is not started yet, and will be tried again: {verdict.message}")
            )
        waited_s = self.events.now() - step.first_refusal_s
        step.timers.append(self.events.call_later(min(10.0, 1.0 + waited_s / 4), lambda: self._start_again(step)))

    def _start_again(self, step: Step) -> None:
        if step.key not in self._steps:
            return
        step.messages = step.errors = b""
        step.timers.clear()
        try:
            self._start(step)
        except LaunchError as error:
            self._tell(step, Verdict(None, None, Failure.COULD_NOT_START, str(error)))

    def _told_of_node(self, step: Step, verdict: Verdict, works: bool) -> None:
        if works or step.ending:
            self._tell(step, verdict)
        else:
            self._manager.node_failed(step.nodes[0], "no job step can be started on it")
            self._tell(step, _lost(verdict, step.nodes[0]))

    # Ending

    def end(self, key: Key, grace_s: float) -> None:
        step = self._steps.get(key)
        if step is None:
            return
        step.ending = True
        step.forget_timers()
        if step.child is not None:
            self._ending.end(step, grace_s)
        elif not self._ending.confirms(step):
            self._ending.confirm(step, Ended(key, None, signal.SIGTERM))

    def _over(self, step: Step, ended: Ended) -> None:
        """Nothing of a step that was ended by us is left."""
        if self._steps.pop(step.key, None) is not None:
            step.forget_timers()
            self.events.post(ended)

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._ending.close()
        steps, self._steps = list(self._steps.values()), {}
        children = [step.child for step in steps if step.child is not None] + list(self._probes.children)
        for child in children:
            child.forget()
        if steps:
            end_now(self._manager, {step.name for step in steps}, children)
        for child in children:
            if not child.wait(1.0 if steps else 0.0):
                child.kill()
                child.wait(5.0)
            self._manager.tell_guard(f"srun -{child.pid}")
        for step in steps:
            step.forget_timers()

    def clean(self, study_id: str, grace_s: float) -> Sequence[str]:
        """End all job steps of this study, of whatever job, and wait until they are gone.

        Raises:
            LaunchError: Slurm did not answer within a minute, or something does not end; trying again may help.
        """
        client = Client() if self.manager is None else self.manager.client
        return _leftovers.clean_steps(client, study_id, grace_s)


def _of_allocation(verdict: Verdict, text: str) -> Verdict:
    failure = Failure.PREEMPTED if verdict.failure is Failure.PREEMPTED else Failure.ALLOCATION_ENDED
    return Verdict(verdict.exit_code, verdict.signal, failure, text)


def _lost(verdict: Verdict, node: str) -> Verdict:
    return Verdict(verdict.exit_code, verdict.signal, Failure.NODE_LOST, f"node {node} was lost: {verdict.message}")


def _last_line(data: bytes) -> str:
    lines = data.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
