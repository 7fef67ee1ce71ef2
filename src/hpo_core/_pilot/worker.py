"""The worker on a node: it finds its driver, runs what it is told, and ends everything when the driver has gone."""

from __future__ import annotations

import heapq
import json
import os
import platform
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hpo_core import _engine, _processes
from hpo_core._pilot import links, wire

if TYPE_CHECKING:
    from typing import Any

_ONE_TRY_S = 5.0
_ANSWER_S = 20.0
_BETWEEN_TRIES_S = 0.2
_MUCH, _LITTLE = 4 * 2**20, 2**20
"""Bytes that wait to be sent: programs are made to wait at the first, and may go on at the second."""


class _Timer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """The worker's event loop: file descriptors and timers."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._count = 0
        read_end, write_end = os.pipe()
        for fd in (read_end, write_end):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(write_end)
        self.watch(read_end, lambda: _drain(read_end))

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `fd` can be read, until `unwatch`."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`; comes before it is closed."""
        self._selector.unregister(fd)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> _Timer:
        """Call `callback` in `delay_s` seconds."""
        timer = _Timer(callback)
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._count, timer))
        return timer

    def run(self, until: Callable[[], bool], deadline: float = float("inf")) -> None:
        """Do what is due until something is so, or until a time (`time.monotonic`)."""
        while not until():
            now = time.monotonic()
            if now >= deadline:
                return
            due = min(self._timers[0][0] if self._timers else deadline, deadline)
            for key, _ in self._selector.select(None if due == float("inf") else max(due - now, 0.0)):
                key.data()
            now, last = time.monotonic(), self._count
            while self._timers and self._timers[0][0] <= now and self._timers[0][1] <= last:
                callback = heapq.heappop(self._timers)[2].callback
                if callback is not None:
                    callback()


class Worker:
    """Runs jobs for a driver that has proved itself.

    Args:
        loop: of this process.
        peer: the driver.
        config: what the driver wrote for its workers.
        node: this node's name.
    """

    def __init__(self, loop: Loop, peer: links.Peer, config: dict[str, Any], node: str) -> None:
        self.over = ""
        """Why it has to end, once it has to."""
        self._peer = peer
        peer.frame, peer.lost = self._frame, self._end
        peer.link.sent = self._sent
        environment = {**_engine.inherited(), **{_bytes(name): _bytes(text) for name, text in config["environment"]}}
        environment[b"HPO_NODE"] = _bytes(node)
        self._study, self._session = str(config["study"]), str(config["session"])
        self._mark = f"{self._session}/{node}"
        """What all processes have in ``HPO_PILOT`` that this driver's workers ever start on this node."""
        self._is_clean = False
        environment[b"HPO_PILOT"] = _bytes(self._mark)
        self._grace_s = float(config["grace_s"])
        self._engine = _engine.Engine(
            loop,
            environment=environment,
            guard=(sys.executable, "-I", "-S", sys.argv[0], "guard"),
            output=self._output,
            ended=self._ended,
        )

    def stop(self) -> None:
        """The node is being taken away: end everything."""
        self._end("the worker was told to end")

    def close(self) -> None:
        """End what runs, with a grace time unless the driver wants it now, and everything else."""
        if self.over != "bye":
            _processes.sweep("HPO_SESSION", self._engine.session, self._grace_s)
        self._engine.close()
        self._peer.close()

    def _end(self, why: str) -> None:
        self.over = self.over or why

    def _frame(self, kind: int, body: bytes) -> None:
        said = wire.fields(body)
        if kind == wire.LAUNCH:
            self._launch(said)
        elif kind == wire.END:
            self._engine.end(said["number"], said["grace_s"])
        elif kind == wire.SWEEP:
            number = said["number"]
            self._engine.sweep(
                said["name"], said["grace_s"], lambda: self._peer.send(wire.message(wire.SWEPT, number=number))
            )
        elif kind == wire.BYE:
            self._end("bye")
        elif kind == wire.REFUSED:
            self._end(f"it was refused: {said.get('reason')}")

    def _launch(self, said: dict[str, Any]) -> None:
        if not self._is_clean:
            self._clean()
        number = said.pop("number")
        try:
            pid = self._engine.start(_engine.Job(number, **said))
        except (OSError, ValueError) as error:
            why = _engine.reason(error) if isinstance(error, OSError) else str(error)
            self._peer.send(wire.message(wire.UNSTARTED, number=number, message=why))
        else:
            self._peer.send(wire.message(wire.STARTED, number=number, pid=pid), hurry=False)

    def _clean(self) -> None:
        """End what earlier workers on this node, of this driver or of an earlier one, could not end.

        Not before this worker is trusted with an evaluation: a second one that comes too late must do no harm.
        """
        self._is_clean = True
        _processes.sweep("HPO_PILOT", self._mark, 0.0)
        _processes.sweep("HPO_STUDY", self._study, 0.0, spared=f"HPO_PILOT={self._session}/")

    def _output(self, number: int, data: bytes, stream: str) -> None:
        self._peer.send(wire.output(number, stream, data))
        if self._peer.link.backlog > _MUCH:
            self._engine.pause()

    def _sent(self) -> None:
        if self._peer.link.backlog < _LITTLE:
            self._engine.resume()

    def _ended(self, number: int, how: _engine.Exit) -> None:
        self._peer.send(wire.message(wire.EXITED, number=number, **how._asdict()))


