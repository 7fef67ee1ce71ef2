"""Job steps are ended: TERM, KILL, a sweep of their nodes, until Slurm has no step of that name any more."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from hpo_core.clusters import LoopCalls, repeat
from hpo_core.events import Ended, EventLoop
from hpo_slurm import _commands as cmd
from hpo_slurm._child import Child
from hpo_slurm._client import Client
from hpo_slurm._leftovers import PAUSES_S
from hpo_slurm._manager import SlurmManager
from hpo_slurm._step import Step
from hpo_slurm._task import SWEEP

_SWEEP = "sweep"
_SWEEP_S = 1.0
"""A step that outlives its KILL so long has processes that Slurm does not find."""

_SRUN_TERM_S = 3.0
_SRUN_KILL_S = 60.0
_CLOSE_S = 20.0


class Ending:
    """Ends steps. What is asked of Slurm is asked in the clerk's thread, once for all steps of the same moment.

    Args:
        events: the study's loop.
        manager: of the allocation.
        steps: those that there are.
        over: is told, on the loop's thread, what of a step is left: nothing.
    """

    def __init__(
        self,
        events: EventLoop,
        manager: SlurmManager,
        steps: Callable[[], Iterable[Step]],
        over: Callable[[Step, Ended], None],
    ) -> None:
        self._events, self._manager, self._steps, self._over = events, manager, steps, over
        self._batches: dict[str, set[str]] = {}
        self._to_confirm: dict[str, tuple[Step, Ended]] = {}
        self._rests_since: dict[str, float] = {}
        self.loop = LoopCalls(events)
        """Calls from the clerk's thread."""

    def end(self, step: Step, grace_s: float) -> None:
        """End a step that runs."""
        if grace_s > 0 and not step.killed:
            self._batch("TERM", step.name)
            step.timers.append(self._events.call_later(grace_s, lambda: self._kill(step)))
        else:
            self._kill(step)

    def confirm(self, step: Step, ended: Ended) -> None:
        """Tell the end of a step once Slurm has none of that name any more."""
        self._to_confirm[step.name] = (step, ended)
        if len(self._to_confirm) == 1:
            self.in_clerk(self._look_for_rests)

    def confirms(self, step: Step) -> bool:
        """Whether its end is being looked for."""
        return step.name in self._to_confirm

    def in_clerk(self, function: Callable[[], None]) -> None:
        """Call a function in the clerk's thread."""
        if self._manager.clerk is not None:
            self._manager.clerk.call(function)

    def close(self) -> None:
        """Tell nothing more."""
        self.loop.close()
        self._to_confirm.clear()

    def _kill(self, step: Step) -> None:
        """KILL for the whole step; srun is told as well where that does not help soon."""
        step.killed = True
        self._batch("", step.name)
        for delay_s, call in (
            (_SWEEP_S, partial(self._batch, _SWEEP, step.name)),
            (_SRUN_TERM_S, partial(_signal_srun, step, signal.SIGTERM)),
            (_SRUN_KILL_S, partial(_signal_srun, step, signal.SIGKILL)),
        ):
            step.timers.append(self._events.call_later(delay_s, call))

    def _batch(self, signal_name: str, name: str) -> None:
        """One command for all steps that are ended in the same moment."""
        names = self._batches.setdefault(signal_name, set())
        names.add(name)
        if len(names) == 1:
            self.in_clerk(partial(self._cancel, names, signal_name))

    def _cancel(self, names: set[str], signal_name: str) -> None:
        """In the clerk's thread."""
        chosen = set[str]()
        while names:
            chosen.add(names.pop())
        client = self._manager.client
        steps = client.steps()
        if steps is None:
            return  # the timers will tell srun
        found = {name: step for step, name in steps if name in chosen}
        if signal_name == _SWEEP:
            sweep(self._manager, client, list(found))
            signal_name = ""
        client.cancel(list(found.values()), signal_name=signal_name)
        missing = chosen - found.keys()
        if missing:
            self.loop.call(lambda: self._not_begun(missing))

    def _not_begun(self, names: Collection[str]) -> None:
        """What is to end and is no step yet: srun will not make one of it any more."""
        for step in self._steps():
            if step.name in names:
                _signal_srun(step, signal.SIGTERM)

    def _look_for_rests(self) -> None:
        """In the clerk's thread."""
        names = set(self._to_confirm)
        client = self._manager.client
        steps = client.steps()
        if steps is None:
            self.loop.call(lambda: self._confirmed(set()))
            return
        rests = {name: step for step, name in steps if name in names}
        client.cancel(list(rests.values()))
        now = time.monotonic()
        self._rests_since = {name: self._rests_since.get(name, now) for name in rests}
        sweep(self._manager, client, [name for name, since in self._rests_since.items() if now - since > _SWEEP_S])
        self.loop.call(lambda: self._confirmed(names - rests.keys()))

    def _confirmed(self, names: Collection[str]) -> None:
        for name in names:
            step, ended = self._to_confirm.pop(name, (None, None))
            if step is not None and ended is not None:
                self._over(step, ended)
        if self._to_confirm:
            self._events.call_later(0.2 if names else 1.0, self._confirm_again)

    def _confirm_again(self) -> None:
        if self._to_confirm:
            self.in_clerk(self._look_for_rests)


def sweep(manager: SlurmManager, client: Client, names: Sequence[str]) -> None:
    """Where Slurm lost track of a step's processes, no scancel reaches them: go there and kill them."""
    if names and manager.job is not None:
        pattern = "|".join(name.replace(".", "[.]") for name in names)
        words = cmd.srun_words(manager.job, manager.names(), "hpo-sweep", arguments=("--chdir=/",))
        client.ask((*words, "sh", "-c", SWEEP, "sh", pattern))


def end_now(manager: SlurmManager, names: Collection[str], children: Sequence[Child]) -> None:
    """KILL for all steps of these names, and wait until they and their sruns are gone."""
    began, client, told = time.monotonic(), manager.client, False

    def end() -> bool:
        nonlocal told
        listed = client.steps()
        left = [] if listed is None else [(step, name) for step, name in listed if name in names]
        if time.monotonic() - began > _SWEEP_S:
            sweep(manager, client, [name for _, name in left])
        client.cancel([step for step, _ in left])
        if not told:
            told = True
            if listed is None or not set(names) <= {name for _, name in listed}:
                for child in children:
                    child.signal(signal.SIGTERM)
        return listed is not None and not left and all(child.wait(0.0) for child in children)

    repeat(end, _CLOSE_S, PAUSES_S[:1])


def _signal_srun(step: Step, number: int) -> None:
    if step.child is not None:
        if number == signal.SIGKILL:
            step.child.kill()
        else:
            step.child.signal(number)
