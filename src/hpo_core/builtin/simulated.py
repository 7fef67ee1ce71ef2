"""A cluster without machines: a virtual clock, nodes, queue waits and run times, driving the same loop.

Hours pass in milliseconds, and the same seed gives the same run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import attrs
from attrs import field, frozen, validators

from hpo_core.allocation import AllocationRequest, Node
from hpo_core.events import (
    AllocationLost,
    Ended,
    EventLoop,
    Key,
    NodesJoined,
    NodesLeft,
    Output,
    Started,
    Timer,
    VirtualEventLoop,
)
from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import Capability, Launcher, WorkloadManager
from hpo_core.trial import Evaluation, Failure


@frozen
class SimulatedManagerOptions:
    """Options of the workload manager ``simulated``; all times in seconds of virtual time.

    Attributes:
        queue_wait: time until the nodes are there.
        walltime: time from then on until they are taken away; 0: never.
        announced: whether the nodes' end is known beforehand, as schedulers tell it.
        renewals: how often others are asked for when the nodes end too soon for another evaluation.
        node_failures: name to the time at which that node fails, counted from when it was got.
    """

    queue_wait: float = field(default=0.0, validator=validators.ge(0))
    walltime: float = field(default=0.0, validator=validators.ge(0))
    announced: bool = True
    renewals: int = field(default=0, validator=validators.ge(0))
    node_failures: Mapping[str, float] = field(factory=dict)


class SimulatedManager(WorkloadManager):
    """Any number of nodes, called ``sim1``, ``sim2``, ..."""

    name = "simulated"
    default_launcher = "simulated"
    capabilities = frozenset({Capability.MULTI_NODE})
    Options = SimulatedManagerOptions

    def __init__(self, options: SimulatedManagerOptions | None = None) -> None:
        self.options: SimulatedManagerOptions = options or SimulatedManagerOptions()
        self._renewals = self.options.renewals
        self._nodes: dict[str, Node] = {}
        self._timers: list[Timer] = []

    def event_loop(self) -> EventLoop:
        return VirtualEventLoop()

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        wanted = request.slots or request.nodes // request.nodes_per_eval
        slots = max(1, -(-wanted * request.nodes_per_eval // request.nodes))
        names = [f"sim{i}" for i in range(1, request.nodes + 1)]
        self._wanted = [Node(name, slots=slots) for name in names]
        self._nodes = {node.name: node for node in self._wanted}
        self._begin(events, events.now() + self.options.queue_wait)

    def attach(self, events: EventLoop) -> None:
        self._begin(events, events.now() + self._start_s - self._events.now())

    def renew(self) -> bool:
        if not self._renewals:
            return False
        self._renewals -= 1
        self._events.post(NodesLeft(tuple(self._nodes), "given back for others", Failure.ALLOCATION_ENDED))
        self._nodes = {node.name: node for node in self._wanted}
        self._begin(self._events, self._events.now() + self.options.queue_wait)
        return True

    def _begin(self, events: EventLoop, start_s: float) -> None:
        """Post to this loop, on whose clock the nodes come, or came, at `start_s`."""
        self._cancel_timers()
        self._events, self._start_s = events, start_s
        if start_s <= events.now():
            self._join()
        else:
            self._timers.append(events.call_at(start_s, self._join))
        for name, delay_s in self.options.node_failures.items():
            self._timers.append(events.call_at(start_s + delay_s, self._failure(name, events)))
        if self.options.walltime:
            self._timers.append(events.call_at(start_s + self.options.walltime, lambda: self._walltime(events)))

    def _join(self) -> None:
        ends_at = self._start_s + self.options.walltime if self.options.walltime and self.options.announced else None
        if self._nodes:
            self._events.post(NodesJoined(tuple(attrs.evolve(n, ends_at=ends_at) for n in self._nodes.values())))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _failure(self, name: str, events: EventLoop) -> Callable[[], None]:
        def fail() -> None:
            if self._nodes.pop(name, None) is not None:
                events.post(NodesLeft((name,), "node failure"))
                if not self._nodes:
                    events.post(AllocationLost("all nodes failed", Failure.NODE_LOST))

        return fail

    def _walltime(self, events: EventLoop) -> None:
        names = tuple(self._nodes)
        self._nodes.clear()
        if names:
            events.post(NodesLeft(names, "the allocation's time is over", Failure.ALLOCATION_ENDED))
        events.post(AllocationLost("the allocation's time is over"))

    def release(self) -> None:
        self._cancel_timers()
        self._nodes.clear()


@frozen
class SimulatedLauncherOptions:
    """Options of the launcher ``simulated``.

    Attributes:
        objective: from flags and values, as text, to the figure of merit; None: 0 always.
        run_time: from flags and values to seconds of virtual time; None: log-normal with median 1 s and `sigma`.
        sigma: of the log-normal run times.
        seed: of the run times.
    """

    objective: Callable[[Mapping[str, str]], float] | None = None
    run_time: Callable[[Mapping[str, str]], float] | None = None
    sigma: float = field(default=1.0, validator=validators.ge(0))
    seed: int = 1


class SimulatedLauncher(Launcher):
    """Prints ``FoM: <objective>`` after the run time; the command itself is not run."""

    name = "simulated"
    capabilities = frozenset({Capability.STREAMS, Capability.MULTI_NODE, Capability.KILLS_TREES, Capability.REMOTE})
    Options = SimulatedLauncherOptions

    def __init__(self, options: SimulatedLauncherOptions | None = None, *, launch_args: str = "") -> None:
        super().__init__(options or SimulatedLauncherOptions(), launch_args=launch_args)
        self._rng = random.Random(self.options.seed)

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        self._running: dict[Key, Timer] = {}

    def launch(self, evaluation: Evaluation) -> None:
        values = _values(evaluation.command)
        if self.options.run_time is None:
            delay_s = self._rng.lognormvariate(0.0, self.options.sigma)
        else:
            delay_s = self.options.run_time(values)
        self._running[evaluation.key] = self.events.call_later(delay_s, lambda: self._end(evaluation.key, values))
        self.events.post(Started(evaluation.key, "simulated"))

    def end(self, key: Key, grace_s: float) -> None:
        timer = self._running.pop(key, None)
        if timer is not None:
            timer.cancel()
            self.events.post(Ended(key, signal=15))

    def close(self) -> None:
        for timer in self._running.values():
            timer.cancel()
        self._running.clear()

    def _end(self, key: Key, values: Mapping[str, str]) -> None:
        del self._running[key]
        fom = 0.0 if self.options.objective is None else self.options.objective(values)
        self.events.post(Output(key, f"FoM: {fom!r}\n".encode()))
        self.events.post(Ended(key, 0))


def _values(command: str) -> dict[str, str]:
    """Flags and values of a command line's ``FLAG=VALUE`` words."""
    words = (word.partition("=") for word in command.split())
    return {flag: value for flag, equals, value in words if equals}


@hookimpl
def hpo_register_workload_manager() -> type[WorkloadManager]:
    return SimulatedManager


@hookimpl
def hpo_register_launcher() -> type[Launcher]:
    return SimulatedLauncher
