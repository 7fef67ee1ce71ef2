"""What users may say about their pods."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from attrs import field, frozen, validators

from hpo_core import ConfigurationError
from hpo_k8s._connection import ACCOUNT

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|[MGTPE]i?)?")
_PULL = ("", "Always", "IfNotPresent", "Never")


def pairs(value: Mapping[str, Any] | str) -> dict[str, str]:
    """A dict, also from text such as ``a=1,b=2``."""
    if isinstance(value, Mapping):
        return {str(key): str(item) for key, item in value.items()}
    parts = [part.partition("=") for part in value.split(",") if part.strip()]
    for key, sign, _ in parts:
        if not sign:
            raise ConfigurationError(f"{value!r} must be a table, or text such as 'NAME=VALUE,NAME=VALUE'; see {key!r}")
    return {key.strip(): item for key, _, item in parts}


def _words(value: Iterable[str] | str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else tuple(value)


def _tolerations(value: Iterable[Any] | str) -> tuple[dict[str, Any], ...]:
    """Tolerations, also from text such as ``gpu=yes:NoSchedule`` or ``spot``."""
    found = []
    for one in _words(value):
        if isinstance(one, Mapping):
            found.append(dict(one))
            continue
        if not isinstance(one, str):
            raise ConfigurationError(f"launcher 'k8s': tolerations: {one!r} is no table and no text")
        taint, _, effect = one.partition(":")
        key, sign, wanted = taint.partition("=")
        toleration = {"key": key, "operator": "Equal" if sign else "Exists"}
        found.append(toleration | ({"value": wanted} if sign else {}) | ({"effect": effect} if effect else {}))
    return tuple(found)


def _quantity(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if value and not _QUANTITY.fullmatch(value):
        raise ConfigurationError(
            f"launcher 'k8s': {attribute.name}={value!r} is no quantity of Kubernetes, such as 2, 500m or 4Gi"
        )


def _variables(instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    for name in value:
        if not _VARIABLE.fullmatch(name):
            raise ConfigurationError(f"launcher 'k8s': {attribute.name}: {name!r} is no name of a variable")


def _keys_of_secrets(instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    _variables(instance, attribute, value)
    for name, reference in value.items():
        if not all(reference.partition("/")):
            raise ConfigurationError(f"launcher 'k8s': secrets: {name}={reference!r} must be SECRET/KEY")


def _absolute(instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    for claim, path in value.items():
        if not os.path.isabs(path):
            raise ConfigurationError(
                f"launcher 'k8s': claims: {claim}={path!r} must be the absolute path at which pods mount the claim"
            )


def _between(least_s: int) -> Any:
    """Seconds that Kubernetes takes: it counts them in 32 bits, and knows no infinity."""
    return validators.and_(validators.ge(least_s), validators.le(2**31 - 1))


@frozen(kw_only=True)
class K8sOptions:
    """Options of the launcher ``k8s``.

    Attributes:
        image: container image; filled in from ``workload_image``.
        context, kubeconfig: which cluster; empty: inside a cluster that one, else as kubectl finds it.
        account: folder in which a pod has the files of its service account, where hpo-core runs in a pod.
        namespace: empty: the context's own.
        service_account: of the pods; empty: the namespace's ``default``. Its token is mounted only where this is set.
        cpu, memory: requests, such as ``2``, ``500m``, ``4Gi``; ``memory`` is the limit too.
        cpu_limit, memory_limit: limits, where they differ. ``Evaluator.memory_limit`` stands above ``memory_limit``.
        gpus: GPUs of one pod.
        gpu_resource: what they are called in the cluster.
        node_selector: labels of nodes, as a table or ``disk=ssd,zone=a``.
        tolerations: a list of tables as in a pod's description, or of texts such as ``gpu=yes:NoSchedule``.
        env: variables, as a table or ``A=1,B=2``.
        secrets: variables from secrets, by reference: ``TOKEN=SECRET/KEY``.
        claims: persistent volume claims that are there already and where pods mount them: ``data=/data``.
        files: who makes workspaces and checkpoints: ``driver``, which has to see the claim at the same path, or
            ``pod``, in a step before the program; empty: the driver where that path is a directory here.
        pull_policy: ``Always``, ``IfNotPresent``, ``Never``; empty: as Kubernetes has it for the image's tag.
        pull_secrets: names of secrets for the image's registry.
        template: a pod's description as YAML or JSON for everything else: a file, or a table. Its ``spec`` is what we
            add to; the container called ``main`` (or its only one) is ours. What is unknown to the server is an error.
        pending_timeout_s: seconds that a pod may wait for a node, a volume or an image; then the study stops.
        image_timeout_s: seconds that an image may fail to be pulled; then the study stops.
        lost_timeout_s: seconds that a pod which somebody deleted may take to end, beside its grace; then its node is
            taken for lost, and the evaluation is tried again.
        deadline_s: seconds after which Kubernetes ends a pod, whatever became of the driver.
        keep_s: seconds after which Kubernetes deletes a Job that is over, whatever became of the driver.
        followers: logs that are followed at the same time; those of other pods are read when they have ended.
        watch_s: seconds of one watch; a connection that was lost without a word is found out after that.
        patience_s: seconds that an API server which is away is waited for with a request that has to be made.
    """

    image: str = ""
    context: str = ""
    kubeconfig: str = ""
    account: str = ACCOUNT
    namespace: str = ""
    service_account: str = ""
    cpu: str | int | float = field(default="", converter=str, validator=_quantity)
    memory: str | int | float = field(default="", converter=str, validator=_quantity)
    cpu_limit: str | int | float = field(default="", converter=str, validator=_quantity)
    memory_limit: str | int | float = field(default="", converter=str, validator=_quantity)
    gpus: int = field(default=0, validator=validators.ge(0))
    gpu_resource: str = "nvidia.com/gpu"
    node_selector: dict[str, str] | str = field(factory=dict, converter=pairs)
    tolerations: tuple[Any, ...] | str = field(default=(), converter=_tolerations)
    env: dict[str, str] | str = field(factory=dict, converter=pairs, validator=_variables)
    secrets: dict[str, str] | str = field(factory=dict, converter=pairs, validator=_keys_of_secrets)
    claims: dict[str, str] | str = field(factory=dict, converter=pairs, validator=_absolute)
    files: str = field(default="", validator=validators.in_(("", "driver", "pod")))
    pull_policy: str = field(default="", validator=validators.in_(_PULL))
    pull_secrets: tuple[str, ...] | str = field(default=(), converter=_words)
    template: dict[str, Any] | str = ""
    pending_timeout_s: float = field(default=600.0, validator=_between(0))
    image_timeout_s: float = field(default=60.0, validator=_between(0))
    lost_timeout_s: float = field(default=60.0, validator=_between(0))
    deadline_s: float = field(default=7 * 86400.0, validator=_between(1))
    keep_s: float = field(default=86400.0, validator=_between(60))
    followers: int = field(default=32, validator=validators.ge(1))
    watch_s: float = field(default=60.0, validator=_between(1))
    patience_s: float = field(default=900.0, validator=_between(0))


_CONTAINER: dict[str, Any] = {"env": [{}], "volumeMounts": [{}], "resources": {"requests": {}, "limits": {}}}
_POD: dict[str, Any] = {
    "metadata": {"labels": {}},
    "spec": {
        **{"containers": [_CONTAINER], "initContainers": [{}], "volumes": [{}]},
        **{"tolerations": [{}], "imagePullSecrets": [{}], "nodeSelector": {}},
    },
}
"""Tables and lists of a template that we add to; all else is for the server to check."""


def _check_shape(given: Any, wanted: Any, path: str) -> None:
    if not isinstance(given, type(wanted)):
        kind = "a list" if isinstance(wanted, list) else "a table"
        raise ConfigurationError(f"launcher 'k8s': template: {path} must be {kind}, not {given!r}")
    if isinstance(wanted, list):
        for place, one in enumerate(given if wanted else ()):
            _check_shape(one, wanted[0], f"{path}[{place}]")
    else:
        for key, part in wanted.items():
            if given.get(key) is not None:
                _check_shape(given[key], part, f"{path}.{key}".lstrip("."))


def template_of(options: K8sOptions) -> dict[str, Any]:
    """The user's description of a pod, read from its file.

    Raises:
        ConfigurationError: it cannot be read, or is none.
    """
    given: Any = options.template
    if isinstance(given, str) and given:
        import yaml  # type: ignore[import-untyped]

        try:
            with open(given, encoding="utf-8") as file:
                given = yaml.safe_load(file)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigurationError(f"launcher 'k8s': template: cannot read {options.template}: {error}") from error
    given = given or {}
    if not isinstance(given, dict) or not isinstance(given.get("spec", {}), dict):
        raise ConfigurationError("launcher 'k8s': template must be a pod's description: a table with 'spec'")
    _check_shape(given, _POD, "")
    extra = set(given) - {"apiVersion", "kind", "metadata", "spec"}
    if extra:
        raise ConfigurationError(
            f"launcher 'k8s': template has {', '.join(sorted(map(repr, extra)))} beside 'metadata' and 'spec'; "
            "fields of a pod stand below 'spec'"
        )
    return dict(given)
