"""A launcher with a small worker on each node, for any workload manager that can start one process on a node.

The protocol and what happens after each way to die is in docs/pilot.md.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import field, mutable

from hpo_core import _engine, _processes
from hpo_core._pilot import wire
from hpo_core.builtin import _meeting
from hpo_core.builtin._meeting import Meeting, PilotOptions
from hpo_core.builtin._shares import shares
from hpo_core.builtin._workers import Worker, Workers
from hpo_core.events import Ended, EventLoop, Key, Output, Started, Timer
from hpo_core.exceptions import ConfigurationError, LaunchError
from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import Capability, Launcher
from hpo_core.processes import ended as told_ended
from hpo_core.trial import Evaluation, Failure

if TYPE_CHECKING:
    from hpo_core.evaluator import Evaluator

_CLOSE_S = 10.0
_NO_ANSWER_S = 30.0
"""Beyond the grace time: a worker that has not ended an evaluation by then is given up."""


@mutable(eq=False)
class _Task:
    """An evaluation from its launch to its end."""

    evaluation: Evaluation
    number: int
    nodes: tuple[str, ...]
    """Where it is; its command runs on the first."""
    environment: dict[str, str]
    hostfile: str = ""
    sent: bool = False
    sweeps: dict[str, int] = field(factory=dict)
    """Node to sweeps that it has not confirmed."""
    ended: Ended | None = None
    """How its command ended, while the other nodes are swept."""
    no_answer: Timer | None = None

    @property
    def key(self) -> Key:
        return self.evaluation.key


class PilotLauncher(Launcher):
    """Sends evaluations to workers, one on each node, which are started when a node is first needed.

    An evaluation of several nodes runs its command on the first; the others are in ``HPO_NODELIST``, and one a line in
    the file ``HPO_HOSTFILE``. When it ends, whatever has its mark is ended on all of them.
    """

    name = "pilot"
    capabilities = frozenset(
        {Capability.STREAMS, Capability.KILLS_TREES, Capability.LIMITS_MEMORY, Capability.MULTI_NODE}
    )
    needs = frozenset({Capability.SPAWNS})
    Options = PilotOptions

    def __init__(self, options: Any = None, *, launch_args: str = "") -> None:
        super().__init__(options or PilotOptions(), launch_args=launch_args)
        self._is_open = False

    def check(self, evaluator: Evaluator) -> None:
        if self.launch_args:
            raise ConfigurationError(
                f"launch_args={self.launch_args!r}: the launcher 'pilot' has no launch command to which this could be "
                "added; leave it out, or put what you need into the command itself"
            )

    def addresses(self) -> Sequence[str]:
        """Names and addresses of the driver that are offered to the workers."""
        return _meeting.addresses(self.options)

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        self._is_open = True
        self._meeting: Meeting | None = None
        self._owner = os.getpid()
        self._numbers = itertools.count(1)
        self._tasks: dict[Key, _Task] = {}
        self._by_number: dict[int, _Task] = {}
        self._workers = Workers(events, self.options, self.manager, came=self._came, lost=self._lost, heard=self._frame)

    def launch(self, evaluation: Evaluation) -> None:
        nodes = tuple(dict.fromkeys(slot.node for slot in evaluation.slots)) or (socket.gethostname(),)
        try:
            meeting = self._meet(evaluation, nodes)
        except OSError as error:
            raise LaunchError(f"cannot get ready for workers: {_engine.reason(error)}") from error
        environment = {**evaluation.environment, **shares(evaluation.slots[:1])}
        task = _Task(evaluation, next(self._numbers), nodes, environment)
        if len(nodes) > 1:
            task.hostfile = os.path.join(meeting.folder, f"{task.number}.hosts")
            task.environment["HPO_HOSTFILE"] = task.hostfile
            try:
                _meeting.write(task.hostfile, "".join(f"{node}\n" for node in nodes))
            except OSError as error:
                raise LaunchError(f"cannot write the host file: {_engine.reason(error)}") from error
        self._tasks[task.key] = self._by_number[task.number] = task
        for node in nodes:
            self._workers.want(node)
        self._send_when_ready(task)

    def _meet(self, evaluation: Evaluation, nodes: Sequence[str]) -> Meeting:
        """Where the workers come to, from the first evaluation on."""
        if self._meeting is None:
            one = not self.options.address and self.manager is not None and self.manager.max_nodes == 1
            self._meeting = self._workers.meeting = Meeting(
                self.events,
                self.options,
                self.addresses,
                evaluation.environment.get("HPO_STUDY_DIRECTORY"),
                self.study_id,
                local=one and set(nodes) <= {socket.gethostname()},
                arrived=self._workers.arrived,
            )
        return self._meeting

    def end(self, key: Key, grace_s: float) -> None:
        task = self._tasks.get(key)
        if task is None:
            return
        if not task.sent:
            self._finish(task, Ended(key, failure=Failure.CANCELLED, message="it was ended before it had begun"))
            return
        first, *others = task.nodes
        self._workers.tell(first, wire.message(wire.END, number=task.number, grace_s=grace_s))
        for node in others:
            self._sweep(task, node, grace_s)
        why = f"it did not end an evaluation within {grace_s + _NO_ANSWER_S:g} s"
        self._expect_answer(task, grace_s + _NO_ANSWER_S, why)

    def nodes_left(self, names: Sequence[str], reason: str) -> None:
        for node in names:
            self._workers.give_up(node, f"node {node} has left: {reason}")

    def clean(self, study_id: str, grace_s: float) -> tuple[str, ...]:
        """End what is left on the driver's host; what is left elsewhere ends by itself, as its driver has gone."""
        return tuple(f"process {pid}" for pid in _processes.sweep("HPO_STUDY", study_id, grace_s))

    def close(self) -> None:
        if not self._is_open or os.getpid() != self._owner:
            return
        self._is_open = False
        for task in self._tasks.values():
            if task.no_answer is not None:
                task.no_answer.cancel()
        self._workers.close(wire.message(wire.BYE), time.monotonic() + _CLOSE_S)
        self._tasks.clear()
        self._by_number.clear()

    # Workers come and go

    def _came(self, node: str) -> None:
        for task in list(self._tasks.values()):
            if not task.sent and node in task.nodes:
                self._send_when_ready(task)

    def _lost(self, node: str, why: str, failure: Failure) -> None:
        for task in list(self._tasks.values()):
            if node in task.nodes:
                self._end_elsewhere(task, node)
                self._finish(task, Ended(task.key, failure=failure, message=why))

    def _end_elsewhere(self, task: _Task, lost: str) -> None:
        """Kill what an evaluation has on nodes whose workers are still there, as one of its nodes is lost."""
        if task.sent:
            for node in task.nodes:
                if node != lost:
                    self._workers.tell(node, wire.message(wire.END, number=task.number, grace_s=0.0))
                    self._workers.tell(node, self._sweep_message(task, 0.0))

    def _expect_answer(self, task: _Task, limit_s: float, why: str) -> None:
        if task.no_answer is not None:
            task.no_answer.cancel()
        task.no_answer = self._workers.later_yet(limit_s, partial(self._give_up, task, why))

    def _give_up(self, task: _Task, why: str) -> None:
        """A worker says nothing: lose it."""
        if self._tasks.get(task.key) is not task:
            return
        late = task.nodes[:1] if task.ended is None else tuple(node for node, left in task.sweeps.items() if left)
        for node in late:
            self._workers.lose(node, why)

    # Evaluations

    def _send_when_ready(self, task: _Task) -> None:
        if not all(map(self._workers.has, task.nodes)):
            return
        task.sent = True
        evaluation = task.evaluation
        try:
            launch = wire.message(
                wire.LAUNCH,
                number=task.number,
                name=evaluation.name,
                command=evaluation.command,
                argv=evaluation.argv,
                directory=evaluation.directory,
                environment=task.environment,
                memory_limit_bytes=evaluation.memory_limit_bytes,
            )
        except wire.WireError as error:
            text = f"cannot start '{evaluation.command[:200]}': {error}"
            self._finish(task, Ended(task.key, failure=Failure.COULD_NOT_START, message=text))
            return
        self._workers.tell(task.nodes[0], launch)

    def _frame(self, worker: Worker, kind: int, body: bytes) -> None:
        """What a worker says; of evaluations that are over here, nothing is heard."""
        if kind == wire.OUTPUT:
            number, stream, data = wire.read_output(body)
            task = self._by_number.get(number)
            if task is not None and task.nodes[0] == worker.node:
                self.events.post(Output(task.key, data, stream))
            return
        said = wire.fields(body)
        task = self._by_number.get(said.get("number", 0))
        if task is None or worker.node not in task.nodes:
            return
        if kind == wire.SWEPT:
            task.sweeps[worker.node] = max(task.sweeps.get(worker.node, 0) - 1, 0)
            self._finish_when_swept(task)
        elif worker.node != task.nodes[0]:
            return
        elif kind == wire.STARTED:
            self.events.post(Started(task.key, f"process {said.get('pid')} on {worker.node}"))
        elif kind == wire.UNSTARTED:
            text = f"cannot start '{task.evaluation.command}' on {worker.node}: {said.get('message')}"
            self._finish(task, Ended(task.key, failure=Failure.COULD_NOT_START, message=text))
        elif kind == wire.EXITED:
            worker.useful = True
            self._exited(task, said)

    def _exited(self, task: _Task, said: dict[str, Any]) -> None:
        del said["number"]
        task.ended = told_ended(task.key, _engine.Exit(**said))
        for node in task.nodes[1:]:
            self._sweep(task, node, 0.0)
        self._finish_when_swept(task)

    def _sweep(self, task: _Task, node: str, grace_s: float) -> None:
        task.sweeps[node] = task.sweeps.get(node, 0) + 1
        self._workers.tell(node, self._sweep_message(task, grace_s))

    def _sweep_message(self, task: _Task, grace_s: float) -> bytes:
        return wire.message(wire.SWEEP, number=task.number, name=task.evaluation.name, grace_s=grace_s)

    def _finish_when_swept(self, task: _Task) -> None:
        if task.ended is None:
            return
        if any(task.sweeps.values()):
            if task.no_answer is None:
                self._expect_answer(task, _NO_ANSWER_S, f"it did not sweep its node within {_NO_ANSWER_S:g} s")
            return
        self._finish(task, task.ended)

    def _finish(self, task: _Task, ended: Ended) -> None:
        del self._tasks[task.key], self._by_number[task.number]
        if task.no_answer is not None:
            task.no_answer.cancel()
        if task.hostfile:
            try:
                os.unlink(task.hostfile)
            except OSError:
                pass  # it goes with the folder
        self.events.post(ended)


@hookimpl
def hpo_register_launcher() -> type[Launcher]:
    return PilotLauncher
