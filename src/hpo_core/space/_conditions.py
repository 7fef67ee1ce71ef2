"""When a hyperparameter is used at all, and which of its values then are.

The forms of a condition, and what they mean::

    greater_than('-b', '-a', 2)                         -b is used only while -a > 2
    equals('--lr', '--opt', 'sgd', (0.01, 1))           ... and is then in (0.01, 1)
    when('-b', "-a > 2 and --opt != 'sgd'")             the same with any expression
    any_of(c1, c2), all_of(c1, c2), c1 | c2, c1 & c2    over conditions of one flag
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from hpo_core.exceptions import SpaceError
from hpo_core.space._domains import Domain, Restriction, Value, plain
from hpo_core.space._expression import Comparison, Expression, Flag, Literal, Membership, check_types, parse


class Spec:
    """A restriction as one object, so that it is cheap to look up."""

    __slots__ = ("value",)

    def __init__(self, value: Restriction) -> None:
        self.value = value


Outcome = Callable[[Mapping[str, Value]], "tuple[Spec, ...] | None"]
"""From a point to None (the condition does not hold) or to the restrictions that it brings."""

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")


class Rule:
    """Base of everything that `Params.add_conditions` takes; its flag is ``dependent_param``."""

    __slots__ = ()
    dependent_param: str

    @property
    def restricts(self) -> bool:
        """Whether it also says which values the flag may have."""
        raise NotImplementedError

    def bind(self, domains: Mapping[str, Domain]) -> Bound:
        """The rule read against the flags of a space. Raises SpaceError where it does not fit them."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """A JSON-compatible description; `rule_from_json` undoes it."""
        raise NotImplementedError

    def __or__(self, other: Rule) -> Rule:
        return any_of(self, other)

    def __and__(self, other: Rule) -> Rule:
        return all_of(self, other)


@attrs.frozen
class Bound:
    """A rule that has been checked against a space."""

    dependent: str
    parents: tuple[str, ...]
    text: str
    outcome: Outcome
    restrictions: tuple[Spec, ...]


@attrs.frozen
class Condition(Rule):
    """A hyperparameter is used only while another one compares so with a value.

    Args:
        dependent_param: the flag that is used or not.
        parent_param: the flag that decides.
        parent_param_value: what the parent is compared with; for ``in`` and ``not in`` a list.
        dependent_param_value: None, or a restriction of the dependent flag while the condition holds: a
            scalar (that value only), a list (those values) or a tuple (that sub-range).
        operator: ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in`` or ``not in``.

    Raises:
        SpaceError: an unknown operator, or a value that no comparison can take.
    """

    dependent_param: str
    parent_param: str
    parent_param_value: Any
    dependent_param_value: Restriction = None
    operator: str = ""

    def __attrs_post_init__(self) -> None:
        if self.operator not in OPERATORS and self.operator != "":
            raise SpaceError(f"the operator {self.operator!r} is unknown; there are {' '.join(OPERATORS)}")
        for what, flag in (("dependent", self.dependent_param), ("parent", self.parent_param)):
            if not flag or not isinstance(flag, str):
                raise SpaceError(f"the {what} of a condition is a flag such as '--lr', not {flag!r}")
        if self.operator in ("in", "not in"):
            several = isinstance(self.parent_param_value, (list, tuple, range))
            if not several or not self.parent_param_value:
                raise SpaceError(f"'{self.operator}' needs a list of values, not {self.parent_param_value!r}")
        elif self.operator and not isinstance(plain(self.parent_param_value), (bool, int, float, str)):
            raise SpaceError(f"'{self.operator}' compares with one value, not with {self.parent_param_value!r}")

    @property
    def restricts(self) -> bool:
        return self.dependent_param_value is not None

    def type_as_str(self, value: object) -> str:
        """The type of a value as a clean string: ``int``, ``str``, ``list(str)``, ``list(int, str)``."""
        value = plain(value)
        name = type(value).__name__
        if isinstance(value, (list, tuple)):
            inner = ", ".join(dict.fromkeys(self.type_as_str(item) for item in value))
            return f"{name}({inner})" if inner else name
        return name

    def expression(self) -> Expression:
        """The relation that must hold. Raises SpaceError where no operator was given."""
        if not self.operator:
            raise SpaceError(f"the condition on {self.dependent_param} has no operator; one of {' '.join(OPERATORS)}")
        parent = Flag(self.parent_param)
        if self.operator in ("in", "not in"):
            return Membership(self.operator, parent, tuple(_value(v) for v in self.parent_param_value))
        return Comparison(self.operator, parent, Literal(_value(self.parent_param_value)))

    def __str__(self) -> str:
        value = self.parent_param_value
        shown = list(value) if isinstance(value, (tuple, range)) else value
        relation = f"{self.parent_param} {self.operator or '?'} {shown!r}"
        return f"{_restricted(self.dependent_param, self.dependent_param_value)} | {relation}"

    def bind(self, domains: Mapping[str, Domain]) -> Bound:
        return _bind(self.dependent_param, self.expression(), self.dependent_param_value, str(self), domains)

    def to_json(self) -> dict[str, Any]:
        value = self.parent_param_value
        return {
            "type": type(self).__name__ if type(self) in _CLASSES.values() else "Condition",
            "dependent": self.dependent_param,
            "parent": self.parent_param,
            "operator": self.operator,
            "value": [_value(v) for v in value] if isinstance(value, (list, tuple, range)) else _value(value),
            **_restriction_to_json(self.dependent_param_value),
        }


@attrs.frozen
class equals(Condition):
    """The flag is used only while the parent equals a value (``b | a == 1``)."""

    operator: str = "=="


@attrs.frozen
class not_equals(Condition):
    """The flag is used only while the parent is another value (``b | a != 1``)."""

    operator: str = "!="


@attrs.frozen
class greater_than(Condition):
    """The flag is used only while the parent is greater than a value (``b | a > 5.0``)."""

    operator: str = ">"


@attrs.frozen
class less_than(Condition):
    """The flag is used only while the parent is less than a value (``b | a < 10.0``)."""

    operator: str = "<"


@attrs.frozen
class inside(Condition):
    """The flag is used only while the parent is one of some values (``b | a in [1, 2, 3, 4]``)."""

    operator: str = "in"


@attrs.frozen
class _When(Rule):
    dependent_param: str
    text: str
    values: Restriction = None

    @property
    def restricts(self) -> bool:
        return self.values is not None

    def __str__(self) -> str:
        return f"{_restricted(self.dependent_param, self.values)} | {self.text}"

    def bind(self, domains: Mapping[str, Domain]) -> Bound:
        return _bind(self.dependent_param, parse(self.text, tuple(domains)), self.values, str(self), domains)

    def to_json(self) -> dict[str, Any]:
        data = {"type": "when", "dependent": self.dependent_param, "expression": self.text}
        return {**data, **_restriction_to_json(self.values)}


@attrs.frozen
class _Many(Rule):
    word: str
    rules: tuple[Rule, ...]

    @property
    def dependent_param(self) -> str:  # type: ignore[override]
        return self.rules[0].dependent_param

    @property
    def restricts(self) -> bool:
        return any(rule.restricts for rule in self.rules)

    def __str__(self) -> str:
        texts = [str(rule) for rule in self.rules]
        start = f"{self.dependent_param} | "
        if all(text.startswith(start) for text in texts):
            return start + f" {self.word} ".join(f"({text[len(start) :]})" for text in texts)
        return f" {self.word} ".join(f"({text})" for text in texts)

    def bind(self, domains: Mapping[str, Domain]) -> Bound:
        bound = [rule.bind(domains) for rule in self.rules]
        outcomes = tuple(one.outcome for one in bound)
        return Bound(
            self.dependent_param,
            tuple(dict.fromkeys(parent for one in bound for parent in one.parents)),
            str(self),
            _first_of(outcomes) if self.word == "or" else together(outcomes),
            tuple(spec for one in bound for spec in one.restrictions),
        )

    def to_json(self) -> dict[str, Any]:
        return {"type": self.word, "of": [rule.to_json() for rule in self.rules]}


def when(flag: str, expression: str, values: Restriction = None) -> Rule:
    """The flag is used only while the expression holds.

    Args:
        flag: the dependent flag.
        expression: such as ``-a > 2 and --opt != 'sgd'``.
        values: None, or a restriction of the flag while it holds (scalar, list or tuple).
    """
    if not flag or not isinstance(flag, str):
        raise SpaceError(f"the dependent of a condition is a flag such as '--lr', not {flag!r}")
    if not isinstance(expression, str):
        raise SpaceError(f"when({flag!r}, ...) needs an expression in a string, not {expression!r}")
    return _When(flag, expression, values)


def any_of(*conditions: Rule) -> Rule:
    """The flag is used while any of the conditions holds; the first that holds gives the restriction."""
    return _many("or", conditions)


def all_of(*conditions: Rule) -> Rule:
    """The flag is used while all of the conditions hold; their restrictions intersect."""
    return _many("and", conditions)


def _many(word: str, rules: Sequence[Rule]) -> Rule:
    name = "any_of" if word == "or" else "all_of"
    if not rules:
        raise SpaceError(f"{name}() needs at least one condition")
    for rule in rules:
        if not isinstance(rule, Rule):
            raise SpaceError(f"{name}() takes conditions, not {rule!r}")
        if rule.dependent_param != rules[0].dependent_param:
            first, other = rules[0].dependent_param, rule.dependent_param
            raise SpaceError(f"{name}() takes conditions of one flag; here are {first!r} and {other!r}")
    return rules[0] if len(rules) == 1 else _Many(word, tuple(rules))


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Holds while all hold; gives all their restrictions."""
    if len(outcomes) == 1:
        return outcomes[0]

    def every(point: Mapping[str, Value]) -> tuple[Spec, ...] | None:
        result: tuple[Spec, ...] = ()
        for outcome in outcomes:
            one = outcome(point)
            if one is None:
                return None
            if one:
                result += one
        return result

    return every


