"""Registers of an accelerator with AXI4-Lite or SPI: one table for gateware, documentation, IP-XACT and tests."""

import enum
import textwrap
from dataclasses import dataclass

from lmu_hw.plan.config import Interface, StatePolicy, WeightStore
from lmu_hw.plan.load_port import load_beats
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.shape import identification, shape, shape_digest

__all__ = [
    "ADDRESS_WIDTH", "IDENTIFICATION", "MASK_LABELS", "OFFSETS", "REGISTERS", "VERSION", "Access", "Field", "Register",
    "check", "constants", "irq_bits", "markdown", "present"
]  # fmt: skip

ADDRESS_WIDTH = 8
"""Bits of a byte address."""

IDENTIFICATION = 0x4C4D5541
"""The letters LMUA."""

VERSION = 0x0002_0000
"""Of this map: major number in the upper half, minor in the lower."""

MASK_LABELS = 256
"""Most labels that the masks can hold."""


class Access(enum.Enum):
    """Whether a register can be read and written."""

    READ = "RO"
    """Read; a write is refused."""
    READ_WRITE = "RW"
    """Read and write."""
    WRITE = "WO"
    """Write; reads as 0."""
    CLEAR = "W1C"
    """Read; a 1 that is written clears its bit."""


@dataclass(frozen=True)
class Field:
    """Bits of a register.

    Parameters
    ----------
    name : str
        One word.
    low : int
        Lowest bit.
    width : int
        Bits.
    meaning : str
        For the documentation.
    """

    name: str
    low: int
    width: int
    meaning: str

    @property
    def bits(self) -> str:
        """Range of bits, as documentation writes it."""
        return str(self.low) if self.width == 1 else f"{self.low + self.width - 1}:{self.low}"


@dataclass(frozen=True)
class Register:
    """One 32-bit register.

    Parameters
    ----------
    name : str
        As the documentation names it.
    offset : int
        Byte address, a multiple of 4.
    access : Access
        Whether it can be read and written.
    meaning : str
        For the documentation.
    fields : tuple of Field
        Its parts, if it has several.
    reset : int or None
        Value after reset; None where it depends on the accelerator.
    loading : bool
        Whether it is there only with weights in RAM.
    spi : bool
        Whether it is there only behind SPI.
    gate : bool
        Whether it is there only for a network with a level gate.
    """

    name: str
    offset: int
    access: Access
    meaning: str = ""
    fields: tuple[Field, ...] = ()
    reset: int | None = 0
    loading: bool = False
    spi: bool = False
    gate: bool = False


_IRQ = (
    Field("heard", 0, 1, "a decision with a label in LABEL_MASK and a score of at least THRESHOLD."),
    Field("dropped", 1, 1, "a frame was dropped because its length was wrong."),
    Field("overrun", 2, 1, "SPI only: a frame was dropped because the previous one was still waiting."),
    Field("result", 3, 1, "SPI only: a new result can be read."),
)

