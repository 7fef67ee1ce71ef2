"""From evaluations to the Jobs that run them: pure functions of their arguments."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpo_core import ConfigurationError, Evaluation
from hpo_core.trial import Files
from hpo_k8s import _prologue
from hpo_k8s._connection import Object
from hpo_k8s._files import Layout
from hpo_k8s._manifest import EVALUATION, all_labels, anchor_name, name_of, sources_name
from hpo_k8s._options import K8sOptions, pairs

CONTAINER = "main"

_NO_FILES = Layout()

RUN = r"""
cd "$1" 2>/dev/null || exit 126
shift
trap 'term=1; [ -z "$child" ] || kill -TERM "$child"' TERM
exec 3>&2 2>/dev/null
"$@" 2>&3 3>&- &
child=$!
[ -z "$term" ] || kill -TERM "$child"
while :; do
  wait "$child"
  code=$?
  kill -0 "$child" || exit "$code"
done
""".strip()
"""Runs a command for a process 1, which would ignore TERM: hands TERM on, and ends as the command ended."""


class Jobs:
    """Makes the Jobs of a study.

    Args:
        study_id: of the study.
        options: the user's.
        template: the user's description of a pod.
        layout: where files are, and who makes them.
        grace_s: between TERM and KILL, whoever ends a pod.
    """

    def __init__(
        self,
        study_id: str,
        options: K8sOptions,
        template: Mapping[str, Any],
        layout: Layout = _NO_FILES,
        grace_s: float = 5.0,
    ) -> None:
        self._grace_s = grace_s
        self._study_id, self._options, self._template, self._layout = study_id, options, template, layout

    def job(self, evaluation: Evaluation, owned_by: Object | None = None, garbage: Sequence[str] = ()) -> Object:
        """The Job that runs an evaluation.

        Args:
            evaluation: what runs.
            owned_by: the reference to the study's anchor; None: as a preview shows it.
            garbage: checkpoints that it deletes before it begins.
        """
        name, nodes = name_of(evaluation.name), max(len(evaluation.slots), 1)
        notes = {
            "hpo-core/evaluation": evaluation.name,
            "hpo-core/trial": str(evaluation.trial),
            "hpo-core/attempt": str(evaluation.attempt),
            "hpo-core/command": evaluation.command[:4096],
        }
        pod, container = self._pod(name)
        if nodes > 1:
            pod["spec"]["subdomain"] = anchor_name(self._study_id)
        self._run(container, evaluation)
        if evaluation.files is not None and (evaluation.files.source or evaluation.files.checkpoint):
            self._make_files(pod["spec"], container, evaluation, evaluation.files, garbage)
        made = self._wrapped(name, pod, notes, owned_by)
        if nodes > 1:
            made["spec"] |= {"completionMode": "Indexed", "completions": nodes, "parallelism": nodes}
        return made

    def clearing(self, owned_by: Object, garbage: Sequence[str]) -> Object:
        """The Job that deletes checkpoints when no evaluation follows that would."""
        name = name_of(f"hpo-{self._study_id}-clear")
        pod, container = self._pod(name)
        container["command"] = [escaped(word) for word in _prologue.clear(garbage)]
        self._limit(container, None)
        return self._wrapped(name, pod, {}, owned_by)

    def _wrapped(self, name: str, pod: Object, notes: Object, owned_by: Object | None) -> Object:
        metadata: Object = {"name": name, "labels": self._labels(name)}
        if notes:
            metadata["annotations"] = notes
        if owned_by is not None:
            metadata["ownerReferences"] = [owned_by]
        keep_s = math.ceil(self._options.keep_s)
        spec: Object = {"backoffLimit": 0, "ttlSecondsAfterFinished": keep_s, "template": pod}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}

    def _labels(self, name: str) -> dict[str, str]:
        return {**all_labels(self._study_id), EVALUATION: name}

    def _pod(self, name: str) -> tuple[Object, Object]:
        """A pod as the options have it, and the container in it that is ours."""
        options, template = self._options, self._template
        metadata = copy.deepcopy(template.get("metadata") or {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **self._labels(name)}
        spec: Object = copy.deepcopy(template.get("spec") or {})
        others = list(spec.pop("containers", None) or [])
        container = self._container(_take_ours(others))
        spec["restartPolicy"] = "Never"
        spec.setdefault("terminationGracePeriodSeconds", max(1, math.ceil(self._grace_s)))
        spec.setdefault("activeDeadlineSeconds", math.ceil(options.deadline_s))
        spec.setdefault("automountServiceAccountToken", bool(options.service_account))
        spec.setdefault("enableServiceLinks", False)
        if options.service_account:
            spec["serviceAccountName"] = options.service_account
        if options.node_selector:
            spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **pairs(options.node_selector)}
        if options.tolerations:
            spec["tolerations"] = [*(spec.get("tolerations") or []), *options.tolerations]
        if options.pull_secrets:
            secrets = [{"name": name} for name in options.pull_secrets]
            spec["imagePullSecrets"] = [*(spec.get("imagePullSecrets") or []), *secrets]
        for claim, path in pairs(options.claims).items():
            _mount(spec, container, _volume(claim), path, {"persistentVolumeClaim": {"claimName": claim}})
        spec["containers"] = [container, *others]
        return {"metadata": metadata, "spec": spec}, container

    def _container(self, given: Object) -> Object:
        options = self._options
        container: Object = {**given, "name": CONTAINER}
        image = options.image or given.get("image")
        if not image:
            raise ConfigurationError("workload_manager='k8s' needs workload_image, the container image to run")
        container["image"] = image
        if options.pull_policy:
            container["imagePullPolicy"] = options.pull_policy
        container.pop("args", None)
        return container

    def _run(self, container: Object, evaluation: Evaluation) -> None:
        container["command"] = [escaped(word) for word in words(evaluation)]
        variables = _environment(evaluation, self._study_id, self._options)
        container["env"] = [*(container.get("env") or []), *variables]
        self._limit(container, evaluation.memory_limit_bytes)

    def _limit(self, container: Object, memory_limit_bytes: int | None) -> None:
        resources = _resources(memory_limit_bytes, self._options, container.get("resources") or {})
        if resources:
            container["resources"] = resources

    def _make_files(
        self, spec: Object, main: Object, evaluation: Evaluation, files: Files, garbage: Sequence[str]
    ) -> None:
        """Let the pod make the evaluation's files before it begins."""
        layout, source = self._layout, files.source
        if layout.own_path:
            _mount(spec, main, "hpo-workspace", layout.own_path, {"emptyDir": {}})
        kept = ("image", "imagePullPolicy", "resources", "volumeMounts", "securityContext")
        maker: Object = {"name": _prologue.FILES, **{key: copy.deepcopy(main[key]) for key in kept if key in main}}
        if layout.sources is not None:
            name = sources_name(self._study_id, layout.sources)
            content = {"configMap": {"name": name, "items": layout.sources.items()}}
            _mount(spec, maker, "hpo-source", _prologue.SOURCE, content)
            source = _prologue.SOURCE
        command = _prologue.words(
            evaluation, files, self._study_id, source=source, own=bool(layout.own_path), garbage=garbage
        )
        maker["command"] = [escaped(word) for word in command]
        if len(evaluation.slots) > 1:
            maker["env"] = [_rank()]
        maker["terminationMessagePolicy"] = "FallbackToLogsOnError"
        spec["initContainers"] = [*(spec.get("initContainers") or []), maker]


