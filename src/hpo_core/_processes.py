"""Processes of this machine: found by a variable of their environment, ended, measured. Linux only (/proc).

Imports little and nothing of hpo-core: as a program, ``python _processes.py VARIABLE VALUE GRACE_S``, this file is
the guard that outlives a driver. It waits for the end of its standard input, and if that comes without a word,
the driver was killed: the guard then ends everything that has the variable.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

_POLL_S = 0.01
_KILL_WAIT_S = 5.0
_BEING_BORN_S = 0.2
"""A process shows no environment for a moment while it starts."""

_ROUNDS = 5
"""Times that processes are looked for again, because those found may have started others meanwhile."""

_PARENT, _SESSION, _STARTED, _PAGES = 1, 3, 19, 21
"""Fields of /proc/PID/stat, counted from the one behind the command's name."""


def can_find() -> bool:
    """Whether this system shows the environment of processes."""
    return os.path.exists("/proc/self/environ")


def find(variable: str, value: str, *, spared: str = "") -> list[int]:
    """Ids of this user's living processes that were started with ``variable=value``.

    This process and its ancestors are not among them.

    Args:
        variable: name of an environment variable.
        value: its whole value.
        spared: those are not meant that were also started with a variable that begins so, such as ``NAME=va``.

    Returns:
        process ids, in order; none where `can_find` says no.
    """
    if not can_find():
        return []
    entry, own, prefix = os.fsencode(f"{variable}={value}"), _ancestors(), os.fsencode(spared)

    def is_meant(environment: list[bytes]) -> bool:
        return entry in environment and not (prefix and any(one.startswith(prefix) for one in environment))

    return [pid for pid in _all() if is_meant(_environment(pid)) and pid not in own and started(pid)]


def sweep(
    variable: str,
    value: str,
    grace_s: float,
    *,
    spared: str = "",
    before: Callable[[list[int]], None] | None = None,
) -> list[int]:
    """End all processes that `find` finds, each with its group, and wait until they are gone.

    Args:
        variable: name of an environment variable.
        value: its whole value.
        grace_s: seconds between TERM and KILL; 0: KILL at once.
        spared: as for `find`.
        before: is told what was found, before anything is signalled.

    Returns:
        ids of those that are gone now; what is left hangs in the kernel or may not be signalled.
    """
    ended: set[int] = set()
    for _ in range(_ROUNDS):
        found = [pid for pid in find(variable, value, spared=spared) if pid not in ended]
        if not found:
            break
        if before is not None:
            before(found)
        ended.update(end(found, grace_s))
    return sorted(ended)


def end(pids: Iterable[int], grace_s: float) -> list[int]:
    """End processes with their groups: TERM, and KILL for what is there after the grace; wait until they are gone.

    A process id that another process takes over meanwhile is left alone, as is this process's own group.

    Args:
        pids: process ids.
        grace_s: seconds between TERM and KILL; 0: KILL at once.

    Returns:
        ids of those that are gone now.
    """
    wanted = set(pids)
    alive = {pid: since for pid in wanted if (since := started(pid))}
    if grace_s > 0:
        _signal_groups(alive, signal.SIGTERM)
        _signal_groups(alive, signal.SIGCONT)
        alive = _wait(alive, grace_s)
    if alive:
        _signal_groups(alive, signal.SIGKILL)
        alive = _wait(alive, _KILL_WAIT_S)
    return sorted(wanted - set(alive))


def ask_to_end(pids: Iterable[int]) -> None:
    """Signal TERM to processes with their groups, and wait for nothing."""
    alive = {pid: since for pid in pids if (since := started(pid))}
    _signal_groups(alive, signal.SIGTERM)
    _signal_groups(alive, signal.SIGCONT)


def tree_memory(roots: Iterable[int]) -> dict[int, int]:
    """Resident memory of process trees in bytes, by the id of their roots; pages that are shared count for each.

    A tree is a root with its descendants, and what is left in its session when it is a session's leader.
    """
    memory = dict.fromkeys(roots, 0)
    stats = {pid: fields for pid in _all() if (fields := _stat(pid))}
    page = os.sysconf("SC_PAGE_SIZE")
    home: dict[int, int | None] = {root: root for root in memory}

    def root_of(pid: int) -> int | None:
        trail = []
        while pid not in home:
            fields = stats.get(pid)
            if fields is None:
                home[pid] = None
                break
            trail.append(pid)
            session = int(fields[_SESSION])
            pid = session if session in memory else int(fields[_PARENT])
        for passed in trail:
            home[passed] = home[pid]
        return home[pid]

    for pid, fields in stats.items():
        root = root_of(pid)
        if root is not None:
            memory[root] += int(fields[_PAGES]) * page
    return memory


def _signal_groups(alive: dict[int, str], number: int) -> None:
    """Signal the groups of processes that are still the same ones; never this process's own group."""
    groups = set()
    for pid, since in alive.items():
        try:
            if started(pid) == since:
                groups.add(os.getpgid(pid))
        except OSError:
            continue  # It is gone.
    for group in groups - {os.getpgrp(), 0, 1}:
        try:
            os.killpg(group, number)
        except OSError:
            pass  # Gone, or not ours.


def _wait(alive: dict[int, str], limit_s: float) -> dict[int, str]:
    """Those that are still there when all are gone or the time is over."""
    deadline = time.monotonic() + limit_s
    while True:
        alive = {pid: since for pid, since in alive.items() if started(pid) == since}
        if not alive or time.monotonic() >= deadline:
            return alive
        time.sleep(_POLL_S)


def _ancestors() -> set[int]:
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        fields = _stat(pid)
        pid = int(fields[_PARENT]) if fields else 0
    return found


def _all() -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    except OSError:
        return []


def _environment(pid: int) -> list[bytes]:
    return _read(pid, "environ").split(b"\0")


def started(pid: int) -> str:
    """When a process started, as text that no later process of that id has; empty when it is gone or a zombie."""
    fields = _stat(pid)
    return fields[_STARTED] if fields and fields[0] not in "ZX" else ""


def _stat(pid: int) -> list[str]:
    return _read(pid, "stat").rpartition(b")")[2].decode("ascii", "replace").split()


def _read(pid: int, name: str) -> bytes:
    """A file of a process; empty when it is gone, or another user's."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def guard(variable: str, value: str, grace_s: float) -> None:
    """Wait for the end of standard input; without a word before it, end everything that has the variable."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not os.read(0, 64):
        sweep(variable, value, grace_s)
        time.sleep(_BEING_BORN_S)
        sweep(variable, value, 0.0)


if __name__ == "__main__":
    guard(sys.argv[1], sys.argv[2], float(sys.argv[3]))
