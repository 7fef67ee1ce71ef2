"""What a plugin implements: Strategy, WorkloadManager, Launcher, MetricParser, Observer.

A plugin's class carries its `name`, declares what it can do in `capabilities`, and may declare its options:
`Options` is an attrs class whose fields, with types, defaults and validators, are the keys that users write in
Python, in a study file and on the command line. The plugin is given an instance, checked already.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen, mutable

from hpo_core.allocation import AllocationRequest
from hpo_core.events import EventLoop, Key, RealEventLoop
from hpo_core.trial import Evaluation, Pause, Proposal, Report, Result, Trial

if TYPE_CHECKING:
    from hpo_core.evaluator import Evaluator
    from hpo_core.space import Params
    from hpo_core.study import Study

INTERFACE_VERSION = 1
"""Version of everything in this module; a plugin's class may name the one that it was written for."""


class Capability(Enum):
    """What a plugin declares; checked against what was asked for when the study is built."""

    SLOW = "asks take long: run them on a thread of their own"
    """Strategy."""
    REPORTS = "hears intermediate reports and may stop a trial"
    """Strategy."""
    CONTINUES = "proposes trials that continue another's checkpoint"
    """Strategy."""
    STREAMS = "gives output while the program runs"
    """Launcher."""
    MULTI_NODE = "runs one evaluation on several nodes"
    """Launcher, and workload managers that can have more than one node."""
    ADOPTS = "finds evaluations again that an earlier driver started"
    """Launcher; its `Launcher.adopt` is asked when a study goes on."""
    SPAWNS = "starts a process of ours on each of its nodes"
    """Workload manager; its `WorkloadManager.spawn` is what the launcher ``pilot`` needs."""
    KILLS_TREES = "ends an evaluation with all its descendants"
    """Launcher."""
    LIMITS_MEMORY = "ends an evaluation that holds more memory than its limit"
    """Launcher."""
    MERGED_OUTPUT = "can't tell stdout from stderr: metrics are looked for in both"
    """Launcher."""
    REMOTE = "runs evaluations where the driver's own programs and files may not be"
    """Launcher."""


class Plugin(ABC):
    """What all kinds have in common."""

    name: ClassVar[str]
    """What users write to choose it."""
    capabilities: frozenset[Capability] = frozenset()
    """What it can do, said by the class, or by one object where options or `Outlook.checkpoints` decide. What an
    object declares when it has been made counts, and stays as it is."""
    interface_version: ClassVar[int] = INTERFACE_VERSION
    """The interface that it was written for. Any other than `INTERFACE_VERSION` is refused, with a message that says
    what to upgrade; a class that does not name one is never refused."""
    Options: ClassVar[type | None] = None
    """An attrs class, or None for a plugin without options."""

    def _given(self, options: Any) -> Any:
        """The options, or their defaults where none are given."""
        return self.Options() if options is None and self.Options is not None else options


@mutable
class Outlook:
    """What a strategy may know of the study around it; kept up to date by the loop.

    Attributes:
        slots: evaluations that can run at the same time.
        trials_left: trials that the budget still allows to be asked for, or None without such a budget.
        time_left_s: seconds until the study's timeout, or None without one. A strategy that decides by it can't be
            repeated exactly on resume.
        checkpoints: whether trials have checkpoint directories, so that one may continue another's; the same for
            the study's whole life.
    """

    slots: int = 1
    trials_left: int | None = None
    time_left_s: float | None = None
    checkpoints: bool = False


