"""The study on disk: one line of JSON a record, appended and never changed.

Each line ends in a check sum of what stands before it::

    {"record":"finished","trial":17,"state":"done","fom":0.25,...,"crc":"1a2b3c4d"}

The first record is the header, which holds all that is needed to go on. A torn last line, as a crash leaves
it, is cut off when the journal is opened for writing and kept beside it; damage further up is refused with the
line's number. There is one writer; anybody may read while it writes.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from hpo_core.exceptions import JournalError

FORMAT = 1
"""Version of the journal's format; older ones stay readable."""

NAME = "journal.jsonl"

SYNC_POLICIES = ("driver", "durable")
"""``driver``: what is recorded survives the death of the driver. ``durable``: also that of the host (one sync
for all trials that finish together)."""


class Journal:
    """The writing end of a study's journal.

    Args:
        directory: the study's directory.
        sync: one of `SYNC_POLICIES`.

    Raises:
        JournalError: the journal cannot be opened, or is damaged other than at its end.
    """

    def __init__(self, directory: Path, *, sync: str = "driver") -> None:
        self.path = directory / NAME
        self.repaired: str = ""
        self._sync = sync == "durable"
        self._pending: list[bytes] = []
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._size = self._cut_torn_tail()
        except OSError as error:
            raise JournalError(f"cannot open {self.path}: {error.strerror}") from error
        self.flushed = self._size
        """Bytes of the records that are in the file."""

    def append(self, record: Mapping[str, Any]) -> int:
        """Add a record; it is on disk after the next `flush`.

        Returns:
            its offset in the file, in bytes.
        """
        line = encode(record)
        offset = self._size
        self._pending.append(line)
        self._size += len(line)
        return offset

    def flush(self, *, durable: bool = False) -> None:
        """Write what was appended, all or nothing.

        Args:
            durable: sync it too, whatever the policy.

        Raises:
            JournalError: the disk is full or fails; nothing of it was written, what was there before is intact.
                The next `flush` tries again.
        """
        if not self._pending:
            return
        data = b"".join(self._pending)
        start = self._size - len(data)
        if os.lseek(self._fd, 0, os.SEEK_END) != start:
            raise JournalError(f"another driver has written to {self.path}; this one stops, and changed nothing of it")
        try:
            written = os.pwrite(self._fd, data, start)
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], start + written)
            if self._sync or durable:
                _sync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, start)
            raise JournalError(f"cannot write {self.path}: {error.strerror}; everything before is intact") from error
        self._pending.clear()
        self.flushed = start + len(data)

    @property
    def size(self) -> int:
        """Bytes of all records, those that are not flushed yet too."""
        return self._size

    def close(self) -> None:
        """Close the file; nothing that was not flushed is written."""
        os.close(self._fd)

    def _cut_torn_tail(self) -> int:
        """Cut what is damaged at the end, keep it aside, and return the size of what is whole."""
        size = os.fstat(self._fd).st_size
        whole = size
        while whole > 0:
            start = _line_start(self._fd, whole)
            line = os.pread(self._fd, whole - start, start)
            if decode(line) is not None:
                break
            whole = start
        if whole < size:
            aside = self.path.with_name(f"{NAME}.torn-{whole}")
            aside.write_bytes(os.pread(self._fd, size - whole, whole))
            os.ftruncate(self._fd, whole)
            self.repaired = f"the last {size - whole} bytes of {self.path} were torn; they are kept in {aside.name}"
        return whole


@frozen
class Line:
    """A record as it stands in the file.

    Attributes:
        offset: in bytes.
        number: from 1.
        record: its keys and values, without the check sum.
    """

    offset: int
    number: int
    record: dict[str, Any]


def read(directory: Path, *, offset: int = 0, lines: int = 0) -> Iterator[Line]:
    """All whole records, in order; also while another process writes.

    Args:
        directory: the study's directory.
        offset: where to begin, in bytes.
        lines: records before that.

    An incomplete last line is passed over: it may just be written.

    Raises:
        JournalError: there is no journal, or a line before the last is damaged (its number is named).
    """
    path = directory / NAME
    try:
        file = open(path, "rb")
    except OSError as error:
        raise JournalError(f"no study in {directory}: cannot read {path.name}: {error.strerror}") from error
    with file:
        damaged = 0
        file.seek(offset)
        for number, line in enumerate(file, lines + 1):
            if damaged:
                raise JournalError(
                    f"{path}:{damaged}: this record is damaged (its check sum is wrong); "
                    f"the {damaged - 1} records before it are whole"
                )
            record = decode(line)
            if record is None and not line.endswith(b"\n"):
                return  # It may just be written; what comes after it now belongs to it.
            if record is None:
                damaged = number
            else:
                yield Line(offset, number, record)
            offset += len(line)


def read_at(directory: Path, offset: int) -> dict[str, Any]:
    """The record that begins at an offset which `Journal.append` or `read` gave.

    Raises:
        JournalError: there is no journal any more, or the record is damaged.
    """
    try:
        with open(directory / NAME, "rb") as file:
            file.seek(offset)
            record = decode(file.readline())
    except OSError as error:
        raise JournalError(f"cannot read {directory / NAME}: {error.strerror}") from error
    if record is None:
        raise JournalError(f"{directory / NAME}: no record begins at byte {offset}")
    return record


def encode(record: Mapping[str, Any]) -> bytes:
    """A record as its line in the file."""
    try:
        body = _dumps(record)[:-1].encode()
    except UnicodeEncodeError:  # Names of files that are no UTF-8 hold half characters.
        body = _dumps_ascii(record)[:-1].encode()
    return b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def decode(line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None when it is not whole."""
    body, found, tail = line.rpartition(b',"crc":"')
    if not found or len(tail) != 11 or not tail.endswith(b'"}\n'):
        return None
    if b"%08x" % zlib.crc32(body) != tail[:8]:
        return None
    record: dict[str, Any] = _loads((body + b"}").decode())
    return record


def number(value: float) -> float | str:
    """A number as JSON can hold it: text where it is not finite."""
    return value if math.isfinite(value) else str(value)


_sync = getattr(os, "fdatasync", os.fsync)
_loads = json.JSONDecoder().decode
_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_dumps_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _line_start(fd: int, end: int) -> int:
    """Where the line begins whose last byte is before `end`."""
    position, block = end - 1, 4096
    while position > 0:
        start = max(0, position - block)
        newline = os.pread(fd, position - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        position, block = start, block * 2
    return 0