def _first_of(outcomes: Sequence[Outcome]) -> Outcome:
    def some(point: Mapping[str, Value]) -> tuple[Spec, ...] | None:
        for outcome in outcomes:
            one = outcome(point)
            if one is not None:
                return one
        return None

    return some


def _bind(flag: str, expression: Expression, spec: Restriction, text: str, domains: Mapping[str, Domain]) -> Bound:
    check_types(expression, domains)
    holds = expression.compiled()
    brings: tuple[Spec, ...] = () if spec is None else (Spec(_plain_spec(spec)),)

    def outcome(point: Mapping[str, Value]) -> tuple[Spec, ...] | None:
        return brings if holds(point) else None

    return Bound(flag, expression.flags(), text, outcome, brings)


def _plain_spec(spec: Restriction) -> Restriction:
    if isinstance(spec, (list, tuple)):
        return type(spec)(plain(v) for v in spec)
    return plain(spec)


def _value(value: object) -> Value:
    value = plain(value)
    if isinstance(value, (bool, int, float, str)):
        return value
    raise SpaceError(f"a condition compares with numbers, strings and truth values, not with {value!r}")


def _restricted(flag: str, spec: Restriction) -> str:
    if spec is None:
        return flag
    return f"{flag} in {spec!r}" if isinstance(spec, (list, tuple)) else f"{flag} == {spec!r}"


