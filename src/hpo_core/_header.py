"""A study's header: all that is needed to go on without the user's Python."""

from __future__ import annotations

import math
import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo_core import registry
from hpo_core._blame import faults_of
from hpo_core._fingerprint import fingerprint
from hpo_core._options import build_options, options_to_json
from hpo_core._place import Place
from hpo_core._version import own_version
from hpo_core._words import did_you_mean, is_unicode
from hpo_core.evaluator import Evaluator
from hpo_core.exceptions import ConfigurationError, JournalError, StudyChangedError
from hpo_core.interfaces import Outlook, Strategy
from hpo_core.journal import FORMAT, SYNC_POLICIES, read
from hpo_core.space import Params


def make_header(
    params: Params,
    evaluator: Evaluator | None,
    *,
    strategy: type[Strategy],
    strategy_options: Mapping[str, Any],
    seed: int,
    name: str,
    evaluate_defaults: bool,
    maximize: bool | None,
    sync: str,
    budget: Mapping[str, Any],
) -> dict[str, Any]:
    """The header of a new study, checked.

    Raises:
        ConfigurationError: something is wrong.
    """
    if sync not in SYNC_POLICIES:
        raise ConfigurationError(
            f"sync={sync!r} must be one of {', '.join(map(repr, SYNC_POLICIES))}{did_you_mean(sync, SYNC_POLICIES)}"
        )
    if not is_unicode(name):
        raise ConfigurationError(f"name={name!r} is no UTF-8, and could not be recorded")
    if maximize is None:
        maximize = evaluator is not None and evaluator.maximize
    elif evaluator is not None and maximize != evaluator.maximize:
        raise ConfigurationError(f"maximize={maximize}, and the evaluator says maximize={evaluator.maximize}")
    return {
        "record": "study",
        "format": FORMAT,
        "id": secrets.token_hex(4),
        "name": name,
        "cwd": os.getcwd(),
        "hpo_core": own_version("0"),
        "strategy": _strategy(strategy, strategy_options),
        "seed": _seed(seed),
        "budget": check_budget(**budget),
        "evaluate_defaults": evaluate_defaults,
        "maximize": maximize,
        "sync": sync,
        "params": params.to_json(),
        **({"evaluator": None} if evaluator is None else Place.of(evaluator).to_json()),
        "sources": {} if evaluator is None else fingerprint(evaluator.cmd, evaluator.src_path, evaluator.run_path),
    }


def make_strategy(strategy: type[Strategy], params: Params, header: Mapping[str, Any], outlook: Outlook) -> Strategy:
    """A fresh strategy as a study's header describes it."""
    options = build_options(strategy.Options, header["strategy"]["options"], f"strategy '{strategy.name}'")
    with faults_of(f"strategy '{strategy.name}' could not be made"):
        return strategy(params, seed=header["seed"], options=options, outlook=outlook)


def read_header(directory: Path) -> dict[str, Any]:
    """The header of the study in a directory.

    Raises:
        JournalError: there is no study, it is damaged, or a newer hpo-core wrote it.
    """
    first = next(iter(read(directory)), None)
    if first is None or first.record.get("record") != "study":
        raise JournalError(f"{directory} holds no study: the journal does not begin with a header")
    if first.record["format"] > FORMAT:
        raise JournalError(
            f"{directory} was written by hpo-core {first.record['hpo_core']} in format {first.record['format']}; "
            f"this one reads up to format {FORMAT}: upgrade hpo-core"
        )
    return first.record


_MEANING = ("cmd", "src_path", "metric", "metric_parser", "metric_rule", "metric_options", "flag")
"""Arguments of an evaluator that decide what a figure of merit means, but for its direction."""


def changes(recorded: Mapping[str, Any] | None, evaluator: Evaluator) -> list[str]:
    """One sentence for each thing that gives figures of merit another meaning.

    Args:
        recorded: the evaluator of the last session, as JSON values; None: there was none.
        evaluator: the evaluator now.
    """
    plain = Evaluator("true")
    default = {key: getattr(plain, key) for key in _MEANING}
    before = {**default, "cmd": None, **(recorded or {})}
    now = {**default, **evaluator.to_json()}
    return [f"{key}: recorded {before[key]!r}, now {now[key]!r}" for key in _MEANING if before[key] != now[key]]


