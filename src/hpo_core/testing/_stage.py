"""An opened launcher and what is heard of it: what the contracts of launchers play on."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from hpo_core.allocation import Slot
from hpo_core.events import Ended, Event, EventLoop, Key, Output, Started
from hpo_core.interfaces import Capability, Launcher
from hpo_core.trial import Evaluation

STUDY = f"contract{secrets.token_hex(4)}"
"""Id of the study that the checks play; others may run theirs on this machine at the same time."""


class Stage:
    """An opened launcher, its events, and what was heard of each evaluation.

    Args:
        launcher: is opened.
        events: where it posts.
        slots: given to evaluations in turn.
        patience_s: the longest wait for anything.
    """

    def __init__(self, launcher: Launcher, events: EventLoop, slots: Sequence[Slot], patience_s: float) -> None:
        self.launcher = launcher
        self.events = events
        self.slots = slots
        self.patience_s = patience_s
        self.heard: dict[Key, list[Event]] = {}
        self._launched = 0
        self._is_open = False
        self.open()

    def open(self) -> None:
        """Open the launcher, again after `close`."""
        self.launcher.open(self.events, STUDY)
        self._is_open = True

    def close(self) -> None:
        """Close the launcher, once."""
        if self._is_open:
            self._is_open = False
            self.launcher.close()

    def evaluation(
        self,
        command: str,
        *,
        argv: tuple[str, ...] | None = None,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        memory_limit: int | None = None,
        trial: int | None = None,
        attempt: int = 1,
        nodes: int = 1,
    ) -> Evaluation:
        """An evaluation of a command, with a number of its own; on several nodes, the first of `slots`."""
        self._launched += 1
        number = trial or self._launched
        slots = self.slots[:nodes] if nodes > 1 else (self.slots[number % len(self.slots)],)
        facts = {
            "HPO_STUDY": STUDY,
            "HPO_TRIAL": str(number),
            "HPO_NODELIST": ",".join(slot.node for slot in slots),
            "HPO_NUM_NODES": str(nodes),
        }
        return Evaluation(
            trial=number,
            attempt=attempt,
            command=command,
            argv=argv,
            directory=None if directory is None else str(directory),
            environment={**facts, **(environment or {})},
            slots=tuple(slots),
            name=f"hpo-{STUDY}-{number}-{attempt}",
            memory_limit_bytes=memory_limit,
        )

    def start(self, evaluation: Evaluation) -> Key:
        """Launch an evaluation."""
        self.launcher.launch(evaluation)
        return evaluation.key

    def launch(self, command: str, *, directory: Path | None = None) -> Key:
        """Launch a command."""
        return self.start(self.evaluation(command, directory=directory))

    def until(self, condition: Callable[[], object], what: str, limit_s: float | None = None) -> None:
        """Hear events until something is so; it is an error if that takes too long."""
        start_s, real_s = self.events.now(), time.monotonic()
        limit_s = self.patience_s if limit_s is None else limit_s
        while not condition():
            late = self.events.now() - start_s > limit_s or time.monotonic() - real_s > limit_s
            assert not late, f"{what}: not within {limit_s:g} s; heard {self._summary()}"
            self.listen(0.02)

    def listen(self, seconds: float) -> None:
        """Hear events for so long."""
        until = self.events.now() + seconds
        while True:
            events = self.events.next_events(until)
            for event in events:
                if isinstance(event, (Started, Output, Ended)):
                    self.heard.setdefault(event.key, []).append(event)
            if not events or self.events.now() >= until:
                return

    def moment(self) -> None:
        """Hear events for a moment, where nothing should happen; a virtual moment is long."""
        self.listen(1e6 if self.events.virtual else 0.2)

    def wait(self, *keys: Key, limit_s: float | None = None) -> Ended:
        """Wait until these have ended; the last one's end."""
        for key in keys:
            self.until(lambda key=key: self.ends(key), f"the end of {key}", limit_s)  # type: ignore[misc]
        return self.ends(keys[-1])[0]

    def ends(self, key: Key) -> list[Ended]:
        """All ends that were heard of an evaluation."""
        return [event for event in self.heard.get(key, ()) if isinstance(event, Ended)]

    def output(self, key: Key, stream: str | None = None) -> bytes:
        """What was heard of an evaluation's output, in one stream or in all."""
        events = self.heard.get(key, ())
        return b"".join(e.data for e in events if isinstance(e, Output) and stream in (None, e.stream))

    def _summary(self) -> str:
        seen = [f"{key}: {len(self.output(key))} bytes, {self.ends(key) or 'no end'}" for key in list(self.heard)[:5]]
        return "; ".join(seen) or "nothing"


def several_nodes(stage: Stage) -> int:
    """How many nodes an evaluation can have; the check is skipped where it is one."""
    if Capability.MULTI_NODE not in stage.launcher.capabilities:
        pytest.skip("Capability.MULTI_NODE is not declared")
    if len({slot.node for slot in stage.slots}) < len(stage.slots) or len(stage.slots) < 2:
        pytest.skip("the fixture 'slots' does not give several nodes with a slot each")
    return len(stage.slots)
