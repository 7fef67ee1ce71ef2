"""One watch for all pods of a study: every change is passed on once, and none is missed for long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from hpo_k8s._client import IMPATIENT, Client, delay
from hpo_k8s._connection import ApiError, Object, Stopped

_RESYNC_S = 300.0
"""All pods are listed anew so often, whatever the watch says."""
_PATIENT_S = 30.0
"""How long a server is away before people hear of it."""


class Expired(Exception):
    """The version from which the watch went on is too old."""


class Watch:
    """Watches pods until the client is stopped.

    Args:
        client: talks to the API server.
        selector: labels of the pods.
        watch_s: seconds of one request.
        listed: takes all pods that there are.
        changed: takes a change (``ADDED``, ``MODIFIED``, ``DELETED``) and the pod.
        notice: takes a sentence for people.
        stop: set when it is to end.
    """

    def __init__(
        self,
        client: Client,
        selector: str,
        watch_s: float,
        *,
        listed: Callable[[list[Object]], None],
        changed: Callable[[str, Object], None],
        notice: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._client, self._selector, self._watch_s = client, selector, watch_s
        self._listed, self._changed, self._notice, self._stop = listed, changed, notice, stop

    def run(self) -> None:
        """List, watch, and begin again after whatever happens."""
        tries, since_s, told = 0, time.monotonic(), False
        while not self._stop.is_set():
            try:
                pods, version = self._client.all("pods", {"labelSelector": self._selector}, patience=IMPATIENT)
                if told:
                    self._notice("the API server answers again")
                tries, told = 0, False
                self._listed(pods)
                until_s = time.monotonic() + _RESYNC_S
                while time.monotonic() < until_s and not self._stop.is_set():
                    began_s = time.monotonic()
                    version = self._once(version)
                    if time.monotonic() - began_s < 0.5:
                        self._stop.wait(0.5)  # something between here and there cuts connections
            except (Expired, Stopped):
                continue
            except (ApiError, ValueError, LookupError, TypeError) as error:  # Or what it says is not understood.
                if tries == 0:
                    since_s = time.monotonic()
                elif not told and time.monotonic() - since_s > _PATIENT_S:
                    told = True
                    self._notice(f"waiting for the API server: {error}")
                after_s = error.retry_after_s if isinstance(error, ApiError) else None
                self._stop.wait(delay(tries, after_s))
                tries += 1

    def _once(self, version: str) -> str:
        """One request; gives the version from which the next goes on."""
        query = {
            "watch": "true",
            "labelSelector": self._selector,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, int(self._watch_s))),
        }
        with self._client.stream(self._client.path("pods"), query, self._watch_s + 5.0) as stream:
            for line in stream.lines():
                event = json.loads(line)
                kind, item = event["type"], event["object"]
                if kind == "ERROR":
                    if item.get("code") == 410:
                        raise Expired
                    raise ApiError(item.get("message", "the watch failed"), int(item.get("code", 500)))
                version = item["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    self._changed(kind, item)
        return version
