"""The driver's side of the guard."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from hpo_core.clusters import guard
from hpo_core.exceptions import AllocationError

_ENDS_WITHIN_S = 5.0
_PIPES: set[int] = set()


def _close_pipes() -> None:
    """In a forked process: a guard watches its own driver alone."""
    for fd in _PIPES:
        os.close(fd)
    _PIPES.clear()


os.register_at_fork(after_in_child=_close_pipes)


class Guard:
    """A process that gives back what this one holds of a cluster, when this one is killed; used from any thread.

    Args:
        module: a file with a class `Left`, a kind of `hpo_core.clusters.Leftovers`. It is run by a Python that sees
            nothing but the standard library, and ``hpo_core.clusters.guard``.
        arguments: what `Left` is made with.
        environment: variables of the commands that it runs.

    Raises:
        AllocationError: it could not be started.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._words = (sys.executable, "-I", "-S", guard.__file__, module, *arguments)
        self._environment = {
            name: text for name, text in environment.items() if not name.startswith(("HPO_", "PYTHON"))
        }
        self._told: list[str] = []
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        read_end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                self._words,
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._pipe)
            raise AllocationError(f"the guard process cannot be started: {error.strerror}") from error
        finally:
            os.close(read_end)
        _PIPES.add(self._pipe)
        for line in self._told:
            self._write(line)

    def tell(self, line: str) -> None:
        """Say one line: a word, and a text behind it."""
        with self._lock:
            self._told.append(line)
            self._write(line)

    def revive(self) -> None:
        """Start it again where somebody has killed it, and tell it everything once more.

        Raises:
            AllocationError: it could not be started.
        """
        with self._lock:
            if self._process.poll() is not None:
                self._close_pipe()
                self._start()

    def close(self, *, done: bool) -> None:
        """Let it go: at once where all is given back, else it goes on alone until that is so."""
        with self._lock:
            if done:
                self._write("done")
            self._close_pipe()
        try:
            self._process.wait(_ENDS_WITHIN_S if done else 0.0)
        except subprocess.TimeoutExpired:
            self._process.returncode = 0  # it outlives this process, or hangs in a file system: nobody waits for it

    def _write(self, line: str) -> None:
        try:
            os.write(self._pipe, f"{line}\n".encode(errors="surrogateescape"))
        except OSError:
            pass  # somebody has killed it

    def _close_pipe(self) -> None:
        _PIPES.discard(self._pipe)
        os.close(self._pipe)
