"""Quantization in training that is the hardware: the forward pass gives the integers of the golden model.

All scales are powers of two, so an integer and its scale are one floating-point number. A product or a sum of such
numbers is exact as long as it fits the significand. Every sum of products of one matrix must therefore stay below 2**24
steps of its grid (float32). Sums of several matrices and biases are taken in float64. Weights, biases, the discrete
memory matrices, activations and the state of every memory are on their grids, and rounding and saturation are those of
`lmu_hw.model.golden`. Rounding the state makes the memory recurrent in the forward pass. Gradients go straight through
every rounding: that of the memory is the transposed product with the impulse response, parallel over time; in a layer
with feedback (``e_h``, ``e_m``, ``w_h``) they go back frame by frame. The residual of a separable layer is added at the
scale of its sum, in float64.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding
from lmu_hw.model.memory_layer import QuantizedMemoryLayer
from lmu_hw.model.operations import vectors
from lmu_hw.model.program import (
    QuantizedDense,
    QuantizedLayer,
    QuantizedLMU,
    QuantizedModel,
    QuantizedSeparable,
    Weights,
)
from lmu_quantize.calibrate import QuantizationResult
from lmu_quantize.model import FloatModel, Layer
from lmu_quantize.scales import WeightTerm, floor_power, quantize_terms
from lmu_quantize.sums import column_power, drive, layer_sums
from lmu_quantize.train.exact_operations import (
    EXACT,
    ExactNarrow,
    Memories,
    NarrowedSum,
    OnGrid,
    RoundedMemory,
    RoundedUpdate,
    filtered,
    memory_groups,
)
from lmu_quantize.train.quantizers import WeightQuantizer
from lmu_quantize.train.recurrence import recur
from lmu_quantize.train.windows import read_frames

__all__ = ["ExactNetwork"]

NAMES: dict[type, str] = {QuantizedLMU: "lmu", QuantizedSeparable: "separable", QuantizedDense: "dense"}
"""Types of layers, as the formats of a trained network name them."""
FEEDBACK = ("e_h", "e_m", "w_h")
"""Matrices that multiply what was computed in an earlier frame."""


def _check(name: str, quantizer: Quantizer) -> None:
    if quantizer.rounding is not Rounding.HALF_UP or quantizer.overflow is Overflow.WRAP:
        raise ValueError(f"{name}: training rounds HALF_UP and saturates, not {quantizer.to_dict()}")


class _Layer(nn.Module):
    """Parameters and formats of one layer; a dense layer has no memory.

    Parameters
    ----------
    index : int
        Position of the layer.
    start : QuantizationResult
        The network.
    formats : mapping of str to Format
        Formats of all vectors.
    frames : int
        Length of the longest sequence.
    """

    def __init__(self, index: int, start: QuantizationResult, formats: Mapping[str, Format], frames: int) -> None:
        super().__init__()
        self.floats, self.integers, self.formats = start.floats.layers[index], start.model.layers[index], formats
        self.sums = {layer_sum.target.split(".")[1]: layer_sum for layer_sum in layer_sums(index, self.floats)}
        self.sources = {name: source for layer_sum in self.sums.values() for name, source in layer_sum.pairs}
        self.weights, self.biases, self.quantizers = nn.ParameterDict(), nn.ParameterDict(), nn.ModuleDict()
        for name, weights in self.integers.weights.items():
            self.weights[name] = nn.Parameter(torch.from_numpy(self.floats.tensors[name].astype(np.float32)))
            quantizer = WeightQuantizer(len(weights.frac), weights.width, per_row=True)
            quantizer.frac.copy_(torch.tensor(weights.frac))
            self.quantizers[name] = quantizer
        for name in (layer_sum.bias for layer_sum in self.sums.values()):
            if name in self.floats.tensors:
                self.biases[name] = nn.Parameter(torch.from_numpy(self.floats.tensors[name].astype(np.float32)))
        driven = drive(index, self.floats)
        self.groups: list[Memories] = []
        if isinstance(self.integers, QuantizedMemoryLayer):
            self.groups = memory_groups(self.integers, formats[driven], frames)
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

    def sum_frac(self, target: str) -> Tensor:
        """Fraction bits of a sum (``f``, ``h``), row by row, as `lmu_hw.model.operations.lower` chooses them."""
        layer_sum = self.sums[target]
        frac = torch.stack([self.quantizer(name).frac + self.formats[each].frac for name, each in layer_sum.pairs])
        finest = self.formats[layer_sum.target].frac
        if layer_sum.residual is not None:
            finest = max(finest, self.formats[layer_sum.residual].frac)
        frac = frac.amax(0)
        return frac + (finest - frac.min()).clamp_min(0)

    def grid_bias(self, target: str) -> Tensor:
        """Give the bias of a sum (``f``, ``h``) at its scale, float64."""
        bias: Tensor = OnGrid.apply(self.biases[self.sums[target].bias], self.sum_frac(target))
        return bias

    def biased(self) -> list[tuple[str, str]]:
        """Sums (``f``, ``h``) that have a bias, each with the bias's name."""
        return [(target, each.bias) for target, each in self.sums.items() if each.bias in self.biases]

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
        All layers must have ReLU and biases, but for a last dense layer without ReLU.
    frames : int
        Length of the longest sequence.

    Raises
    ------
    ValueError
        The model has parts that are not trained here, or a sum of products of one matrix may reach 2**24 steps.
    """

    def __init__(self, start: QuantizationResult, frames: int) -> None:
        super().__init__()
        self.start = start.model
        for index, layer in enumerate(start.model.layers):
            _check_layer(index, layer, last=index == len(start.model.layers) - 1)
        formats = {name: vector.format for name, vector in vectors(start.model).items()}
        self.layers = nn.ModuleList(_Layer(index, start, formats, frames) for index in range(len(start.model.layers)))
        self.powers: list[dict[str, NDArray[np.float64]]] = []
        self._check_reach()

    def _stages(self) -> list[_Layer]:
        """Layers from the input up."""
        for layer in self.layers:
            if not isinstance(layer, _Layer):
                raise TypeError(f"layers must be _Layer, not {type(layer).__name__}")
        return [layer for layer in self.layers if isinstance(layer, _Layer)]

    def _check_reach(self) -> None:
        for index, layer in enumerate(self._stages()):
            for name, weights in layer.integers.weights.items():
                magnitude = layer.formats[layer.sources[name]].magnitude
                reach = weights.values.shape[1] * ((1 << (weights.width - 1)) - 1) * magnitude
                if reach >= EXACT:
                    raise ValueError(f"layer{index}.{name}: a sum of products may reach {reach}, over 24 bits")

    @property
    def period(self) -> int:
        """Input frames for one output: the strides multiplied."""
        return math.prod(self.start.strides)

    def hidden(self, frames: Tensor, last: int, trace: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the output of the layer below the logits in the last frames that compute it.

        Parameters
        ----------
        frames : Tensor
            float32, shape (batch, T, inputs); any values, they are quantized first.
        last : int
            Outputs wanted, counted from the end; 1 to T // period.
        trace : dict, optional
            Receives ``layer{i}.u`` of all frames, ``layer{i}.m``, ``.f`` and ``.h`` of those computed, on their grids.

        Returns
        -------
        Tensor
            float32, shape (batch, last, units).
        """
        fmt = self.start.input
        integers = torch.floor(frames.double() * 2.0**fmt.frac + 0.5).clamp(fmt.min, fmt.max)
        value = (integers * 2.0**-fmt.frac).float()
        stages = self._stages()
        for index, layer in enumerate(stages[:-1]):
            wanted = last if index == len(stages) - 2 else value.shape[1] // self.start.strides[index]
            seen = self._computed(layer, value, wanted)
            if trace is not None:
                trace |= {f"layer{index}.{name}": values for name, values in seen.items()}
            value = seen["h"]
        return value

    def _computed(self, layer: _Layer, x: Tensor, last: int) -> dict[str, Tensor]:
        """Vectors of a layer in its last frames, u of all frames."""
        integers = layer.integers
        if isinstance(integers, QuantizedSeparable):
            return self._separable(layer, integers, x, last)
        if isinstance(integers, QuantizedDense):
            pairs = x[:, x.shape[1] - last :], layer.quantized("w")
            return {"h": NarrowedSum.apply(ExactNarrow(integers.h, relu=True), layer.grid_bias("h"), *pairs)}
        if any(name in layer.weights for name in FEEDBACK):
            return self._recurrent(layer, integers, x, last)
        return self._lmu(layer, integers, x, last)

    @staticmethod
    def _encoded(layer: _Layer, narrow: Quantizer, x: Tensor) -> Tensor:
        """Compute u of a layer that feeds nothing back."""
        weight = layer.quantized("e_x")
        u: Tensor = NarrowedSum.apply(ExactNarrow(narrow), torch.zeros(len(weight), device=x.device), x, weight)
        return u

    def _lmu(self, layer: _Layer, integers: QuantizedLMU, x: Tensor, last: int) -> dict[str, Tensor]:
        u = self._encoded(layer, integers.u, x)
        read = read_frames(x.shape[1], last, integers.stride)
        m = layer.states(u, read)
        pairs = [m, layer.quantized("w_m")]
        if integers.w_x is not None:
            pairs += [x[:, read.start : read.stop : read.step], layer.quantized("w_x")]
        h: Tensor = NarrowedSum.apply(ExactNarrow(integers.h, relu=True), layer.grid_bias("h"), *pairs)
        return {"u": u, "m": m, "h": h}

    def _separable(self, layer: _Layer, integers: QuantizedSeparable, x: Tensor, last: int) -> dict[str, Tensor]:
        encoded = {} if integers.u is None else {"u": self._encoded(layer, integers.u, x)}
        read = read_frames(x.shape[1], last, integers.stride)
        m = layer.states(encoded.get("u", x), read)
        products = filtered(m, layer.quantized("w_m"), integers.filters)
        f = NarrowedSum.apply(ExactNarrow(integers.f, relu=True), products.double() + layer.grid_bias("f"))
        bias = layer.grid_bias("h")
        if integers.residual:
            bias = x[:, read.start : read.stop : read.step].double() + bias
        h = NarrowedSum.apply(ExactNarrow(integers.h, relu=True), bias, f, layer.quantized("w_f"))
        return encoded | {"m": m, "f": f, "h": h}

    def _recurrent(self, layer: _Layer, integers: QuantizedLMU, x: Tensor, last: int) -> dict[str, Tensor]:
        """Compute the same frame by frame, as state is fed back."""
        weights = {name: layer.quantized(name) for name in layer.weights}
        computed = x[:, integers.stride - 1 :: integers.stride]
        direct = layer.grid_bias("h").expand(len(x), computed.shape[1], -1)
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
        return {"u": u, "m": m[:, -last:], "h": h[:, -last:]}

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute the logits of hidden states, float32, shape (batch, last, outputs)."""
        layer = self._stages()[-1]
        pairs = hidden, layer.quantized("w")
        result: Tensor = NarrowedSum.apply(ExactNarrow(layer.integers.h), layer.grid_bias("h"), *pairs)
        return result

    @torch.no_grad()
    def shift_logit(self, index: int, offset: float) -> None:
        """Add to the bias of one logit."""
        self._stages()[-1].biases["b"][index] += offset

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
        for layer, powers in zip(self._stages(), self.powers, strict=True):
            for layer_sum in layer.sums.values():
                terms = [
                    WeightTerm(
                        layer.weights[name].double().cpu().numpy(), layer.integers.weights[name].width, powers[name],
                        layer.formats[source].frac,
                    )
                    for name, source in layer_sum.pairs
                ]  # fmt: skip
                for (name, _), chosen in zip(layer_sum.pairs, quantize_terms(terms), strict=True):
                    layer.quantizer(name).frac.copy_(torch.tensor(chosen.frac))

    def _measured(self, frames: Tensor) -> list[dict[str, NDArray[np.float64]]]:
        """Mean square of each element that each matrix multiplies, by layer and matrix."""
        trace: dict[str, Tensor] = {}
        self.hidden(frames, frames.shape[1] // self.period, trace)
        powers = {name: _power(values) for name, values in (trace | {"x": frames}).items()}
        return [
            {name: column_power(layer.floats, name, powers[source]) for name, source in layer.sources.items()}
            for layer in self._stages()
        ]

    def formats(self) -> dict[str, Any]:
        """Give the formats in JSON form, as `LMUNetwork.formats`, those of memory state, matrices and logits too."""
        entries: list[dict[str, Any]] = []
        for layer in self._stages():
            integers = layer.integers
            own = {name: getattr(integers, name).format for name in "umfh" if getattr(integers, name, None) is not None}
            if isinstance(integers, QuantizedMemoryLayer):
                own |= {"a": integers.a_format, "b": integers.b_format}
            weights = {
                name: {"bits": each.width, "frac": layer.fracs(name).tolist()}
                for name, each in integers.weights.items()
            }
            formats = {name: fmt.to_dict() for name, fmt in own.items()}
            entries.append({"type": NAMES[type(integers)], **formats, "weights": weights})
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
        for layer in self._stages():
            tensors: dict[str, Any] = {each: layer.quantized(each).double().cpu().numpy() for each in layer.weights}
            tensors |= {bias: layer.grid_bias(target).cpu().numpy() for target, bias in layer.biased()}
            layers.append(replace(layer.floats, **tensors))
        return FloatModel(tuple(layers), labels, name, front_end, notes or {})

    @torch.no_grad()
    def to_quantized(self, notes: dict[str, Any] | None = None) -> QuantizedModel:
        """Give the network as integers; its golden model equals the forward pass.

        Parameters
        ----------
        notes : dict, optional
            Notes of the model; those of the start if not given.
        """
        layers: list[QuantizedLayer] = []
        for layer in self._stages():
            tensors: dict[str, Any] = {name: self._weights(layer, name) for name in layer.weights}
            for target, name in layer.biased():
                bias, frac = (values.cpu().numpy() for values in (layer.grid_bias(target), layer.sum_frac(target)))
                tensors[name] = np.ldexp(bias, frac).astype(np.int64)
            layers.append(replace(layer.integers, **tensors))
        return replace(self.start, layers=tuple(layers), notes=self.start.notes if notes is None else notes)

    @staticmethod
    def _weights(layer: _Layer, name: str) -> Weights:
        frac = layer.fracs(name)
        values = np.rint(np.ldexp(layer.quantized(name).double().cpu().numpy(), frac[:, None])).astype(np.int64)
        return Weights(values, layer.integers.weights[name].width, frac)


def _power(values: Tensor) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = values.double().square().flatten(0, -2).mean(0).cpu().numpy()
    return floor_power(mean)


def _check_layer(index: int, layer: QuantizedLayer, last: bool) -> None:
    """Refuse a layer that exact training does not support."""
    if last:
        if not isinstance(layer, QuantizedDense):
            raise ValueError("the last layer of a trained network must be dense")
        if layer.activation != "linear" or layer.b is None:
            raise ValueError(f"layer{index} must be linear with a bias to be trained")
        _check(f"layer{index}.h", layer.h)
        return
    if isinstance(layer, QuantizedLMU):
        if layer.b_u is not None or layer.activation != "relu" or layer.u_activation != "linear":
            raise ValueError(f"layer{index} must be a ReLU layer with a linear u without bias to be trained")
    elif layer.activation != "relu":
        raise ValueError(f"layer{index} must be a ReLU layer to be trained")
    biases = {"b_f", "b_h"} if isinstance(layer, QuantizedSeparable) else {"b", "b_h"}
    if any(getattr(layer, name, 0) is None for name in biases):
        raise ValueError(f"layer{index} must have a bias to be trained")
    for name in "umfh":
        quantizer = getattr(layer, name, None)
        if quantizer is not None:
            _check(f"layer{index}.{name}", quantizer)
