"""A cluster without machines: a virtual clock, nodes, queue waits and run times, driving the same loop.

Hours pass in milliseconds, and the same seed gives the same run.
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import attrs
from attrs import field, frozen, validators

from hpo_core.allocation import AllocationRequest, Node
from hpo_core.builtin._surrogates import Function, Recorded, Words, function_of, run_times
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
from hpo_core.exceptions import ConfigurationError, LaunchError, SpaceError
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
        preemptions: name to the time at which that node is taken for somebody else's job, counted likewise.
    """

    queue_wait: float = field(default=0.0, validator=validators.ge(0))
    walltime: float = field(default=0.0, validator=validators.ge(0))
    announced: bool = True
    renewals: int = field(default=0, validator=validators.ge(0))
    node_failures: Mapping[str, float] = field(factory=dict)
    preemptions: Mapping[str, float] = field(factory=dict)


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
        for losses, reason, failure in (
            (self.options.node_failures, "node failure", Failure.NODE_LOST),
            (self.options.preemptions, "preempted", Failure.PREEMPTED),
        ):
            for name, delay_s in losses.items():
                lose = partial(self._lose, name, NodesLeft((name,), reason, failure), events)
                self._timers.append(events.call_at(start_s + delay_s, lose))
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

    def _lose(self, name: str, left: NodesLeft, events: EventLoop) -> None:
        if self._nodes.pop(name, None) is not None:
            events.post(left)
            if not self._nodes:
                events.post(AllocationLost(f"no node is left: {left.reason}", left.failure))

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
        objective: what an evaluation comes to: a function from flags and values, as text, to the figure of merit; one
            in a file, as ``surrogate.py:loss``; or the directory of an earlier study, whose nearest trial is taken
            (a failure, too). None: 0 always.
        run_time: seconds of virtual time: a number; a text such as ``10m``, or ``5m:20m`` (log-normal, one in ten
            less, one in ten more); a function, or one in a file, as above; the directory of an earlier study. None:
            as in the study that is the objective, else log-normal with median 1 s and `sigma`.
        sigma: of those log-normal run times.
        seed: of the run times.
    """

    objective: Function | str | None = None
    run_time: Function | float | str | None = None
    sigma: float = field(default=1.0, validator=validators.ge(0))
    seed: int = 1


_Outcome = tuple[float, int]
"""Figure of merit and exit code."""


class SimulatedLauncher(Launcher):
    """Prints ``FoM: <objective>`` after the run time; the command itself is not run."""

    name = "simulated"
    capabilities = frozenset({Capability.STREAMS, Capability.MULTI_NODE, Capability.KILLS_TREES, Capability.REMOTE})
    Options = SimulatedLauncherOptions

    def __init__(self, options: SimulatedLauncherOptions | None = None, *, launch_args: str = "") -> None:
        super().__init__(options or SimulatedLauncherOptions(), launch_args=launch_args)
        rng = random.Random(f"run times {self.options.seed}")
        self.recorded: list[Recorded] = []
        """Earlier studies that stand in for the program."""
        with _said_of("objective"):
            self._outcome = self._outcomes(self.options.objective)
        with _said_of("run_time"):
            self._run_time = self._run_times(self.options.run_time, rng)
        self.busy_s = 0.0
        """Seconds that evaluations held slots, those on several nodes once for each."""

    def _outcomes(self, given: Function | str | None) -> Callable[[Words], _Outcome]:
        if given is None:
            return lambda words: (0.0, 0)
        function = function_of(given)
        if function is not None:
            return lambda words: (function(words), 0)
        if not Path(str(given)).is_dir():
            raise ConfigurationError(
                f"{given!r} is neither the directory of a study nor a function such as surrogate.py:loss"
            )
        recorded = self._study(given)

        def nearest(words: Words) -> _Outcome:
            point = recorded(words)
            return point.fom, point.exit_code

        return nearest

    def _run_times(self, given: Function | float | str | None, rng: random.Random) -> Function:
        if given is None and self.recorded:
            given = self.options.objective
        if given is None:
            return lambda words: rng.lognormvariate(0.0, self.options.sigma)
        if isinstance(given, float):
            return run_times(given, rng)
        function = function_of(given)
        if function is not None:
            return function
        if not Path(str(given)).is_dir():
            return run_times(str(given), rng)
        recorded = self._study(given)
        return lambda words: recorded(words).duration_s

    def _study(self, directory: object) -> Recorded:
        """An earlier study, read once."""
        for recorded in self.recorded:
            if recorded.directory == Path(str(directory)):
                return recorded
        self.recorded.append(Recorded(str(directory)))
        return self.recorded[-1]

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        self._running: dict[Key, _Running] = {}

    def launch(self, evaluation: Evaluation) -> None:
        key, words = evaluation.key, _values(evaluation)
        try:
            delay_s = self._run_time(words)
        except Exception as error:
            raise _failed("run_time", self.options.run_time, words, error) from error
        timer = self.events.call_later(delay_s, lambda: self._end(key, words))
        self._running[key] = _Running(timer, self.events.now(), len(evaluation.slots))
        self.events.post(Started(key, "simulated"))

    def end(self, key: Key, grace_s: float) -> None:
        if self._stop(key):
            self.events.post(Ended(key, signal=15))

    def close(self) -> None:
        for key in tuple(self._running):
            self._stop(key)

    def _stop(self, key: Key) -> bool:
        """Forget an evaluation; whether it ran."""
        running = self._running.pop(key, None)
        if running is None:
            return False
        running.timer.cancel()
        self.busy_s += (self.events.now() - running.since_s) * running.slots
        return True

    def _end(self, key: Key, words: Words) -> None:
        self._stop(key)
        try:
            fom, exit_code = self._outcome(words)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises is that function's fault
            failed = _failed("objective", self.options.objective, words, error)
            self.events.post(Ended(key, failure=Failure.COULD_NOT_START, message=str(failed)))
            return
        if exit_code == 0:
            self.events.post(Output(key, f"FoM: {fom!r}\n".encode()))
        self.events.post(Ended(key, exit_code))


@frozen
class _Running:
    timer: Timer
    since_s: float
    slots: int


@contextmanager
def _said_of(option: str) -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"launcher 'simulated', option '{option}': {error}") from error


def _failed(which: str, given: object, words: Words, error: Exception) -> LaunchError:
    if isinstance(error, SpaceError):
        return LaunchError(f"the simulation can't go on: {error}")
    who = given if isinstance(given, str) else getattr(given, "__name__", repr(given))
    at = " ".join(f"{flag}={value}" for flag, value in words.items())
    return LaunchError(f"the simulation's {which} {who} failed at {at}: {type(error).__name__}: {error}")


def _values(evaluation: Evaluation) -> dict[str, str]:
    """Flags and values of the command line's ``FLAG=VALUE`` words, as the program would get them."""
    try:
        words = evaluation.argv or shlex.split(evaluation.command)
    except ValueError as error:
        raise LaunchError(f"the simulation can't take the command apart, {evaluation.command!r}: {error}") from error
    parts = (word.partition("=") for word in words)
    return {flag: value for flag, equals, value in parts if equals}


@hookimpl
def hpo_register_workload_manager() -> type[WorkloadManager]:
    return SimulatedManager


@hookimpl
def hpo_register_launcher() -> type[Launcher]:
    return SimulatedLauncher