def refuse_changes(directory: Path, found: Sequence[str], *, elsewhere: str = "") -> None:
    """Refuse to go on with a study whose command or program is not the one described now.

    Args:
        directory: the study's.
        found: what differs.
        elsewhere: where the last session ran, if that is not where this one does.

    Raises:
        StudyChangedError: something differs.
    """
    if not found:
        return
    what = f"{directory} was begun with something else: {'; '.join(found)}"
    if elsewhere:
        raise StudyChangedError(
            f"{what}. The last session ran in {elsewhere}, and files are looked for where a session runs: "
            f"cd {shlex.quote(elsewhere)}, and go on there by hpo resume {shlex.quote(os.path.abspath(directory))}",
            found,
        )
    raise StudyChangedError(
        f"{what}. Results of both would be mixed: use another directory, or go on all the same with "
        f"allow_changes=True (hpo resume --allow-changes {directory})",
        found,
    )


def refuse_other_files(directory: Path, recorded: Mapping[str, Any], evaluator: Evaluator, *, continues: bool) -> None:
    """Refuse to look for what trials left where they did not leave it.

    Args:
        directory: the study's.
        recorded: the evaluator of the last session, as JSON values.
        evaluator: the evaluator now.
        continues: whether trials go on from the checkpoints of others.

    Raises:
        StudyChangedError: something differs.
    """
    before = {"run_path": "run", "checkpoint": "", **recorded}
    names = (*(("run_path",) if evaluator.src_path else ()), *(("checkpoint",) if continues else ()))
    found = [
        f"{name}: recorded {before[name]!r}, now {getattr(evaluator, name)!r}"
        for name in names
        if before[name] != getattr(evaluator, name)
    ]
    if found:
        raise StudyChangedError(
            f"{directory} was begun with something else: {'; '.join(found)}. Files of its trials lie there: "
            "it stays as it is, or use another directory for another study",
            found,
        )


def refuse_another_search(
    directory: Path,
    header: Mapping[str, Any],
    *,
    maximize: bool,
    params: Params | None = None,
    strategy: Mapping[str, Any] | None = None,
) -> None:
    """Refuse to go on with a study as if it were the search of another space, or by another strategy.

    Args:
        directory: the study's.
        header: the recorded study's.
        maximize: whether larger is better now.
        params: the space now; None: as recorded.
        strategy: name and options now; None: as recorded.

    Raises:
        StudyChangedError: something differs.
    """
    found = [] if params is None else Params.from_json(header["params"]).difference(params)
    if strategy is not None:
        found += _strategy_differences(header["strategy"], strategy)
    if maximize != header["maximize"]:
        found.append(f"maximize: recorded {header['maximize']}, now {maximize}")
    if found:
        raise StudyChangedError(
            f"{directory} was begun with something else: {'; '.join(found)}. A study keeps its space, strategy and "
            "direction: use another directory",
            found,
        )


def _strategy_differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if recorded["name"] != now["name"]:
        return [f"strategy: recorded '{recorded['name']}', now '{now['name']}'"]
    before, after = recorded["options"], now["options"]
    return [
        f"strategy option {key}: recorded {before[key]!r}, now {after[key]!r}"
        for key in before
        if key in after and before[key] != after[key]  # Another version of the plugin may have other options.
    ]


def strategy_class(strategy: str | type[Strategy]) -> type[Strategy]:
    """The class that a name stands for; a class stands for itself."""
    if isinstance(strategy, str):
        return registry.get(Strategy, strategy)
    if isinstance(strategy, type) and issubclass(strategy, Strategy):
        return strategy
    raise ConfigurationError(f"strategy={strategy!r} must be a name or a subclass of hpo_core.Strategy")


def _strategy(strategy: type[Strategy], given: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"strategy_options={given!r} must be a dict, such as {{'grid_size': 3}}")
    options = build_options(strategy.Options, given, f"strategy '{strategy.name}'")
    return {"name": strategy.name, "options": options_to_json(options)}


def _seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigurationError(f"seed={seed!r} must be a whole number, 0 (random) or more")
    return seed or secrets.randbelow(2**31 - 1) + 1


def check_budget(
    n_trials: int | None,
    timeout_s: float | None,
    target: float | None,
    patience: int | None,
    max_failures: int | None,
) -> dict[str, Any]:
    """The arguments of a `Budget`, checked.

    Raises:
        ConfigurationError: one of them is wrong.
    """
    for name, count in (("n_trials", n_trials), ("patience", patience), ("max_failures", max_failures)):
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise ConfigurationError(f"{name}={count!r} must be a whole number, 1 or more, or None for no limit")
    if target is not None and (isinstance(target, bool) or not isinstance(target, (int, float))):
        raise ConfigurationError(f"target={target!r} must be a number")
    if target is not None and not math.isfinite(target):
        raise ConfigurationError(f"target={target!r} must be finite")
    return {
        "n_trials": n_trials,
        "timeout_s": timeout_s,
        "target": target,
        "patience": patience,
        "max_failures": max_failures,
    }
