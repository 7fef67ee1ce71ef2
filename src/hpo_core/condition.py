"""Conditions: when a hyperparameter is used at all.

The published module name::

    from hpo_core import condition
    params.add_conditions([condition.greater_than('-b', '-a', 2)])
"""

from hpo_core.space._conditions import (
    Condition,
    Rule,
    all_of,
    any_of,
    equals,
    greater_than,
    inside,
    less_than,
    not_equals,
    when,
)

__all__ = [
    "Condition",
    "Rule",
    "all_of",
    "any_of",
    "equals",
    "greater_than",
    "inside",
    "less_than",
    "not_equals",
    "when",
]
