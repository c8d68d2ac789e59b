"""Networks of other kinds for comparison: GRU, LSTM, and a streaming convolutional network.

They have the interface of `LMUNetwork` and go through the same training. Fake quantization puts weights, input and the
output of every layer on fixed-point grids. In a GRU and an LSTM this is the state that the layer feeds back to itself,
rounded in every frame, and an LSTM's cell. Biases, sums, and the outputs of sigmoid and tanh inside the cells stay
floats, so no hardware computes exactly these numbers, and nothing is exported.

The convolutional network is a DS-CNN (Zhang et al. 2017, arXiv:1711.07128) that runs frame by frame: depthwise and
pointwise convolutions over time that see past frames only, with dilation instead of pooling.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmu_hw.checks import require_choice, require_int
from lmu_quantize.train.quantizers import ActivationQuantizer, QuantizationScheme, WeightQuantizer
from lmu_quantize.zoo.cost import REFERENCE_BITS

__all__ = ["KINDS", "CausalConvolution", "PeerNetwork", "PeerSpec", "RecurrentLayer"]

KINDS = ("gru", "lstm", "ds-cnn")
CELL_BITS = 12
"""Bits of an LSTM's cell, the same as of an LMU's memory state."""
FIRST_KERNEL = 3
MATRICES, BIASES = ("weight_ih_l0", "weight_hh_l0"), ("bias_ih_l0", "bias_hh_l0")
"""Of the input and of the state of a recurrent layer, as PyTorch names them."""
BIAS_BITS = 16
GATES = 4
"""Vectors of biases that a recurrent cell has to keep: three or four gates, a GRU's candidate with two."""


@dataclass(frozen=True)
class PeerSpec:
    """Shape of a network of another kind.

    Parameters
    ----------
    kind : {"gru", "lstm", "ds-cnn"}
        Its layers.
    units : int
        Units or channels of every layer.
    depth : int
        Recurrent layers, or pairs of a depthwise and a pointwise convolution, the i-th with dilation ``2**i``.
    kernel : int
        Frames that a depthwise convolution multiplies; recurrent layers do not use it.
    """

    kind: str
    units: int
    depth: int = 2
    kernel: int = 5

    def __post_init__(self) -> None:
        require_choice("network kind", self.kind, KINDS)
        for name in ("units", "depth", "kernel"):
            require_int(f"network {name}", getattr(self, name), 1)


