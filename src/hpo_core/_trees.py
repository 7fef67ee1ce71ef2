"""Directory trees as wholes: copied so that a half copy is never taken for one, measured, removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_FICLONE = 0x40049409
"""Linux's request to share a file's blocks with another until one of them is written; see ioctl_ficlone(2)."""

_UNFINISHED = ".part"


def clone(source: Path, target: Path) -> None:
    """Copy a tree whole; files share their blocks where the file system can do that. What was at `target` is replaced.

    A copy that was interrupted is not at `target` but beside it, and is replaced by the next one.

    Raises:
        OSError, shutil.Error: something could not be copied.
    """
    unfinished = target.with_name(target.name + _UNFINISHED)
    target.parent.mkdir(parents=True, exist_ok=True)
    _delete(unfinished)
    shutil.copytree(source, unfinished, symlinks=True, copy_function=_copy)
    _delete(target)
    unfinished.rename(target)


def remove(tree: Path) -> None:
    """Remove a tree, and what is left of an interrupted copy to it; harmless where there is none.

    Raises:
        OSError: something could not be removed.
    """
    _delete(tree)
    _delete(tree.with_name(tree.name + _UNFINISHED))


def size_bytes(tree: Path) -> int:
    """Bytes of all files in a tree; 0 where there is none."""
    total = 0
    for folder, _, files in os.walk(tree):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                pass  # removed meanwhile
    return total


def _delete(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _copy(source: str, target: str) -> str:
    if not _share_blocks(source, target):
        shutil.copyfile(source, target)
    shutil.copystat(source, target)
    return target


def _share_blocks(source: str, target: str) -> bool:
    try:
        import fcntl
    except ImportError:
        return False
    try:
        with open(source, "rb") as old, open(target, "wb") as new:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
    except OSError:
        return False
    return True
