"""All observers of a study as one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial

from hpo_core.interfaces import Observer


def _nothing(*arguments: object) -> None:
    """What an observer hears where there is none."""


class Observers:
    """All observers as one; one that raises is switched off with a warning."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = list(observers)

    def __getattr__(self, name: str) -> Callable[..., None]:
        call = partial(self._call, name) if self._observers else _nothing
        setattr(self, name, call)  # is found at once from now on
        return call

    def _call(self, method: str, *arguments: object) -> None:
        for observer in list(self._observers):
            try:
                getattr(observer, method)(*arguments)
            except Exception as error:  # noqa: BLE001 - an observer never harms the study
                self._observers.remove(observer)
                warnings.warn(
                    f"observer {type(observer).__name__} is switched off: {method} raised "
                    f"{type(error).__name__}: {error}",
                    stacklevel=3,
                )
