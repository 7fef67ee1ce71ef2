"""Both kinds of link carry every byte in order, notice an end, and give everything back."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpo_core._pilot import links, wire
from hpo_core._pilot.reception import Reception
from hpo_core.events import RealEventLoop

SECRET = b"s" * 32


@pytest.fixture
def events() -> Iterator[RealEventLoop]:
    loop = RealEventLoop()
    yield loop
    loop.close()


def tcp_pair(events: RealEventLoop, tmp_path: Path) -> tuple[links.Link, links.Link]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    return links.TcpLink(events, one), links.TcpLink(events, other)


def file_pair(events: RealEventLoop, tmp_path: Path) -> tuple[links.Link, links.Link]:
    up, down, alive = str(tmp_path / "up"), str(tmp_path / "down"), [str(tmp_path / f"alive{i}") for i in range(2)]
    return (
        links.FileLink(events, up, down, alive=alive[0], silence_s=5, says=alive[1]),
        links.FileLink(events, down, up, alive=alive[1], silence_s=5, says=alive[0]),
    )


Pair = Callable[[RealEventLoop, Path], tuple[links.Link, links.Link]]
BOTH = pytest.mark.parametrize("pair", [tcp_pair, file_pair])


class Ear:
    """Hears one end of a link."""

    def __init__(self, link: links.Link) -> None:
        self.data = bytearray()
        self.lost: list[str] = []
        link.heard, link.lost = self.data.extend, self.lost.append
        link.begin()


def run(events: RealEventLoop, condition: Callable[[], object], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        events.next_events(events.now() + 0.01)


@BOTH
def test_every_byte_arrives_in_order_both_ways(events: RealEventLoop, tmp_path: Path, pair: Pair) -> None:
    one, other = pair(events, tmp_path)
    ears = [Ear(one), Ear(other)]
    words = [os.urandom(70_000) * (1 + n % 3) for n in range(150)]
    for word in words:
        one.send(word)
        other.send(word[:1000])
    whole = b"".join(words)
    run(events, lambda: len(ears[1].data) == len(whole) and len(ears[0].data) == 150_000)
    assert ears[1].data == whole
    assert ears[0].data == b"".join(word[:1000] for word in words)
    one.close()
    run(events, lambda: ears[1].lost)
    assert len(ears[1].lost) == 1
    assert ears[0].lost == []


@BOTH
def test_what_was_sent_before_the_end_is_heard_before_it(events: RealEventLoop, tmp_path: Path, pair: Pair) -> None:
    one, other = pair(events, tmp_path)
    Ear(one)
    ear = Ear(other)
    one.send(b"last words")
    one.flush()
    one.close()
    run(events, lambda: ear.lost)
    assert ear.data == b"last words"


@BOTH
def test_a_reader_that_does_not_read_makes_the_writer_wait(events: RealEventLoop, tmp_path: Path, pair: Pair) -> None:
    one, other = pair(events, tmp_path)
    Ear(one)
    for _ in range(100):
        one.send(b"x" * 2**20)
        one.flush()
    assert one.backlog > 50 * 2**20
    kept = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert kept < 50 * 2**20, "the disk is not filled meanwhile"
    ear = Ear(other)
    run(events, lambda: len(ear.data) == 100 * 2**20)
    one.close()
    other.close()


def test_files_are_deleted_once_they_are_read(events: RealEventLoop, tmp_path: Path) -> None:
    one, other = file_pair(events, tmp_path)
    Ear(one)
    ear = Ear(other)
    one.send(b"x" * 40 * 2**20)
    run(events, lambda: len(ear.data) == 40 * 2**20)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 9 * 2**20
    one.close()
    other.close()


def test_a_link_of_files_without_a_sign_of_life_is_lost(events: RealEventLoop, tmp_path: Path) -> None:
    link = links.FileLink(
        events, str(tmp_path / "up"), str(tmp_path / "down"), alive=str(tmp_path / "alive"), silence_s=0.5
    )
    ear = Ear(link)
    run(events, lambda: ear.lost)
    assert ear.lost == ["no sign of life for 0.5 s"]


def test_a_link_of_files_whose_folder_goes_is_lost(events: RealEventLoop, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    link = links.FileLink(events, str(folder / "up"), str(folder / "down"), alive=str(folder / "alive"), silence_s=60)
    ear = Ear(link)
    events.next_events(events.now() + 0.05)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    run(events, lambda: ear.lost)


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5000, b"\xff" * 5000, b"", b"\0\0\0\2\1{}"])
def test_strangers_get_nowhere_and_hold_up_nobody(events: RealEventLoop, words: bytes) -> None:
    arrived: list[links.Peer] = []
    reception = Reception(events, SECRET, arrived.append)
    reception.listen("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", reception.port)) as stranger:
        stranger.sendall(words)
        worker = links.TcpLink(events, socket.create_connection(("127.0.0.1", reception.port)))
        peer = links.Peer(
            worker,
            wire.WorkerHandshake(SECRET, "n1", {}),
            opened=lambda peer: None,
            frame=lambda kind, body: None,
            lost=lambda why: None,
        )
        run(events, lambda: arrived and peer.handshake.done)
        assert len(arrived) == 1
        if words:
            stranger.settimeout(5)
            run(events, lambda: not reception._strangers)
            try:
                while stranger.recv(1000):
                    pass
            except ConnectionResetError:
                pass
    for one in (peer, *arrived):
        one.close()
    reception.close()


def test_a_worker_of_another_version_hears_why_it_is_refused(events: RealEventLoop, monkeypatch) -> None:
    class Later(wire.WorkerHandshake):
        def opening(self) -> bytes:
            return wire.message(wire.HELLO, magic="hpo-pilot", version=2, node="n1", nonce="0" * 64)

    reception = Reception(events, SECRET, lambda peer: None)
    reception.listen("127.0.0.1", 0)
    why: list[str] = []
    links.Peer(
        links.TcpLink(events, socket.create_connection(("127.0.0.1", reception.port))),
        Later(SECRET, "n1", {}),
        opened=lambda peer: None,
        frame=lambda kind, body: None,
        lost=why.append,
    )
    run(events, lambda: why)
    assert why == ["it was refused: version 2 of the worker, and the driver has 1"]
    reception.close()


FORKS = """
import os, socket, sys, time
from hpo_core._pilot import links
from hpo_core.events import RealEventLoop
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
link = links.TcpLink(RealEventLoop(), sock)
child = os.fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
os._exit(0)
"""


def test_a_forked_process_does_not_hold_a_connection_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = [sys.executable, "-c", FORKS, str(server.getsockname()[1])]
        with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            connection, _ = server.accept()
            child = int(process.stdout.readline())
            with connection:
                connection.settimeout(20)
                assert connection.recv(1) == b""
                os.kill(child, 9)
