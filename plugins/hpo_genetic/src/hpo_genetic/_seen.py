"""Which points were evaluated, in some bytes each."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

import numpy as np

_FEW = 4096
_SHARE = 16


class Seen:
    """A set of numbers below 2**64: most of them sorted in one array, the latest ones in a set beside it.

    Args:
        keys: what it has at first.
    """

    def __init__(self, keys: Iterable[int] = ()) -> None:
        self._old = array("Q", sorted(keys))
        self._new: set[int] = set()

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    def __contains__(self, key: int) -> bool:
        if key in self._new:
            return True
        place = bisect_left(self._old, key)
        return place < len(self._old) and self._old[place] == key

    def add(self, key: int) -> bool:
        """Put a number in; whether it is new."""
        if key in self:
            return False
        self._new.add(key)
        if len(self._new) > max(_FEW, len(self._old) // _SHARE):
            self._old.extend(self._new)
            self._new = set()
            np.frombuffer(self._old, dtype=np.uint64).sort()
        return True

    def to_json(self) -> list[Any]:
        """All numbers."""
        return sorted([*self._old, *self._new])
