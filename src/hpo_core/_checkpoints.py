"""Checkpoints of trials: where they are, begun from a parent's, deleted once nobody can continue them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_core import _trees, _workspace
from hpo_core._record import Record
from hpo_core._words import size
from hpo_core.exceptions import LaunchError, StudyStopped
from hpo_core.trial import Files, Trial

if TYPE_CHECKING:
    from hpo_core.evaluator import Evaluator

Job = Callable[[], None]


def workspace_of(evaluator: Evaluator, name: str, cwd: str = "") -> str:
    """The directory in which an attempt of this name runs; empty where all run in the driver's, which is `cwd`."""
    return os.path.join(os.path.abspath(os.path.join(cwd, evaluator.run_path)), name) if evaluator.src_path else ""


def attempt_name(tag: str, attempt: int) -> str:
    """The name of an attempt in paths: ``tag``, then ``tag.2``, ``tag.3`` ..."""
    return tag if attempt == 1 else f"{tag}.{attempt}"


def checkpoint_of(evaluator: Evaluator, directory: Path, study_id: str, name: str, cwd: str = "") -> str:
    """The checkpoint directory of an attempt of this name.

    In its workspace; without one below the study's directory; or below ``Evaluator.checkpoint`` where that is an
    absolute path.
    """
    if os.path.isabs(evaluator.checkpoint):
        return os.path.join(os.path.normpath(evaluator.checkpoint), study_id, name)
    home = workspace_of(evaluator, name, cwd) or os.path.join(os.path.abspath(directory), "checkpoints", name)
    return os.path.normpath(os.path.join(home, evaluator.checkpoint))


class Checkpoints:
    """The checkpoints of a study whose strategy continues them.

    What a strategy may yet continue is kept, as are the checkpoints of the best trial, of trials that have no result
    yet, and of those that they continue. Of the others, those that are older are deleted first: all of them at once,
    or, where there is a budget, as many as it takes.

    What touches files is returned as a job, to be done on whatever thread, one after the other in the order of asking.

    Args:
        evaluator: the user's settings.
        record: what is recorded so far.
        study_id: part of paths that studies share.
        elsewhere: deletes checkpoints where the driver does not see them (`Launcher.discard`); None: it sees them.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        record: Record,
        study_id: str,
        *,
        elsewhere: Callable[[Sequence[Sequence[str]]], None] | None = None,
    ) -> None:
        self._evaluator = evaluator
        self._record = record
        self._study_id = study_id
        self._elsewhere = elsewhere
        self.notes: list[str] = []
        """What people should know, said once each."""
        self._found_empty = False
        self._held: dict[int, tuple[Path, int]] = {}
        """Trials with a result whose checkpoints are there, and their size in bytes where there is a budget."""

    def find(self) -> None:
        """Look for the checkpoints of trials that have a result, after a resumption."""
        for number in self._record.history.order:
            path = self._of(number)
            if self._elsewhere is not None or path.is_dir():
                self._held[number] = path, self._measure(path)

    def files(self, trial: Trial, attempt: int) -> Files:
        """What an attempt is to find, for a launcher that makes it."""
        source = os.path.abspath(self._evaluator.src_path) if self._evaluator.src_path else ""
        if not self._evaluator.checkpoint:
            return Files(source)
        parents = () if trial.parent is None else self._places(self._of(trial.parent))
        return Files(source, str(self._path(trial, attempt)), parents)

    def begin(self, trial: Trial, attempt: int) -> Job:
        """Make the directory that an attempt finds: a copy of its parent's, or an empty one.

        The job raises LaunchError where the parent's is gone, or could not be copied.
        """
        target = self._path(trial, attempt)
        if trial.parent is None:
            return partial(_workspace.make_checkpoint, os.fspath(target))
        return partial(self._continue, trial.number, trial.parent, self._of(trial.parent), target)

    def _continue(self, number: int, parent: int, source: Path, target: Path) -> None:
        if not source.is_dir():
            raise LaunchError(f"trial {number} continues trial {parent}, whose checkpoint {source} is gone")
        try:
            _trees.clone(source, target)
            empty = not any(source.iterdir())
        except (OSError, shutil.Error) as error:
            raise LaunchError(f"cannot copy the checkpoint {source} to {target}: {error}") from error
        if empty and not self._found_empty:
            self._found_empty = True
            self.notes.append(
                f"trial {number} continues trial {parent}, which left its checkpoint empty, so it begins anew: the "
                "command should write its state below @checkpoint (the variable HPO_CHECKPOINT), and read it there"
            )

    def keep(self, number: int) -> Job:
        """A trial has its result: its checkpoint may be continued, those of its earlier attempts never."""
        trial, attempts = self._record.history.trial(number), self._record.history.attempts(number)
        path, others = self._path(trial, attempts), [self._path(trial, attempt) for attempt in range(1, attempts)]

        def keep() -> None:
            self._discard(others)
            self._held[number] = path, self._measure(path)

        return keep

    def collect(self, continuable: Collection[int]) -> Job:
        """Delete what is not needed, with a budget only as much as exceeds it.

        The job raises StudyStopped where what is needed exceeds the budget.
        """
        record = self._record
        needed = {*continuable, record.best, *(record.trial(number).parent for number in record.history.open_numbers())}
        return partial(self._collect, needed)

    def _collect(self, needed: Collection[int | None]) -> None:
        budget = self._evaluator.checkpoint_budget_bytes
        held = sum(bytes_ for _, bytes_ in self._held.values())
        garbage = []
        for number in sorted(self._held):
            if budget is not None and held <= budget:
                break
            if number not in needed:
                path, bytes_ = self._held.pop(number)
                garbage.append(path)
                held -= bytes_
        self._discard(garbage)
        if budget is not None and held > budget:
            raise StudyStopped(
                f"the checkpoints that are still needed hold {size(held)}, and checkpoint_budget is {size(budget)}: "
                "allow more (hpo resume --checkpoint-budget), or begin one with fewer members"
            )

    def _of(self, number: int) -> Path:
        """The checkpoint of a trial that has a result: that of its last attempt."""
        return self._path(self._record.history.trial(number), self._record.history.attempts(number))

    def _path(self, trial: Trial, attempt: int) -> Path:
        evaluator, name = self._evaluator, attempt_name(trial.tag, attempt)
        path = checkpoint_of(evaluator, self._record.directory, self._study_id, name)
        workspace = workspace_of(evaluator, name)
        if workspace and not os.path.isabs(evaluator.checkpoint) and self._elsewhere is None:
            return _workspace.find(workspace, self._study_id) / os.path.relpath(path, workspace)
        return Path(path)

    def _places(self, path: Path) -> tuple[str, ...]:
        """Where a checkpoint may be: in its workspace, which another study of the same `run_path` may have moved."""
        if not self._evaluator.src_path or os.path.isabs(self._evaluator.checkpoint):
            return (str(path),)
        run_path = os.path.abspath(self._evaluator.run_path)
        name, _, rest = os.path.relpath(path, run_path).partition(os.sep)
        return str(_workspace.moved(Path(run_path, name), self._study_id) / rest), str(path)

    def _discard(self, paths: Sequence[Path]) -> None:
        if self._elsewhere is None:
            for path in paths:
                _discard(path)
        elif paths:
            self._elsewhere([self._places(path) for path in paths])

    def _measure(self, path: Path) -> int:
        return 0 if self._evaluator.checkpoint_budget_bytes is None else _trees.size_bytes(path)


def _discard(path: Path) -> None:
    try:
        _trees.remove(path)
        path.parent.rmdir()
    except OSError:
        pass  # A folder with more in it stays; garbage that can't be removed is found again by the next session.
