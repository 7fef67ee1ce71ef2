"""Random search (Bergstra and Bengio 2012, JMLR 13, section 2): independent draws from the space."""

from __future__ import annotations

from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import Strategy
from hpo_core.trial import Pause, Proposal


class RandomStrategy(Strategy):
    """Draws each point independently: uniform, or log-uniform on a log scale. Never done."""

    name = "random"

    def ask(self) -> Proposal | Pause:
        return Proposal(self.space.draw(self.rng))


@hookimpl
def hpo_register_strategy() -> type[Strategy]:
    return RandomStrategy
