"""An SPI host in cocotb: transfers at any speed, cut short anywhere, with bits that flip."""

import random
from typing import Any

from cocotb.triggers import Timer

from lmu_hw.host.spi import CS_HIGH_CYCLES, MARK, STATUS_BITS, Command

__all__ = ["SpiHost"]


class SpiHost:
    """The host's end of SPI, in mode 0.

    Parameters
    ----------
    dut : cocotb handle
        With the pins of ``NAME_spi``.
    rng : random.Random
        Decides on times.
    cycle : int
        Nanoseconds of a clock cycle.
    half_period : (int, int)
        Nanoseconds for which SCK stays high or low: least and most, drawn anew each time.
    """

    def __init__(self, dut: Any, rng: random.Random, cycle: int, half_period: tuple[int, int]):
        self.dut, self.rng, self.cycle, self.half_period = dut, rng, cycle, half_period
        self.violations: list[str] = []
        self.seen = 0
        dut.sck.value = 0
        dut.cs_n.value = 1

    async def _wait(self) -> None:
        await Timer(self.rng.randint(*self.half_period), unit="ns")

    async def transfer(
        self, data: bytes, receive: int = 0, bits: int | None = None, pause: float = 0.0, flip: int | None = None
    ) -> bytes:
        """One transfer.

        Parameters
        ----------
        data : bytes
            What is sent.
        receive : int
            Bytes to clock after them.
        bits : int, optional
            Ends the transfer after so many bits.
        pause : float
            Probability of a long pause after a byte.
        flip : int, optional
            Bit that arrives wrong at the device.

        Returns
        -------
        bytes
            The whole bytes that the device sent, the status byte first.
        """
        word = int.from_bytes(data + bytes(receive), "big")
        length = 8 * (len(data) + receive)
        got = 0
        count = length if bits is None else bits
        self.dut.cs_n.value = 0
        for index in range(count):
            bit = word >> (length - 1 - index) & 1 if index < length else self.rng.getrandbits(1)
            self.dut.mosi.value = bit ^ (index == flip)
            await self._wait()
            got = got << 1 | int(self.dut.miso.value)
            self.dut.sck.value = 1
            await self._wait()
            self.dut.sck.value = 0
            if index % 8 == 7 and self.rng.random() < pause:
                await Timer(self.rng.randint(1, 400) * self.cycle, unit="ns")
        await self._wait()
        self.dut.cs_n.value = 1
        await Timer(CS_HIGH_CYCLES * self.cycle + self.rng.randint(0, 2 * self.cycle), unit="ns")
        whole = (got >> count % 8).to_bytes(count // 8, "big")
        if whole:
            self.seen = whole[0]
            if whole[0] >> 6 != MARK:
                self.violations.append(f"status byte {whole[0]:02x} has no mark")
        return whole

    def bit(self, name: str) -> bool:
        """A bit of the latest status byte."""
        return bool(self.seen >> [bit.name for bit in STATUS_BITS].index(name) & 1)

    async def status(self, name: str) -> bool:
        """A bit of the status byte, now."""
        await self.transfer(bytes([Command.STATUS]))
        return self.bit(name)

    async def read(self, address: int) -> int:
        """Value of a register."""
        got = await self.transfer(bytes([Command.READ, address]), 4)
        return int.from_bytes(got[2:], "little")

    async def write(self, address: int, *values: int, flip: int | None = None) -> None:
        """Write values to a register."""
        data = b"".join(value.to_bytes(4, "little") for value in values)
        await self.transfer(bytes([Command.WRITE, address]) + data, flip=flip)

    async def frame(
        self, values: tuple[int, ...], size: int, end: bool = False, bits: int | None = None, pause: float = 0.0
    ) -> None:
        """Send a frame of elements of `size` bytes; `bits` counts those of the elements."""
        mask = (1 << 8 * size) - 1
        data = b"".join((value & mask).to_bytes(size, "little") for value in values)
        command = Command.FRAME_END if end else Command.FRAME
        await self.transfer(bytes([command]) + data, bits=None if bits is None else 8 + bits, pause=pause)

    async def result(
        self, labels: int, label_size: int, score_size: int, signed: bool
    ) -> tuple[int, int, int, list[int]]:
        """Number, label, score and logits of the latest result."""
        got = await self.transfer(bytes([Command.RESULT]), 1 + label_size + score_size * (1 + labels))
        number, rest = got[1], got[2:]
        label, rest = int.from_bytes(rest[:label_size], "little"), rest[label_size:]
        scores = [
            int.from_bytes(rest[at : at + score_size], "little", signed=signed)
            for at in range(0, len(rest), score_size)
        ]
        return number, label, scores[0], scores[1:]
