"""What exactly runs for an attempt, and where its output is kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from hpo_core import _workspace
from hpo_core._checkpoints import attempt_name, checkpoint_of, workspace_of
from hpo_core.allocation import Slot
from hpo_core.command import Template
from hpo_core.evaluator import Evaluator
from hpo_core.exceptions import ConfigurationError
from hpo_core.trial import Evaluation, Trial


class Kept(NamedTuple):
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


class Planner:
    """Says what exactly runs for each attempt of a study, and where its output is kept; touches no file.

    Args:
        evaluator: the user's settings.
        directory: the study's.
        study_id: part of all names.
        elsewhere: whether workspaces are where the driver does not see them.
        cwd: where the driver runs; empty: here.
    """

    def __init__(
        self, evaluator: Evaluator, directory: Path, study_id: str, *, elsewhere: bool = False, cwd: str = ""
    ) -> None:
        self._evaluator = evaluator
        self._directory = directory
        self._study_id = study_id
        self._elsewhere = elsewhere
        self._cwd = cwd or os.getcwd()
        self._template = Template(evaluator.cmd)
        self._of_study = {"HPO_STUDY": study_id, "HPO_STUDY_DIRECTORY": os.path.abspath(directory)}
        self._memory_limit_bytes = evaluator.memory_limit_bytes

    def __call__(
        self, trial: Trial, attempt: int, slots: tuple[Slot, ...], nodes: int | None = None, *, again: bool = False
    ) -> tuple[Evaluation, Kept]:
        """The attempt on these slots.

        Args:
            trial: what is evaluated.
            attempt: from 1.
            slots: where.
            nodes: how many it takes, where that is known already.
            again: it ran before and leaves its checkpoint as that is: it uses another, called so and ``.again``.
        """
        evaluator = self._evaluator
        nodes = width(evaluator, trial) if nodes is None else nodes
        name = attempt_name(trial.tag, attempt)
        workspace = workspace_of(evaluator, name, self._cwd)
        if workspace and not self._elsewhere:
            stem = os.path.join(workspace, _workspace.NOTES, "")
            kept = Kept(f"{stem}stdout", f"{stem}stderr", f"{stem}command.sh")
        else:
            stem = f"{self._directory}/output/{trial.number}.{attempt}"
            kept = Kept(f"{stem}.out", f"{stem}.err", f"{stem}.sh")
        environment = {
            "HPO_TRIAL": str(trial.number),
            "HPO_ATTEMPT": str(attempt),
            "HPO_TAG": trial.tag,
            "HPO_DIRECTORY": workspace or self._cwd,
            "HPO_NODELIST": slots[0].node if len(slots) == 1 else ",".join([slot.node for slot in slots]),
            "HPO_NUM_NODES": str(nodes),
            **self._of_study,
        }
        if trial.fidelity is not None:
            environment["HPO_FIDELITY"] = f"{trial.fidelity:g}"
        if evaluator.checkpoint:
            own = checkpoint_of(evaluator, self._directory, self._study_id, name, self._cwd)
            environment["HPO_CHECKPOINT"] = f"{own}.again" if again else own
        arguments = trial.arguments
        if evaluator.flag:
            arguments = " ".join([arguments, *_facts_as_flags(evaluator, trial, nodes)])
        line = self._template.render(arguments, environment)
        evaluation = Evaluation(
            trial=trial.number,
            attempt=attempt,
            command=line.text,
            argv=line.argv,
            directory=workspace or None,
            environment=environment,
            slots=slots,
            name=f"hpo-{self._study_id}-{trial.number}-{attempt}",
            memory_limit_bytes=self._memory_limit_bytes,
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
