"""A launcher with a small worker on each node, for any workload manager that can start one process on a node.

The protocol and what happens after each way to die is in docs/pilot.md.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import field, frozen, mutable, validators

from hpo_core import _engine, _processes
from hpo_core._pilot import links, package, wire
from hpo_core.builtin._shares import shares
from hpo_core.events import Ended, EventLoop, Key, NodesLeft, Output, Started, Timer
from hpo_core.exceptions import HpoError, LaunchError
from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import Capability, Launcher
from hpo_core.processes import ended as told_ended
from hpo_core.trial import Evaluation, Failure

if TYPE_CHECKING:
    from hpo_core._pilot.reception import Reception

_CLOSE_S = 10.0
_NO_ANSWER_S = 30.0
"""Beyond the grace time: a worker that has not ended an evaluation by then is given up."""
_WORKERS_GRACE_S = 1.0
_PATIENCE_S = 1.0
"""When the loop was busy for long, what was sent meanwhile is heard before anybody is taken for dead."""

_FOLDER = re.compile("pilot-[0-9a-f]{16}")

_OF_THE_NODE = frozenset(
    {
        *("TMPDIR", "HOSTNAME", "HOST", "XDG_RUNTIME_DIR", "PWD", "OLDPWD", "SHLVL", "_"),
        *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"),
    }
)
_OF_THE_JOB = ("SLURM_", "SRUN_", "PMI", "PBS_", "LSB_", "LSF_")
"""Variables that evaluations have from their node, not from the driver."""


@frozen
class PilotOptions:
    """Options of the launcher ``pilot``.

    Attributes:
        python: the interpreter of the workers, 3.8 or later, as the nodes find it; empty: the driver's own.
        transport: ``tcp``; ``files`` in the study's directory, for nodes that can't reach the driver; ``auto``: the
            second where the first fails.
        address: the driver's name or address as the nodes see it; empty: all that it knows of itself.
        port: where the driver listens; 0: any that is free.
        connect_timeout: seconds that a worker has to connect.
        silence: over files: seconds without a sign of life after which each side takes the other for dead.
        max_losses: a node is given up when so many of its workers in a row were lost without ending an evaluation.
    """

    python: str = ""
    transport: str = field(default="auto", validator=validators.in_(("auto", "tcp", "files")))
    address: str = ""
    port: int = field(default=0, validator=[validators.ge(0), validators.le(65535)])
    connect_timeout: float = field(default=60.0, validator=validators.gt(0))
    silence: float = field(default=60.0, validator=validators.ge(3))
    max_losses: int = field(default=3, validator=validators.ge(1))


@mutable(eq=False)
class _Worker:
    """A node's worker, from when it is wanted until it is lost."""

    node: str
    peer: links.Peer | None = None
    useful: bool = False
    """Whether an evaluation has ended on it."""


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

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        self._is_open = True
        self._folder = ""
        self._session = os.urandom(8).hex()
        self._secret = os.urandom(32)
        self._reception: Reception | None = None
        self._owner = os.getpid()
        self._numbers = itertools.count(1)
        self._tasks: dict[Key, _Task] = {}
        self._by_number: dict[int, _Task] = {}
        self._workers: dict[str, _Worker] = {}
        self._wanted: list[_Worker] = []
        self._losses: dict[str, int] = {}
        self._anybody_came = False

    def launch(self, evaluation: Evaluation) -> None:
        if self._reception is None:
            try:
                self._prepare(evaluation)
            except OSError as error:
                raise LaunchError(f"cannot get ready for workers: {_engine.reason(error)}") from error
        nodes = tuple(dict.fromkeys(slot.node for slot in evaluation.slots)) or (socket.gethostname(),)
        task = _Task(evaluation, next(self._numbers), nodes, self._environment(evaluation))
        if len(nodes) > 1:
            task.hostfile = os.path.join(self._folder, f"{task.number}.hosts")
            task.environment["HPO_HOSTFILE"] = task.hostfile
            try:
                _write(task.hostfile, "".join(f"{node}\n" for node in nodes))
            except OSError as error:
                raise LaunchError(f"cannot write the host file: {_engine.reason(error)}") from error
        self._tasks[task.key] = self._by_number[task.number] = task
        for node in nodes:
            self._need(node)
        self._send_when_ready(task)

    def end(self, key: Key, grace_s: float) -> None:
        task = self._tasks.get(key)
        if task is None:
            return
        if not task.sent:
            self._finish(task, Ended(key, failure=Failure.CANCELLED, message="it was ended before it had begun"))
            return
        first, *others = task.nodes
        self._tell(first, wire.message(wire.END, number=task.number, grace_s=grace_s))
        for node in others:
            self._sweep(task, node, grace_s)
        why = f"it did not end an evaluation within {grace_s + _NO_ANSWER_S:g} s"
        self._expect_answer(task, grace_s + _NO_ANSWER_S, why)

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
        there = [worker.peer for worker in self._workers.values() if worker.peer is not None]
        for peer in there:
            peer.send(wire.message(wire.BYE))
            peer.link.flush()
        deadline = time.monotonic() + _CLOSE_S
        for peer in there:
            peer.link.finish(deadline)
        if self._reception is not None:
            self._reception.close()
            self._reception = None
        _remove(self._folder)
        self._tasks.clear()
        self._by_number.clear()
        self._workers.clear()
        self._wanted.clear()

    # Getting ready

    def _prepare(self, evaluation: Evaluation) -> None:
        """A folder with the worker and what it has to know, and somebody to meet the workers."""
        from hpo_core._pilot.reception import Reception

        reception = Reception(self.events, self._secret, self._arrived)
        try:
            self._folder = self._make_folder(evaluation.environment.get("HPO_STUDY_DIRECTORY"))
            if self.options.transport != "files":
                reception.listen(self._listens_on(evaluation), self.options.port)
            package.write(self._worker_file)
            _write(self._config_file, json.dumps(self._config(reception.port)))
        except BaseException:
            reception.close()
            _remove(self._folder)
            raise
        self._reception = reception

    def _make_folder(self, study: str | None) -> str:
        """A folder that this user alone may read, and that all nodes see if the study's is such a one."""
        if study is None or not os.path.isdir(study):
            import tempfile

            return tempfile.mkdtemp(prefix="hpo-pilot-")
        _remove_stale(study)
        folder = os.path.join(study, f"pilot-{self._session}")
        os.mkdir(folder, 0o700)
        return folder

    @property
    def _worker_file(self) -> str:
        return os.path.join(self._folder, "worker.pyz")

    @property
    def _config_file(self) -> str:
        return os.path.join(self._folder, "config.json")

    def _listens_on(self, evaluation: Evaluation) -> str:
        """The one address to listen on, or empty for all."""
        if not self.options.address and self.manager is not None and self.manager.max_nodes == 1:
            nodes = {slot.node for slot in evaluation.slots}
            return "127.0.0.1" if nodes <= {socket.gethostname()} else ""
        return str(self.options.address)

    def addresses(self) -> Sequence[str]:
        """Names and addresses of the driver that are offered to the workers; a worker on its host tries loopback."""
        from hpo_core._pilot.reception import addresses_of_this_host

        return (self.options.address,) if self.options.address else addresses_of_this_host()

    def _config(self, port: int) -> dict[str, Any]:
        environment = [
            (name, text)
            for name, text in ((os.fsdecode(n), os.fsdecode(t)) for n, t in _engine.inherited().items())
            if name not in _OF_THE_NODE and not name.startswith(_OF_THE_JOB)
        ]
        return {
            "study": self.study_id,
            "session": self._session,
            "secret": self._secret.hex(),
            "transport": self.options.transport,
            "hosts": list(self.addresses()),
            "any_host": not self.options.address,
            "host": socket.gethostname(),
            "port": port,
            "folder": self._folder,
            "directory": os.getcwd(),
            "environment": environment,
            "connect_timeout_s": self.options.connect_timeout,
            "silence_s": self.options.silence,
            "grace_s": _WORKERS_GRACE_S,
        }

    def _environment(self, evaluation: Evaluation) -> dict[str, str]:
        return {**evaluation.environment, **shares(evaluation.slots[:1])}

    # Workers come and go

    def _need(self, node: str) -> None:
        if node not in self._workers:
            worker = self._workers[node] = _Worker(node)
            if not self._wanted:
                self.events.call_later(0.0, self._spawn)
            self._wanted.append(worker)

    def _spawn(self) -> None:
        """Start workers on all nodes that have none, together."""
        workers, self._wanted = self._wanted, []
        if not self._is_open or not workers or self._reception is None:
            return
        if self.options.transport != "tcp":
            self._reception.look_into(self._folder, self.options.silence, self.options.connect_timeout + _PATIENCE_S)
        words = (self.options.python or sys.executable, "-I", "-S", self._worker_file, self._config_file)
        ended = partial(self._spawn_ended, workers)
        timeout_s = self.options.connect_timeout
        for worker in workers:
            self._later_yet(timeout_s, partial(self._did_not_come, worker, ""))
        if self.manager is None:
            ended("this launcher has no workload manager")
            return
        try:
            self.manager.spawn(words, [worker.node for worker in workers], ended)
        except HpoError as error:
            ended(str(error))

    def _spawn_ended(self, workers: Sequence[_Worker], printed: str) -> None:
        if not self._is_open:
            return
        for worker in workers:
            if self._workers.get(worker.node) is not worker:
                continue
            if worker.peer is None:
                self._did_not_come(worker, printed or "it printed nothing")
            else:  # A connection tells by itself, in a moment; files don't.
                why = printed or "its process has ended"
                self.events.call_later(_PATIENCE_S, partial(self._lost, worker, worker.peer, why))

    def _arrived(self, peer: links.Peer) -> None:
        node = peer.handshake.node
        worker = self._workers.setdefault(node, _Worker(node))
        if worker.peer is not None:
            peer.refuse("this node has a worker already")
            return
        self._anybody_came = True
        worker.peer = peer
        peer.frame = partial(self._frame, worker)
        peer.lost = partial(self._lost, worker, peer)
        for task in list(self._tasks.values()):
            if not task.sent and node in task.nodes:
                self._send_when_ready(task)

    def _did_not_come(self, worker: _Worker, printed: str) -> None:
        """No worker on this node: a fault of the set-up if there never was one anywhere, else of the node."""
        if not self._is_open or worker.peer is not None or self._workers.get(worker.node) is not worker:
            return
        if printed:
            why = f"the worker on {worker.node} could not be started: {printed}"
        else:
            why = f"the worker on {worker.node} did not connect within {self.options.connect_timeout:g} s{self._hint()}"
        self._drop(worker, why, Failure.NODE_LOST if self._anybody_came else Failure.COULD_NOT_START)

    def _hint(self) -> str:
        if self.options.transport == "files":
            return f"; does the node see {self._folder}?"
        port = 0 if self._reception is None else self._reception.port
        offered = ", ".join(f"{host}:{port}" for host in self.addresses())
        return f" (to {offered}); the launcher's options 'address' and 'transport' say how it may"

    def _lost(self, worker: _Worker, peer: links.Peer, why: str) -> None:
        if self._is_open and worker.peer is peer and self._workers.get(worker.node) is worker:
            peer.close()
            self._drop(worker, f"the worker on {worker.node} was lost: {why}", Failure.NODE_LOST)

    def _drop(self, worker: _Worker, why: str, failure: Failure) -> None:
        node = worker.node
        del self._workers[node]
        self._losses[node] = 0 if worker.useful else self._losses.get(node, 0) + 1
        if self._losses[node] >= self.options.max_losses:
            self._losses[node] = 0
            self.events.post(NodesLeft((node,), f"{why} ({self.options.max_losses} times in a row)"))
        for task in list(self._tasks.values()):
            if node in task.nodes:
                self._end_elsewhere(task, node)
                self._finish(task, Ended(task.key, failure=failure, message=why))

    def _end_elsewhere(self, task: _Task, lost: str) -> None:
        """Kill what an evaluation has on nodes whose workers are still there, as one of its nodes is lost."""
        if task.sent:
            for node in task.nodes:
                if node != lost:
                    self._tell(node, wire.message(wire.END, number=task.number, grace_s=0.0))
                    self._tell(
                        node,
                        wire.message(wire.SWEEP, number=task.number, name=task.evaluation.name, grace_s=0.0),
                    )

    def _expect_answer(self, task: _Task, limit_s: float, why: str) -> None:
        if task.no_answer is not None:
            task.no_answer.cancel()
        task.no_answer = self._later_yet(limit_s, partial(self._give_up, task, why))

    def _later_yet(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call after a delay, and after what came meanwhile has been heard."""

        def due() -> None:
            self.events.call_later(_PATIENCE_S, call)

        return self.events.call_later(delay_s, due)

    def _give_up(self, task: _Task, why: str) -> None:
        """A worker says nothing: lose it."""
        if self._tasks.get(task.key) is not task:
            return
        late = task.nodes[:1] if task.ended is None else tuple(node for node, left in task.sweeps.items() if left)
        for node in late:
            worker = self._workers.get(node)
            if worker is not None and worker.peer is not None:
                self._lost(worker, worker.peer, why)

    # Evaluations

    def _send_when_ready(self, task: _Task) -> None:
        if not all(self._has_peer(node) for node in task.nodes):
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
        self._tell(task.nodes[0], launch)

    def _has_peer(self, node: str) -> bool:
        worker = self._workers.get(node)
        return worker is not None and worker.peer is not None

    def _tell(self, node: str, text: bytes) -> None:
        worker = self._workers.get(node)
        if worker is not None and worker.peer is not None:
            worker.peer.send(text)

    def _frame(self, worker: _Worker, kind: int, body: bytes) -> None:
        """What a worker says; of evaluations that are over here, nothing is heard."""
        if not self._is_open:
            return
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
        self._tell(node, wire.message(wire.SWEEP, number=task.number, name=task.evaluation.name, grace_s=grace_s))

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


def _write(path: str, text: str) -> None:
    """Write a file that this user alone may read."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)


def _remove_stale(study: str) -> None:
    """What a driver that was killed has left; its workers end when they see that."""
    for name in os.listdir(study):
        if _FOLDER.fullmatch(name):
            _remove(os.path.join(study, name))


def _remove(folder: str) -> None:
    """Remove the folder, also when a worker that was just starting is writing there."""
    import shutil

    for _ in range(10 if folder else 0):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.02)


@hookimpl
def hpo_register_launcher() -> type[Launcher]:
    return PilotLauncher
