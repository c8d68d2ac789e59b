"""Quantization in training that is the hardware: the forward pass gives the integers of the golden model.

All scales are powers of two, so an integer and its scale are one floating-point number. A product or a sum of such
numbers is exact as long as it fits the significand. Every sum of products of one matrix must therefore stay below 2**24
steps of its grid (float32). Sums of several matrices and biases are taken in float64. Weights, biases, the discrete
memory matrices, activations and the state of every memory are on their grids, and rounding and saturation are those of
`lmu_hw.model.golden`. Rounding the state makes the memory recurrent in the forward pass. Gradients go straight through
every rounding: that of the memory is the transposed product with the impulse response, parallel over time; in a layer
with feedback (``e_h``, ``e_m``, ``w_h``) they go back frame by frame.
"""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding
from lmu_hw.model.program import (
    QuantizedDense,
    QuantizedLayer,
    QuantizedLMU,
    QuantizedModel,
    QuantizedSeparable,
    Weights,
)
from lmu_quantize.calibrate import QuantizationResult
from lmu_quantize.model import DenseLayer, FloatModel, Layer
from lmu_quantize.scales import WeightTerm, floor_power, quantize_terms
from lmu_quantize.train.exact_operations import (
    EXACT,
    ExactNarrow,
    NarrowedSum,
    OnGrid,
    RoundedMemory,
    RoundedUpdate,
    memory_groups,
)
from lmu_quantize.train.quantizers import WeightQuantizer
from lmu_quantize.train.recurrence import recur
from lmu_quantize.train.windows import read_frames

__all__ = ["ExactNetwork"]

SUMS = (("e_x", "e_h", "e_m"), ("w_x", "w_h", "w_m"), ("w",))
"""Matrices that are added up, and so scaled together."""
FEEDBACK = ("e_h", "e_m", "w_h")
"""Matrices that multiply what was computed in an earlier frame."""


def _check(name: str, quantizer: Quantizer) -> None:
    if quantizer.rounding is not Rounding.HALF_UP or quantizer.overflow is Overflow.WRAP:
        raise ValueError(f"{name}: training rounds HALF_UP and saturates, not {quantizer.to_dict()}")


class _Layer(nn.Module):
    """Parameters and formats of one layer; a dense layer has no memory."""

    def __init__(self, floats: Layer, integers: QuantizedLMU | QuantizedDense, frames: int) -> None:
        super().__init__()
        self.integers = integers
        self.weights = nn.ParameterDict()
        self.quantizers = nn.ModuleDict()
        for name, weights in integers.weights.items():
            self.weights[name] = nn.Parameter(torch.from_numpy(floats.tensors[name].astype(np.float32)))
            quantizer = WeightQuantizer(len(weights.frac), weights.width, per_row=True)
            quantizer.frac.copy_(torch.tensor(weights.frac))
            self.quantizers[name] = quantizer
        bias = floats.tensors["b" if isinstance(floats, DenseLayer) else "b_h"]
        self.bias = nn.Parameter(torch.from_numpy(bias.astype(np.float32)))
        self.groups = memory_groups(integers, frames) if isinstance(integers, QuantizedLMU) else []
        self.toeplitz: dict[tuple[range, torch.device], list[Tensor]] = {}

    def quantized(self, name: str) -> Tensor:
        """Give a weight matrix on its grid."""
        quantized: Tensor = self.quantizers[name](self.weights[name])
        return quantized

    def fracs(self, name: str) -> NDArray[np.int64]:
        """Fraction bits of the rows of a matrix."""
        return self.quantizer(name).frac.cpu().numpy().astype(np.int64)

    def quantizer(self, name: str) -> WeightQuantizer:
        """Quantizer of a matrix."""
        quantizer = self.quantizers[name]
        if not isinstance(quantizer, WeightQuantizer):
            raise TypeError(f"{name} must have a WeightQuantizer, not {type(quantizer).__name__}")
        return quantizer

    def source_format(self, name: str, source: Format) -> Format:
        """Format of the vector that a matrix multiplies; `source` is that of the layer's input."""
        if isinstance(self.integers, QuantizedLMU) and name in ("w_m", "e_m"):
            return self.integers.m.format
        return self.integers.h.format if name in ("e_h", "w_h") else source

    def sum_frac(self, source: Format) -> Tensor:
        """Fraction bits of the sum of the hidden state, row by row, as `lmu_hw.model.operations.lower` chooses them."""
        names = [name for name in self.weights if name.startswith("w")]
        terms = [self.quantizer(name).frac + self.source_format(name, source).frac for name in names]
        frac = torch.stack(terms).amax(0)
        return frac + (self.integers.h.format.frac - frac.min()).clamp_min(0)

    def grid_bias(self, source: Format) -> Tensor:
        """Give the bias at the scale of its sum, float64."""
        bias: Tensor = OnGrid.apply(self.bias, self.sum_frac(source))
        return bias

    def states(self, u: Tensor, read: range) -> Tensor:
        """State of all memories in the frames that are read."""
        key = read, u.device
        if key not in self.toeplitz:
            self.toeplitz[key] = [group.toeplitz(u.shape[1], read).to(u.device) for group in self.groups]
        parts, start = [], 0
        for group, toeplitz in zip(self.groups, self.toeplitz[key], strict=True):
            parts.append(RoundedMemory.apply(u[..., start : start + group.count], group, toeplitz, read))
            start += group.count
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def update(self, u: Tensor, state: Tensor) -> Tensor:
        """State of all memories after one frame."""
        counts = [group.count for group in self.groups]
        sizes = [group.count * len(group.b) for group in self.groups]
        parts = zip(u.split(counts, 1), state.split(sizes, 1), self.groups, strict=True)
        return torch.cat([RoundedUpdate.apply(*part) for part in parts], 1)


