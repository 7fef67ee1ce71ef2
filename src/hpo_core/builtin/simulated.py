"""A cluster without machines: a virtual clock, nodes, queue waits and run times, driving the same loop.

Hours pass in milliseconds, and the same seed gives the same run.
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field, frozen, validators

from hpo_core._words import seconds
from hpo_core.allocation import AllocationRequest, Node
from hpo_core.builtin._surrogates import Function, Recorded, Words, durations, function_of
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
    """Options of the workload manager ``simulated``; all times in seconds of virtual time, or text such as ``10m``.

    Attributes:
        queue_wait: time until the nodes are there; two, as ``5m:2h``, are log-normal: one in ten waits less, one in
            ten more.
        walltime: time from then on until they are taken away; 0: never.
        announced: whether the nodes' end is known beforehand, as schedulers tell it.
        renewals: how often others are asked for when the nodes end too soon for another evaluation.
        node_failures: name to the time at which that node fails, counted from when it was got; or the mean time
            after which a node does, such as ``500h`` (exponential, each node on its own).
        preemptions: the same for nodes that are taken for somebody else's job.
        seed: of everything that is drawn here.
    """

    queue_wait: float | str = 0.0
    walltime: float | str = 0.0
    announced: bool = True
    renewals: int = field(default=0, validator=validators.ge(0))
    node_failures: Mapping[str, float] | float | str = field(factory=dict)
    preemptions: Mapping[str, float] | float | str = field(factory=dict)
    seed: int = 1


_Losses = Callable[[Sequence[str]], Mapping[str, float]]
"""From the names of nodes to when they are lost, counted from when they were got (s)."""


class SimulatedManager(WorkloadManager):
    """Any number of nodes, called ``sim1``, ``sim2``, ..."""

    name = "simulated"
    default_launcher = "simulated"
    capabilities = frozenset({Capability.MULTI_NODE})
    Options = SimulatedManagerOptions

    def __init__(self, options: SimulatedManagerOptions | None = None) -> None:
        super().__init__(options or SimulatedManagerOptions())
        rng = random.Random(f"cluster {self.options.seed}")
        with _said_of("workload manager", "queue_wait"):
            self._queue_wait = durations(self.options.queue_wait, rng)
        with _said_of("workload manager", "walltime"):
            self._walltime_s = seconds(self.options.walltime, "time", plain=1.0)
        with _said_of("workload manager", "node_failures"):
            self._failures = _losses(self.options.node_failures, rng)
        with _said_of("workload manager", "preemptions"):
            self._preemptions = _losses(self.options.preemptions, rng)
        self._renewals = self.options.renewals
        self._nodes: dict[str, Node] = {}
        self._timers: list[Timer] = []

    def event_loop(self) -> EventLoop:
        return VirtualEventLoop()

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        wanted = request.slots or request.nodes // request.nodes_per_eval
        slots = max(1, -(-wanted * request.nodes_per_eval // request.nodes))
        self._wanted = [Node(f"sim{i}", slots=slots) for i in range(1, request.nodes + 1)]
        for option in ("node_failures", "preemptions"):
            self._check_names(option)
        self._get(events)

    def _check_names(self, option: str) -> None:
        """Refuse a loss of a node that there is not.

        Raises:
            ConfigurationError: it names such a node.
        """
        given, names = getattr(self.options, option), [node.name for node in self._wanted]
        strangers = sorted(set(given).difference(names)) if isinstance(given, Mapping) else []
        if strangers:
            there = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
            with _said_of("workload manager", option):
                raise ConfigurationError(f"there is no node '{strangers[0]}'; the nodes are {there}")

    def attach(self, events: EventLoop) -> None:
        self._begin(events, events.now() + self._start_s - self._events.now())

    def renew(self) -> bool:
        if not self._renewals:
            return False
        self._renewals -= 1
        self._events.post(NodesLeft(tuple(self._nodes), "given back for others", Failure.ALLOCATION_ENDED))
        self._get(self._events)
        return True

    def _get(self, events: EventLoop) -> None:
        """Ask for nodes, and draw what will become of them."""
        self._nodes = {node.name: node for node in self._wanted}
        self._lost = [
            (NodesLeft((name,), reason, failure), after_s)
            for losses, reason, failure in (
                (self._failures, "node failure", Failure.NODE_LOST),
                (self._preemptions, "preempted", Failure.PREEMPTED),
            )
            for name, after_s in losses(tuple(self._nodes)).items()
        ]
        self._begin(events, events.now() + self._queue_wait())

    def _begin(self, events: EventLoop, start_s: float) -> None:
        """Post to this loop, on whose clock the nodes come, or came, at `start_s`."""
        self._cancel_timers()
        self._events, self._start_s = events, start_s
        if start_s <= events.now():
            self._join()
        else:
            self._timers.append(events.call_at(start_s, self._join))
        for left, after_s in self._lost:
            self._timers.append(events.call_at(start_s + after_s, partial(self._lose, left, events)))
        if self._walltime_s:
            self._timers.append(events.call_at(start_s + self._walltime_s, lambda: self._walltime(events)))

    def _join(self) -> None:
        ends_at = self._start_s + self._walltime_s if self._walltime_s and self.options.announced else None
        if self._nodes:
            self._events.post(NodesJoined(tuple(attrs.evolve(n, ends_at=ends_at) for n in self._nodes.values())))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _lose(self, left: NodesLeft, events: EventLoop) -> None:
        if self._nodes.pop(left.names[0], None) is not None:
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


def _losses(given: Mapping[str, float] | float | str, rng: random.Random) -> _Losses:
    """When nodes are lost: as given by name, or drawn from a mean.

    Raises:
        ConfigurationError: a time is none, or the mean is 0.
    """
    if isinstance(given, Mapping):
        named = {name: seconds(after, name, plain=1.0) for name, after in given.items()}
        return lambda names: named
    mean_s = seconds(given, "mean time", plain=1.0)
    if not mean_s:
        raise ConfigurationError("the mean time after which a node is lost must be more than 0")
    return lambda names: {name: rng.expovariate(1.0 / mean_s) for name in names}


@frozen
class SimulatedLauncherOptions:
    """Options of the launcher ``simulated``.

    Attributes:
        objective: what an evaluation comes to: a function from flags and values, as text, to the figure of merit, or
            to several that are printed in equal steps of the run time; one in a file, as ``surrogate.py:loss``; or
            the directory of an earlier study, whose nearest trial is taken (a failure, too). None: 0 always.
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