class CausalConvolution(nn.Module):
    """A convolution over present and past frames, batch normalisation, ReLU.

    Parameters
    ----------
    inputs, units : int
        Channels.
    kernel, dilation : int
        Frames that are multiplied, and how far apart they are.
    depthwise : bool
        Whether each channel sees itself only; then there are as many inputs as units.
    batch_norm : bool
        Normalise the sum over the batch while training; `fold` absorbs it into the weights.
    """

    def __init__(
        self, inputs: int, units: int, kernel: int, dilation: int, depthwise: bool, batch_norm: bool
    ) -> None:
        super().__init__()
        self.kernel, self.dilation, self.depthwise = kernel, dilation, depthwise
        fan_in = kernel * (1 if depthwise else inputs)
        self.weight = nn.Parameter(torch.randn(units, fan_in) * (2 / fan_in) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(units))
        self.norm = nn.BatchNorm1d(units) if batch_norm else None
        self.quantizer: WeightQuantizer | None = None
        self.h_quantizer: ActivationQuantizer | None = None

    @property
    def weights(self) -> list[Tensor]:
        """Weight matrices."""
        return [self.weight]

    @property
    def biases(self) -> int:
        """Biases that are kept beside the folded weights."""
        return self.bias.numel()

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output of all frames, float32, (batch, T, inputs) to (batch, T, units)."""
        weight = self.weight if self.quantizer is None else self.quantizer(self.weight)
        # Channels first in memory: every convolution is one matrix product then, and layers pass views to each other.
        inside = x.permute(2, 0, 1)
        if self.depthwise:
            total = torch.baddbmm(self.bias[:, None, None], inside, self._toeplitz(weight, x.shape[1]))
        else:
            taps = self._taps(inside).flatten(1)
            total = torch.addmm(self.bias[:, None], weight, taps).view(-1, *inside.shape[1:])
        if self.norm is not None:
            total = self.norm(total.view(1, len(total), -1)).view_as(total)
        h = functional.relu(total)
        h = h if self.h_quantizer is None else self.h_quantizer(h)
        return h.permute(1, 2, 0)

    def _taps(self, x: Tensor) -> Tensor:
        """Frames that are multiplied, oldest first, (inputs, batch, T) to (kernel * inputs, batch, T)."""
        if self.kernel == 1:
            return x
        padded = functional.pad(x, (self.dilation * (self.kernel - 1), 0))
        return torch.cat([padded[..., lag * self.dilation :][..., : x.shape[2]] for lag in range(self.kernel)])

    def _toeplitz(self, weight: Tensor, frames: int) -> Tensor:
        """Give the matrices from all frames to all frames, shape (units, T, T), of columns by their age."""
        now = torch.arange(frames, device=weight.device)
        age = now - now[:, None]
        taken = torch.stack([age == self.dilation * (self.kernel - 1 - lag) for lag in range(self.kernel)])
        return (weight @ taken.to(weight.dtype).flatten(1)).view(-1, frames, frames)

    @torch.no_grad()
    def fold(self) -> None:
        """Absorb the batch normalisation into the weights; the evaluated function stays the same."""
        norm = self.norm
        if norm is None or norm.running_mean is None or norm.running_var is None:
            return
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.bias.copy_((self.bias - norm.running_mean) * gain + norm.bias)
        self.weight.mul_(gain[:, None])
        self.norm = None

    def quantize(self, scheme: QuantizationScheme) -> None:
        """Fold, then switch fake quantization on, with scales still to be calibrated."""
        self.fold()
        self.quantizer = WeightQuantizer(len(self.weight), scheme.weight_bits, scheme.weight_scale == "row")
        self.h_quantizer = ActivationQuantizer(scheme.hidden_bits, signed=False)

    def calibrate_weights(self) -> None:
        """Choose the scales of the weights for their present values."""
        if self.quantizer is not None:
            self.quantizer.calibrate(self.weight)

    def calibrate(self, x: Tensor) -> None:
        """Choose the scales of weights and output for representative inputs of `forward`."""
        self.calibrate_weights()
        quantizer, self.h_quantizer = self.h_quantizer, None
        if quantizer is not None:
            quantizer.calibrate(self(x))
        self.h_quantizer = quantizer


class RecurrentLayer(nn.Module):
    """A GRU or an LSTM layer of PyTorch; quantized, with the same equations, frame by frame.

    Parameters
    ----------
    kind : {"gru", "lstm"}
        Which cell.
    inputs, units : int
        Elements of an input frame and of the state.
    """

    def __init__(self, kind: str, inputs: int, units: int) -> None:
        super().__init__()
        self.kind, self.units = kind, units
        self.cell = (nn.GRU if kind == "gru" else nn.LSTM)(inputs, units, batch_first=True)
        self.quantizers = nn.ModuleDict()
        self.h_quantizer: ActivationQuantizer | None = None
        self.c_quantizer: ActivationQuantizer | None = None

    @property
    def weights(self) -> list[Tensor]:
        """Weight matrices."""
        return [getattr(self.cell, name) for name in MATRICES]

    @property
    def biases(self) -> int:
        """Biases that are kept, those of one sum added up."""
        return GATES * self.units

    def forward(self, x: Tensor) -> Tensor:
        """Compute the state of all frames, float32, (batch, T, inputs) to (batch, T, units)."""
        if self.h_quantizer is None:
            states: Tensor = self.cell(x)[0]
            return states
        return self.steps(x)[0]

    def steps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute state and cell (of a GRU the state again) of all frames, one after the other."""
        w_x, w_h = (
            self.quantizers[name](weight) if name in self.quantizers else weight
            for name, weight in zip(MATRICES, self.weights, strict=True)
        )
        b_x, b_h = (getattr(self.cell, name) for name in BIASES)
        driven = functional.linear(x, w_x, b_x).unbind(1)
        h = c = x.new_zeros(len(x), self.units)
        states, cells = [], []
        for now in driven:
            fed_back = functional.linear(h, w_h, b_h)
            h, c = self._gru(now, fed_back, h) if self.kind == "gru" else self._lstm(now + fed_back, c)
            states.append(h)
            cells.append(c)
        return torch.stack(states, 1), torch.stack(cells, 1)

    def _gru(self, driven: Tensor, fed_back: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Give the next state twice, of sums from the input and from the last state."""
        units = self.units
        reset, update = torch.sigmoid(driven[:, : 2 * units] + fed_back[:, : 2 * units]).chunk(2, 1)
        candidate = torch.tanh(driven[:, 2 * units :] + reset * fed_back[:, 2 * units :])
        h = candidate + update * (h - candidate)
        h = h if self.h_quantizer is None else self.h_quantizer(h)
        return h, h

    def _lstm(self, total: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Give the next state and cell, of the sums of all gates."""
        write, keep, candidate, read = total.chunk(4, 1)
        c = torch.sigmoid(keep) * c + torch.sigmoid(write) * torch.tanh(candidate)
        c = c if self.c_quantizer is None else self.c_quantizer(c)
        h = torch.sigmoid(read) * torch.tanh(c)
        return h if self.h_quantizer is None else self.h_quantizer(h), c

    def quantize(self, scheme: QuantizationScheme) -> None:
        """Switch fake quantization on, with scales still to be calibrated."""
        for name, weight in zip(MATRICES, self.weights, strict=True):
            self.quantizers[name] = WeightQuantizer(len(weight), scheme.weight_bits, scheme.weight_scale == "row")
        self.h_quantizer = ActivationQuantizer(scheme.hidden_bits, signed=True)
        self.c_quantizer = ActivationQuantizer(CELL_BITS, signed=True) if self.kind == "lstm" else None

    def calibrate_weights(self) -> None:
        """Choose the scales of the weights for their present values."""
        for name, quantizer in self.quantizers.items():
            quantizer.calibrate(getattr(self.cell, name))  # type: ignore[operator]

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Choose the scales of weights, state and cell for representative inputs of `forward`."""
        self.calibrate_weights()
        quantizers = self.h_quantizer, self.c_quantizer
        self.h_quantizer = self.c_quantizer = None
        for quantizer, values in zip(quantizers, self.steps(x), strict=True):
            if quantizer is not None:
                quantizer.calibrate(values)
        self.h_quantizer, self.c_quantizer = quantizers


class PeerNetwork(nn.Module):
    """Layers of another kind and a dense layer of logits, with the interface of `LMUNetwork`.

    Parameters
    ----------
    inputs : int
        Elements of an input frame.
    spec : PeerSpec
        The layers.
    outputs : int
        Number of logits.
    batch_norm : bool
        Batch normalisation of convolutions until they are quantized.
    dropout : float
        Fraction of the elements of every layer's output dropped in training, 0 to below 1.
    """

    period = 1
    """Input frames for one output."""

    def __init__(
        self, inputs: int, spec: PeerSpec, outputs: int, batch_norm: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.spec = spec
        self.layers = nn.ModuleList(_layers(inputs, spec, batch_norm))
        self.dropout = nn.Dropout(dropout)
        self.w = nn.Parameter(torch.randn(outputs, spec.units) * spec.units**-0.5)
        self.b = nn.Parameter(torch.zeros(outputs))
        self.w_quantizer: WeightQuantizer | None = None
        self.x_quantizer: ActivationQuantizer | None = None

    def forward(self, frames: Tensor, last: int = 1, trace: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the logits of the last frames, as `LMUNetwork.forward`; the trace receives ``layer{i}.h`` only."""
        return self.logits(self.hidden(frames, last, trace))

    def hidden(self, frames: Tensor, last: int = 1, trace: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the output of the last layer in the last frames, float32, shape (batch, last, units)."""
        value = frames if self.x_quantizer is None else self.x_quantizer(frames)
        for index, layer in enumerate(self.layers):
            value = layer(value)
            if trace is not None:
                trace[f"layer{index}.h"] = value
            value = self.dropout(value)
        return value[:, value.shape[1] - last :]

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute the logits of hidden states, float32, shape (batch, last, outputs)."""
        return functional.linear(hidden, self.w if self.w_quantizer is None else self.w_quantizer(self.w), self.b)

    @torch.no_grad()
    def shift_logit(self, index: int, offset: float) -> None:
        """Add to the bias of one logit."""
        self.b[index] += offset

    def quantize(self, scheme: QuantizationScheme) -> None:
        """Switch fake quantization on; `calibrate` must follow."""
        for layer in self.layers:
            layer.quantize(scheme)  # type: ignore[operator]
        self.w_quantizer = WeightQuantizer(len(self.w), scheme.weight_bits, scheme.weight_scale == "row")
        self.x_quantizer = ActivationQuantizer(scheme.input_bits, signed=True)

    def calibrate_weights(self) -> None:
        """Choose the scales of all weights for their present values."""
        for layer in self.layers:
            layer.calibrate_weights()  # type: ignore[operator]
        if self.w_quantizer is not None:
            self.w_quantizer.calibrate(self.w)

    @torch.no_grad()
    def calibrate(self, frames: Tensor) -> None:
        """Choose all scales, from the input up, for representative frames, float32, shape (batch, T, inputs)."""
        if self.x_quantizer is None:
            raise ValueError("quantize the network before its scales are calibrated")
        self.calibrate_weights()
        self.x_quantizer.calibrate(frames)
        value = self.x_quantizer(frames)
        for layer in self.layers:
            layer.calibrate(value)  # type: ignore[operator]
            value = layer(value)

    def size(self, weight_bits: int, input_bits: int = 8, hidden_bits: int = 7) -> dict[str, Any]:
        """Count what the network keeps and what it does in a frame.

        Parameters
        ----------
        weight_bits, input_bits, hidden_bits : int
            Bits of a weight, of an element of the input, and of a hidden element; biases have 16.

        Returns
        -------
        dict
            ``parameters``; ``weight_bits``, of all weights; ``storage_bits``, with biases; ``multiplications`` and
            ``fetched_bits`` of weights per frame; ``equivalent_products``, the multiplications as so many of 4 x 7
            bits. Products inside the cells count: three for each unit, of two hidden elements.
        """
        layers: list[Any] = list(self.layers)
        weights = self.w.numel() + sum(weight.numel() for layer in layers for weight in layer.weights)
        biases = self.b.numel() + sum(layer.biases for layer in layers)
        cells = 3 * sum(layer.units for layer in layers if isinstance(layer, RecurrentLayer))
        first: Tensor = layers[0].weights[0]
        hidden = (weights - first.numel()) * hidden_bits
        squared_bits = weight_bits * (first.numel() * input_bits + hidden) + cells * hidden_bits**2
        return {
            "parameters": weights + biases,
            "weight_bits": weight_bits * weights,
            "storage_bits": weight_bits * weights + BIAS_BITS * biases,
            "multiplications": weights + cells,
            "equivalent_products": squared_bits / REFERENCE_BITS,
            "fetched_bits": weight_bits * weights,
        }


def _layers(inputs: int, spec: PeerSpec, batch_norm: bool) -> list[nn.Module]:
    if spec.kind != "ds-cnn":
        sizes = [inputs] + [spec.units] * (spec.depth - 1)
        return [RecurrentLayer(spec.kind, size, spec.units) for size in sizes]
    layers: list[nn.Module] = [CausalConvolution(inputs, spec.units, FIRST_KERNEL, 1, False, batch_norm)]
    for index in range(spec.depth):
        layers.append(CausalConvolution(spec.units, spec.units, spec.kernel, 2**index, True, batch_norm))
        layers.append(CausalConvolution(spec.units, spec.units, 1, 1, False, batch_norm))
    return layers
