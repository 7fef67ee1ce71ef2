"""From evaluations to what Kubernetes is given: pure functions of their arguments."""

from __future__ import annotations

import copy
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

from hpo_core import ConfigurationError, Evaluation
from hpo_k8s._client import Object
from hpo_k8s._options import K8sOptions, pairs

STUDY = "hpo-core/study"
EVALUATION = "hpo-core/evaluation"
CONTAINER = "main"
GRACE_S = 5
"""Time between TERM and KILL where nobody says another."""

_LONGEST = 57
"""Of a Job's name: its pods' host names have a dash and an index more, and 63 letters at most."""

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


def name_of(text: str) -> str:
    """A name that Kubernetes takes for objects, hosts and labels; other texts give other names."""
    name = re.sub(r"[^a-z0-9-]", "-", text.lower()).strip("-")
    if name == text and 0 < len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return f"{name[: _LONGEST - 11].strip('-') or 'hpo'}-{digest}"


def anchor_name(study_id: str) -> str:
    """The name of the object that owns everything of a study, and of its service."""
    return name_of(f"hpo-{study_id}")


def study_labels(study_id: str) -> dict[str, str]:
    """By which everything of a study is found."""
    return {STUDY: name_of(study_id)}


def anchor(study_id: str) -> Object:
    """The object that owns everything of a study: to delete it is to delete all."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": anchor_name(study_id), "labels": _labels(study_id)},
        "data": {"study": study_id, "about": "owns the Jobs of a study of hpo-core; deleting it ends and deletes them"},
    }


def owner(anchor: Object) -> Object:
    """The reference that makes an object belong to the anchor."""
    of = anchor["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": of["name"],
        "uid": of["uid"],
        "controller": False,
        "blockOwnerDeletion": False,
    }


def service(study_id: str, owned_by: Object) -> Object:
    """By which the pods of one evaluation find each other: ``NAME-0.SERVICE``, ``NAME-1.SERVICE`` ..."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": anchor_name(study_id),
            "labels": _labels(study_id),
            "ownerReferences": [owned_by],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": study_labels(study_id),
        },
    }


def job(
    evaluation: Evaluation,
    study_id: str,
    options: K8sOptions,
    template: Mapping[str, Any],
    owned_by: Object | None = None,
) -> Object:
    """The Job that runs an evaluation.

    Args:
        evaluation: what runs.
        study_id: of its study.
        options: the user's.
        template: the user's description of a pod.
        owned_by: the reference to the study's anchor; None: as a preview shows it.
    """
    name, nodes = name_of(evaluation.name), max(len(evaluation.slots), 1)
    labels = {**_labels(study_id), EVALUATION: name}
    notes = {
        "hpo-core/evaluation": evaluation.name,
        "hpo-core/trial": str(evaluation.trial),
        "hpo-core/attempt": str(evaluation.attempt),
        "hpo-core/command": evaluation.command[:4096],
    }
    metadata: Object = {"name": name, "labels": labels, "annotations": notes}
    if owned_by is not None:
        metadata["ownerReferences"] = [owned_by]
    spec: Object = {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": math.ceil(options.keep_s),
        "template": _pod(evaluation, study_id, labels, options, template),
    }
    if nodes > 1:
        spec |= {"completionMode": "Indexed", "completions": nodes, "parallelism": nodes}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _labels(study_id: str) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "hpo-core", **study_labels(study_id)}


def _pod(
    evaluation: Evaluation, study_id: str, labels: Mapping[str, str], options: K8sOptions, template: Mapping[str, Any]
) -> Object:
    metadata = copy.deepcopy(template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    spec: Object = copy.deepcopy(template.get("spec") or {})
    others = list(spec.pop("containers", None) or [])
    given = _take_ours(others)
    spec["restartPolicy"] = "Never"
    spec.setdefault("terminationGracePeriodSeconds", GRACE_S)
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
    claims = pairs(options.claims)
    if claims:
        volumes = [{"name": _volume(one), "persistentVolumeClaim": {"claimName": one}} for one in claims]
        spec["volumes"] = [*(spec.get("volumes") or []), *volumes]
    if len(evaluation.slots) > 1:
        spec["subdomain"] = anchor_name(study_id)
    spec["containers"] = [_container(evaluation, study_id, options, given), *others]
    return {"metadata": metadata, "spec": spec}


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


def _container(evaluation: Evaluation, study_id: str, options: K8sOptions, given: Object) -> Object:
    container: Object = {**given, "name": CONTAINER}
    image = options.image or given.get("image")
    if not image:
        raise ConfigurationError("workload_manager='k8s' needs workload_image, the container image to run")
    container["image"] = image
    if options.pull_policy:
        container["imagePullPolicy"] = options.pull_policy
    container["command"] = [escaped(word) for word in words(evaluation)]
    container.pop("args", None)
    container["env"] = [*(given.get("env") or []), *_environment(evaluation, study_id, options)]
    claims = pairs(options.claims)
    if claims:
        mounts = [{"name": _volume(claim), "mountPath": path} for claim, path in claims.items()]
        container["volumeMounts"] = [*(given.get("volumeMounts") or []), *mounts]
    resources = _resources(evaluation, options, given.get("resources") or {})
    if resources:
        container["resources"] = resources
    return container


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
        index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
        found.append({"name": "HPO_NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": index}}})
    return found


def _resources(evaluation: Evaluation, options: K8sOptions, given: Object) -> Object:
    requests, limits = dict(given.get("requests") or {}), dict(given.get("limits") or {})
    if options.cpu:
        requests["cpu"] = options.cpu
    if options.cpu_limit:
        limits["cpu"] = options.cpu_limit
    if options.memory:
        requests["memory"] = limits["memory"] = options.memory
    if options.memory_limit:
        limits["memory"] = options.memory_limit
    if evaluation.memory_limit_bytes is not None:
        limits["memory"] = str(evaluation.memory_limit_bytes)
        requests["memory"] = limits["memory"]
    if options.gpus:
        limits[options.gpu_resource] = str(options.gpus)
    found = {**given, "requests": requests, "limits": limits}
    return {key: value for key, value in found.items() if value}


def _volume(claim: str) -> str:
    return name_of(f"claim-{claim}")
