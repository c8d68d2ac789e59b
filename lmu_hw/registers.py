"""Registers of the accelerator with AXI4-Lite: one table, for the gateware, the documentation and the tests."""

import enum
import textwrap
from dataclasses import dataclass

from lmu_hw.config import WeightStore
from lmu_hw.plan import Plan

__all__ = [
    "ADDRESS_WIDTH", "IDENTIFICATION", "MASK_LABELS", "OFFSETS", "REGISTERS", "VERSION", "Access", "Register",
    "check", "load_beats", "markdown", "present"
]  # fmt: skip

ADDRESS_WIDTH = 8
"""Bits of a byte address."""

IDENTIFICATION = 0x4C4D5541
"""The letters LMUA."""

VERSION = 0x0001_0000
"""Of this map: major number in the upper half, minor in the lower."""

MASK_LABELS = 256
"""Labels that the masks have room for."""


class Access(enum.Enum):
    """What can be done with a register."""

    READ = "RO"
    """Read; a write is refused."""
    READ_WRITE = "RW"
    """Read and write."""
    WRITE = "WO"
    """Write; reads as 0."""
    CLEAR = "W1C"
    """Read; a 1 that is written clears its bit."""


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
        What can be done with it.
    meaning : str
        For the documentation, with its fields.
    reset : int
        Value after reset, where that is the same for every accelerator.
    loading : bool
        Whether it is there only with weights in RAM.
    """

    name: str
    offset: int
    access: Access
    meaning: str
    reset: int = 0
    loading: bool = False


REGISTERS = (
    Register("ID", 0x00, Access.READ, "Identification: the letters LMUA.", IDENTIFICATION),
    Register("VERSION", 0x04, Access.READ, "Version of this map: major in 31:16, minor in 15:0.", VERSION),
    Register(
        "FEATURES", 0x08, Access.READ,
        "0: weights in RAM. 1: state policy pulse. 2: state policy utterance. 15:8: writes to LOAD_DATA for a word.",
    ),
    Register("SHAPE", 0x0C, Access.READ, "15:0: elements of an input frame. 31:16: labels."),
    Register("CONTROL", 0x10, Access.WRITE, "0: under the state policy pulse, clear the state before the next frame."),
    Register(
        "STATUS", 0x14, Access.READ,
        "0: busy; when 0, no frame is being received, computed or delivered. 1: a word of weights waits to be taken.",
    ),
    Register("FRAMES", 0x18, Access.READ, "Frames accepted, dropped ones not counted, modulo 2^32."),
    Register("FRAME_ERRORS", 0x1C, Access.READ, "Frames dropped because of a wrong length, modulo 2^32."),
    Register("DECISIONS", 0x20, Access.READ, "Decisions delivered, modulo 2^32."),
    Register("THRESHOLD", 0x24, Access.READ_WRITE, "Lowest score of a decision that counts as heard, signed."),
    Register("IRQ_ENABLE", 0x28, Access.READ_WRITE, "Bits of IRQ_STATUS that raise `irq`."),
    Register(
        "IRQ_STATUS", 0x2C, Access.CLEAR,
        "0: heard, a decision was delivered whose label is in LABEL_MASK and whose score is THRESHOLD or more. "
        "1: a frame was dropped. A bit that is set and cleared at once stays set.",
    ),
    Register("HEARD_LABEL", 0x30, Access.READ, "Label of the latest decision that counted as heard."),
    Register("HEARD_SCORE", 0x34, Access.READ, "Its score, signed."),
    Register(
        "LOAD_MEMORY", 0x38, Access.READ_WRITE,
        "Memory that the next word goes to, as the weight image numbers them. Starts a new word.", loading=True,
    ),
    Register(
        "LOAD_ADDRESS", 0x3C, Access.READ_WRITE,
        "Address of the next word; grows by 1 with every word taken. Starts a new word.", loading=True,
    ),
    Register(
        "LOAD_DATA", 0x40, Access.WRITE,
        "The word, 32 bits with each write, lowest first; the last write hands it over.", loading=True,
    ),
    *(
        Register(
            f"LABEL_MASK{index}", 0x80 + 4 * index, Access.READ_WRITE,
            f"Labels {32 * index} to {32 * index + 31} that can be heard, a bit each; others read as 0.",
        )
        for index in range(MASK_LABELS // 32)
    ),
)  # fmt: skip
"""The map, in order of address."""

OFFSETS = {register.name: register.offset for register in REGISTERS}
"""Byte address of each register by name."""


def present(plan: Plan) -> tuple[Register, ...]:
    """Registers that an accelerator has: those for loading with weights in RAM only, masks as far as it has labels."""
    masks = -(-plan.model.outputs // 32)
    return tuple(
        register
        for register in REGISTERS
        if (plan.config.weights is WeightStore.RAM or not register.loading)
        and register.offset < OFFSETS["LABEL_MASK0"] + 4 * masks
    )


def check(plan: Plan) -> None:
    """Refuse a model that the registers have no room for.

    Raises
    ------
    ValueError
        If it has too many labels.
    """
    if plan.model.outputs > MASK_LABELS:
        raise ValueError(f"the registers have room for {MASK_LABELS} labels, not for {plan.model.outputs}")


def load_beats(plan: Plan) -> int:
    """Writes to LOAD_DATA that make up a word of the weight image."""
    return -(-max(memory.width for memory in (*plan.weight_memories, plan.parameters)) // 32)


TEXT = f"""\
# The AXI wrapper and its registers

