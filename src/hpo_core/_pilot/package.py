"""The worker as one file that any Python of 3.8 or later runs by itself."""

from __future__ import annotations

import os
import pkgutil

_MODULES = (
    *("_processes.py", "_engine.py"),
    *("_pilot/__init__.py", "_pilot/wire.py", "_pilot/links.py", "_pilot/worker.py"),
)


def write(path: str) -> None:
    """Write the worker's file, readable by this user alone.

    Raises:
        OSError: it can't be written.
    """
    import zipfile

    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("__main__.py", _source("_pilot/__main__.py"))
        archive.writestr("hpo_core/__init__.py", "")
        for module in _MODULES:
            archive.writestr(f"hpo_core/{module}", _source(module))


def _source(module: str) -> bytes:
    found = pkgutil.get_data("hpo_core", module)
    if found is None:
        raise FileNotFoundError(f"hpo_core/{module}")
    return found
