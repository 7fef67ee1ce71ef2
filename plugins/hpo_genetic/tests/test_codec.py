"""Coordinates of points."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpo_core as hpo
from hpo_genetic._codec import Codec

PARAMS = [
    ["--model", ["linear", "tree", "net"]],
    ["--depth", 3, (1, 300)],
    ["--rate", 1e-2, (1e-5, 1.0)],
    ["--share", 0.5, (0.0, 1.0)],
    ["--rest", 0.5, (0.0, 1.0)],
]
RULES = {
    "one parent": [hpo.condition.equals("--depth", "--model", "tree")],
    "a chain": [
        hpo.condition.inside("--rate", "--model", ["tree", "net"]),
        hpo.condition.greater_than("--share", "--rate", 1e-3),
        hpo.condition.less_than("--rest", "--share", 0.7),
    ],
    "restrictions": [
        hpo.condition.equals("--share", "--model", "tree", (0.2, 0.4)),
        hpo.condition.greater_than("--depth", "--share", 0.3, [10, 20, 30]),
        hpo.condition.when("--rest", "--depth > 15 or --rate < 0.1", (0.2, 0.6)),
    ],
}
CONTRADICTION = [
    hpo.condition.greater_than("--rest", "--share", 0.3, (0.1, 0.3)),
    hpo.condition.greater_than("--rest", "--rate", 1e-2, (0.6, 0.8)),
]
UNITS = st.lists(st.floats(0.0, 1.0), min_size=len(PARAMS), max_size=len(PARAMS))
CHANGES = st.lists(st.lists(st.floats(0.0, 1.0) | st.none(), min_size=len(PARAMS), max_size=len(PARAMS)), max_size=3)


def varied(centre, changes):
    """What a search makes of a centre: coordinates that were there may move."""
    rows = [[u if new is None or u != u else new for u, new in zip(centre, one, strict=True)] for one in changes]
    return [centre, *rows]


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("constraints", [[], ["--share + --rest < 1.5"]], ids=["", "constrained"])
@settings(max_examples=40)
@given(start=UNITS, changes=CHANGES, seed=st.integers(0, 999))
def test_settled_rows_are_those_of_the_points_that_they_become(rules, constraints, start, changes, seed) -> None:
    space = hpo.Params(PARAMS)
    space.add_conditions(rules)
    space.add_constraints(constraints)
    codec, one, two = Codec(space), Random(seed), Random(seed)
    centre = codec.vector(codec.point(start, Random(0)))
    rows = varied(centre, changes)
    points = [codec.point(row, one) for row in rows]
    settled = codec.settled(np.array(rows), np.array(centre), two)
    assert one.getstate() == two.getstate()
    assert [codec.point(row, two) for row in settled.tolist()] == points
    assert one.getstate() == two.getstate()  # nothing was missing any more
    np.testing.assert_array_equal(np.isnan(settled), [[math.isnan(u) for u in codec.vector(p)] for p in points])


@settings(max_examples=40)
@given(start=UNITS, changes=CHANGES, seed=st.integers(0, 999))
def test_rows_are_settled_where_restrictions_leave_no_value(start, changes, seed) -> None:
    space = hpo.Params(PARAMS)
    space.add_conditions(CONTRADICTION)
    codec, rng = Codec(space), Random(seed)
    centre = codec.vector(codec.point(start, rng))
    for settled in codec.settled(np.array(varied(centre, changes)), np.array(centre), rng).tolist():
        before = rng.getstate()
        vector = codec.vector(codec.point(settled, rng))
        assert rng.getstate() == before
        assert [u == u for u in vector] == [u == u for u in settled]
