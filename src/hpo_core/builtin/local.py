"""This machine: a workload manager that has it already, and a launcher that starts processes on it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable

from attrs import field, mutable

from hpo_core.allocation import AllocationRequest, Node
from hpo_core.events import Ended, EventLoop, Key, NodesJoined, Output, Started, Timer
from hpo_core.exceptions import LaunchError
from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import Capability, Launcher, WorkloadManager
from hpo_core.trial import Evaluation, Failure

_CHUNK = 64 * 1024
_CHUNKS_AT_ONCE = 16
_DRAIN_AT_MOST = 16 * 2**20
_DEFAULT_SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ]
"""What Python ignores and ordinary programs don't."""


class LocalManager(WorkloadManager):
    """One node, this machine, with as many slots as evaluations were asked for at the same time."""

    name = "local"
    default_launcher = "local"
    max_nodes = 1

    def acquire(self, request: AllocationRequest, events: EventLoop) -> None:
        self._node = Node(socket.gethostname(), slots=max(request.slots, 1))
        self.attach(events)

    def attach(self, events: EventLoop) -> None:
        events.post(NodesJoined((self._node,)))

    def release(self) -> None:
        """Nothing was taken."""


@mutable(eq=False)
class _Process:
    """An evaluation that runs: its process group and what is still open of it."""

    key: Key
    pid: int
    watched: dict[int, str] = field(factory=dict)
    """Open pipes: file descriptor to stream name."""
    pidfd: int = -1
    kill: Timer | None = None