class ExactNetwork(nn.Module):
    """A network whose forward pass is that of its integers, bit for bit.

    Parameters
    ----------
    start : QuantizationResult
        Where training starts: the floats give the parameters, the quantized model all formats, which stay as they are.
        Layers must be LMU layers with ReLU, and a last dense layer.
    frames : int
        Length of the longest sequence.

    Raises
    ------
    ValueError
        The model has parts that are not trained here, or a sum of products of one matrix may reach 2**24 steps.
    """

    def __init__(self, start: QuantizationResult, frames: int) -> None:
        super().__init__()
        self.start, self.floats = start.model, start.floats
        last = len(start.model.layers) - 1
        checked = [_checked(index, layer, index == last) for index, layer in enumerate(start.model.layers)]
        self.layers = nn.ModuleList(
            _Layer(floats, integers, frames)
            for floats, integers in zip(start.floats.layers, checked, strict=True)
        )
        self.powers: list[dict[str, NDArray[np.float64]]] = []
        self._check_reach()

    def _stages(self) -> list[tuple[_Layer, Format]]:
        """Layers with the formats of their inputs."""
        stages, source = [], self.start.input
        for layer in self.layers:
            if not isinstance(layer, _Layer):
                raise TypeError(f"layers must be _Layer, not {type(layer).__name__}")
            stages.append((layer, source))
            source = layer.integers.output.format
        return stages

    def _check_reach(self) -> None:
        for index, (layer, source) in enumerate(self._stages()):
            for name, weights in layer.integers.weights.items():
                magnitude = layer.source_format(name, source).magnitude
                reach = weights.values.shape[1] * ((1 << (weights.width - 1)) - 1) * magnitude
                if reach >= EXACT:
                    raise ValueError(f"layer{index}.{name}: a sum of products may reach {reach}, over 24 bits")

    @property
    def period(self) -> int:
        """Input frames for one output: the strides multiplied."""
        return math.prod(self.start.strides)

    def hidden(self, frames: Tensor, last: int, trace: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the hidden state of the last LMU layer in the last frames that compute it.

        Parameters
        ----------
        frames : Tensor
            float32, shape (batch, T, inputs); any values, they are quantized first.
        last : int
            Outputs wanted, counted from the end; 1 to T // period.
        trace : dict, optional
            Receives ``layer{i}.u`` of all frames, ``layer{i}.m`` and ``.h`` of those computed, on their grids.

        Returns
        -------
        Tensor
            float32, shape (batch, last, units).
        """
        fmt = self.start.input
        integers = torch.floor(frames.double() * 2.0**fmt.frac + 0.5).clamp(fmt.min, fmt.max)
        value = (integers * 2.0**-fmt.frac).float()
        stages = self._stages()
        for index, (layer, source) in enumerate(stages[:-1]):
            wanted = last if index == len(stages) - 2 else value.shape[1] // self.start.strides[index]
            value = self._lmu(index, layer, source, value, wanted, trace)
        return value

    def _lmu(
        self, index: int, layer: _Layer, source: Format, x: Tensor, last: int, trace: dict[str, Tensor] | None
    ) -> Tensor:
        integers = layer.integers
        if not isinstance(integers, QuantizedLMU):
            raise TypeError(f"layer{index} must be an LMU layer, not {type(integers).__name__}")
        if any(name in layer.weights for name in FEEDBACK):
            return self._recurrent(index, layer, integers, source, x, last, trace)
        no_bias = torch.zeros(len(integers.matrix), device=x.device)
        u = NarrowedSum.apply(ExactNarrow(integers.u), no_bias, x, layer.quantized("e_x"))
        read = read_frames(x.shape[1], last, integers.stride)
        m = layer.states(u, read)
        pairs = [m, layer.quantized("w_m")]
        if integers.w_x is not None:
            pairs += [x[:, read.start : read.stop : read.step], layer.quantized("w_x")]
        h: Tensor = NarrowedSum.apply(ExactNarrow(integers.h, relu=True), layer.grid_bias(source), *pairs)
        if trace is not None:
            trace |= {f"layer{index}.u": u, f"layer{index}.m": m, f"layer{index}.h": h}
        return h

    def _recurrent(
        self, index: int, layer: _Layer, integers: QuantizedLMU, source: Format, x: Tensor, last: int,
        trace: dict[str, Tensor] | None,
    ) -> Tensor:  # fmt: skip
        """Compute the same frame by frame, as state is fed back."""
        weights = {name: layer.quantized(name) for name in layer.weights}
        computed = x[:, integers.stride - 1 :: integers.stride]
        direct = layer.grid_bias(source).expand(len(x), computed.shape[1], -1)
        if integers.w_x is not None:
            direct = direct + functional.linear(computed, weights["w_x"]).double()
        driven, sums = functional.linear(x, weights["e_x"]).unbind(1), direct.unbind(1)

        def narrowed(narrow: ExactNarrow, bias: Tensor, **sources: Tensor) -> Tensor:
            pairs = [(value, weights[name]) for name, value in sources.items() if name in weights]
            total: Tensor = NarrowedSum.apply(narrow, bias, *itertools.chain.from_iterable(pairs))
            return total

        u, m, h = recur(
            x.shape[1],
            integers.stride,
            (x.new_zeros(len(x), integers.state_size), x.new_zeros(len(x), integers.units)),
            lambda now, m, h: narrowed(ExactNarrow(integers.u), driven[now], e_h=h, e_m=m),
            layer.update,
            lambda now, m, h: narrowed(ExactNarrow(integers.h, relu=True), sums[now], w_m=m, w_h=h),
        )
        if trace is not None:
            trace |= {f"layer{index}.u": u, f"layer{index}.m": m[:, -last:], f"layer{index}.h": h[:, -last:]}
        return h[:, -last:]

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute the logits of hidden states, float32, shape (batch, last, outputs)."""
        layer, source = self._stages()[-1]
        pairs = hidden, layer.quantized("w")
        result: Tensor = NarrowedSum.apply(ExactNarrow(layer.integers.h), layer.grid_bias(source), *pairs)
        return result

    @torch.no_grad()
    def shift_logit(self, index: int, offset: float) -> None:
        """Add to the bias of one logit."""
        self._stages()[-1][0].bias[index] += offset

    def forward(self, frames: Tensor, last: int = 1, trace: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the logits of the last frames: those of the golden model, times ``2**-frac`` of their format."""
        return self.logits(self.hidden(frames, last, trace))

    @torch.no_grad()
    def calibrate_weights(self, frames: Tensor | None = None) -> None:
        """Choose the scales of all weights for their present values.

        Parameters
        ----------
        frames : Tensor, optional
            Representative frames, shape (batch, T, inputs), which weigh the errors of the columns; those of the last
            call if not given.
        """
        if frames is not None:
            self.powers = self._measured(frames)
        for (layer, source), powers in zip(self._stages(), self.powers, strict=True):
            for names in SUMS:
                present = [name for name in names if name in layer.weights]
                if not present:
                    continue
                terms = [
                    WeightTerm(
                        layer.weights[name].double().cpu().numpy(), layer.integers.weights[name].width, powers[name],
                        layer.source_format(name, source).frac,
                    )
                    for name in present
                ]  # fmt: skip
                for name, chosen in zip(present, quantize_terms(terms), strict=True):
                    layer.quantizer(name).frac.copy_(torch.tensor(chosen.frac))

    def _measured(self, frames: Tensor) -> list[dict[str, NDArray[np.float64]]]:
        """Mean square of each element that each matrix multiplies, by layer and matrix."""
        trace: dict[str, Tensor] = {}
        self.hidden(frames, frames.shape[1] // self.period, trace)
        powers_of_layers, source = [], _power(frames)
        for index, (layer, _) in enumerate(self._stages()):
            powers = dict.fromkeys(layer.weights, source)
            if "w_m" in powers:
                own_m, own_h = (_power(trace[f"layer{index}.{name}"]) for name in ("m", "h"))
                own = {"w_m": own_m, "e_m": own_m, "e_h": own_h, "w_h": own_h}
                powers |= {name: power for name, power in own.items() if name in powers}
                source = own_h
            powers_of_layers.append(powers)
        return powers_of_layers

    def formats(self) -> dict[str, Any]:
        """Give the formats in JSON form, as `LMUNetwork.formats`, those of memory state, matrices and logits too."""
        entries: list[dict[str, Any]] = []
        for layer, _ in self._stages():
            integers = layer.integers
            weights = {
                name: {"bits": each.width, "frac": layer.fracs(name).tolist()}
                for name, each in integers.weights.items()
            }
            if isinstance(integers, QuantizedDense):
                entries.append({"type": "dense", "h": integers.h.format.to_dict(), "weights": weights})
                continue
            own = {"u": integers.u.format, "m": integers.m.format, "h": integers.h.format}
            own |= {"a": integers.a_format, "b": integers.b_format}
            entries.append(
                {"type": "lmu"} | {name: fmt.to_dict() for name, fmt in own.items()} | {"weights": weights}
            )
        return {"input": self.start.input.to_dict(), "layers": entries}

    @torch.no_grad()
    def to_float_model(
        self,
        labels: tuple[str, ...] = (),
        name: str = "model",
        front_end: dict[str, Any] | None = None,
        notes: dict[str, Any] | None = None,
    ) -> FloatModel:
        """Give the equations in float64, weights and biases on their grids; the rest as `LMUNetwork.to_float_model`."""
        layers: list[Layer] = []
        for floats, (layer, source) in zip(self.floats.layers, self._stages(), strict=True):
            tensors: dict[str, Any] = {
                each: layer.quantized(each).double().cpu().numpy() for each in layer.integers.weights
            }
            tensors["b" if isinstance(floats, DenseLayer) else "b_h"] = layer.grid_bias(source).cpu().numpy()
            layers.append(replace(floats, **tensors))
        return FloatModel(tuple(layers), labels, name, front_end, notes or {})

    @torch.no_grad()
    def to_quantized(self, notes: dict[str, Any] | None = None) -> QuantizedModel:
        """Give the network as integers; its golden model equals the forward pass.

        Parameters
        ----------
        notes : dict, optional
            Notes of the model; those of the start if not given.
        """
        layers: list[QuantizedLMU | QuantizedDense] = []
        for layer, source in self._stages():
            integers = layer.integers
            tensors: dict[str, Any] = {name: self._weights(layer, name) for name in integers.weights}
            bias, frac = (values.cpu().numpy() for values in (layer.grid_bias(source), layer.sum_frac(source)))
            tensors["b" if isinstance(integers, QuantizedDense) else "b_h"] = np.ldexp(bias, frac).astype(np.int64)
            layers.append(replace(integers, **tensors))
        return replace(self.start, layers=tuple(layers), notes=self.start.notes if notes is None else notes)

    @staticmethod
    def _weights(layer: _Layer, name: str) -> Weights:
        frac = layer.fracs(name)
        values = np.rint(np.ldexp(layer.quantized(name).double().cpu().numpy(), frac[:, None])).astype(np.int64)
        return Weights(values, layer.integers.weights[name].width, frac)


def _power(values: Tensor) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = values.double().square().flatten(0, -2).mean(0).cpu().numpy()
    return floor_power(mean)


def _checked(index: int, layer: QuantizedLayer, last: bool) -> QuantizedLMU | QuantizedDense:
    """Refuse a layer that exact training does not support."""
    if isinstance(layer, QuantizedSeparable) or last != isinstance(layer, QuantizedDense):
        raise ValueError("a trained network must be LMU layers and one last dense layer")
    if isinstance(layer, QuantizedDense):
        if layer.activation != "linear" or layer.b is None:
            raise ValueError(f"layer{index} must be linear with a bias to be trained")
        _check(f"layer{index}.h", layer.h)
        return layer
    if layer.b_u is not None or layer.activation != "relu" or layer.u_activation != "linear":
        raise ValueError(f"layer{index} must be a ReLU layer with a linear u without bias to be trained")
    if layer.b_h is None:
        raise ValueError(f"layer{index} must have a bias to be trained")
    for name in ("u", "m", "h"):
        _check(f"layer{index}.{name}", getattr(layer, name))
    return layer
