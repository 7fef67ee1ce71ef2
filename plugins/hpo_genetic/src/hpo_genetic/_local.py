"""Search around one place, by models of the results near it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

import numpy as np
from attrs import mutable

from hpo_genetic._archive import Archive
from hpo_genetic._codec import Array, Codec, Vector
from hpo_genetic._deme import Individual
from hpo_genetic._model import Interpolation, Quadratic, bounded, nearest, squared_distances
from hpo_genetic._one_thread import one_thread

_ALL_PAIRS = 16
"""Dimensions up to which a quadratic function may have all its mixed terms."""
_ANY_QUADRATIC = 60
"""Dimensions up to which there is a quadratic function at all."""
_FAR = 100.0
"""Losses count as no more than so many times as far above the best as the median is: one that is huge says little."""
_NEAREST = 80
"""Results that are interpolated."""
_CANDIDATES = 64
"""Variations of the focus among which an interpolation chooses; twice as many where lists depend on other values."""
_FINALISTS = 24
"""Those of them that are made valid before it does, where values depend on each other."""
_MOVING = np.array([1.0, 2.0, 4.0, 20.0])
"""How many coordinates of a candidate are varied, on the average."""
_BLUR = 0.3
"""Share of children beside the minimum of a quadratic function."""
_CROWD = 8
"""Children that run at the same time, from which on steps of different lengths are tried at once."""
_LARGEST_BROOD = 40
_MORE = {"quadratic": 0.5, "screened": 0.83}
"""Children more that a pass makes in ten dimensions each time that results double, or are `_RESULTS` more."""
_RESULTS = 150.0
_DEPENDENT, _MIXED = 0.5, 0.25
"""How many of them where values depend on each other, and where lists are among them besides."""
_PLAIN = ("radius", "newton", "good", "bad", "mark")
"""Attributes that are JSON values as they are."""


@mutable
class Brood:
    """Children of one pass of a model that nobody has asked for yet.

    Attributes:
        vectors: the next one first.
        reach: how far they go from the focus.
    """

    vectors: list[Vector]
    reach: float


@mutable
class Fit:
    """A quadratic function that was fitted to results.

    Attributes:
        model: relative to the centre.
        centre: coordinates of the focus.
        rise: how high it is where as many results as there are dimensions are better.
        results: how many there were at the time.
    """

    model: Quadratic
    centre: Array
    rise: float
    results: int

    def to_json(self) -> list[Any]:
        """All of it."""
        model = self.model
        parts = model.gradient.tolist(), model.hessian.tolist(), model.full
        return [*parts, self.centre.tolist(), self.rise, self.results]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Fit:
        """What `to_json` described."""
        gradient, hessian, full, centre, rise, results = data
        return cls(Quadratic(np.array(gradient), np.array(hessian), full=full), np.array(centre), rise, results)


class LocalSearch:
    """Children of one individual, which better ones replace.

    Args:
        codec: coordinates.
        archive: all results.
        dice: for what models choose among.
        radius: how far screened children are from the focus at first.
        newton: how far a quadratic function is trusted at first.

    Attributes:
        focus: the best so far, whose neighbourhood is searched.
        stale: children since the last gain that was worth having.
    """

    def __init__(
        self, codec: Codec, archive: Archive, dice: np.random.Generator, *, radius: float, newton: float
    ) -> None:
        self._codec, self._archive, self._dice = codec, archive, dice
        self.focus: Individual | None = None
        self._radius, self._newton = radius, newton
        self._good, self._bad = 0, 0
        self._mark = 0.0
        self._centre: Array = np.full(codec.size, 0.5)
        self.stale = 0
        mixed = any(codec.unordered) and not codec.plain
        self._share = _MIXED if mixed else 1.0 if codec.plain else _DEPENDENT
        self._tries = 2 * _CANDIDATES if mixed else _CANDIDATES
        self._broods: dict[str, Brood] = {}
        self._fit: Fit | None = None
        """The last one, where it can be moved to another focus."""

    def move(self, one: Individual, worth: float) -> None:
        """Go on from a better individual.

        Tiny gains in a valley that is nearly exhausted would go on for ever: `worth` is what they must sum up to.
        """
        if self.focus is None or self._mark - one.loss > worth:
            self._mark, self.stale = one.loss, 0
        self.focus = one
        self._centre = np.array(one.vector)
        self._broods.pop("quadratic", None)

    def child(
        self, arm: str, rng: Random, pending: Collection[Vector], *, again: bool = False
    ) -> tuple[Vector, float] | None:
        """The next child of an operator, and how far its like go.

        A pass of a model makes several children. What a quadratic function says of a focus that was left behind is
        given up.

        Args:
            arm: ``quadratic`` or ``screened``.
            rng: for all choices.
            pending: children that run.
            again: whether the last child was known.

        Returns:
            None where there are too few results for the model.
        """
        brood = self._broods.get(arm)
        if brood is None or not brood.vectors:
            reach, count = self.reach(arm, rng, len(pending)), self.brood(arm)
            with one_thread():
                if arm == "quadratic":
                    vectors = self.quadratic(rng, list(pending), reach, count=count, again=again)
                else:
                    vectors = self.screened(rng, list(pending), count=count)
            if vectors is None:
                return None
            brood = self._broods[arm] = Brood(vectors, reach)
        return brood.vectors.pop(0), brood.reach

    def brood(self, arm: str) -> int:
        """Children of one pass of a model: the more results there are, the less a few of them change it.

        Fewer in few dimensions, where passes are cheap, and a function that is fitted anew converges soon.
        """
        n, results = self._codec.size, self._archive.results
        if arm == "screened":
            size = (n / 10) ** 2 * self._share
        else:
            full = (n + 1) * (n + 2) // 2
            size = ((full if n <= _ALL_PAIRS and results > full else 2 * n + 1) / 66) ** 2
        more = _MORE[arm] * min(size, 1.0) * (math.log2(results + 1) + results / _RESULTS)
        return min(1 + int(more), _LARGEST_BROOD)

    def reach(self, arm: str, rng: Random, running: int) -> float:
        """How far the next children of an operator may go.

        Where many run at the same time, a quadratic function is trusted from an eighth as far to four times as far, so
        that a round of them finds the length of steps for which one worker has as many rounds.
        """
        if arm != "quadratic":
            return self._radius
        return self._newton if running < _CROWD else min(self._newton * 2.0 ** rng.uniform(-3.0, 2.0), 0.5)

    def learn(self, arm: str, reach: float, better: bool, running: int) -> None:
        """Adapt how far children go to what came of one.

        Where many run at the same time, many fail for one reason: a quadratic function is trusted less by a small step
        for each of them, and a radius changes by those alone that it was the same for.

        Args:
            arm: its operator.
            reach: how far its operator's children went when it was made.
            better: than the focus.
            running: children that run.
        """
        self.stale += 1
        if arm == "quadratic":
            if better:
                self._newton = min(max(self._newton, reach * 1.5), 0.5)
            elif reach <= self._newton:
                less = reach * 0.8 if running < _CROWD else self._newton * 0.8 ** (16.0 / (16.0 + running))
                self._newton = max(less, 1e-5)
        elif arm == "screened" and (better or reach == self._radius):
            self._good = self._good + 1 if better else 0
            self._bad = 0 if better else self._bad + 1
            if self._good >= 2:
                self._radius, self._good = min(self._radius * 1.6, 0.5), 0
            elif self._bad >= max(4, self._codec.size):
                self._radius, self._bad = self._radius * 0.6, 0
                if self._radius < 1e-5:
                    self._radius = 0.3

    def screened(self, rng: Random, pending: Sequence[Vector], *, count: int = 1) -> list[Vector]:
        """The children that a model of the results likes best, among many; they keep away from each other."""
        codec, centre = self._codec, self._centre
        _, features, losses = self._archive.tables()
        middle = codec.features(centre[None, :])
        offsets = features - middle
        subset = nearest(offsets, _NEAREST)
        candidates = self._candidates(centre, rng)
        table = codec.features(candidates) - middle
        model = Interpolation(offsets[subset], _tame(losses[subset], rng.random() < 0.5))
        expected, squares = model(table)
        if not codec.plain:
            candidates = codec.settled(candidates[_likely(expected, squares)[:_FINALISTS]], centre, rng)
            table = codec.features(candidates) - middle
            expected, squares = model(table)
        if pending:
            running = codec.features(np.array(pending[-256:])) - middle
            squares = np.minimum(squares, squared_distances(table, running).min(1))
        expected -= expected.min()
        expected /= float(expected.max()) or 1.0
        largest = float(squares.max()) or 1.0
        scale, same = math.sqrt(largest), 1e-13 * largest
        between = squared_distances(table, table) if count > 1 else squares[None, :]
        chosen: list[int] = []
        while True:
            expected[squares <= same] = np.inf
            weight = rng.choice((0.5, 0.8, 0.95, 1.0))
            score = np.sqrt(squares)
            score *= (weight - 1.0) / scale
            score += weight * expected
            chosen.append(int(score.argmin()))
            if len(chosen) == min(count, len(candidates) // 2):
                vectors: list[Vector] = candidates[chosen].tolist()
                return vectors
            np.minimum(squares, between[chosen[-1]], out=squares)

    def _candidates(self, centre: Array, rng: Random) -> Array:
        codec, n, dice = self._codec, self._codec.size, self._dice
        count = self._tries
        active = np.where(np.isnan(centre), dice.random((count, n)), centre) if codec.conditional else centre
        normal, uniform = dice.standard_normal((count, n + 1)), dice.random((count, n + 2))
        share = (_MOVING / n)[(uniform[:, n] * len(_MOVING)).astype(int)]
        moving = uniform[:, :n] < share[:, None]
        moving[np.arange(count), (uniform[:, n + 1] * n).astype(int)] = True
        made = normal[:, :n] * (self._radius * np.exp(0.7 * normal[:, n:]))
        made *= moving
        made += active
        np.abs(made, out=made)
        np.minimum(made, 2.0 - made, out=made)
        np.maximum(made, 0.0, out=made)
        for k, counted in enumerate(codec.counts):
            if codec.unordered[k]:
                drawn = dice.random(count)
                made[:, k] = np.where(moving[:, k] & (dice.random(count) < 0.5), drawn, active[..., k])
            elif counted is not None and not codec.logs[k]:
                cell = np.minimum(made[:, k] * counted, counted - 1).astype(int)
                old = np.minimum(active[..., k] * counted, counted - 1).astype(int)
                step = np.where(moving[:, k] & (cell == old), np.where(dice.random(count) < 0.5, 1, -1), 0)
                step = step * (dice.random(count) < 0.3)
                made[:, k] = (np.clip(cell + step, 0, counted - 1) + 0.5) / counted
        if codec.conditional:
            made[:, np.isnan(centre)] = np.nan
        return made

    def quadratic(
        self, rng: Random, pending: Sequence[Vector], reach: float, *, count: int = 1, again: bool = False
    ) -> list[Vector] | None:
        """Where a quadratic function through the results around the focus has its minimum, and beside it.

        Beside it, as far in each direction as the best results are high: all but the first; that one too where a child
        that runs is near already, and now and then, so that the next function knows more.

        Args:
            rng: for the choice.
            pending: children that run.
            reach: how far from the focus the function is trusted.
            count: how many children.
            again: whether the minimum is known.

        Returns:
            None where there are too few results for a function.
        """
        found = self._fit_around(count)
        if found is None:
            return None
        axes, fit = found
        step = fit.model.minimiser(*self._box(axes, reach))
        steps = np.repeat(step[None, :], count, 0)
        exact = not (again or rng.random() < _BLUR or self._crowded(axes, step, pending))
        if not exact or count > 1:
            beside = fit.model.beside(self._dice.standard_normal(steps.shape), fit.rise)
            steps[exact:] += bounded(beside, -reach, reach)[exact:]
        return self._moved(axes, steps)

    def deepest(self) -> Vector | None:
        """Where a quadratic function through results all over the space is lowest: of many valleys, the deepest.

        None where there are too few results for it.
        """
        found = self._rows()
        if found is None:
            return None
        axes, offsets, losses = found
        order = _thinned(offsets, losses)
        with one_thread():
            model = Quadratic.fitted(offsets[order], _limited(losses[order]), _by_place(len(order)))
            return self._moved(axes, model.minimiser(*self._box(axes, 1.0))[None, :])[0]

    def _fit_around(self, count: int) -> tuple[Any, Fit] | None:
        """The coordinates that are numbers, and a function of them through the results around the focus.

        One that was fitted a few results ago, twice as many as it makes children, is moved to the new focus.
        """
        centre, results, fit = self._centre, self._archive.results, self._fit
        if fit is not None and results - fit.results < 2 * count - 1:
            fit.model.move(centre - fit.centre)
            fit.centre = centre
            return slice(None), fit
        found = self._rows()
        if found is None:
            return None
        axes, offsets, losses = found
        n = offsets.shape[1]
        wanted = min(int(0.625 * (n + 1) * (n + 2)) + n, 400) if n <= _ALL_PAIRS else min(6 * n, 400)
        near = nearest(offsets, 2 * wanted)
        best = near[np.argsort(losses[near], kind="stable")[: min(wanted, math.ceil(0.9 * len(near)))]]
        limited = _limited(losses[best])
        model = Quadratic.fitted(offsets[best], limited, _by_place(len(best)))
        fit = Fit(model, centre, float(limited[min(n, len(best) - 1)]), results)
        self._fit = fit if self._codec.places else None
        return axes, fit

    def _rows(self) -> tuple[Any, Array, Array] | None:
        """The coordinates that are numbers, and results relative to the focus that differ from it in those alone."""
        if self.focus is None:
            return None
        codec, centre = self._codec, self._centre
        vectors, _, losses = self._archive.tables()
        if codec.places:
            enough = codec.size <= _ANY_QUADRATIC and len(losses) >= 2 * codec.size + 3
            return (slice(None), vectors - centre, losses) if enough else None
        same = (np.isnan(vectors) == np.isnan(centre)).all(1)
        for k in range(codec.size):
            if codec.unordered[k]:
                same &= (vectors[:, k] == centre[k]) | np.isnan(centre[k])
        axes = np.flatnonzero(~np.isnan(centre) & codec.numeric)
        rows = np.flatnonzero(same)
        if not 0 < len(axes) <= _ANY_QUADRATIC or len(rows) < 2 * len(axes) + 3:
            return None
        return axes, vectors[np.ix_(rows, axes)] - centre[axes], losses[rows]

    def _box(self, axes: Any, reach: float) -> tuple[Array, Array]:
        """The least and the greatest offsets from the focus where a function is trusted."""
        centre = self._centre[axes]
        return np.maximum(-reach, -centre), np.minimum(reach, 1.0 - centre)

    def _crowded(self, axes: Any, step: Array, pending: Sequence[Vector]) -> bool:
        """Whether a child that runs is much nearer to the end of a step than its beginning is."""
        if not pending:
            return False
        offsets = np.array(pending)[:, axes] - self._centre[axes]
        nearest_one = np.nan_to_num(((offsets - step) ** 2).sum(1), nan=np.inf).min()
        return bool(nearest_one < 0.1 * (step**2).sum())

    def _moved(self, axes: Any, steps: Array) -> list[Vector]:
        made = np.repeat(self._centre[None, :], len(steps), 0)
        made[:, axes] = bounded(made[:, axes] + steps, 0.0, 1.0)
        vectors: list[Vector] = made.tolist()
        return vectors

    def to_json(self) -> dict[str, Any]:
        """Everything but the archive."""
        return {
            "focus": None if self.focus is None else self.focus.to_json(),
            **{name: getattr(self, f"_{name}") for name in _PLAIN},
            "stale": self.stale,
            "broods": [
                [arm, [[None if u != u else u for u in one] for one in brood.vectors], brood.reach]
                for arm, brood in self._broods.items()
            ],
            "fit": None if self._fit is None else self._fit.to_json(),
        }

    def set_json(self, data: Mapping[str, Any]) -> None:
        """Go on from what `to_json` gave."""
        self.focus = None if data["focus"] is None else Individual.from_json(data["focus"])
        if self.focus is not None:
            self._centre = np.array(self.focus.vector)
        for name in _PLAIN:
            setattr(self, f"_{name}", data[name])
        self.stale = data["stale"]
        self._broods = {
            arm: Brood([[math.nan if u is None else u for u in one] for one in vectors], reach)
            for arm, vectors, reach in data["broods"]
        }
        self._fit = None if data["fit"] is None else Fit.from_json(data["fit"])


@cache
def _by_place(count: int) -> Array:
    """How much results count for a quadratic function, the best first."""
    weights: Array = 1.0 + 19.0 * np.linspace(1.0, 0.0, count, endpoint=False) ** 2
    return weights


def _limited(losses: Array) -> Array:
    """Losses from 0 to 1, the best first, where one that is huge hides no other."""
    low, middle = float(losses[0]), float(losses[len(losses) // 2])
    limited = np.minimum(losses, low + _FAR * (middle - low)) if middle > low else losses
    found: Array = (limited - low) / (float(limited[-1]) - low or 1.0)
    return found


def _tame(losses: Array, ranks: bool) -> Array:
    """Losses made fit for an interpolation: one that is huge must not hide the others."""
    if ranks:
        places = np.empty(len(losses))
        places[np.argsort(losses, kind="stable")] = np.linspace(0.0, 1.0, len(losses)) ** 2
        return places
    low, middle = float(losses.min()), float(np.partition(losses, len(losses) // 2)[len(losses) // 2])
    if not middle > low:
        middle = float(losses.max())
    clipped: Array = np.minimum(losses, middle)
    return (clipped - low) / ((middle - low) or 1.0)


def _likely(expected: Array, squares: Array) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Candidates in order of what is expected of them; those that are far from all results may be a little worse."""
    gaps = np.sqrt(squares)
    score = expected - gaps * (0.2 * float(expected.std()) / (float(gaps.std()) or 1.0))
    return np.argsort(score, kind="stable")


def _thinned(points: Array, losses: Array) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Rows of good points that are well apart, best first, so that no valley counts more than another."""
    good = np.argsort(losses, kind="stable")[: min(max(20, (3 * len(losses)) // 4), 300)]
    near = squared_distances(points[good], points[good]) <= 0.003 * points.shape[1]
    kept: list[int] = []
    beside = np.zeros(len(good), dtype=bool)
    for row in range(len(good)):
        if not beside[row] and len(kept) < 100:
            kept.append(row)
            beside |= near[row]
    return good[kept]
