"""Processes of this machine, found by their environment and ended with all of their group. Linux only (/proc)."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_POLL_S = 0.02
_KILL_WAIT_S = 5.0


def can_find() -> bool:
    """Whether this system shows the environment of processes."""
    return sys.platform == "linux" and (_PROC / "self/environ").exists()


def find(variable: str, value: str) -> list[int]:
    """Ids of all living processes of this user that were started with ``variable=value``.

    This process and its group are not among them. A process that replaced its environment's memory is not found.

    Args:
        variable: name of an environment variable.
        value: its whole value.

    Returns:
        process ids, in order; empty where `can_find` says no.
    """
    if not can_find():
        return []
    entry = os.fsencode(f"{variable}={value}")
    found = []
    for name in sorted(filter(str.isdigit, os.listdir(_PROC)), key=int):
        try:
            environment = (_PROC / name / "environ").read_bytes()
            # Most processes are passed over here; only what is left costs another look.
            if entry in environment.split(b"\0") and _started(int(name)) and os.getpgid(int(name)) != os.getpgrp():
                found.append(int(name))
        except OSError:
            continue  # Another user's, or gone meanwhile.
    return found


def end(pids: Iterable[int], grace_s: float) -> list[int]:
    """End processes with their groups: TERM, and KILL for what is there after the grace.

    A process id that another process has taken over meanwhile is left alone, as is this process's own group.

    Args:
        pids: process ids.
        grace_s: seconds between TERM and KILL.

    Returns:
        ids of those that are gone now; the others may not be signalled, or hang in the kernel.
    """
    alive = {pid: started for pid in pids if (started := _started(pid))}
    wanted = set(alive)
    _signal_groups(alive, signal.SIGTERM)
    _signal_groups(alive, signal.SIGCONT)
    alive = _wait(alive, grace_s)
    if alive:
        _signal_groups(alive, signal.SIGKILL)
        alive = _wait(alive, _KILL_WAIT_S)
    return sorted(wanted - set(alive))


def describe(pid: int) -> str:
    """The command line of a process, shortened, for people; empty when it is gone."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    text = " ".join(word.decode(errors="replace") for word in words if word)
    return text if len(text) <= 80 else text[:77] + "..."


def _signal_groups(alive: dict[int, str], number: int) -> None:
    groups = set()
    for pid, started in alive.items():
        try:
            if _started(pid) == started:
                groups.add(os.getpgid(pid))
        except OSError:
            continue
    for group in groups - {os.getpgrp(), 0, 1}:
        try:
            os.killpg(group, number)
        except OSError:
            pass  # Gone, or not ours.


def _wait(alive: dict[int, str], limit_s: float) -> dict[int, str]:
    """Those that are still there when all are gone or the time is over."""
    deadline = time.monotonic() + limit_s
    while True:
        alive = {pid: started for pid, started in alive.items() if _started(pid) == started}
        if not alive or time.monotonic() >= deadline:
            return alive
        time.sleep(_POLL_S)


def _started(pid: int) -> str:
    """When a process started, as text that no later process of that id has; empty when it is gone or a zombie."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
