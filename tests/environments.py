"""Python environments for tests of what authors do: they see what is installed here, and need no network."""

from __future__ import annotations

import os
import sysconfig
import venv
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path


def new_environment(folder: Path) -> Mapping[str, str]:
    """An environment in which ``pip install`` works as its authors type it, without looking for anything elsewhere.

    Args:
        folder: is made; its ``bin/python`` sees what the running Python does.

    Returns:
        variables for programs that are to run in it.
    """
    venv.create(folder, with_pip=find_spec("pip") is None)
    scripts = folder / "bin"
    paths = {"base": str(folder), "platbase": str(folder)}
    inside = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    outer = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (inside / "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in outer))
    for name, module in {"hpo": "hpo_core", "pip": "pip", "pytest": "pytest"}.items():
        if not (scripts / name).exists():
            (scripts / name).write_text(f'#!/bin/sh\nexec "{scripts}/python" -m {module} "$@"\n')
            (scripts / name).chmod(0o755)
    return {
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "HOME": str(folder),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_BUILD_ISOLATION": "false",  # pip's way of saying: without isolation
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_QUIET": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }
