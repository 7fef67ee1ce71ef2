"""Hypothesis strategies that build random search spaces.

For tests of strategies and storages::

    @given(spaces(), st.integers(0, 99))
    def test_something(params, seed):
        point = params.draw(random.Random(seed))
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import strategies as st

from hpo_core.exceptions import SpaceError
from hpo_core.space import Domain, Integer, Params, Real, Value, Values
from hpo_core.space._conditions import Condition, Rule, all_of, any_of, when

Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def reals(draw: Draw) -> Real:
    """Ranges of reals: wide, narrow, on both sides of zero, on a log scale, with a step."""
    kind = draw(st.sampled_from(["plain", "log", "step", "narrow", "signed"]))
    if kind == "log":
        low = draw(st.floats(1e-12, 1e3))
        return Real(low, low * draw(st.floats(1.001, 1e9)), log=True)
    if kind == "step":
        step = draw(st.sampled_from([0.1, 0.25, 1.0 / 3.0, 1e-3, 2.0]))
        low = draw(st.sampled_from([0.0, -1.0, 1.0 / 3.0, 10.0]))
        return Real(low, low + step * draw(st.floats(1.5, 40.0)), step=step)
    if kind == "narrow":
        low = draw(st.sampled_from([1.0, -2.0, 1e6, 1.0 / 3.0]))
        return Real(low, low + abs(low) * draw(st.sampled_from([1e-3, 1e-6, 1e-9, 1e-12])))
    if kind == "signed":
        return Real(-draw(st.floats(1e-6, 1e6)), draw(st.floats(0.0, 1e6)))
    low = draw(st.floats(-1e9, 1e9))
    return Real(low, low + max(abs(low), 1.0) * draw(st.floats(1e-3, 1e3)))


@st.composite
def integers(draw: Draw) -> Integer:
    """Ranges of integers: tiny, large, on a log scale, with a step."""
    kind = draw(st.sampled_from(["plain", "log", "step", "tiny", "large"]))
    if kind == "log":
        low = draw(st.integers(1, 1000))
        return Integer(low, low + draw(st.integers(1, 10**6)), log=True)
    low = draw(st.integers(-1000, 1000))
    if kind == "step":
        step = draw(st.integers(2, 9))
        return Integer(low, low + draw(st.integers(step, 100)), step=step)
    if kind == "large":
        return Integer(low, low + 2**49)
    return Integer(low, low + draw(st.integers(1, 2 if kind == "tiny" else 5000)))


@st.composite
def choices(draw: Draw) -> Values:
    """Lists of values: strings, numbers, truth values, single ones, ordered or not."""
    pool: st.SearchStrategy[list[Value]] = st.one_of(
        st.lists(st.sampled_from(["sgd", "adam", "a b", "it's", "x=1", "%d", ""]), min_size=1, unique=True),
        st.lists(st.sampled_from([1e-5, 1e-3, 0.5, 2.0, 1e16]), min_size=1, unique=True),
        st.lists(st.integers(-9, 99), min_size=1, max_size=8, unique=True),
        st.just([True, False]),
        st.just(["auto", 2, 0.5]),
    )
    return Values(draw(pool), ordered=draw(st.booleans()))


def domains() -> st.SearchStrategy[Domain]:
    """Any domain."""
    return st.one_of(reals(), integers(), choices())


@st.composite
def spaces(
    draw: Draw,
    *,
    max_flags: int = 8,
    conditions: bool = True,
    constraints: bool = True,
    defaults: bool = True,
) -> Params:
    """Valid search spaces (`Params.check` passes).

    Args:
        draw: given by hypothesis.
        max_flags: most hyperparameters; spaces of one alone come up, too.
        conditions: whether flags may depend on others, with restrictions, ``any_of`` and ``all_of``.
        constraints: whether there may be constraints and forbidden relations.
        defaults: whether flags may have defaults.
    """
    pool = draw(st.lists(domains(), min_size=1, max_size=min(max_flags, 8)))
    count = len(pool) if max_flags <= 8 else draw(st.integers(1, max_flags))
    many = [pool[k % len(pool)] for k in range(count)]
    rng = Random(draw(st.integers(0, 2**32 - 1)))
    flags = [_flag(k, rng) for k in range(count)]
    elements: list[list[Any]] = []
    for flag, domain in zip(flags, many, strict=True):
        has_default = defaults and rng.random() < 0.5
        elements.append([flag, domain.draw(rng), domain] if has_default else [flag, domain])
    params = Params(elements)
    if conditions and count > 1 and draw(st.booleans()):
        params.add_conditions(_some_rules(params, rng))
    if constraints and draw(st.booleans()):
        params = _constrained(params, rng)
    try:
        params.check()
    except SpaceError:
        return Params(elements)
    return params


def _flag(k: int, rng: Random) -> str:
    return rng.choice([f"--p{k}", f"-p{k}", f"--a-b{k}", f"--optimizer p{k}", f"opt.p{k}", f"--100%{k}"])


def _relation(flag: str, domain: Domain, rng: Random) -> Condition:
    """A condition on a parent that some of its values fulfil; the dependent is filled in by the caller."""
    value = domain.draw(rng)
    if domain.kind == "number" and rng.random() < 0.7:
        return Condition("-", flag, value, operator=rng.choice([">=", "<="]))
    if rng.random() < 0.5:
        return Condition("-", flag, [value, domain.draw(rng)], operator="in")
    return Condition("-", flag, value, operator="==" if domain.size is not None else "!=")


def _restriction(domain: Domain, rng: Random) -> Any:
    spec: Any = None
    kind = rng.randrange(6)
    if kind == 0:
        spec = domain.draw(rng)
    elif kind == 1:
        spec = [domain.draw(rng), domain.draw(rng)]
    elif kind == 2 and isinstance(domain, (Real, Integer)):
        a, b = sorted(domain.from_code(domain.code(domain.draw(rng))) for _ in range(2))
        spec = (a, b)
    return spec


def _some_rules(params: Params, rng: Random) -> list[Rule]:
    """Conditions without a cycle: a random order decides who may depend on whom."""
    order = list(params.flags)
    rng.shuffle(order)
    rules: list[Rule] = []
    for place in range(1, len(order)):
        if rng.random() < 0.5:
            continue
        flag, domain = order[place], params.domains[order[place]]
        several: list[Rule] = []
        for _ in range(rng.choice([1, 1, 2])):
            parent = order[rng.randrange(max(0, place - 5), place)]
            relation = _relation(parent, params.domains[parent], rng)
            spec = _restriction(domain, rng)
            if rng.random() < 0.3:
                several.append(when(flag, str(relation.expression()), spec))
            else:
                operator, value = relation.operator, relation.parent_param_value
                several.append(Condition(flag, parent, value, spec, operator))
        shape = rng.randrange(3)
        rules += several if shape == 0 else [any_of(*several)] if shape == 1 else [all_of(*several)]
    return rules


def _constrained(params: Params, rng: Random) -> Params:
    """The space with one or two relations that do not rule everything out."""
    numbers = [flag for flag, domain in params.domains.items() if domain.kind == "number"]
    data = params.to_json()
    for _ in range(rng.choice([1, 2])):
        flag = rng.choice(params.flags)
        relation = str(_relation(flag, params.domains[flag], rng).expression())
        if len(numbers) > 1 and rng.random() < 0.6:
            a, b = rng.sample(numbers, 2)
            relation = f"`{a}` <= `{b}`" if rng.random() < 0.5 else f"`{a}` + 2 * `{b}` <= {rng.uniform(0, 9)!r}"
        data[rng.choice(["constraints", "forbidden"])].append(relation)
    return Params.from_json(data)
