"""The state of a study at one moment, so that a long journal need not be read again from its beginning.

A snapshot is never trusted over the journal: it holds the check sum of the journal up to where it was taken, and of
itself; where one of them is wrong, or anything else, it is passed over and the journal is read whole.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from hpo_core._history import History
from hpo_core.journal import NAME as JOURNAL

NAME = "snapshot"
_FORMAT = 4
_BLOCK = 2**20


@frozen
class Snapshot:
    """A snapshot that fits the journal.

    Attributes:
        offset: where the journal goes on, in bytes.
        lines: records before that.
        state: what was saved beside the columns.
    """

    offset: int
    lines: int
    state: Mapping[str, Any]


def save(directory: Path, history: History, state: Mapping[str, Any], *, offset: int, lines: int) -> None:
    """Write a snapshot of a journal that ends at `offset`, in place of an earlier one.

    A snapshot only saves time: where it cannot be written, there is none.
    """
    columns = history.arrays()
    body_crc = 0
    for column in columns.values():
        body_crc = zlib.crc32(memoryview(column).cast("B"), body_crc)
    head = {
        "format": _FORMAT,
        "byteorder": sys.byteorder,
        "offset": offset,
        "lines": lines,
        "journal": _journal_crc(directory, offset),
        "body": body_crc,
        "columns": [[name, column.typecode, len(column)] for name, column in columns.items()],
        "history": history.rest(),
        "state": state,
    }
    text = json.dumps(head).encode()
    fresh = directory / f"{NAME}.new"
    try:
        with open(fresh, "wb") as file:
            file.write(b"%08x %d\n" % (zlib.crc32(text), len(text)))
            file.write(text)
            for column in columns.values():
                column.tofile(file)
        os.replace(fresh, directory / NAME)
    except OSError:
        fresh.unlink(missing_ok=True)


def load(directory: Path, history: History) -> Snapshot | None:
    """Fill an empty history from the snapshot, if there is one and it fits the journal.

    Returns:
        None where the journal must be read whole; the history is still empty then.
    """
    try:
        with open(directory / NAME, "rb") as file:
            crc, size = file.readline().split()
            text = file.read(int(size))
            if zlib.crc32(text) != int(crc, 16):
                return None
            head = json.loads(text)
            if not _fits(directory, head, history):
                return None
            body = file.read()
    except (OSError, ValueError):
        return None
    if zlib.crc32(body) != head["body"]:
        return None
    _fill(history, head, memoryview(body))
    return Snapshot(head["offset"], head["lines"], head["state"])


def _fits(directory: Path, head: Mapping[str, Any], history: History) -> bool:
    if head["format"] != _FORMAT or head["byteorder"] != sys.byteorder:
        return False
    columns = [[name, column.typecode] for name, column in history.arrays().items()]
    if columns != [column[:2] for column in head["columns"][: len(columns)]]:
        return False
    return bool(head["journal"] == _journal_crc(directory, head["offset"]))


def _fill(history: History, head: Mapping[str, Any], body: memoryview) -> None:
    sizes = iter(head["columns"])
    position = 0

    def read(column: array[Any]) -> None:
        nonlocal position
        _, _, count = next(sizes)
        size = count * column.itemsize
        column.frombytes(body[position : position + size])
        position += size

    history.restore(read, head["history"])


def _journal_crc(directory: Path, size: int) -> int | None:
    """Check sum of the journal's first bytes, or None where it is shorter."""
    crc = 0
    with open(directory / JOURNAL, "rb") as file:
        while size > 0:
            block = file.read(min(_BLOCK, size))
            if not block:
                return None
            crc = zlib.crc32(block, crc)
            size -= len(block)
    return crc
