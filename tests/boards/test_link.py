"""The packets, byte by byte, and what is no packet."""

import zlib

import numpy as np
import pytest

from lmu_hw.export.emit import weight_image
from lmu_hw.host.link import CHUNK, Decoder, LinkLayout, Packet, encode, image_chunks


def random_packets(rng, count, longest=60):
    """Many of their bytes are flags and escapes."""
    found = []
    for _ in range(count):
        body = rng.integers(0, 256, int(rng.integers(0, longest)))
        body[rng.random(len(body)) < 0.3] = 0x7E
        body[rng.random(len(body)) < 0.2] = 0x7D
        kind, sequence = (int(value) for value in rng.integers(0, 256, 2))
        found.append(Packet(kind, sequence, body.astype(np.uint8).tobytes()))
    return found


def garbage(rng, longest=40):
    """Bytes that end with a flag."""
    return rng.integers(0, 256, int(rng.integers(0, longest))).astype(np.uint8).tobytes() + b"\x7e"


def test_the_bytes_of_a_packet():
    checksum = zlib.crc32(b"\x03\x7e\x01\x7d\xff").to_bytes(4, "little")
    assert not {0x7D, 0x7E} & set(checksum)
    wanted = b"\x7e\x03\x7d\x5e\x01\x7d\x5d\xff" + checksum + b"\x7e"
    assert encode(Packet(3, 0x7E, b"\x01\x7d\xff")) == wanted


def test_the_checksum_is_the_one_of_the_catalogues():
    """Check value of CRC-32/ISO-HDLC."""
    assert encode(Packet(ord("1"), ord("2"), b"3456789")) == b"\x7e123456789\x26\x39\xf4\xcb\x7e"


def test_an_escape_in_the_checksum():
    escaped = [encode(Packet(1, n)) for n in range(256) if {0x7D, 0x7E} & set(zlib.crc32(bytes([1, n])).to_bytes(4))]
    assert escaped
    for data in escaped:
        assert len(data) > 8
        assert data.count(0x7E) == 2


def test_packets_are_found_between_garbage_whatever_the_pieces():
    rng = np.random.default_rng(1)
    packets = random_packets(rng, 300)
    data = b"".join(part for packet in packets for part in (garbage(rng), encode(packet)))
    decoder = Decoder()
    found = []
    while data:
        size = int(rng.integers(1, 200))
        found += decoder.feed(data[:size])
        data = data[size:]
    assert found == packets
    assert decoder.damaged > 250


def test_each_single_bit_error_is_noticed():
    packet = Packet(3, 5, bytes(range(0x70, 0x90)))
    data = encode(packet)
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        in_a_flag = bit // 8 in (0, len(data) - 1)
        found = Decoder().feed(b"\x7e" + bytes(broken) + b"\x7e")
        assert found in ([], [packet]) if in_a_flag else found == []


@pytest.mark.parametrize("content", [b"", b"\x7d", b"12345", b"\x7d\x7d", b"123456\x7d"])
def test_what_is_no_packet(content):
    decoder = Decoder()
    assert decoder.feed(b"\x7e" + content + b"\x7e") == []
    assert decoder.damaged == bool(content)


def test_the_layout_of_a_model(ram_plan, rom_plan):
    layout = LinkLayout.of(ram_plan)
    assert (layout.inputs, layout.outputs) == (ram_plan.model.inputs, ram_plan.model.outputs)
    assert layout.frame_bytes == ram_plan.model.inputs * -(-ram_plan.model.input.width // 8)
    assert layout.result_bytes == 1 + (ram_plan.model.outputs + 1) * -(-ram_plan.output.width // 8)
    assert layout.longest_body == CHUNK
    assert LinkLayout.of(rom_plan).image == ()
    assert LinkLayout.of(rom_plan).longest_body == LinkLayout.of(rom_plan).frame_bytes


def test_a_layout_that_does_not_fit():
    with pytest.raises(ValueError, match="at most 256 labels, not 257"):
        LinkLayout(3, 257, 1, 1, True, ())
    with pytest.raises(ValueError, match="at most 4096 bytes, not 5000"):
        LinkLayout(2500, 10, 2, 1, True, ())


def test_the_image_is_that_of_the_weights_file(ram_plan):
    data = b"".join(image_chunks(ram_plan))
    layout = LinkLayout.of(ram_plan)
    assert len(data) % CHUNK == 0
    sizes = [size for _, size in layout.image]
    words = []
    at = 0
    for line in weight_image(ram_plan).splitlines():
        memory, _, word = (int(field, 16) for field in line.split())
        words.append((int.from_bytes(data[at : at + sizes[memory]], "little"), word))
        at += sizes[memory]
    assert all(found == wanted for found, wanted in words)
    assert at == layout.image_bytes
    assert set(data[at:]) <= {0}
