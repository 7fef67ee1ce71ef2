"""What the results so far say about points that were not evaluated: cheap models that screen children.

A radial basis function interpolates results (Regis & Shoemaker, "Combining radial basis function surrogates and
dynamic coordinate search in high-dimensional expensive black-box optimization", Engineering Optimization 45(5),
2013); a quadratic function is fitted near the best (Hansen, "A global surrogate assisted CMA-ES", GECCO 2019).
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
    found: Array = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T)
    return np.maximum(found, 0.0, out=found)


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

    def __call__(self, features: Array) -> tuple[Array, Array]:
        """What is expected at each row, and its squared distance from the nearest result."""
        squares = squared_distances(features, self._features)
        bent = (_cubed(squares) * self._weights).sum(1)
        return bent + self._tail[0] + (features - self._mean) @ self._tail[1:], squares.min(1)


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
        root = np.sqrt(weights)[:, None]
        width = int(table.shape[1])
        rows = np.zeros((count + width, width + 1))
        rows[:count, :width] = table * root
        rows[:count, width:] = ((losses - low) / spread)[:, None] * root
        np.fill_diagonal(rows[count:], _RIDGE)
        r: Any = np.linalg.qr(rows, mode="r")
        solved = np.linalg.solve(r[:width, :width], r[:width, width])
        self.gradient: Array = solved[1 : n + 1] / scale
        hessian = np.diag(solved[n + 1 : 2 * n + 1])
        if full:
            hessian[upper] = solved[2 * n + 1 :]
            hessian[upper[1], upper[0]] = solved[2 * n + 1 :]
        self.hessian: Array = hessian / np.outer(scale, scale)
        self.full = full
        self._curves: Array = np.diag(self.hessian)
        self._axes: Array = np.eye(n)
        if full:
            self._curves, self._axes = np.linalg.eigh(self.hessian)

    def minimiser(self, low: Array, high: Array) -> Array:
        """The lowest offset found between two corners: a damped Newton step, then one coordinate at a time."""
        if not self.full:  # Coordinates do not depend on each other.
            curve = self._curves
            inside = np.clip(-self.gradient / np.where(curve > 1e-12, curve, 1.0), low, high)
            below, above = (self.gradient * end + 0.5 * curve * end * end for end in (low, high))
            return np.where(curve > 1e-12, inside, np.where(below < above, low, high))
        half = np.maximum(np.minimum(-low, high), 1e-12) if (low < 0).all() and (high > 0).all() else high - low
        starts = np.array(self._starts(low, high, half))
        slopes = (self.gradient + starts @ self.hessian).tolist()
        gradient, rows, corners = self.gradient.tolist(), self.hessian.tolist(), (low.tolist(), high.tolist())
        best, value = [0.0] * len(low), 0.0
        for x, slope in zip(starts.tolist(), slopes, strict=True):
            _descend(rows, x, slope, *corners)
            found = 0.5 * sum((g + s) * u for g, s, u in zip(gradient, slope, x, strict=True))
            if found < value:
                best, value = x, found
        return np.array(best)

    def beside(self, noise: Array, rise: float) -> Array:
        """Random offsets that raise the function by `rise` on the average, by as much in each direction.

        Children are sampled so by evolution strategies with covariance adaptation, to which the inverse of the second
        derivatives is the goal: Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772, 2016.

        Args:
            noise: normally distributed numbers, one for each coordinate; a row for each offset.
            rise: in units of the losses that the function was fitted to.
        """
        curves = np.abs(self._curves)
        curves = np.maximum(curves, max(1e-9 * float(curves.max()), 1e-12))
        found: Array = (noise * np.sqrt(2.0 * rise / len(curves) / curves)) @ self._axes.T
        return found

    def _starts(self, low: Array, high: Array, half: Array) -> list[Array]:
        starts = [np.zeros(len(low))]
        curves, axes = self._curves, self._axes
        largest = max(float(np.abs(curves).max()), 1e-300)
        slope = axes.T @ self.gradient
        for damping in (1e-9, 1e-2):
            step = axes @ (-slope / np.maximum(np.abs(curves), damping * largest))
            over = max(float((np.abs(step) / np.maximum(half, 1e-12)).max()), 1.0)
            starts.append(np.clip(step / over, low, high))
            if over > 1.0:
                starts.append(np.clip(step, low, high))
        return starts


def _descend(rows: list[list[float]], x: list[float], slope: list[float], low: list[float], high: list[float]) -> None:
    """Go down a quadratic function along one coordinate after the other, in place.

    Args:
        rows: second derivatives.
        x: where to start.
        slope: the gradient there.
        low: least values.
        high: greatest values.
    """
    for _ in range(_SWEEPS):
        moved = 0.0
        for k, row in enumerate(rows):
            curve, bottom, top = row[k], low[k], high[k]
            inside = min(max(x[k] - slope[k] / curve, bottom), top) if curve > 1e-12 else None
            to = inside if inside is not None else bottom if slope[k] > 0 else top
            step = to - x[k]
            if step:
                x[k] = to
                slope[:] = [s + step * h for s, h in zip(slope, row, strict=True)]
                moved = max(moved, abs(step) / (top - bottom + 1e-300))
        if moved < 1e-4:
            return
