"""An evaluation as a job step."""

from __future__ import annotations

from attrs import field, mutable

from hpo_core import Evaluation
from hpo_core.events import Key, Timer
from hpo_slurm._child import Child


@mutable(eq=False)
class Step:
    """An evaluation that was launched and has not ended.

    Attributes:
        evaluation: what runs.
        child: its srun, where one runs.
        ending: whether it is to end, because somebody said so.
        killed: whether TERM was not enough, or not wanted.
        first_refusal_s: when Slurm first refused to start it, on the loop's clock.
        messages: what srun said.
        errors: the end of what the program wrote to stderr.
        looks: how often Slurm was asked in vain what became of it.
    """

    evaluation: Evaluation
    child: Child | None = None
    ending: bool = False
    killed: bool = False
    first_refusal_s: float | None = None
    messages: bytes = b""
    errors: bytes = b""
    looks: int = 0
    timers: list[Timer] = field(factory=list)

    @property
    def key(self) -> Key:
        return self.evaluation.key

    @property
    def name(self) -> str:
        return self.evaluation.name

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(slot.node for slot in self.evaluation.slots)

    def forget_timers(self) -> None:
        """Nothing more is due."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
