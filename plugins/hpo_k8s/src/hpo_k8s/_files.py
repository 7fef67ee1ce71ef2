"""Where workspaces and checkpoints are, who makes them, and how sources get there: decided when the study is built."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from attrs import frozen

from hpo_core import ConfigurationError
from hpo_k8s._options import K8sOptions, pairs
from hpo_k8s._sources import Sources, pack

if TYPE_CHECKING:
    from hpo_core import Evaluator


@frozen
class Layout:
    """What was decided.

    Attributes:
        by_pod: whether pods make their files, as the driver does not see them.
        sources: what is sent in a ConfigMap, or None.
        own_path: directory of workspaces that go with their pods; empty: they are on a claim.
        words: the same for people; empty where there is nothing to say.
    """

    by_pod: bool = False
    sources: Sources | None = None
    own_path: str = ""
    words: str = ""


def layout(evaluator: Evaluator, options: K8sOptions) -> Layout:
    """Decide.

    Raises:
        ConfigurationError: it can't work as it is set.
    """
    if not (evaluator.src_path or evaluator.checkpoint):
        return Layout()
    claims = tuple(pairs(options.claims).values())
    run_path = os.path.abspath(evaluator.run_path) if evaluator.src_path else ""
    below_run_path = bool(run_path) and not os.path.isabs(evaluator.checkpoint)
    checkpoint = (run_path if below_run_path else evaluator.checkpoint) if evaluator.checkpoint else ""
    if checkpoint and not _on(checkpoint, claims):
        which, what = ("run_path", evaluator.run_path) if below_run_path else ("checkpoint", evaluator.checkpoint)
        raise ConfigurationError(
            f"checkpoint with workload_manager='k8s' needs a persistent volume claim, such as launcher_options="
            f"{{'claims': {{'data': '/data'}}}}, and {which} as an absolute path below where pods mount it: "
            f"{which}={what!r} is not"
        )
    trouble = _driver_cannot(evaluator, run_path, checkpoint, claims)
    if options.files == "driver" and trouble:
        raise ConfigurationError(f"launcher 'k8s': files='driver', and {trouble}")
    if not trouble and options.files != "pod":
        where = ", ".join(filter(None, (run_path, "" if below_run_path else checkpoint)))
        return Layout(words=f"files are made by the driver, which sees the claim that pods mount: {where}")
    if evaluator.checkpoint_budget is not None:
        raise ConfigurationError(
            "checkpoint_budget can't be kept where pods make the checkpoints: the driver does not see how large they "
            f"are ({trouble or 'files is pod'}); leave it out, or run hpo-core where the claim is mounted, too"
        )
    made = f"files are made in the pods ({trouble})" if trouble else "files are made in the pods"
    if not evaluator.src_path:
        return Layout(by_pod=True, words=f"{made}: checkpoints are below {checkpoint}")
    own_path = "" if _on(run_path, claims) else run_path
    kept = f"workspaces below {run_path} are on a claim"
    if own_path:
        kept = f"workspaces below {run_path} are in no claim, and go with their pods"
    sources, told = _sources(evaluator.src_path, run_path, claims)
    return Layout(True, sources, own_path, f"{made}: {told}; {kept}")


def _sources(src_path: str, run_path: str, claims: tuple[str, ...]) -> tuple[Sources | None, str]:
    """How sources get into pods, and the same for people."""
    source = os.path.abspath(src_path)
    if _on(source, claims):
        if _on(run_path, (source,)):
            raise ConfigurationError(
                f"run_path={run_path!r} lies in src_path={source!r}: a pod would copy all workspaces into each; choose "
                "a folder beside it"
            )
        return None, f"sources are copied from the claim, {source}"
    if os.path.isdir(source):
        sources = pack(source, run_path)
        count, kib = len(sources.files), math.ceil(sources.size_bytes / 1024)
        files = "1 file" if count == 1 else f"{count} files"
        return sources, f"sources are sent as a ConfigMap: {files} of {source}, {kib} KiB"
    if os.path.isabs(src_path):
        return None, f"sources are copied from the image: {source} is neither here nor on a claim"
    raise ConfigurationError(
        f"src_path={src_path!r} is no directory here; for sources on a claim or in workload_image give the absolute "
        "path that they have there"
    )


def _driver_cannot(evaluator: Evaluator, run_path: str, checkpoint: str, claims: tuple[str, ...]) -> str:
    """Why the driver can't make the files; empty where it can."""
    for path in filter(None, (run_path, checkpoint)):
        mounts = [mount for mount in claims if _on(path, (mount,))]
        if not mounts:
            return f"{path} is not below a claim"
        if not any(map(os.path.isdir, mounts)):
            return f"the claim at {mounts[0]} is not mounted here"
    if evaluator.src_path and not os.path.isdir(evaluator.src_path):
        return f"src_path {evaluator.src_path} is not here"
    return ""


def _on(path: str, mounts: tuple[str, ...]) -> bool:
    """Whether an absolute path is one of these directories, or in one, as it is written."""
    path = os.path.normpath(path)
    return os.path.isabs(path) and any(
        os.path.commonpath([path, os.path.normpath(mount)]) == os.path.normpath(mount) for mount in mounts
    )
