"""A launcher that runs each evaluation as one child process of the driver: the base of ``local`` and others."""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import signal
import sys
import threading
from collections.abc import Callable

from attrs import field, mutable

from hpo_core import _processes
from hpo_core.events import Ended, EventLoop, Key, Output, Started, Timer
from hpo_core.exceptions import ConfigurationError, LaunchError
from hpo_core.interfaces import Capability, Launcher
from hpo_core.trial import Evaluation, Failure

_CHUNK = 64 * 1024
_CHUNKS_AT_ONCE = 16
_DRAIN_AT_MOST = 16 * 2**20
_SAMPLE_S = 0.2
_DEFAULT_SIGNALS = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ", "SIGCHLD") if hasattr(signal, name)]
"""What Python or its surroundings ignore and ordinary programs don't; none of them is there on Windows."""

_OWN_VARIABLES = frozenset(
    b"HPO_" + name
    for name in (
        *(b"STUDY", b"STUDY_DIRECTORY", b"TRIAL", b"ATTEMPT", b"TAG", b"DIRECTORY", b"CHECKPOINT", b"NODELIST"),
        *(b"NUM_NODES", b"FIDELITY", b"EVALUATION", b"SESSION", b"CORES"),
    )
)
"""What describes one evaluation; a study that runs inside another's evaluation doesn't pass it on."""

_GUARD_PIPES: set[int] = set()


def _close_guard_pipes() -> None:
    """In a forked process: a guard watches its own driver alone."""
    for fd in _GUARD_PIPES:
        os.close(fd)
    _GUARD_PIPES.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_guard_pipes)


@mutable(eq=False)
class _Process:
    """An evaluation that runs: its process group and what is still open of it."""

    evaluation: Evaluation
    pid: int
    watched: dict[int, str] = field(factory=dict)
    """Open pipes: file descriptor to stream name."""
    exit_fd: int = -1
    kill: Timer | None = None
    ended_by_us: bool = False
    over_limit: int = 0
    """Bytes of memory, once they were over the limit."""

    @property
    def key(self) -> Key:
        return self.evaluation.key


