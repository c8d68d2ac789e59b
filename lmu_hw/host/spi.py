"""The SPI protocol of the accelerator: commands, status and timing, for gateware, hosts and documentation."""

import enum
from dataclasses import dataclass

__all__ = ["CS_HIGH_CYCLES", "FOLLOWS", "HALF_PERIOD_CYCLES", "MARK", "STATUS_BITS", "Command", "StatusBit", "markdown"]

HALF_PERIOD_CYCLES = 4
"""Least clock cycles for which SCK is high, and low, and from an edge of CS_N to one of SCK."""

CS_HIGH_CYCLES = 8
"""Least clock cycles between two commands."""

MARK = 0b10
"""Bits 7:6 of every status byte; they show a stuck wire."""


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
    Command.WRITE: "host: address (1 byte), then 4 bytes for each value; all values go to the same register",
    Command.READ: "host: address (1 byte); device: 4 bytes for each value; the register is read again for each",
    Command.FRAME: "host: elements of a frame, each in whole bytes; the end of the transfer ends the frame",
    Command.FRAME_END: "as FRAME; with the state policy utterance, the frame also ends the utterance",
    Command.RESULT: "device: number (1 byte, counts results modulo 256), label, score, logits in order, then zeros",
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
    StatusBit("result", "a result has arrived since the last RESULT"),
    StatusBit("refused", "the previous transfer had an unknown command, or an access to a register that was refused"),
)
"""By bit, from bit 0 on."""

TEXT = f"""\
# The SPI wrapper

`lmu-hw verilog --interface spi` writes the core as `NAME.v` and a wrapper around it as `NAME_spi.v`. The wrapper is
an SPI device for a microcontroller. It has [registers](registers.md), an interrupt, and a core that sleeps. This page
and the hardware are generated from `lmu_hw/host/spi.py`. For the ports, see the [port reference](ports.md).

## Wires

The SPI mode is 0: SCK rests low. Both sides sample at the rising edge and change their output at the falling edge.
Bit 7 of a byte comes first. A transfer lasts while `cs_n` is low. `miso_enable` is high while the device drives MISO;
it is meant for a three-state pad. `irq` is high while a bit is set in both IRQ_STATUS and IRQ_ENABLE.

There is only one clock, `clk`. SCK, `cs_n` and MOSI each pass through two flip-flops. No data crosses clock domains,
and the only timing constraints needed are false paths from these three pins. In return, SPI must be slower than
`clk`:

- SCK is high for at least {HALF_PERIOD_CYCLES} cycles of `clk`, and low for at least {HALF_PERIOD_CYCLES}. So SCK
  runs at `clk` / {2 * HALF_PERIOD_CYCLES} or slower.
- `cs_n` changes at least {HALF_PERIOD_CYCLES} cycles before and after an edge of SCK.
- `cs_n` is high for at least {CS_HIGH_CYCLES} cycles between transfers.

A frame of 40 bytes every 20 ms needs 16.4 kbit/s. A clock that computes in real time allows several times that.

Reset is synchronous. Hold it for at least 4 cycles, with `cs_n` high. A reset aborts a transfer.

## Transfers

The first byte from the host is the command. In the same 8 cycles of SCK the device sends its status byte. A transfer
that ends early counts up to its last complete value. A frame that ends early, or within an element, has a wrong
length and is dropped (FRAME_ERRORS).

"""

REST = """
SPI has no back pressure. If the previous frame still waits when the first element of a frame arrives, the whole frame
is dropped. OVERRUNS counts it, and `overrun` is set in IRQ_STATUS. So send a frame only when the status byte shows
`room`.

Results do not wait for the host: a newer result replaces an older one, and `number` shows whether one was missed.
While RESULT sends a result, that result does not change. The next result is kept, and the accelerator waits with the
one after.

To load weights, see [the registers](registers.md). One WRITE to LOAD_DATA can carry all words of a memory. LOAD_CRC
shows whether every bit arrived.

## Sleep

The clock of the core stops while the accelerator rests. It rests when no frame is being received, computed or
delivered, and no weight word or clear is waiting. The clock starts again in the cycle in which there is work. No
result is later, and results are the same bit for bit. All state is kept. The registers and the pins stay awake. While
STATUS is not `busy` and `cs_n` is high, the host may also stop `clk` itself.

The clock gate is the module `NAME_spi.gate`: a flip-flop on the falling edge of `clk`, and an AND gate. Its ports are
`clk`, `enable` and `gated`. Replace it with the clock gate of the cell library (ASIC), or with a clock buffer that
has an enable (FPGA). With `--stop-clock` the core has such a gate itself, `NAME.gate`, and the wrapper has none.
"""


def markdown() -> str:
    """Page of the documentation."""
    lines = ["| command | byte | what follows |", "|---|---|---|"]
    lines += [f"| {command.name} | `0x{command:02x}` | {follows} |" for command, follows in FOLLOWS.items()]
    lines += ["", "| status bit | name | meaning |", "|---|---|---|"]
    lines += [f"| {bit} | {status.name} | {status.meaning} |" for bit, status in enumerate(STATUS_BITS)]
    lines += [f"| 7:6 | mark | always `{MARK:02b}`; another value shows a stuck wire |"]
    return TEXT + "\n".join(lines) + "\n" + REST
