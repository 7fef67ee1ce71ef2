"""A study: the search of a space with a strategy, recorded in a directory.

What happens, in order: `Study(...)` checks everything and makes the directory; `optimize` acquires nodes and runs
the loop (`hpo_core._loop`): ask the strategy, launch, read the output, put the result on disk, tell the strategy,
until a budget is spent; `Study.load` goes on from the directory alone.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import attrs

from hpo_core import registry
from hpo_core._blame import faults_of
from hpo_core._checkpoints import Checkpoints
from hpo_core._fingerprint import differences, fingerprint
from hpo_core._header import (
    changes,
    check_budget,
    make_header,
    make_strategy,
    read_header,
    refuse_another_search,
    refuse_changes,
    refuse_other_files,
    strategy_class,
)
from hpo_core._ledger import Ledger, baseline
from hpo_core._lock import Lock
from hpo_core._observers import Observers
from hpo_core._place import Place
from hpo_core._plan import Planner, width
from hpo_core._results import Results
from hpo_core._summary import show_command
from hpo_core._words import seconds
from hpo_core.allocation import Slot
from hpo_core.budget import Budget, StopReason
from hpo_core.command import missing_program
from hpo_core.evaluator import Evaluator
from hpo_core.exceptions import ConfigurationError, HpoError, JournalError, LeftoverWarning, NoResultWarning
from hpo_core.interfaces import Capability, Observer, Outlook, Strategy
from hpo_core.journal import NAME as JOURNAL
from hpo_core.journal import Journal, read
from hpo_core.space import Params
from hpo_core.trial import Failure, Pause, Proposal, Result, State, Trial, Value

_NO_LIMIT = "none"
_SNAPSHOT_ON_CLOSE = 10_000
"""Trials finished since the last snapshot that make one worth while at the end."""


class Study(Results):
    """The search of a space for the best flags of a command.

    Args:
        params: the search space.
        evaluator: how to run the command; None for a study of `ask` and `tell` alone.
        strategy: name of a strategy, or a `Strategy` class.
        strategy_options: the strategy's options, by their keys.
        n_trials: trials to run, the baseline among them, retries not; None: until something else ends the study.
        seed: of all random numbers; 0: a random one, which is recorded.
        directory: where the study is kept; None: a fresh ``hpo-study-N`` where the driver runs.
        name: for people and log files.
        target: stop when the figure of merit is this good.
        patience: stop after this many trials without improvement.
        max_failures: stop after this many failed trials in a row.
        evaluate_defaults: run the default values first.
        maximize: for `tell`; None: as the evaluator says, else False.
        sync: ``driver`` (records survive the driver's death) or ``durable`` (also the host's).
        observers: names of observer plugins, or `Observer` objects.
        resume_if_exists: go on with the study in `directory` if there is one, for jobs that are requeued.
        allow_changes: go on with it even if command or sources changed.

    Raises:
        ConfigurationError: something is wrong, or `directory` exists; nothing was run or written.
        PluginError: a name is not known, or its plugin cannot be used.
    """

    _ledger: Ledger
    _lock: Lock
    _observers: Observers
    _header: dict[str, Any]
    _outlook: Outlook
    _check_changes = False
    _moved_from = ""
    """Where the last session ran, if that is not where this one does."""
    stop_reason: StopReason | None
    """Why `optimize` returned; None before."""

    def __init__(
        self,
        params: Params,
        evaluator: Evaluator | None = None,
        *,
        strategy: str | type[Strategy] = "random",
        strategy_options: Mapping[str, Any] | None = None,
        n_trials: int | None = None,
        seed: int = 0,
        directory: str | os.PathLike[str] | None = None,
        name: str = "",
        target: float | None = None,
        patience: int | None = None,
        max_failures: int | None = None,
        evaluate_defaults: bool = True,
        maximize: bool | None = None,
        sync: str = "driver",
        observers: Iterable[str | Observer] = (),
        resume_if_exists: bool = False,
        allow_changes: bool = False,
    ) -> None:
        if not isinstance(params, Params):
            raise ConfigurationError(f"params must be hpo.Params, not {type(params).__name__}")
        if evaluator is not None and not isinstance(evaluator, Evaluator):
            raise ConfigurationError(f"evaluator must be hpo.Evaluator, not {type(evaluator).__name__}")
        chosen = strategy_class(strategy)
        header = make_header(
            params,
            evaluator,
            strategy=chosen,
            strategy_options=strategy_options or {},
            seed=seed,
            name=name,
            evaluate_defaults=evaluate_defaults,
            maximize=maximize,
            sync=sync,
            budget={
                "n_trials": n_trials,
                "timeout_s": None if evaluator is None else evaluator.timeout_s,
                "target": target,
                "patience": patience,
                "max_failures": max_failures,
            },
        )
        if directory is not None and resume_if_exists and (Path(directory) / JOURNAL).exists():
            path = Path(directory)
            refuse_another_search(
                path, read_header(path), maximize=header["maximize"], params=params, strategy=header["strategy"]
            )
            self._open(
                path, evaluator, chosen, observers, budget=header["budget"], allow_changes=allow_changes, described=True
            )
            return
        params.check()
        self._assemble(header, params, evaluator, chosen)
        self._equip(evaluator, observers)
        self._check_command()
        self.directory = _make_directory(directory)
        try:
            self._begin(header)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        if evaluate_defaults:
            self._ledger.begin_with(baseline(params, header["seed"]))

    def _begin(self, header: Mapping[str, Any]) -> None:
        """Write the first record of a new study."""
        home = self._ledger.directory = self.directory.absolute()
        lock = Lock(home)
        try:
            journal = Journal(home, sync=header["sync"])
            journal.append(header)
            journal.flush()
        except BaseException:
            lock.release()
            raise
        self._lock, self._ledger.journal = lock, journal

    @classmethod
    def load(
        cls,
        directory: str | os.PathLike[str],
        evaluator: Evaluator | Mapping[str, Any] | None = None,
        *,
        strategy: type[Strategy] | None = None,
        observers: Iterable[str | Observer] = (),
        n_trials: int | Literal["none"] | None = None,
        timeout: float | str | None = None,
        target: float | Literal["none"] | None = None,
        patience: int | Literal["none"] | None = None,
        max_failures: int | Literal["none"] | None = None,
        force_lock: bool = False,
        allow_changes: bool = False,
    ) -> Study:
        """Go on with a study from its directory.

        Args:
            directory: the study's directory.
            evaluator: None: as the last session had it. A dict: its arguments that are others now, such as
                ``{"nodes": 8}``. Or one that replaces it, for what can't be recorded (objects in options).
            strategy: its class, where it is no installed plugin.
            observers: names of observer plugins, or `Observer` objects.
            n_trials: a new budget of trials, counted from the first; None: as recorded, ``none``: no limit any more, as
                for all that follow.
            timeout: a new total time, in minutes or as text such as ``2h``, counted from the first launch.
            target: a new figure of merit that is good enough.
            patience: a new number of trials without improvement.
            max_failures: a new number of failed trials in a row.
            force_lock: take the study from another driver that is surely gone.
            allow_changes: let `optimize` go on even if the command or its sources changed.

        Raises:
            JournalError: there is no study, or its journal is damaged.
            StudyLockedError: another driver works on it.
            ConfigurationError: an argument is wrong.
        """
        if evaluator is not None and not isinstance(evaluator, (Evaluator, Mapping)):
            raise ConfigurationError(
                f"evaluator={evaluator!r} must be hpo.Evaluator, or a dict of arguments that have changed"
            )
        if isinstance(evaluator, Mapping) and timeout is None:
            timeout = evaluator.get("timeout")
        study = cls.__new__(cls)
        study._open(
            Path(directory),
            evaluator,
            strategy,
            observers,
            budget={
                "n_trials": n_trials,
                "timeout_s": timeout if timeout in (None, _NO_LIMIT) else seconds(timeout, "timeout") or None,
                "target": target,
                "patience": patience,
                "max_failures": max_failures,
            },
            force_lock=force_lock,
            allow_changes=allow_changes,
        )
        return study

    # Running

    def optimize(self) -> Study:
        """Run until a budget is spent, the strategy is done, or somebody stops it; see `stop_reason`.

        Ctrl-C once stops in order, twice at once; everything recorded stays. May be called again.

        Returns:
            the study itself.

        Raises:
            ConfigurationError: there is no evaluator.
            StudyStopped: nothing can be evaluated as things are set up, or a plugin failed.
            AllocationError: no nodes can be had.
            JournalError: the disk fails; everything recorded before is intact.
        """
        from hpo_core._loop import Loop

        if self.evaluator is None:
            raise ConfigurationError("this study has no evaluator: use ask and tell, or give it one")
        self._note_changes()
        self._ledger.session()
        backend = self.evaluator.backend
        self._observers.study_started(self)
        for sentence in (*backend.chosen, *self._ledger.notes):
            self._observers.notice(sentence)
        loop = Loop(
            self._ledger,
            self.evaluator,
            backend,
            self.budget,
            self._observers,
            self._outlook,
            self.id,
            moved=partial(self._move, Place.of(self.evaluator)),
        )
        try:
            self.stop_reason, self.stop_detail = loop.run()
        except HpoError as error:
            self.stop_detail = str(error)
            raise
        finally:
            self._note_stop()
            self._observers.study_finished(self)
        self._warn_without_result()
        return self

    def _warn_without_result(self) -> None:
        """Silence is no answer where every trial failed; `Progress` and the command line say it in their own way."""
        if self.best_fom is not None:
            return
        failed = next((record for record in self.trials if record.state is State.FAILED), None)
        if failed is None or failed.result is None:
            return
        warnings.warn(
            f"no trial has a result; trial {failed.number} failed: {failed.result.message} "
            f"(look at it: {show_command(self.directory, failed.number)})",
            NoResultWarning,
            stacklevel=3,
        )

    def _note_changes(self) -> None:
        """Refuse a changed command or program, unless that is allowed or there is no result yet to mix with."""
        assert self.evaluator is not None  # noqa: S101 - for the type checker
        recorded = self._ledger.sources if self._ledger.sources is not None else self._header["sources"]
        now = fingerprint(self.evaluator.cmd, self.evaluator.src_path, self.evaluator.run_path)
        if self._check_changes and len(self._ledger.history.order):
            found = [*changes(self._ledger.places[-1]["evaluator"], self.evaluator), *differences(recorded, now)]
            is_gone = any(sentence.endswith(" is gone") for sentence in found)
            refuse_changes(self.directory, found, elsewhere=self._moved_from if is_gone else "")
        if now != recorded:
            self._ledger.note("sources", sources=now)
            self._ledger.sources = now

    def _move(self, now: Place) -> None:
        """There are nodes: evaluations run there from now on. What may still run elsewhere is ended, or remembered."""
        ledger = self._ledger
        before, *unclean = (Place.from_json(record) for record in (ledger.places[-1], *ledger.unclean))
        if now == before and not unclean:
            return
        left = []
        for place in (before, *unclean):
            if place is None or now.looks_where(place) or not len(ledger.history):
                continue
            self._observers.notice(f"looking for what an earlier driver may have left: {place}")
            try:
                for ended in place.clean(self.id):
                    self._observers.notice(f"ended what an earlier driver left: {ended}")
            except HpoError as error:
                left.append(place)
                text = f"an earlier driver may have left something running ({place}): {error}"
                warnings.warn(f"{text}; hpo clean, and each later session, look again", LeftoverWarning, stacklevel=2)
        if now != before or left != unclean:
            ledger.move(now.to_json(), [place.to_json() for place in left])

    def _note_stop(self) -> None:
        try:
            self._ledger.note("stopped", reason=self.stop_detail, elapsed_s=round(self._ledger.elapsed_s, 3))
            self._ledger.flush()
        except JournalError as error:
            self._observers.notice(str(error))

    def ask(self) -> Trial | None:
        """The next trial, for a loop of your own: the defaults first, what was enqueued, then the strategy's.

        A trial that was asked for and not told, before a crash too, is in `open_trials` and can be told any time.

        Returns:
            the trial, recorded; or None: for good when `done` is True, else until the next `tell`.
        """
        if self.budget.n_trials is not None:
            self._outlook.trials_left = self.budget.n_trials - self._ledger.asked
            if self._outlook.trials_left <= 0:
                self.done = True
                return None
        if self._ledger.queued:
            trial = self._ledger.next_queued()
        else:
            answer = self._ledger.consult("ask")
            if isinstance(answer, Pause):
                self.done = answer is Pause.DONE
                return None
            trial = self._ledger.admit(answer, "strategy", told=self._ledger.told)
        self._ledger.flush()
        return trial

    @property
    def open_trials(self) -> list[Trial]:
        """Trials that were asked for and have no result; also those of earlier sessions."""
        return [self._ledger.trial(number) for number in self._ledger.history.open_numbers()]

    def tell(
        self,
        trial: Trial | int,
        fom: float | None = None,
        *,
        metrics: Mapping[str, float] | None = None,
        failure: str = "",
        duration_s: float = 0.0,
    ) -> None:
        """Record how a trial from `ask` ended, and let the strategy learn from it.

        Args:
            trial: the trial or its number.
            fom: its figure of merit; None, NaN or infinite: it failed.
            metrics: more values to record.
            failure: why it failed, for people.
            duration_s: how long it took, in seconds.

        Raises:
            ConfigurationError: there is no such trial, or it has a result already.
        """
        if fom is not None and (isinstance(fom, bool) or not isinstance(fom, (int, float))):
            raise ConfigurationError(f"fom={fom!r} must be a number, or None for a failure")
        number = trial if isinstance(trial, int) else trial.number
        if not 1 <= number <= len(self.trials):
            raise ConfigurationError(f"there is no trial {number}: {len(self.trials)} were asked for")
        if not self._ledger.history.running(number):
            raise ConfigurationError(f"trial {number} has its result already: a recorded result is never changed")
        result = _told_result(fom, dict(metrics or {}), failure, duration_s, self._ledger.sign)
        asked = self._ledger.trial(number)
        self._ledger.finish(asked, result)
        self._ledger.flush()
        self._ledger.tell_all()
        self._observers.trial_finished(asked, result)

    def enqueue(self, values: Mapping[str, Value]) -> None:
        """Run a point before whatever the strategy proposes next.

        Args:
            values: flag to value for every active flag.

        Raises:
            SpaceError: it is no valid point of the space.
        """
        self._ledger.enqueue(values)
        self._ledger.note("enqueued", values=self.params.canonical(values))
        self._ledger.flush()

    def insert(self, values: Mapping[str, Value], fom: float, *, metrics: Mapping[str, float] | None = None) -> Trial:
        """Add a point whose result is known; it is told to the strategy and does not count as a trial to run.

        Args:
            values: flag to value for every active flag.
            fom: its figure of merit.
            metrics: more values to record.

        Raises:
            SpaceError: it is no valid point of the space.
        """
        if not isinstance(fom, (int, float)) or not math.isfinite(fom):
            raise ConfigurationError(f"fom={fom!r} must be a finite number: only a known result can be inserted")
        trial = self._ledger.admit(Proposal(self.params.canonical(values)), "inserted", told=self._ledger.told)
        self.tell(trial, fom, metrics=metrics)
        return trial

    def plan(self, count: int = 1) -> list[str]:
        """What would run, for the first `count` trials: exact commands, as the launcher would start them.

        Nothing is run or recorded; the strategy is a fresh one, told nothing.
        """
        if self.evaluator is None:
            raise ConfigurationError("this study has no evaluator: there is no command to show")
        return _preview(self.params, self.evaluator, self._strategy_class, self._header, count)

    def close(self) -> None:
        """Give up the study's lock and files; the evaluator stays open."""
        journal, self._ledger.journal = self._ledger.journal, None
        if journal is None or os.getpid() != self._pid:
            return
        try:
            journal.flush()
            if not sys.is_finalizing():
                self._ledger.save_snapshot(journal, every=_SNAPSHOT_ON_CLOSE)
        except JournalError as error:
            warnings.warn(f"the last results are not on disk and will be evaluated again: {error}", stacklevel=2)
        finally:
            journal.close()
            self._lock.release()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()

    def __repr__(self) -> str:
        return f"<Study {self.directory} strategy={self._ledger.strategy.name} trials={len(self.trials)}>"

    # Making

    def _open(
        self,
        directory: Path,
        evaluator: Evaluator | Mapping[str, Any] | None,
        strategy: type[Strategy] | None,
        observers: Iterable[str | Observer],
        *,
        budget: Mapping[str, Any] | None = None,
        force_lock: bool = False,
        allow_changes: bool = False,
        described: bool = False,
    ) -> None:
        """Go on with a study; `described`: the evaluator is what the whole study is to have, results or not."""
        header = read_header(directory)
        self._check_changes = not allow_changes
        given_limits = {name: limit for name, limit in (budget or {}).items() if limit is not None}
        new_limits = {name: None if limit == _NO_LIMIT else limit for name, limit in given_limits.items()}
        check_budget(**{**header["budget"], **new_limits})
        params = Params.from_json(header["params"])
        given, changed = (evaluator, None) if isinstance(evaluator, Evaluator) else (None, evaluator)
        first = given or (None if header["evaluator"] is None else Evaluator.from_json(header["evaluator"]))
        strategy = strategy or strategy_class(header["strategy"]["name"])
        self._assemble(header, params, first, strategy)
        self.directory = directory
        home = self._ledger.directory = directory.absolute()
        lock = Lock(home, force=force_lock)
        try:
            journal = Journal(home, sync=header["sync"])
            self._replay(strategy)
            recorded = Place.from_json(self._ledger.places[-1])
            now = given or _evaluator_now(recorded, changed)
            if now is not None:
                self._check_evaluator(recorded, now, may_change=allow_changes or not described)
            self._equip(now, observers)
        except BaseException:
            lock.release()
            raise
        self._lock = lock
        self._ledger.journal = journal
        limits = {**(self._ledger.budget or header["budget"]), **new_limits}
        self.budget = Budget(**limits)
        if journal.repaired:
            self._ledger.notes.append(journal.repaired)
        if self._ledger.baseline is None and header["evaluate_defaults"]:
            self._ledger.begin_with(baseline(params, header["seed"]))
        before, cwd = self._ledger.cwd, os.getcwd()
        if os.path.isdir(before) and not os.path.samefile(before, cwd):
            self._moved_from = before
        self._ledger.failed_in_a_row = 0
        self._ledger.resume(budget=limits, cwd=cwd)

    def _check_evaluator(self, recorded: Place | None, now: Evaluator, *, may_change: bool) -> None:
        """Refuse an evaluator with which the study can't go on."""
        refuse_another_search(self.directory, self._header, maximize=now.maximize)
        before = None if recorded is None else recorded.evaluator
        if not may_change:
            refuse_changes(self.directory, changes(before, now))
        if before is not None and len(self._ledger.history):
            continues = Capability.CONTINUES in self._ledger.strategy.capabilities
            refuse_other_files(self.directory, before, now, continues=continues)

    def _replay(self, strategy: type[Strategy]) -> None:
        """Bring the ledger to where the journal is, by the snapshot if there is one that fits."""
        directory = self._ledger.directory
        try:
            snapshot = self._ledger.restore()
        except Exception as error:  # noqa: BLE001 - whatever a strategy's set_state raises: the journal has it all
            self._assemble(self._header, self.params, self.evaluator, strategy)
            self._ledger.directory = directory
            self._ledger.notes.append(f"the snapshot is not used: {type(error).__name__}: {error}")
            snapshot = None
        lines = read(directory) if snapshot is None else read(directory, offset=snapshot.offset, lines=snapshot.lines)
        if snapshot is None:
            next(lines)
        self._ledger.replay(lines)

    def _assemble(
        self,
        header: dict[str, Any],
        params: Params,
        evaluator: Evaluator | None,
        strategy: type[Strategy],
    ) -> None:
        self._header = header
        self._pid = os.getpid()
        self.id: str = header["id"]
        """Short and unique; part of all names of jobs and files."""
        self.name: str = header["name"]
        self.params = params
        self.evaluator = evaluator
        self.maximize: bool = header["maximize"]
        """Whether larger is better."""
        self.seed: int = header["seed"]
        self.budget = Budget(**header["budget"])
        self.stop_reason = None
        self.stop_detail = ""
        self.done = False
        """Whether `ask` will never give another trial: the strategy is done, or the budget is spent."""
        self._strategy_class = strategy
        checkpoints = evaluator is not None and bool(evaluator.checkpoint)
        self._outlook = Outlook(slots=_slots(evaluator), trials_left=self.budget.n_trials, checkpoints=checkpoints)
        self._ledger = Ledger(
            Path(),
            params,
            make_strategy(strategy, params, header, self._outlook),
            -1.0 if header["maximize"] else 1.0,
        )
        self._ledger.begin(header)
        self._ledger.n_trials = self.budget.n_trials

    def _equip(self, evaluator: Evaluator | None, observers: Iterable[str | Observer]) -> None:
        """What runs evaluations, and who hears of them."""
        self.evaluator = evaluator
        self._outlook.slots = _slots(evaluator)
        self._outlook.checkpoints = evaluator is not None and bool(evaluator.checkpoint)
        strategy = self._ledger.strategy
        if evaluator is not None and not evaluator.checkpoint and Capability.CONTINUES in strategy.capabilities:
            raise ConfigurationError(
                f"strategy '{strategy.name}' continues trials from their checkpoints: "
                "set Evaluator(checkpoint='ckpt'), and have the command read and write below @checkpoint"
            )
        if evaluator is not None:
            _ = evaluator.backend
        self._observers = Observers(_listening(observers, verbose=evaluator is not None and evaluator.verbose))

    def _check_command(self) -> None:
        if self.evaluator is None or self.evaluator.backend.is_remote:
            return
        directory = self.evaluator.src_path or os.getcwd()
        if self.evaluator.src_path and not os.path.isdir(directory):
            raise ConfigurationError(f"src_path={directory!r} is no directory")
        missing = missing_program(self.evaluator.cmd, None, directory)
        if missing is not None:
            raise ConfigurationError(f"the command '{self.evaluator.cmd}' cannot run: {missing}")