class LocalLauncher(Launcher):
    """Starts each evaluation as a process in a session of its own and listens to its pipes.

    No thread per process and no polling on Linux; elsewhere one waiting thread per process. When an evaluation's
    own process ends, what it left running in its process group is killed.
    """

    name = "local"
    capabilities = frozenset({Capability.STREAMS, Capability.KILLS_TREES})

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        self._running: dict[Key, _Process] = {}
        self._environment = dict(os.environb)
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def launch(self, evaluation: Evaluation) -> None:
        environment = dict(self._environment)
        for name, text in evaluation.environment.items():
            environment[os.fsencode(name)] = os.fsencode(text)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            pid = self._spawn(evaluation, environment, out_write, err_write)
        except OSError as error:
            os.close(out_read)
            os.close(err_read)
            raise LaunchError(f"cannot start '{evaluation.command}': {_reason(error)}") from error
        finally:
            os.close(out_write)
            os.close(err_write)
        process = _Process(evaluation.key, pid)
        self._running[evaluation.key] = process
        for fd, stream in ((out_read, "stdout"), (err_read, "stderr")):
            os.set_blocking(fd, False)
            process.watched[fd] = stream
            self.events.watch(fd, self._reader(process, fd, stream))
        self._watch_exit(process)
        self.events.post(Started(evaluation.key, f"process {pid}"))

    def end(self, key: Key, grace_s: float) -> None:
        process = self._running.get(key)
        if process is None:
            return
        if process.kill is not None:
            process.kill.cancel()
        if grace_s > 0:
            _signal_group(process.pid, signal.SIGTERM)
            _signal_group(process.pid, signal.SIGCONT)
            process.kill = self.events.call_later(grace_s, lambda: _signal_group(process.pid, signal.SIGKILL))
        else:
            _signal_group(process.pid, signal.SIGKILL)

    def close(self) -> None:
        for process in self._running.values():
            _signal_group(process.pid, signal.SIGKILL)
        for process in list(self._running.values()):
            _reap(process.pid)
            self._forget(process)
        os.close(self._null)

    def _spawn(self, evaluation: Evaluation, environment: dict[bytes, bytes], out: int, err: int) -> int:
        if evaluation.argv is not None and evaluation.directory is None:
            try:
                return self._spawn_words(evaluation.argv, environment, out, err)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
        command = evaluation.command
        if evaluation.directory is not None:
            if not os.path.isdir(evaluation.directory):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), evaluation.directory)
            command = f'cd "$1" && shift || exit 126\n{command}'
        return self._spawn_words(("/bin/sh", "-c", command, "sh", evaluation.directory or ""), environment, out, err)

    def _spawn_words(self, words: tuple[str, ...], environment: dict[bytes, bytes], out: int, err: int) -> int:
        return os.posix_spawnp(
            words[0],
            words,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, self._null, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, err, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_SIGNALS,
        )

    def _reader(self, process: _Process, fd: int, stream: str) -> Callable[[], None]:
        key, events = process.key, self.events

        def read() -> None:
            if fd not in process.watched:
                return  # The process ended in the same round, and its pipes were read to the end.
            for _ in range(_CHUNKS_AT_ONCE):
                try:
                    data = os.read(fd, _CHUNK)
                except BlockingIOError:
                    return
                if not data:
                    self._unwatch(process, fd)
                    return
                events.post(Output(key, data, stream))
                if len(data) < _CHUNK:
                    return

        return read

    def _watch_exit(self, process: _Process) -> None:
        if hasattr(os, "pidfd_open"):
            try:
                process.pidfd = os.pidfd_open(process.pid)
            except OSError:
                process.pidfd = -1
        if process.pidfd >= 0:
            self.events.watch(process.pidfd, lambda: self._ended(process))
        else:
            self._wait_in_thread(process)

    def _wait_in_thread(self, process: _Process) -> None:
        """Without pidfd: a pipe of which a thread closes one end when the process is over."""
        read_end, write_end = os.pipe()

        def wait() -> None:
            try:
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            except ChildProcessError:
                pass
            os.close(write_end)

        process.pidfd = read_end
        self.events.watch(read_end, lambda: self._ended(process))
        threading.Thread(target=wait, name=f"hpo-wait-{process.pid}", daemon=True).start()

    def _ended(self, process: _Process) -> None:
        """The evaluation's own process is over: end what it left behind, read what it wrote, tell."""
        _signal_group(process.pid, signal.SIGKILL)
        status = _reap(process.pid)
        self._drain(process)
        self._forget(process)
        if status is None:
            ended = Ended(
                process.key,
                failure=Failure.EXIT_CODE,
                message="its exit status is unknown: something else in this program waits for child processes",
            )
        else:
            code = os.waitstatus_to_exitcode(status)
            ended = Ended(process.key, code) if code >= 0 else Ended(process.key, signal=-code)
        self.events.post(ended)

    def _drain(self, process: _Process) -> None:
        """Read what is left in the pipes, without waiting for those who may still hold them open."""
        left = _DRAIN_AT_MOST
        for fd, stream in process.watched.items():
            while left > 0:
                try:
                    data = os.read(fd, _CHUNK)
                except BlockingIOError:
                    break
                if not data:
                    break
                left -= len(data)
                self.events.post(Output(process.key, data, stream))

    def _unwatch(self, process: _Process, fd: int) -> None:
        self.events.unwatch(fd)
        os.close(fd)
        del process.watched[fd]

    def _forget(self, process: _Process) -> None:
        for fd in list(process.watched):
            self._unwatch(process, fd)
        self.events.unwatch(process.pidfd)
        os.close(process.pidfd)
        if process.kill is not None:
            process.kill.cancel()
        del self._running[process.key]


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # Nothing of it is left; on macOS a group of zombies answers EPERM.


def _reap(pid: int) -> int | None:
    """The wait status, or None when somebody else took it."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return None


def _reason(error: OSError) -> str:
    if error.errno == errno.E2BIG:
        return "the command line and the environment are too long for this system"
    return f"{error.strerror}" + (f": {error.filename}" if isinstance(error.filename, str) else "")


@hookimpl
def hpo_register_workload_manager() -> type[WorkloadManager]:
    return LocalManager


@hookimpl
def hpo_register_launcher() -> type[Launcher]:
    return LocalLauncher
