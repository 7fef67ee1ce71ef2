"""The search space: `Params`, its domains, conditions and constraints.

Importing this loads attrs and the standard library only; networkx comes with the first condition.
"""

from hpo_core.space._domains import Domain, Integer, Real, Value, Values, domain_from
from hpo_core.space._grid import GridCursor
from hpo_core.space._params import Params

__all__ = ["Domain", "GridCursor", "Integer", "Params", "Real", "Value", "Values", "domain_from"]
