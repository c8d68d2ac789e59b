"""A quantized model put together from a float model, its weights in integers, and all formats."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.fixed import MAX_WIDTH, Format, Quantizer
from lmu_hw.model.operations import lower
from lmu_hw.model.program import (
    QuantizedDense,
    QuantizedLayer,
    QuantizedLMU,
    QuantizedModel,
    QuantizedSeparable,
    Weights,
)
from lmu_quantize.model import DenseLayer, FloatModel, Layer, LegendreMemory, MemoryLayer, SeparableLayer
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.sums import layer_sums

__all__ = ["Assembly", "Formats"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Formats = dict[str, Format]


def _bias(name: str, values: FloatArray, fracs: IntArray) -> IntArray:
    """Nearest integers at the scales of the sums that a bias joins."""
    rounded = np.floor(np.ldexp(values, fracs) + 0.5)
    largest = float(np.abs(rounded).max(initial=0.0))
    if not largest < 2.0**MAX_WIDTH:
        raise ValueError(f"{name} reaches {largest:.3g} at the scale of its sum, over {MAX_WIDTH} bits")
    return rounded.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Assembly:
    """Everything but the formats that makes a quantized model.

    Parameters
    ----------
    floats : FloatModel
        The float model.
    weights : list of dict of str to Weights
        For each layer, its matrices in integers.
    config : QuantizationConfig
        Rounding and overflow.
    notes : dict
        Of the quantized model.
    """

    floats: FloatModel
    weights: list[dict[str, Weights]]
    config: QuantizationConfig
    notes: dict[str, Any]

    def __call__(self, formats: Formats) -> QuantizedModel:
        """Build the model, its biases rounded to the scales of the sums that they join.

        Parameters
        ----------
        formats : dict of str to Format
            ``x``, and ``layer{i}.`` followed by ``u``, ``m``, ``f``, ``h``, ``a``, ``b`` and ``table``, those that the
            layer has.

        Raises
        ------
        ValueError
            If a bias exceeds 62 bits at the scale of its sum, or the model is refused.
        """
        bare = QuantizedModel(
            layers=tuple(self._layer(index, layer, formats) for index, layer in enumerate(self.floats.layers)),
            input=formats["x"],
            labels=self.floats.labels,
            name=self.floats.name,
            front_end=self.floats.front_end,
            notes=self.notes,
        )
        sums = {op.target: op.frac for op in lower(bare) if not op.target.endswith(".m")}
        layers: list[QuantizedLayer] = []
        for index, (layer, floats) in enumerate(zip(bare.layers, self.floats.layers, strict=True)):
            integers: dict[str, Any] = {}
            for name, target in ((each.bias, each.target) for each in layer_sums(index, floats)):
                if name in floats.tensors:
                    integers[name] = _bias(f"{target}: the bias {name}", floats.tensors[name], sums[target])
            layers.append(replace(layer, **integers))
        return replace(bare, layers=tuple(layers))

    def _narrow(self, fmt: Format) -> Quantizer:
        return Quantizer(fmt, self.config.rounding, self.config.overflow)

    def _layer(self, index: int, layer: Layer, formats: Formats) -> QuantizedLayer:
        name = f"layer{index}"
        own = {key: formats[f"{name}.{key}"] for key in "umfh" if f"{name}.{key}" in formats}
        narrow: dict[str, Any] = {key: self._narrow(fmt) for key, fmt in own.items()}
        table = formats.get(f"{name}.table")
        weights: dict[str, Any] = dict(self.weights[index])
        if isinstance(layer, DenseLayer):
            return QuantizedDense(h=narrow["h"], activation=layer.activation, table=table, **weights)
        memories: dict[str, Any] = _matrices(layer, formats[f"{name}.a"], formats[f"{name}.b"])
        memories |= {"activation": layer.activation, "stride": layer.stride}
        if isinstance(layer, SeparableLayer):
            return QuantizedSeparable(residual=layer.residual, **memories, **narrow, **weights)
        return QuantizedLMU(u_activation=layer.u_activation, table=table, **memories, **narrow, **weights)


def _matrices(layer: MemoryLayer, fmt_a: Format, fmt_b: Format) -> dict[str, Any]:
    """Distinct integer matrices of the memories, their formats, and which of them each memory uses."""
    distinct: dict[bytes, tuple[int, IntArray, IntArray]] = {}
    index_of: dict[LegendreMemory, int] = {}
    for memory in dict.fromkeys(layer.memories):
        a, b = memory.discretize()
        pair = fmt_a.quantize(a), fmt_b.quantize(b)
        key = pair[0].tobytes() + pair[1].tobytes()
        index_of[memory] = distinct.setdefault(key, (len(distinct), *pair))[0]
    return {
        "matrix": tuple(index_of[memory] for memory in layer.memories),
        "a": tuple(a for _, a, _ in distinct.values()),
        "b": tuple(b for _, _, b in distinct.values()),
        "a_format": fmt_a,
        "b_format": fmt_b,
    }
