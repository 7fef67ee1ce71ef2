"""What a fake cluster knows: objects with versions, and the history of their changes."""

import copy
import random
import re
import threading
import time
import uuid
from collections import defaultdict
from datetime import UTC, datetime

GROUPS = {"jobs": "batch"}
KINDS = {
    "jobs": ("batch/v1", "Job"),
    "pods": ("v1", "Pod"),
    "configmaps": ("v1", "ConfigMap"),
    "services": ("v1", "Service"),
    "events": ("v1", "Event"),
}
NAMESPACES = ("hpo", "default")

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


class Refused(Exception):
    """An answer that is an error, as the API has them."""

    def __init__(self, status, reason, message, details=None, headers=None):
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            **({"details": details} if details else {}),
            "code": status,
        }


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def random_name(length=5):
    return "".join(random.choices("bcdfghjklmnpqrstvwxz2456789", k=length))


def full(kind):
    """A kind as messages call it: ``jobs.batch``."""
    return f"{kind}.{GROUPS[kind]}" if kind in GROUPS else kind


def details(kind, name=""):
    group = {"group": GROUPS[kind]} if kind in GROUPS else {}
    return {**({"name": name} if name else {}), **group, "kind": kind}


def not_found(kind, name):
    return Refused(404, "NotFound", f'{full(kind)} "{name}" not found', details(kind, name))


class Store:
    """Objects by kind, namespace and name. `lock` is held around everything; `changed` tells of changes."""

    def __init__(self):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.version = 500
        self.objects = defaultdict(dict)
        self.history = []
        self.compacted = 1
        self.forgotten = 0
        """Entries of the history that were thrown away."""
        self.cuts = 0
        """Raised to end all watches that are open."""
        self.mute_until = 0.0
        """Until then watches send nothing."""

    def _note(self, what, kind, obj):
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, what, kind, copy.deepcopy(obj)))
        if len(self.history) > 20_000:
            del self.history[:5_000]
            self.forgotten += 5_000
            self.compacted = self.history[0][0]
        self.changed.notify_all()

    def compact(self):
        """Forget all history: who watches from an earlier version is told that it is too old."""
        with self.lock:
            self.version += 1
            self.forgotten += len(self.history)
            self.history.clear()
            self.compacted = self.version
            self.cuts += 1
            self.changed.notify_all()

    def cut(self):
        """End all watches."""
        with self.lock:
            self.cuts += 1
            self.changed.notify_all()

    def get(self, kind, namespace, name):
        found = self.objects[kind].get((namespace, name))
        if found is None:
            raise not_found(kind, name)
        return found

    def all(self, kind, namespace=None):
        return [obj for (where, _), obj in self.objects[kind].items() if namespace in (None, where)]

    def add(self, kind, namespace, body):
        """Put an object that was checked already."""
        obj = copy.deepcopy(body)
        version, name = KINDS[kind]
        metadata = obj.pop("metadata", {})
        if "generateName" in metadata and "name" not in metadata:
            metadata["name"] = metadata["generateName"] + random_name()
        key = (namespace, metadata["name"])
        there = self.objects[kind].get(key)
        if there is not None:
            deleting = "object is being deleted: " if "deletionTimestamp" in there["metadata"] else ""
            message = f'{deleting}{full(kind)} "{metadata["name"]}" already exists'
            raise Refused(409, "AlreadyExists", message, details(kind, metadata["name"]))
        head = {key: metadata.pop(key) for key in ("name", "generateName") if key in metadata}
        stamp = {"namespace": namespace, "uid": str(uuid.uuid4()), "resourceVersion": ""}
        if kind in ("jobs", "pods"):
            stamp["generation"] = 1
        obj = {
            "kind": name,
            "apiVersion": version,
            "metadata": {**head, **stamp, "creationTimestamp": now(), **metadata},
            **{key: value for key, value in obj.items() if key not in ("kind", "apiVersion")},
        }
        self.objects[kind][key] = obj
        self._note("ADDED", kind, obj)
        return obj

    def touch(self, kind, obj):
        """An object was changed in place."""
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        if self.objects[kind].get(key) is obj:
            self._note("MODIFIED", kind, obj)

    def remove(self, kind, obj):
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        if self.objects[kind].get(key) is obj:
            del self.objects[kind][key]
            self._note("DELETED", kind, obj)

    def watch(self, kind, namespace, since, chosen, seconds, bookmarks, gone):
        """Changes after a version, as they come; ends after so many seconds.

        Args:
            chosen: says of an object whether it is wanted.
            gone: says whether nobody listens any more.
        """
        until = time.monotonic() + seconds
        with self.lock:
            cuts = self.cuts
            if since < self.compacted:
                message = f"too old resource version: {since} ({self.compacted})"
                status = Refused(410, "Expired", message).body
                yield {"type": "ERROR", "object": status}
                return
            place = self.forgotten + sum(version <= since for version, *_ in self.history)
        bookmark_at = time.monotonic() + 1.0
        while True:
            found = []
            with self.lock:
                if cuts != self.cuts:
                    return
                if time.monotonic() >= self.mute_until:
                    for _version, what, of, obj in self.history[max(0, place - self.forgotten) :]:
                        if of == kind and obj["metadata"]["namespace"] == namespace and chosen(obj):
                            found.append({"type": what, "object": obj})
                    place = self.forgotten + len(self.history)
                    if bookmarks and time.monotonic() >= min(bookmark_at, until):
                        bookmark_at = time.monotonic() + 1.0
                        version, name = KINDS[kind]
                        mark = {"resourceVersion": str(self.version), "creationTimestamp": None}
                        found.append(
                            {"type": "BOOKMARK", "object": {"kind": name, "apiVersion": version, "metadata": mark}}
                        )
                if not found:
                    if time.monotonic() >= until or gone():
                        return
                    self.changed.wait(min(0.5, max(0.01, until - time.monotonic())))
            yield from found


def selects(query, obj):
    """Whether label and field selectors choose an object."""
    labels = obj["metadata"].get("labels") or {}
    for term in filter(None, re.split(r",(?![^(]*\))", query.get("labelSelector", ""))):
        among = re.fullmatch(r"\s*(\S+)\s+in\s+\((.*)\)\s*", term)
        if among:
            if labels.get(among[1]) not in [one.strip() for one in among[2].split(",")]:
                return False
        elif "!=" in term:
            key, _, value = term.partition("!=")
            if labels.get(key) == value:
                return False
        else:
            key, sign, value = term.partition("=")
            if key not in labels or (sign and labels[key] != value.lstrip("=")):
                return False
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, value = term.partition("=")
        item = obj
        for part in path.split("."):
            item = (item or {}).get(part)
        if item != value.lstrip("="):
            return False
    return True
