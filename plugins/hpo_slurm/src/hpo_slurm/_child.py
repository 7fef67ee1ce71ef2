"""A child process that is listened to on an event loop."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

from hpo_core.events import EventLoop

_CHUNK = 64 * 1024
_CHUNKS_AT_ONCE = 16
_DRAIN_AT_MOST = 16 * 2**20


class Child:
    """A process in a session of its own. Nothing here waits; all calls come from the loop's thread.

    Args:
        events: the loop.
        words: gives the program and its arguments; is told a file, ``/dev/fd/N``, that leads to ``errors``.
        environment: all of its variables.
        heard: is told of each piece of output: ``stdout``, ``errors`` (what was written to that file) or ``messages``
            (its own stderr).
        ended: is told its exit code, or the negative number of the signal that ended it, after all output.

    Raises:
        OSError: it could not be started.
    """

    def __init__(
        self,
        events: EventLoop,
        words: Callable[[str], Sequence[str]],
        environment: Mapping[str, str] | Mapping[bytes, bytes],
        heard: Callable[[str, bytes], None],
        ended: Callable[[int], None],
    ) -> None:
        self._events, self._heard, self._ended = events, heard, ended
        self._pipes: dict[int, str] = {}
        self._exit_fd = -1
        ends: list[int] = []
        try:
            for _ in range(3):
                ends += os.pipe()
            out, errors, messages = ends[1], ends[3], ends[5]
            self._process = subprocess.Popen(
                words(f"/dev/fd/{errors}"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=messages,
                pass_fds=(errors,),
                env=environment,
                start_new_session=True,
            )
        except OSError:
            for fd in ends:
                os.close(fd)
            raise
        for fd in (out, errors, messages):
            os.close(fd)
        for fd, stream in zip((ends[0], ends[2], ends[4]), ("stdout", "errors", "messages"), strict=True):
            os.set_blocking(fd, False)
            self._pipes[fd] = stream
            events.watch(fd, self._reader(fd))
        try:
            self._exit_fd = os.pidfd_open(self.pid)
        except OSError:
            return  # an old kernel: the end of its messages is its own end
        events.watch(self._exit_fd, self._exited)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def signal(self, number: int) -> None:
        """Signal the process alone; harmless when it is over."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill its whole process group."""
        if self._process.returncode is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end.

        Returns:
            whether it is over.
        """
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def forget(self) -> None:
        """Listen no more; nothing is told from now on, not even its end."""
        for fd in [*self._pipes, *((self._exit_fd,) if self._exit_fd >= 0 else ())]:
            self._drop(fd)
        self._pipes.clear()
        self._exit_fd = -1

    def _drop(self, fd: int) -> None:
        try:
            self._events.unwatch(fd)
        except (KeyError, ValueError, RuntimeError):
            pass  # the loop was closed before
        os.close(fd)

    def _reader(self, fd: int) -> Callable[[], None]:
        def read() -> None:
            stream = self._pipes.get(fd)
            for _ in range(_CHUNKS_AT_ONCE):
                if stream is None:
                    return  # it ended in this same round
                try:
                    data = os.read(fd, _CHUNK)
                except BlockingIOError:
                    return
                if not data:
                    del self._pipes[fd]
                    self._drop(fd)
                    if stream == "messages" and self._exit_fd < 0:
                        self._exited()
                    return
                self._heard(stream, data)

        return read

    def _exited(self) -> None:
        code = self._process.wait()
        left = _DRAIN_AT_MOST
        for fd, stream in self._pipes.items():
            while left > 0:
                try:
                    data = os.read(fd, _CHUNK)
                except BlockingIOError:
                    break
                if not data:
                    break
                left -= len(data)
                self._heard(stream, data)
        self.forget()
        self._ended(code)
