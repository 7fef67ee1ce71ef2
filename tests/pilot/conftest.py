"""Several nodes without a cluster: a manager whose nodes are names, all of them this machine."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from hpo_core import _processes
from hpo_core.allocation import AllocationRequest, Node, Slot
from hpo_core.builtin.local import LocalManager
from hpo_core.builtin.pilot import PilotLauncher, PilotOptions
from hpo_core.events import EventLoop, NodesJoined, RealEventLoop
from hpo_core.interfaces import Capability, WorkloadManager
from hpo_core.testing.launchers import Stage
from hpo_core.testing.plugins import registered

NODES = ("n1", "n2", "n3", "n4")


@frozen
class ManyNodesOptions:
    slots: int = 1
    """Of each node."""


class ManyNodes(LocalManager):
    """Nodes n1, n2, ...: programs for them are started here, and find their node's name as on a cluster."""

    name = "many"
    default_launcher = "pilot"
    max_nodes = None
    capabilities = frozenset({Capability.SPAWNS, Capability.MULTI_NODE})
    Options = ManyNodesOptions

    def __init__(self, options: ManyNodesOptions | None = None) -> None:
        super().__init__()
        self.options = options or ManyNodesOptions()
        self.spawned: list[tuple[str, ...]] = []
        self.told: dict[str, Any] = {}
        """What workers find in their config in place of the truth."""

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        self.names = [f"n{i}" for i in range(1, request.nodes + 1)]
        self.attach(events)

    def attach(self, events: EventLoop) -> None:
        self._events = events
        events.post(NodesJoined(tuple(Node(name, slots=self.options.slots) for name in self.names)))

    def spawn(self, words: Any, nodes: Any, ended: Callable[[str], None]) -> None:
        self.spawned.append(tuple(nodes))
        if self.told:
            (config,) = (Path(word) for word in words if word.endswith("config.json"))
            config.write_text(json.dumps({**json.loads(config.read_text()), **self.told}))
        super().spawn(words, nodes, ended)


@pytest.fixture
def many_nodes() -> Iterator[type[WorkloadManager]]:
    """Within the test, workload_manager="many" is known."""
    with registered(ManyNodes):
        yield ManyNodes


class PilotStage(Stage):
    """A pilot on the nodes n1 ... n4, heard of directly."""

    manager: ManyNodes
    launcher: PilotLauncher

    def on(self, *nodes: str, command: str, **more: Any) -> tuple[int, int]:
        """Launch a command on nodes."""
        self.slots = [Slot(nodes[0])]
        evaluation = self.evaluation(command, **more)
        everywhere = tuple(Slot(node) for node in nodes)
        object.__setattr__(evaluation, "slots", everywhere)
        return self.start(evaluation)


@pytest.fixture
def stage_with(tmp_path: Path) -> Iterator[Callable[..., PilotStage]]:
    """Open pilots with options, whose workers are told what is not so; they are closed after the test."""
    opened: list[tuple[PilotStage, EventLoop]] = []

    def make(told: dict[str, Any] | None = None, **options: Any) -> PilotStage:
        events = RealEventLoop()
        manager = ManyNodes()
        manager.told = told or {}
        manager.acquire(AllocationRequest(nodes=4), events)
        pilot = PilotLauncher(PilotOptions(**{"address": "127.0.0.1", **options}))
        pilot.manager = manager
        stage = PilotStage(pilot, events, [Slot("n1")], 30.0)
        stage.manager = manager
        opened.append((stage, events))
        return stage

    yield make
    for stage, events in opened:
        stage.close()
        stage.manager.release()
        events.close()


def workers(stage: PilotStage) -> dict[str, int]:
    """Node to process id of the workers that are there."""
    return {node: peer.handshake.facts["pid"] for node, peer in stage.launcher._workers.peers().items()}


def processes_with(word: str) -> list[int]:
    """Living processes of others whose command line contains this."""
    return [
        pid
        for pid in _processes._all()
        if pid != os.getpid() and word.encode() in _processes._read(pid, "cmdline") and _processes.started(pid)
    ]


def until(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
