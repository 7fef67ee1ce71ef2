"""Programs of ours on the nodes: what the manager's `spawn` starts, by one srun each time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence

from hpo_core import AllocationError
from hpo_core.events import EventLoop
from hpo_slurm import _commands as cmd
from hpo_slurm._child import Child
from hpo_slurm._client import environment

_SCRIPT = 'HPO_NODE=$SLURMD_NODENAME exec "$0" "$@"'
_TOLD_AT_MOST = 2000


class Programs:
    """Programs that run as job steps of one name.

    Args:
        name: of these steps.
        variables: what they need beyond the driver's own.
    """

    def __init__(self, name: str, variables: Mapping[str, str]) -> None:
        self.name = name
        self._variables = variables
        self._children: list[Child] = []

    @property
    def running(self) -> bool:
        """Whether any of them runs, as far as was heard."""
        return bool(self._children)

    def start(
        self, events: EventLoop, job: int, words: Sequence[str], nodes: Sequence[str], ended: Callable[[str], None]
    ) -> None:
        """Start one on each of these nodes; see `WorkloadManager.spawn`.

        Raises:
            AllocationError: srun could not be started.
        """
        heard: list[bytes] = []

        def hear(stream: str, data: bytes) -> None:
            heard.append(data)
            del heard[:-20]

        def over(code: int) -> None:
            self._children.remove(child)
            said = b"".join(heard)[-_TOLD_AT_MOST:].decode(errors="replace").strip()
            ended(said or f"srun ended with code {code}")

        command = (*cmd.srun_words(job, tuple(nodes), self.name), "sh", "-c", _SCRIPT, *words)
        try:
            child = Child(events, lambda _: command, {**environment(), **self._variables}, hear, over)
        except OSError as error:
            raise AllocationError(f"srun cannot be started: {error.strerror}") from error
        self._children.append(child)

    def terminate(self) -> None:
        """Tell them to end, and hear no more of them."""
        for child in self._children:
            child.forget()
            child.signal(signal.SIGTERM)

    def close(self) -> None:
        """See that they have ended, after `terminate`."""
        for child in self._children:
            if not child.wait(2.0):
                child.kill()
                child.wait(5.0)
        self._children.clear()