class Strategy(Plugin):
    """Proposes assignments and learns from their results. Does no I/O and sees no scheduler.

    The study asks whenever a slot is free and tells each result as it comes, in order of completion; asks
    and tells need not alternate and several asks may be open. Equal seed and equal order of tells give equal
    proposals. All calls come from one thread at a time.

    Args:
        space: the search space; draws, encodes, finds neighbours and validates.
        seed: for `rng`; every other random number must come from it too.
        options: an instance of `Options`; None: their defaults.
        outlook: what is known of slots and budget.
    """

    def __init__(self, space: Params, *, seed: int, options: Any = None, outlook: Outlook | None = None) -> None:
        self.space = space
        self.rng = random.Random(seed)
        self.options = self._given(options)
        self.outlook = outlook or Outlook()

    @abstractmethod
    def ask(self) -> Proposal | Pause:
        """Propose one assignment.

        Returns:
            a `Proposal` that is valid in the space; `Pause.WAIT` to be asked again after the next tell;
            `Pause.DONE` when there will never be another.
        """

    def tell(self, trial: Trial, result: Result) -> None:
        """Learn how a trial ended; also of the baseline and of trials that others put in.

        Args:
            trial: what ran; its values are those that stood on the command line.
            result: minimise ``result.loss``; it is infinite for a failure.
        """

    def report(self, trial: Trial, report: Report) -> bool:
        """Hear an intermediate value; needs `Capability.REPORTS`.

        Returns:
            True to stop the trial now; it ends as STOPPED with its last report's figure of merit.
        """
        return False

    def continuable(self) -> Collection[int]:
        """Trials whose checkpoints a later proposal may continue; needs `Capability.CONTINUES`.

        Called after tells. The checkpoints of all other trials may be deleted, but for those of trials that run or
        that running ones continue, and that of the best trial.

        Returns:
            numbers of trials that have a result.
        """
        return ()

    def foreign(self, proposal: Proposal, origin: str) -> Proposal:
        """Say what a trial lacks that others put in: a fidelity, nodes, a tag, info.

        Called once for each before it is recorded, not again on resume, so that it must change nothing in the strategy.
        A strategy whose own proposals have a fidelity gives one here, since the program may need it.

        Args:
            proposal: its values.
            origin: ``baseline`` (the default values), ``enqueued`` (a user's point), ``inserted`` (one with a result).

        Returns:
            the proposal with what was missing; its values and its parent stay as they were.
        """
        return proposal

    def tag(self, number: int) -> str:
        """The tag of trial `number` where its proposal has none, whoever made it."""
        return f"point{number}"

    def get_state(self) -> Any:
        """Everything that the next proposals depend on, as JSON values.

        The default saves the random generator only: a strategy that remembers more adds to it.
        """
        version, internal, gauss = self.rng.getstate()
        return {"rng": [version, list(internal), gauss]}

    def set_state(self, state: Any) -> None:
        """Go on from what `get_state` gave, on a new object made with the same arguments."""
        version, internal, gauss = state["rng"]
        self.rng.setstate((version, tuple(internal), gauss))


class WorkloadManager(Plugin):
    """Gets nodes and gives them back. One object holds one allocation.

    Args:
        options: an instance of `Options`; None: their defaults.
    """

    default_launcher: ClassVar[str] = "local"
    """What ``launcher="auto"`` gives."""
    max_nodes: ClassVar[int | None] = None
    """Nodes that it can have at most, or None."""

    def __init__(self, options: Any = None) -> None:
        self.options = self._given(options)

    @classmethod
    def detect(cls) -> str | None:
        """Ask the machine whether this manager is really there (a name on PATH is not enough).

        Returns:
            one sentence on what answered, or None; called for ``workload_manager="auto"``.
        """
        return None

    def event_loop(self) -> EventLoop:
        """The clock and the place for events that a study on this allocation uses."""
        return RealEventLoop()

    def preview(self, request: AllocationRequest) -> str:
        """The command that would ask for nodes, as exactly as it is known before, for ``--dry-run``; runs nothing.

        Returns:
            the command; empty where there is none.

        Raises:
            AllocationError: the request can't be one.
        """
        return ""

    @abstractmethod
    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        """Ask for nodes and return at once.

        Post `NodesJoined` as nodes come, `NodesLeft` as they go, `AllocationNotice` for reasons of waiting,
        `AllocationLost` when there will be no more.

        Raises:
            AllocationError: the request can never be met; nothing was allocated.
        """

    @abstractmethod
    def attach(self, events: EventLoop) -> None:
        """Post to another study's loop from now on, beginning with `NodesJoined` for what is there."""

    @abstractmethod
    def release(self) -> None:
        """Give back what `acquire` got and only that; may be called more than once."""

    def renew(self) -> bool:
        """Give back nodes that end too soon for another evaluation and ask for others, if the user wants that.

        Called when nothing runs. `NodesLeft` for what is given back and `NodesJoined` for what comes follow.

        Returns:
            whether others will come.
        """
        return False

    def clean(self, study_id: str) -> Sequence[str]:
        """Give back what an earlier driver of this study still holds, or still waits for.

        Called before `acquire` for a study that goes on, and without it for one that goes on elsewhere, and by
        ``hpo clean``. Allocations carry the study's id in their names (`AllocationRequest.name`).

        Returns:
            what was given back, for people.
        """
        return ()

    def explain(self) -> str:
        """How the allocation stands, in the scheduler's own words."""
        return ""

    def spawn(self, words: Sequence[str], nodes: Sequence[str], ended: Callable[[str], None]) -> None:
        """Start a program once on each of these nodes and return at once; needs `Capability.SPAWNS`.

        Each process finds its node's name in ``HPO_NODE``. It has no standard input, and what it prints is for
        people alone. `release` ends it if it is still there.

        Args:
            words: the program and its arguments; visible to everybody, so never a secret.
            nodes: names of nodes that joined.
            ended: called on the loop's thread once none of them runs any more, or they could not be started, with
                what was last printed.
        """
        raise NotImplementedError(f"{type(self).__name__} starts no processes")


