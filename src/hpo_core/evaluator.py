"""How evaluations are run: the command, where it runs, and what is read from its output."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
from attrs import define, field

from hpo_core._backend import Backend
from hpo_core._words import did_you_mean, is_unicode, seconds, size_bytes
from hpo_core.command import misspelt, uses
from hpo_core.exceptions import ConfigurationError
from hpo_core.metrics import MetricSpec

FLAG_KEYS = ("nodes_per_evaluation", "fidelity")
"""What `Evaluator(flag=...)` can pass to the program."""

_OLD_LAUNCHER = "wlm"
_KEEP = ("failed", "all")


def _whole(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"Evaluator: {attribute.name}={value!r} must be a whole number, 0 or more")


def _text(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"Evaluator: {attribute.name}={value!r} must be text")
    if "\0" in value:
        raise ConfigurationError(f"Evaluator: {attribute.name} holds a NUL character, which no command can")
    if not is_unicode(value):
        raise ConfigurationError(f"Evaluator: {attribute.name}={value!r} is no UTF-8, and could not be recorded")


def _inside(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    _text(instance, attribute, value)
    if os.path.normpath(value).split(os.sep)[0] == os.pardir:
        raise ConfigurationError(
            f"Evaluator: checkpoint={value!r} leads out of the trial's own directory, so that all trials would share "
            "it; write a name such as 'ckpt', or an absolute path below which each trial gets a directory"
        )


def _command(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    _text(instance, attribute, value)
    if not str(value).strip():
        raise ConfigurationError("Evaluator: cmd is empty; give the command that evaluates, such as 'python train.py'")


def _truth(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"Evaluator: {attribute.name}={value!r} must be True or False")


def _keeps(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value not in _KEEP:
        raise ConfigurationError(f"Evaluator: keep_output={value!r} must be one of {', '.join(map(repr, _KEEP))}")


def _mapping(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, dict):
        raise ConfigurationError(f"Evaluator: {attribute.name}={value!r} must be a dict")


def _known_flags(instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    _mapping(instance, attribute, value)
    for key, flag in value.items():
        if key not in FLAG_KEYS:
            raise ConfigurationError(
                f"Evaluator: flag has no key {key!r}{did_you_mean(str(key), FLAG_KEYS)}; known: {', '.join(FLAG_KEYS)}"
            )
        if not isinstance(flag, str) or not flag.strip():
            raise ConfigurationError(f"Evaluator: flag[{key!r}]={flag!r} must be the text of a flag, such as '--N'")


def _or_empty(value: str | None) -> str:
    return "" if value is None else value


def _or_none(value: Any) -> Any:
    """For command lines and study files, which know no None."""
    return None if value == "none" else value


def _or_zero(value: int | None) -> int:
    return 0 if value is None else value


def _time_or_zero(value: float | str | None) -> float | str:
    return 0.0 if value is None else value


def _path(value: str | os.PathLike[str] | None) -> str:
    if value is None:
        return ""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _launcher_name(value: str) -> str:
    return "auto" if value == _OLD_LAUNCHER else value


def _dict(value: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(value or {}) if value is None or isinstance(value, Mapping) else value  # refused by `_mapping`


def _minutes(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    seconds(value, f"Evaluator: {attribute.name}")


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    seconds(value, f"Evaluator: {attribute.name}", plain=1.0)


def _time_limit(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not seconds(value, f"Evaluator: {attribute.name}", plain=1.0):
        _refuse_zero(attribute.name, value)


def _memory_limit(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not size_bytes(value, f"Evaluator: {attribute.name}"):
        _refuse_zero(attribute.name, value)


def _refuse_zero(name: str, value: object) -> None:
    raise ConfigurationError(
        f"Evaluator: {name}={value!r} would end every evaluation at once; for no limit, leave it out or write None "
        "('none' on a command line)"
    )


def _size_or_none(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        size_bytes(value, f"Evaluator: {attribute.name}")


def _recordable(value: Any) -> Any:
    """A value as JSON can hold it; an object by its name."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"Evaluator: {value!r} among the options can't be recorded: finite numbers can")
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _recordable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_recordable(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"<{kind.__module__}.{kind.__qualname__}>"


@define(eq=False, kw_only=True, slots=False)
class Evaluator:
    """How to evaluate an assignment of hyperparameters: run a command with flags and read a number from what it prints.

    All arguments are checked here; combinations of them when a `Study` is built. The text ``none`` is None where that
    means no limit. An evaluator owns one allocation, got at the first `Study.optimize` and shared by all its studies;
    `close`, ``with``, ``del`` and the end of the process give it back.

    Args:
        cmd: shell command without the hyperparameters' flags, which are appended as ``FLAG=VALUE``. Placeholders:
            ``@checkpoint``, ``@trial``, ``@attempt``, ``@tag``, ``@directory``, ``@nodelist``, ``@fidelity``,
            ``@python``.
        src_path: sources, copied into each evaluation's workspace; empty: everything runs where the driver runs.
        run_path: where workspaces are made, one per evaluation; only with `src_path`.
        metric: a dict of metric names and weights, or one text that stands before the number.
        checkpoint: checkpoint directory per workspace: a name within it, or an absolute path below which each trial has
            one; empty: none.
        checkpoint_budget: most bytes of all checkpoints that a strategy continues, or text such as ``50G``; those that
            are needed no more are deleted as far as that takes, the oldest first. None: they are deleted at once.
        nodes: nodes to allocate; 0 and 1 mean one.
        nodes_per_eval: nodes of one evaluation; 0 means one, unless it is a hyperparameter (see `flag`).
        num_parallel_evals: evaluations at the same time; 0 means ``nodes / nodes_per_eval``.
        workload_manager: name of a workload manager, or ``auto``.
        launcher: name of a launcher, or ``auto`` for the workload manager's own.
        workload_image: container image; Kubernetes only.
        launch_args: text for the launch command, verbatim.
        alloc_jobid: an existing allocation to use; 0: none. Slurm only.
        alloc_timeout: time to ask for, in minutes, or text such as ``2h``.
        alloc_args: text for the allocation command, verbatim.
        timeout: total time for all evaluations, in minutes, or text such as ``2h``; 0: no limit.
        flag: flags that tell the program about its evaluation: ``nodes_per_evaluation``, ``fidelity``.
        verbose: print a line on stdout for each evaluation that begins and each trial that is over, and notices.
        num_retries: times that a failed evaluation is tried again.
        retry_delay: seconds before a failed evaluation is tried again, or text such as ``1m``.
        urika_args: the older name of `launch_args` for the launcher ``urika``.
        metric_parser: name of a metric parser.
        metric_rule: which of repeated values counts: ``last``, ``first``, ``min``, ``max``.
        maximize: whether larger is better.
        eval_timeout: longest time of one evaluation, in seconds or as text such as ``15m``; None: no limit.
        memory_limit: most memory of one evaluation with all its processes, in bytes or as text such as ``4G``;
            None: no limit.
        grace: seconds between TERM and KILL when an evaluation is ended.
        stop_wait: seconds that running evaluations may go on after an orderly stop.
        keep_output: ``failed`` keeps whole output files of failures only, and a script that does it again; ``all``
            keeps the output of every evaluation; with `src_path` all are kept.
        max_output: most bytes kept of each output file; None: no limit.
        metric_options, manager_options, launcher_options: options of those plugins, by their keys.

    Raises:
        ConfigurationError: an argument is wrong or unknown.
    """

    cmd: str = field(validator=_command, kw_only=False)
    src_path: str = field(default="", converter=_path, validator=_text)
    run_path: str = field(default="run", converter=_path, validator=_text)
    metric: Any = field(factory=lambda: {"FoM": 1.0})
    checkpoint: str = field(default="", converter=_path, validator=_inside)
    checkpoint_budget: int | str | None = field(default=None, converter=_or_none, validator=_size_or_none)
    nodes: int = field(default=0, validator=_whole)
    nodes_per_eval: int = field(default=0, validator=_whole)
    num_parallel_evals: int = field(default=0, validator=_whole)
    workload_manager: str = field(default="auto", validator=_text)
    launcher: str = field(default="auto", converter=_launcher_name, validator=_text)
    workload_image: str = field(default="", converter=_or_empty, validator=_text)
    launch_args: str = field(default="", converter=_or_empty, validator=_text)
    alloc_jobid: int = field(default=0, converter=_or_zero, validator=_whole)
    alloc_timeout: float | str = field(default=30, validator=_minutes)
    alloc_args: str = field(default="", converter=_or_empty, validator=_text)
    timeout: float | str = field(default=0.0, converter=_time_or_zero, validator=_minutes)
    flag: dict[str, str] = field(factory=dict, converter=_dict, validator=_known_flags)
    verbose: bool = field(default=False, validator=_truth)
    num_retries: int = field(default=0, validator=_whole)
    retry_delay: float | str = field(default=0.0, validator=_seconds)
    urika_args: str = field(default="", converter=_or_empty, validator=_text)
    metric_parser: str = field(default="text", validator=_text)
    metric_rule: str = field(default="last", validator=_text)
    maximize: bool = field(default=False, validator=_truth)
    eval_timeout: float | str | None = field(default=None, converter=_or_none, validator=_time_limit)
    memory_limit: int | str | None = field(default=None, converter=_or_none, validator=_memory_limit)
    grace: float | str = field(default=5.0, validator=_seconds)
    stop_wait: float | str = field(default=10.0, validator=_seconds)
    keep_output: str = field(default="failed", validator=_keeps)
    max_output: int | str | None = field(default=None, converter=_or_none, validator=_size_or_none)
    metric_options: dict[str, Any] = field(factory=dict, converter=_dict, validator=_mapping)
    manager_options: dict[str, Any] = field(factory=dict, converter=_dict, validator=_mapping)
    launcher_options: dict[str, Any] = field(factory=dict, converter=_dict, validator=_mapping)

    _backend: Backend | None = field(default=None, init=False, repr=False)

    if not TYPE_CHECKING:

        def __init__(self, cmd: str, **arguments: Any) -> None:
            known = [item.name for item in attrs.fields(Evaluator) if item.init]
            for name in arguments:
                if name not in known:
                    raise ConfigurationError(f"Evaluator has no argument '{name}'{did_you_mean(name, known)}")
            self._backend = None
            self.__attrs_init__(cmd, **arguments)

    def __attrs_post_init__(self) -> None:
        self.metric_spec  # noqa: B018 - a wrong metric is refused here
        if self.run_path != "run" and not self.src_path:
            warnings.warn(
                f"run_path={self.run_path!r} is ignored without src_path: "
                "all evaluations run in the current working directory",
                stacklevel=4,
            )
        for word, meant in misspelt(self.cmd).items():
            warnings.warn(
                f"@{word} stays as it is in the command: it is no placeholder (did you mean '@{meant}'?)", stacklevel=4
            )
        if not self.checkpoint and uses(self.cmd, "checkpoint"):
            warnings.warn(
                "@checkpoint stays as it is in the command: there are no checkpoints; "
                "checkpoint='ckpt' gives each trial a directory for it",
                stacklevel=4,
            )

    @property
    def metric_spec(self) -> MetricSpec:
        """The metrics with their weights, rule and direction."""
        return MetricSpec.parse(self.metric, rule=self.metric_rule, maximize=self.maximize, parser=self.metric_parser)

    @property
    def timeout_s(self) -> float | None:
        """Total time for all evaluations in seconds, None without a limit."""
        return seconds(self.timeout, "timeout") or None

    @property
    def alloc_timeout_s(self) -> float:
        """Time asked for in an allocation, in seconds."""
        return seconds(self.alloc_timeout, "alloc_timeout")

    @property
    def eval_timeout_s(self) -> float | None:
        """Longest time of one evaluation in seconds, None without a limit."""
        return None if self.eval_timeout is None else seconds(self.eval_timeout, "eval_timeout", plain=1.0)

    @property
    def memory_limit_bytes(self) -> int | None:
        """Most memory of one evaluation in bytes, None without a limit."""
        return None if self.memory_limit is None else size_bytes(self.memory_limit, "memory_limit")

    @property
    def checkpoint_budget_bytes(self) -> int | None:
        """Most bytes of all checkpoints, None: as many as are needed."""
        return None if self.checkpoint_budget is None else size_bytes(self.checkpoint_budget, "checkpoint_budget")

    @property
    def max_output_bytes(self) -> int | None:
        """Most bytes kept of each output file, None without a limit."""
        return None if self.max_output is None else size_bytes(self.max_output, "max_output")

    @property
    def grace_s(self) -> float:
        """Seconds between TERM and KILL."""
        return seconds(self.grace, "grace", plain=1.0)

    @property
    def retry_delay_s(self) -> float:
        """Seconds before a failed evaluation is tried again."""
        return seconds(self.retry_delay, "retry_delay", plain=1.0)

    @property
    def stop_wait_s(self) -> float:
        """Seconds that running evaluations may go on after an orderly stop."""
        return seconds(self.stop_wait, "stop_wait", plain=1.0)

    @property
    def backend(self) -> Backend:
        """The workload manager, launcher and metric parser that the names stand for, checked together.

        Raises:
            ConfigurationError: the combination makes no sense.
            PluginError: a name is not known, or its plugin cannot be used.
        """
        if self._backend is None:
            self._backend = Backend.resolve(self)
        return self._backend

    def to_json(self) -> dict[str, Any]:
        """The arguments that differ from their defaults, as JSON values.

        Objects in options, such as functions, can't be recorded: their names are, and a study that has them is
        loaded with an evaluator given anew.
        """
        given = {item.name: getattr(self, item.name) for item in attrs.fields(Evaluator) if item.init}
        default = Evaluator("true")
        differing = {name: value for name, value in given.items() if name == "cmd" or value != getattr(default, name)}
        return {name: _recordable(value) for name, value in differing.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evaluator:
        """What `to_json` was made from."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cls(**data)

    def close(self) -> None:
        """Give the allocation back; a later study gets a new one. May be called more than once."""
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_backend", None) is not None:
            self.close()
