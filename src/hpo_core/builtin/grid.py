"""Grid search: every combination of equally spaced values, the last flag fastest."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen, validators

from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import Outlook, Strategy
from hpo_core.space import Params
from hpo_core.trial import Pause, Proposal


@frozen
class GridOptions:
    """Options of the strategy ``grid``.

    Attributes:
        grid_size: points per range, both bounds among them; lists of values are used whole.
        chunk_size: points per batch in progress messages; evaluation does not wait for batches.
    """

    grid_size: int = field(default=4, validator=validators.ge(1))
    chunk_size: int = field(default=1000, validator=validators.ge(1))


class GridStrategy(Strategy):
    """Proposes the points of the grid in order; done after the last."""

    name = "grid"
    Options = GridOptions

    def __init__(
        self, space: Params, *, seed: int, options: GridOptions | None = None, outlook: Outlook | None = None
    ) -> None:
        super().__init__(space, seed=seed, options=options, outlook=outlook)
        self._cursor = space.grid(self.options.grid_size)

    @property
    def total(self) -> int | None:
        """Points of the grid, or None where conditions or constraints make counting them as long as trying them."""
        return self._cursor.total

    def ask(self) -> Proposal | Pause:
        values = next(self._cursor, None)
        return Pause.DONE if values is None else Proposal(values)

    def get_state(self) -> Any:
        return {**super().get_state(), "position": self._cursor.position}

    def set_state(self, state: Any) -> None:
        super().set_state(state)
        self._cursor = self.space.grid(self.options.grid_size, position=state["position"])


@hookimpl
def hpo_register_strategy() -> type[Strategy]:
    return GridStrategy
