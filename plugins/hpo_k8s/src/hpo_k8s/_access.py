"""Whether we may do on the cluster what we will have to do, asked before anything is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpo_core import ConfigurationError
from hpo_k8s._client import IMPATIENT, Client
from hpo_k8s._connection import ApiError, Object

NEEDED: Mapping[str, tuple[str, ...]] = {
    "jobs": ("create", "get", "list", "deletecollection", "delete"),
    "pods": ("list", "watch"),
    "pods/log": ("get",),
    "configmaps": ("create", "get", "delete"),
}
"""What no study can do without: resource to verbs."""
NEEDED_FOR_SEVERAL_PODS: Mapping[str, tuple[str, ...]] = {"services": ("create", "get", "delete")}

_VERSION = "authorization.k8s.io/v1"


def check(client: Client, *, wide: bool) -> None:
    """Ask the cluster; one that does not answer this is believed to allow it.

    Args:
        client: talks to the API server.
        wide: whether evaluations take several pods.

    Raises:
        ConfigurationError: something that is needed is not allowed, or the credentials are not taken.
    """
    needed = {**NEEDED, **(NEEDED_FOR_SEVERAL_PODS if wide else {})}
    try:
        missing = {resource: refused for resource, refused in _refused(client, needed).items() if refused}
    except ApiError as error:
        if error.status == 401:
            raise ConfigurationError(f"the cluster does not take these credentials: {error}") from error
        return
    if missing:
        words = ", ".join(f"{verb} {_full(resource)}" for resource, verbs in missing.items() for verb in verbs)
        raise ConfigurationError(
            f"namespace '{client.namespace}' does not allow what is needed to run there: {words}. Somebody who may "
            f"has to add this to a Role that is bound to you:{rules(missing)}"
        )


def rules(needed: Mapping[str, Sequence[str]] = NEEDED) -> str:
    """The rules of a Role, each on a line of its own."""
    return "".join(
        f"\n- {{apiGroups: ['{_group(resource)}'], resources: [{resource}], verbs: [{', '.join(verbs)}]}}"
        for resource, verbs in needed.items()
    )


def _refused(client: Client, needed: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Resource to verbs that are not allowed; one request where all are."""
    body: Object = {"apiVersion": _VERSION, "kind": "SelfSubjectRulesReview", "spec": {"namespace": client.namespace}}
    answer = client.call("POST", f"/apis/{_VERSION}/selfsubjectrulesreviews", None, body, patience=IMPATIENT)
    known = answer["status"].get("resourceRules") or []
    return {
        resource: [verb for verb in verbs if not _covers(known, resource, verb) and not _may(client, resource, verb)]
        for resource, verbs in needed.items()
    }


def _covers(rules: Sequence[Object], resource: str, verb: str) -> bool:
    return any(
        _has(rule, "apiGroups", _group(resource)) and _has(rule, "resources", resource) and _has(rule, "verbs", verb)
        for rule in rules
        if not rule.get("resourceNames")
    )


def _has(rule: Object, part: str, wanted: str) -> bool:
    return bool({wanted, "*"} & set(rule.get(part) or ()))


def _may(client: Client, resource: str, verb: str) -> bool:
    """Ask for one; the list of all may have gaps."""
    name, _, part = resource.partition("/")
    asked = {"namespace": client.namespace, "verb": verb, "group": _group(resource), "resource": name}
    body: Object = {
        "apiVersion": _VERSION,
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**asked, **({"subresource": part} if part else {})}},
    }
    answer = client.call("POST", f"/apis/{_VERSION}/selfsubjectaccessreviews", None, body, patience=IMPATIENT)
    return bool(answer["status"].get("allowed"))


def _group(resource: str) -> str:
    return "batch" if resource == "jobs" else ""


def _full(resource: str) -> str:
    return f"{resource}.batch" if resource == "jobs" else resource
