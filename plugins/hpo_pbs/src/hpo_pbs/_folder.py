"""A job's folder on a file system that its nodes see: its script, and what the two say to each other."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpo_core import AllocationError

SCRIPT = "job"
"""The name of a job's script."""
_SCRIPT = Path(__file__).with_name("pilot.sh")
_TOLD_AT_MOST = 2000


def make_base(shared: Path, name: str) -> Path:
    """A hidden folder for all jobs of an allocation, which this user alone may enter.

    Raises:
        AllocationError: it can't be made.
    """
    try:
        shared.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{name}-", dir=shared))
    except OSError as error:
        raise AllocationError(
            f"no folder can be made in {shared} ({error.strerror}), where the job's script and messages would be; "
            "the option shared_dir names another place that the nodes see"
        ) from error


class JobFolder:
    """The folder of one job; `pilot.sh` describes the files.

    Args:
        base: what `make_base` gave.
        number: of the job among those of the allocation.
        bin_folder: where the commands of PBS are on this host.
        starter: how programs get to nodes, or ``auto``.
        patience_s: how long the driver may show no sign of life.

    Raises:
        AllocationError: it can't be made.
    """

    def __init__(self, base: Path, number: int, *, bin_folder: str, starter: str, patience_s: float) -> None:
        self.path = base / f"{number}-{secrets.token_hex(2)}"
        self._heard = 0
        self._orders = 0
        settings = {
            "folder": self.path,
            "quoted": shlex.quote(str(self.path)),
            "bin": bin_folder,
            "starter": starter,
            "patience": max(1, round(patience_s)),
        }
        head = "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in settings.items())
        try:
            self.path.mkdir(mode=0o700)
            self.write(SCRIPT, f"#!/bin/sh\n{head}{_SCRIPT.read_text(encoding='utf-8')}")
            for name in ("orders", "answers", "output", "submitted"):
                self.write(name, "")
        except OSError as error:
            raise AllocationError(f"the job's folder can't be made in {base}: {error.strerror}") from error

    @property
    def script(self) -> str:
        """The path of the job's script."""
        return str(self.path / SCRIPT)

    def write(self, name: str, text: str) -> None:
        """Write a file that this user alone may read."""
        with open(os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)

    def nodes(self) -> dict[str, int]:
        """The job's nodes, each with its first place in PBS's list; once the script has begun."""
        lines = [line.strip() for line in self.read("nodes").splitlines()]
        found: dict[str, int] = {}
        for place, name in enumerate(lines):
            if name:
                found.setdefault(name, place)
        return found

    def order(self, words: Sequence[str], nodes: Mapping[str, int], environment: Mapping[str, str]) -> int:
        """Have a program started on nodes.

        Args:
            words: the program and its arguments.
            nodes: name to place in PBS's list.
            environment: variables beyond those of the job; they stand in a file, not in a command line.

        Returns:
            the number by which its end is told.

        Raises:
            OSError: the folder can't be written.
        """
        self._orders += 1
        number = self._orders
        variables = "".join(f"export {name}={shlex.quote(text)}\n" for name, text in environment.items())
        said = shlex.quote(str(self.path / f"{number}."))
        run = f'exec {shlex.join(words)} >{said}"$2".said 2>&1 </dev/null\n'
        self.write(f"{number}.task", f'#!/bin/sh\n{variables}export HPO_NODE="$1"\n{run}')
        places = " ".join(f"{place}:{name}" for name, place in nodes.items())
        with open(os.open(self.path / "orders", os.O_WRONLY | os.O_APPEND), "w") as file:
            file.write(f"{number} {places}\n")
        return number

    def news(self) -> list[str]:
        """Whole lines that the script has said since this was last called."""
        new = self.read("answers")[self._heard :]
        whole = new[: new.rfind("\n") + 1]
        self._heard += len(whole)
        return whole.splitlines()

    def said(self, number: int) -> str:
        """The end of what an order's programs and their starters printed."""
        names = sorted(path.name for path in self.path.glob(f"{number}.*") if re.search(r"\.(said|start)$", path.name))
        texts = (self.read(name).strip() for name in names)
        return "\n".join(text for text in texts if text)[-_TOLD_AT_MOST:]

    def read(self, name: str) -> str:
        """The end of a file; empty where it is not there."""
        try:
            with open(self.path / name, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""
