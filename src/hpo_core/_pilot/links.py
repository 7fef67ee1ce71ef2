"""A stream of bytes each way between driver and worker: a TCP connection, or files in a folder that both see."""

from __future__ import annotations

import os
import socket
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from hpo_core._pilot import wire

if TYPE_CHECKING:
    from hpo_core._engine import Loop, Timer

_READ = 256 * 1024
_READS_AT_ONCE = 4
_RETRY_S, _LATEST_RETRY_S = 0.002, 0.05
_NO_HURRY_S = 0.005

_SEGMENT = 8 * 2**20
_SEGMENTS_UNREAD = 4
_SOONEST_S, _LATEST_S, _SLOWER = 0.001, 0.25, 1.4
BEAT_S = 1.0
"""From one sign of life to the next, over files."""


_SOCKETS: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def _close_sockets() -> None:
    """In a forked process: a connection is its own process's alone, and ends with it."""
    for sock in list(_SOCKETS):
        sock.close()
    _SOCKETS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_sockets)


def _nothing(text: str) -> None:
    pass


class Link:
    """What both kinds have in common. Every callback comes from the loop's thread.

    Attributes:
        heard: gets bytes as they come.
        lost: is told once, with the reason, that there will be no more; not after `close`.
        sent: is called after some of the backlog has gone.
        is_open: whether it has neither been lost nor closed.
    """

    def __init__(self, loop: Loop) -> None:
        self.heard: Callable[[bytes], None]
        self.lost: Callable[[str], None] = _nothing
        self.sent: Callable[[], None] | None = None
        self._loop = loop
        self._out = bytearray()
        self._flushing: Timer | None = None
        self._hurries = False
        self._retry_s = _RETRY_S
        self.is_open = True

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._out)

    def begin(self) -> None:
        """Listen; `heard` and `lost` are set by now."""
        raise NotImplementedError

    def send(self, data: bytes, *, hurry: bool = True) -> None:
        """Send soon, in order; after the end it is dropped.

        Args:
            data: what is to be sent.
            hurry: False: with what comes next, if that comes within a few milliseconds.
        """
        if not self.is_open:
            return
        self._out += data
        if hurry and not self._hurries:
            self._hurries = True
            if self._flushing is not None:
                self._flushing.cancel()
            self._flushing = self._loop.call_later(0.0, self.flush)
        elif self._flushing is None:
            self._flushing = self._loop.call_later(_NO_HURRY_S, self.flush)

    def close(self) -> None:
        """End it now, both ways; harmless when called again."""
        if self.is_open:
            self.is_open = False
            if self._flushing is not None:
                self._flushing.cancel()
            self._give_back()

    def finish(self, deadline: float) -> bool:
        """Send what waits, then wait until the other side has ended too, and close. Hears nothing more.

        Args:
            deadline: on `time.monotonic`.

        Returns:
            whether the other side has ended.
        """
        if not self.is_open:
            return True
        ended = self._finish(deadline)
        self.close()
        return ended

    def _lose(self, why: str) -> None:
        if self.is_open:
            self.close()
            self.lost(why)

    def flush(self) -> None:
        """Send what can be sent now."""
        if not self.is_open:
            return
        if self._flushing is not None:
            self._flushing.cancel()
        self._flushing, self._hurries = None, False
        before = len(self._out)
        try:
            self._write()
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        self._retry_s = _RETRY_S if len(self._out) < before else min(self._retry_s * 1.5, _LATEST_RETRY_S)
        if self._out:
            self._flushing, self._hurries = self._loop.call_later(self._retry_s, self.flush), True
        if self.sent is not None and len(self._out) < before:
            self.sent()

    def _write(self) -> None:
        """Write what can be written now, and take it from the buffer."""
        raise NotImplementedError

    def _finish(self, deadline: float) -> bool:
        raise NotImplementedError

    def _give_back(self) -> None:
        raise NotImplementedError


