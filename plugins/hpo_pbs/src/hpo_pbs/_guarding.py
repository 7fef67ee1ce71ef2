"""The driver's side of the guard (see `hpo_pbs._guard`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from hpo_core import AllocationError
from hpo_pbs import _guard

_ENDS_WITHIN_S = 5.0
_PIPES: set[int] = set()


def _close_pipes() -> None:
    """In a forked process: a guard watches its own driver alone."""
    for fd in _PIPES:
        os.close(fd)
    _PIPES.clear()


os.register_at_fork(after_in_child=_close_pipes)


class Guard:
    """A process that gives back what this one holds of PBS, when this one is killed.

    Args:
        words: its arguments.
        environment: variables of the commands that it runs.

    Raises:
        AllocationError: it could not be started.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        self._words = tuple(words)
        self._environment = {
            name: text for name, text in environment.items() if not name.startswith(("HPO_", "PYTHON"))
        }
        self._told: list[str] = []
        self._start()

    def _start(self) -> None:
        read_end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _guard.__file__, *self._words],
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
        """Say one line."""
        self._told.append(line)
        self._write(line)

    def revive(self) -> None:
        """Start it again where somebody has killed it: without its heartbeat, the job would end."""
        if self._process.poll() is not None:
            self._close_pipe()
            self._start()

    def close(self, *, done: bool) -> None:
        """Let it go: at once where all is given back, else it goes on alone until that is so."""
        if done:
            self._write("done")
        self._close_pipe()
        if done:
            self._process.wait(_ENDS_WITHIN_S)
        else:
            self._process.returncode = 0  # it outlives this process: nobody waits for it

    def _write(self, line: str) -> None:
        try:
            os.write(self._pipe, f"{line}\n".encode(errors="surrogateescape"))
        except OSError:
            pass  # it was killed, and is revived before long

    def _close_pipe(self) -> None:
        _PIPES.discard(self._pipe)
        os.close(self._pipe)
