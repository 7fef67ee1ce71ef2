"""What runs on the nodes for an evaluation: a few lines of shell around its command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from hpo_core import Evaluation
from hpo_slurm import _commands as cmd

_SCRIPT = """\
cd "$1" || exit 126
shift
{settings}export HPO_TASK={name}."$SLURM_PROCID"
trap : TERM
exec 3>&2 2>/dev/null
"$@" 2>&3 3>&-
code=$?
round=0
while [ $round -lt 5 ]; do
    left=$(grep -lzsxF "HPO_TASK=$HPO_TASK" /proc/[0-9]*/environ)
    [ -n "$left" ] || break
    for file in $left; do pid=${{file#/proc/}}; kill -KILL "${{pid%/environ}}"; done
    round=$((round + 1))
done
exit $code
"""
"""The command runs in its directory (srun itself would go to /tmp where that is missing). The shell outlives it, also
a TERM, and kills what it leaves behind; not every Slurm finds processes whose parents have ended."""

SWEEP = """\
round=0
while [ $round -lt 5 ]; do
    left=$(grep -lzsE "^HPO_TASK=($1)[.]" /proc/[0-9]*/environ)
    [ -n "$left" ] || break
    for file in $left; do pid=${file#/proc/}; kill -KILL "${pid%/environ}"; done
    round=$((round + 1))
done
"""
"""Kills what is left of job steps on a node where Slurm itself does not find it any more; ``$1`` is their names. Their
numbers would not do: another cluster on the same machine counts from 1 as well."""


def program(evaluation: Evaluation, launch_arguments: Sequence[str]) -> tuple[str, ...]:
    """The program that srun starts for an evaluation, and its arguments.

    Args:
        evaluation: what runs.
        launch_arguments: the user's own arguments of srun; they may say where programs run.
    """
    slots, settings, before = evaluation.slots, "", tuple[str, ...]()
    if len(slots) == 1 and slots[0].gpus:
        ids = ",".join(dict.fromkeys(slots[0].gpus))
        settings += f"export CUDA_VISIBLE_DEVICES={ids} ROCR_VISIBLE_DEVICES={ids}\n"
    if len(slots) == 1 and slots[0].cores:
        cores = ",".join(map(str, slots[0].cores))
        settings += f"export HPO_CORES={cores} OMP_NUM_THREADS={len(slots[0].cores)}\n"
        before = ("taskset", "--cpu-list", cores)
    directory = evaluation.directory
    if directory is None:
        directory = "." if cmd.sets_directory(launch_arguments) else os.getcwd()
    command = evaluation.argv if evaluation.argv is not None else ("sh", "-c", evaluation.command)
    return (
        "sh",
        "-c",
        _SCRIPT.format(settings=settings, name=shlex.quote(evaluation.name)),
        "sh",
        directory,
        *before,
        *command,
    )
