"""An evaluator's names made real: workload manager, launcher, metric parser, and the allocation they share."""

from __future__ import annotations

import atexit
import os
import sys
import warnings
import weakref
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import attrs

from hpo_core import registry
from hpo_core._blame import faults_of
from hpo_core._options import build_options
from hpo_core.allocation import AllocationRequest
from hpo_core.events import EventLoop
from hpo_core.exceptions import ConfigurationError, HpoError
from hpo_core.interfaces import Capability, Launcher, MetricParser, WorkloadManager

if TYPE_CHECKING:
    from hpo_core.evaluator import Evaluator


class Backend:
    """What runs evaluations for one `Evaluator`.

    Attributes:
        manager: holds the allocation.
        launcher: runs commands on it.
        parser: makes a metric reader for each evaluation.
        chosen: sentences on what ``auto`` chose and why, or which managers could not be asked.
    """

    def __init__(
        self, manager: WorkloadManager, launcher: Launcher, parser: MetricParser, request: AllocationRequest
    ) -> None:
        self.manager = manager
        self.launcher = launcher
        launcher.manager = manager
        self.parser = parser
        self.request = request
        self.chosen: tuple[str, ...] = ()
        self._acquired = False
        self._in_use = False
        self._pid = os.getpid()
        _OPEN.add(self)

    @classmethod
    def resolve(cls, evaluator: Evaluator) -> Backend:
        """Find the plugins, check the combination, and make them; nothing is allocated yet.

        Raises:
            ConfigurationError: the combination makes no sense.
            PluginError: a name is not known, or its plugin cannot be used.
        """
        if os.name != "posix":
            raise ConfigurationError(
                "running evaluations needs a POSIX system (Linux or macOS); on Windows, use WSL, "
                "or Study.ask and Study.tell with a loop of your own"
            )
        manager_name, chosen = _manager_name(evaluator)
        manager_class = registry.get(WorkloadManager, manager_name)
        launcher_name = manager_class.default_launcher if evaluator.launcher == "auto" else evaluator.launcher
        launcher_class = registry.get(Launcher, launcher_name)
        _check(evaluator, manager_class, launcher_class)
        parser_class = registry.get(MetricParser, evaluator.metric_parser)
        spec = evaluator.metric_spec
        who = f"workload manager '{manager_name}'"
        options = build_options(manager_class.Options, evaluator.manager_options, who)
        with faults_of(f"{who} could not be made"):
            manager = manager_class(options)
        who = f"launcher '{launcher_name}'"
        options = build_options(launcher_class.Options, _launcher_options(evaluator), who)
        with faults_of(f"{who} could not be made"):
            launcher = launcher_class(options, launch_args=evaluator.launch_args or evaluator.urika_args)
        who = f"metric parser '{evaluator.metric_parser}'"
        options = build_options(parser_class.Options, evaluator.metric_options, who)
        with faults_of(f"{who} could not be made"):
            parser = parser_class(spec.names, literal=spec.literal, options=options)
        backend = cls(manager, launcher, parser, _request(evaluator))
        _check_capabilities(evaluator, manager, launcher)
        with faults_of(f"launcher '{launcher_name}' failed in check"):
            launcher.check(evaluator)
        with faults_of(f"{who} failed in check"):
            parser.check(evaluator)
        backend.chosen = chosen
        return backend

    @property
    def is_remote(self) -> bool:
        """Whether evaluations run where the driver's programs and files may not be."""
        return Capability.REMOTE in self.launcher.capabilities

    def clean(self, study_id: str) -> tuple[str, ...]:
        """Give back what an earlier driver of this study still holds; see `WorkloadManager.clean`."""
        with self._faults("clean"):
            return () if self._acquired else tuple(self.manager.clean(study_id))

    def clean_all(self, study_id: str, grace_s: float) -> tuple[str, ...]:
        """End all that an earlier driver of this study left: evaluations, and what the manager holds."""
        with faults_of(f"launcher '{self.launcher.name}' failed in clean"):
            ended = self.launcher.clean(study_id, grace_s)
        return (*ended, *self.clean(study_id))

    def _faults(self, method: str) -> AbstractContextManager[None]:
        return faults_of(f"workload manager '{self.manager.name}' failed in {method}")

    def preview(self) -> str:
        """The command that would ask for nodes; see `WorkloadManager.preview`."""
        return self.manager.preview(attrs.evolve(self.request, name="hpo-STUDY"))

    def begin(self, study_id: str) -> EventLoop:
        """Start or join the allocation for a study; everything is posted to the loop that is returned.

        Raises:
            ConfigurationError: another study is using the evaluator now.
            AllocationError: the nodes can never be had.
            PluginError: the manager or the launcher failed.
        """
        if self._in_use:
            raise ConfigurationError(
                "this evaluator is running another study now; give each study that runs at the same time its own"
            )
        with self._faults("event_loop"):
            events = self.manager.event_loop()
        with faults_of(f"launcher '{self.launcher.name}' failed in open"):
            self.launcher.open(events, study_id)
        self._in_use = True
        try:
            if self._acquired:
                with self._faults("attach"):
                    self.manager.attach(events)
            else:
                with self._faults("acquire"):
                    self.manager.acquire(attrs.evolve(self.request, name=f"hpo-{study_id}"), events)
                self._acquired = True
        except BaseException:
            self.finish(events)
            raise
        return events

    def renew(self) -> bool:
        """Ask for other nodes; see `WorkloadManager.renew`."""
        with self._faults("renew"):
            return self.manager.renew()

    def finish(self, events: EventLoop) -> None:
        """End a study: kill what still runs; the allocation stays."""
        self._in_use = False
        try:
            with faults_of(f"launcher '{self.launcher.name}' failed in close"):
                self.launcher.close()
        finally:
            events.close()

    def close(self) -> None:
        """Give the allocation back."""
        _OPEN.discard(self)
        if os.getpid() != self._pid:
            return  # a forked process owns nothing
        if self._acquired:
            self._acquired = False
            with self._faults("release"):
                self.manager.release()


