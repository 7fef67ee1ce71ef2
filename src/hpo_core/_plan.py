"""What exactly runs for an attempt, and where its output is kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from attrs import frozen

from hpo_core import _workspace
from hpo_core.allocation import Slot
from hpo_core.command import render
from hpo_core.evaluator import Evaluator
from hpo_core.trial import Evaluation, Trial


@frozen
class Kept:
    """Where the files of one evaluation are, if they are kept.

    Attributes:
        stdout, stderr: what it wrote.
        script: does again what was run.
    """

    stdout: Path
    stderr: Path
    script: Path


def width(evaluator: Evaluator, trial: Trial) -> int:
    """Nodes that a trial's evaluation takes."""
    if trial.nodes is not None:
        return trial.nodes
    flag = evaluator.flag.get("nodes_per_evaluation")
    if flag is not None and flag in trial.values:
        return int(trial.values[flag])
    return max(evaluator.nodes_per_eval, 1)


def plan(
    evaluator: Evaluator,
    directory: Path,
    study_id: str,
    trial: Trial,
    attempt: int,
    slots: tuple[Slot, ...],
    nodes: int,
) -> tuple[Evaluation, Kept]:
    """What exactly runs for an attempt, and where its output is kept; touches no file."""
    workspace: Path | None = None
    name = trial.tag if attempt == 1 else f"{trial.tag}.{attempt}"
    if evaluator.src_path:
        workspace = Path(evaluator.run_path).absolute() / name
        notes = workspace / _workspace.NOTES
        kept = Kept(notes / "stdout", notes / "stderr", notes / "command.sh")
    else:
        kept = Kept(*(directory / "output" / f"{trial.number}.{attempt}.{end}" for end in ("out", "err", "sh")))
    checkpoint = _checkpoint(evaluator, workspace, directory, name)
    nodelist = ",".join(slot.node for slot in slots)
    facts = {
        "checkpoint": checkpoint,
        "trial": str(trial.number),
        "attempt": str(attempt),
        "tag": trial.tag,
        "directory": str(workspace or Path.cwd()),
        "nodelist": nodelist,
        "fidelity": None if trial.fidelity is None else f"{trial.fidelity:g}",
        "python": sys.executable,
    }
    known = {key: text for key, text in facts.items() if text is not None}
    line = render(evaluator.cmd, [*trial.arguments, *_facts_as_flags(evaluator, trial, nodes)], known)
    environment = {f"HPO_{key.upper()}": text for key, text in known.items() if key != "python"}
    environment["HPO_STUDY"] = study_id
    environment["HPO_STUDY_DIRECTORY"] = str(directory.absolute())
    environment["HPO_NUM_NODES"] = str(nodes)
    evaluation = Evaluation(
        trial=trial.number,
        attempt=attempt,
        command=line.text,
        argv=line.argv,
        directory=None if workspace is None else str(workspace),
        environment=environment,
        slots=slots,
        name=f"hpo-{study_id}-{trial.number}-{attempt}",
    )
    return evaluation, kept


def _checkpoint(evaluator: Evaluator, workspace: Path | None, directory: Path, name: str) -> str | None:
    if not evaluator.checkpoint:
        return None
    home = workspace if workspace is not None else directory.absolute() / "checkpoints" / name
    return os.path.normpath(home / evaluator.checkpoint)


def _facts_as_flags(evaluator: Evaluator, trial: Trial, nodes: int) -> list[str]:
    flags = []
    nodes_flag = evaluator.flag.get("nodes_per_evaluation")
    if nodes_flag is not None and nodes_flag not in trial.values:
        flags.append(f"{nodes_flag}={nodes}")
    if "fidelity" in evaluator.flag and trial.fidelity is not None:
        flags.append(f"{evaluator.flag['fidelity']}={trial.fidelity:g}")
    return flags
