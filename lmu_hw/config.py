"""The choices of an accelerator that do not change any result."""

import enum
import operator
from dataclasses import dataclass
from typing import Any

__all__ = ["AcceleratorConfig", "Interface", "StatePolicy", "WeightStore"]

MAX_LANES = 64


class StatePolicy(enum.Enum):
    """When the state of the network returns to zero (it always does on reset)."""

    KEEP = "keep"
    """Never."""
    PULSE = "pulse"
    """Before the first frame whose first element is accepted in the cycle of a pulse on ``clear``, or later."""
    UTTERANCE = "utterance"
    """After a frame whose last element was marked ``end``."""


class WeightStore(enum.Enum):
    """Where the weights live."""

    ROM = "rom"
    """Constants in the Verilog."""
    RAM = "ram"
    """Memories filled through the load port."""


class Interface(enum.Enum):
    """What the accelerator's ports look like."""

    STREAM = "stream"
    """The core's own streams."""
    AXI = "axi"
    """A wrapper around the same core: AXI4-Stream names and an AXI4-Lite register block."""
    SPI = "spi"
    """A wrapper around the same core: an SPI device with the same registers, an interrupt, and a core that sleeps."""


@dataclass(frozen=True)
class AcceleratorConfig:
    """The choices that do not change any result.

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
    """

    lanes: int = 8
    weights: WeightStore = WeightStore.ROM
    state: StatePolicy = StatePolicy.KEEP
    interface: Interface = Interface.STREAM

    def __post_init__(self) -> None:
        try:
            lanes = operator.index(self.lanes)
        except TypeError:
            raise TypeError(f"lanes must be an integer, not {self.lanes!r}") from None
        if isinstance(self.lanes, bool) or not 1 <= lanes <= MAX_LANES:
            raise ValueError(f"lanes must be in 1 to {MAX_LANES}, not {self.lanes!r}")
        object.__setattr__(self, "lanes", lanes)
        for name, kind in (("weights", WeightStore), ("state", StatePolicy), ("interface", Interface)):
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, kind(value))
            except ValueError:
                choices = ", ".join(member.value for member in kind)
                raise ValueError(f"{name} must be one of {choices}, not {value!r}") from None

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`; the core's own streams go without saying."""
        found = {"lanes": self.lanes, "weights": self.weights.value, "state": self.state.value}
        return found if self.interface is Interface.STREAM else {**found, "interface": self.interface.value}

    @classmethod
    def from_dict(cls, data: Any) -> "AcceleratorConfig":
        """Configuration from its JSON form; an unknown key is refused by name."""
        if not isinstance(data, dict):
            raise ValueError(f"a configuration must be an object, not {data!r}")
        for key in data:
            if key not in ("lanes", "weights", "state", "interface"):
                raise ValueError(
                    f"unknown key {key!r} in the configuration, expected lanes, weights, state or interface"
                )
        return cls(**data)