`lmu-hw verilog --interface axi` writes the core as `NAME.v` and a wrapper around it as `NAME_axi.v`. This page is made
from the table in `lmu_hw/registers.py`, which the hardware is made from too.

| port | what |
|---|---|
| `aclk`, `aresetn` | clock; synchronous reset, active low |
| `s_axis_*` | elements of frames, right-aligned in whole bytes; `tlast` ends a frame, with `tuser` an utterance |
| `m_axis_logits_*` | logits, sign-extended to whole bytes; `tlast` with the last label |
| `m_axis_decision_*` | label, zero-extended to whole bytes, and above it the score like a logit; `tlast` always |
| `s_axil_*` | AXI4-Lite, 32 bits of data, {1 << ADDRESS_WIDTH} bytes of registers; `awprot` and `arprot` are ignored |
| `irq` | high while a bit of IRQ_STATUS is set that IRQ_ENABLE has too |

`tuser` is there under `--state utterance` only.

- Registers have 32 bits; the two lowest bits of an address are ignored.
- An access is refused with SLVERR, and changes nothing, if no register of this accelerator is at its address, if it
  writes a register marked RO, if it writes with a strobe that is not set, or if it writes LOAD_MEMORY, LOAD_ADDRESS or
  LOAD_DATA while STATUS says that a word waits to be taken. A refused read gives 0. DECERR is never given.
- A response comes 2 cycles after its request was accepted and the response before it was taken; none waits for the
  accelerator.
- Access: RO is read only, RW read and write, WO write only (reads as 0), W1C read, and a 1 that is written clears its
  bit. RAM: there with `--weights ram` only. LABEL_MASK*k* is there if the model has more than 32 *k* labels.

Registers, in order of address; access and value after reset in parentheses:

"""


def markdown() -> str:
    """Page of the documentation."""
    entries = []
    for register in REGISTERS:
        reset = "of the model" if register.name in ("FEATURES", "SHAPE") else f"`0x{register.reset:x}`"
        only = "; RAM" if register.loading else ""
        entry = f"- `0x{register.offset:02x}` **{register.name}** ({register.access.value}, {reset}{only}): "
        entries.append(textwrap.fill(entry + register.meaning, 120, subsequent_indent="  ") + "\n")
    return TEXT + "".join(entries)
