"""What the commands of PBS print: pure functions of strings."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import frozen

from hpo_core import clusters

_ID = re.compile(r"\d+(\[\d*\])?(\.[\w.-]+)?")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = re.compile(r"\w{3} (\w{3}) +(\d+) (\d+):(\d+):(\d+) (\d{4})")


class Answer(clusters.Answer):
    """What a command of OpenPBS or PBS Professional said."""

    silent_codes: ClassVar[frozenset[int]] = frozenset({160, 162, 171, 183})
    silent_words: ClassVar[str] = (
        r"cannot connect to server|couldn't connect to cluster|connection refused|connection timed out|unknown host|"
        r"errno=150(08|10)\b|communication failure|pbs_iff|server is shutting down"
    )
    gone_codes: ClassVar[frozenset[int]] = frozenset({35, 153})

    @property
    def silent(self) -> bool:
        """Whether the server did not answer, which says nothing about any job."""
        if self.code is None or self.code in self.silent_codes:
            return True
        return self.code != 0 and re.search(self.silent_words, self.err, re.IGNORECASE) is not None

    @property
    def gone(self) -> bool:
        """Whether the job that was asked for is over, or not known any more."""
        if self.silent:
            return False
        return self.code in self.gone_codes or re.search(r"Unknown Job Id|[Jj]ob has finished", self.err) is not None

    @property
    def complaint(self) -> str:
        """What went wrong, in one line, without the command's name in front."""
        lines = [re.sub(r"^\w+:\s+", "", line).strip() for line in self.err.partition("usage:")[0].splitlines()]
        text = "; ".join(dict.fromkeys(line for line in lines if line))
        return text or ("no answer in time" if self.code is None else f"exit code {self.code}")


@frozen
class Job:
    """How a job stands.

    Attributes:
        id: as the server writes it.
        state: one letter, ``Q``, ``R``, ``H``, ``E``, ``F`` ...
        comment: the server's words on it; empty where there are none.
        exit_status: once it has ended, where it ever began.
        hosts: names of its nodes, in order, each once.
        walltime_s: its limit in seconds, or None.
        left_s: seconds until that limit, or None where it does not run or has none.
    """

    id: str
    state: str
    comment: str = ""
    exit_status: int | None = None
    hosts: tuple[str, ...] = ()
    walltime_s: float | None = None
    left_s: float | None = None


def read_id(text: str) -> str | None:
    """The id that qsub prints; sites print other things before and behind it."""
    found = [line.strip() for line in text.splitlines() if _ID.fullmatch(line.strip())]
    return next((line for line in reversed(found) if "." in line), found[-1] if found else None)


def sequence(job: str) -> str:
    """What of an id is the same however it is written: its number."""
    return job.partition(".")[0]


def read_json(text: str) -> dict[str, Job]:
    """The jobs in the answer of ``qstat -f -F json``, by id.

    Raises:
        ValueError: it is no JSON, which some versions print for strange environments.
    """
    begin = text.find("{")
    if begin < 0:
        return {}
    answer = json.loads(text[begin:], strict=False)
    asked_at = answer.get("timestamp")
    now = float(asked_at) if isinstance(asked_at, int) else None
    return {job: _job(job, _flat(attributes), now) for job, attributes in answer.get("Jobs", {}).items()}


def read_text(text: str) -> dict[str, Job]:
    """The jobs in the answer of ``qstat -f``, by id."""
    jobs: dict[str, dict[str, str]] = {}
    attributes: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if line.startswith("Job Id:"):
            attributes = jobs.setdefault(line.partition(":")[2].strip(), {})
        elif line.startswith("\t"):
            attributes[key] = attributes.get(key, "") + line[1:]
        elif line.startswith("    "):
            name, _, value = line.strip().partition(" = ")
            key = name.lower()
            attributes[key] = value
    return {job: _job(job, found, None) for job, found in jobs.items()}


def read_table(text: str) -> dict[str, str]:
    """The states of the jobs in the answer of plain ``qstat``, by `sequence`: it cuts their ids and names."""
    rows = [line.split() for line in text.splitlines() if re.match(r"\d", line)]
    return {sequence(row[0]): row[-2] for row in rows if len(row) > 4}


def _flat(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Attributes as text, with dots in the names of those within others; numbers have lost their text anyway."""
    flat: dict[str, str] = {}
    for name, value in attributes.items():
        if name == "Variable_List":
            continue  # it is escaped twice, and of no use
        if isinstance(value, dict):
            flat |= {f"{name}.{key}".lower(): str(text) for key, text in value.items()}
        else:
            flat[name.lower()] = str(value)
    return flat


def _job(job: str, attributes: Mapping[str, str], now: float | None) -> Job:
    status = attributes.get("exit_status", "")
    walltime_s = read_duration(attributes.get("resource_list.walltime", ""))
    state = attributes.get("job_state", "")
    began = _read_time(attributes.get("stime", "") or attributes.get("start_time", ""))
    left_s = None
    remaining = attributes.get("walltime.remaining", "")
    if state in "RSU" and remaining.isdigit():
        left_s = float(remaining)
    elif state in "RSU" and walltime_s is not None and began is not None:
        left_s = walltime_s - max(0.0, (time.time() if now is None else now) - began)
    return Job(
        job,
        state,
        attributes.get("comment", ""),
        int(status) if re.fullmatch(r"-?\d+", status) else None,
        read_hosts(attributes.get("exec_host", "")),
        walltime_s,
        left_s,
    )


def read_hosts(text: str) -> tuple[str, ...]:
    """The names in an ``exec_host`` such as ``n1/0*2+n2/0*2``, in order, each once."""
    return tuple(dict.fromkeys(part.partition("/")[0].strip() for part in text.split("+") if part.strip()))


def read_duration(text: str) -> float | None:
    """Seconds from ``01:02:03``, ``02:03`` or ``3``; None for anything else."""
    if not re.fullmatch(r"\d+(:\d+){0,2}", text.strip()):
        return None
    seconds = 0
    for part in text.strip().split(":"):
        seconds = seconds * 60 + int(part)
    return float(seconds)


def write_duration(seconds: float) -> str:
    """``HH:MM:SS``, rounded up."""
    whole = max(1, -int(-seconds // 1))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _read_time(text: str) -> float | None:
    """Seconds since the epoch from ``Mon Nov 23 17:12:57 2026``, in this host's time zone."""
    match = _TIME.fullmatch(text.strip())
    if match is None or match[1] not in _MONTHS:
        return None
    day, hour, minute, second, year = (int(match[i]) for i in range(2, 7))
    return time.mktime((year, _MONTHS.index(match[1]) + 1, day, hour, minute, second, 0, 0, -1))


def read_versions(text: str) -> str:
    """Whose ``qstat --version`` printed this: ``pbs``, ``torque``, or empty for a program that only has the name."""
    if re.search(r"\bpbs_version\b|\bPBSPro|\bOpenPBS", text):
        return "pbs"
    if re.search(r"^\s*(Version|Commit): ", text, re.MULTILINE | re.IGNORECASE):
        return "torque"
    return ""