_OPEN: weakref.WeakSet[Backend] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for backend in list(_OPEN):
        try:
            backend.close()
        except HpoError as error:  # the others' nodes are to be given back, too
            print(f"hpo-core: {error}", file=sys.stderr)


def _manager_name(evaluator: Evaluator) -> tuple[str, tuple[str, ...]]:
    """The workload manager's name, and sentences on how ``auto`` came to it."""
    if evaluator.workload_manager != "auto":
        return evaluator.workload_manager, ()
    probed, broken = [], []
    for name in registry.names(WorkloadManager):
        try:
            manager = registry.get(WorkloadManager, name)
            found = manager.detect()
        except Exception as error:  # noqa: BLE001 - a foreign plugin's fault must not harm those who did not ask for it
            broken.append(f"{name}: {error if isinstance(error, HpoError) else f'{type(error).__name__}: {error}'}")
            continue
        if found:
            chosen = [f"workload manager {name}: {found}"]
            if evaluator.launcher == "auto":
                chosen.append(f"launcher {manager.default_launcher}: what '{name}' runs evaluations by")
            return name, tuple(chosen)
        probed.append(name)
    if evaluator.nodes > 1:
        raise ConfigurationError(
            f"nodes={evaluator.nodes}, and no workload manager was found on this machine "
            f"(asked: {'; '.join([*probed, *broken])}); name one, or install its package, such as hpo-slurm"
        )
    return "local", tuple(f"could not ask workload manager {one}" for one in broken)


def _check(evaluator: Evaluator, manager: type[WorkloadManager], launcher: type[Launcher]) -> None:
    """The rules for combinations of arguments, but for those of one launcher, which are in its `Launcher.check`."""
    if manager.max_nodes is not None and evaluator.nodes > manager.max_nodes:
        raise ConfigurationError(
            f"nodes={evaluator.nodes} with workload_manager='{manager.name}', which has {manager.max_nodes}; "
            "to run evaluations side by side on this machine, set num_parallel_evals"
        )
    if max(evaluator.nodes_per_eval, 1) > max(evaluator.nodes, 1):
        raise ConfigurationError(
            f"nodes_per_eval={evaluator.nodes_per_eval} is more than nodes={max(evaluator.nodes, 1)}"
        )
    if (manager.name == "k8s") != (launcher.name == "k8s"):
        raise ConfigurationError(
            f"workload_manager='{manager.name}' with launcher='{launcher.name}': 'k8s' needs 'k8s' for both"
        )
    if launcher.managers and manager.name not in launcher.managers:
        raise ConfigurationError(
            f"launcher='{launcher.name}' with workload_manager='{manager.name}': it runs on nodes of "
            f"{' or '.join(launcher.managers)} only"
        )
    if evaluator.workload_image and manager.name != "k8s":
        raise ConfigurationError(
            f"workload_image={evaluator.workload_image!r} is for workload_manager='k8s', not '{manager.name}'"
        )
    if evaluator.alloc_jobid and manager.name != "slurm":
        raise ConfigurationError(
            f"alloc_jobid={evaluator.alloc_jobid} is for workload_manager='slurm', not '{manager.name}'"
        )
    if evaluator.src_path and os.path.realpath(evaluator.src_path) == os.path.realpath(evaluator.run_path):
        raise ConfigurationError(
            f"run_path={evaluator.run_path!r} is src_path itself: workspaces would be copied into each other; "
            "choose a folder inside it, or another place"
        )
    if evaluator.launch_args and launcher.name == "local":
        warnings.warn("launch_args is ignored: the launcher 'local' has no launch command", stacklevel=2)
    nodes, width = max(evaluator.nodes, 1), max(evaluator.nodes_per_eval, 1)
    if nodes % width and not evaluator.num_parallel_evals:
        warnings.warn(
            f"nodes={nodes} is no multiple of nodes_per_eval={width}: {nodes // width} evaluations run at a time",
            stacklevel=2,
        )


def _check_capabilities(evaluator: Evaluator, manager: WorkloadManager, launcher: Launcher) -> None:
    """The rules for what was made: what an object declares counts, not its class."""
    if evaluator.nodes_per_eval > 1 and Capability.MULTI_NODE not in launcher.capabilities:
        raise ConfigurationError(
            f"nodes_per_eval={evaluator.nodes_per_eval}, and launcher '{launcher.name}' runs an evaluation on one node"
        )
    if evaluator.memory_limit is not None and Capability.LIMITS_MEMORY not in launcher.capabilities:
        raise ConfigurationError(f"memory_limit is set, and launcher '{launcher.name}' can't keep it")
    for capability in launcher.needs - manager.capabilities:
        raise ConfigurationError(
            f"launcher='{launcher.name}' needs a workload manager that {capability.value}, "
            f"and '{manager.name}' does not"
        )


def _launcher_options(evaluator: Evaluator) -> dict[str, Any]:
    """The user's options, and what arguments of their own say."""
    image = {"image": evaluator.workload_image} if evaluator.workload_image else {}
    return {**image, **evaluator.launcher_options}


def _request(evaluator: Evaluator) -> AllocationRequest:
    return AllocationRequest(
        nodes=max(evaluator.nodes, 1),
        nodes_per_eval=max(evaluator.nodes_per_eval, 1),
        slots=evaluator.num_parallel_evals,
        timeout_s=evaluator.alloc_timeout_s,
        args=evaluator.alloc_args,
        jobid=evaluator.alloc_jobid,
    )
