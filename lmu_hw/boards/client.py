"""The host's side of the link to a board: every command executed exactly once, or an error."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.host.link import (
    CHUNK,
    ERROR,
    REPLY,
    STATUS_BODY,
    VERSION,
    Decoder,
    Kind,
    LinkLayout,
    Packet,
    Refusal,
    encode,
)

__all__ = ["BoardClient", "BoardStatus", "LinkError", "Result", "SerialPort"]

GRACE = 0.1
"""Part of the time limit that a reply may still take after the board reported a lost packet; and the longest
wait for a byte."""


REASONS: dict[int, str] = {
    Refusal.KIND: "it knows no such packet; is it a board of this version, and are its weights in RAM?",
    Refusal.LENGTH: "the length is not that of its accelerator",
    Refusal.SEQUENCE: "the sequence number is wrong; does another program talk to it?",
    Refusal.WEIGHTS: "its weights are not there, or are there already",
    Refusal.RESET: "it was reset meanwhile",
}
"""In words."""


class LinkError(RuntimeError):
    """The board does not answer, or not as it should."""


class SerialPort(Protocol):
    """A serial port: what `serial.Serial` of pySerial has."""

    timeout: float | None

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes; fewer if they do not come within `timeout` seconds."""

    def write(self, data: bytes) -> int | None:
        """Send bytes."""

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""


class Result(NamedTuple):
    """What a board computed.

    Parameters
    ----------
    label : int
        Of the decision.
    score : int
        Of the decision.
    logits : ndarray of int64, shape (labels,)
        Integers.
    """

    label: int
    score: int
    logits: NDArray[np.int64]


@dataclass(frozen=True)
class BoardStatus:
    """What a board says of itself.

    Parameters
    ----------
    ram : bool
        Whether weights are in RAM.
    ready : bool
        Whether all weights are there.
    expected : int
        Next sequence number.
    design : int
        Number of its design (`lmu_hw.boards.top.design_number`).
    damaged, overflows, refused : int
        Packets since reset that were damaged, that overflowed, that were refused for another reason, modulo 65536.
    """

    ram: bool
    ready: bool
    expected: int
    design: int
    damaged: int
    overflows: int
    refused: int


