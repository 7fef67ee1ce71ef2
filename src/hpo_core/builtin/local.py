"""This machine: a workload manager that has it already, and a launcher that starts processes on it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from attrs import field, frozen, validators

from hpo_core.allocation import AllocationRequest, Node
from hpo_core.builtin._gpus import find_gpus
from hpo_core.builtin._shares import shares
from hpo_core.builtin._spawner import Spawner
from hpo_core.events import EventLoop, NodesJoined
from hpo_core.exceptions import ConfigurationError
from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import Capability, Launcher, WorkloadManager
from hpo_core.processes import ProcessLauncher
from hpo_core.trial import Evaluation


@frozen
class LocalManagerOptions:
    """Options of the workload manager ``local``.

    Attributes:
        gpus: ``none``; ``auto`` for those that the environment or the driver's tools name; or ids such as ``0,1``.
            They are shared out evenly: each evaluation sees its own by ``CUDA_VISIBLE_DEVICES`` and
            ``ROCR_VISIBLE_DEVICES``.
        evals_per_gpu: evaluations that share one GPU.
        pin_cores: share out the processor cores evenly; each evaluation runs on its own, with ``OMP_NUM_THREADS`` set.
    """

    gpus: str = "none"
    evals_per_gpu: int = field(default=1, validator=validators.ge(1))
    pin_cores: bool = False


class LocalManager(WorkloadManager):
    """One node, this machine, with as many slots as evaluations were asked for at the same time."""

    name = "local"
    default_launcher = "local"
    max_nodes = 1
    capabilities = frozenset({Capability.SPAWNS})
    Options = LocalManagerOptions

    def __init__(self, options: LocalManagerOptions | None = None) -> None:
        super().__init__(options or LocalManagerOptions())
        self._spawner = Spawner()

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        slots = max(request.slots, 1)
        gpus = self._shared_gpus(slots)
        cores = self._shared_cores(slots)
        self._node = Node(socket.gethostname(), slots=slots, gpus=gpus, cores=cores)
        self.attach(events)

    def attach(self, events: EventLoop) -> None:
        self._events = events
        events.post(NodesJoined((self._node,)))

    def release(self) -> None:
        """Nothing was taken; what was started with `spawn` ends."""
        self._spawner.close()

    def spawn(self, words: Sequence[str], nodes: Sequence[str], ended: Callable[[str], None]) -> None:
        self._spawner.spawn(self._events, words, nodes, ended)

    def _shared_cores(self, slots: int) -> tuple[int, ...]:
        if not self.options.pin_cores:
            return ()
        if not hasattr(os, "sched_getaffinity"):
            raise ConfigurationError("pin_cores: this system can't tie a program to processor cores")
        cores = tuple(sorted(os.sched_getaffinity(0)))
        if len(cores) < slots:
            raise ConfigurationError(f"pin_cores: {slots} evaluations at a time, and there are {len(cores)} cores")
        return cores

    def _shared_gpus(self, slots: int) -> tuple[str, ...]:
        """GPU ids for the slots in order, as many as divide evenly."""
        if self.options.gpus == "none":
            return ()
        ids = find_gpus() if self.options.gpus == "auto" else tuple(self.options.gpus.split(","))
        if not ids:
            raise ConfigurationError(
                "gpus='auto': no GPU was found, neither in the environment nor by the driver's tools"
            )
        places = [gpu for gpu in ids for _ in range(self.options.evals_per_gpu)]
        if slots > len(places):
            raise ConfigurationError(
                f"{slots} evaluations at a time on {len(ids)} GPUs ({','.join(ids)}): set evals_per_gpu to at least "
                f"{-(-slots // len(ids))}, or num_parallel_evals to at most {len(places)}"
            )
        return tuple(places)


class LocalLauncher(ProcessLauncher):
    """Runs the command itself, on the cores and GPUs of its slot."""

    name = "local"

    def environment(self, evaluation: Evaluation) -> dict[str, str]:
        return {**evaluation.environment, **shares(evaluation.slots)}


@hookimpl
def hpo_register_workload_manager() -> type[WorkloadManager]:
    return LocalManager


@hookimpl
def hpo_register_launcher() -> type[Launcher]:
    return LocalLauncher
