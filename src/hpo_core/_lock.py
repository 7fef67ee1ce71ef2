"""One driver a study: a lock file that names its owner. No POSIX locks, which network file systems get wrong."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

from hpo_core import _processes
from hpo_core.exceptions import JournalError, StudyLockedError

NAME = "lock"

_TAKEOVER_S = 5.0
"""Longest wait for another driver that takes over a dead one's lock."""


class Lock:
    """Held from construction to `release`.

    Args:
        directory: the study's directory.
        force: take it over from an owner of whom nothing is known, such as one on another host.

    Raises:
        StudyLockedError: another driver holds it, on another host or alive on this one.
    """

    def __init__(self, directory: Path, *, force: bool = False) -> None:
        self._path = directory / NAME
        self._taking = directory / f"{NAME}.taking"
        self._text = json.dumps(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started": _started(os.getpid()),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
                "token": secrets.token_hex(4),
            }
        )
        own = self._path.with_name(f"{NAME}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}")
        self._pid = os.getpid()
        try:
            own.write_text(self._text)
            self._take(own, force)
        except OSError as error:
            raise JournalError(f"cannot lock {directory}: {error.strerror}") from error
        finally:
            own.unlink(missing_ok=True)

    def _take(self, own: Path, force: bool) -> None:
        if force:
            holder = _read(self._path)
            if holder and holder.get("pid") != os.getpid() and _alive(holder):
                raise self._refusal(holder)
            os.replace(own, self._path)
            return
        deadline = time.monotonic() + _TAKEOVER_S
        while time.monotonic() < deadline:
            try:
                os.link(own, self._path)
                return
            except FileExistsError:
                pass
            holder = _read(self._path)
            if holder is not None and not _gone(holder):
                raise self._refusal(holder)
            if self._take_over(own, holder):
                return
        raise StudyLockedError(
            f"{self._path} cannot be taken: another driver is taking it over; if there is none, remove {self._taking}",
            owner="",
        )

    def _take_over(self, own: Path, dead: dict[str, object] | None) -> bool:
        """Put our lock in the place of a dead owner's, one driver at a time; False: look again."""
        try:
            self._taking.mkdir()
        except FileExistsError:
            time.sleep(0.01)
            return False
        try:
            if dead is None or _read(self._path) != dead:
                return False
            os.replace(own, self._path)
            return True
        finally:
            self._taking.rmdir()

    def _refusal(self, holder: dict[str, object]) -> StudyLockedError:
        who = f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
        if _alive(holder):
            hint = f"it is alive; end it first: kill {holder.get('pid')}"
        else:
            hint = f"if that driver is surely gone, go on with: hpo resume --force-lock {self._path.parent}"
        return StudyLockedError(f"{self._path.parent} is in use by {who}; {hint}", owner=json.dumps(holder))

    def release(self) -> None:
        """Give it up, unless somebody took it over by force."""
        if os.getpid() != self._pid:
            return  # a forked process owns nothing
        try:
            if self._path.read_text() == self._text:
                self._path.unlink()
        except FileNotFoundError:
            pass


def holder(directory: Path) -> str | None:
    """Who works on the study now, for people; None when nobody does."""
    owner = _read(directory / NAME)
    if owner is None or _gone(owner):
        return None
    return f"process {owner.get('pid')} on {owner.get('host')} since {owner.get('since')}"


def _read(path: Path) -> dict[str, object] | None:
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) else None


def _gone(owner: dict[str, object]) -> bool:
    """Whether the owner is surely dead: only known on its own host."""
    if owner.get("host") != socket.gethostname():
        return False
    pid = owner.get("pid")
    return not isinstance(pid, int) or _started(pid) != owner.get("started")


def _alive(owner: dict[str, object]) -> bool:
    """Whether the owner is surely alive: only known on its own host."""
    return owner.get("host") == socket.gethostname() and not _gone(owner)


def _started(pid: int) -> str:
    """When a process started, as text that no later process of that id has; empty when it is gone."""
    if _processes.can_find():
        return _processes.started(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
