"""What exactly runs for an attempt, and where its output is kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from attrs import frozen

from hpo_core import _workspace
from hpo_core._checkpoints import attempt_name, checkpoint_of, workspace_of
from hpo_core.allocation import Slot
from hpo_core.command import render
from hpo_core.evaluator import Evaluator
from hpo_core.exceptions import ConfigurationError
from hpo_core.trial import Evaluation, Trial


@frozen
class Kept:
    """Where the files of one evaluation are, if they are kept.

    Attributes:
        stdout, stderr: what it wrote.
        script: does again what was run.
    """

    stdout: str
    stderr: str
    script: str


def width(evaluator: Evaluator, trial: Trial) -> int:
    """Nodes that a trial's evaluation takes."""
    if trial.nodes is not None:
        return max(trial.nodes, 1)
    flag = evaluator.flag.get("nodes_per_evaluation")
    if flag is not None and flag in trial.values:
        try:
            return max(int(trial.values[flag]), 1)
        except ValueError:
            raise ConfigurationError(
                f"{flag}={trial.values[flag]} of trial {trial.number} is no number of nodes"
            ) from None
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
    name = attempt_name(trial.tag, attempt)
    workspace = workspace_of(evaluator, name)
    if workspace:
        kept = Kept(*(os.path.join(workspace, _workspace.NOTES, end) for end in ("stdout", "stderr", "command.sh")))
    else:
        stem = f"{directory}/output/{trial.number}.{attempt}"
        kept = Kept(f"{stem}.out", f"{stem}.err", f"{stem}.sh")
    checkpoint = checkpoint_of(evaluator, directory, study_id, name) if evaluator.checkpoint else None
    nodelist = ",".join(slot.node for slot in slots)
    facts = {
        "checkpoint": checkpoint,
        "trial": str(trial.number),
        "attempt": str(attempt),
        "tag": trial.tag,
        "directory": workspace or os.getcwd(),
        "nodelist": nodelist,
        "fidelity": None if trial.fidelity is None else f"{trial.fidelity:g}",
        "python": sys.executable,
    }
    known = {key: text for key, text in facts.items() if text is not None}
    line = render(evaluator.cmd, " ".join([trial.arguments, *_facts_as_flags(evaluator, trial, nodes)]), known)
    environment = {f"HPO_{key.upper()}": text for key, text in known.items() if key != "python"}
    environment["HPO_STUDY"] = study_id
    environment["HPO_STUDY_DIRECTORY"] = os.path.abspath(directory)
    environment["HPO_NUM_NODES"] = str(nodes)
    evaluation = Evaluation(
        trial=trial.number,
        attempt=attempt,
        command=line.text,
        argv=line.argv,
        directory=workspace or None,
        environment=environment,
        slots=slots,
        name=f"hpo-{study_id}-{trial.number}-{attempt}",
        memory_limit_bytes=evaluator.memory_limit_bytes,
    )
    return evaluation, kept


def _facts_as_flags(evaluator: Evaluator, trial: Trial, nodes: int) -> list[str]:
    flags = []
    nodes_flag = evaluator.flag.get("nodes_per_evaluation")
    if nodes_flag is not None and nodes_flag not in trial.values:
        flags.append(f"{nodes_flag}={nodes}")
    if "fidelity" in evaluator.flag and trial.fidelity is not None:
        flags.append(f"{evaluator.flag['fidelity']}={trial.fidelity:g}")
    return flags
