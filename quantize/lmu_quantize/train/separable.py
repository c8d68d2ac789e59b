"""The separable layer and the dense layer below it, as PyTorch modules, parallel over time.

The equations of the separable layer::

    u_t = e_x x_t                    or x_t itself, a memory on each input channel
    m_t = A m_{t-1} + B u_t          for each memory
    f_t = relu(w_m m_t + b_f)        each filter reads its own memory only
    h_t = relu(w_f f_t + x_t + b_h)  x_t in a residual layer only

A filter is a kernel over time: its weights times the impulse response of its memory. All frames of a memory's filters
are one product of u with the Toeplitz matrix of their kernels, so the memory state itself is never computed. Between
the products values lie channels first and clips last, so that every product takes its operands as they are.
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmu_hw.checks import require_choice, require_int, require_type
from lmu_quantize.model import DenseLayer, LegendreMemory, SeparableLayer
from lmu_quantize.train.devices import CPU
from lmu_quantize.train.elementwise import normalised_relu
from lmu_quantize.train.quantizers import ActivationQuantizer, QuantizationScheme, WeightQuantizer
from lmu_quantize.train.tensors import float64
from lmu_quantize.train.windows import read_frames, toeplitz

__all__ = ["DenseBlock", "DenseSpec", "SeparableBlock", "SeparableSpec", "dense_shape", "separable_shape"]


@dataclass(frozen=True)
class SeparableSpec:
    """Shape of one separable layer.

    Parameters
    ----------
    units : int
        Hidden units.
    memories : int
        Memories, each with its own element of u; 0 for a memory on each input channel, without ``e_x``.
    order : int
        Legendre coefficients of each memory.
    thetas : tuple of float
        Window lengths in frames of the layer's own input; the memories are divided into as many equal blocks, one for
        each length.
    filters : int
        Filters of each memory.
    stride : int
        The hidden state is computed in every ``stride``-th input frame.
    residual : bool
        Whether the layer's input is added before the last ReLU; then it has as many units as inputs.
    discretizer : {"zoh", "euler"}
        How the memory is made discrete.
    type : {"separable"}
        Tells the layers of a recipe apart.
    """

    units: int
    memories: int = 0
    order: int = 4
    thetas: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0)
    filters: int = 2
    stride: int = 1
    residual: bool = True
    discretizer: str = "zoh"
    type: str = "separable"

    def __post_init__(self) -> None:
        require_choice("layer type", self.type, ("separable",))
        for name in ("units", "order", "filters", "stride"):
            require_int(f"layer {name}", getattr(self, name), 1)
        require_int("layer memories", self.memories, 0)
        require_type("layer residual", self.residual, bool)
        object.__setattr__(self, "thetas", tuple(float(theta) for theta in self.thetas))
        if not self.thetas or self.memories % len(self.thetas):
            raise ValueError(f"layer thetas must divide the {self.memories} memories evenly, not {self.thetas!r}")
        self.windows()

    def windows(self) -> tuple[LegendreMemory, ...]:
        """Memories of each block, one for each window length."""
        return tuple(LegendreMemory(self.order, theta, self.discretizer) for theta in self.thetas)


@dataclass(frozen=True)
class DenseSpec:
    """Shape of one dense ReLU layer, such as the one from mel bands to the units of separable layers.

    Parameters
    ----------
    units : int
        Hidden units.
    type : {"dense"}
        Tells the layers of a recipe apart.
    """

    units: int
    type: str = "dense"

    def __post_init__(self) -> None:
        require_choice("layer type", self.type, ("dense",))
        require_int("layer units", self.units, 1)

    @property
    def stride(self) -> int:
        """A dense layer computes every frame."""
        return 1


class _Affine(nn.Module):
    """Base of the blocks: named weight matrices with quantizers, and sums with batch normalisation or a bias."""

    def __init__(self, spec: DenseSpec | SeparableSpec) -> None:
        super().__init__()
        self.stride = spec.stride
        self.quantizers = nn.ModuleDict()
        self.activations = nn.ModuleDict()

    def weights(self) -> dict[str, nn.Parameter]:
        """Give the weight matrices by the names that the float layer gives them."""
        raise NotImplementedError

    def biases(self) -> dict[str, nn.Parameter]:
        """Give the biases by the names that the float layer gives them."""
        raise NotImplementedError

    def norms(self) -> tuple[tuple[str, str, str], ...]:
        """Attribute of each normalisation, with the names of the matrix and of the bias that absorb it."""
        raise NotImplementedError

    def weight(self, name: str) -> Tensor:
        """Give a weight matrix as the forward pass uses it, on its grid where it is quantized."""
        weight = self.weights()[name]
        return self.quantizers[name](weight) if name in self.quantizers else weight

    def on_grid(self, name: str, values: Tensor, trace: dict[str, Tensor] | None) -> Tensor:
        """Round an activation where it is quantized; the trace receives it before."""
        if trace is not None:
            trace[name] = values
        return self.activations[name](values) if name in self.activations else values

    def activated(self, norm: nn.Module | None, total: Tensor, bias: Tensor, residual: Tensor | None = None) -> Tensor:
        """Normalise a sum of shape (channels, N), or add its bias; add the residual; ReLU."""
        if isinstance(norm, nn.BatchNorm1d):
            return normalised_relu(norm, total, residual)
        total = total + bias[:, None] if norm is None else norm(total)
        return functional.relu(total if residual is None else total + residual)

    def clear_norms(self) -> None:
        """Take the normalisations out; sums have their biases instead."""
        for attribute, _, _ in self.norms():
            setattr(self, attribute, None)

    @torch.no_grad()
    def fold(self) -> None:
        """Absorb batch normalisation into weights and biases; the evaluated function stays the same."""
        for attribute, weight, bias in self.norms():
            norm = getattr(self, attribute)
            if norm is None:
                continue
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            self.biases()[bias].copy_(norm.bias - norm.running_mean * gain)
            self.weights()[weight].mul_(gain[:, None])
        self.clear_norms()

    def activation_bits(self, scheme: QuantizationScheme) -> dict[str, tuple[int, bool]]:
        """Bits and sign of every activation that is rounded, in the order in which they are computed."""
        raise NotImplementedError

    def quantize(self, scheme: QuantizationScheme, layer: int) -> None:
        """Switch fake quantization on, with scales still to be calibrated; `layer` is the number of this one."""
        for name, weight in self.weights().items():
            self.quantizers[name] = scheme.weight_quantizer(layer, name, len(weight))
        for name, (bits, signed) in self.activation_bits(scheme).items():
            self.activations[name] = ActivationQuantizer(bits, signed=signed)

    def calibrate_weights(self) -> None:
        """Choose the scales of the weights for their present values."""
        for name, quantizer in self.quantizers.items():
            if isinstance(quantizer, WeightQuantizer):
                quantizer.calibrate(self.weights()[name])

    def signal_quantizers(self) -> dict[str, ActivationQuantizer]:
        """Give the quantizers of activations by name, where they are quantized."""
        return {name: each for name, each in self.activations.items() if isinstance(each, ActivationQuantizer)}

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> Tensor:
        """Choose the scales of activations for representative inputs, (batch, T, inputs), and give the output."""
        quantizers = self.signal_quantizers()
        computed = x.shape[1] // self.stride
        self.activations = nn.ModuleDict()
        for name, quantizer in quantizers.items():
            seen: dict[str, Tensor] = {}
            self(x, computed, seen)
            quantizer.calibrate(seen[name])
            self.activations[name] = quantizer
        output: Tensor = self(x, computed)
        return output

    @torch.no_grad()
    def start_norm(self, x: Tensor) -> Tensor:
        """Set batch normalisation to change nothing on these frames, and give the layer's output."""
        norms = {attribute: getattr(self, attribute) for attribute, _, _ in self.norms()}
        for attribute, _, bias in self.norms():
            if norms[attribute] is not None:
                setattr(self, attribute, _Starting(norms[attribute], self.biases()[bias]))
        output: Tensor = self(x, x.shape[1] // self.stride)
        for attribute, norm in norms.items():
            setattr(self, attribute, norm)
        return output


class _Starting(nn.Module):
    """In the place of a normalisation: adds the bias, and sets the normalisation so that it does the same."""

    def __init__(self, norm: nn.BatchNorm1d, bias: Tensor) -> None:
        super().__init__()
        self.norm, self.bias = norm, bias

    def forward(self, total: Tensor) -> Tensor:
        """Give the sum, shape (channels, N), with its bias."""
        mean, variance = total.mean(1), total.var(1)
        if self.norm.running_mean is not None and self.norm.running_var is not None:
            self.norm.running_mean.copy_(mean)
            self.norm.running_var.copy_(variance)
        self.norm.bias.copy_(mean + self.bias)
        self.norm.weight.copy_(torch.sqrt(variance + self.norm.eps))
        return total + self.bias[:, None]


def _channels_first(x: Tensor) -> Tensor:
    """View (batch, T, channels) as (channels, T * batch); a copy where the values lie otherwise."""
    return x.permute(2, 1, 0).reshape(x.shape[2], -1)


def _frames_of(values: Tensor, batch: int) -> Tensor:
    """View (channels, T * batch) as (batch, T, channels)."""
    return values.view(len(values), -1, batch).permute(2, 1, 0)


class DenseBlock(_Affine):
    """A dense ReLU layer.

    Parameters
    ----------
    inputs : int
        Elements of an input frame.
    spec : DenseSpec
        Shape of the layer.
    batch_norm : bool
        Normalise the sum over the batch while training.
    """

    name = "dense"

    def __init__(self, inputs: int, spec: DenseSpec, batch_norm: bool) -> None:
        super().__init__(spec)
        self.spec = spec
        self.w = nn.Parameter(torch.randn(spec.units, inputs) * (2 / inputs) ** 0.5)
        self.b = nn.Parameter(torch.zeros(spec.units))
        self.norm = nn.BatchNorm1d(spec.units) if batch_norm else None

    def weights(self) -> dict[str, nn.Parameter]:
        return {"w": self.w}

    def biases(self) -> dict[str, nn.Parameter]:
        return {"b": self.b}

    def norms(self) -> tuple[tuple[str, str, str], ...]:
        return (("norm", "w", "b"),)

    def activation_bits(self, scheme: QuantizationScheme) -> dict[str, tuple[int, bool]]:
        return {"h": (scheme.hidden_bits, False)}

    def forward(self, x: Tensor, last: int, trace: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the output of the last frames, float32, (batch, T, inputs) to (batch, last, units)."""
        read = x[:, x.shape[1] - last :]
        h = self.activated(self.norm, self.weight("w") @ _channels_first(read), self.b)
        return self.on_grid("h", _frames_of(h, len(x)), trace)

    def to_layer(self) -> DenseLayer:
        """Give the layer in float64, weights as in the forward pass; batch normalisation must be folded."""
        return DenseLayer(float64(self.weight("w")), float64(self.b), "relu")


class SeparableBlock(_Affine):
    """A separable layer; see the module's equations.

    Parameters
    ----------
    inputs : int
        Elements of an input frame.
    spec : SeparableSpec
        Shape of the layer.
    batch_norm : bool
        Normalise the sums of filters and units over the batch while training.

    Raises
    ------
    ValueError
        The layer has a residual but not as many units as inputs, or a memory on each input channel and windows that
        do not divide the channels evenly.
    """

    name = "separable"

    def __init__(self, inputs: int, spec: SeparableSpec, batch_norm: bool) -> None:
        super().__init__(spec)
        memories = spec.memories or inputs
        if spec.residual and spec.units != inputs:
            raise ValueError(f"a residual layer of {inputs} inputs must have as many units, not {spec.units}")
        if memories % len(spec.thetas):
            raise ValueError(f"layer thetas must divide the {memories} input channels evenly, not {spec.thetas!r}")
        filters = memories * spec.filters
        self.spec, self.inputs, self.memories = spec, inputs, memories
        self.e_x = nn.Parameter(torch.randn(memories, inputs) * inputs**-0.5) if spec.memories else None
        self.w_m = nn.Parameter(torch.randn(filters, spec.order) * (2 / spec.order) ** 0.5)
        self.b_f = nn.Parameter(torch.zeros(filters))
        self.w_f = nn.Parameter(torch.randn(spec.units, filters) * filters**-0.5)
        self.b_h = nn.Parameter(torch.zeros(spec.units))
        self.f_norm = nn.BatchNorm1d(filters) if batch_norm else None
        self.h_norm = nn.BatchNorm1d(spec.units) if batch_norm else None

    def weights(self) -> dict[str, nn.Parameter]:
        return ({} if self.e_x is None else {"e_x": self.e_x}) | {"w_m": self.w_m, "w_f": self.w_f}

    def biases(self) -> dict[str, nn.Parameter]:
        return {"b_f": self.b_f, "b_h": self.b_h}

    def norms(self) -> tuple[tuple[str, str, str], ...]:
        return (("f_norm", "w_m", "b_f"), ("h_norm", "w_f", "b_h"))

    def activation_bits(self, scheme: QuantizationScheme) -> dict[str, tuple[int, bool]]:
        hidden = {"f": (scheme.hidden_bits, False), "h": (scheme.hidden_bits, False)}
        return hidden if self.e_x is None else {"u": (scheme.u_bits, True)} | hidden

    def kernels(self, frames: int, last: int) -> Tensor:
        """Give the Toeplitz matrix of every memory's filters, shape (memories, filters * last, frames)."""
        weights = self.weight("w_m").view(len(self.spec.thetas), -1, self.spec.order)
        responses = _responses(self.spec.windows(), frames, last, self.spec.stride, self.w_m.device)
        return torch.bmm(weights, responses).view(self.memories, -1, frames)

    def forward(self, x: Tensor, last: int, trace: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the hidden state of the last frames that are computed.

        Parameters
        ----------
        x : Tensor
            float32, shape (batch, T, inputs).
        last : int
            Frames to compute, counted from the end; 1 to T // stride.
        trace : dict, optional
            Receives ``u`` of all frames, ``f`` and ``h`` of those computed, before they are rounded.

        Returns
        -------
        Tensor
            float32, shape (batch, last, units).

        Raises
        ------
        ValueError
            `last` is out of range.
        """
        batch, frames = x.shape[:2]
        read = read_frames(frames, last, self.spec.stride)
        u = x
        if self.e_x is not None:
            u = self.on_grid("u", _frames_of(self.weight("e_x") @ _channels_first(x), batch), trace)
        filtered = torch.bmm(self.kernels(frames, last), u.permute(2, 1, 0)).view(len(self.b_f), -1)
        f = self.on_grid("f", _frames_of(self.activated(self.f_norm, filtered, self.b_f), batch), trace)
        total = self.weight("w_f") @ _channels_first(f)
        residual = _channels_first(x[:, read.start : read.stop : read.step]) if self.spec.residual else None
        return self.on_grid("h", _frames_of(self.activated(self.h_norm, total, self.b_h, residual), batch), trace)

    def to_layer(self) -> SeparableLayer:
        """Give the layer in float64, weights as in the forward pass; batch normalisation must be folded."""
        count = self.memories // len(self.spec.thetas)
        memories = tuple(memory for memory in self.spec.windows() for _ in range(count))
        weights: dict[str, Any] = {name: float64(self.weight(name)) for name in self.weights()}
        biases: dict[str, Any] = {name: float64(bias) for name, bias in self.biases().items()}
        return SeparableLayer(
            memories, weights.pop("e_x", None), **weights, **biases,
            residual=self.spec.residual, activation="relu", stride=self.spec.stride,
        )  # fmt: skip


@functools.lru_cache(maxsize=64)
def _responses(
    memories: tuple[LegendreMemory, ...], frames: int, last: int, stride: int, device: torch.device = CPU
) -> Tensor:
    """Impulse responses as Toeplitz matrices of every coefficient, shape (memories, order, last * frames)."""
    matrices = [toeplitz(memory, frames, last, stride, device) for memory in memories]
    return torch.stack([m.view(last, -1, frames).transpose(0, 1).reshape(-1, last * frames) for m in matrices])


def separable_shape(layer: SeparableLayer) -> SeparableSpec:
    """Shape of a separable layer.

    Raises
    ------
    ValueError
        The memories are not equal blocks that differ in their window only, a bias is missing, or the activation is no
        ReLU.
    """
    distinct = tuple(dict.fromkeys(layer.memories))
    count = len(layer.memories) // len(distinct)
    if tuple(memory for memory in distinct for _ in range(count)) != layer.memories:
        raise ValueError("the memories of a layer must be equal blocks that differ in their window length only")
    if layer.activation != "relu" or layer.b_f is None or layer.b_h is None:
        raise ValueError("a separable layer must be a ReLU layer with both biases")
    return SeparableSpec(
        layer.w_f.shape[0],
        0 if layer.e_x is None else len(layer.memories),
        distinct[0].order,
        tuple(memory.theta for memory in distinct),
        len(layer.w_m) // len(layer.memories),
        layer.stride,
        layer.residual,
        distinct[0].discretizer,
    )


def dense_shape(layer: DenseLayer) -> DenseSpec:
    """Shape of a dense layer below the logits.

    Raises
    ------
    ValueError
        The activation is no ReLU, or there is no bias.
    """
    if layer.activation != "relu" or layer.b is None:
        raise ValueError("a dense layer below the logits must be a ReLU layer with a bias")
    return DenseSpec(layer.units)
