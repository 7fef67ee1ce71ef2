"""What the command was made of, so that a resumed study notices that its program changed."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from collections.abc import Iterator, Mapping

_LARGE = 64 * 2**20
_LISTED_AT_MOST = 500


def fingerprint(command: str, src_path: str, run_path: str = "") -> dict[str, str]:
    """File name to digest: all files below `src_path`, or without it the files that the command names.

    What hpo-core itself writes there is left out: studies, and workspaces below `run_path`.

    A file of over 64 MiB counts by its size and time. More than 500 files are summed up as one.
    """
    names = sorted(_below(src_path, os.path.realpath(run_path))) if src_path else sorted(_named(command))
    digests = {name: _digest(os.path.join(src_path, name)) for name in names}
    if len(digests) <= _LISTED_AT_MOST:
        return digests
    total = hashlib.sha256("\n".join(f"{name} {digest}" for name, digest in digests.items()).encode())
    return {f"the {len(digests)} files of {src_path}": total.hexdigest()[:16]}


def differences(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """One sentence for each file that changed, came or went."""
    found = [f"{name} changed" for name in recorded if name in now and recorded[name] != now[name]]
    found += [f"{name} is gone" for name in recorded if name not in now]
    return found + [f"{name} is new" for name in now if name not in recorded]


def _below(folder: str, run_path: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_ours(os.path.join(place, name), run_path)]
        for name in files:
            yield os.path.relpath(os.path.join(place, name), folder)


def is_ours(folder: str, run_path: str) -> bool:
    """Whether hpo-core wrote a folder among the sources: a study's directory, or the workspaces (a real path)."""
    return os.path.isfile(os.path.join(folder, "journal.jsonl")) or os.path.realpath(folder) == run_path


def _named(command: str) -> Iterator[str]:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return (word for word in words if os.path.isfile(word))


def _digest(path: str) -> str:
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            return "special"
        if facts.st_size > _LARGE:
            return f"{facts.st_size} {facts.st_mtime_ns}"
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return "unreadable"
