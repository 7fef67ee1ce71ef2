"""Sources that are small enough to reach pods in a ConfigMap."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Iterator

from attrs import frozen

from hpo_core import ConfigurationError
from hpo_k8s._connection import Object

LIMIT_BYTES = 2**20
"""What Kubernetes takes in one ConfigMap."""
_PER_FILE = 64
"""What a file costs beside its name and content."""


@frozen
class Sources:
    """Files of a folder.

    Attributes:
        files: path in the folder, content, and whether it is a program; ordered by path.
    """

    files: tuple[tuple[str, bytes, bool], ...]

    @property
    def size_bytes(self) -> int:
        """Of all contents and names."""
        return sum(len(data) + len(path.encode()) + _PER_FILE for path, data, _ in self.files)

    @property
    def digest(self) -> str:
        """Other sources have another one."""
        total = hashlib.sha256()
        for path, data, is_program in self.files:
            total.update(f"{path}\0{is_program}\0{len(data)}\0".encode())
            total.update(data)
        return total.hexdigest()[:10]

    def contents(self) -> Object:
        """Key to content, as a ConfigMap's ``binaryData``; a path itself may be no key."""
        return {f"f{number}": base64.b64encode(data).decode() for number, (_, data, _) in enumerate(self.files)}

    def items(self) -> list[Object]:
        """Where a volume has which key."""
        return [
            {"key": f"f{number}", "path": path, "mode": 0o755 if is_program else 0o644}
            for number, (path, _, is_program) in enumerate(self.files)
        ]


def pack(folder: str, run_path: str) -> Sources:
    """Read a folder, without studies and workspaces in it; links are followed.

    Raises:
        ConfigurationError: it can't be read, or is larger than a ConfigMap may be.
    """
    found, total = list[tuple[str, bytes, bool]](), 0
    try:
        for path, place, facts in _below(folder, os.path.realpath(run_path)):
            if path.startswith("..") or path.encode(errors="replace").decode() != path:
                raise ConfigurationError(
                    f"src_path={folder!r} holds {path!r}, a name that a ConfigMap can't have: rename or remove it, or "
                    "put the sources on a claim (launcher_options: claims) or into workload_image"
                )
            total += facts.st_size + len(path.encode()) + _PER_FILE
            if total > LIMIT_BYTES:
                raise ConfigurationError(
                    f"src_path={folder!r} holds more than the 1 MiB that a ConfigMap takes: put the sources on a claim "
                    "(launcher_options: claims) or into workload_image, and give the path that they have there"
                )
            with open(place, "rb") as file:
                found.append((path, file.read(), bool(facts.st_mode & stat.S_IXUSR)))
    except OSError as error:
        raise ConfigurationError(f"src_path={folder!r} can't be read: {error}") from error
    return Sources(tuple(sorted(found)))


def _below(folder: str, run_path: str) -> Iterator[tuple[str, str, os.stat_result]]:
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [
            name
            for name in folders
            if name not in (".git", ".hpo", "__pycache__")
            and not os.path.isfile(os.path.join(place, name, "journal.jsonl"))
            and os.path.realpath(os.path.join(place, name)) != run_path
        ]
        for name in names:
            whole = os.path.join(place, name)
            facts = os.stat(whole)
            if stat.S_ISREG(facts.st_mode):
                yield os.path.relpath(whole, folder), whole, facts
