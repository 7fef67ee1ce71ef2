"""Command lines of Slurm, and what its commands print: pure functions of strings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from attrs import frozen

PENDING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
STARTING = frozenset({"CONFIGURING"})
RUNNING = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"})
ENDING = frozenset({"COMPLETING"})

NEVER = frozenset(
    {
        *("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints"),
        *("AssocMaxNodePerJobLimit", "AssocMaxCpuPerJobLimit", "AssocMaxWallDurationPerJobLimit"),
        *("QOSMaxNodePerJobLimit", "QOSMaxCpuPerJobLimit", "QOSMaxWallDurationPerJobLimit"),
        *("InvalidAccount", "InvalidQOS", "DependencyNeverSatisfied", "AccountNotAllowed"),
        *("QOSNotAllowed", "ReservationDeleted"),
    }
)
"""Reasons of waiting that time alone does not cure."""

_STATE = "%i|%T|%r|%L|%N"
_JOBS = "%i|%T|%j|%k"
_STEPS = "%i|%j"

GRANTED = re.compile(r"^salloc: Granted job allocation (\d+)", re.MULTILINE)
QUEUED = re.compile(r"^salloc: Pending job allocation (\d+)", re.MULTILINE)


@frozen
class Job:
    """How a job stands.

    Attributes:
        id: its number.
        state: Slurm's word, in capitals.
        reason: why it waits or ended, as Slurm says it.
        left_s: seconds until its time limit, or None without one.
        nodes: names of its nodes.
    """

    id: int
    state: str
    reason: str = ""
    left_s: float | None = None
    nodes: tuple[str, ...] = ()


def salloc_words(
    name: str, mark: str, nodes: int, timeout_s: float, *, exclusive: bool, arguments: Sequence[str]
) -> tuple[str, ...]:
    """An allocation without a shell, which outlives the loss of a node. The user's arguments come last and win.

    Args:
        name: of the job.
        mark: its comment, by which it is found where the user gave it another name.
        nodes: how many.
        timeout_s: its time limit; Slurm counts in minutes.
        exclusive: whole nodes.
        arguments: the user's own, word by word.
    """
    return (
        *("salloc", "--no-shell", "--no-kill", f"--job-name={name}", f"--comment={mark}"),
        *(f"--nodes={nodes}", f"--time={max(1, math.ceil(timeout_s / 60))}"),
        *(("--exclusive",) if exclusive else ()),
        *arguments,
    )


def srun_words(
    job: int | str, nodes: Sequence[str], name: str, *, arguments: Sequence[str] = (), error: str = ""
) -> tuple[str, ...]:
    """A job step of one task on each of these nodes, whatever else runs there; the program follows.

    Args:
        job: the allocation.
        nodes: names of its nodes.
        name: of the step.
        arguments: the user's own, word by word; they come last and win.
        error: a file for what the tasks write to stderr, apart from srun's own messages; empty: no such file.
    """
    tasks = () if any(map(_sets_tasks, arguments)) else (f"--ntasks={len(nodes)}", "--ntasks-per-node=1")
    return (
        *("srun", f"--jobid={job}", "--overlap", f"--nodes={len(nodes)}", *tasks),
        *(f"--nodelist={','.join(nodes)}", f"--job-name={name}", "--mem=0", "--input=none", "--unbuffered"),
        *((f"--error={error}",) if error else ()),
        *arguments,
    )


def _sets_tasks(argument: str) -> bool:
    return bool(re.match(r"-n\d*$|--ntasks(=|$|-per-node)", argument))


def sets_directory(arguments: Sequence[str]) -> bool:
    """Whether the user's arguments of srun say where programs run."""
    return any(re.match(r"-D|--chdir(=|$)", argument) for argument in arguments)


def job_words(job: int) -> tuple[str, ...]:
    """Ask how one job stands, also when it is over."""
    return ("squeue", "--noheader", "--states=all", f"--jobs={job}", f"--format={_STATE}")


def jobs_words(user: int) -> tuple[str, ...]:
    """Ask for all jobs of a user that wait, run or are being ended."""
    return ("squeue", "--noheader", f"--user={user}", f"--format={_JOBS}")


def steps_words(user: int) -> tuple[str, ...]:
    """Ask for all job steps of a user."""
    return ("squeue", "--noheader", "--steps", f"--user={user}", f"--format={_STEPS}")


def read_job(text: str) -> Job | None:
    """The answer to `job_words`; None where there is no such job."""
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) == 5 and fields[0].isdigit():
            number, state, reason, left, nodes = fields
            return Job(int(number), state, reason, read_time(left), tuple(expand(nodes)))
    return None


def read_jobs(text: str) -> list[tuple[int, str, str, str]]:
    """The answer to `jobs_words`: id, state, name, comment."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split("|", 2)
        if len(fields) == 3 and fields[0].isdigit():
            name, _, comment = fields[2].rpartition("|")
            found.append((int(fields[0]), fields[1], name, comment))
    return found


def read_steps(text: str) -> list[tuple[str, str]]:
    """The answer to `steps_words`: id such as ``12.3``, and name."""
    pairs = (line.strip().partition("|") for line in text.splitlines())
    return [(step, name) for step, bar, name in pairs if bar]


def read_time(text: str) -> float | None:
    """Seconds from ``1-02:03:04``, ``3:04``, ``5``; None for ``UNLIMITED`` and the like."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)", text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds


def expand(text: str) -> Iterator[str]:
    """The names in a list of nodes such as ``n[1-3,7],gpu[01-02]``, in order."""
    for part in _split(text):
        match = re.match(r"([^\[]*)\[([^\]]*)\](.*)", part, re.DOTALL)
        if match is None:
            yield part
            continue
        head, ranges, rest = match.groups()
        for one in ranges.split(","):
            first, dash, last = one.partition("-")
            numbers = range(int(first), int(last) + 1) if dash else (int(first),)
            for number in numbers:
                yield from expand(f"{head}{number:0{len(first)}d}{rest}")


def _split(text: str) -> list[str]:
    """Cut at commas outside brackets."""
    return [part for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text.strip()) if part]


def expand_numbers(text: str) -> tuple[int, ...]:
    """The numbers in a list such as ``0-3,8``."""
    pairs = (part.partition("-") for part in text.split(",") if part.strip())
    return tuple(n for first, dash, last in pairs for n in range(int(first), int(last if dash else first) + 1))


def complaint(text: str) -> str:
    """What a command of Slurm complains about, in one line, without its name in front."""
    lines = [re.sub(r"^\w+: (?:error: )?", "", line).strip() for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))