class Launcher(Plugin):
    """Runs evaluations on the slots that they were given.

    With `Capability.MULTI_NODE`, an evaluation on several nodes is still one: the command runs once, on the first of
    them, or once on each; the program finds all in ``HPO_NODELIST`` (and, where the launcher writes one, one a line in
    the file ``HPO_HOSTFILE``); there is one `Ended`, when nothing is left on any of them.

    Args:
        options: an instance of `Options`; None: their defaults.
        launch_args: the user's text for the launch command, verbatim.
    """

    managers: ClassVar[tuple[str, ...]] = ()
    """Names of the workload managers on whose nodes it can run; where there are none, on all."""
    needs: ClassVar[frozenset[Capability]] = frozenset()
    """What its workload manager must be able to do."""
    looks_by: ClassVar[tuple[str, ...]] = ()
    """Names of options that say where evaluations of an earlier driver are looked for, such as which cluster it is.

    Where a study goes on with another value of one, `clean` is called with the former value too.
    """
    manager: WorkloadManager | None = None
    """Where its nodes come from; set before `open`."""
    makes_files: bool = False
    """Whether it makes workspaces and checkpoints itself (`Evaluation.files`), as the driver does not see them; what
    is so for one evaluator may be set in `check`."""

    def __init__(self, options: Any = None, *, launch_args: str = "") -> None:
        self.options = self._given(options)
        self.launch_args = launch_args

    def check(self, evaluator: Evaluator) -> None:
        """Refuse settings that can't work, when the study is built and nothing has been asked for yet.

        Names, numbers and combinations that concern all launchers have been checked before.

        Raises:
            ConfigurationError: what is wrong, and what would be right.
        """

    def open(self, events: EventLoop, study_id: str) -> None:
        """Get ready for a study: all events go to `events` until `close`."""
        self.events = events
        self.study_id = study_id

    @abstractmethod
    def launch(self, evaluation: Evaluation) -> None:
        """Start an evaluation and return at once.

        Post `Started`, `Output` as it is produced, and exactly one `Ended` when nothing of it is left.

        Raises:
            LaunchError: it could not be started; no event follows.
        """

    @abstractmethod
    def end(self, key: Key, grace_s: float) -> None:
        """End an evaluation with all its descendants: TERM, and KILL after `grace_s` seconds.

        Its `Ended` follows. Unknown keys are ignored: it may have ended meanwhile.
        """

    def adopt(self, evaluations: Sequence[Evaluation]) -> Collection[Key]:
        """Take over what an earlier driver of this study launched; needs `Capability.ADOPTS`.

        Called once, after `open` and before `clean`. From then on an adopted evaluation is as if it had been launched
        here: post all its `Output` from its very beginning, and its one `Ended`, also where it is over already.

        Args:
            evaluations: what may still run, or have ended unheard; with the slots that they were given.

        Returns:
            the keys of those that are adopted; what is left of the others is ended by `clean`, and they run again.
        """
        return ()

    def forget(self, keys: Sequence[Key]) -> None:
        """The results of these evaluations are on disk: what is left of them is needed no more.

        Until then a launcher that adopts keeps what it would need to tell their ends again, to a driver that comes
        after this one.
        """

    def discard(self, directories: Sequence[Sequence[str]]) -> None:
        """Delete checkpoints that nobody continues, at leisure; called only where it `makes_files`.

        Args:
            directories: of each checkpoint the places where it may be; often there is none any more.
        """

    def clean(self, study_id: str, grace_s: float) -> Sequence[str]:
        """End everything that an earlier driver of this study left running, and wait until it is gone.

        Called before a resumed study launches, after `adopt` whose evaluations it spares. Needs no `open`: also called
        for a study that goes on elsewhere, and by ``hpo clean``.

        Returns:
            what was ended, for people, such as processes, job steps, pods.
        """
        return ()

    def preview(self, evaluation: Evaluation) -> str:
        """What would be run, exactly, for ``--dry-run``."""
        return evaluation.command

    @abstractmethod
    def close(self) -> None:
        """Kill whatever still runs and give back all resources; no event follows. Harmless when called again."""


