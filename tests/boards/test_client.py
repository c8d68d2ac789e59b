"""The host's side: exact over a bad line, and an error where it cannot be."""

import numpy as np
import pytest
import serial

from lmu_hw.boards import BoardClient, LinkError
from lmu_hw.host.link import (
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
    image_chunks,
)
from lmu_hw.model.golden import Golden, decide
from lmu_sim.serial_bridge import LineFaults
from lmu_sim.testing.random_models import random_frames


class Board:
    """A board that answers by a script: for each packet the bytes that come back."""

    timeout: float | None = None
    in_waiting = 0

    def __init__(self, *answers):
        self.answers = list(answers)
        self.packets = []
        self.waiting = b""
        self.decoder = Decoder()

    def write(self, data):
        for packet in self.decoder.feed(data):
            self.packets.append(packet)
            if self.answers:
                self.waiting += self.answers.pop(0)(packet)

    def read(self, size=1):
        data, self.waiting = self.waiting[:size], self.waiting[size:]
        return data


def layout(**changes):
    given = {"inputs": 2, "outputs": 2, "element_bytes": 1, "score_bytes": 2, "score_signed": True, "image": ()}
    return LinkLayout(**(given | changes))


def reply(body=b"", kind=None, sequence=None):
    def answer(packet):
        replied = packet.kind | REPLY if kind is None else kind
        return encode(Packet(replied, packet.sequence if sequence is None else sequence, body))

    return answer


def nothing(packet):
    return b""


def status(version=VERSION, expected=0):
    return reply(bytes([version, 2, expected]) + bytes(sum(STATUS_BODY.values()) - 3))


def refusal(why, sequence=None):
    return reply(bytes([why, 0]), ERROR, sequence)


RESULT = b"\x01" + (-300).to_bytes(2, "little", signed=True) + b"\x05\x00" + b"\x05\x00"


def client_of(*answers, **options):
    board = Board(*answers)
    return BoardClient(board, layout(), timeout=0.05, **options), board


def test_what_is_sent_and_what_is_read():
    client, board = client_of(status(expected=255), reply(), reply(RESULT), reply())
    assert client.status().expected == 255
    client.clear()
    result = client.frame(np.array([-1, 127]))
    assert (result.label, result.score, result.logits.tolist()) == (1, 5, [-300, 5])
    assert client.frame(np.array([0, -128])) is None
    kinds = [(packet.kind, packet.sequence, packet.body) for packet in board.packets[1:]]
    assert kinds == [(Kind.CLEAR, 255, b""), (Kind.FRAME, 0, b"\xff\x7f"), (Kind.FRAME, 1, b"\x00\x80")]
    assert (client.repeated, client.reported, client.damaged) == (0, 0, 0)


def test_lost_packets_and_replies_are_sent_again_under_the_same_number():
    def damaged(packet):
        return encode(Packet(packet.kind | REPLY, packet.sequence))[:-3] + b"\x7e"

    losses = (nothing, damaged, refusal(Refusal.DAMAGED, 0), refusal(Refusal.OVERFLOW, 0))
    client, board = client_of(status(), *losses, reply())
    client.status()
    client.clear()
    assert [(packet.kind, packet.sequence) for packet in board.packets[1:]] == [(Kind.CLEAR, 0)] * 5
    assert (client.repeated, client.reported, client.damaged) == (4, 2, 1)


def test_replies_to_earlier_packets_are_passed_over():
    def late(packet):
        return encode(Packet(Kind.FRAME | REPLY, 0, RESULT)) + encode(Packet(Kind.FRAME | REPLY, 1))

    client, _ = client_of(status(), reply(RESULT), late)
    client.status()
    assert client.frame(np.array([1, 2])) is not None
    assert client.frame(np.array([1, 2])) is None


