"""From bytes, as they come, to lines of text."""

from __future__ import annotations

MAX_LINE = 64 * 1024
"""Bytes of a line that are kept; of a longer one the first 60 KiB and the last 4 KiB."""

_TAIL = 4 * 1024
_HEAD = MAX_LINE - _TAIL
_GAP = " … "
_WORD = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.+-" + bytes(range(128, 256))
_LONGEST_WORD = 256


class LineSplitter:
    r"""Cuts a stream of bytes into lines of text, however the bytes arrive, in bounded memory.

    A line ends with ``\n``, ``\r\n`` or ``\r`` (progress bars). Bytes that are not UTF-8 become U+FFFD, NUL is kept.
    Of a line longer than `MAX_LINE` its beginning and its end are kept with `` … `` between them; a word or number
    that the cut went through is left out, so that no number is ever read in part.
    """

    __slots__ = ("_after_cr", "_long", "_part", "_tail")

    def __init__(self) -> None:
        self._part = bytearray()
        self._tail = b""
        self._long = False
        self._after_cr = False

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes, any number of them.

        Returns:
            the lines that they completed, without their ends.
        """
        if len(data) <= MAX_LINE:
            return self._feed(data)
        lines: list[str] = []
        for start in range(0, len(data), MAX_LINE):
            lines += self._feed(data[start : start + MAX_LINE])
        return lines

    def flush(self) -> list[str]:
        """The last line where it had no end; to be called once, after the last bytes."""
        return [self._take_line()] if self._part else []

    def _feed(self, data: bytes) -> list[str]:
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        if not data:
            return []
        last = data[-1]
        self._after_cr = last == 13
        pieces = data.splitlines()
        rest = None if last in (10, 13) else pieces.pop()
        lines: list[str] = []
        if self._part and pieces:
            self._append(pieces[0])
            lines.append(self._take_line())
            del pieces[0]
        lines += [piece.decode("utf-8", "replace") for piece in pieces]
        if rest is not None:
            self._append(rest)
        return lines

    def _append(self, piece: bytes) -> None:
        if self._long:
            self._tail = (self._tail + piece[-_TAIL:])[-_TAIL:]
            return
        self._part += piece
        if len(self._part) > MAX_LINE:
            self._long = True
            self._tail = bytes(self._part[-_TAIL:])
            del self._part[_HEAD:]

    def _take_line(self) -> str:
        if self._long:
            head, tail = _without_cut_words(bytes(self._part), self._tail)
            text = head.decode("utf-8", "replace") + _GAP + tail.decode("utf-8", "replace")
        else:
            text = self._part.decode("utf-8", "replace")
        self._part, self._tail, self._long = bytearray(), b"", False
        return text


def _without_cut_words(head: bytes, tail: bytes) -> tuple[bytes, bytes]:
    """Leave out words at the cut, unless they are too long to be the rest of a name or number."""
    whole_head, whole_tail = head.rstrip(_WORD), tail.lstrip(_WORD)
    if len(head) - len(whole_head) < _LONGEST_WORD:
        head = whole_head
    if len(tail) - len(whole_tail) < _LONGEST_WORD:
        tail = whole_tail
    return head, tail