_Outcome = tuple[Sequence[float], int]
"""Figures of merit that are printed in turn, and the exit code."""


class SimulatedLauncher(Launcher):
    """Prints ``FoM: <objective>`` in the run time, last at its end; the command itself is not run."""

    name = "simulated"
    capabilities = frozenset({Capability.STREAMS, Capability.MULTI_NODE, Capability.KILLS_TREES, Capability.REMOTE})
    Options = SimulatedLauncherOptions

    def __init__(self, options: SimulatedLauncherOptions | None = None, *, launch_args: str = "") -> None:
        super().__init__(options or SimulatedLauncherOptions(), launch_args=launch_args)
        rng = random.Random(f"run times {self.options.seed}")
        self.recorded: list[Recorded] = []
        """Earlier studies that stand in for the program."""
        with _said_of("launcher", "objective"):
            self._outcome = self._outcomes(self.options.objective)
        with _said_of("launcher", "run_time"):
            self._run_time = self._run_times(self.options.run_time, rng)
        self.busy_s = 0.0
        """Seconds that evaluations held slots, those on several nodes once for each."""

    def _outcomes(self, given: Function | str | None) -> Callable[[Words], _Outcome]:
        if given is None:
            return lambda words: ((0.0,), 0)
        function = function_of(given)
        if function is not None:
            return lambda words: (_printed(function(words)), 0)
        if not Path(str(given)).is_dir():
            raise ConfigurationError(
                f"{given!r} is neither the directory of a study nor a function such as surrogate.py:loss"
            )
        recorded = self._study(given)

        def nearest(words: Words) -> _Outcome:
            point = recorded(words)
            return (() if point.exit_code else (point.fom,)), point.exit_code

        return nearest

    def _run_times(self, given: Function | float | str | None, rng: random.Random) -> Function:
        if given is None and self.recorded:
            given = self.options.objective
        if given is None:
            return lambda words: rng.lognormvariate(0.0, self.options.sigma)
        function = None if isinstance(given, float) else function_of(given)
        if function is not None:
            return function
        if isinstance(given, float) or not Path(str(given)).is_dir():
            draw = durations(given if isinstance(given, float) else str(given), rng)
            return lambda words: draw()
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
        words = _values(evaluation)
        with _blamed("run_time", self.options.run_time, words):
            delay_s = seconds(float(self._run_time(words)), "its answer", plain=1.0)
        with _blamed("objective", self.options.objective, words):
            foms, exit_code = self._outcome(words)
        running = _Running(self.events.now(), len(evaluation.slots), delay_s / max(len(foms), 1), list(foms), exit_code)
        self._running[evaluation.key] = running
        self._wait(evaluation.key, running)
        self.events.post(Started(evaluation.key, "simulated"))

    def _wait(self, key: Key, running: _Running) -> None:
        """Print the next figure of merit when its time has come, and end after the last."""
        running.steps += 1
        due_s = running.since_s + running.steps * running.step_s
        running.timer = self.events.call_at(due_s, lambda: self._go_on(key, running))

    def _go_on(self, key: Key, running: _Running) -> None:
        if running.foms:
            self.events.post(Output(key, f"FoM: {running.foms.pop(0)!r}\n".encode()))
        if running.foms:
            self._wait(key, running)
        else:
            self._stop(key)
            self.events.post(Ended(key, running.exit_code))

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


@define
class _Running:
    since_s: float
    slots: int
    step_s: float
    foms: list[float]
    """Not yet printed."""
    exit_code: int
    steps: int = 0
    timer: Timer = field(init=False)


@contextmanager
def _said_of(kind: str, option: str) -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{kind} 'simulated', option '{option}': {error}") from error


def _printed(answer: Any) -> tuple[float, ...]:
    """What a function gave, a number or several."""
    return (
        tuple(map(float, answer)) if isinstance(answer, Iterable) and not isinstance(answer, str) else (float(answer),)
    )


@contextmanager
def _blamed(which: str, given: object, words: Words) -> Iterator[None]:
    """Whatever a user's function raises stops the study by that function's name."""
    try:
        yield
    except SpaceError as error:
        raise LaunchError(f"the simulation can't go on: {error}") from error
    except Exception as error:
        who = given if isinstance(given, str) else getattr(given, "__name__", repr(given))
        at = " ".join(f"{flag}={value}" for flag, value in words.items())
        raise LaunchError(f"the simulation's {which} {who} failed at {at}: {type(error).__name__}: {error}") from error


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
