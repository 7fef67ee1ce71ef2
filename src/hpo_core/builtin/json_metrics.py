"""Metric parsers ``json-line`` and ``json-file``: metrics as JSON, on stdout or in a file."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hpo_core.command import expand, uses
from hpo_core.exceptions import ConfigurationError
from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import MetricParser, MetricReader, Reading

if TYPE_CHECKING:
    from hpo_core.evaluator import Evaluator
    from hpo_core.trial import Evaluation

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Size of a file of ``json-file`` at most."""


@frozen
class JsonLineOptions:
    """Options of ``json-line``.

    Attributes:
        step: key of the step, dotted where it is nested; empty: steps are counted.
    """

    step: str = ""


@frozen
class JsonFileOptions:
    """Options of ``json-file``.

    Attributes:
        path: the file, relative to the directory in which the program runs. Evaluations that share a directory
            (no ``src_path``) would share the file too; placeholders as in a command give each its own:
            ``metrics-@trial.json``.
        step: key of the step, dotted where it is nested; empty: steps are counted.
    """

    path: str = field(default="metrics.json")
    step: str = ""

    @path.validator
    def _check_path(self, attribute: object, value: str) -> None:
        if not value or "\0" in value:
            raise ConfigurationError(f"metric parser 'json-file', option 'path': {value!r} is no file name")


class JsonLineMetrics(MetricParser):
    """A line of stdout that is a JSON object and holds metrics: ``{"epoch": 3, "val": {"loss": 0.2}}``.

    Names are keys; a dotted one (``val.loss``) is looked for as it stands, then in nested objects. Values are
    numbers; ``NaN`` and ``Infinity`` are read, texts and ``null`` are not. A line may hold some of several metrics.
    A line cut for its length (64 KiB) is no JSON any more.
    """

    name = "json-line"
    Options = JsonLineOptions

    def reader(self) -> MetricReader:
        return _LineReader(_Keys(self.metrics, self.options.step))

    def expected(self) -> str:
        """Such as ``a line like {"loss": <number>}``."""
        return f"a line like {_sample(self.metrics)}"


class JsonFileMetrics(MetricParser):
    """A JSON file that the program writes, read once after it ended: an object, or a list of objects.

    Keys and values as for ``json-line``; the objects of a list count in order. At most 16 MiB. A file that was there
    before and was not written anew does not count.
    """

    name = "json-file"
    Options = JsonFileOptions

    def check(self, evaluator: Evaluator) -> None:
        path = self.options.path
        slots = evaluator.num_parallel_evals or max(evaluator.nodes, 1) // max(evaluator.nodes_per_eval, 1)
        apart = any(uses(path, name) for name in ("trial", "tag", "directory", "checkpoint"))
        if slots > 1 and not apart and (os.path.isabs(path) or not evaluator.src_path):
            stem, dot, suffix = path.rpartition(".")
            own = f"{stem}-@trial.{suffix}" if dot else f"{path}-@trial"
            raise ConfigurationError(
                f"metric_parser='json-file': {slots} evaluations at the same time would all write '{path}'; "
                f"give each its own, in the command too: metric_options={{'path': '{own}'}}, or set src_path, "
                "so that each runs in a directory of its own"
            )

    def reader(self) -> MetricReader:
        return _FileReader(_Keys(self.metrics, self.options.step), self.options.path)

    def expected(self) -> str:
        """Such as ``{"loss": <number>} in the file 'metrics.json'``."""
        return f"{_sample(self.metrics)} in the file '{self.options.path}'"


def _plain(metric: str) -> str:
    """The key that a metric stands for: ``'loss: '`` is ``loss``."""
    return metric.strip().rstrip(" \t:=") or metric.strip()


def _sample(metrics: Sequence[str]) -> str:
    return "{" + ", ".join(f"{json.dumps(_plain(metric))}: <number>" for metric in metrics) + "}"


class _Keys:
    """Takes metrics and step out of an object."""

    def __init__(self, metrics: Sequence[str], step: str) -> None:
        self._keys = {metric: _plain(metric) for metric in metrics}
        self._step = step
        self.words = tuple({word for key in self._keys.values() for word in (key.rpartition(".")[2], key) if word})

    def reading(self, data: Mapping[str, Any]) -> Reading | None:
        found = {metric: _number(_lookup(data, key)) for metric, key in self._keys.items()}
        metrics = {metric: value for metric, value in found.items() if value is not None}
        if not metrics:
            return None
        step = _number(_lookup(data, self._step)) if self._step else None
        return Reading(metrics, step)


def _lookup(data: Any, key: str) -> Any:
    if not isinstance(data, Mapping):
        return None
    if key in data:
        return data[key]
    head, dot, rest = key.partition(".")
    while dot:
        if head in data and (value := _lookup(data[head], rest)) is not None:
            return value
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


class _LineReader(MetricReader):
    def __init__(self, keys: _Keys) -> None:
        self._keys = keys
        self._found = False

    def line(self, text: str) -> Sequence[Reading]:
        if "{" not in text or not any(word in text for word in self._keys.words):
            return ()
        data = _object(text)
        reading = None if data is None else self._keys.reading(data)
        if reading is not None:
            self._found = True
            return (reading,)
        if not self._found and not self.near_miss:
            self.near_miss = text.strip()[:200]
        return ()


def _object(text: str) -> Mapping[str, Any] | None:
    text = text.strip("\ufeff\0 \t")
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


class _FileReader(MetricReader):
    def __init__(self, keys: _Keys, path: str) -> None:
        self._keys = keys
        self._path = path
        self._before: tuple[int, ...] | None = None

    def begin(self, evaluation: Evaluation, *, adopted: bool = False) -> None:
        self._path = expand(self._path, evaluation.environment)
        self._before = None if adopted else _identity(Path(evaluation.directory or "", self._path))

    def line(self, text: str) -> Sequence[Reading]:
        return ()

    def finish(self, directory: Path) -> Sequence[Reading]:
        file = directory / self._path
        if self._before is not None and self._before == _identity(file):
            self.near_miss = f"the file '{self._path}' in {directory} was there before, and was not written"
            return ()
        try:
            data = json.loads(_read(file).decode("utf-8-sig"))
        except OSError as error:
            self.near_miss = f"the file '{self._path}' in {directory} cannot be read ({error.strerror or error})"
            return ()
        except RecursionError:
            self.near_miss = f"the file '{self._path}' is nested too deeply"
            return ()
        except ValueError as error:
            self.near_miss = f"the file '{self._path}' is no valid JSON ({error})"
            return ()
        objects = data if isinstance(data, list) else [data]
        readings = [reading for item in objects if (reading := self._keys.reading(item)) is not None]
        if not readings:
            self.near_miss = f"the file '{self._path}' holds {_contents(data)}"
        return readings


def _identity(path: Path) -> tuple[int, ...] | None:
    """What is another once a file was written; None where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _read(path: Path) -> bytes:
    """The file's bytes; OSError also for what is no ordinary file or too large."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError("no ordinary file")
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise OSError(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
    return content


def _contents(data: Any) -> str:
    if isinstance(data, dict):
        keys = ", ".join(f"'{key[:40]}'" for key in list(data)[:8])
        return f"no number there; its keys are {keys}" if keys else "an empty object"
    return f"{'a list without such objects' if isinstance(data, list) else type(data).__name__}"


@hookimpl
def hpo_register_metric_parser() -> list[type[MetricParser]]:
    """The parsers ``json-line`` and ``json-file``."""
    return [JsonLineMetrics, JsonFileMetrics]
