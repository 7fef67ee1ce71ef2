"""How a study stands, in the words that all displays share."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from hpo_core._words import duration
from hpo_core.trial import Failure, State


def number(value: float) -> str:
    """A figure of merit for people."""
    return f"{value:.6g}"


def factor(best: float | None, default: float | None, *, maximize: bool) -> float | None:
    """How many times better than the defaults; None where that means nothing.

    It means something when smaller is better and both are positive.
    """
    if best is None or default is None or maximize or best <= 0 or default <= 0:
        return None
    return default / best


def compared(best: float, default: float | None, *, maximize: bool) -> str:
    """The best beside the defaults, as the end of a sentence; empty where the defaults have no result."""
    if default is None:
        return ""
    if best == default:
        return "as good as the defaults"
    times = factor(best, default, maximize=maximize)
    if times is not None:
        return f"{times:.3g} times better than the defaults"
    return f"{number(abs(best - default))} {'above' if maximize else 'below'} the defaults"


def best_sentence(trial: int | None, best: float | None, default: float | None, *, maximize: bool) -> str:
    """Such as ``best 0.12 (trial 17), 3.1 times better than the defaults``."""
    if trial is None or best is None:
        return "no result yet"
    beside = compared(best, default, maximize=maximize)
    return f"best {number(best)} (trial {trial})" + (f", {beside}" if beside else "")


def by_class(failures: Mapping[Failure, int]) -> str:
    """Such as `` (2 exit code, 1 no metric)`` with a leading blank, most frequent first; empty without any.

    What was cancelled is no failure.
    """
    ordered = sorted(failures.items(), key=lambda item: -item[1])
    told = [f"{count} {failure.value}" for failure, count in ordered if failure is not Failure.CANCELLED]
    return f" ({', '.join(told)})" if told else ""


def counts_sentence(counts: Mapping[State, int], failures: Mapping[Failure, int], total: int | None = None) -> str:
    """Such as ``38 of 40 done, 2 failed (1 exit code, 1 no metric)``; what there is none of is left out."""
    parts = [f"{counts[State.DONE]}{f' of {total}' if total else ''} done"]
    if counts[State.FAILED]:
        parts.append(f"{counts[State.FAILED]} failed{by_class(failures)}")
    for state, words in ((State.STOPPED, "stopped early"), (State.CANCELLED, "cancelled"), (State.RUNNING, "open")):
        if counts[state]:
            parts.append(f"{counts[state]} {words}")
    return ", ".join(parts)


def show_command(directory: Path, number: int | str) -> str:
    """The command to look at a trial."""
    return f"hpo show {shlex.quote(str(directory))} {number}"


def resume_command(directory: Path, *, trials: int = 0, timeout_s: float = 0.0, lifted: Iterable[str] = ()) -> str:
    """The command to go on with a study.

    Args:
        directory: the study's.
        trials: how many there should be in all; 0: as many as were to be.
        timeout_s: how long it should run in all; 0: as long as it was to.
        lifted: names of limits that have been reached, and would end it at once.
    """
    words = ["hpo", "resume", str(directory)]
    words += ["--trials", str(trials)] if trials else []
    words += ["--timeout", duration(timeout_s).replace(" ", "")] if timeout_s else []
    return shlex.join([*words, *(word for name in lifted for word in (f"--{name}", "none"))])


_NAMED_TRIAL = re.compile(r"\btrial (\d+)\b")


def with_command(text: str, directory: Path) -> str:
    """A message that names a trial, with the command to look at that trial; others as they are."""
    match = _NAMED_TRIAL.search(text)
    if match is None or "hpo show" in text:
        return text
    return f"{text} ({show_command(directory, match[1])})"
