"""What runs in a pod before the program: makes its workspace and its checkpoint. Any image with ``sh`` will do."""

from __future__ import annotations

from collections.abc import Sequence

from hpo_core import Evaluation
from hpo_core.trial import Files

FILES = "hpo-files"
"""The container that makes an evaluation's files before it begins."""
SOURCE = "/hpo-core/source"
"""Where a pod has sources from a ConfigMap."""

MAKE = r"""
study=$1 evaluation=$2 source=$3 workspace=$4 own=$5 checkpoint=$6 moved=$7 parent=$8
shift 8
fail() { echo "$1" >&2; exit 1; }
copy() {
  rm -rf "$2" && mkdir -p "$2" && cp -RPp "$1/." "$2" 2>/dev/null && return
  rm -rf "$2" && mkdir -p "$2" && cp -RP "$1/." "$2"
}
first=; [ "${HPO_NODE_RANK:-0}" != 0 ] || first=yes
if [ -n "$workspace" ] && [ -n "$first$own" ]; then
  [ -d "$source" ] || fail "there are no sources $source in the pod"
  if [ -d "$workspace" ]; then
    [ -d "$workspace/.hpo" ] ||
      fail "$workspace exists and is no workspace of hpo-core: move it, or choose another run_path"
    owner=$(cat "$workspace/.hpo/study" 2>/dev/null)
    if [ -z "$owner" ] || [ "$owner" = "$study" ]; then rm -rf "$workspace"
    else mv "$workspace" "$workspace~$owner"; fi
  fi
  part=$workspace.part
  if [ -e "$source/..data" ]; then
    rm -rf "$part" && mkdir -p "$part" && cp -RL "$source/." "$part" && rm -rf "$part"/..?*
  else copy "$source" "$part"; fi &&
  rm -rf "$part/.hpo" && mkdir "$part/.hpo" &&
  echo "$study" > "$part/.hpo/study" && echo "$evaluation" > "$part/.hpo/evaluation" &&
  mv "$part" "$workspace" || fail "cannot make the workspace $workspace from $source"
fi
if [ -z "$first" ]; then
  ready() {
    { [ -z "$workspace" ] || [ "$(cat "$workspace/.hpo/evaluation" 2>/dev/null)" = "$evaluation" ]; } &&
    { [ -z "$checkpoint" ] || [ -d "$checkpoint" ]; }
  }
  until ready; do sleep 1; done
  exit 0
fi
for path; do
  rm -rf "$path" "$path.part" && rmdir "${path%/*}" 2>/dev/null
done
[ -n "$checkpoint" ] || exit 0
[ ! -d "$moved" ] || parent=$moved
if [ -z "$parent" ]; then
  mkdir -p "$checkpoint" || fail "cannot make the checkpoint directory $checkpoint"
else
  [ -d "$parent" ] || fail "the checkpoint $parent, which this trial continues, is gone"
  copy "$parent" "$checkpoint.part" && rm -rf "$checkpoint" && mv "$checkpoint.part" "$checkpoint" ||
    fail "cannot copy the checkpoint $parent to $checkpoint"
fi
""".strip()
"""The pod of rank 0 makes what all pods of an evaluation share; the others wait for it. What is there was made whole:
it is made beside its place and moved."""

CLEAR = """
for path; do
  rm -rf "$path" "$path.part" && rmdir "${path%/*}" 2>/dev/null
done
true
""".strip()
"""Deletes checkpoints, and the directories that held nothing else."""


def words(
    evaluation: Evaluation, files: Files, study_id: str, *, source: str, own: bool, garbage: Sequence[str]
) -> list[str]:
    """The command that makes an evaluation's files.

    Args:
        evaluation: what runs then.
        files: what it is to find.
        study_id: of its study.
        source: where the pod has the sources.
        own: whether each of its pods has a workspace of its own.
        garbage: checkpoints to be deleted.
    """
    *moved, parent = files.parents or ("",)
    workspace = (evaluation.directory or "") if files.source else ""
    places = [source, workspace, "own" if own else "", files.checkpoint, (moved or [""])[0], parent]
    return ["/bin/sh", "-c", MAKE, FILES, study_id, evaluation.name, *places, *garbage]


def clear(garbage: Sequence[str]) -> list[str]:
    """The command that deletes checkpoints."""
    return ["/bin/sh", "-c", CLEAR, FILES, *garbage]
