"""What an evaluation writes: a tail for the record, and a file where it is worth keeping."""

from __future__ import annotations

import os
from io import FileIO

_IN_MEMORY = 64 * 1024
_TAIL = 4 * 1024
TAIL_LINES = 20


def fresh_file(path: str, mode: int) -> int:
    """The descriptor of an empty file, to be written; the folder is made where it is missing.

    Raises:
        OSError: it can't be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, mode)


class OutputFile:
    """One stream of one evaluation: held in memory while short, in its file from then on.

    Args:
        path: where it is kept if it is kept.
        keep: whether it is kept whatever happens; else only when `close` says so.
        limit: most bytes written to the file, or None; what is over is dropped, the tail still moves on.
    """

    def __init__(self, path: str, *, keep: bool, limit: int | None) -> None:
        self.path = path
        self._keep = keep
        self._limit = limit
        self._head: bytearray | None = bytearray()
        """Everything so far; None once it is in the file."""
        self._tail = b""
        self._file: FileIO | None = None
        self._written = 0
        self._trouble: OSError | None = None

    def write(self, data: bytes) -> None:
        """Add what was produced."""
        if self._head is not None:
            if len(self._head) + len(data) <= _IN_MEMORY:
                self._head += data
                return
            self._to_disk()
        self._append(data)
        self._tail = data[-_TAIL:] if len(data) >= _TAIL else (self._tail + data)[-_TAIL:]

    def close(self, *, keep: bool) -> None:
        """No more will come; keep the file or not. Where nothing came at all, there is none.

        Raises:
            OSError: it should be kept, and could not be written whole.
        """
        keep = keep or self._keep
        if keep and self._head:
            self._save(self._head[: self._limit])
        if self._file is not None:
            self._file.close()
            if not keep:
                os.unlink(self.path)
        if keep and self._trouble is not None:
            raise self._trouble

    def tail(self) -> str:
        """The last lines, at most `TAIL_LINES` of them and 4 KiB."""
        data = self._tail if self._head is None else bytes(self._head[-_TAIL:])
        return "\n".join(data.decode(errors="replace").splitlines()[-TAIL_LINES:])

    def _save(self, data: bytearray) -> None:
        """Write what is short in one go."""
        fd = fresh_file(self.path, 0o600)
        try:
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)

    def _to_disk(self) -> None:
        """From now on everything goes to the file."""
        head, self._head = bytes(self._head or b""), None
        self._tail = head[-_TAIL:]
        try:
            self._file = FileIO(fresh_file(self.path, 0o600), "wb")
        except OSError as error:
            self._trouble = error
        self._append(head)

    def _append(self, data: bytes) -> None:
        """Write to the file as long as that works: a full disk must not harm the study, and is told by `close`."""
        if self._file is None or self._trouble is not None:
            return
        if self._limit is not None:
            data = data[: max(0, self._limit - self._written)]
        try:
            while data:
                written = self._file.write(data) or 0
                self._written += written
                data = data[written:]
        except OSError as error:
            self._trouble = error