def _take_ours(containers: list[Object]) -> Object:
    """The container of a template that is ours: the one called main, or the only one."""
    for place, one in enumerate(containers):
        if one.get("name", CONTAINER) == CONTAINER or len(containers) == 1:
            return containers.pop(place)
    if containers:
        raise ConfigurationError(
            f"launcher 'k8s': template has {len(containers)} containers, and none is called '{CONTAINER}', "
            "the one that runs evaluations"
        )
    return {}


def _mount(spec: Object, container: Object, name: str, path: str, content: Object) -> None:
    """Add a volume to a pod, and mount it in one of its containers."""
    spec["volumes"] = [*(spec.get("volumes") or []), {"name": name, **content}]
    container["volumeMounts"] = [*(container.get("volumeMounts") or []), {"name": name, "mountPath": path}]


def words(evaluation: Evaluation) -> list[str]:
    """The program that a container runs, and its arguments."""
    command = list(evaluation.argv) if evaluation.argv is not None else ["/bin/sh", "-c", evaluation.command]
    return ["/bin/sh", "-c", RUN, "hpo", evaluation.directory or ".", *command]


def escaped(text: str) -> str:
    """Text in which Kubernetes finds no variable to replace."""
    return text.replace("$", "$$")


def _environment(evaluation: Evaluation, study_id: str, options: K8sOptions) -> list[Object]:
    plain = {**pairs(options.env), **evaluation.environment}
    nodes = len(evaluation.slots)
    if nodes > 1:
        name, home = name_of(evaluation.name), anchor_name(study_id)
        hosts = [f"{name}-{index}.{home}" for index in range(nodes)]
        plain |= {"HPO_NODELIST": ",".join(hosts), "HPO_MASTER_ADDR": hosts[0]}
    found: list[Object] = [{"name": name, "value": escaped(text)} for name, text in plain.items()]
    for name, reference in pairs(options.secrets).items():
        secret, _, key = reference.partition("/")
        found.append({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    if nodes > 1:
        found.append(_rank())
    return found


def _rank() -> Object:
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return {"name": "HPO_NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": index}}}


def _resources(memory_limit_bytes: int | None, options: K8sOptions, given: Object) -> Object:
    requests, limits = dict(given.get("requests") or {}), dict(given.get("limits") or {})
    if options.cpu:
        requests["cpu"] = options.cpu
    if options.cpu_limit:
        limits["cpu"] = options.cpu_limit
    if options.memory:
        requests["memory"] = limits["memory"] = options.memory
    if options.memory_limit:
        limits["memory"] = options.memory_limit
    if memory_limit_bytes is not None:
        limits["memory"] = str(memory_limit_bytes)
        requests["memory"] = limits["memory"]
    if options.gpus:
        limits[options.gpu_resource] = str(options.gpus)
    found = {**given, "requests": requests, "limits": limits}
    return {key: value for key, value in found.items() if value}


def _volume(claim: str) -> str:
    return name_of(f"claim-{claim}")
