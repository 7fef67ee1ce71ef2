"""What the results so far say about points that were not evaluated: cheap models that screen children.

A radial basis function interpolates results (Regis & Shoemaker, "Combining radial basis function surrogates and
dynamic coordinate search in high-dimensional expensive black-box optimization", Engineering Optimization 45(5),
2013); a quadratic function is fitted near the best (Hansen, "A global surrogate assisted CMA-ES", GECCO 2019).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from hpo_genetic._codec import Array

_RIDGE = 1e-10
"""Keeps coefficients that the results say nothing of at zero."""


def nearest(offsets: Array, count: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Indices of the `count` shortest rows, in no order."""
    if len(offsets) <= count:
        return np.arange(len(offsets))
    return np.argpartition(np.einsum("ij,ij->i", offsets, offsets), count - 1)[:count]


def squared_distances(a: Array, b: Array) -> Array:
    """Squared distances between all rows of two tables."""
    found: Array = a @ b.T
    found *= -2.0
    found += np.einsum("ij,ij->i", a, a)[:, None]
    found += np.einsum("ij,ij->i", b, b)
    return np.maximum(found, 0.0, out=found)


def bounded(values: Array, low: Any, high: Any) -> Array:
    """What `numpy.clip` gives, in half the time where there are few values."""
    found: Array = np.minimum(np.maximum(values, low), high)
    return found


def _cubed(squares: Array) -> Array:
    found: Array = np.sqrt(squares)
    found *= squares
    return found


def _solved(system: Any, right: Any) -> Any:
    """The solution of linear equations; zeros where there is none, so that a model says nothing."""
    try:
        return np.linalg.solve(system, right)
    except np.linalg.LinAlgError:
        return np.zeros(len(right))


class Interpolation:
    """A cubic radial basis function with a linear tail through the results.

    Args:
        points: one row for each result, relative to a place among them.
        losses: results, made tame by the caller.
        ridge: how far it may pass the results by.
    """

    def __init__(self, points: Array, losses: Array, ridge: float = 1e-6) -> None:
        count, width = points.shape
        size = count + width + 1
        system, right = np.zeros((size, size)), np.zeros(size)
        system[:count, :count] = _cubed(squared_distances(points, points))
        system[:count, count] = system[count, :count] = 1.0
        system[:count, count + 1 :] = points
        system[count + 1 :, :count] = points.T
        diagonal = system.reshape(-1)[:: size + 1]
        diagonal[:count] += ridge
        diagonal[count:] = -1e-9
        right[:count] = losses
        solved = _solved(system, right)
        self._points = points
        self._weights, self._level, self._slope = solved[:count], solved[count], solved[count + 1 :]

    def __call__(self, points: Array) -> tuple[Array, Array]:
        """What is expected at each row, and its squared distance from the nearest result."""
        squares = squared_distances(points, self._points)
        expected = _cubed(squares) @ self._weights
        expected += points @ self._slope
        expected += self._level
        return expected, squares.min(1)


@cache
def _pairs(n: int) -> tuple[Any, Any]:
    """All pairs of different coordinates."""
    return np.triu_indices(n, 1)


