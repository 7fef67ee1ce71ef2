"""`Params`: what may vary, and all that can be done with a point of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import filterfalse
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hpo_core._words import is_unicode
from hpo_core.exceptions import CyclicConditionError, SpaceError
from hpo_core.space import _graph
from hpo_core.space._conditions import Bound, Rule, rule_from_json
from hpo_core.space._domains import Domain, Real, Value, domain_from, plain
from hpo_core.space._expression import Expression, check_types, flag_hint, parse
from hpo_core.space._grid import GridCursor
from hpo_core.space._plan import Constraint, Plan

if TYPE_CHECKING:
    import networkx as nx

_FORMS = "[flag, default, (low, high)], [flag, default, [values]], [flag, (low, high)] or [flag, [values]]"


class Params:
    """The hyperparameters to be optimised: flags, defaults, possible values, conditions and constraints.

        Params([['--learning_rate', 1e-4, (1e-6, 1)],
                ['--dropout_rate', (0.1, 1)],
                ['--optimizer', 'sgd', ['sgd', 'gd', 'adam']]])

    A *point* is a plain dict from flag to value that holds the active flags only, in the order given here,
    with canonical values (the ones that really run). All methods that return points return valid ones. Equal
    states of the generator give equal points.

    Args:
        params: one list for each hyperparameter: ``[flag, default, (low, high)]``,
            ``[flag, default, [value, ...]]``, or either without the default; in place of the tuple or list
            also a `Real`, `Integer` or `Values`. A range whose bounds and default are all ints holds integers.

    Raises:
        SpaceError: anything is wrong with an element; the message names its flag.
    """

    __slots__ = ("_bounds", "_constraints", "_defaults", "_domains", "_fragments", "_plan", "_rules")

    def __init__(self, params: Sequence[Sequence[Any]]) -> None:
        if isinstance(params, (str, Mapping)) or not isinstance(params, Iterable):
            raise SpaceError(f"Params takes a list of lists, each {_FORMS}; not {params!r}")
        self._domains: dict[str, Domain] = {}
        self._defaults: dict[str, Value] = {}
        self._rules: list[Rule] = []
        self._bounds: list[Bound] = []
        self._constraints: list[Constraint] = []
        self._plan: Plan | None = None
        for position, element in enumerate(params, 1):
            self._add(position, element)
        if not self._domains:
            raise SpaceError(f"Params is empty; at least one hyperparameter is needed, such as {_FORMS}")
        self._fragments = self._make_fragments()

    def _add(self, position: int, element: Sequence[Any]) -> None:
        if isinstance(element, str) or not isinstance(element, (list, tuple)) or len(element) not in (2, 3):
            raise SpaceError(f"element {position} of Params is {element!r}; write {_FORMS}")
        flag = element[0]
        _check_flag(flag, position)
        if flag in self._domains:
            raise SpaceError(f"{flag}: this flag is there twice; each may be there once")
        try:
            if len(element) == 2:
                self._domains[flag] = domain_from(element[1])
                return
            default = plain(element[1])
            if isinstance(default, (list, tuple, Domain)):
                raise SpaceError(f"the second of three elements is the default, one value, not {default!r}")
            if default is None:
                raise SpaceError("the default None is no value; leave it out to have one drawn")
            domain = domain_from(element[2], default)
            try:
                self._defaults[flag] = domain.canonical(default)
            except SpaceError as error:
                raise SpaceError(f"the default does not fit: {error}") from None
            if not domain.contains(default):
                near = self._defaults[flag]
                raise SpaceError(f"the default {default!r} is off the grid; the nearest value is {near!r}")
            self._domains[flag] = domain
        except SpaceError as error:
            raise SpaceError(f"{flag}: {error}") from None

    def _make_fragments(self) -> tuple[tuple[str, str], ...]:
        return tuple((flag, f"{flag.replace('%', '%%')}={domain.template}") for flag, domain in self._domains.items())

    def _changed(self) -> None:
        self._plan = None
        self._fragments = self._make_fragments()

    def _ready(self) -> Plan:
        plan = self._plan
        if plan is None:
            order = self.get_ordered_param_when_valid()
            plan = self._plan = Plan(self._domains, self._bounds, self._constraints, order)
        return plan

    # -- What it is

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags, in order."""
        return tuple(self._domains)

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Flag to default, for flags that have one."""
        return MappingProxyType(self._defaults)

    @property
    def domains(self) -> Mapping[str, Domain]:
        """Flag to domain, before any condition restricts it."""
        return MappingProxyType(self._domains)

    @property
    def conditions(self) -> tuple[Rule, ...]:
        """The conditions, as added."""
        return tuple(self._rules)

    @property
    def constraints(self) -> tuple[str, ...]:
        """The relations that must not be False."""
        return tuple(str(c.expression) for c in self._constraints if not c.forbidden)

    @property
    def forbidden(self) -> tuple[str, ...]:
        """The relations that must not be True."""
        return tuple(str(c.expression) for c in self._constraints if c.forbidden)

    @property
    def size(self) -> int | None:
        """How many points there are; None for infinitely many, or where conditions or constraints hide it."""
        if self._rules or self._constraints:
            return None
        product = 1
        for domain in self._domains.values():
            if domain.size is None:
                return None
            product *= domain.size
        return product

    def __len__(self) -> int:
        return len(self._domains)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Params) and repr(self.to_json()) == repr(other.to_json())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Params {' '.join(self._domains)}>"

    def __reduce__(self) -> tuple[Callable[[Mapping[str, Any]], Params], tuple[dict[str, Any]]]:
        return Params.from_json, (self.to_json(),)

    # -- Conditions and constraints

    def add_conditions(self, conditions: Iterable[Rule]) -> None:
        """Add conditions; a flag is active only while all of its conditions hold and its parents are active.

        A cycle is accepted here, so that it can be looked at; everything that uses the space then raises
        CyclicConditionError.

        Raises:
            SpaceError: an unknown flag, a flag that depends on itself (CyclicConditionError), a comparison
                that makes no sense, a restriction outside of the flag's domain. Nothing has been added then.
        """
        rules = [conditions] if isinstance(conditions, Rule) else list(conditions)
        domains, bounds = dict(self._domains), []
        for rule in rules:
            if not isinstance(rule, Rule):
                raise SpaceError(f"{rule!r} is no condition; see hpo_core.condition")
            bound = self._bound(rule)
            bounds.append(bound)
            for spec in bound.restrictions:
                flag = bound.dependent
                try:
                    domain = domains[flag]
                    domain.restrict(spec.value)
                    if isinstance(domain, Real):
                        domains[flag] = domain.with_digits(domain.digits_within(spec.value))
                        domains[flag].restrict(spec.value)
                except SpaceError as error:
                    raise SpaceError(f"{flag}: the condition '{bound.text}' does not fit: {error}") from None
        self._domains = domains
        self._rules += rules
        self._bounds += bounds
        self._changed()

    def _bound(self, rule: Rule) -> Bound:
        named = [rule.dependent_param]
        if isinstance(parent := getattr(rule, "parent_param", None), str):
            named.append(parent)
        self._check_known(named, f"the condition '{rule}'")
        try:
            bound = rule.bind(self._domains)
        except SpaceError as error:
            raise SpaceError(f"{rule.dependent_param}: the condition '{rule}' is wrong: {error}") from None
        if bound.dependent in bound.parents:
            message = f"{bound.dependent}: the condition '{rule}' makes the flag depend on itself"
            raise CyclicConditionError(message, (bound.dependent,))
        return bound

    def _check_known(self, flags: Iterable[object], who: str) -> None:
        for flag in filterfalse(self._domains.__contains__, flags):
            hint = flag_hint(flag, self._domains) if isinstance(flag, str) else ""
            raise SpaceError(f"{who} names the unknown flag {flag!r}.{hint}")

    def add_constraints(self, constraints: Iterable[str]) -> None:
        """Add relations that must not be False, such as ``'--min <= --max'``.

        A relation that names an inactive flag is unknown, and so allowed, unless ``and`` or ``or`` decide it.

        Raises:
            SpaceError: a relation cannot be read (with its place) or makes no sense. Nothing was added then.
        """
        self._add_relations(constraints, forbidden=False)

    def add_forbidden(self, forbidden: Iterable[str]) -> None:
        """Add relations that must not be True, such as ``"--opt == 'sgd' and --lr > 0.1"``.

        Raises:
            SpaceError: as for `add_constraints`.
        """
        self._add_relations(forbidden, forbidden=True)

    def _add_relations(self, texts: Iterable[str], *, forbidden: bool) -> None:
        new = []
        for text in [texts] if isinstance(texts, str) else list(texts):
            expression: Expression = parse(text, self.flags)
            check_types(expression, self._domains)
            if not expression.flags():
                raise SpaceError(f"'{expression}' names no flag, so it restricts nothing")
            new.append(Constraint(expression, forbidden=forbidden))
        self._constraints += new
        self._changed()

    # -- The published methods

    def get_params(self) -> dict[str, str]:
        """Flag to the text of its default, for every flag.

        A flag without a default shows a value drawn for it; which one depends on nothing but the flag and its
        domain, so it stays the same.
        """
        shown = {}
        for flag, domain in self._domains.items():
            value = self._defaults[flag] if flag in self._defaults else domain.draw(Random(f"{flag} {domain!r}"))
            shown[flag] = domain.text(value)
        return shown

    def get_dependency_graph(self) -> nx.DiGraph[str]:
        """The dependencies as a networkx graph: an edge from each parent to its dependent."""
        edges = [(parent, bound.dependent, bound.text) for bound in self._bounds for parent in bound.parents]
        return _graph.build(self.flags, edges)

    def get_dependency_graph_as_str(self) -> str:
        """The conditions as text, joined with ``;``, such as ``-b | -a > 2;-e | -b < 4``."""
        return ";".join(bound.text for bound in self._bounds)

    def detect_cycle(self, g: nx.DiGraph[Any]) -> bool:
        """Whether the graph has a cycle.

        Args:
            g: any directed graph of networkx.
        """
        return _graph.has_cycle(g)

    def serialize_graph(self, graph: nx.DiGraph[Any]) -> list[str]:
        """The graph's nodes, parents first, otherwise in the order of the flags.

        Args:
            graph: a directed graph of networkx without a cycle.

        Raises:
            CyclicConditionError: it has one.
        """
        return _graph.ordered(graph, self.flags)

    def get_ordered_param_when_valid(self) -> list[str]:
        """All flags, parents before their dependents, otherwise in order.

        Raises:
            CyclicConditionError: conditions depend on each other in a circle, which is named.
        """
        if not self._bounds:
            return list(self._domains)
        return self.serialize_graph(self.get_dependency_graph())

    # -- Points

    def check(self) -> None:
        """Validate everything before use.

        Raises:
            CyclicConditionError: conditions depend on each other in a circle.
            SpaceError: the defaults violate a constraint, or no valid point could be found.
        """
        plan = self._ready()
        plan.draw(Random(0))
        plan.baseline(Random(0), self._defaults)

    def domain(self, flag: str, values: Mapping[str, Value]) -> Domain | None:
        """What the flag may be beside these values of its parents; None while it is inactive.

        Raises:
            SpaceError: the flag is unknown, or restrictions leave no value here.
        """
        known = self._ready().by_flag
        if flag not in known:
            self._check_known([flag], "domain()")
        entry = known[flag].effective(values)
        if entry is None:
            return None
        if entry.domain is None:
            raise SpaceError(f"{flag}: its restrictions leave no value here")
        return entry.domain

    def draw(self, rng: Random, fixed: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """A random valid point: every active flag uniform (log-uniform with ``log``).

        Under constraints points are drawn until one is valid, so that the distribution stays uniform; where
        about a hundred tries find none, the last is mended.

        Args:
            rng: source of chance.
            fixed: values that their flags have in the result wherever they are active.

        Raises:
            SpaceError: an unknown or impossible fixed value, or no valid point was found.
        """
        plan = self._plan or self._ready()
        if fixed:
            return plan.draw_with(rng, self._converted(fixed))
        if plan.conditional or plan.constraints:
            return plan.draw(rng)
        random = rng.random
        return {flag: draw(random) for flag, draw in plan.draws}

    def _converted(self, values: Mapping[str, Value]) -> dict[str, Value]:
        self._check_known(values, "the mapping")
        converted = {}
        for flag, value in values.items():
            try:
                converted[flag] = self._domains[flag].canonical(value)
            except SpaceError as error:
                raise SpaceError(f"{flag}: {error}") from None
        return converted

    def baseline(self, rng: Random) -> dict[str, Value]:
        """The point of the defaults; what has none, or none that the conditions allow here, is drawn.

        Raises:
            SpaceError: the defaults violate a constraint.
        """
        return self._ready().baseline(rng, self._defaults)

    def complete(self, partial: Mapping[str, Any], rng: Random) -> dict[str, Value]:
        """A valid point with every given value that is active and possible; the rest is drawn.

        Values are rounded and snapped as `Domain.canonical` does; impossible ones are drawn anew; values of
        inactive flags are left out. Where constraints are violated, as few values as possible are changed,
        and those as little as possible.

        Raises:
            SpaceError: a flag is unknown, or the space has no valid point.
        """
        self._check_known(partial, "the mapping")
        return self._ready().complete(partial, rng)

    def canonical(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """The point that the values are: checked, typed, rounded, in order.

        Raises:
            SpaceError: an unknown flag, an active flag without a value, a value for an inactive flag, an
                impossible value, or a violated constraint.
        """
        self._check_known(values, "the point")
        return self._ready().canonical(values)

    def is_valid(self, values: Mapping[str, Any]) -> bool:
        """Whether `canonical` takes the values."""
        plan = self._ready()
        try:
            self._check_known(values, "the point")
            plan.canonical(values)
        except SpaceError:
            return False
        return True

    def encode(self, values: Mapping[str, Value]) -> list[float]:
        """A point as numbers in [0, 1], one for each flag in order; NaN for inactive flags.

        Each is relative to what the flag may be at this point.
        """
        return self._ready().encode(values)

    def decode(self, units: Sequence[float], rng: Random) -> dict[str, Value]:
        """The valid point at these places; undoes `encode`, and takes any vector.

        Args:
            units: one number for each flag in order; clamped to [0, 1]; NaN means drawn; those of inactive
                flags are not looked at.
            rng: source of chance.

        Raises:
            SpaceError: the vector has another length, or the space has no valid point.
        """
        if len(units) != len(self._domains):
            raise SpaceError(f"{len(units)} numbers cannot be decoded for {len(self._domains)} flags")
        return self._ready().decode(units, rng)

    def neighbour(
        self, values: Mapping[str, Value], rng: Random, scale: float = 0.1, count: int | None = None
    ) -> dict[str, Value]:
        """A valid point near this one; another one wherever there is another.

        Args:
            values: where to start from.
            rng: source of chance.
            scale: standard deviation of the steps, as a share of each domain.
            count: how many flags are moved; by default one on average, and at least one.
        """
        self._check_known(values, "the point")
        return self._ready().neighbour(values, rng, scale, count)

    def render(self, values: Mapping[str, Value]) -> list[str]:
        """``FLAG=VALUE`` texts of a point, in order, not quoted for any shell; flags are put as they are."""
        return [form % values[flag] for flag, form in self._fragments if flag in values]

    def parse_text(self, texts: Mapping[str, str]) -> dict[str, Value]:
        """The point that these texts show (flag to text, active flags only); undoes `render`.

        Raises:
            SpaceError: a text that is no value of its flag, and everything that `canonical` refuses.
        """
        self._check_known(texts, "the point")
        values = {}
        for flag, text in texts.items():
            try:
                values[flag] = self._domains[flag].parse(text)
            except SpaceError as error:
                raise SpaceError(f"{flag}: {error}") from None
        return self.canonical(values)

    def key(self, values: Mapping[str, Value]) -> tuple[Value | None, ...]:
        """A hashable identity of a point: one element for each flag in order, None for inactive ones."""
        return tuple(map(values.get, self._domains))

    def grid(self, n: int, position: Sequence[int] | None = None) -> GridCursor:
        """All points of a grid, the last flag fastest; see `GridCursor`.

        Args:
            n: points for each range, both bounds among them; lists of values are used whole.
            position: a cursor's ``position``; the walk goes on behind it.

        Raises:
            SpaceError: ``n < 1``, or a position that is not in this grid.
        """
        return GridCursor(self._ready(), n, position)

    # -- Storing

    def to_json(self) -> dict[str, Any]:
        """A JSON-compatible description of the whole space; `from_json` undoes it."""
        params = []
        for flag, domain in self._domains.items():
            one: dict[str, Any] = {"flag": flag, "domain": domain.to_json()}
            if flag in self._defaults:
                one["default"] = self._defaults[flag]
            params.append(one)
        return {
            "params": params,
            "conditions": [rule.to_json() for rule in self._rules],
            "constraints": list(self.constraints),
            "forbidden": list(self.forbidden),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Params:
        """The space that `to_json` described. Raises SpaceError for anything else."""
        try:
            elements = []
            for one in data["params"]:
                domain = Domain.from_json(one["domain"])
                given = [one["default"]] if "default" in one else []
                elements.append([one["flag"], *given, domain])
            params = cls(elements)
            if data.get("conditions"):
                params.add_conditions([rule_from_json(one) for one in data["conditions"]])
            params.add_constraints(data.get("constraints", ()))
            params.add_forbidden(data.get("forbidden", ()))
        except (KeyError, TypeError) as error:
            raise SpaceError("this does not describe a search space") from error
        return params

    def difference(self, other: Params) -> list[str]:
        """What has changed from this space to the other one, in sentences; empty if they are equal."""
        found = [f"{flag} is gone" for flag in self.flags if flag not in other._domains]
        found += [f"{flag} is new" for flag in other.flags if flag not in self._domains]
        if not found and self.flags != other.flags:
            found.append(f"the order of the flags was {', '.join(self.flags)} and is {', '.join(other.flags)}")
        for flag in self.flags:
            if flag not in other._domains:
                continue
            old, new = self._domains[flag], other._domains[flag]
            if repr(old.to_json()) != repr(new.to_json()):
                found.append(f"{flag} was {old!r} and is {new!r}")
            a, b = (repr(p._defaults[flag]) if flag in p._defaults else "none" for p in (self, other))
            if a != b:
                found.append(f"the default of {flag} was {a} and is {b}")
        old_rules, new_rules = ([f"condition '{one.text}'" for one in p._bounds] for p in (self, other))
        old_rules += [f"constraint ({c.text})" for c in self._constraints]
        new_rules += [f"constraint ({c.text})" for c in other._constraints]
        found += [f"the {one} is gone" for one in old_rules if one not in new_rules]
        found += [f"the {one} is new" for one in new_rules if one not in old_rules]
        if not found and self != other:
            found.append("the order of the conditions or constraints has changed")
        return found


def _check_flag(flag: object, position: int) -> None:
    if not isinstance(flag, str):
        raise SpaceError(f"element {position} of Params starts with {flag!r}; a flag such as '--lr' is needed")
    if not flag.strip():
        raise SpaceError(f"element {position} of Params has an empty flag; write one such as '--lr'")
    if any(char in flag for char in "\n\r\0"):
        raise SpaceError(f"{flag!r}: a flag cannot hold line breaks or NUL characters")
    if not is_unicode(flag):
        raise SpaceError(f"{flag!r} has half a character (a lone surrogate), which no file can hold")
    if flag != flag.strip():
        raise SpaceError(f"{flag!r}: a flag cannot start or end with blanks; write {flag.strip()!r}")
