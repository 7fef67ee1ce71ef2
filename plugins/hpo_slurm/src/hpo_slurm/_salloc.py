"""A request for nodes: one salloc, and what it says."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from hpo_core import AllocationError
from hpo_core.clusters import Clerk
from hpo_slurm import _commands as cmd


class Salloc:
    """A salloc that runs until its request is granted or refused.

    Args:
        words: the command.
        environment: its variables.
        named: is told the job's number as soon as it is known.

    Attributes:
        words: the command.
        refused: what Slurm has against the request; empty: nothing.

    Raises:
        AllocationError: it could not be started.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], named: Callable[[int], None]) -> None:
        self.words, self.refused = words, ""
        self._named, self._heard, self._has_name = named, "", False
        self._clerk: Clerk | None = None
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise AllocationError(f"salloc cannot be started ({error.strerror}): is Slurm on this machine?") from error
        self._fd = -1 if self._process.stderr is None else self._process.stderr.fileno()

    @property
    def pid(self) -> int:
        """Its process id; 0 once it is over."""
        return 0 if self._fd < 0 else self._process.pid

    def first_words(self, limit_s: float) -> None:
        """Wait until it says a number, or refuses the request; not longer than that."""
        until = time.monotonic() + limit_s
        while self.pid and not self._has_name and time.monotonic() < until:
            if select.select([self._fd], [], [], max(0.0, until - time.monotonic()))[0]:
                self._hear()

    def watch(self, clerk: Clerk, spoke: Callable[[], None]) -> None:
        """Hear it in the clerk's thread, and tell when there is news."""

        def hear() -> None:
            self._hear()
            spoke()

        if self.pid:
            self._clerk = clerk
            clerk.watch(self._fd, hear)

    def _hear(self) -> None:
        """Take what it says; at its end, see whether it was a grant or a refusal."""
        data = os.read(self._fd, 4096)
        self._heard += data.decode(errors="replace")
        found = cmd.GRANTED.search(self._heard) or cmd.QUEUED.search(self._heard)
        if found and not self._has_name:
            self._has_name = True
            self._named(int(found.group(1)))
        if data:
            return
        self._hang_up()
        code = self._process.wait()
        if code and not cmd.GRANTED.search(self._heard):
            self.refused = cmd.complaint(self._heard) or f"salloc ended with code {code}"

    def _hang_up(self) -> None:
        if self._clerk is not None:
            self._clerk.unwatch(self._fd)
        self._fd = -1
        if self._process.stderr is not None:
            self._process.stderr.close()

    def terminate(self) -> None:
        """Tell it to end; what is over already does no harm."""
        self._process.terminate()

    def close(self) -> None:
        """Wait for its end, after `terminate`; once the clerk is closed, or on its thread."""
        if self.pid:
            self._hang_up()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
