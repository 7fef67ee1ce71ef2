"""The points that were proposed: numbers in a sorted array, which takes a tenth of what a set would."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

import numpy as np

_FRESH = 1000


class Seen:
    """A growing set of keys, about ten bytes each.

    Args:
        keys: to begin with; 56 bits each, as `Codec.key` makes them.
    """

    def __init__(self, keys: Iterable[int] = ()) -> None:
        self._old = array("q", sorted(set(keys)))
        self._fresh: set[int] = set()
        """What came since the array was last made; a small part of all."""

    def __len__(self) -> int:
        return len(self._old) + len(self._fresh)

    def __contains__(self, key: int) -> bool:
        if key in self._fresh:
            return True
        place = bisect_left(self._old, key)
        return place < len(self._old) and self._old[place] == key

    def add(self, key: int) -> bool:
        """Add a key; whether it is new."""
        if key in self:
            return False
        self._fresh.add(key)
        if len(self._fresh) > _FRESH + len(self._old) // 32:
            self._old, self._fresh = self._merged(), set()
        return True

    def keys(self) -> list[int]:
        """All of them in order."""
        return self._merged().tolist()

    def _merged(self) -> array[int]:
        both = np.concatenate([np.frombuffer(self._old, dtype=np.int64), np.array([*self._fresh], dtype=np.int64)])
        both.sort()
        return array("q", both.tobytes())
