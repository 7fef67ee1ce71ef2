"""What an evaluation writes: a tail for the record, and a file where it is worth keeping."""

from __future__ import annotations

import os
from io import FileIO

_IN_MEMORY = 64 * 1024
_TAIL = 4 * 1024
TAIL_LINES = 20


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
        self._head = bytearray()
        self._tail = b""
        self._file: FileIO | None = None
        self._written = 0

    def write(self, data: bytes) -> None:
        """Add what was produced."""
        if self._file is None and len(self._head) + len(data) <= _IN_MEMORY:
            self._head += data
            return
        if self._file is None:
            self._open()
        self._to_file(data)
        self._tail = data[-_TAIL:] if len(data) >= _TAIL else (self._tail + data)[-_TAIL:]

    def close(self, *, keep: bool) -> str | None:
        """No more will come; keep the file or not.

        Returns:
            where it is, or None when it was not kept.
        """
        if self._keep or keep:
            if self._file is None:
                self._open()
            self._close()
            return self.path
        if self._file is not None:
            self._close()
            os.unlink(self.path)
        return None

    def tail(self) -> str:
        """The last lines, at most `TAIL_LINES` of them and 4 KiB."""
        data = self._tail if self._file is not None else bytes(self._head[-_TAIL:])
        return "\n".join(data.decode(errors="replace").splitlines()[-TAIL_LINES:])

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> None:
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self._file = FileIO(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")
        head, self._head = bytes(self._head), bytearray()
        self._tail = head[-_TAIL:]
        self._to_file(head)

    def _to_file(self, data: bytes) -> None:
        if self._limit is not None:
            data = data[: max(0, self._limit - self._written)]
        if data and self._file is not None:
            self._file.write(data)
            self._written += len(data)
