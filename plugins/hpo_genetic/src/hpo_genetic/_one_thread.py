"""Models are small: numpy's threads would burn many times the processor time that they save, and the cores are others'.

The library behind numpy's wheels is OpenBLAS, which can be told so while it is loaded. Where it is another one, or has
other names for it, nothing is changed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

_NAMES = (
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
)


@contextmanager
def one_thread() -> Iterator[None]:
    """Have numpy calculate on the calling thread alone."""
    get, put = _switch()
    before = get()
    if before <= 1:
        yield
        return
    put(1)
    try:
        yield
    finally:
        put(before)


@cache
def _switch() -> tuple[Callable[[], int], Callable[[int], object]]:
    """What tells the number of threads, and what sets it."""
    try:
        library = ctypes.CDLL(np.linalg._umath_linalg.__file__)
    except (AttributeError, OSError):
        return lambda: 0, lambda count: None
    for get, put in _NAMES:
        if hasattr(library, get) and hasattr(library, put):
            return getattr(library, get), getattr(library, put)
    return lambda: 0, lambda count: None
