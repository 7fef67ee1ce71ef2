"""What is asked of an API server, with the patience that each request deserves."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

from attrs import frozen

from hpo_k8s._connection import ACCOUNT, ApiError, Connection, Object, Stopped, Stream

READ_S = 30.0

_AWAY = frozenset({0, 429, 502, 503, 504})
"""Answers of servers that are away, or busy; and none at all."""
_GROUPS = {"jobs": "apis/batch/v1"}


@frozen
class Patience:
    """How long a request is repeated.

    Attributes:
        away_s: while nobody answers, or a server that is away or busy says so.
        failing_s: while the server answers with a fault of its own.
        wanted: asked before each repetition whether that still makes sense.
    """

    away_s: float = 900.0
    failing_s: float = 120.0
    wanted: Callable[[], bool] = lambda: True


IMPATIENT = Patience(0.0, 0.0)


class Client:
    """Requests to the API server in one namespace; to be used from any thread.

    Args:
        context, kubeconfig, account, connections: as for a `Connection`.
        namespace: empty: the context's, or the pod's own, or ``default``.
        patience: with requests that name no other.

    Attributes:
        namespace: in which everything is.
        patience: with requests that name no other.

    Raises:
        ConfigurationError: there is no configuration, or it is wrong.
    """

    def __init__(
        self,
        context: str = "",
        kubeconfig: str = "",
        namespace: str = "",
        *,
        account: str = ACCOUNT,
        connections: int = 40,
        patience: Patience | None = None,
    ) -> None:
        self._connection = Connection(context, kubeconfig, account, connections)
        self.patience = patience or Patience()
        self.namespace = namespace or self._connection.namespace or "default"

    @property
    def in_cluster(self) -> bool:
        """Whether this process runs in a pod of the cluster, as its own service account."""
        return self._connection.in_cluster and self.namespace == self._connection.namespace

    # One object, or all

    def path(self, kind: str, name: str = "", *more: str) -> str:
        """The path of an object, or of all of a kind, such as ``jobs``."""
        parts = [_GROUPS.get(kind, "api/v1"), "namespaces", self.namespace, kind, *filter(None, (name, *more))]
        return "/" + "/".join(quote(part) if place else part for place, part in enumerate(parts))

    def create(self, kind: str, body: Object, patience: Patience | None = None) -> Object:
        """Make an object; a field that the server does not know is an error."""
        return self.call("POST", self.path(kind), {"fieldValidation": "Strict"}, body, patience=patience)

    def patch(self, kind: str, name: str, changes: Object, patience: Patience | None = None) -> Object:
        """Change an object; lists are replaced as wholes."""
        return self.call("PATCH", self.path(kind, name), None, changes, patience=patience)

    def get(self, kind: str, name: str, patience: Patience | None = None) -> Object:
        """One object."""
        return self.call("GET", self.path(kind, name), patience=patience)

    def all(self, kind: str, query: Mapping[str, str], patience: Patience | None = None) -> tuple[list[Object], str]:
        """All objects that a query selects, and the version of the list."""
        found: list[Object] = []
        more = ""
        while True:
            page = {**query, "limit": "500", **({"continue": more} if more else {})}
            answer = self.call("GET", self.path(kind), page, patience=patience)
            found += answer["items"]
            more = answer["metadata"].get("continue", "")
            if not more:
                return found, answer["metadata"]["resourceVersion"]

    def delete(self, kind: str, name: str, *, grace_s: int | None = None, patience: Patience | None = None) -> bool:
        """Delete an object with all that it owns; gives whether it was still there."""
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            self.call("DELETE", self.path(kind, name), None, body, patience=patience)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def delete_all(self, kind: str, selector: str, patience: Patience | None = None) -> None:
        """Delete all objects with these labels, with all that they own."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        self.call("DELETE", self.path(kind), {"labelSelector": selector}, body, patience=patience)

    # Requests

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        *,
        patience: Patience | None = None,
    ) -> Object:
        """One request, repeated while its failure may pass: all of ours can be repeated.

        Raises:
            ApiError: it was refused, or nobody answered for too long.
            Stopped: `close` was called meanwhile.
        """
        patience = patience or self.patience
        begun_s, tries = time.monotonic(), 0
        while True:
            try:
                with self._connection.request(method, path, query, body, READ_S) as stream:
                    return stream.json()
            except Stopped:
                raise
            except ApiError as error:
                patience_s = patience.away_s if error.status in _AWAY else patience.failing_s
                if not error.passing or time.monotonic() - begun_s > patience_s:
                    raise
                self.wait(delay(tries, error.retry_after_s))
                if not patience.wanted():
                    raise
            tries += 1

    def stream(self, path: str, query: Mapping[str, str], read_s: float) -> Stream:
        """Open an answer that comes bit by bit; not repeated.

        Args:
            path: of the request.
            query: of the request.
            read_s: seconds without a byte after which the connection is taken for lost.
        """
        return self._connection.request("GET", path, query, None, read_s)

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than until `stop`.

        Raises:
            Stopped: it was called.
        """
        if self._connection.stopping.wait(seconds):
            raise Stopped("the client was closed")

    # The end

    def stop(self) -> None:
        """End all requests that are under way and refuse new ones, until `go_on`."""
        self._connection.stop()

    def go_on(self) -> None:
        """Take requests again."""
        self._connection.go_on()

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()


def delay(tries: int, after_s: float | None = None) -> float:
    """Seconds until the next try after so many: longer each time, or what the server asks for; never all at once."""
    return (min(10.0, 0.2 * 2 ** min(tries, 10)) if after_s is None else after_s) * random.uniform(1.0, 1.3)


def selector(labels: Mapping[str, str]) -> str:
    """Labels as a query has them."""
    return ",".join(f"{name}={value}" for name, value in labels.items())
