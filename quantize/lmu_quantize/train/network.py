"""The network as a PyTorch module, trained in parallel over time where nothing is fed back.

The cell is the feed-forward one of the keyword-spotting LMU: ``u_t = e_x x_t``, ``m_t = A m_{t-1} + B u_t`` for each
memory, ``h_t = relu(w_x x_t + w_m m_t + b_h)``. As u does not depend on the memory, the memory of all frames is one
product of u with a Toeplitz matrix (`lmu_quantize.train.windows`). A layer may have the feedback of the 2019 cell too,
``e_h h_{t-1}`` and ``e_m m_{t-1}`` in u and ``w_h h_{t-1}`` in the hidden state; it runs frame by frame
(`lmu_quantize.train.recurrence`). The result equals `lmu_quantize.model.FloatModel.run` to the tolerance of float32.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lmu_hw.checks import require_int, require_type
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, LMULayer, SeparableLayer
from lmu_quantize.scales import WeightTerm, quantize_terms
from lmu_quantize.train.elementwise import Dropout
from lmu_quantize.train.quantizers import ActivationQuantizer, QuantizationScheme, WeightQuantizer
from lmu_quantize.train.recurrence import recur
from lmu_quantize.train.separable import (
    DenseBlock,
    DenseSpec,
    SeparableBlock,
    SeparableSpec,
    dense_shape,
    separable_shape,
)
from lmu_quantize.train.tensors import float64
from lmu_quantize.train.windows import LearntWindows, read_frames, toeplitz

__all__ = ["Block", "LMUBlock", "LMUNetwork", "LayerShape", "LayerSpec", "make_block", "storage_bits"]


@dataclass(frozen=True)
class LayerSpec:
    """Shape of one LMU layer.

    Parameters
    ----------
    units : int
        Hidden units.
    memories : int
        Memories, each with its own element of u.
    order : int
        Legendre coefficients of each memory.
    thetas : tuple of float
        Window lengths in frames; the memories are divided into as many equal blocks, one for each length.
    discretizer : {"zoh", "euler"}
        How the memory is made discrete.
    input_weights : bool
        Whether the hidden units see the layer's input directly (``w_x``).
    stride : int
        The hidden state is computed in every ``stride``-th input frame.
    learn_theta : bool
        Whether float training learns the window lengths, one for each block of memories; `thetas` are where it starts.
    hidden_feedback : bool
        Whether u sees the previous hidden state (``e_h``).
    memory_feedback : bool
        Whether u sees the previous memory state (``e_m``).
    hidden_weights : bool
        Whether the hidden units see the previous hidden state (``w_h``).
    """

    units: int = 112
    memories: int = 16
    order: int = 8
    thetas: tuple[float, ...] = (24.0,)
    discretizer: str = "zoh"
    input_weights: bool = True
    stride: int = 1
    learn_theta: bool = False
    hidden_feedback: bool = False
    memory_feedback: bool = False
    hidden_weights: bool = False

    def __post_init__(self) -> None:
        for name in ("units", "memories", "order", "stride"):
            require_int(f"layer {name}", getattr(self, name), 1)
        object.__setattr__(self, "thetas", tuple(float(theta) for theta in self.thetas))
        if not self.thetas or self.memories % len(self.thetas):
            raise ValueError(f"layer thetas must divide the {self.memories} memories evenly, not {self.thetas!r}")
        for name in ("input_weights", "learn_theta", "hidden_feedback", "memory_feedback", "hidden_weights"):
            require_type(f"layer {name}", getattr(self, name), bool)
        self.groups()

    @property
    def recurrent(self) -> bool:
        """Whether anything is fed back, so that the layer runs frame by frame."""
        return self.hidden_feedback or self.memory_feedback or self.hidden_weights

    def groups(self) -> tuple[tuple[LegendreMemory, int], ...]:
        """Memories of one window length and how many there are of them, in order."""
        count = self.memories // len(self.thetas)
        return tuple((LegendreMemory(self.order, theta, self.discretizer), count) for theta in self.thetas)


class LMUBlock(nn.Module):
    """One LMU layer.

    Matrices that feed back start at zero: training starts with the feed-forward layer.

    Parameters
    ----------
    inputs : int
        Elements of an input frame.
    spec : LayerSpec
        Shape of the layer.
    batch_norm : bool
        Normalise the hidden sum over the batch while training; `fold` absorbs it into the weights. Not in a recurrent
        layer, where the statistics of all frames would be needed before the first.
    """

    name = "lmu"

    def __init__(self, inputs: int, spec: LayerSpec, batch_norm: bool) -> None:
        super().__init__()
        self.spec, self.inputs = spec, inputs
        states = spec.memories * spec.order
        self.e_x = nn.Parameter(torch.randn(spec.memories, inputs) * inputs**-0.5)
        self.w_m = nn.Parameter(torch.randn(spec.units, states) * states**-0.5)
        self.w_x = nn.Parameter(torch.randn(spec.units, inputs) * inputs**-0.5) if spec.input_weights else None
        self.b_h = nn.Parameter(torch.zeros(spec.units))
        self.e_h = nn.Parameter(torch.zeros(spec.memories, spec.units)) if spec.hidden_feedback else None
        self.e_m = nn.Parameter(torch.zeros(spec.memories, states)) if spec.memory_feedback else None
        self.w_h = nn.Parameter(torch.zeros(spec.units, spec.units)) if spec.hidden_weights else None
        memories = tuple(memory for memory, _ in spec.groups())
        self.windows = LearntWindows(memories) if spec.learn_theta else None
        self.norm = nn.BatchNorm1d(spec.units) if batch_norm and not spec.recurrent else None
        self.quantizers = nn.ModuleDict()
        self.u_quantizer: ActivationQuantizer | None = None
        self.h_quantizer: ActivationQuantizer | None = None

    def weights(self) -> dict[str, nn.Parameter]:
        """Give the weight matrices by the names that `LMULayer` gives them."""
        optional = {"w_x": self.w_x, "e_h": self.e_h, "e_m": self.e_m, "w_h": self.w_h}
        present = {name: weight for name, weight in optional.items() if weight is not None}
        return {"e_x": self.e_x, "w_m": self.w_m} | present

    def biases(self) -> dict[str, nn.Parameter]:
        """Give the biases by the names that `LMULayer` gives them."""
        return {"b_h": self.b_h}

    def signal_quantizers(self) -> dict[str, ActivationQuantizer]:
        """Give the quantizers of u and of the hidden state, where they are quantized."""
        both = {"u": self.u_quantizer, "h": self.h_quantizer}
        return {name: quantizer for name, quantizer in both.items() if quantizer is not None}

    def weight(self, name: str) -> Tensor:
        """Give a weight matrix as the forward pass uses it, on its grid where it is quantized."""
        weight = self.weights()[name]
        return self.quantizers[name](weight) if name in self.quantizers else weight

    def groups(self) -> tuple[tuple[LegendreMemory, int], ...]:
        """Memories of one window length and how many there are of them, in order; learnt ones as they are now."""
        if self.windows is None:
            return self.spec.groups()
        counts = (count for _, count in self.spec.groups())
        return tuple(zip(self.windows.learnt(), counts, strict=True))

    def memory(self, u: Tensor, last: int) -> Tensor:
        """Compute the state of all memories.

        Parameters
        ----------
        u : Tensor
            float32, shape (batch, T, memories).
        last : int
            Computed frames of which the state is wanted, counted from the end; 1 to T // stride.

        Returns
        -------
        Tensor
            float32, shape (batch, last, memories * order), memory-major.
        """
        return self._memory_major(self.order_major(u, last))

    def _memory_major(self, states: list[Tensor]) -> Tensor:
        parts = [m.unflatten(2, (self.spec.order, -1)).transpose(2, 3).flatten(2) for m in states]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def order_major(self, u: Tensor, last: int) -> list[Tensor]:
        """Compute the same state for each block of memories, shape (batch, last, order * count), order-major.

        The product with the Toeplitz matrix gives it in this order without a copy.
        """
        frames, stride, start, parts = u.shape[1], self.spec.stride, 0, []
        learnt = None if self.windows is None else self.windows.toeplitz(frames, last, stride)
        for index, (memory, count) in enumerate(self.spec.groups()):
            matrix = toeplitz(memory, frames, last, stride, u.device) if learnt is None else learnt[index]
            state = matrix @ u[..., start : start + count]
            parts.append(state.view(len(u), last, self.spec.order * count))
            start += count
        return parts

    def order_major_weights(self) -> list[Tensor]:
        """Give ``w_m`` for each block of memories, its columns in the order of `order_major`."""
        units, order = self.spec.units, self.spec.order
        sizes = [count * order for _, count in self.spec.groups()]
        parts = self.weight("w_m").split(sizes, dim=1)
        return [part.view(units, -1, order).transpose(1, 2).reshape(units, -1) for part in parts]

    def forward(self, x: Tensor, last: int, trace: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the hidden state of the last frames that are computed.

        Parameters
        ----------
        x : Tensor
            float32, shape (batch, T, inputs).
        last : int
            Frames to compute, counted from the end; 1 to T // stride.
        trace : dict, optional
            Receives ``u``, ``m`` and ``h``.

        Returns
        -------
        Tensor
            float32, shape (batch, last, units).

        Raises
        ------
        ValueError
            `last` is out of range.
        """
        read = read_frames(x.shape[1], last, self.spec.stride)
        if self.spec.recurrent:
            u, m, h = self._recurrent(x)
            if trace is not None:
                trace |= {"u": u, "m": m[:, -last:], "h": h[:, -last:]}
            return h[:, -last:]
        u = functional.linear(x, self.weight("e_x"))
        if trace is not None:
            trace["u"] = u
        if self.u_quantizer is not None:
            u = self.u_quantizer(u)
        states = self.order_major(u, last)
        if trace is not None:
            trace["m"] = self._memory_major(states)
        parts = zip(states, self.order_major_weights(), strict=True)
        state, weight = next(parts)
        total = functional.linear(state, weight, self.b_h)
        for state, weight in parts:
            total = total + functional.linear(state, weight)
        if self.w_x is not None:
            total = total + functional.linear(x[:, read.start : read.stop : read.step], self.weight("w_x"))
        if self.norm is not None:
            total = self.norm(total.reshape(-1, self.spec.units)).view_as(total)
        h = functional.relu(total)
        if trace is not None:
            trace["h"] = h
        return h if self.h_quantizer is None else self.h_quantizer(h)

    def _recurrent(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute u before it is quantized, and memory and hidden state of all frames that are computed."""
        stride, (a, b) = self.spec.stride, self._matrices(x.device)
        weights = {name: self.weight(name) for name in self.weights()}
        driven = functional.linear(x, weights["e_x"]).unbind(1)
        direct = self.b_h.expand(len(x), x.shape[1] // stride, -1)
        if self.w_x is not None:
            direct = direct + functional.linear(x[:, stride - 1 :: stride], weights["w_x"])
        sums = direct.unbind(1)

        def encode(now: int, m: Tensor, h: Tensor) -> Tensor:
            u = driven[now] if self.e_h is None else driven[now] + functional.linear(h, weights["e_h"])
            return u if self.e_m is None else u + functional.linear(m, weights["e_m"])

        def remember(u: Tensor, m: Tensor) -> Tensor:
            u = u if self.u_quantizer is None else self.u_quantizer(u)
            state = torch.einsum("bgco,gpo->bgcp", m.view(len(m), len(a), -1, self.spec.order), a)
            return (state + u.view(len(u), len(a), -1, 1) * b[:, None]).flatten(1)

        def read_out(now: int, m: Tensor, h: Tensor) -> Tensor:
            total = sums[now] + functional.linear(m, weights["w_m"])
            total = total if self.w_h is None else total + functional.linear(h, weights["w_h"])
            h = functional.relu(total)
            return h if self.h_quantizer is None else self.h_quantizer(h)

        start = x.new_zeros(len(x), self.w_m.shape[1]), x.new_zeros(len(x), self.spec.units)
        return recur(x.shape[1], stride, start, encode, remember, read_out)

    def _matrices(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Give A and B of every block of memories, float32, shapes (blocks, order, order) and (blocks, order)."""
        if self.windows is not None:
            a, b = self.windows.discretized()
            return a.float(), b.float()
        found = [memory.discretize() for memory, _ in self.spec.groups()]
        a, b = (torch.from_numpy(np.stack(each).astype(np.float32)) for each in zip(*found, strict=True))
        return a.to(device), b.to(device)

    @torch.no_grad()
    def start_norm(self, x: Tensor) -> Tensor:
        """Set the batch normalisation to change nothing on these frames, and give the layer's output."""
        norm, self.norm = self.norm, None
        trace: dict[str, Tensor] = {}
        stride = self.spec.stride
        self(x, x.shape[1] // stride, trace)
        if self.spec.recurrent:
            return trace["h"]
        total = functional.linear(trace["m"], self.w_m, self.b_h)
        if self.w_x is not None:
            total = total + functional.linear(x[:, stride - 1 :: stride], self.w_x)
        self.norm = norm
        if norm is not None and norm.running_mean is not None and norm.running_var is not None:
            mean, variance = total.flatten(0, 1).mean(0), total.flatten(0, 1).var(0)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.bias.copy_(mean)
            norm.weight.copy_(torch.sqrt(variance + norm.eps))
        return functional.relu(total)

    @torch.no_grad()
    def fold(self) -> None:
        """Absorb the batch normalisation into the weights; the evaluated function stays the same."""
        norm = self.norm
        if norm is None or norm.running_mean is None or norm.running_var is None:
            return
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.b_h.copy_((self.b_h - norm.running_mean) * gain + norm.bias)
        for name, weight in self.weights().items():
            if name.startswith("w"):
                weight.mul_(gain[:, None])
        self.norm = None

    def quantize(self, scheme: QuantizationScheme, layer: int) -> None:
        """Switch fake quantization on, with scales still to be calibrated; learnt windows stay as they are."""
        if self.windows is not None:
            self.windows.requires_grad_(False)
        for name, weight in self.weights().items():
            self.quantizers[name] = scheme.weight_quantizer(layer, name, len(weight))
        self.u_quantizer = ActivationQuantizer(scheme.u_bits, signed=True)
        self.h_quantizer = ActivationQuantizer(scheme.hidden_bits, signed=False)

    @torch.no_grad()
    def calibrate_weights(self) -> None:
        """Choose the scales of the weights for their present values.

        The matrices of one sum are scaled together, by the rule that the hardware asks for: their fraction bits differ
        by the same number in every row.
        """
        for names in (("e_x", "e_h", "e_m"), ("w_x", "w_h", "w_m")):
            weights = {name: weight for name, weight in self.weights().items() if name in names}
            quantizers = [self._weight_quantizer(name) for name in weights]
            if not quantizers[0].per_row:
                for quantizer, weight in zip(quantizers, weights.values(), strict=True):
                    quantizer.calibrate(weight)
                continue
            terms = [
                WeightTerm(float64(weight), quantizer.bits, np.ones(weight.shape[1]), 0)
                for quantizer, weight in zip(quantizers, weights.values(), strict=True)
            ]
            for quantizer, chosen in zip(quantizers, quantize_terms(terms), strict=True):
                quantizer.frac.copy_(torch.tensor(chosen.frac))

    def _weight_quantizer(self, name: str) -> WeightQuantizer:
        quantizer = self.quantizers[name]
        if not isinstance(quantizer, WeightQuantizer):
            raise TypeError(f"{name} must have a WeightQuantizer, not {type(quantizer).__name__}")
        return quantizer

    @torch.no_grad()
    def to_layer(self) -> LMULayer:
        """Give the layer in float64, weights as in the forward pass; batch normalisation must be folded."""
        memories = tuple(memory for memory, count in self.groups() for _ in range(count))
        weights: dict[str, Any] = {name: float64(self.weight(name)) for name in self.weights()}
        return LMULayer(
            memories,
            b_h=float64(self.b_h),
            activation="relu",
            stride=self.spec.stride,
            **weights,
        )

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> Tensor:
        """Choose the scales of u and of the hidden state for representative inputs, and give the layer's output."""
        quantizers = self.u_quantizer, self.h_quantizer
        if quantizers[0] is None or quantizers[1] is None:
            raise ValueError("quantize the network before its scales are calibrated")
        computed = x.shape[1] // self.spec.stride
        self.u_quantizer = self.h_quantizer = None
        seen: dict[str, Tensor] = {}
        self(x, computed, seen)
        quantizers[0].calibrate(seen["u"])
        self.u_quantizer = quantizers[0]
        self(x, computed, seen)
        quantizers[1].calibrate(seen["h"])
        self.h_quantizer = quantizers[1]
        output: Tensor = self(x, computed)
        return output


Block = LMUBlock | SeparableBlock | DenseBlock
"""A layer below the logits."""
LayerShape = LayerSpec | SeparableSpec | DenseSpec
"""The shape of one."""


def make_block(inputs: int, spec: LayerShape, batch_norm: bool) -> Block:
    """Make a layer with random weights."""
    if isinstance(spec, SeparableSpec):
        return SeparableBlock(inputs, spec, batch_norm)
    if isinstance(spec, DenseSpec):
        return DenseBlock(inputs, spec, batch_norm)
    return LMUBlock(inputs, spec, batch_norm)


class LMUNetwork(nn.Module):
    """LMU, separable and dense layers, and a dense layer of logits.

    Parameters
    ----------
    inputs : int
        Elements of an input frame.
    layers : tuple of LayerSpec, SeparableSpec or DenseSpec
        Layers below the logits, one or more.
    outputs : int
        Number of logits.
    batch_norm : bool
        Batch normalisation in every layer below the logits until `fold`.
    dropout : float
        Fraction of hidden elements dropped in training, 0 to below 1.
    """

    def __init__(
        self, inputs: int, layers: tuple[LayerShape, ...], outputs: int, batch_norm: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        sizes = (inputs, *(spec.units for spec in layers))
        self.blocks = nn.ModuleList(
            make_block(size, spec, batch_norm) for size, spec in zip(sizes, layers, strict=False)
        )
        self.dropout = Dropout(dropout)
        self.w = nn.Parameter(torch.randn(outputs, sizes[-1]) * sizes[-1] ** -0.5)
        self.b = nn.Parameter(torch.zeros(outputs))
        self.w_quantizer: WeightQuantizer | None = None
        self.x_quantizer: ActivationQuantizer | None = None

    @classmethod
    def from_float(cls, model: FloatModel) -> "LMUNetwork":
        """Build the network of a float model, without batch normalisation.

        Parameters
        ----------
        model : FloatModel
            ReLU layers with biases, with equally many memories for each window length, and a dense layer of logits.

        Raises
        ------
        ValueError
            The model has other layers.
        """
        shapes = tuple(layer_shape(layer) for layer in model.layers[:-1])
        network = cls(model.inputs, shapes, model.outputs, batch_norm=False)
        network.start_from(model, torch.zeros(1, network.period, model.inputs))
        return network

    def hidden_blocks(self) -> list[Block]:
        """List the layers below the logits, first to last."""
        return [block for block in self.blocks if isinstance(block, Block)]

    @property
    def period(self) -> int:
        """Input frames for one output: the strides multiplied."""
        return math.prod(block.spec.stride for block in self.hidden_blocks())

    def forward(self, frames: Tensor, last: int = 1, trace: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the last logits of each sequence.

        Parameters
        ----------
        frames : Tensor
            float32, shape (batch, T, inputs).
        last : int
            Outputs wanted, counted from the end; 1 to T // period.
        trace : dict, optional
            Receives ``x`` and, for layer i, ``layer{i}.u``, ``.m`` and ``.h``; of the frames that were computed.

        Returns
        -------
        Tensor
            float32, shape (batch, last, outputs).
        """
        return self.logits(self.hidden(frames, last, trace))

    def hidden(self, frames: Tensor, last: int = 1, trace: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the hidden state of the last LMU layer, float32, shape (batch, last, units); else as `forward`."""
        if trace is not None:
            trace["x"] = frames
        value = frames if self.x_quantizer is None else self.x_quantizer(frames)
        blocks = self.hidden_blocks()
        for index, block in enumerate(blocks):
            seen: dict[str, Tensor] | None = None if trace is None else {}
            wanted = last if index == len(blocks) - 1 else value.shape[1] // block.spec.stride
            value = self.dropout(block(value, wanted, seen))
            if trace is not None and seen is not None:
                trace.update({f"layer{index}.{name}": tensor for name, tensor in seen.items()})
        return value

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute the logits of hidden states, float32, shape (batch, last, outputs)."""
        return functional.linear(hidden, self._output_weight(), self.b)

    @torch.no_grad()
    def shift_logit(self, index: int, offset: float) -> None:
        """Add to the bias of one logit."""
        self.b[index] += offset

    def _output_weight(self) -> Tensor:
        return self.w if self.w_quantizer is None else self.w_quantizer(self.w)

    @torch.no_grad()
    def start_from(self, model: FloatModel, frames: Tensor) -> None:
        """Take the weights of a float model; batch normalisation is set so that it changes nothing on these frames.

        Windows are taken too, where they are learnt.

        Parameters
        ----------
        model : FloatModel
            A network of the same shape.
        frames : Tensor
            float32, shape (batch, T, inputs); representative frames.

        Raises
        ------
        ValueError
            A matrix is missing or has another shape.
        """
        own = [block.weights() | block.biases() for block in self.hidden_blocks()] + [{"w": self.w, "b": self.b}]
        if [{name: tuple(p.shape) for name, p in named.items()} for named in own] != [
            {name: tensor.shape for name, tensor in layer.tensors.items()} for layer in model.layers
        ]:
            raise ValueError(f"the layers of {model.name!r} do not have the shapes of the recipe")
        for named, layer in zip(own, model.layers, strict=True):
            for name, parameter in named.items():
                parameter.copy_(torch.tensor(layer.tensors[name]))
        for block, layer in zip(self.hidden_blocks(), model.layers, strict=False):
            if isinstance(block, LMUBlock) and block.windows is not None and isinstance(layer, LMULayer):
                step = len(layer.memories) // len(block.spec.thetas)
                block.windows.start_from(tuple(memory.theta for memory in layer.memories[::step]))
        value = frames
        for block in self.hidden_blocks():
            value = block.start_norm(value)

    def fold(self) -> None:
        """Absorb every batch normalisation into the weights."""
        for block in self.hidden_blocks():
            block.fold()

    def quantize(self, scheme: QuantizationScheme) -> None:
        """Fold, then switch fake quantization on; `calibrate` must follow."""
        self.fold()
        blocks = self.hidden_blocks()
        for layer, block in enumerate(blocks):
            block.quantize(scheme, layer)
        self.w_quantizer = scheme.weight_quantizer(len(blocks), "w", len(self.w))
        self.x_quantizer = ActivationQuantizer(scheme.input_bits, signed=True)

    def calibrate_weights(self) -> None:
        """Choose the scales of all weights for their present values."""
        for block in self.hidden_blocks():
            block.calibrate_weights()
        if self.w_quantizer is not None:
            self.w_quantizer.calibrate(self.w)

    @torch.no_grad()
    def calibrate(self, frames: Tensor) -> None:
        """Choose the scales of all weights, then those of all activations, layer by layer from the input up.

        Parameters
        ----------
        frames : Tensor
            float32, shape (batch, T, inputs); representative input frames.
        """
        if self.x_quantizer is None:
            raise ValueError("quantize the network before its scales are calibrated")
        self.calibrate_weights()
        self.x_quantizer.calibrate(frames)
        value = self.x_quantizer(frames)
        for block in self.hidden_blocks():
            value = block.calibrate(value)

    def formats(self) -> dict[str, Any]:
        """Give the fixed-point formats in JSON form.

        Returns
        -------
        dict
            ``input`` and, in ``layers``, ``u`` and ``h`` of each LMU layer as ``width``, ``frac`` and ``signed``; the
            weights' ``bits`` and ``frac`` (a list with one entry for each row, or one number) by name. The dense layer
            comes last. Empty where the network is not quantized.
        """
        if self.x_quantizer is None or self.w_quantizer is None:
            return {}
        layers: list[dict[str, Any]] = []
        for block in self.hidden_blocks():
            signals = {name: format_dict(each) for name, each in block.signal_quantizers().items()}
            weights = {name: weight_dict(quantizer) for name, quantizer in block.quantizers.items()}
            layers.append({"type": block.name} | signals | {"weights": weights})
        layers.append({"type": "dense", "weights": {"w": weight_dict(self.w_quantizer)}})
        return {"input": format_dict(self.x_quantizer), "layers": layers}

    @torch.no_grad()
    def to_float_model(
        self,
        labels: tuple[str, ...] = (),
        name: str = "model",
        front_end: dict[str, Any] | None = None,
        notes: dict[str, Any] | None = None,
    ) -> FloatModel:
        """Give the network as equations in float64.

        Batch normalisation is folded first. A quantized network gives its weights as they lie on their grids; its
        activations are not rounded in the result (`formats` has their formats).

        Parameters
        ----------
        labels, name, front_end, notes
            As `FloatModel` takes them.
        """
        self.fold()
        layers = [block.to_layer() for block in self.hidden_blocks()]
        dense = DenseLayer(float64(self._output_weight()), float64(self.b))
        return FloatModel((*layers, dense), labels, name, front_end, notes or {})


def layer_shape(layer: LMULayer | SeparableLayer | DenseLayer) -> LayerShape:
    """Shape of a layer below the logits."""
    if isinstance(layer, DenseLayer):
        return dense_shape(layer)
    if isinstance(layer, SeparableLayer):
        return separable_shape(layer)
    distinct = tuple(dict.fromkeys(layer.memories))
    spec = LayerSpec(
        units=layer.w_m.shape[0],
        memories=len(layer.memories),
        order=distinct[0].order,
        thetas=tuple(memory.theta for memory in distinct),
        discretizer=distinct[0].discretizer,
        input_weights=layer.w_x is not None,
        stride=layer.stride,
        hidden_feedback=layer.e_h is not None,
        memory_feedback=layer.e_m is not None,
        hidden_weights=layer.w_h is not None,
    )
    if tuple(memory for memory, count in spec.groups() for _ in range(count)) != layer.memories:
        raise ValueError("the memories of a layer must be equal blocks that differ in their window length only")
    if layer.activation != "relu" or layer.u_activation != "linear":
        raise ValueError("a layer must be a ReLU layer with a linear u")
    return spec


def format_dict(quantizer: ActivationQuantizer) -> dict[str, Any]:
    fmt = quantizer.format
    return {"width": fmt.width, "frac": fmt.frac, "signed": fmt.signed}


def weight_dict(quantizer: nn.Module) -> dict[str, Any]:
    if not isinstance(quantizer, WeightQuantizer):
        raise TypeError(f"weights must have a WeightQuantizer, not {type(quantizer).__name__}")
    return {"bits": quantizer.bits, "frac": quantizer.frac.tolist()}


def storage_bits(
    model: FloatModel, scheme: QuantizationScheme, bias_bits: int = 16, matrix_bits: int = 16
) -> tuple[int, int]:
    """Bits that a model's constants take.

    Parameters
    ----------
    model : FloatModel
        The network.
    scheme : QuantizationScheme
        Bits of an element of each weight matrix.
    bias_bits : int
        Bits of a bias.
    matrix_bits : int
        Bits of an element of the discrete memory matrices; memories of one layer that are equal share theirs.

    Returns
    -------
    weights, everything : int
        Of weight matrices, and of these, biases and memory matrices.
    """
    weights = rest = 0
    for index, layer in enumerate(model.layers):
        for name, tensor in layer.tensors.items():
            if name.startswith("b"):
                rest += tensor.size * bias_bits
            else:
                weights += tensor.size * scheme.bits(index, name)
        if not isinstance(layer, DenseLayer):
            rest += sum(memory.order * (memory.order + 1) * matrix_bits for memory in set(layer.memories))
    return weights, weights + rest