def _restriction_to_json(spec: Restriction) -> dict[str, Any]:
    if spec is None:
        return {}
    spec = _plain_spec(spec)
    if isinstance(spec, tuple):
        return {"restrict": {"range": list(spec)}}
    return {"restrict": {"list": spec} if isinstance(spec, list) else {"value": spec}}


def _restriction_from_json(data: Mapping[str, Any]) -> Restriction:
    spec = data.get("restrict")
    if spec is None:
        return None
    if "range" in spec:
        return tuple(spec["range"])
    return list(spec["list"]) if "list" in spec else spec["value"]


_CLASSES: dict[str, type[Condition]] = {
    kind.__name__: kind for kind in (Condition, equals, not_equals, greater_than, less_than, inside)
}


def rule_from_json(data: Mapping[str, Any]) -> Rule:
    """The condition that `Rule.to_json` described. Raises SpaceError for anything else."""
    try:
        kind = data["type"]
        if kind in ("or", "and"):
            return _many(kind, [rule_from_json(one) for one in data["of"]])
        spec = _restriction_from_json(data)
        if kind == "when":
            return when(data["dependent"], data["expression"], spec)
        return _CLASSES[kind](data["dependent"], data["parent"], data["value"], spec, data["operator"])
    except (KeyError, TypeError) as error:
        raise SpaceError(f"{data!r} does not describe a condition") from error
