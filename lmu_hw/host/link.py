"""The link between a host and a board: packets on a serial line.

A packet is ``kind, sequence number, body, checksum`` between two flags, in the octet-stuffed framing of RFC 1662 (PPP
in HDLC-like framing). The flag is 0x7E. A 0x7E or 0x7D inside is sent as 0x7D and the byte with bit 5 inverted. The
checksum is the CRC-32 of all before it, least significant byte first. Anything else on the line ends with the next
flag. Numbers of several bytes have the least significant byte first; signed ones are in two's complement.
"""

import enum
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from lmu_hw.plan.config import WeightStore
from lmu_hw.plan.plan import Plan

__all__ = [
    "CHUNK",
    "ERROR",
    "ESCAPE",
    "FLAG",
    "INVERT",
    "REPLY",
    "STATUS_BODY",
    "VERSION",
    "Decoder",
    "Kind",
    "LinkLayout",
    "Packet",
    "Refusal",
    "encode",
    "image_chunks",
]

VERSION = 1
"""Of the packets."""

FLAG, ESCAPE, INVERT = 0x7E, 0x7D, 0x20
"""Framing of RFC 1662, sections 4.1 and 4.2."""

OVERHEAD = 6
"""Bytes of a packet beside its body: kind, sequence number, checksum."""

CHUNK = 256
"""Bytes of the weight image in a packet."""

LONGEST_BODY = 4096
"""Bytes of a body; a board holds one."""

REPLY = 0x80
"""Is added to the kind of a packet in the reply to it."""

ERROR = 0xFF
"""Kind of the reply to a packet that was refused."""


class Kind(enum.IntEnum):
    """What a packet asks for; all but STATUS have an effect, and count in the sequence."""

    STATUS = 1
    """Nothing. The body of the reply is `STATUS_BODY`."""
    CLEAR = 2
    """Return the state of the network to zero. The reply has no body."""
    FRAME = 3
    """Compute one frame: its elements, in whole bytes each. The body of the reply is the label of the decision (one
    byte), the logits and the score, in whole bytes each; or nothing, if this frame gives no logits."""
    BEGIN = 4
    """With weights in RAM: a weight image follows. No frame is taken until it is whole. The reply has no body."""
    IMAGE = 5
    """With weights in RAM: the next `CHUNK` bytes of the weight image. The reply has no body."""


class Refusal(enum.IntEnum):
    """Why a packet was refused; it had no effect."""

    DAMAGED = 1
    """Wrong checksum, a stop bit that was 0, or too short; the sequence number of the reply is 0 then."""
    OVERFLOW = 2
    """Longer than any packet, or it came before the reply to the one before; the sequence number of the reply is 0."""
    KIND = 3
    """The board knows no such kind."""
    LENGTH = 4
    """The body has another length than it must have."""
    SEQUENCE = 5
    """The sequence number is neither the next one nor that of the latest packet."""
    WEIGHTS = 6
    """A frame before the weight image was whole, or a chunk after it."""
    RESET = 7
    """The board was reset, and STATUS was not asked for since: a host that did not notice must not go on."""


STATUS_BODY = {"version": 1, "flags": 1, "expected": 1, "design": 4, "damaged": 2, "overflows": 2, "refused": 2}
"""Fields of the reply to STATUS, in order, with their bytes. ``version`` is that of the packets. Bit 0 of ``flags``:
weights in RAM; bit 1: all weights are loaded. ``expected`` is the next sequence number. The last three count packets
since reset, modulo 65536: damaged, overflowed, refused for another reason."""


class Packet(NamedTuple):
    """What is between two flags, without the checksum.

    Parameters
    ----------
    kind : int
        A `Kind`; in replies with `REPLY` added, or `ERROR`.
    sequence : int
        0 to 255.
    body : bytes
        The rest.
    """

    kind: int
    sequence: int
    body: bytes = b""


def encode(packet: Packet) -> bytes:
    """Bytes of a packet on the line, from flag to flag."""
    content = bytes([packet.kind, packet.sequence]) + packet.body
    content += zlib.crc32(content).to_bytes(4, "little")
    stuffed = bytearray([FLAG])
    for byte in content:
        stuffed += bytes([ESCAPE, byte ^ INVERT]) if byte in (FLAG, ESCAPE) else bytes([byte])
    return bytes(stuffed) + bytes([FLAG])


