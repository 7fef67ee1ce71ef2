"""Commands as child processes: what a driver does on its own machine, and a worker on its node.

Needs nothing but the standard library of Python 3.8, since workers start with nothing else.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from hpo_core import _processes

if TYPE_CHECKING:
    from typing import Any, Protocol

    class Timer(Protocol):
        """What `Loop.call_later` gives."""

        def cancel(self) -> None:
            """Never run the callback; harmless after it ran."""

    class Loop(Protocol):
        """The little that is needed of an event loop; all of it on the loop's thread."""

        def watch(self, fd: int, callback: Callable[[], None]) -> None:
            """Call `callback` whenever `fd` can be read, until `unwatch`."""

        def unwatch(self, fd: int) -> None:
            """Stop watching `fd`; comes before it is closed."""

        def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
            """Call `callback` in `delay_s` seconds."""


_CHUNK = 64 * 1024
_CHUNKS_AT_ONCE = 16
_DRAIN_AT_MOST = 16 * 2**20
_SAMPLE_S = 0.2
_SWEEP_LOOKS_S = 0.1
_LISTEN_AFTER_S = 0.02
"""A job that is over sooner is read once, at its end; what others write is heard from then on, as it comes."""

_DEFAULT_SIGNALS = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ", "SIGCHLD") if hasattr(signal, name)]
"""What Python or its surroundings ignore and ordinary programs don't; none of them is there on Windows."""