def connect(loop: Loop, config: dict[str, Any], node: str, path: str) -> tuple[Worker | None, str]:
    """Find the driver, by whatever way it offers.

    Args:
        loop: of this process.
        config: what the driver wrote.
        node: this node's name.
        path: the file with `config`; it goes when the driver does.

    Returns:
        a worker for the driver that was found; or None, and what was tried.
    """
    begin, timeout_s = time.monotonic(), config["connect_timeout_s"]
    tried: dict[str, str] = {}
    while time.monotonic() < begin + timeout_s:
        reached = False
        for name, sock in _connections(config, tried) if config["transport"] != "files" else ():
            reached = True
            until = min(begin + timeout_s, time.monotonic() + _ANSWER_S)
            worker, tried[name] = _shake_hands(loop, links.TcpLink(loop, sock), config, node, until)
            if worker is not None:
                return worker, ""
        patient = reached and time.monotonic() < begin + timeout_s / 2  # it may be busy
        if config["transport"] != "tcp" and not patient and os.path.isdir(config["folder"]):
            link = _file_link(loop, config, node)
            worker, tried[config["folder"]] = _shake_hands(loop, link, config, node, begin + timeout_s)
            if worker is not None:
                return worker, ""
        if not os.path.exists(path):
            return None, "the driver has ended"
        time.sleep(_BETWEEN_TRIES_S)
    return None, "; ".join(f"{name}: {why}" for name, why in tried.items())


def _connections(config: dict[str, Any], tried: dict[str, str]) -> Iterator[tuple[str, socket.socket]]:
    """Connections to whatever listens where the driver may be, one after the other; others are noted in `tried`."""
    for host, port in _addresses(config):
        name = f"{host}:{port}"
        try:
            sock = socket.create_connection((host, port), _ONE_TRY_S)
        except OSError as error:
            tried[name] = error.strerror or str(error)
        else:
            yield name, sock


def _file_link(loop: Loop, config: dict[str, Any], node: str) -> links.FileLink:
    stem = os.path.join(config["folder"], f"{plain(node)}.{os.urandom(4).hex()}")
    return links.FileLink(
        loop,
        f"{stem}.up",
        f"{stem}.down",
        alive=os.path.join(config["folder"], "alive"),
        silence_s=config["silence_s"],
        says=f"{stem}.alive",
    )


def _addresses(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Where the driver may be reached, the likeliest first, each once."""
    port = config["port"]
    hosts = list(config["hosts"])
    if config["any_host"]:
        if socket.gethostname() == config["host"]:
            hosts.insert(0, "127.0.0.1")
        launched_from = os.environ.get("SLURM_LAUNCH_NODE_IPADDR")
        if launched_from:
            hosts.append(launched_from)
    for host in dict.fromkeys(hosts):
        yield host, port


def _shake_hands(
    loop: Loop, link: links.Link, config: dict[str, Any], node: str, until: float
) -> tuple[Worker | None, str]:
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "python": platform.python_version()}
    workers: list[Worker] = []
    lost: list[str] = []
    peer = links.Peer(
        link,
        wire.WorkerHandshake(bytes.fromhex(config["secret"]), node, facts),
        opened=lambda peer: workers.append(Worker(loop, peer, config, node)),
        frame=lambda kind, body: None,
        lost=lost.append,
    )
    loop.run(lambda: bool(workers or lost), until)
    if workers:
        return workers[0], ""
    peer.close()
    return None, lost[0] if lost else "no answer"


def plain(text: str) -> str:
    """A name as part of a file's name; different ones stay different."""
    return "".join(letter if letter.isalnum() or letter in "-_" else f"={ord(letter):x}=" for letter in text)


def _bytes(text: str) -> bytes:
    return os.fsencode(text)


def main(path: str) -> int:
    """Be a worker until the driver says that it is enough.

    Args:
        path: the file with what the driver wrote for its workers.

    Returns:
        the exit code: 0 when it was told to end.
    """
    node = os.environ.get("HPO_NODE") or socket.gethostname()
    try:
        with open(path) as file:
            config = json.load(file)
    except FileNotFoundError:
        return _complain(node, "the driver has ended")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _ignore)  # not SIG_IGN, which programs would inherit
    try:
        os.chdir(config["directory"])
    except OSError as error:
        return _complain(node, f"the driver's working directory can't be entered: {_engine.reason(error)}")
    loop = Loop()
    worker, why = connect(loop, config, node, path)
    if worker is None:
        return _complain(node, f"no way to the driver: {why}")
    signal.signal(signal.SIGTERM, lambda number, frame: worker.stop())
    loop.run(lambda: bool(worker.over))
    worker.close()
    return 0 if worker.over == "bye" else _complain(node, worker.over)


def _drain(fd: int) -> None:
    os.read(fd, 4096)


def _ignore(number: int, frame: object) -> None:
    pass


def _complain(node: str, why: str) -> int:
    print(f"worker on {node}: {why}", file=sys.stderr, flush=True)
    return 1
