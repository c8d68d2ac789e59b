"""The SPI protocol of the accelerator: commands, status and timing, for gateware, hosts and documentation."""

import enum
from dataclasses import dataclass

__all__ = ["CS_HIGH_CYCLES", "FOLLOWS", "HALF_PERIOD_CYCLES", "MARK", "STATUS_BITS", "Command", "StatusBit", "markdown"]

HALF_PERIOD_CYCLES = 4
"""Least clock cycles for which SCK is high, and low, and from an edge of CS_N to one of SCK."""

CS_HIGH_CYCLES = 8
"""Least clock cycles between two commands."""

MARK = 0b10
"""Bits 7:6 of every status byte, by which a wire that is stuck is noticed."""


class Command(enum.IntEnum):
    """First byte of a transfer."""

    STATUS = 0
    WRITE = 1
    READ = 2
    FRAME = 3
    FRAME_END = 4
    RESULT = 5


FOLLOWS = {
    Command.STATUS: "nothing",
    Command.WRITE: "host: address (1 byte), then 4 bytes for each value; every value goes to the same register",
    Command.READ: "host: address (1 byte); device: 4 bytes for each value, read anew each time",
    Command.FRAME: "host: elements of a frame, each in whole bytes; the frame ends with the transfer",
    Command.FRAME_END: "as FRAME; under the state policy utterance, the utterance ends with the frame",
    Command.RESULT: "device: number (1 byte, counts results modulo 256), label, score, logits in order; then zeros",
}
"""What is sent after each command; values of several bytes go lowest byte first."""


@dataclass(frozen=True)
class StatusBit:
    """One bit of the status byte.

    Parameters
    ----------
    name : str
        One word.
    meaning : str
        For the documentation.
    """

    name: str
    meaning: str


STATUS_BITS = (
    StatusBit("irq", "the interrupt pin is high"),
    StatusBit("busy", "as in the register STATUS"),
    StatusBit("room", "a frame can be sent"),
    StatusBit("result", "a result came since RESULT was asked for last"),
    StatusBit("refused", "an access to a register in the transfer before was refused, or its command is unknown"),
)
"""By bit, from bit 0 on."""

TEXT = f"""\
# The SPI wrapper

`lmu-hw verilog --interface spi` writes the core as `NAME.v` and around it `NAME_spi.v`: an SPI device for a
microcontroller, with the [registers](registers.md), an interrupt, and a core that sleeps. This page is made from
`lmu_hw/host/spi.py`, which the hardware is made from too. The ports are in the [port reference](ports.md).

## Wires

Mode 0: SCK rests low, both sides take a bit at its rising edge and change it at the falling one; bit 7 of a byte
comes first. A transfer lasts while `cs_n` is low. `miso_enable` is high while the device drives MISO, for a pad with
three states. `irq` is high while a bit of IRQ_STATUS is set that IRQ_ENABLE has too.

Everything runs on `clk`; SCK, `cs_n` and MOSI are sampled through two flip-flops each. So there is one clock, no data
that crosses between clocks, and nothing to constrain but false paths from the three pins. The price is the ratio: SCK
is high and low for {HALF_PERIOD_CYCLES} cycles of `clk` or longer (SCK at most `clk` / {2 * HALF_PERIOD_CYCLES}),
`cs_n` falls and rises so long before and after an edge of SCK, and is high for {CS_HIGH_CYCLES} cycles between
transfers. A frame of 40 bytes in 20 ms needs 16.4 kbit/s, a clock that computes in real time allows several times
that.

Reset is synchronous and lasts 4 cycles or longer with `cs_n` high. A reset ends a transfer that is under way.

## Transfers

The first byte that the host sends is the command; meanwhile the device sends its status byte. A transfer that ends
early is as if it had ended with the last whole value; a frame that ends early, or in the middle of an element, has a
wrong length and is dropped (FRAME_ERRORS).

"""

REST = """
There is no back pressure on SPI. A frame whose first element finds the one before still waiting is dropped whole
(OVERRUNS, and `overrun` in IRQ_STATUS): send the next one when the status byte says `room`. Results wait for nobody:
a newer one replaces the one before, and `number` tells whether one was missed. While RESULT sends, what it sends
stays as it is; the next result is kept, and the accelerator waits with the one after that.

Weights are loaded as [the registers](registers.md) say: WRITE to LOAD_DATA can carry all words of a memory in one
transfer. LOAD_CRC tells whether every bit arrived.

## Sleep

The clock of the core stands still while the accelerator rests: when no frame is being received, computed or
delivered, no word of weights waits and no clear. It runs again in the very cycle in which there is something to do,
so that nothing is late and results are the same, bit for bit. All state is kept. The registers and the pins stay
awake; with STATUS not `busy` and `cs_n` high the host may also stop `clk` itself.

The gate is the module `NAME_spi.gate`: a flip-flop on the falling edge of `clk` and an AND gate. Put the clock gate
of the library (ASIC) or a clock buffer with enable (FPGA) in its place; its ports are `clk`, `enable` and `gated`.
With `--stop-clock` the core has such a gate of its own, `NAME.gate`, and the wrapper none.
"""


def markdown() -> str:
    """Page of the documentation."""
    lines = ["| command | byte | after it |", "|---|---|---|"]
    lines += [f"| {command.name} | `0x{command:02x}` | {follows} |" for command, follows in FOLLOWS.items()]
    lines += ["", "| status bit | | |", "|---|---|---|"]
    lines += [f"| {bit} | {one.name} | {one.meaning} |" for bit, one in enumerate(STATUS_BITS)]
    lines += [f"| 7:6 | mark | always `{MARK:02b}`: a wire that is stuck is noticed |"]
    return TEXT + "\n".join(lines) + "\n" + REST