class TcpLink(Link):
    """A connection. The system's keep-alive finds out when the other host has gone."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        super().__init__(loop)
        self._socket = sock
        _SOCKETS.add(sock)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def begin(self) -> None:
        self._loop.watch(self._socket.fileno(), self._read)

    def _read(self) -> None:
        for _ in range(_READS_AT_ONCE):
            if not self.is_open:
                return
            try:
                data = self._socket.recv(_READ)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._lose(error.strerror or str(error))
                return
            if not data:
                self._lose("the connection ended")
                return
            self.heard(data)
            if len(data) < _READ:
                return

    def _write(self) -> None:
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except (BlockingIOError, InterruptedError):
            pass

    def _finish(self, deadline: float) -> bool:
        try:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.01))
            self._socket.sendall(self._out)
            while True:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.01))
                if not self._socket.recv(_READ):
                    return True
        except socket.timeout:  # noqa: UP041 - the older name of it, before Python 3.10
            return False
        except OSError:
            return True

    def _give_back(self) -> None:
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()


class FileLink(Link):
    """Two rows of files, each appended to by one side and read by the other, looked at again and again.

    A file that is full is followed by the next, and the reader deletes what it has read. Each side says from time to
    time that it is alive, by a file that changes; silence is an end.

    Args:
        writes: path of this side's files, to which ``.0``, ``.1`` ... and ``.end`` are appended.
        reads: the same of the other side.
        alive: a file that the other side changes every `BEAT_S` seconds.
        silence_s: it is lost when that does not change for so long.
        says: the file by which this side says so; None: somebody else sees to it.
    """

    def __init__(
        self, loop: Loop, writes: str, reads: str, *, alive: str, silence_s: float, says: str | None = None
    ) -> None:
        super().__init__(loop)
        self._writes, self._reads, self._alive, self._silence_s = writes, reads, alive, silence_s
        self._says, self._beats = says, 0
        self._written, self._segment = 0, 0
        self._offset, self._reading = 0, 0
        self._pause_s = _SOONEST_S
        self._next_look: Timer | None = None
        self._next_check: Timer | None = None
        self._last_beat, self._heard_at = "", time.monotonic()
        if not os.path.exists(f"{writes}.0"):
            _append(f"{writes}.0", b"")

    def begin(self) -> None:
        self._next_look = self._loop.call_later(0.0, self._look)
        self._next_check = self._loop.call_later(0.0, self._check)

    def _look(self) -> None:
        try:
            found = self._read_some()
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        if not self.is_open:
            return
        self._pause_s = _SOONEST_S if found else min(self._pause_s * _SLOWER, _LATEST_S)
        self._next_look = self._loop.call_later(self._pause_s, self._look)

    def _read_some(self) -> bool:
        """Hear what is new; whether there was anything."""
        found = False
        for _ in range(_READS_AT_ONCE):
            ended = os.path.exists(f"{self._reads}.end")
            followed = os.path.exists(f"{self._reads}.{self._reading + 1}")
            data = _read_at(f"{self._reads}.{self._reading}", self._offset)
            if data:
                found = True
                self._offset += len(data)
                self.heard(data)
            elif followed:
                os.unlink(f"{self._reads}.{self._reading}")
                self._reading, self._offset = self._reading + 1, 0
            elif ended:
                self._lose("the other side has ended")
            if not self.is_open or not (data or followed):
                break
        return found

    def _check(self) -> None:
        if self._says is not None:
            self._beats += 1
            beat(self._says, self._beats)
        last, now = _read_text(self._alive), time.monotonic()
        if last and last != self._last_beat:
            self._last_beat, self._heard_at = last, now
        if not os.path.isdir(os.path.dirname(self._writes)):
            self._lose("the folder of the messages is gone")
        elif now - self._heard_at > self._silence_s:
            self._lose(f"no sign of life for {self._silence_s:g} s")
        else:
            self._next_check = self._loop.call_later(BEAT_S, self._check)

    def _write(self) -> None:
        while self._out:
            if self._written >= _SEGMENT:
                if os.path.exists(f"{self._writes}.{self._segment + 1 - _SEGMENTS_UNREAD}"):
                    return  # The reader is far behind.
                self._segment, self._written = self._segment + 1, 0
            sent = _append(f"{self._writes}.{self._segment}", self._out[:_SEGMENT])
            self._written += sent
            del self._out[:sent]
        self._pause_s = _SOONEST_S  # an answer may come

    def _finish(self, deadline: float) -> bool:
        try:
            while self._out and time.monotonic() < deadline:
                self._write()
        except OSError:
            return False
        while not os.path.exists(f"{self._reads}.end"):
            if time.monotonic() > deadline:
                return False
            self.heard, self.lost = _drop, _nothing
            try:
                self._read_some()
            except OSError:
                return False
            time.sleep(0.01)
        return True

    def _give_back(self) -> None:
        for timer in (self._next_look, self._next_check):
            if timer is not None:
                timer.cancel()
        try:
            if self._out:
                self._write()
            _append(f"{self._writes}.end", b"")
        except OSError:
            pass  # The folder is gone, and with it the other side.


def _drop(data: bytes) -> None:
    pass


def _append(path: str, data: bytes | bytearray) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return os.write(fd, data) if data else 0
    finally:
        os.close(fd)


def _read_at(path: str, offset: int) -> bytes:
    """What follows in a file; opened anew each time, since network file systems show news only then."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, _READ, offset)
    finally:
        os.close(fd)


def _read_text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def beat(path: str, count: int) -> None:
    """Say that this side is alive; a disk that is full says nothing."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(str(count))
    except OSError:
        pass


class Peer:
    """Frames over a link, once the handshake is over.

    Args:
        link: not begun.
        handshake: this side of it.
        opened: is called when the other side has proved itself.
        frame: gets kind and body of each frame after that.
        lost: is told once why it is over, before or after that; not after `close`.
    """

    def __init__(
        self,
        link: Link,
        handshake: wire.Handshake,
        *,
        opened: Callable[[Peer], None],
        frame: Callable[[int, bytes], None],
        lost: Callable[[str], None],
    ) -> None:
        self.link = link
        self.handshake = handshake
        self.frame = frame
        self.lost = lost
        self._opened = opened
        self._decoder = wire.Decoder()
        link.heard = self._heard
        link.lost = lambda why: self.lost(why)
        link.begin()
        link.send(handshake.opening())

    def send(self, data: bytes, *, hurry: bool = True) -> None:
        """Send frames; see `Link.send`."""
        self.link.send(data, hurry=hurry)

    def close(self) -> None:
        """End it at once."""
        self.link.close()

    def refuse(self, why: str) -> None:
        """Say why this partner is not wanted, and end it."""
        self.link.send(wire.message(wire.REFUSED, reason=why))
        self.link.flush()
        self.link.close()

    def _heard(self, data: bytes) -> None:
        try:
            for kind, body in self._decoder.feed(data):
                if not self.link.is_open:
                    return
                if self.handshake.done:
                    self.frame(kind, body)
                    continue
                self.link.send(self.handshake.receive(kind, body))
                if self.handshake.done:
                    self._decoder.most_bytes = wire.MOST_BYTES
                    self._opened(self)
        except wire.WireError as error:
            if isinstance(error, wire.Refused):
                self.refuse(str(error))
            self.link.close()
            self.lost(str(error))
