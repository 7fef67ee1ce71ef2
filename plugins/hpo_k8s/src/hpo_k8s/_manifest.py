"""What belongs to a study as a whole on the cluster, and how things are called there: pure functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from hpo_k8s._connection import Object
from hpo_k8s._sources import Sources

STUDY = "hpo-core/study"
EVALUATION = "hpo-core/evaluation"

_LONGEST = 57
"""Of a Job's name: its pods' host names have a dash and an index more, and 63 letters at most."""


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


def anchor(study_id: str, owners: Sequence[Object] = ()) -> Object:
    """The object that owns everything of a study: to delete it is to delete all.

    Args:
        study_id: of the study.
        owners: whom it belongs to itself: the pod of a driver that runs in the cluster.
    """
    owned = {"ownerReferences": list(owners)} if owners else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": anchor_name(study_id), "labels": all_labels(study_id), **owned},
        "data": {"study": study_id, "about": "owns the Jobs of a study of hpo-core; deleting it ends and deletes them"},
    }


def owner(of_kind: str, owning: Object) -> Object:
    """The reference that makes an object belong to a ``ConfigMap`` or a ``Pod``."""
    of = owning["metadata"]
    return {
        "apiVersion": "v1",
        "kind": of_kind,
        "name": of["name"],
        "uid": of["uid"],
        "controller": False,
        "blockOwnerDeletion": False,
    }


def sources_name(study_id: str, sources: Sources) -> str:
    """The name of the ConfigMap with these sources; others of the same study have another one."""
    return name_of(f"hpo-{study_id}-{sources.digest}")


def sources(study_id: str, of: Sources, owned_by: Object | None = None) -> Object:
    """The ConfigMap with a study's sources."""
    owned = {"ownerReferences": [owned_by]} if owned_by is not None else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": sources_name(study_id, of), "labels": all_labels(study_id), **owned},
        "immutable": True,
        "binaryData": of.contents(),
    }


def service(study_id: str, owned_by: Object | None = None) -> Object:
    """By which the pods of one evaluation find each other: ``NAME-0.SERVICE``, ``NAME-1.SERVICE`` ..."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": anchor_name(study_id),
            "labels": all_labels(study_id),
            **({"ownerReferences": [owned_by]} if owned_by is not None else {}),
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": study_labels(study_id),
        },
    }


def all_labels(study_id: str) -> dict[str, str]:
    """What everything of a study is labelled with."""
    return {"app.kubernetes.io/managed-by": "hpo-core", **study_labels(study_id)}
