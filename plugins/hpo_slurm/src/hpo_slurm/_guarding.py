"""The driver's side of the guard (see `hpo_slurm._guard`)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from hpo_core import AllocationError
from hpo_slurm import _guard
from hpo_slurm._client import environment

_ENDS_WITHIN_S = 5.0
_PIPES: set[int] = set()


def _close_pipes() -> None:
    """In a forked process: a guard watches its own driver alone."""
    for fd in _PIPES:
        os.close(fd)
    _PIPES.clear()


os.register_at_fork(after_in_child=_close_pipes)


class Guard:
    """A process that gives back what this one holds of Slurm, when this one is killed.

    Args:
        mark: the comment by which its requests are found.

    Raises:
        AllocationError: it could not be started.
    """

    def __init__(self, mark: str) -> None:
        variables = {name: text for name, text in environment().items() if not name.startswith(("HPO_", "PYTHON"))}
        read_end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _guard.__file__, mark],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=variables,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._pipe)
            raise AllocationError(f"the guard process cannot be started: {error.strerror}") from error
        finally:
            os.close(read_end)
        self._lock = threading.Lock()
        _PIPES.add(self._pipe)

    def tell(self, line: str) -> None:
        """Say one line; harmless where somebody has killed the guard."""
        with self._lock:
            try:
                os.write(self._pipe, f"{line}\n".encode())
            except OSError:
                pass

    def close(self, *, done: bool) -> None:
        """Let it go: at once where all is given back, else it goes on alone until that is so."""
        if done:
            self.tell("done")
        with self._lock:
            _PIPES.discard(self._pipe)
            os.close(self._pipe)
        if done:
            self._process.wait(_ENDS_WITHIN_S)
        else:
            self._process.returncode = 0  # it outlives this process: nobody waits for it