REGISTERS = (
    Register("ID", 0x00, Access.READ, "Identification: the letters LMUA.", reset=IDENTIFICATION),
    Register(
        "VERSION", 0x04, Access.READ, "Version of this map.",
        (Field("minor", 0, 16, "minor number."), Field("major", 16, 16, "major number.")), VERSION,
    ),
    Register(
        "FEATURES", 0x08, Access.READ, "Properties of this accelerator.",
        (
            Field("ram", 0, 1, "weights in RAM."),
            Field("pulse", 1, 1, "state policy pulse."),
            Field("utterance", 2, 1, "state policy utterance."),
            Field("spi", 3, 1, "SPI."),
            Field("gate", 4, 1, "a level gate."),
            Field("beats", 8, 8, "writes to LOAD_DATA for each word."),
        ),
        None,
    ),
    Register(
        "SHAPE", 0x0C, Access.READ, "Size of a frame and of a result.",
        (Field("inputs", 0, 16, "elements of an input frame."), Field("labels", 16, 16, "labels.")), None,
    ),
    Register(
        "CONTROL", 0x10, Access.WRITE, "State control.",
        (Field("clear", 0, 1, "with the state policy pulse: clear the state before the next frame."),),
    ),
    Register(
        "STATUS", 0x14, Access.READ, "Activity.",
        (
            Field("busy", 0, 1, "0 if no frame is being received, computed or delivered."),
            Field("loading", 1, 1, "a weight word waits to be accepted."),
            Field("foreign", 2, 1, "with weights in RAM: LOAD_SHAPE is not SHAPE_ID, and LOAD_DATA is refused."),
            Field("asleep", 3, 1, "SPI only: the clock of the core is stopped."),
        ),
        None,
    ),
    Register("FRAMES", 0x18, Access.READ, "Accepted frames modulo 2^32; dropped frames do not count."),
    Register("FRAME_ERRORS", 0x1C, Access.READ, "Frames dropped because their length was wrong, modulo 2^32."),
    Register("DECISIONS", 0x20, Access.READ, "Decisions delivered, modulo 2^32."),
    Register("THRESHOLD", 0x24, Access.READ_WRITE, "Lowest score that counts as heard, signed."),
    Register("IRQ_ENABLE", 0x28, Access.READ_WRITE, "Bits of IRQ_STATUS that raise `irq`.", _IRQ),
    Register(
        "IRQ_STATUS", 0x2C, Access.CLEAR, "Events. A bit that is set and cleared in the same cycle stays set.", _IRQ
    ),
    Register("HEARD_LABEL", 0x30, Access.READ, "Label of the latest decision that counted as heard."),
    Register("HEARD_SCORE", 0x34, Access.READ, "Its score, signed."),
    Register(
        "LOAD_MEMORY", 0x38, Access.READ_WRITE,
        "Memory of the next word, numbered as in the weight image. A write starts a new word.", loading=True,
    ),
    Register(
        "LOAD_ADDRESS", 0x3C, Access.READ_WRITE,
        "Address of the next word; it grows by 1 with each accepted word. A write starts a new word.", loading=True,
    ),
    Register(
        "LOAD_DATA", 0x40, Access.WRITE,
        "The word, 32 bits with each write, lowest bits first. The last write hands the word over.", loading=True,
    ),
    Register("OVERRUNS", 0x44, Access.READ, "Frames dropped because the previous one waited, modulo 2^32.", spi=True),
    Register(
        "SHAPE_ID", 0x48, Access.READ, "Shape of the accelerator: the first 32 bits of its digest.",
        reset=None, loading=True,
    ),
    Register(
        "LOAD_SHAPE", 0x4C, Access.READ_WRITE,
        "Shape that the weights were made for. A write starts the checksum and a new word.", loading=True,
    ),
    Register(
        "LOAD_CRC", 0x50, Access.READ,
        "CRC-32 of the values written to LOAD_MEMORY, LOAD_ADDRESS and LOAD_DATA since the last write to LOAD_SHAPE.",
        loading=True,
    ),
    Register(
        "FRAMES_ASLEEP", 0x54, Access.READ,
        "Frames that were asleep, modulo 2^32. They count in FRAMES and give no decision.", gate=True,
    ),
    *(
        Register(
            f"LABEL_MASK{index}", 0x80 + 4 * index, Access.READ_WRITE,
            f"Labels {32 * index} to {32 * index + 31} that can be heard, one bit each; bits without a label read 0.",
        )
        for index in range(MASK_LABELS // 32)
    ),
)  # fmt: skip
"""The map, in order of address."""

OFFSETS = {register.name: register.offset for register in REGISTERS}
"""Byte address of each register by name."""


def present(plan: Plan) -> tuple[Register, ...]:
    """Registers that an accelerator has: those for loading only with weights in RAM, masks for its labels only."""
    masks = -(-plan.model.outputs // 32)
    return tuple(
        register
        for register in REGISTERS
        if (plan.config.weights is WeightStore.RAM or not register.loading)
        and (plan.config.interface is Interface.SPI or not register.spi)
        and (plan.model.gate is not None or not register.gate)
        and register.offset < OFFSETS["LABEL_MASK0"] + 4 * masks
    )


def constants(plan: Plan) -> dict[str, int]:
    """Values of the registers that never change, by name."""
    config = plan.config
    ram = config.weights is WeightStore.RAM
    flags = (
        ram,
        config.state is StatePolicy.PULSE,
        config.state is StatePolicy.UTTERANCE,
        config.interface is Interface.SPI,
        plan.model.gate is not None,
    )
    values = {
        "ID": IDENTIFICATION,
        "VERSION": VERSION,
        "FEATURES": sum(flag << bit for bit, flag in enumerate(flags)) | (load_beats(plan) << 8 if ram else 0),
        "SHAPE": plan.model.inputs | plan.model.outputs << 16,
    }
    return values | ({"SHAPE_ID": identification(shape_digest(shape(plan)))} if ram else {})


def irq_bits(plan: Plan) -> int:
    """Bits of IRQ_STATUS that an accelerator has."""
    return 4 if plan.config.interface is Interface.SPI else 2


def check(plan: Plan) -> None:
    """Refuse a model that does not fit the registers.

    Raises
    ------
    ValueError
        If it has too many labels.
    """
    if plan.model.outputs > MASK_LABELS:
        raise ValueError(f"the registers have room for {MASK_LABELS} labels, not for {plan.model.outputs}")


TEXT = f"""\
# Registers of the AXI and SPI wrappers

`lmu-hw verilog --interface axi` writes the core as `NAME.v` and a wrapper around it as `NAME_axi.v`. With `spi` instead
of `axi` the wrapper is `NAME_spi.v`. The wrapper has the registers on this page, behind AXI4-Lite or behind
[SPI commands](spi.md). This page and the hardware are generated from the same table in `lmu_hw/host/registers.py`. For
the ports, see the [port reference](ports.md).

**Addresses.** Registers have 32 bits. There are {1 << ADDRESS_WIDTH} bytes of addresses; the two lowest address bits
are ignored.

**Refused accesses.** A refused access changes nothing, and a refused read returns 0. An access is refused when:

- no register of this accelerator is at the address;
- it writes a register marked RO;
- it does not write all four bytes;
- it writes LOAD_SHAPE, LOAD_MEMORY, LOAD_ADDRESS or LOAD_DATA while STATUS shows `loading`;
- it writes LOAD_DATA while STATUS shows `foreign`.

On AXI4-Lite the response to a refused access is SLVERR; DECERR never occurs. On SPI the status byte of the next
command reports the refusal.

**AXI4-Lite timing.** A response comes 2 cycles after its request was accepted and the previous response was taken. No
response waits for the accelerator.

**Interrupt.** `irq` is high while a bit is set in both IRQ_STATUS and IRQ_ENABLE.

**Loading weights.** Write LOAD_SHAPE, then the words of the [weight image](files.md#weight-image). Then compare
LOAD_CRC with the checksum in the image. If they differ, write LOAD_SHAPE and all words again.

Each entry below gives the address, the name, and in parentheses the access and the value after reset:

- RO: read only. RW: read and write. WO: write only, reads as 0. W1C: read; writing a 1 clears the bit.
- RAM: only with `--weights ram`. SPI: only with `--interface spi`. Gate: only for a network with a
  [level gate](hardware.md#the-level-gate).
- LABEL_MASK*k* exists if the model has more than 32 *k* labels.

"""


def markdown() -> str:
    """Page of the documentation."""
    entries = []
    for register in REGISTERS:
        reset = "depends on the accelerator" if register.reset is None else f"`0x{register.reset:x}`"
        only = "; RAM" * register.loading + "; SPI" * register.spi + "; gate" * register.gate
        entry = f"- `0x{register.offset:02x}` **{register.name}** ({register.access.value}, {reset}{only}): "
        parts = [register.meaning, *(f"{field.bits} {field.name}: {field.meaning}" for field in register.fields)]
        entries.append(textwrap.fill(entry + " ".join(parts), 120, subsequent_indent="  ") + "\n")
    return TEXT + "".join(entries)