@frozen
class Reading:
    """Metrics found in the output: one or several names with their values, and the step if it was named."""

    metrics: Mapping[str, float]
    step: float | None = None


class MetricReader(ABC):
    """Reads the output of one evaluation, line by line, in bounded memory."""

    near_miss: str = ""
    """Set to what almost was a metric, for the message when none is found."""

    def begin(self, evaluation: Evaluation, *, adopted: bool = False) -> None:
        """Its evaluation is about to be launched; its directory is ready.

        Args:
            evaluation: what is launched.
            adopted: it runs already, since an earlier driver launched it.
        """

    @abstractmethod
    def line(self, text: str) -> Sequence[Reading]:
        """Read one line of output without its end of line; undecodable bytes are U+FFFD, long lines are cut.

        Returns:
            all readings in it, in order; empty when there are none.
        """

    def finish(self, directory: Path) -> Sequence[Reading]:
        """Look for what is not in the output, once, after the program ended well.

        Args:
            directory: where the program ran.
        """
        return ()


class MetricParser(Plugin):
    """Makes a reader for each evaluation. Weights, rules over repeats and direction are the core's.

    Args:
        metrics: names that are looked for, in order; or one literal text.
        literal: whether `metrics` holds one literal text as the user wrote it, such as ``f1: ``.
        options: an instance of `Options`; None: their defaults.
    """

    def __init__(self, metrics: Sequence[str], *, literal: bool = False, options: Any = None) -> None:
        self.metrics = tuple(metrics)
        self.literal = literal
        self.options = self._given(options)

    def check(self, evaluator: Evaluator) -> None:
        """Refuse settings that can't work, when the study is built and nothing has been asked for yet.

        Raises:
            ConfigurationError: what is wrong, and what would be right.
        """

    @abstractmethod
    def reader(self) -> MetricReader:
        """A fresh reader for one evaluation."""

    def expected(self) -> str:
        """What should have been printed, for messages, such as ``'FoM: ' and a number``."""
        return " and ".join(f"'{name}: <number>'" for name in self.metrics)


class Observer(Plugin):
    """Hears of a study's life: progress displays, loggers. Override what you need.

    An observer that raises is switched off with a warning; it never harms the study. Calls come from the
    loop's thread and should be quick.
    """

    name = "observer"

    def study_started(self, study: Study) -> None:
        """The study begins or goes on; nothing has been launched yet."""

    def trial_started(self, trial: Trial, attempt: int) -> None:
        """An attempt was launched."""

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """A running trial printed an intermediate value."""

    def trial_finished(self, trial: Trial, result: Result) -> None:
        """A trial is over for good and is recorded; retries are not heard of here."""

    def notice(self, text: str) -> None:
        """Something that people should know: reasons of waiting, retries, warnings."""

    def study_finished(self, study: Study) -> None:
        """The study stopped, for whatever reason (`Study.stop_reason`)."""
