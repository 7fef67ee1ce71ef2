"""Numbers as programs print them."""

from __future__ import annotations

import re

NUMBER = (
    r"(?<!\w)(?:(?:(?:np\.|numpy\.)?(?:float|longdouble|u?int)\w*|tensor)\()?+"
    r"([+-]?(?:(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eEdD][+-]?[0-9]++)?+|(?i:nan|inf(?:inity)?+)))"
    r"(?![\w^#\ufffd]|[.,:*'\u00d7\u00b7+-][0-9])"
)
"""Regular expression of a number with one group, its digits: the forms of Python, C and Fortran.

``1  -1.5  .5  5.  1e-3  1.5E+02  1.5D-03  nan  -inf  Infinity``, also inside ``np.float64(...)`` or
``tensor(...)``. What follows decides whether it is one: ``0.5,`` ``0.5;`` ``0.5)`` ``0.5%`` and a sentence's full
stop are fine (a percentage is taken as printed), ``1,5`` ``1.2.3`` ``3abc`` ``12:30`` ``2024-01-01`` ``1_000`` and
``1.#INF`` are no numbers. Matching takes linear time.
"""

_WHOLE_NUMBER = re.compile(rf"\s*{NUMBER}[)\s%,;.]*")
_FORTRAN = str.maketrans("dD", "ee")


def to_number(digits: str) -> float:
    """The value of what `NUMBER`'s group matched."""
    try:
        return float(digits)
    except ValueError:
        return float(digits.translate(_FORTRAN))


def read_number(text: str) -> float | None:
    """The value of a text that is one number as `NUMBER` describes it, blanks around it allowed; else None."""
    match = _WHOLE_NUMBER.fullmatch(text)
    return to_number(match[1]) if match else None