@pytest.mark.parametrize(
    ("why", "message"),
    [
        (Refusal.KIND, "refused CLEAR: it knows no such packet"),
        (Refusal.LENGTH, "refused CLEAR: the length"),
        (Refusal.SEQUENCE, "refused CLEAR: the sequence number"),
        (Refusal.WEIGHTS, "refused CLEAR: its weights"),
        (Refusal.RESET, "refused CLEAR: it was reset meanwhile"),
        (77, "refused CLEAR: for a reason of number 77"),
    ],
)
def test_a_refusal_is_an_error(why, message):
    client, board = client_of(status(), refusal(why))
    client.status()
    with pytest.raises(LinkError, match=message):
        client.clear()
    assert len(board.packets) == 2


def test_a_board_that_does_not_answer_or_not_as_it_should():
    client, board = client_of(attempts=3)
    with pytest.raises(LinkError, match=r"no reply to STATUS after 3 attempts of 0.05 s each"):
        client.status()
    assert len(board.packets) == 3
    with pytest.raises(LinkError, match="speaks version 9 of the link, this program version 1"):
        client_of(status(version=9))[0].status()
    with pytest.raises(LinkError, match="status has 3 bytes, 13 are expected"):
        client_of(reply(b"123"))[0].status()
    client, _ = client_of(status(), reply(RESULT + b"x"))
    client.status()
    with pytest.raises(LinkError, match="reply to FRAME has 8 bytes, not 7"):
        client.frame(np.array([1, 2]))


def test_what_a_client_does_not_take():
    client, _ = client_of(status(), reply())
    client.status()
    with pytest.raises(ValueError, match="a frame must hold 2 integers, not int64"):
        client.frame(np.array([1, 2, 3]))
    with pytest.raises(ValueError, match="a frame must hold 2 integers, not float64"):
        client.frame(np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="a chunk must have 256 bytes, not 3"):
        client.load([b"abc"])
    with pytest.raises(ValueError, match="timeout must be a number of seconds above 0, not 0"):
        BoardClient(Board(), layout(), timeout=0)
    with pytest.raises(ValueError, match="attempts must be a positive integer, not 0"):
        BoardClient(Board(), layout(), attempts=0)


@pytest.mark.parametrize(
    "faults",
    [
        LineFaults(flip=0.01, seed=1),
        LineFaults(drop=0.01, seed=2),
        LineFaults(insert=0.01, seed=3),
        LineFaults(flip=0.003, drop=0.003, insert=0.003, seed=4),
    ],
    ids=["bit errors", "dropped bytes", "inserted bytes", "all of them"],
)
def test_exact_over_a_bad_line(faults, ram_plan, ram_board, monkeypatch):
    """The weights too come over that line."""
    model = ram_plan.model
    clips = random_frames(np.random.default_rng(faults.seed), model, 2, 10)
    wanted = Golden(model).run(clips)["logits"]
    monkeypatch.setattr(ram_board, "faults", faults)
    with ram_board, serial.Serial(ram_board.port) as port:
        client = BoardClient(port, LinkLayout.of(ram_plan), timeout=0.1, attempts=200)
        client.status()
        client.load(image_chunks(ram_plan))
        for clip, logits in zip(clips, wanted, strict=True):
            client.clear()
            results = [result for frame in clip if (result := client.frame(frame)) is not None]
            assert [result.logits.tolist() for result in results] == logits.tolist()
            assert [result.label for result in results] == decide(logits)[0].tolist()
        assert client.repeated > 3
        assert client.reported + client.damaged > 0


def test_a_reset_in_the_middle_is_noticed(rom_plan, rom_board):
    frames = random_frames(np.random.default_rng(1), rom_plan.model, 1, 2000)[0]
    with rom_board, serial.Serial(rom_board.port) as port:
        client = BoardClient(port, LinkLayout.of(rom_plan), timeout=5.0)
        client.status()
        assert all(client.frame(frame) is not None for frame in frames[:3])
        rom_board.press_button()
        with pytest.raises(LinkError, match="it was reset meanwhile"):
            all(client.frame(frame) is not None for frame in frames)


@pytest.mark.parametrize("name", ["flip", "drop", "insert"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_probabilities(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a probability, not {value}"):
        LineFaults(**{name: value})
