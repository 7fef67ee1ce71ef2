"""Talks to an API server: the one module that knows the official client.

Of that client are used its configuration, its TLS and its credentials, in all their kinds; requests are the plain
paths and JSON of the API itself, so that no generated model stands between a manifest and the server's own checks.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from attrs import frozen

from hpo_core import ConfigurationError

if TYPE_CHECKING:
    import urllib3

Object = dict[str, Any]

CONNECT_S = 5.0
READ_S = 30.0
RATE_PER_S, BURST = 50.0, 100.0
"""Requests: as many as the burst at once, then as many per second."""

_PASSING = frozenset({429, 500, 502, 503, 504})
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_PLACES = {
    "jobs": "apis/batch/v1",
    "pods": "api/v1",
    "configmaps": "api/v1",
    "services": "api/v1",
    "events": "api/v1",
}


@frozen
class Patience:
    """How long a request is repeated.

    Attributes:
        unreachable_s: while nobody answers.
        refusing_s: while the server answers with an error that may pass.
    """

    unreachable_s: float = 900.0
    refusing_s: float = 120.0


PATIENT = Patience()
IMPATIENT = Patience(0.0, 0.0)


class ApiError(Exception):
    """The API server refused, or could not be reached (status 0).

    Attributes:
        status: of HTTP.
        reason: one word of Kubernetes, such as ``AlreadyExists``.
        retry_after_s: what the server asks to be waited, or None.
    """

    def __init__(self, message: str, status: int = 0, reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed later."""
        return self.status == 0 or self.status in _PASSING


class Stopped(ApiError):
    """The client was closed while the request was under way."""


class Client:
    """Requests to the API server in one namespace; to be used from any thread.

    Args:
        context: a context of the kubeconfig; empty: its current one.
        kubeconfig: path of a kubeconfig; empty: inside a cluster the pod's own account, else as kubectl finds it.
        namespace: empty: the context's, or the pod's own, or ``default``.
        connections: that are open at the same time, at most.

    Raises:
        ConfigurationError: there is no configuration, or it is wrong.
    """

    def __init__(self, context: str = "", kubeconfig: str = "", namespace: str = "", connections: int = 40) -> None:
        self._context, self._kubeconfig, self._connections = context, kubeconfig, connections
        self._stop = threading.Event()
        self._streams: set[Stream] = set()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._pace = _Pace()
        self.namespace = namespace or self._load() or "default"
        if namespace:
            self._load()

    def _load(self) -> str:
        """Read the configuration, again after a refusal; gives the namespace that it names."""
        from kubernetes import client, config
        from kubernetes.config.config_exception import ConfigException

        settings = client.Configuration()
        named = ""
        try:
            if not (self._kubeconfig or self._context) and os.path.exists(f"{_ACCOUNT}/token"):
                config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
                with open(f"{_ACCOUNT}/namespace") as file:
                    named = file.read().strip()
            else:
                path, context = self._kubeconfig or None, self._context or None
                config.load_kube_config(path, context, settings)  # type: ignore[no-untyped-call]
                contexts, current = config.list_kube_config_contexts(path)  # type: ignore[no-untyped-call]
                chosen = [one for one in contexts if one["name"] == context] or [current]
                named = chosen[0]["context"].get("namespace", "")
        except (ConfigException, OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(
                f"no way to a Kubernetes cluster was found: {error}; give kubeconfig and context in launcher_options, "
                "set KUBECONFIG, or run inside the cluster"
            ) from error
        settings.connection_pool_maxsize = self._connections
        self._settings = settings
        self._api = client.ApiClient(settings)
        self._pool = self._api.rest_client.pool_manager
        return named

    # One object, or all

    def path(self, kind: str, name: str = "", *more: str) -> str:
        """The path of an object, or of all of a kind, such as ``jobs``."""
        parts = [_PLACES[kind], "namespaces", self.namespace, kind, *filter(None, (name, *more))]
        return "/" + "/".join(quote(part) if place else part for place, part in enumerate(parts))

    def create(self, kind: str, body: Object, patience: Patience = PATIENT) -> Object:
        """Make an object; a field that the server does not know is an error."""
        return self.call("POST", self.path(kind), {"fieldValidation": "Strict"}, body, patience=patience)

    def get(self, kind: str, name: str, patience: Patience = PATIENT) -> Object:
        """One object."""
        return self.call("GET", self.path(kind, name), patience=patience)

    def all(self, kind: str, query: Mapping[str, str], patience: Patience = PATIENT) -> tuple[list[Object], str]:
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

    def delete(self, kind: str, name: str, *, grace_s: int | None = None, patience: Patience = PATIENT) -> bool:
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

    def delete_all(self, kind: str, selector: str, patience: Patience = PATIENT) -> None:
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
        patience: Patience = PATIENT,
    ) -> Object:
        """One request, repeated while its failure may pass: all of ours can be repeated.

        Raises:
            ApiError: it was refused, or nobody answered for too long.
            Stopped: `close` was called meanwhile.
        """
        begun_s, tries = time.monotonic(), 0
        while True:
            try:
                with self._request(method, path, query, body, READ_S) as stream:
                    return stream.json()
            except Stopped:
                raise
            except ApiError as error:
                patience_s = patience.refusing_s if error.status else patience.unreachable_s
                if not error.passing or time.monotonic() - begun_s > patience_s:
                    raise
                self._wait(error, tries)
            tries += 1

    def stream(self, path: str, query: Mapping[str, str], read_s: float) -> Stream:
        """Open an answer that comes bit by bit; not repeated.

        Args:
            path: of the request.
            query: of the request.
            read_s: seconds without a byte after which the connection is taken for lost.
        """
        return self._request("GET", path, query, None, read_s)

    def _request(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Object | None, read_s: float
    ) -> Stream:
        """One request, and a second one with fresh credentials where the first are not taken any more."""
        settings = self._settings
        try:
            return self._request_once(method, path, query, body, read_s)
        except ApiError as error:
            if error.status != 401:
                raise
        with self._loading:
            if self._settings is settings:
                self._load()
        return self._request_once(method, path, query, body, read_s)

    def _request_once(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Object | None, read_s: float
    ) -> Stream:
        import urllib3

        if self._stop.is_set():
            raise Stopped("the client is closed")
        self._pace.wait(self._stop)
        headers = {"Accept": "application/json, */*", "User-Agent": "hpo-k8s"}
        credentials: Object = dict(self._settings.auth_settings())
        for setting in credentials.values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = self._settings.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            response = self._pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                preload_content=False,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=read_s),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(f"the API server {self._settings.host} cannot be reached: {error}") from error
        stream = Stream(self, response)
        with self._lock:
            self._streams.add(stream)
        if self._stop.is_set():
            stream.hang_up()
        if response.status >= 300:
            with stream:
                raise _refusal(response, stream.read())
        return stream

    def _wait(self, error: ApiError, tries: int) -> None:
        delay_s = min(10.0, 0.2 * 2 ** min(tries, 10)) if error.retry_after_s is None else error.retry_after_s
        if self._stop.wait(delay_s * random.uniform(1.0, 1.3)):
            raise Stopped("the client was closed") from error

    # The end

    def _forget(self, stream: Stream) -> None:
        with self._lock:
            self._streams.discard(stream)

    def stop(self) -> None:
        """End all requests that are under way and refuse new ones, until `go_on`."""
        self._stop.set()
        with self._lock:
            streams = tuple(self._streams)
        for stream in streams:
            stream.hang_up()

    def go_on(self) -> None:
        """Take requests again."""
        self._stop.clear()

    def close(self) -> None:
        """Close all connections."""
        self.stop()
        self._pool.clear()