_OWN_VARIABLES = frozenset(
    b"HPO_" + name
    for name in (
        *(b"STUDY", b"STUDY_DIRECTORY", b"TRIAL", b"ATTEMPT", b"TAG", b"DIRECTORY", b"CHECKPOINT", b"NODELIST"),
        *(b"NUM_NODES", b"FIDELITY", b"EVALUATION", b"SESSION", b"CORES", b"HOSTFILE", b"NODE", b"PILOT"),
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


def inherited() -> dict[bytes, bytes]:
    """This process's environment, without what describes an evaluation that it may be part of."""
    return {name: text for name, text in os.environb.items() if name not in _OWN_VARIABLES}


class Job(NamedTuple):
    """What is to be run.

    Attributes:
        key: what the caller calls it.
        name: marks all its processes, as ``HPO_EVALUATION``.
        command: for ``/bin/sh``.
        argv: the same as words, where no shell is needed to understand it.
        words: a program and its arguments that run instead, wherever the caller is.
        directory: where it runs; None: where the caller is.
        environment: variables beside those of all jobs. ``HPO_CORES``, numbers with commas, pins it to those cores.
        memory_limit_bytes: most memory of all its processes together, or None.
    """

    key: Any
    name: str
    command: str
    argv: Sequence[str] | None = None
    words: Sequence[str] | None = None
    directory: str | None = None
    environment: dict[str, str] = {}  # noqa: RUF012 - never changed
    memory_limit_bytes: int | None = None


class Exit(NamedTuple):
    """How a job ended.

    Attributes:
        exit_code: of the program; None when a signal ended it.
        signal: the signal's number, or None.
        failure: ``memory limit``, or ``exit code`` where it is unknown; else empty.
        message: one sentence on the failure.
        cpu_s: processor time of the program and the children that it waited for, in seconds.
        memory_bytes: the most resident memory that one of them had, where that is known: a child begins with its
            parent's, so what is below that is not.
    """

    exit_code: int | None = None
    signal: int | None = None
    failure: str = ""
    message: str = ""
    cpu_s: float | None = None
    memory_bytes: int | None = None


class _Process:
    """A job that runs: its process group and what is still open of it."""

    __slots__ = ("ended_by_us", "exit_fd", "heard", "job", "kill", "over_limit", "pid", "pipes")

    def __init__(self, job: Job, pid: int, pipes: dict[int, str]) -> None:
        self.job = job
        self.pid = pid
        self.pipes = pipes
        """Those that are open: file descriptor to stream name."""
        self.heard = False
        """Whether its pipes are watched, but for while all are paused."""
        self.exit_fd = -1
        self.kill: Timer | None = None
        self.ended_by_us = False
        self.over_limit = 0
        """Bytes of memory, once they were over the limit."""


class Engine:
    """Starts each job as a child process in a session of its own and listens to its pipes.

    No thread per process and no polling on Linux; elsewhere one waiting thread per process. When a job's own process
    ends, what it left running in its process group is killed. When this process is killed, a guard process ends
    everything that it had started.

    Args:
        loop: where pipes and times are watched.
        environment: variables of all jobs.
        guard: the program that outlives this process; variable, value and grace time are appended to its words.
        output: hears ``key, data, stream`` of what jobs write.
        ended: hears ``key, exit`` once for each job, when nothing of its process group is left.
    """

    def __init__(
        self,
        loop: Loop,
        *,
        environment: dict[bytes, bytes],
        guard: Sequence[str],
        output: Callable[[Any, bytes, str], None],
        ended: Callable[[Any, Exit], None],
    ) -> None:
        self.session = os.urandom(8).hex()
        self._loop = loop
        self._output = output
        self._tell_ended = ended
        self._guard_words = tuple(guard)
        self._environment = {**environment, b"HPO_SESSION": self.session.encode()}
        self._running: dict[Any, _Process] = {}
        self._owner = os.getpid()
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._guard: tuple[int, int] | None = None
        self._sampling = False
        self._paused = False
        self._young: list[_Process] = []
        """Those that are not heard yet."""

    def start(self, job: Job) -> int:
        """Start a job.

        Returns:
            its process id; `output` and one `ended` follow.

        Raises:
            OSError: it could not be started, and nothing follows.
        """
        if self._guard is not None and os.waitpid(self._guard[0], os.WNOHANG)[0]:
            self._let_go_of_guard()  # somebody has killed it
        if self._guard is None:
            self._guard = self._start_guard()
        environment: dict[bytes, bytes | str] = {**self._environment, b"HPO_EVALUATION": job.name}
        environment.update(zip(_encoded(tuple(job.environment)), job.environment.values()))  # noqa: B905 - Python 3.8
        pipes: list[int] = []
        try:
            pipes += os.pipe()
            pipes += os.pipe()
            pid = self._spawn(job, environment, pipes[1], pipes[3])
        except OSError:
            for fd in pipes:
                os.close(fd)
            raise
        out, to_out, err, to_err = pipes
        os.close(to_out)
        os.close(to_err)
        os.set_blocking(out, False)
        os.set_blocking(err, False)
        process = self._running[job.key] = _Process(job, pid, {out: "stdout", err: "stderr"})
        self._watch_exit(process)
        if not self._young:
            self._loop.call_later(_LISTEN_AFTER_S, self._listen)
        self._young.append(process)
        if job.memory_limit_bytes is not None and not self._sampling:
            self._sampling = True
            self._loop.call_later(_SAMPLE_S, self._sample_memory)
        return pid

    def end(self, key: Any, grace_s: float) -> None:
        """End a job: TERM to its group, KILL after the grace, then everything that has its mark."""
        process = self._running.get(key)
        if process is None:
            return
        if process.kill is not None:
            process.kill.cancel()
        process.ended_by_us = True
        if grace_s > 0:
            _signal_group(process.pid, signal.SIGTERM)
            _signal_group(process.pid, signal.SIGCONT)
            process.kill = self._loop.call_later(grace_s, lambda: _signal_group(process.pid, signal.SIGKILL))
        else:
            _signal_group(process.pid, signal.SIGKILL)

    def sweep(self, name: str, grace_s: float, done: Callable[[], None]) -> None:
        """End whatever runs on this machine with a job's mark, whoever started it, and then call `done`."""
        found = _processes.find("HPO_EVALUATION", name)
        if not found:
            done()
        elif grace_s <= 0:
            _processes.sweep("HPO_EVALUATION", name, 0.0)
            done()
        else:
            _processes.ask_to_end(found)
            self._loop.call_later(_SWEEP_LOOKS_S, lambda: self._look_again(name, grace_s, done))

    def _look_again(self, name: str, left_s: float, done: Callable[[], None]) -> None:
        left_s -= _SWEEP_LOOKS_S
        if left_s <= 0 or not _processes.find("HPO_EVALUATION", name):
            self.sweep(name, 0.0, done)
        else:
            self._loop.call_later(_SWEEP_LOOKS_S, lambda: self._look_again(name, left_s, done))

    def pause(self) -> None:
        """Read no output for now: programs wait once their pipes are full. How they end is still heard."""
        if not self._paused:
            self._paused = True
            for process in self._running.values():
                if process.heard:
                    for fd in process.pipes:
                        self._loop.unwatch(fd)

    def resume(self) -> None:
        """Read output again."""
        if self._paused:
            self._paused = False
            for process in self._running.values():
                if process.heard:
                    self._watch_pipes(process)

    def _listen(self) -> None:
        """Hear from now on what those write that still run."""
        young, self._young = self._young, []
        for process in young:
            if self._running.get(process.job.key) is process:
                process.heard = True
                if not self._paused:
                    self._watch_pipes(process)

    def _watch_pipes(self, process: _Process) -> None:
        for fd, stream in process.pipes.items():
            self._loop.watch(fd, self._reader(process, fd, stream))

    def close(self) -> None:
        """Kill whatever still runs and give everything back; nothing is heard any more."""
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
            _processes.sweep("HPO_SESSION", self.session, 0.0)
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
        environment = {name: text for name, text in inherited().items() if not name.startswith(b"PYTHON")}
        words = [*self._guard_words, "HPO_SESSION", self.session, "1.0"]
        try:
            pid = os.posix_spawn(
                words[0],
                words,
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, read_end, 0), (os.POSIX_SPAWN_DUP2, self._null, 1)],
                setsid=True,
                setsigmask=[],
            )
        except OSError as error:
            os.close(write_end)
            raise OSError(error.errno, f"cannot start the guard process: {error.strerror}", words[0]) from error
        finally:
            os.close(read_end)
        _GUARD_PIPES.add(write_end)
        return pid, write_end

    def _spawn(self, job: Job, environment: dict[bytes, bytes | str], out: int, err: int) -> int:
        if job.words is not None:
            return self._spawn_words(job.words, environment, out, err)
        if job.argv is not None and job.directory is None:
            try:
                return self._spawn_words(job.argv, environment, out, err)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
        command, directory = job.command, job.directory
        if directory is not None:
            if not os.path.isdir(directory):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)
            command = f'cd "$1" && shift || exit 126\n{command}'
        return self._spawn_words(("/bin/sh", "-c", command, "sh", directory or ""), environment, out, err)

    def _spawn_words(self, words: Sequence[str], environment: dict[bytes, bytes | str], out: int, err: int) -> int:
        cores = environment.get(b"HPO_CORES")
        if not cores:
            return self._spawn_here(words, environment, out, err)
        ours = os.sched_getaffinity(0)
        os.sched_setaffinity(0, map(int, os.fsdecode(cores).split(",")))  # of this thread; the child inherits it
        try:
            return self._spawn_here(words, environment, out, err)
        finally:
            os.sched_setaffinity(0, ours)

    def _spawn_here(self, words: Sequence[str], environment: dict[bytes, bytes | str], out: int, err: int) -> int:
        return os.posix_spawnp(
            words[0],
            tuple(words),
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
        key, output = process.job.key, self._output

        def read() -> None:
            if fd not in process.pipes or self._paused:
                return  # It ended, or all were paused, in the same round.
            for _ in range(_CHUNKS_AT_ONCE):
                try:
                    data = os.read(fd, _CHUNK)
                except BlockingIOError:
                    return
                if not data:
                    self._close_pipe(process, fd)
                    return
                output(key, data, stream)
                if len(data) < _CHUNK or self._paused:
                    return

        return read

    def _watch_exit(self, process: _Process) -> None:
        if hasattr(os, "pidfd_open"):
            try:
                process.exit_fd = os.pidfd_open(process.pid)
            except OSError:
                process.exit_fd = -1
        if process.exit_fd >= 0:
            self._loop.watch(process.exit_fd, lambda: self._ended(process))
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
        self._loop.watch(read_end, lambda: self._ended(process))
        threading.Thread(target=wait, name=f"hpo-wait-{process.pid}", daemon=True).start()

    def _ended(self, process: _Process) -> None:
        """The job's own process is over: end what it left behind, read what it wrote, tell."""
        _signal_group(process.pid, signal.SIGKILL)
        if process.ended_by_us:
            _processes.sweep("HPO_EVALUATION", process.job.name, 0.0)
        how = _how_it_ended(process)
        self._drain(process)
        self._forget(process)
        self._tell_ended(process.job.key, how)

    def _sample_memory(self) -> None:
        """Kill what holds too much memory; one sampler for all, only while something is limited that is not young."""
        limited = [process for process in self._running.values() if process.job.memory_limit_bytes is not None]
        self._sampling = bool(limited)
        if not limited:
            return
        roots = {process.pid: process for process in limited if process.heard}
        for pid, held in _processes.tree_memory(roots).items() if roots else ():
            process = roots[pid]
            if not process.over_limit and held > (process.job.memory_limit_bytes or 0):
                process.over_limit = held
                self.end(process.job.key, 0.0)
        self._loop.call_later(_SAMPLE_S, self._sample_memory)

    def _drain(self, process: _Process) -> None:
        """Read what is left in the pipes, without waiting for those who may still hold them open."""
        left = _DRAIN_AT_MOST
        for fd, stream in process.pipes.items():
            while left > 0:
                try:
                    data = os.read(fd, _CHUNK)
                except BlockingIOError:
                    break
                if not data:
                    break
                self._output(process.job.key, data, stream)
                if len(data) < _CHUNK:
                    break
                left -= _CHUNK

    def _close_pipe(self, process: _Process, fd: int) -> None:
        if process.heard and not self._paused:
            self._loop.unwatch(fd)
        os.close(fd)
        del process.pipes[fd]

    def _forget(self, process: _Process) -> None:
        for fd in tuple(process.pipes):
            self._close_pipe(process, fd)
        self._loop.unwatch(process.exit_fd)
        os.close(process.exit_fd)
        if process.kill is not None:
            process.kill.cancel()
        del self._running[process.job.key]


@lru_cache(maxsize=64)
def _encoded(names: tuple[str, ...]) -> tuple[bytes, ...]:
    """Names of variables as they are told from those that are inherited; most jobs have the same ones."""
    return tuple(map(os.fsencode, names))


def reason(error: OSError) -> str:
    """Why something could not be started, for people."""
    if error.errno == errno.E2BIG:
        return "the command line and the environment are too long for this system"
    if error.errno == errno.ENOENT and isinstance(error.filename, str) and os.path.isfile(error.filename):
        return f"{error.filename} is there, but not the interpreter that its first line names"
    return f"{error.strerror}" + (f": {error.filename}" if isinstance(error.filename, str) else "")


def _how_it_ended(process: _Process) -> Exit:
    try:
        _, status, used = os.wait4(process.pid, 0)
    except ChildProcessError:
        text = "its exit status is unknown: something else in this program waits for child processes"
        return Exit(failure="exit code", message=text)
    cpu_s = used.ru_utime + used.ru_stime
    memory = _beyond_our_own(used.ru_maxrss * _MAXRSS_UNIT)
    if process.over_limit:
        limit = process.job.memory_limit_bytes or 0
        text = f"it held {process.over_limit >> 20} MiB of memory, and memory_limit is {limit >> 20} MiB"
        return Exit(None, signal.SIGKILL, "memory limit", text, cpu_s, memory)
    if os.WIFSIGNALED(status):
        return Exit(None, os.WTERMSIG(status), "", "", cpu_s, memory)
    return Exit(os.WEXITSTATUS(status), None, "", "", cpu_s, memory)


_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


_own_peak = 0


def _beyond_our_own(peak: int) -> int | None:
    """A child's peak memory; None where it may be that of this process, with which the child began."""
    global _own_peak
    if peak > _own_peak:
        _own_peak = _peak_of_this_process()
    return peak if peak > _own_peak else None


def _peak_of_this_process() -> int:
    try:
        with open("/proc/self/status", "rb") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # Nothing of it is left; on macOS a group of zombies answers EPERM.


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # somebody else took it
