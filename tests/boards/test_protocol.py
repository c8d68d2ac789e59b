"""The rules of the link, packet by packet, on a whole board in simulation."""

import numpy as np
import pytest
import serial

from lmu_hw.boards import board_verilog, design_number
from lmu_hw.export.emit import to_verilog
from lmu_hw.host.link import (
    CHUNK,
    ERROR,
    REPLY,
    VERSION,
    Decoder,
    Kind,
    LinkLayout,
    Packet,
    Refusal,
    encode,
    image_chunks,
)
from lmu_hw.model.golden import Golden, decide
from lmu_sim.testing.random_models import random_frames

PATIENCE_S = 30.0


class Line:
    """A serial port, packet by packet."""

    def __init__(self, port, plan):
        self.port = port
        self.plan = plan
        self.decoder = Decoder()
        self.replies = []

    def send(self, data):
        self.port.write(data if isinstance(data, bytes) else encode(data))

    def reply(self):
        while not self.replies:
            self.port.timeout = PATIENCE_S
            data = self.port.read(max(1, self.port.in_waiting))
            assert data, "the board did not reply"
            self.replies += self.decoder.feed(data)
        return self.replies.pop(0)

    def ask(self, kind, sequence, body=b""):
        self.send(Packet(kind, sequence, body))
        return self.reply()

    def refused(self, kind, sequence, body=b""):
        """Why a packet is refused, and the sequence number that the board expects."""
        kind, echoed, body = self.ask(kind, sequence, body)
        assert (kind, echoed) == (ERROR, sequence)
        return Refusal(body[0]), body[1]

    def status(self):
        """Flags, expected sequence number, design, counts."""
        kind, sequence, body = self.ask(Kind.STATUS, 99)
        assert (kind, sequence, body[0], len(body)) == (Kind.STATUS | REPLY, 99, VERSION, 13)
        counts = tuple(int.from_bytes(body[at : at + 2], "little") for at in (7, 9, 11))
        return body[1], body[2], int.from_bytes(body[3:7], "little"), *counts

    def frame_body(self, frame):
        size = -(-self.plan.model.input.width // 8)
        return b"".join(int(value).to_bytes(size, "little", signed=value < 0) for value in frame)

    def result(self, logits):
        size = -(-self.plan.output.width // 8)
        label, score = decide(logits)
        words = [*logits, score]
        return bytes([label]) + b"".join(int(word).to_bytes(size, "little", signed=word < 0) for word in words)


@pytest.fixture
def line(ram_plan, ram_board):
    with ram_board, serial.Serial(ram_board.port) as port:
        yield Line(port, ram_plan)


def load(line, sequence=0):
    """Greet the board and load the weights; the next sequence number."""
    line.status()
    for kind, body in [(Kind.BEGIN, b""), *((Kind.IMAGE, chunk) for chunk in image_chunks(line.plan))]:
        assert line.ask(kind, sequence, body) == (kind | REPLY, sequence, b"")
        sequence = (sequence + 1) % 256
    return sequence


def test_every_reply_of_a_session_without_faults(line, ram_plan):
    design = design_number(to_verilog(ram_plan))
    assert line.status() == (0b01, 0, design, 0, 0, 0)
    sequence = load(line)
    assert line.status() == (0b11, sequence, design, 0, 0, 0)
    model = ram_plan.model
    frames = random_frames(np.random.default_rng(1), model, 2, 9)
    for clip in frames:
        wanted = iter(Golden(model).run(clip[None])["logits"][0])
        assert line.ask(Kind.CLEAR, sequence) == (Kind.CLEAR | REPLY, sequence, b"")
        for number, frame in enumerate(clip):
            sequence = (sequence + 1) % 256
            body = line.result(next(wanted)) if (number + 1) % ram_plan.period == 0 else b""
            assert line.ask(Kind.FRAME, sequence, line.frame_body(frame)) == (Kind.FRAME | REPLY, sequence, body)
        sequence = (sequence + 1) % 256
    assert line.status() == (0b11, sequence, design, 0, 0, 0)


def test_what_is_refused_has_no_effect(line, ram_plan):
    frame = bytes(LinkLayout.of(ram_plan).frame_bytes)
    for kind, body in ((Kind.CLEAR, b""), (Kind.FRAME, frame), (Kind.BEGIN, b""), (Kind.IMAGE, bytes(CHUNK))):
        assert line.refused(kind, 0, body) == (Refusal.RESET, 0)
    line.status()
    assert line.refused(Kind.FRAME, 0, frame) == (Refusal.WEIGHTS, 0)
    sequence = load(line)
    assert line.refused(Kind.IMAGE, sequence, bytes(CHUNK)) == (Refusal.WEIGHTS, sequence)
    for kind in (0, 6, 0x55, 0x83, 0xFF):
        assert line.refused(kind, sequence) == (Refusal.KIND, sequence)
    for kind, body in (
        (Kind.CLEAR, b"x"),
        (Kind.FRAME, frame[1:]),
        (Kind.FRAME, frame + b"x"),
        (Kind.BEGIN, b"x"),
        (Kind.IMAGE, bytes(CHUNK - 1)),
    ):
        assert line.refused(kind, sequence, body) == (Refusal.LENGTH, sequence)
    for wrong in (sequence + 1, sequence - 2, sequence + 128):
        assert line.refused(Kind.CLEAR, wrong % 256) == (Refusal.SEQUENCE, sequence)
    assert line.refused(Kind.CLEAR, sequence - 1) == (Refusal.SEQUENCE, sequence)  # the latest one was another kind
    assert line.status()[:2] == (0b11, sequence)
    assert line.status()[3:] == (0, 0, 4 + 1 + 1 + 5 + 5 + 4)
    assert line.ask(Kind.CLEAR, sequence) == (Kind.CLEAR | REPLY, sequence, b"")


def test_a_repeated_packet_is_answered_again_and_executed_once(line, ram_plan):
    sequence = load(line)
    model = ram_plan.model
    (clip,) = random_frames(np.random.default_rng(2), model, 1, 6)
    wanted = Golden(model).run(clip[None])["logits"][0]
    replies = []
    for frame in clip:
        packet = Packet(Kind.FRAME, sequence, line.frame_body(frame))
        for _ in range(3):
            line.send(packet)
            replies.append(line.reply())
        sequence = (sequence + 1) % 256
    assert replies[0::3] == replies[1::3] == replies[2::3]
    bodies = [reply.body for reply in replies[0::3] if reply.body]
    assert bodies == [line.result(logits) for logits in wanted]


def test_garbage_between_packets_is_told_of_once_and_harmless(line, ram_plan):
    sequence = load(line)
    rng = np.random.default_rng(3)
    for length in (1, 5, 40, 3000):
        noise = rng.integers(0, 256, length).astype(np.uint8).tobytes().replace(b"\x7e", b"\x00")
        line.send(noise)
        line.send(Packet(Kind.CLEAR, sequence))
        why = Refusal.DAMAGED if length < CHUNK else Refusal.OVERFLOW
        assert line.reply() == (ERROR, 0, bytes([why, sequence]))
        assert line.reply() == (Kind.CLEAR | REPLY, sequence, b"")
        sequence = (sequence + 1) % 256
    assert line.status()[3:] == (3, 1, 0)


def test_a_packet_that_comes_before_the_reply_is_lost_and_told_of(line):
    line.send(encode(Packet(Kind.STATUS, 7)) + encode(Packet(Kind.STATUS, 8)))
    assert line.reply()[:2] == (Kind.STATUS | REPLY, 7)
    assert line.reply() == (ERROR, 0, bytes([Refusal.OVERFLOW, 0]))
    assert line.status()[3:] == (0, 1, 0)


def test_the_state_and_the_weights_are_gone_after_the_button(line, ram_plan, ram_board):
    load(line)
    ram_board.press_button()
    frame = bytes(LinkLayout.of(ram_plan).frame_bytes)
    for _ in range(1000):  # until the button was seen
        kind, _, body = line.ask(Kind.FRAME, 200, frame)
        assert kind == ERROR
        if body[0] == Refusal.RESET:
            break
    else:
        pytest.fail("the board was not reset")
    assert line.status()[:2] == (0b01, 0)


def test_the_top_is_the_same_bytes_each_time(rom_plan, tops):
    assert board_verilog(rom_plan, "ulx3s") == tops["ulx3s"]
