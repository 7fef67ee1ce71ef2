"""One request to an API server, and its answer as it comes: the one module that knows the official client.

Of that client are used its configuration, its TLS and its credentials, in all their kinds; requests are the plain
paths and JSON of the API itself, so that no generated model stands between a manifest and the server's own checks.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hpo_core import ConfigurationError

if TYPE_CHECKING:
    import urllib3

Object = dict[str, Any]

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Folder in which a pod finds the files of its service account."""
CONNECT_S = 5.0
RATE_PER_S, BURST = 50.0, 100.0
"""Requests: as many as the burst at once, then as many per second."""

_PASSING = frozenset({429, 500, 502, 503, 504})


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


class Connection:
    """The way to one API server; to be used from any thread.

    Args:
        context: a context of the kubeconfig; empty: its current one.
        kubeconfig: path of a kubeconfig; empty: inside a cluster the pod's own account, else as kubectl finds it.
        account: folder with the files of a pod's service account.
        connections: that are open at the same time, at most.

    Attributes:
        host: the server's address.
        namespace: that the configuration names; empty: none.
        in_cluster: whether this is a pod of that cluster.
        stopping: set once it is to end.

    Raises:
        ConfigurationError: there is no configuration, or it is wrong.
    """

    def __init__(self, context: str, kubeconfig: str, account: str, connections: int) -> None:
        self._context, self._kubeconfig, self._account = context, kubeconfig, account
        self._connections = connections
        self.in_cluster = not (kubeconfig or context) and os.path.exists(f"{account}/token")
        self.stopping = threading.Event()
        self._streams: set[Stream] = set()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._pace = Pace()
        self.namespace = self._load()
        self.host: str = self._settings.host

    def _load(self) -> str:
        """Read the configuration, again after a refusal; gives the namespace that it names."""
        import yaml  # type: ignore[import-untyped]
        from kubernetes import client, config
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.config.incluster_config import InClusterConfigLoader

        settings = client.Configuration()
        named = ""
        try:
            if self.in_cluster:
                loader: Any = InClusterConfigLoader
                loader(f"{self._account}/token", f"{self._account}/ca.crt").load_and_set(settings)
                with open(f"{self._account}/namespace") as file:
                    named = file.read().strip()
            else:
                path = self._kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
                context = self._context or None
                config.load_kube_config(path, context, settings)  # type: ignore[no-untyped-call]
                contexts, current = config.list_kube_config_contexts(path)  # type: ignore[no-untyped-call]
                chosen = [one for one in contexts if one["name"] == context] or [current]
                named = chosen[0]["context"].get("namespace", "")
        except (ConfigException, OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
            raise ConfigurationError(
                f"no way to a Kubernetes cluster was found: {error}; give kubeconfig and context in launcher_options, "
                "set KUBECONFIG, or run inside the cluster"
            ) from error
        settings.connection_pool_maxsize = self._connections
        self._settings = settings
        self._api = client.ApiClient(settings)
        self._pool = self._api.rest_client.pool_manager
        return named

    def request(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Object | None, read_s: float
    ) -> Stream:
        """One request, and a second one with fresh credentials where the first are not taken any more.

        Args:
            method: of HTTP.
            path: of the request.
            query: of the request.
            body: sent as JSON.
            read_s: seconds without a byte after which the connection is taken for lost.

        Raises:
            ApiError: it was refused, or nobody answered.
            Stopped: `stop` was called meanwhile.
        """
        settings = self._settings
        try:
            return self._once(method, path, query, body, read_s)
        except ApiError as error:
            if error.status != 401:
                raise
        with self._loading:
            if self._settings is settings:
                try:
                    self._load()
                except ConfigurationError as error:
                    raise ApiError(f"fresh credentials can't be read: {error}") from error
        return self._once(method, path, query, body, read_s)

    def _once(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Object | None, read_s: float
    ) -> Stream:
        import urllib3

        if self.stopping.is_set():
            raise Stopped("the client is closed")
        self._pace.wait(self.stopping)
        headers = {"Accept": "application/json, */*", "User-Agent": "hpo-k8s"}
        credentials: Object = dict(self._settings.auth_settings())
        for setting in credentials.values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
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
        if self.stopping.is_set():
            stream.hang_up()
        if response.status >= 300:
            with stream:
                raise _refusal(response, stream.read())
        return stream

    def stop(self) -> None:
        """End all requests that are under way and refuse new ones, until `go_on`."""
        self.stopping.set()
        with self._lock:
            streams = tuple(self._streams)
        for stream in streams:
            stream.hang_up()

    def go_on(self) -> None:
        """Take requests again."""
        self.stopping.clear()

    def close(self) -> None:
        """Close all connections."""
        self.stop()
        self._pool.clear()

    def _forget(self, stream: Stream) -> None:
        with self._lock:
            self._streams.discard(stream)


class Stream:
    """An answer that is read as it comes; a context manager."""

    def __init__(self, connection: Connection, response: urllib3.BaseHTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self._whole = False
        self.status = response.status

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection._forget(self)
        if any(exception) or not self._whole:
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
        if self._connection.stopping.is_set():
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
        if self._connection.stopping.is_set():
            return Stopped("the client was closed")
        return ApiError(f"the connection to the API server broke: {error}")


class Pace:
    """Keeps requests to a rate, after a burst.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock, self._clock = threading.Lock(), clock
        self._tokens, self._at = BURST, clock()

    def wait(self, stop: threading.Event) -> None:
        """Wait until the next request may be made, or until `stop` is set."""
        with self._lock:
            now = self._clock()
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
