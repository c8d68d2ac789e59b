"""Configuration of an accelerator: the options that do not change what the network computes."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmu_hw.checks import from_json, require_choice, require_int, require_member, require_type
from lmu_hw.model.smoothing import Smoothing

__all__ = [
    "FRUGAL", "LEVERS", "LEVER_SETS", "MEMORIES_AT_ONCE", "PLAIN", "ROUNDS", "STATE_BANK_WORDS", "AcceleratorConfig",
    "Interface", "StatePolicy", "WeightStore", "choose_levers",
]  # fmt: skip

MAX_LANES = 64

BANK_WORDS = (0, *(2**bits for bits in range(3, 13)))
"""Allowed words of a weight bank; 0 for no banks."""

STATE_BANK_WORDS = (0, *(2**bits for bits in range(2, 9)))
"""Allowed words of a bank of a data memory; 0 for no banks."""

ROUNDS = (1, 2, 4, 8)
"""Allowed frames for each fetch of the weights."""

MEMORIES_AT_ONCE = (1, 2, 4, 8, 16)
"""Allowed memories that are updated at once."""

LEVERS = (
    "skip_zero_blocks", "skip_zero_elements", "isolate_operands", "control_reset", "stop_clock", "gate_blocks"
)  # fmt: skip
"""Switches that save energy."""

FRUGAL, PLAIN = "frugal", "plain"
LEVER_SETS = (FRUGAL, PLAIN)
"""Sets of levers: what saves energy in most networks on a chip, and nothing."""

FRUGAL_BANK_WORDS = 256
"""Words of a weight bank in the set frugal: fewer leak more on IHP SG13G2, more take more energy a read on SKY130."""

FRUGAL_STATE_BANK_WORDS = 16
"""Words of a bank of the data memories in the set frugal, where the process has no SRAM macros."""


def choose_levers(name: str, options: Mapping[str, Any], *, macros: bool = True) -> dict[str, Any]:
    """Choose the levers of a set that go with other options.

    Parameters
    ----------
    name : str
        One of `LEVER_SETS`.
    options : mapping of str to object
        Other fields of the configuration, as in its JSON form. They decide which levers of ``frugal`` are possible.
    macros : bool
        Whether the process has SRAM macros. Without, ``frugal`` builds data memories of registers in banks.

    Returns
    -------
    dict of str to object
        Fields of `AcceleratorConfig`; empty for ``plain``.

    Raises
    ------
    ValueError
        If there is no such set.
    """
    if name not in LEVER_SETS:
        raise ValueError(f"levers must be {' or '.join(LEVER_SETS)}, not {name!r}")
    if name == PLAIN:
        return {}
    several = options.get("frames_per_fetch", 1) != 1
    levers: dict[str, Any] = {lever: not (several and lever.startswith("skip_zero")) for lever in LEVERS}
    if options.get("weights", WeightStore.ROM) in (WeightStore.ROM, WeightStore.ROM.value):
        levers["bank_words"] = FRUGAL_BANK_WORDS
    if not macros:
        levers["state_bank_words"] = FRUGAL_STATE_BANK_WORDS
    return levers


class StatePolicy(enum.Enum):
    """When the state of the network returns to zero, beside reset."""

    KEEP = "keep"
    """Never."""
    PULSE = "pulse"
    """Before the first frame whose first element is accepted in the cycle of a pulse on ``clear``, or later."""
    UTTERANCE = "utterance"
    """After a frame whose last element was marked ``end``."""


class WeightStore(enum.Enum):
    """Where the weights are."""

    ROM = "rom"
    """Constants in the Verilog."""
    RAM = "ram"
    """Memories filled through the load port."""


class Interface(enum.Enum):
    """Ports of the accelerator."""

    STREAM = "stream"
    """The core's own streams."""
    AXI = "axi"
    """A wrapper around the same core: AXI4-Stream names and an AXI4-Lite register block."""
    SPI = "spi"
    """A wrapper around the same core: an SPI device with the same registers, an interrupt, and sleep at rest."""


