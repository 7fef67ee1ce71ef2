"""The log of a pod, passed on from its first byte to its last, whatever breaks meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hpo_k8s._client import Client, delay
from hpo_k8s._connection import ApiError, Stopped, Stream
from hpo_k8s._jobs import CONTAINER

_HEAD, _TAIL = 1024, 4096
_SILENCE_S = 300.0
"""A connection that follows a log and brings nothing for so long is made anew."""
_QUIET_S = 3.0
"""The same, once the container has ended."""
_REFUSED_S = 60.0
"""How long the log of a pod that is over is asked for while the server answers with errors."""


class Rotated(Exception):
    """The log does not begin any more as it began."""


class Feed:
    """How much of a log was passed on; finds its place in the log when that is read anew from its beginning.

    Args:
        post: takes the bytes.
        notice: takes a sentence for people.
    """

    def __init__(self, post: Callable[[bytes], None], notice: Callable[[str], None]) -> None:
        self._post, self.notice = post, notice
        self.count = 0
        self.head = b""
        self.tail = b""

    def add(self, data: bytes) -> None:
        """Pass on what is new."""
        if data:
            self._post(data)
            self.head = (self.head + data[:_HEAD])[:_HEAD]
            self.tail = (self.tail + data[-_TAIL:])[-_TAIL:]
            self.count += len(data)

    def ends_with(self, data: bytes) -> bool:
        """Whether this end of the log was passed on."""
        length = min(len(data), len(self.tail))
        return not data or (length > 0 and data[-length:] == self.tail[-length:])

    def rebase(self, data: bytes, name: str) -> None:
        """Go on in a log whose beginning was thrown away; `data` is all that is left of it."""
        known = self._known(data)
        if known is None:
            self.notice(f"the log of pod {name} was rotated while nobody could follow it: some output is lost")
        new = data[known or 0 :]
        self.add(new)
        self.count, self.head = len(data), data[:_HEAD]

    def _known(self, data: bytes) -> int | None:
        """Bytes of what is left that were passed on, or None where no place joins the two."""
        place = data.rfind(self.tail)
        if place >= 0:
            return place + len(self.tail)
        for length in range(len(self.tail) - 1, 0, -1):
            if data.startswith(self.tail[-length:]):
                return length
        return None


class Reading:
    """One pass over a log from its beginning, which skips what was passed on."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._skip = feed.count
        self._head = feed.head
        self._at = 0

    def take(self, chunk: bytes) -> None:
        """The next bytes of the log.

        Raises:
            Rotated: it does not begin as it did.
        """
        known = self._head[self._at : self._at + len(chunk)]
        if chunk[: len(known)] != known:
            raise Rotated
        new = chunk[max(0, self._skip - self._at) :]
        self._at += len(chunk)
        self._feed.add(new)


class Follower:
    """Reads one pod's log.

    Args:
        client: talks to the API server.
        pod: the pod's name.
        feed: takes the log.
        over: set once the pod's container has ended.
        stop: set when nobody wants the log any more.
        patience_s: how long a server that is away is waited for once the container has ended.

    Attributes:
        cut: whether the pod was gone before its log was read to the end.
    """

    def __init__(
        self, client: Client, pod: str, feed: Feed, over: threading.Event, stop: threading.Event, patience_s: float
    ) -> None:
        self.patience_s = patience_s
        self.cut = False
        self._client, self._pod, self._feed, self._over, self._stop = client, pod, feed, over, stop
        self._path = client.path("pods", pod, "log")
        self._following: Stream | None = None
        self._heard_s = 0.0

    def hurry(self) -> None:
        """To be called now and then once the container has ended: a connection that brings no more is given up."""
        stream = self._following
        if stream is not None and time.monotonic() - self._heard_s > _QUIET_S:
            stream.hang_up()

    def run(self) -> None:
        """Pass on the whole log; returns when the container has ended and its last word was passed on."""
        followed, begun_s, tries = False, time.monotonic(), 0
        while not self._stop.is_set():
            over = self._over.is_set()
            if not over:
                begun_s = time.monotonic()
            try:
                if over and followed and self._complete():
                    return
                followed = self._pass(follow=not over)
                if over:
                    return
                tries = 0
                self._over.wait(5.0 if followed else 0.5)
            except Stopped:
                return
            except ApiError as error:
                if error.status == 404:
                    self.cut = not followed
                    return
                followed = False
                patience_s = _REFUSED_S if error.status else self.patience_s
                if over and time.monotonic() - begun_s > patience_s:
                    self._feed.notice(f"the log of pod {self._pod} cannot be had: {error}")
                    return
                self._stop.wait(min(5.0, delay(tries)))
                tries += 1

    def _pass(self, *, follow: bool) -> bool:
        """Read the log from its beginning, to the container's end or to where it is now.

        Returns:
            whether it was read to its end.
        """
        query = {"container": CONTAINER, **({"follow": "true"} if follow else {})}
        reading = Reading(self._feed)
        try:
            with self._client.stream(self._path, query, _SILENCE_S if follow else 60.0) as stream:
                if stream.status == 204:
                    return False
                self._heard_s = time.monotonic()
                self._following = stream if follow else None
                for chunk in stream:
                    self._heard_s = time.monotonic()
                    reading.take(chunk)
        except Rotated:
            with self._client.stream(self._path, {"container": CONTAINER}, 60.0) as stream:
                self._feed.rebase(stream.read(), self._pod)
            return False
        except ApiError as error:
            if error.status == 400:
                return False  # It waits to start, or never did.
            raise
        finally:
            self._following = None
        return True

    def _complete(self) -> bool:
        """Whether the log's last lines were passed on: a follower may be left behind where logs are rotated."""
        query = {"container": CONTAINER, "tailLines": "3"}
        with self._client.stream(self._path, query, 60.0) as stream:
            return self._feed.ends_with(stream.read())
