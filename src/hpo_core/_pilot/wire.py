"""What driver and worker say to each other, as bytes: frames, and the handshake before all else. No I/O."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

VERSION = 1
"""Of everything in this module; both sides must have the same."""

MOST_BYTES = 16 * 2**20
"""The longest body of a frame."""
MOST_BYTES_OF_STRANGERS = 4096
"""The same before the handshake is over."""

HELLO, CHALLENGE, PROOF, WELCOME, REFUSED = 1, 2, 3, 4, 5
LAUNCH, END, SWEEP, BYE = 16, 17, 18, 19
STARTED, UNSTARTED, OUTPUT, EXITED, SWEPT = 32, 33, 34, 35, 36

_MAGIC = "hpo-pilot"
_HEAD = struct.Struct("!IB")
_OUTPUT = struct.Struct("!QB")
_STREAMS = ("stdout", "stderr")


class WireError(Exception):
    """What the other side said can't be: the connection is of no use any more."""


class Refused(WireError):
    """This side will not talk to this partner, and tells it why."""


def frame(kind: int, body: bytes) -> bytes:
    """A frame: length of the body, kind, body.

    Raises:
        WireError: the body is longer than any frame may be.
    """
    if len(body) > MOST_BYTES:
        raise WireError(f"a message of {len(body)} bytes, and {MOST_BYTES} are the most")
    return _HEAD.pack(len(body), kind) + body


def message(kind: int, **fields: Any) -> bytes:
    """A frame whose body is a JSON object."""
    return frame(kind, json.dumps(fields, separators=(",", ":")).encode("ascii"))


def fields(body: bytes) -> dict[str, Any]:
    """The JSON object of a frame.

    Raises:
        WireError: it is none.
    """
    try:
        found = json.loads(body.decode("ascii"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise WireError("a message that is no JSON object")
    return found


def output(number: int, stream: str, data: bytes) -> bytes:
    """A frame with what an evaluation wrote."""
    return frame(OUTPUT, _OUTPUT.pack(number, _STREAMS.index(stream)) + data)


def read_output(body: bytes) -> tuple[int, str, bytes]:
    """Number, stream and data of an `OUTPUT` frame.

    Raises:
        WireError: it is too short, or of an unknown stream.
    """
    try:
        number, stream = _OUTPUT.unpack_from(body)
        return number, _STREAMS[stream], body[_OUTPUT.size :]
    except (struct.error, IndexError):
        raise WireError("a message of output that is none") from None


class Decoder:
    """Frames out of a stream of bytes, however it is cut.

    Attributes:
        most_bytes: the longest body that is accepted; small for strangers.
    """

    def __init__(self, most_bytes: int = MOST_BYTES_OF_STRANGERS) -> None:
        self.most_bytes = most_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Kind and body of each frame that is complete now, in order.

        Raises:
            WireError: a frame is too long; what came before it was given.
        """
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            length, kind = _HEAD.unpack_from(self._buffer)
            if length > self.most_bytes:
                raise WireError(f"a message of {length} bytes, and {self.most_bytes} are the most")
            end = _HEAD.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            yield kind, body


class Handshake:
    """One side of the handshake: each proves that it has the secret, without saying it.

    Attributes:
        done: whether the other side has proved itself; nothing of it may be believed before.
        node: the worker's node.
        facts: what the worker says of itself, once it is done.
    """

    done = False
    node = ""

    def __init__(self, secret: bytes) -> None:
        self.facts: dict[str, Any] = {}
        self._secret = secret
        self._nonces = {"driver": "", "worker": ""}

    def opening(self) -> bytes:
        """What this side says first."""
        return b""

    def receive(self, kind: int, body: bytes) -> bytes:
        """The answer to a frame; empty: none.

        Raises:
            Refused: the other side speaks another version or has another secret.
            WireError: this makes no sense here, or the other side has refused this one.
        """
        if kind == REFUSED:
            raise WireError(f"it was refused: {str(fields(body).get('reason', ''))[:500]}")
        if self.done:
            raise WireError("a handshake after the handshake")
        return self._receive(kind, fields(body))

    def _receive(self, kind: int, said: dict[str, Any]) -> bytes:
        raise NotImplementedError

    def _proof(self, who: str) -> str:
        import hmac

        text = json.dumps([_MAGIC, VERSION, who, self.node, self._nonces["worker"], self._nonces["driver"]])
        return hmac.new(self._secret, text.encode("ascii"), "sha256").hexdigest()

    def _check(self, who: str, said: dict[str, Any]) -> None:
        import hmac

        proof = said.get("proof")
        if not isinstance(proof, str) or not hmac.compare_digest(self._proof(who).encode(), proof.encode()):
            raise Refused(f"the {who} does not have this study's secret")

    @staticmethod
    def _nonce(said: dict[str, Any]) -> str:
        nonce = said.get("nonce")
        if not isinstance(nonce, str) or len(nonce) != 64:
            raise WireError("a challenge that is none")
        return nonce


class WorkerHandshake(Handshake):
    """The worker's side, which speaks first."""

    def __init__(self, secret: bytes, node: str, facts: dict[str, Any]) -> None:
        super().__init__(secret)
        self.node = node
        self.facts = facts
        self._challenged = False

    def opening(self) -> bytes:
        self._nonces["worker"] = os.urandom(32).hex()
        return message(HELLO, magic=_MAGIC, version=VERSION, node=self.node, nonce=self._nonces["worker"])

    def _receive(self, kind: int, said: dict[str, Any]) -> bytes:
        if kind == CHALLENGE and not self._challenged:
            self._challenged = True
            self._nonces["driver"] = self._nonce(said)
            self._check("driver", said)
            return message(PROOF, proof=self._proof("worker"), facts=self.facts)
        if kind == WELCOME and self._challenged:
            self.done = True
            return b""
        raise WireError(f"message {kind} in the middle of a handshake")


class DriverHandshake(Handshake):
    """The driver's side."""

    def _receive(self, kind: int, said: dict[str, Any]) -> bytes:
        if kind == HELLO and not self._nonces["worker"]:
            if said.get("magic") != _MAGIC or said.get("version") != VERSION:
                raise Refused(f"version {said.get('version')!r} of the worker, and the driver has {VERSION}")
            if not isinstance(said.get("node"), str):
                raise WireError("a worker without a node")
            self.node = said["node"]
            self._nonces["worker"] = self._nonce(said)
            self._nonces["driver"] = os.urandom(32).hex()
            return message(CHALLENGE, nonce=self._nonces["driver"], proof=self._proof("driver"))
        if kind == PROOF and self._nonces["worker"]:
            self._check("worker", said)
            facts = said.get("facts")
            self.facts = facts if isinstance(facts, dict) else {}
            self.done = True
            return message(WELCOME)
        raise WireError(f"message {kind} in the middle of a handshake")
