"""What the results so far say about points that were not evaluated: cheap models that screen children.

A radial basis function interpolates results (Regis & Shoemaker, "Combining radial basis function surrogates and
dynamic coordinate search in high-dimensional expensive black-box optimization", Engineering Optimization 45(5),
2013); a quadratic function is fitted near the best (Hansen, "A global surrogate assisted CMA-ES", GECCO 2019).

Tables are kept so small, and products written so, that numpy's library has no reason to start threads: the cores
belong to the evaluations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpo_genetic._codec import Array

_RIDGE = 1e-6
"""Keeps coefficients that the results say nothing of at zero."""
_SWEEPS = 12


def nearest(features: Array, centre: Array, count: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Indices of the `count` rows next to `centre`, nearest first."""
    distance = ((features - centre) ** 2).sum(1)
    if len(distance) > count:
        kept = np.argpartition(distance, count - 1)[:count]
        return kept[np.argsort(distance[kept], kind="stable")]
    return np.argsort(distance, kind="stable")


def squared_distances(a: Array, b: Array) -> Array:
    """Squared distances between all rows of two tables."""
    found: Array = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * np.einsum("ik,jk->ij", a, b)
    return np.maximum(found, 0.0)


def _cubed(squares: Array) -> Array:
    found: Array = squares * np.sqrt(squares)
    return found


class Interpolation:
    """A cubic radial basis function with a linear tail through the results.

    Args:
        features: one row for each result.
        losses: results, made tame by the caller.
        ridge: how far it may pass the results by.
    """

    def __init__(self, features: Array, losses: Array, ridge: float = 1e-6) -> None:
        count, width = features.shape
        self._features = features
        self._mean = features.mean(0)
        tail = np.hstack([np.ones((count, 1)), features - self._mean])
        kernel = _cubed(squared_distances(features, features))
        kernel[np.diag_indices(count)] += ridge
        size = width + 1
        system = np.block([[kernel, tail], [tail.T, -1e-9 * np.eye(size)]])
        try:
            solved = np.linalg.solve(system, np.concatenate([losses, np.zeros(size)]))
        except np.linalg.LinAlgError:
            solved = np.zeros(count + size)
        self._weights, self._tail = solved[:count], solved[count:]

    def __call__(self, features: Array) -> Array:
        """What is expected at each row."""
        kernel = _cubed(squared_distances(features, self._features))
        found: Array = (kernel * self._weights).sum(1) + self._tail[0] + (features - self._mean) @ self._tail[1:]
        return found


class Quadratic:
    """A quadratic function fitted to results around a centre by weighted least squares.

    It has as many coefficients as the results allow: all, or those without mixed terms.

    Args:
        offsets: points relative to the centre, one row each.
        losses: their results.
        weights: how much each of them counts.
    """

    def __init__(self, offsets: Array, losses: Array, weights: Array) -> None:
        count, n = offsets.shape
        scale = np.maximum(np.abs(offsets).max(0), 1e-12)
        x = offsets / scale
        squares = 0.5 * x * x
        full = count >= 1.1 * (n + 1) * (n + 2) / 2
        upper = np.triu_indices(n, 1)
        parts = [np.ones((count, 1)), x, squares]
        if full:
            parts.append(x[:, upper[0]] * x[:, upper[1]])
        table = np.hstack(parts)
        low = float(losses.min())
        spread = float(losses.max()) - low or 1.0
        root = np.sqrt(weights)
        width = table.shape[1]
        rows = np.vstack([table * root[:, None], _RIDGE * np.eye(width)])
        q, r = np.linalg.qr(rows)
        target = np.concatenate([(losses - low) / spread * root, np.zeros(width)])
        solved = np.linalg.solve(r, (q * target[:, None]).sum(0))
        self.gradient: Array = solved[1 : n + 1] / scale
        hessian = np.diag(solved[n + 1 : 2 * n + 1])
        if full:
            hessian[upper] = solved[2 * n + 1 :]
            hessian[upper[1], upper[0]] = solved[2 * n + 1 :]
        self.hessian: Array = hessian / np.outer(scale, scale)
        self.full = full

    def minimiser(self, low: Array, high: Array) -> Array:
        """The lowest offset found between two corners: a damped Newton step, then one coordinate at a time."""
        if not self.full:  # Coordinates do not depend on each other.
            curve = np.diag(self.hessian)
            inside = np.clip(-self.gradient / np.where(curve > 1e-12, curve, 1.0), low, high)
            below, above = (self.gradient * end + 0.5 * curve * end * end for end in (low, high))
            return np.where(curve > 1e-12, inside, np.where(below < above, low, high))
        n, rows = len(low), self.hessian
        half = np.maximum(np.minimum(-low, high), 1e-12) if (low < 0).all() and (high > 0).all() else high - low
        best, value = np.zeros(n), 0.0
        for start in self._starts(low, high, half):
            x = start.copy()
            slope = self.gradient + self.hessian @ x
            for _ in range(_SWEEPS):
                moved = 0.0
                for k in range(n):
                    curve = rows[k, k]
                    if curve > 1e-12:
                        to = min(max(x[k] - slope[k] / curve, low[k]), high[k])
                    else:
                        to = low[k] if slope[k] > 0 else high[k]
                    step = to - x[k]
                    if step:
                        slope += step * rows[k]
                        x[k] = to
                        moved = max(moved, abs(step) / (high[k] - low[k] + 1e-300))
                if moved < 1e-4:
                    break
            found = float(self.gradient @ x + 0.5 * x @ self.hessian @ x)
            if found < value:
                best, value = x, found
        return best

    def beside(self, noise: Array, rise: float) -> Array:
        """A random offset that raises the function by `rise` on the average, by as much in each direction.

        Children are sampled so by evolution strategies with covariance adaptation, to which the inverse of the second
        derivatives is the goal: Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772, 2016.

        Args:
            noise: normally distributed numbers, one for each coordinate.
            rise: in units of the losses that the function was fitted to.
        """
        curves, axes = np.linalg.eigh(self.hessian)
        curves = np.abs(curves)
        curves = np.maximum(curves, max(1e-9 * float(curves.max()), 1e-12))
        found: Array = axes @ (noise * np.sqrt(2.0 * rise / len(noise) / curves))
        return found

    def _starts(self, low: Array, high: Array, half: Array) -> list[Array]:
        starts = [np.zeros(len(low))]
        curves, axes = np.linalg.eigh(self.hessian)
        largest = max(float(np.abs(curves).max()), 1e-300)
        slope = axes.T @ self.gradient
        for damping in (1e-9, 1e-2):
            step = axes @ (-slope / np.maximum(np.abs(curves), damping * largest))
            over = max(float((np.abs(step) / np.maximum(half, 1e-12)).max()), 1.0)
            starts.append(np.clip(step / over, low, high))
            if over > 1.0:
                starts.append(np.clip(step, low, high))
        return starts
