"""Directories in which evaluations run, and the files that say what ran there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from hpo_core._fingerprint import is_ours
from hpo_core._output import fresh_file
from hpo_core.exceptions import LaunchError
from hpo_core.trial import Evaluation

_SECRET = re.compile("SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|APIKEY|API_KEY|PRIVATE_KEY", re.IGNORECASE)

NOTES = ".hpo"
"""Folder in a workspace with ``command.sh``, ``stdout`` and ``stderr``."""


_STUDY = "study"
"""File in `NOTES` with the id of the study that a workspace belongs to."""


def belongs_to(workspace: Path) -> str:
    """The id of the study that a workspace belongs to; empty where there is none."""
    try:
        return (workspace / NOTES / _STUDY).read_text().strip()
    except OSError:
        return ""


def find(workspace: str, study_id: str) -> Path:
    """Where a study's workspace is now: another study of the same `run_path` has moved it aside, or not."""
    other = moved(Path(workspace), study_id)
    return other if other.exists() else Path(workspace)


def moved(workspace: Path, study_id: str) -> Path:
    """Where another study of the same `run_path` moves a study's workspace."""
    return workspace.with_name(f"{workspace.name}~{study_id}")


def prepare(source: Path, workspace: Path, study_id: str) -> None:
    """Copy the sources into a fresh workspace.

    What an interrupted attempt of the same study left there is replaced; another study's workspace is moved aside,
    to ``<tag>~<study id>``.

    Links are kept as links; workspaces and studies that lie inside the sources are not copied.

    Raises:
        LaunchError: something could not be copied, or a folder is in the way that is no workspace.
    """
    run_path = str(workspace.parent.resolve())

    def ours(folder: str, names: list[str]) -> list[str]:
        top = Path(folder) == source
        return [name for name in names if (top and name == NOTES) or is_ours(os.path.join(folder, name), run_path)]

    try:
        if workspace.is_dir() and not (workspace / NOTES).is_dir():
            raise LaunchError(
                f"{workspace} exists and is no workspace of hpo-core: move it, or choose another run_path"
            )
        if workspace.exists():
            owner = belongs_to(workspace)
            if owner in ("", study_id):
                shutil.rmtree(workspace)
            else:
                workspace.rename(moved(workspace, owner))
        (workspace / NOTES).mkdir(parents=True)
        (workspace / NOTES / _STUDY).write_text(study_id)
        shutil.copytree(source, workspace, symlinks=True, ignore=ours, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise LaunchError(f"cannot make the workspace {workspace} from {source}: {error}") from error


def make_checkpoint(directory: str) -> None:
    """Make a trial's checkpoint directory, which is there, maybe empty, before the program starts.

    Raises:
        LaunchError: it could not be made.
    """
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise LaunchError(f"cannot make the checkpoint directory {directory}: {error}") from error


def write_script(path: str, evaluation: Evaluation) -> None:
    """Write the script of an evaluation to a file that can be run."""
    with open(fresh_file(path, 0o700), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(script(evaluation))


def script(evaluation: Evaluation, before: Sequence[str] = ()) -> str:
    """A script that does again what was run: directory, environment difference, command.

    Args:
        evaluation: what was run.
        before: lines that come before the command.
    """
    environment = evaluation.environment
    lines = ["#!/bin/sh", f"cd {shlex.quote(evaluation.directory or environment['HPO_DIRECTORY'])} || exit 126"]
    lines += [f"export {name}={shlex.quote(masked(name, text))}" for name, text in environment.items()]
    return "\n".join([*lines, *before, evaluation.command, ""])


def masked(name: str, text: str) -> str:
    """The text, or stars where the variable's name looks as if it held a secret."""
    return "***" if _SECRET.search(name) else text