def _evaluator_now(recorded: Place | None, changed: Mapping[str, Any] | None) -> Evaluator | None:
    """The evaluator of the last session, with what has changed."""
    if recorded is not None:
        return recorded.changed(changed or {})
    if not changed:
        return None
    if "cmd" not in changed:
        raise ConfigurationError("this study has no evaluator, so that nothing of one can change: give its cmd, too")
    return Evaluator(**changed)


def _slots(evaluator: Evaluator | None) -> int:
    """Evaluations at the same time, as far as that is known before there are nodes."""
    return 1 if evaluator is None else max(evaluator.num_parallel_evals, evaluator.nodes, 1)


def _preview(
    params: Params, evaluator: Evaluator, strategy: type[Strategy], header: Mapping[str, Any], count: int
) -> list[str]:
    """What would run for the first `count` trials of a study; nothing is run or recorded."""
    outlook = Outlook(trials_left=header["budget"]["n_trials"], checkpoints=bool(evaluator.checkpoint))
    fresh = make_strategy(strategy, params, header, outlook)
    ledger = Ledger(Path("STUDY"), params, fresh, 1.0)
    if header["evaluate_defaults"]:
        ledger.begin_with(baseline(params, header["seed"]))
    launcher = evaluator.backend.launcher
    planner = Planner(evaluator, Path("STUDY"), header["id"], elsewhere=launcher.makes_files)
    checkpoints = Checkpoints(evaluator, ledger, header["id"], elsewhere=launcher.discard)
    commands: list[str] = []
    while len(commands) < count:
        if ledger.queued:
            trial = ledger.next_queued()
        else:
            answer = fresh.ask()
            if isinstance(answer, Pause):
                break
            trial = ledger.admit(answer, "strategy", told=0)
        nodes = width(evaluator, trial)
        slots = tuple(Slot(f"NODE{i}") for i in range(1, nodes + 1))
        evaluation, _ = planner(trial, 1, slots, nodes)
        if launcher.makes_files:
            evaluation = attrs.evolve(evaluation, files=checkpoints.files(trial, 1))
        commands.append(launcher.preview(evaluation))
    return commands


def _make_directory(directory: str | os.PathLike[str] | None) -> Path:
    """Make the study's directory, readable by its owner alone."""
    if directory is not None:
        path = Path(directory)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
        except OSError as error:
            if not path.exists():
                raise _cannot_be_made(path, error) from error
            what = f"; go on with: hpo resume {path}, or" if (path / JOURNAL).exists() else " and holds no study:"
            raise ConfigurationError(f"directory {path} exists already{what} choose another") from None
        return path
    number = 1
    while True:
        path = Path(f"hpo-study-{number}")
        try:
            path.mkdir(mode=0o700)
            return path
        except FileExistsError:
            number += 1
        except OSError as error:
            raise _cannot_be_made(path, error) from error


def _cannot_be_made(path: Path, error: OSError) -> ConfigurationError:
    place = "" if error.filename in (None, str(path)) else f": {error.filename}"
    return ConfigurationError(f"directory {path} cannot be made: {error.strerror}{place}")


def _listening(observers: Iterable[str | Observer], *, verbose: bool) -> list[Observer]:
    if isinstance(observers, str):
        raise ConfigurationError(f"observers={observers!r} must be a list, such as [{observers!r}]")
    found = [_observer(one) if isinstance(one, str) else one for one in observers]
    if verbose and not any(one.name == "evaluations" for one in found):
        from hpo_core.builtin.observers import Evaluations

        found.append(Evaluations(notices=not any(one.name == "progress" for one in found)))
    return found


def _observer(name: str) -> Observer:
    with faults_of(f"observer '{name}' could not be made"):
        return registry.get(Observer, name)()


def _told_result(fom: float | None, metrics: dict[str, float], failure: str, duration_s: float, sign: float) -> Result:
    if fom is not None and math.isfinite(fom) and not failure:
        return Result(State.DONE, float(fom), sign * fom, metrics, duration_s=duration_s)
    kind = Failure.NAN_METRIC if fom is not None and not failure else Failure.NO_METRIC
    message = failure or ("no figure of merit was told" if fom is None else f"the figure of merit is {fom}")
    return Result(State.FAILED, metrics=metrics, failure=kind, message=message, duration_s=duration_s)