class BoardClient:
    """Talks to one board.

    Sends a packet, waits for the reply, sends the packet again if none comes. The sequence number lets the board
    execute it once only.

    Parameters
    ----------
    port : SerialPort
        Opened.
    layout : LinkLayout
        Of the accelerator on the board.
    timeout : float
        Seconds to wait for a reply before the packet is sent again.
    attempts : int
        How often a packet is sent before that is an error.

    Attributes
    ----------
    repeated : int
        Packets that were sent again.
    reported : int
        Losses that the board reported.
    """

    def __init__(self, port: SerialPort, layout: LinkLayout, timeout: float = 1.0, attempts: int = 20):
        if not timeout > 0:
            raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
        if attempts < 1:
            raise ValueError(f"attempts must be a positive integer, not {attempts!r}")
        port.timeout = GRACE * timeout
        self.port = port
        self.layout = layout
        self.timeout = timeout
        self.attempts = attempts
        self.repeated = 0
        self.reported = 0
        self._decoder = Decoder()
        self._sequence = 0
        self._probe = 0

    @property
    def damaged(self) -> int:
        """Replies that came damaged."""
        return self._decoder.damaged

    def status(self) -> BoardStatus:
        """Ask the board what it is, and go on with its sequence numbers; must be the first call.

        Raises
        ------
        LinkError
            If there is no answer, or its packets have another version.
        """
        self._probe = (self._probe + 1) % 256
        body = self._exchange(Packet(Kind.STATUS, self._probe))
        if len(body) != sum(STATUS_BODY.values()):
            raise LinkError(f"the board's status has {len(body)} bytes, {sum(STATUS_BODY.values())} are expected")
        fields, start = {}, 0
        for name, size in STATUS_BODY.items():
            fields[name] = int.from_bytes(body[start : start + size], "little")
            start += size
        if fields.pop("version") != VERSION:
            raise LinkError(f"the board speaks version {body[0]} of the link, this program version {VERSION}")
        flags = fields.pop("flags")
        self._sequence = fields["expected"]
        return BoardStatus(ram=bool(flags & 1), ready=bool(flags & 2), **fields)

    def clear(self) -> None:
        """Return the state of the network to zero."""
        self._command(Kind.CLEAR, b"", 0)

    def load(self, chunks: Iterable[bytes], progress: Callable[[int], None] = lambda done: None) -> None:
        """Load a weight image.

        Parameters
        ----------
        chunks : iterable of bytes
            From `lmu_hw.host.link.image_chunks`, of `CHUNK` bytes each.
        progress : callable
            Called with the number of chunks loaded so far.
        """
        self._command(Kind.BEGIN, b"", 0)
        for done, chunk in enumerate(chunks, 1):
            if len(chunk) != CHUNK:
                raise ValueError(f"a chunk must have {CHUNK} bytes, not {len(chunk)}")
            self._command(Kind.IMAGE, chunk, 0)
            progress(done)

    def frame(self, elements: ArrayLike) -> Result | None:
        """Compute one frame.

        Parameters
        ----------
        elements : array_like of int, shape (inputs,)
            In the model's input format.

        Returns
        -------
        Result or None
            None if this frame gives no logits.
        """
        values = np.asarray(elements)
        if values.dtype.kind not in "iu" or values.shape != (self.layout.inputs,):
            raise ValueError(f"a frame must hold {self.layout.inputs} integers, not {values.dtype} {values.shape}")
        mask = (1 << 8 * self.layout.element_bytes) - 1
        size = self.layout.element_bytes
        body = b"".join((int(value) & mask).to_bytes(size, "little") for value in values)
        reply = self._command(Kind.FRAME, body, self.layout.result_bytes)
        return self._result(reply) if reply else None

    def _result(self, body: bytes) -> Result:
        size = self.layout.score_bytes
        words = [
            int.from_bytes(body[at : at + size], "little", signed=self.layout.score_signed)
            for at in range(1, len(body), size)
        ]
        return Result(body[0], words[-1], np.array(words[:-1], np.int64))

    def _command(self, kind: Kind, body: bytes, longest: int) -> bytes:
        """Have the board execute something once; the body of its reply, empty or of the length given."""
        reply = self._exchange(Packet(kind, self._sequence, body))
        if len(reply) not in (0, longest):
            raise LinkError(f"the board's reply to {kind.name} has {len(reply)} bytes, not {longest}")
        self._sequence = (self._sequence + 1) % 256
        return reply

    def _exchange(self, packet: Packet) -> bytes:
        """Send a packet until the reply to it comes; the reply's body."""
        data = encode(packet)
        for attempt in range(self.attempts):
            self.repeated += attempt > 0
            self.port.write(data)
            reply = self._await(packet)
            if reply is not None:
                return reply.body
        raise LinkError(
            f"no reply to {Kind(packet.kind).name} after {self.attempts} attempts of {self.timeout:g} s each"
        )

    def _await(self, packet: Packet) -> Packet | None:
        """Reply to a packet, or nothing within the time limit; replies to earlier packets are passed over."""
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            for reply in self._decoder.feed(self.port.read(max(1, self.port.in_waiting))):
                if reply.kind == packet.kind | REPLY and reply.sequence == packet.sequence:
                    return reply
                if self._told_of_a_loss(packet, reply):
                    deadline = min(deadline, time.monotonic() + GRACE * self.timeout)
        return None

    def _told_of_a_loss(self, packet: Packet, reply: Packet) -> bool:
        """Whether the board tells that it lost a packet; an error if it refused this one."""
        if reply.kind != ERROR or len(reply.body) != 2:
            return False
        if reply.body[0] in (Refusal.DAMAGED, Refusal.OVERFLOW):
            self.reported += 1
            return True
        if reply.sequence == packet.sequence:
            why = REASONS.get(reply.body[0], f"for a reason of number {reply.body[0]}")
            raise LinkError(f"the board refused {Kind(packet.kind).name}: {why}")
        return False