class Decoder:
    """Finds the packets in what comes from the line.

    Attributes
    ----------
    damaged : int
        How often something between two flags was no packet.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._content = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes from the line; the packets that they complete."""
        packets = []
        for byte in data:
            if byte != FLAG:
                self._content.append(byte)
                continue
            packet = _unpacked(bytes(self._content))
            if packet is not None:
                packets.append(packet)
            elif self._content:
                self.damaged += 1
            self._content.clear()
        return packets


def _unpacked(stuffed: bytes) -> Packet | None:
    """Packet between two flags, or nothing if it is none."""
    first, *escaped = stuffed.split(bytes([ESCAPE]))
    if not all(escaped):
        return None
    content = first + b"".join(bytes([part[0] ^ INVERT]) + part[1:] for part in escaped)
    if len(content) < OVERHEAD or zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
        return None
    return Packet(content[0], content[1], content[2:-4])


def _whole_bytes(width: int) -> int:
    return -(-width // 8)


@dataclass(frozen=True)
class LinkLayout:
    """Sizes of the bodies for an accelerator.

    Parameters
    ----------
    inputs, outputs : int
        Elements of a frame; labels, at most 256.
    element_bytes, score_bytes : int
        Of an element, and of a logit.
    score_signed : bool
        Whether logits are signed.
    image : tuple of (int, int)
        With weights in RAM, words and bytes of a word of each memory in the order of the weight image; else empty.

    Raises
    ------
    ValueError
        If a label does not fit into a byte, or a body is longer than `LONGEST_BODY`.
    """

    inputs: int
    outputs: int
    element_bytes: int
    score_bytes: int
    score_signed: bool
    image: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if self.outputs > 256:
            raise ValueError(f"a board's link takes at most 256 labels, not {self.outputs}")
        longest = max(self.frame_bytes, self.result_bytes)
        if longest > LONGEST_BODY:
            raise ValueError(f"a board's link takes frames and results of at most {LONGEST_BODY} bytes, not {longest}")

    @classmethod
    def of(cls, plan: Plan) -> "LinkLayout":
        """Layout for a plan, which must answer each frame before the next one."""
        if plan.config.frames_per_fetch > 1:
            raise ValueError(f"a board's link needs frames_per_fetch 1, not {plan.config.frames_per_fetch}")
        if plan.model.gate is not None:
            raise ValueError("a board's link needs a network without a gate: it waits for the logits of every frame")
        ram = plan.config.weights is WeightStore.RAM
        memories = (*plan.weight_memories, plan.parameters) if ram else ()
        return cls(
            inputs=plan.model.inputs,
            outputs=plan.model.outputs,
            element_bytes=_whole_bytes(plan.model.input.width),
            score_bytes=_whole_bytes(plan.output.width),
            score_signed=plan.output.signed,
            image=tuple((memory.depth, _whole_bytes(memory.width)) for memory in memories),
        )

    @property
    def frame_bytes(self) -> int:
        """Body of a frame."""
        return self.inputs * self.element_bytes

    @property
    def result_bytes(self) -> int:
        """Body of the reply to a frame that gives logits."""
        return 1 + (self.outputs + 1) * self.score_bytes

    @property
    def image_bytes(self) -> int:
        """All words of the weight image."""
        return sum(words * size for words, size in self.image)

    @property
    def longest_body(self) -> int:
        """Longest body that a board takes."""
        return max(self.frame_bytes, CHUNK if self.image else 0)


def image_chunks(plan: Plan) -> list[bytes]:
    """Bodies of the IMAGE packets: words of the weight image in order, in whole bytes each; zeros after the last."""
    images = plan.images()
    memories = (*plan.weight_memories, plan.parameters)
    data = b"".join(
        word.to_bytes(_whole_bytes(memory.width), "little") for memory in memories for word in images[memory.name]
    )
    return [data[start : start + CHUNK].ljust(CHUNK, b"\0") for start in range(0, len(data), CHUNK)]
