"""The search space (the published module name)."""

from hpo_core.space import Integer, Params, Real, Values

__all__ = ["Integer", "Params", "Real", "Values"]
