"""Results that models learn from: the best and the latest, a bounded number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpo_genetic._codec import Array, Codec, Vector

LIMIT = 600
_ROOM = LIMIT + LIMIT // 4
_HUGE = 1e300


class Archive:
    """Coordinates and losses of some hundred results; an infinite loss is a failure.

    Args:
        codec: for features of coordinates.

    Attributes:
        results: how many there were, with those that were given up.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._vectors: Array = np.zeros((_ROOM + 1, codec.size))
        self._features: Array = codec.features(self._vectors)
        self._losses: Array = np.zeros(_ROOM + 1)
        self.results = 0
        self._count = 0
        self._described = 0
        """Rows whose features are there."""

    def __len__(self) -> int:
        return self._count

    def add(self, vector: Vector, loss: float) -> None:
        """Keep a result; now and then the oldest that are not among the best half are given up."""
        row, self._count, self.results = self._count, self._count + 1, self.results + 1
        self._vectors[row] = vector
        self._losses[row] = loss if math.isinf(loss) else min(max(loss, -_HUGE), _HUGE)
        if self._count > _ROOM:
            self._describe()
            best = np.argsort(self._losses[: self._count], kind="stable")[: LIMIT // 2]
            good = np.zeros(self._count, dtype=bool)
            good[best] = True
            others = np.flatnonzero(~good)[-(LIMIT - len(best)) :]
            kept = np.sort(np.concatenate([best, others]))
            self._count = self._described = len(kept)
            for table in {id(one): one for one in (self._vectors, self._features, self._losses)}.values():
                table[: self._count] = table[kept]

    def _describe(self) -> None:
        if self._features is not self._vectors:
            fresh = slice(self._described, self._count)
            self._features[fresh] = self._codec.features(self._vectors[fresh])
        self._described = self._count

    def tables(self) -> tuple[Array, Array, Array]:
        """Coordinates, features and losses; a failure counts as the worst result there is."""
        self._describe()
        losses = self._losses[: self._count]
        if self._count and losses.max() == math.inf:
            fine = np.isfinite(losses)
            losses = np.where(fine, losses, losses[fine].max() if fine.any() else 0.0)
        return self._vectors[: self._count], self._features[: self._count], losses

    def to_json(self) -> dict[str, Any]:
        """All rows as JSON values."""
        rows, losses = self._vectors[: self._count].tolist(), self._losses[: self._count].tolist()
        return {
            "results": self.results,
            "vectors": [[None if u != u else u for u in row] for row in rows],
            "losses": [None if math.isinf(loss) else loss for loss in losses],
        }

    def set_json(self, data: Mapping[str, Any]) -> None:
        """Go on from what `to_json` gave."""
        self._count = self._described = 0
        for vector, loss in zip(data["vectors"], data["losses"], strict=True):
            self.add([math.nan if u is None else u for u in vector], math.inf if loss is None else loss)
        self.results = data["results"]