class ProcessLauncher(Launcher):
    """Starts each evaluation as a child process in a session of its own and listens to its pipes.

    No thread per process and no polling on Linux; elsewhere one waiting thread per process. When an evaluation's
    own process ends, what it left running in its process group is killed. When the driver is killed, a guard
    process ends everything that it had started.

    Subclasses override `words` to put another program before the command.
    """

    capabilities = frozenset({Capability.STREAMS, Capability.KILLS_TREES, Capability.LIMITS_MEMORY})

    def words(self, evaluation: Evaluation) -> tuple[str, ...] | None:
        """The program and its arguments that run an evaluation; None: the command itself.

        Called before each launch, and for ``--dry-run``.
        """
        return None

    def environment(self, evaluation: Evaluation) -> dict[str, str]:
        """Variables for the child process, beyond the driver's own."""
        return dict(evaluation.environment)

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        self._running: dict[Key, _Process] = {}
        self._session = secrets.token_hex(8)
        self._owner = os.getpid()
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            raise ConfigurationError(
                "SIGCHLD is ignored in this process, so that no exit status can be had; "
                "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) first"
            )
        inherited = {name: text for name, text in os.environb.items() if name not in _OWN_VARIABLES}
        self._base_environment = {**inherited, b"HPO_SESSION": self._session.encode()}
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._guard: tuple[int, int] | None = None
        self._sampling = False

    def launch(self, evaluation: Evaluation) -> None:
        if self._guard is not None and os.waitpid(self._guard[0], os.WNOHANG)[0]:
            self._let_go_of_guard()  # somebody has killed it
        if self._guard is None:
            self._guard = self._start_guard()
        environment = dict(self._base_environment)
        for name, text in self.environment(evaluation).items():
            environment[os.fsencode(name)] = os.fsencode(text)
        environment[b"HPO_EVALUATION"] = evaluation.name.encode()
        pipes: list[int] = []
        try:
            pipes += os.pipe()
            pipes += os.pipe()
            pid = self._spawn(evaluation, environment, pipes[1], pipes[3])
        except OSError as error:
            for fd in pipes:
                os.close(fd)
            raise LaunchError(f"cannot start '{evaluation.command}': {_reason(error)}") from error
        os.close(pipes[1])
        os.close(pipes[3])
        process = _Process(evaluation, pid)
        self._running[evaluation.key] = process
        for fd, stream in ((pipes[0], "stdout"), (pipes[2], "stderr")):
            os.set_blocking(fd, False)
            process.watched[fd] = stream
            self.events.watch(fd, self._reader(process, fd, stream))
        self._watch_exit(process)
        if evaluation.memory_limit_bytes is not None and not self._sampling:
            self._sampling = True
            self.events.call_later(_SAMPLE_S, self._sample_memory)
        self.events.post(Started(evaluation.key, f"process {pid}"))

    def end(self, key: Key, grace_s: float) -> None:
        process = self._running.get(key)
        if process is None:
            return
        if process.kill is not None:
            process.kill.cancel()
        process.ended_by_us = True
        if grace_s > 0:
            _signal_group(process.pid, signal.SIGTERM)
            _signal_group(process.pid, signal.SIGCONT)
            process.kill = self.events.call_later(grace_s, lambda: _signal_group(process.pid, signal.SIGKILL))
        else:
            _signal_group(process.pid, signal.SIGKILL)

    def clean(self, study_id: str, grace_s: float) -> tuple[str, ...]:
        return tuple(f"process {pid}" for pid in _processes.sweep("HPO_STUDY", study_id, grace_s))

    def preview(self, evaluation: Evaluation) -> str:
        words = self.words(evaluation)
        return evaluation.command if words is None else shlex.join(words)

    def close(self) -> None:
        if self._null < 0 or os.getpid() != self._owner:
            return  # closed already, or a forked process that owns nothing of this
        for process in self._running.values():
            _signal_group(process.pid, signal.SIGKILL)
        for process in list(self._running.values()):
            _reap(process.pid)
            self._forget(process)
        os.close(self._null)
        self._null = -1
        if self._guard is not None:
            _processes.sweep("HPO_SESSION", self._session, 0.0)
            pid, pipe = self._guard
            try:
                os.write(pipe, b"done")
            except BrokenPipeError:
                pass  # somebody has killed it
            self._let_go_of_guard()
            _reap(pid)

    def _let_go_of_guard(self) -> None:
        if self._guard is not None:
            _GUARD_PIPES.discard(self._guard[1])
            os.close(self._guard[1])
            self._guard = None

    def _start_guard(self) -> tuple[int, int]:
        """Start the process that ends everything when this one is killed; its pipe is ours alone."""
        read_end, write_end = os.pipe()
        # Without the marks of a study that this one may run in: its end must not take the guard along.
        environment = {
            name: text
            for name, text in os.environb.items()
            if name not in _OWN_VARIABLES and not name.startswith(b"PYTHON")
        }
        words = [sys.executable, "-I", "-S", _processes.__file__, "HPO_SESSION", self._session, "1.0"]
        try:
            pid = os.posix_spawn(
                sys.executable,
                words,
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, read_end, 0), (os.POSIX_SPAWN_DUP2, self._null, 1)],
                setsid=True,
                setsigmask=[],
            )
        except OSError as error:
            os.close(write_end)
            raise LaunchError(f"cannot start the guard process: {_reason(error)}") from error
        finally:
            os.close(read_end)
        _GUARD_PIPES.add(write_end)
        return pid, write_end

    def _spawn(self, evaluation: Evaluation, environment: dict[bytes, bytes], out: int, err: int) -> int:
        words = self.words(evaluation)
        if words is not None:
            return self._spawn_words(words, environment, out, err)
        if evaluation.argv is not None and evaluation.directory is None:
            try:
                return self._spawn_words(evaluation.argv, environment, out, err)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
        command, directory = evaluation.command, evaluation.directory
        if directory is not None:
            if not os.path.isdir(directory):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)
            command = f'cd "$1" && shift || exit 126\n{command}'
        return self._spawn_words(("/bin/sh", "-c", command, "sh", directory or ""), environment, out, err)

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
                process.exit_fd = os.pidfd_open(process.pid)
            except OSError:
                process.exit_fd = -1
        if process.exit_fd >= 0:
            self.events.watch(process.exit_fd, lambda: self._ended(process))
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

        process.exit_fd = read_end
        self.events.watch(read_end, lambda: self._ended(process))
        threading.Thread(target=wait, name=f"hpo-wait-{process.pid}", daemon=True).start()

    def _ended(self, process: _Process) -> None:
        """The evaluation's own process is over: end what it left behind, read what it wrote, tell."""
        _signal_group(process.pid, signal.SIGKILL)
        if process.ended_by_us:
            _processes.sweep("HPO_EVALUATION", process.evaluation.name, 0.0)
        status = _reap(process.pid)
        self._drain(process)
        self._forget(process)
        self.events.post(self._verdict(process, status))

    def _verdict(self, process: _Process, status: int | None) -> Ended:
        if process.over_limit:
            limit = process.evaluation.memory_limit_bytes or 0
            text = f"it held {process.over_limit >> 20} MiB of memory, and memory_limit is {limit >> 20} MiB"
            return Ended(process.key, signal=signal.SIGKILL, failure=Failure.MEMORY_LIMIT, message=text)
        if status is None:
            text = "its exit status is unknown: something else in this program waits for child processes"
            return Ended(process.key, failure=Failure.EXIT_CODE, message=text)
        code = os.waitstatus_to_exitcode(status)
        return Ended(process.key, code) if code >= 0 else Ended(process.key, signal=-code)

    def _sample_memory(self) -> None:
        """Kill what holds too much memory; one sampler for all, only while something is limited."""
        limited = {p.pid: p for p in self._running.values() if p.evaluation.memory_limit_bytes is not None}
        self._sampling = bool(limited)
        if not limited:
            return
        for pid, held in _processes.tree_memory(limited).items():
            process = limited[pid]
            if not process.over_limit and held > (process.evaluation.memory_limit_bytes or 0):
                process.over_limit = held
                self.end(process.key, 0.0)
        self.events.call_later(_SAMPLE_S, self._sample_memory)

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
        self.events.unwatch(process.exit_fd)
        os.close(process.exit_fd)
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