class Quadratic:
    """A quadratic function of offsets from a centre.

    Args:
        gradient: at the centre.
        hessian: second derivatives.
        full: whether there are mixed ones among them.
    """

    def __init__(self, gradient: Array, hessian: Array, *, full: bool) -> None:
        self.gradient, self.hessian, self.full = gradient, hessian, full
        self._curves: Array
        self._axes: Array
        self._curves, self._axes = np.linalg.eigh(hessian) if full else (hessian.diagonal(), np.eye(len(hessian)))

    @classmethod
    def fitted(cls, offsets: Array, losses: Array, weights: Array) -> Quadratic:
        """The function through results by weighted least squares.

        It has as many coefficients as the results allow: all, or those without mixed terms.

        Args:
            offsets: points relative to the centre, one row each.
            losses: their results.
            weights: how much each of them counts.
        """
        count, n = offsets.shape
        scale = np.maximum(np.abs(offsets).max(0), 1e-12)
        full = count >= 1.1 * (n + 1) * (n + 2) / 2
        first, second = _pairs(n)
        width = 1 + 2 * n + (len(first) if full else 0)
        terms = np.empty((width, count))
        terms[0] = 1.0
        x = np.divide(offsets.T, scale[:, None], out=terms[1 : n + 1])
        np.multiply(x, x, out=terms[n + 1 : 2 * n + 1])
        terms[n + 1 : 2 * n + 1] *= 0.5
        if full:
            np.multiply(x[first], x[second], out=terms[2 * n + 1 :])
        root = np.sqrt(weights)
        terms *= root
        normal = terms @ terms.T
        normal.reshape(-1)[:: width + 1] += _RIDGE
        solved = _solved(normal, terms @ (losses * root))
        hessian = np.zeros((n, n))
        if full:
            hessian[first, second] = solved[2 * n + 1 :]
            hessian += hessian.T
        hessian.reshape(-1)[:: n + 1] = solved[n + 1 : 2 * n + 1]
        hessian /= scale
        hessian /= scale[:, None]
        return cls(solved[1 : n + 1] / scale, hessian, full=full)

    def move(self, offset: Array) -> None:
        """Have another centre, this far from the one before."""
        self.gradient = self.gradient + self.hessian @ offset

    def minimiser(self, low: Array, high: Array) -> Array:
        """The lowest offset found between two corners: a damped Newton step, then one coordinate at a time."""
        if not self.full:  # Coordinates do not depend on each other.
            curve = self._curves
            inside = bounded(-self.gradient / np.where(curve > 1e-12, curve, 1.0), low, high)
            below, above = (self.gradient * end + 0.5 * curve * end * end for end in (low, high))
            return np.where(curve > 1e-12, inside, np.where(below < above, low, high))
        slope = self._axes.T @ self.gradient
        if self._curves[0] > 1e-9 * self._curves[-1]:
            step: Array = self._axes @ (-slope / self._curves)
            if (step >= low).all() and (step <= high).all():
                return step
        starts = np.array(self._starts(slope, low, high))
        slopes = starts @ self.hessian
        slopes += self.gradient
        values = np.einsum("ij,ij->i", starts, slopes + self.gradient)
        best = int(values.argmin())
        x: list[float] = starts[best].tolist()
        _descend(self.hessian.tolist(), x, slopes[best].tolist(), low.tolist(), high.tolist())
        return np.array(x)

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

    def _starts(self, slope: Array, low: Array, high: Array) -> list[Array]:
        """Where to begin: here, and at the ends of damped Newton steps, cut off at the corners or shortened to fit."""
        half = np.minimum(-low, high)
        if not half.min() > 0.0:
            half = high - low
        curves = np.abs(self._curves)
        largest = max(float(curves.max()), 1e-300)
        starts = [np.zeros(len(low))]
        for damping in (1e-9, 1e-2):
            step = self._axes @ (-slope / np.maximum(curves, damping * largest))
            over = float((np.abs(step) / half).max())
            starts.append(bounded(step / max(over, 1.0), low, high))
            if over > 1.0:
                starts.append(bounded(step, low, high))
        return starts


def _descend(rows: list[list[float]], x: list[float], slope: list[float], low: list[float], high: list[float]) -> None:
    """Go down a quadratic function once along each coordinate, in place; the next function corrects what is left.

    Args:
        rows: second derivatives.
        x: where to start.
        slope: the gradient there.
        low: least values.
        high: greatest values.
    """
    for k, (row, bottom, top) in enumerate(zip(rows, low, high, strict=True)):
        curve, rise, before = row[k], slope[k], x[k]
        if curve > 1e-12:
            to = before - rise / curve
            to = bottom if to < bottom else top if to > top else to
        else:
            to = bottom if rise > 0.0 else top
        if to != before:
            step = to - before
            x[k] = to
            slope[:] = [s + step * h for s, h in zip(slope, row, strict=True)]
