"""Fake quantization for training: values rounded to a fixed-point grid, gradients passed straight through.

A quantized value is ``clip(round(x * 2**frac), low, high) * 2**-frac``. Its gradient is 1 where ``x`` lies inside the
clipping limits and 0 outside (the straight-through estimator). Scales are powers of two, chosen by the smallest mean
squared error, so clipping and rounding are weighed against each other.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lmu_hw.checks import require_choice, require_int, require_type
from lmu_hw.model.fixed import Format
from lmu_quantize.quantization import STATE_RANGES
from lmu_quantize.train.elementwise import RoundToGrid

__all__ = ["ActivationQuantizer", "QuantizationScheme", "WeightQuantizer", "best_frac", "fake_quantize"]

GRANULARITIES = ("row", "tensor")

_SHIFTS = 4
"""Scales tried: from the largest that clips nothing down to 2**-3 of it."""

_FRAC_LIMIT = 24
"""Largest magnitude of a fraction-bit count; reached by tensors that are all but zero."""


@dataclass(frozen=True)
class QuantizationScheme:
    """Bits of every tensor in quantization-aware training.

    Parameters
    ----------
    weight_bits : int
        Bits of a signed weight, 2 to 16; the most negative integer is not used (4 bits: -7 to 7).
    weight_overrides : dict of str to int
        Bits of the weights of a layer, ``layer{i}``, or of one matrix, ``layer{i}.{name}``, in the place of
        `weight_bits`.
    weight_scale : {"row", "tensor"}
        One power-of-two scale for each output row of a weight matrix, or one for the matrix.
    input_bits : int
        Bits of a signed element of an input frame, 2 to 16.
    u_bits : int
        Bits of a signed memory input u, 2 to 16.
    hidden_bits : int
        Bits of an unsigned hidden element (7: 0 to 127), 1 to 16; 7 where `exact`.
    state_bits : int
        Bits of an element of the memory state, 4 to 24; where `exact`.
    state_range : {"proven", "frames"}
        How the format of the memory state is chosen, as in `QuantizationConfig`; where `exact`.
    matrix_bits : int
        Bits of an element of the discrete memory matrices, 4 to 16; where `exact`.
    exact : bool
        Whether the forward pass is that of the golden model bit for bit (`lmu_quantize.train.exact`), the memory state,
        the memory matrices and the biases quantized too. Else weights and activations only, the memory in parallel.
    """

    weight_bits: int = 4
    weight_overrides: Mapping[str, int] = field(default_factory=dict)
    weight_scale: str = "row"
    input_bits: int = 8
    u_bits: int = 8
    hidden_bits: int = 7
    state_bits: int = 12
    state_range: str = "proven"
    matrix_bits: int = 10
    exact: bool = False

    def __post_init__(self) -> None:
        for name, low in (("weight_bits", 2), ("input_bits", 2), ("u_bits", 2), ("hidden_bits", 1)):
            require_int(name, getattr(self, name), low, 16)
        require_int("state_bits", self.state_bits, 4, 24)
        require_choice("state_range", self.state_range, STATE_RANGES)
        require_int("matrix_bits", self.matrix_bits, 4, 16)
        for name, bits in self.weight_overrides.items():
            require_int(f"weight_overrides {name}", bits, 2, 16)
        require_type("exact", self.exact, bool)
        if self.exact and (self.hidden_bits != 7 or self.weight_scale != "row"):
            raise ValueError("exact training has 7 hidden_bits and one weight_scale for each row")
        require_choice("weight_scale", self.weight_scale, GRANULARITIES)

    def bits(self, layer: int, name: str) -> int:
        """Give the bits of a weight of a matrix."""
        return self.weight_overrides.get(
            f"layer{layer}.{name}", self.weight_overrides.get(f"layer{layer}", self.weight_bits)
        )

    def weight_quantizer(self, layer: int, name: str, rows: int) -> "WeightQuantizer":
        """Make the quantizer of a matrix, with scales still to be calibrated."""
        return WeightQuantizer(rows, self.bits(layer, name), self.weight_scale == "row")

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def fake_quantize(values: Tensor, frac: Tensor, low: int, high: int) -> Tensor:
    """Round to the grid of a fixed-point format, with a straight-through gradient.

    Parameters
    ----------
    values : Tensor
        float32 values.
    frac : Tensor
        Fraction bits, an int32 scalar, or int32 of shape (rows,) for one scale to each row of a matrix.
    low, high : int
        Smallest and largest integer, ``low <= 0 <= high``.

    Returns
    -------
    Tensor
        Shape and dtype of `values`; ties are rounded to even integers.
    """
    rows = frac if frac.ndim == 0 else frac[:, None]
    rounded: Tensor = RoundToGrid.apply(values, rows, low, high)
    return rounded


def best_frac(values: Tensor, low: int, high: int) -> Tensor:
    """Fraction bits with the smallest mean squared quantization error, for each row.

    Parameters
    ----------
    values : Tensor
        float32, shape (rows, n).
    low, high : int
        Smallest and largest integer of the format, ``low <= 0 < high``.

    Returns
    -------
    Tensor
        int32, shape (rows,), -24 to 24; of equally good scales the coarsest.
    """
    peak = values.detach().abs().amax(dim=1).clamp_min(2.0**-40)
    widest = torch.floor(torch.log2(high / peak)).clamp(-_FRAC_LIMIT, _FRAC_LIMIT)
    best = widest
    smallest = torch.full_like(peak, torch.inf)
    for shift in range(_SHIFTS):
        frac = (widest + shift).clamp(max=_FRAC_LIMIT)
        scale = torch.exp2(frac)[:, None]
        rounded = torch.round(values * scale).clamp(low, high) / scale
        error = (rounded - values).square().mean(dim=1)
        better = error < smallest
        best = torch.where(better, frac, best)
        smallest = torch.where(better, error, smallest)
    return best.to(torch.int32)


class WeightQuantizer(nn.Module):
    """Fake quantization of one weight matrix.

    Parameters
    ----------
    rows : int
        Output rows of the matrix.
    bits : int
        Bits of a weight, sign included.
    per_row : bool
        One scale for each row, else one for the matrix.
    """

    frac: Tensor

    def __init__(self, rows: int, bits: int, per_row: bool) -> None:
        super().__init__()
        self.bits, self.per_row = bits, per_row
        self.limit: int = (1 << (bits - 1)) - 1
        self.register_buffer("frac", torch.zeros(rows if per_row else (), dtype=torch.int32))

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """Choose the scales for `weight`, shape (rows, inputs)."""
        if self.per_row:
            self.frac.copy_(best_frac(weight, -self.limit, self.limit))
        else:
            self.frac.copy_(best_frac(weight.reshape(1, -1), -self.limit, self.limit)[0])

    def forward(self, weight: Tensor) -> Tensor:
        """Give `weight` rounded to the grid."""
        return fake_quantize(weight, self.frac, -self.limit, self.limit)


class ActivationQuantizer(nn.Module):
    """Fake quantization of one activation tensor, with one scale.

    Parameters
    ----------
    bits : int
        Bits of an element, sign included.
    signed : bool
        Two's complement, else 0 to ``2**bits - 1``.
    """

    frac: Tensor

    def __init__(self, bits: int, signed: bool) -> None:
        super().__init__()
        self.bits, self.signed = bits, signed
        self.low: int = -(1 << (bits - 1)) if signed else 0
        self.high: int = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
        self.register_buffer("frac", torch.zeros((), dtype=torch.int32))

    @torch.no_grad()
    def calibrate(self, values: Tensor) -> None:
        """Choose the scale for representative `values` of any shape."""
        self.frac.copy_(best_frac(values.reshape(1, -1), self.low, self.high)[0])

    @property
    def format(self) -> Format:
        """The fixed-point format."""
        return Format(self.bits, int(self.frac), self.signed)

    def forward(self, values: Tensor) -> Tensor:
        """Give `values` rounded to the grid."""
        return fake_quantize(values, self.frac, self.low, self.high)