@dataclass(frozen=True)
class AcceleratorConfig:
    """Options of an accelerator that do not change what the network computes.

    Levers that are not named are off. `frugal` turns on those that save energy in most networks on a chip.

    Parameters
    ----------
    lanes : int
        Multipliers, 1 to 64.
    weights : WeightStore or str
        ``rom`` or ``ram``.
    state : StatePolicy or str
        ``keep``, ``pulse`` or ``utterance``.
    interface : Interface or str
        ``stream``, ``axi`` or ``spi``.
    skip_zero_blocks : bool
        Neither store nor multiply blocks of zero weights. A block is one column of a row group. Blocks are skipped only
        where the index that this needs takes fewer bits than they do (`lmu_hw.plan.sparsity`).
    skip_zero_elements : bool
        Neither read nor multiply elements that a ReLU made zero. The cycles of a frame then depend on its data, and are
        never more than without (`lmu_hw.plan.timing`). With `skip_zero_blocks`, this applies where weights have no
        index.
    isolate_operands : bool
        Build lanes for standard cells instead of DSP blocks. Multipliers are split by the bits of most weights, and
        what a weight does not need rests: upper parts, lanes and the upper halves of sums (`lmu_hw.plan.lanes`).
    control_reset : bool
        Reset only control. Data registers have no reset, so that clock gates can take them.
    stop_clock : bool
        One clock gate before all flip-flops and memories. It is closed while no frame is received, computed or
        delivered.
    gate_blocks : bool
        Clock gates before the blocks that work only some of the time: the writable memories, the banked ones, the
        input, the output, the finish, and the flags of zero layers and elements. With the interface ``spi`` it needs
        `stop_clock`.
    bank_words : int
        Words of the banks of weight memories in ROM: a power of two from 8 to 4,096; 0 for whole memories. Each bank
        has its own address, which changes only when the bank is read.
    state_bank_words : int
        Words of the banks of the data memories: a power of two from 4 to 256; 0 for whole memories, which may be SRAM.
        Banks are built of registers and change only when they are accessed.
    frames_per_fetch : int
        Frames that are buffered and computed together, so that each weight is fetched once for all of them
        (`lmu_hw.plan.rounds`): 1, 2, 4 or 8. More than 1 needs the state policy ``keep`` and the stream interface, and
        excludes the two skip options.
    memories_at_once : int
        Memories that are updated at once, in an engine of their own (`lmu_hw.plan.parts`): 1, 2, 4, 8 or 16. With 1,
        the lanes update them, one after the other. More than 1 excludes `frames_per_fetch`.
    smoothing : Smoothing, optional
        Adds events to the outputs; needs the stream interface.
    """

    lanes: int = 16
    weights: WeightStore = WeightStore.ROM
    state: StatePolicy = StatePolicy.KEEP
    interface: Interface = Interface.STREAM
    skip_zero_blocks: bool = False
    skip_zero_elements: bool = False
    isolate_operands: bool = False
    control_reset: bool = False
    stop_clock: bool = False
    gate_blocks: bool = False
    bank_words: int = 0
    state_bank_words: int = 0
    frames_per_fetch: int = 1
    memories_at_once: int = 1
    smoothing: Smoothing | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "lanes", require_int("lanes", self.lanes, 1, MAX_LANES))
        object.__setattr__(self, "weights", require_member("weights", self.weights, WeightStore))
        object.__setattr__(self, "state", require_member("state", self.state, StatePolicy))
        object.__setattr__(self, "interface", require_member("interface", self.interface, Interface))
        for name in LEVERS:
            require_type(name, getattr(self, name), bool)
        self._check_banks()
        self._check_rounds()
        self._check_parts()
        if self.gate_blocks and self.interface is Interface.SPI and not self.stop_clock:
            raise ValueError("gate_blocks with the interface spi needs stop_clock: its gates need a clock that runs")
        if self.smoothing is not None and not isinstance(self.smoothing, Smoothing):
            raise TypeError(f"smoothing must be Smoothing or None, not {self.smoothing!r}")
        if self.smoothing is not None and self.interface is not Interface.STREAM:
            raise ValueError(f"smoothing needs the stream interface, not {self.interface.value}")

    def _check_banks(self) -> None:
        for name, choices in (("bank_words", BANK_WORDS), ("state_bank_words", STATE_BANK_WORDS)):
            words = getattr(self, name)
            if type(words) is not int or words not in choices:
                least, most = choices[1], choices[-1]
                raise ValueError(f"{name} must be 0 or a power of two from {least} to {most}, not {words!r}")
        if self.bank_words and self.weights is not WeightStore.ROM:
            raise ValueError(f"bank_words needs weights rom, not {self.weights.value}")

    def _check_rounds(self) -> None:
        frames = require_choice("frames_per_fetch", self.frames_per_fetch, ROUNDS)
        if frames == 1:
            return
        if self.state is not StatePolicy.KEEP:
            raise ValueError(f"frames_per_fetch of {frames} needs the state policy keep, not {self.state.value}")
        if self.interface is not Interface.STREAM:
            raise ValueError(f"frames_per_fetch of {frames} needs the stream interface, not {self.interface.value}")
        for name in ("skip_zero_blocks", "skip_zero_elements"):
            if getattr(self, name):
                raise ValueError(f"frames_per_fetch of {frames} and {name} exclude each other, give one of them")

    def _check_parts(self) -> None:
        parts = require_choice("memories_at_once", self.memories_at_once, MEMORIES_AT_ONCE)
        if parts > 1 and self.frames_per_fetch > 1:
            raise ValueError(f"memories_at_once of {parts} and frames_per_fetch exclude each other, give one of them")

    @classmethod
    def frugal(cls, **options: Any) -> "AcceleratorConfig":
        """Configuration with the levers that save energy in most networks on a chip.

        These are all of `LEVERS`, and banks of constant weights, as far as the other options allow. On a process
        without SRAM macros, set `state_bank_words` too. An FPGA has no clocks to gate and multiplies in DSP blocks:
        take the plain configuration there.

        Parameters
        ----------
        **options
            Fields; they override the set.
        """
        return cls(**choose_levers(FRUGAL, options) | options)

    @property
    def gates_clock(self) -> bool:
        """Whether the design itself has clock gates, beside those that synthesis adds."""
        return self.stop_clock or self.gate_blocks

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`; the stream interface and options that are off are left out."""
        values: dict[str, Any] = {"lanes": self.lanes, "weights": self.weights.value, "state": self.state.value}
        if self.interface is not Interface.STREAM:
            values["interface"] = self.interface.value
        values |= {name: True for name in LEVERS if getattr(self, name)}
        if self.bank_words:
            values["bank_words"] = self.bank_words
        if self.state_bank_words:
            values["state_bank_words"] = self.state_bank_words
        if self.frames_per_fetch > 1:
            values["frames_per_fetch"] = self.frames_per_fetch
        if self.memories_at_once > 1:
            values["memories_at_once"] = self.memories_at_once
        return values if self.smoothing is None else {**values, "smoothing": self.smoothing.to_dict()}

    @classmethod
    def from_dict(cls, data: Any) -> "AcceleratorConfig":
        """Configuration from its JSON form; an unknown key is refused by name.

        The key ``levers`` names one of `LEVER_SETS`, which the other keys override. Without it, levers that are not
        named are off.
        """
        if isinstance(data, dict) and "levers" in data:
            rest = {key: value for key, value in data.items() if key != "levers"}
            data = choose_levers(data["levers"], rest) | rest
        return from_json(cls, "the configuration", data, smoothing=Smoothing.from_dict)