class Stream:
    """An answer that is read as it comes; a context manager."""

    def __init__(self, client: Client, response: urllib3.BaseHTTPResponse) -> None:
        self._client = client
        self._response = response
        self.status = response.status

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client._forget(self)
        clean = not any(exception) and getattr(self, "_whole", False)
        if not clean:
            self._response.close()
        self._response.release_conn()

    def __iter__(self) -> Iterator[bytes]:
        """Bytes as they come.

        Raises:
            ApiError: the connection broke, or was silent for too long.
        """
        import urllib3

        try:
            yield from self._response.stream(65536)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            raise self._broken(error) from error
        if self._client._stop.is_set():
            raise Stopped("the client was closed")
        self._whole = True

    def read(self) -> bytes:
        """All of it."""
        return b"".join(self)

    def json(self) -> Object:
        """All of it, as JSON."""
        data = self.read()
        try:
            value: Object = json.loads(data) if data else {}
        except ValueError as error:
            raise ApiError(f"the API server answered what is no JSON: {data[:100]!r}") from error
        return value

    def lines(self) -> Iterator[bytes]:
        """Whole lines as they come."""
        rest = b""
        for chunk in self:
            *lines, rest = (rest + chunk).split(b"\n")
            yield from filter(None, lines)

    def hang_up(self) -> None:
        """Make a read that waits on another thread return."""
        try:
            self._response.shutdown()
        except (OSError, ValueError, RuntimeError, AttributeError):
            pass  # It is over already.

    def _broken(self, error: Exception) -> ApiError:
        if self._client._stop.is_set():
            return Stopped("the client was closed")
        return ApiError(f"the connection to the API server broke: {error}")


class _Pace:
    """Keeps requests to a rate, after a burst."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens, self._at = BURST, time.monotonic()

    def wait(self, stop: threading.Event) -> None:
        with self._lock:
            now = time.monotonic()
            self._tokens = min(BURST, self._tokens + (now - self._at) * RATE_PER_S) - 1.0
            self._at = now
            short = -self._tokens / RATE_PER_S
        if short > 0:
            stop.wait(short)


def _refusal(response: urllib3.BaseHTTPResponse, data: bytes) -> ApiError:
    try:
        status = json.loads(data)
        message, reason = str(status["message"]), str(status.get("reason", ""))
    except (ValueError, KeyError, TypeError):
        message, reason = data[:300].decode(errors="replace").strip() or f"HTTP status {response.status}", ""
    try:
        after_s: float | None = float(response.headers.get("Retry-After", ""))
    except ValueError:
        after_s = None
    return ApiError(message, response.status, reason, after_s)


def selector(labels: Mapping[str, str]) -> str:
    """Labels as a query has them."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def names(objects: Sequence[Object]) -> list[str]:
    """The names of objects."""
    return [one["metadata"]["name"] for one in objects]
