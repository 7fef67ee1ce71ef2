"""Where the driver meets its workers: a port that listens, and a folder that is looked into."""

from __future__ import annotations

import errno
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hpo_core._pilot import links, wire

if TYPE_CHECKING:
    from hpo_core._engine import Loop, Timer

_HANDSHAKE_S = 20.0
_STRANGERS = 1024
"""Connections that may be in the middle of a handshake at the same time; more are turned away."""
_SOONEST_S, _LATEST_S = 0.02, 0.5
_FILES_OF_A_WORKER = re.compile(r"(.+)\.up\.0")


class Reception:
    """Lets workers in that prove to have the secret.

    Args:
        loop: the driver's.
        secret: what both sides have.
        arrived: gets each worker that has proved itself.
    """

    def __init__(self, loop: Loop, secret: bytes, arrived: Callable[[links.Peer], None]) -> None:
        self.port = 0
        """Where it listens, once it does."""
        self._loop = loop
        self._secret = secret
        self._arrived = arrived
        self._listener: socket.socket | None = None
        self._strangers: dict[links.Peer, Timer] = {}
        self._folder = ""
        self._silence_s = self._looks_until = 0.0
        self._seen: set[str] = set()
        self._pause_s = _SOONEST_S
        self._next_look: Timer | None = None
        self._alive: _Alive | None = None

    def listen(self, host: str, port: int) -> None:
        """Listen on a TCP port.

        Args:
            host: one of this host's addresses; another one, or none: all of them.
            port: 0: any that is free.

        Raises:
            OSError: it can't be had.
        """
        self._listener = _listener(host, port)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._loop.watch(self._listener.fileno(), self._accept)

    def look_into(self, folder: str, silence_s: float, for_s: float) -> None:
        """Look for workers' files in a folder.

        Args:
            folder: where they are.
            silence_s: a worker that gives no sign of life for so long is lost.
            for_s: stop looking after so long, unless told so again.
        """
        self._folder, self._silence_s, self._pause_s = folder, silence_s, _SOONEST_S
        self._looks_until = time.monotonic() + for_s
        if self._next_look is not None:
            self._next_look.cancel()
        self._look()

    def close(self) -> None:
        """Turn away those that have not proved themselves, and give everything back."""
        for peer in list(self._strangers):
            self._dismiss(peer)
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None
        if self._next_look is not None:
            self._next_look.cancel()
        if self._alive is not None:
            self._alive.stop()

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # nobody is there, or has gone again; or no file descriptor is left, and it will come again
            if len(self._strangers) >= _STRANGERS:
                sock.close()
            else:
                self._meet(links.TcpLink(self._loop, sock))

    def _look(self) -> None:
        found = False
        try:
            names = os.listdir(self._folder)
        except OSError:
            names = []
        for name in names:
            match = _FILES_OF_A_WORKER.fullmatch(name)
            if match and name not in self._seen:
                found = True
                self._seen.add(name)
                self._alive = self._alive or _Alive(os.path.join(self._folder, "alive"))
                stem = os.path.join(self._folder, match[1])
                self._meet(
                    links.FileLink(
                        self._loop,
                        f"{stem}.down",
                        f"{stem}.up",
                        alive=f"{stem}.alive",
                        silence_s=self._silence_s,
                    )
                )
        self._pause_s = _SOONEST_S if found else min(self._pause_s * 1.2, _LATEST_S)
        if time.monotonic() < self._looks_until:
            self._next_look = self._loop.call_later(self._pause_s, self._look)

    def _meet(self, link: links.Link) -> None:
        peer = links.Peer(
            link,
            wire.DriverHandshake(self._secret),
            opened=self._opened,
            frame=lambda kind, body: None,
            lost=lambda why: self._dismiss(peer),
        )
        self._strangers[peer] = self._loop.call_later(_HANDSHAKE_S, lambda: self._dismiss(peer))

    def _opened(self, peer: links.Peer) -> None:
        self._strangers.pop(peer).cancel()
        self._arrived(peer)

    def _dismiss(self, peer: links.Peer) -> None:
        timer = self._strangers.pop(peer, None)
        if timer is not None:
            timer.cancel()
            peer.close()


class _Alive:
    """Says from time to time that the driver is alive, on a thread, since its loop may be busy for long."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="hpo-pilot-alive", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _beat(self) -> None:
        count = 0
        while not self._stopped.is_set():
            count += 1
            links.beat(self._path, count)
            self._stopped.wait(links.BEAT_S)


def addresses_of_this_host() -> list[str]:
    """Names and addresses by which other hosts may reach this one, the likeliest first."""
    name = socket.gethostname()
    found = [name]
    try:
        found += [str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except OSError:
        pass  # nobody knows its name
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it asks which address would be used
            found.append(probe.getsockname()[0])
        except OSError:
            pass  # no network at all
    return [one for one in dict.fromkeys(found) if not one.startswith("127.") and one != "::1"]


def _listener(host: str, port: int) -> socket.socket:
    if host:
        try:
            return _bound(host, port)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, None) and not isinstance(error, socket.gaierror):
                raise
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_STRANGERS)
        except OSError:
            pass  # IPv6 is switched off
    return socket.create_server(("", port), backlog=_STRANGERS)


def _bound(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server((address[0], port), family=family, backlog=_STRANGERS)
