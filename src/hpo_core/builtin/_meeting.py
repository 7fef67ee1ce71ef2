"""Where the pilot's driver and its workers meet: a folder with what a worker needs, and somebody to receive it."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import field, frozen, validators

from hpo_core import _engine
from hpo_core._pilot import links, package
from hpo_core._pilot.reception import Reception, addresses_of_this_host
from hpo_core.events import EventLoop

_FOLDER = re.compile("pilot-[0-9a-f]{16}")
_WORKERS_GRACE_S = 1.0

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


class Meeting:
    """The folder with the worker and its settings, and the reception.

    Args:
        events: the study's loop.
        options: of the launcher.
        addresses: names and addresses of the driver, if the options don't name one.
        study: the study's directory, or None.
        study_id: the study.
        local: whether the only node is this host.
        arrived: is told of each worker that has proved itself.

    Raises:
        OSError: the folder can't be made, or there is no port to listen on.
    """

    def __init__(
        self,
        events: EventLoop,
        options: PilotOptions,
        addresses: Callable[[], Sequence[str]],
        study: str | None,
        study_id: str,
        *,
        local: bool,
        arrived: Callable[[links.Peer], None],
    ) -> None:
        self._options, self._addresses = options, addresses
        self._session = os.urandom(8).hex()
        self.secret = os.urandom(32)
        self.folder = ""
        self._reception = Reception(events, self.secret, arrived)
        try:
            self.folder = self._make_folder(study)
            if options.transport != "files":
                self._reception.listen("127.0.0.1" if local else options.address, options.port)
            package.write(self.worker_file)
            write(self.config_file, json.dumps(self._config(study_id)))
        except BaseException:
            self.close()
            raise

    @property
    def worker_file(self) -> str:
        """The program of the workers."""
        return os.path.join(self.folder, "worker.pyz")

    @property
    def config_file(self) -> str:
        """What they have to know."""
        return os.path.join(self.folder, "config.json")

    def expect(self, for_s: float) -> None:
        """Workers are on their way: look for their files too, for so long."""
        if self._options.transport != "tcp":
            self._reception.look_into(self.folder, self._options.silence, for_s)

    def hint(self) -> str:
        """What may be wrong where a worker does not come."""
        if self._options.transport == "files":
            return f"; does the node see {self.folder}?"
        offered = ", ".join(f"{host}:{self._reception.port}" for host in self._addresses())
        return f" (to {offered}); the launcher's options 'address' and 'transport' say how it may"

    def close(self) -> None:
        """Receive nobody any more, and remove the folder."""
        self._reception.close()
        _remove(self.folder)

    def _make_folder(self, study: str | None) -> str:
        """A folder that this user alone may read, and that all nodes see if the study's is such a one."""
        if study is None or not os.path.isdir(study):
            import tempfile

            return tempfile.mkdtemp(prefix="hpo-pilot-")
        _remove_stale(study)
        folder = os.path.join(study, f"pilot-{self._session}")
        os.mkdir(folder, 0o700)
        return folder

    def _config(self, study_id: str) -> dict[str, Any]:
        options = self._options
        environment = [
            (name, text)
            for name, text in ((os.fsdecode(n), os.fsdecode(t)) for n, t in _engine.inherited().items())
            if name not in _OF_THE_NODE and not name.startswith(_OF_THE_JOB)
        ]
        return {
            "study": study_id,
            "session": self._session,
            "secret": self.secret.hex(),
            "transport": options.transport,
            "hosts": list(self._addresses()),
            "any_host": not options.address,
            "host": socket.gethostname(),
            "port": self._reception.port,
            "folder": self.folder,
            "directory": os.getcwd(),
            "environment": environment,
            "connect_timeout_s": options.connect_timeout,
            "silence_s": options.silence,
            "grace_s": _WORKERS_GRACE_S,
        }


def addresses(options: PilotOptions) -> Sequence[str]:
    """Names and addresses of the driver that are offered to the workers; a worker on its host tries loopback."""
    return (options.address,) if options.address else addresses_of_this_host()


def write(path: str, text: str) -> None:
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
