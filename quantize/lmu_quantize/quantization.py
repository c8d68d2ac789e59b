"""The settings of post-training quantization."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lmu_hw.checks import from_json, require_choice, require_int, require_member, require_number, require_type
from lmu_hw.model.fixed import Format, Overflow, Rounding

__all__ = ["RANGE_RULES", "STATE_RANGES", "WEIGHT_RANGES", "QuantizationConfig"]

WEIGHT_RANGES = ("symmetric", "full")
RANGE_RULES = ("mse", "percentile")
STATE_RANGES = ("proven", "frames")

_BITS = {
    "weight_bits": (2, 16),
    "activation_bits": (7, 8),
    "signed_bits": (2, 16),
    "input_bits": (2, 16),
    "u_bits": (2, 16),
    "state_bits": (4, 24),
    "a_bits": (4, 16),
    "b_bits": (4, 16),
    "logits_bits": (8, 24),
    "table_bits": (4, 14),
}
_WEIGHT_NAME = re.compile(r"layer\d+(\.(e_x|e_h|e_m|w_x|w_h|w_m|w_f|w))?")
_FORMAT_NAME = re.compile(r"x|layer\d+\.(u|m|f|h|a|b|table)")


@dataclass(frozen=True)
class QuantizationConfig:
    """How `quantize_model` turns floats into integers.

    Parameters
    ----------
    weight_bits : int
        Bits of a weight, 2 to 16.
    weight_overrides : dict of str to int
        Other bits for one layer (``layer0``) or for one matrix (``layer0.w_m``, which goes before its layer).
    weight_range : {"symmetric", "full"}
        Whether the most negative integer is left out (4 bits: -7 to 7) or used.
    activation_bits : {7, 8}
        ReLU outputs, those of filters too: 7 gives 0 to 127 unsigned, so that an 8-bit signed multiplier takes them; 8
        gives 8 bits signed.
    signed_bits : int
        Bits of linear and tanh hidden states, 2 to 16.
    input_bits : int
        Bits of an element of an input frame, signed, 2 to 16.
    u_bits : int
        Bits of a memory input u, signed, 2 to 16.
    state_bits : int
        Bits of an element of the memory state, signed, 4 to 24.
    state_range : {"proven", "frames"}
        Formats of the memory states: one in which no memory can overflow, or one chosen by `range_rule` like the other
        signals, in which states beyond it saturate.
    a_bits, b_bits : int
        Bits of an element of the discrete memory matrices, signed, 4 to 16; nothing is clipped.
    logits_bits : int
        Bits of a logit, signed, 8 to 24; no logit saturates on the calibration frames.
    table_bits : int
        Bits of the index of a tanh table, 4 to 14.
    range_rule : {"mse", "percentile"}
        Formats of x, u, f and h: the one with the smallest mean squared error on the calibration frames, or the finest
        one that holds `percentile` percent of the magnitudes.
    percentile : float
        Above 0 to 100, for the rule of that name; 100 clips nothing.
    formats : dict of str to Format
        Formats that are fixed instead of searched: ``x`` and ``layer{i}.`` followed by ``u``, ``m``, ``f``, ``h``,
        ``a``, ``b`` or ``table``.
    equalize : bool
        Scale the memories of a layer by powers of two, without loss, so that one format suits all elements of u. A
        layer with a given format of u is left as it is.
    rounding : Rounding
        How every vector is rounded.
    overflow : Overflow
        What every vector does with values beyond its format.
    """

    weight_bits: int = 4
    weight_overrides: Mapping[str, int] = field(default_factory=dict)
    weight_range: str = "symmetric"
    activation_bits: int = 7
    signed_bits: int = 8
    input_bits: int = 8
    u_bits: int = 8
    state_bits: int = 12
    state_range: str = "proven"
    a_bits: int = 10
    b_bits: int = 10
    logits_bits: int = 16
    table_bits: int = 10
    range_rule: str = "mse"
    percentile: float = 99.99
    formats: Mapping[str, Format] = field(default_factory=dict)
    equalize: bool = True
    rounding: Rounding = Rounding.HALF_UP
    overflow: Overflow = Overflow.SAT

    def __post_init__(self) -> None:
        for name, (low, high) in _BITS.items():
            object.__setattr__(self, name, require_int(name, getattr(self, name), low, high))
        require_choice("weight_range", self.weight_range, WEIGHT_RANGES)
        require_choice("state_range", self.state_range, STATE_RANGES)
        require_choice("range_rule", self.range_rule, RANGE_RULES)
        require_number("percentile", self.percentile, 0, 100, above=True)
        require_type("equalize", self.equalize, bool)
        object.__setattr__(self, "rounding", require_member("rounding", self.rounding, Rounding))
        object.__setattr__(self, "overflow", require_member("overflow", self.overflow, Overflow))
        self._check_mappings()

    def _check_mappings(self) -> None:
        for name, pattern in (("weight_overrides", _WEIGHT_NAME), ("formats", _FORMAT_NAME)):
            mapping = getattr(self, name)
            if not isinstance(mapping, Mapping):
                raise TypeError(f"{name} must be a mapping, not {mapping!r}")
            for key in mapping:
                if not isinstance(key, str) or pattern.fullmatch(key) is None:
                    raise ValueError(f"{name} has an unknown name {key!r}")
        low, high = _BITS["weight_bits"]
        overrides = {
            key: require_int(f"weight_overrides {key}", value, low, high)
            for key, value in self.weight_overrides.items()
        }
        for key, fmt in self.formats.items():
            if not isinstance(fmt, Format):
                raise TypeError(f"formats {key} must be a Format, not {fmt!r}")
        object.__setattr__(self, "weight_overrides", overrides)
        object.__setattr__(self, "formats", dict(self.formats))

    def bits_of(self, layer: int, name: str) -> int:
        """Bits of one weight matrix."""
        whole = self.weight_overrides.get(f"layer{layer}", self.weight_bits)
        return self.weight_overrides.get(f"layer{layer}.{name}", whole)

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`."""
        data = {each.name: getattr(self, each.name) for each in fields(self)}
        # The notes of a model hold this form, and the hash of a model its notes: a proven range changes neither.
        if self.state_range == "proven":
            del data["state_range"]
        data["weight_overrides"] = dict(self.weight_overrides)
        data["formats"] = {name: fmt.to_dict() for name, fmt in self.formats.items()}
        return data | {"rounding": self.rounding.value, "overflow": self.overflow.value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "QuantizationConfig":
        """Read settings in JSON form; absent keys take the defaults.

        Raises
        ------
        TypeError, ValueError
            If `data` is no object, a key is unknown, or a value is refused.
        """
        return from_json(cls, "the quantization settings", data, formats=_formats)


def _formats(data: Any) -> dict[str, Format]:
    if not isinstance(data, Mapping):
        raise TypeError(f"formats must be an object, not {data!r}")
    return {name: Format.from_dict(fmt) for name, fmt in data.items()}
