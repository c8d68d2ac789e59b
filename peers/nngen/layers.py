"""The products of a network with weights, as dense layers of their own: the same integers for both sides."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding
from lmu_hw.model.golden import Golden
from lmu_hw.model.program import QuantizedDense, QuantizedLMU, QuantizedModel, Weights

__all__ = ["Dense", "dense_layer", "names"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dense:
    """Integer weights times integer frames, sums exact.

    Parameters
    ----------
    name : str
        As ``layer0.w_m``.
    weights : ndarray of int64, shape (rows, columns)
        Integers.
    weight_width : int
        Bits of a weight.
    frames : ndarray of int64, shape (frames, columns)
        What the network multiplies them with.
    frame_format : Format
        Of the elements.
    """

    name: str
    weights: IntArray
    weight_width: int
    frames: IntArray
    frame_format: Format

    @property
    def sums(self) -> IntArray:
        """What both sides must compute, shape (frames, rows)."""
        return self.frames @ self.weights.T

    @property
    def sum_width(self) -> int:
        """Bits of a signed sum that no frame can overflow."""
        largest = max(abs(self.frame_format.min), self.frame_format.max)
        return int(np.abs(self.weights).sum(axis=1).max() * largest).bit_length() + 1

    def model(self) -> QuantizedModel:
        """The layer as a network for our accelerator."""
        weights = Weights(self.weights, self.weight_width, np.zeros(len(self.weights), np.int64))
        exact = Quantizer(Format(self.sum_width, 0), Rounding.HALF_UP, Overflow.SAT)
        source = Format(self.frame_format.width, 0, self.frame_format.signed)
        return QuantizedModel((QuantizedDense(weights, exact),), source, name=self.name)


def names(model: QuantizedModel) -> list[str]:
    """Names of all dense layers of a network."""
    return [
        f"layer{index}.{name}"
        for index, layer in enumerate(model.layers)
        for name in layer.weights
        if name in ("w", "w_x", "w_m")
    ]


def dense_layer(model: QuantizedModel, name: str, frames: IntArray) -> Dense:
    """A dense layer of a network.

    Parameters
    ----------
    model : QuantizedModel
        The network, all layers at the frame rate.
    name : str
        One of `names`.
    frames : ndarray of int64, shape (frames, inputs)
        Of a clip from its start.

    Raises
    ------
    ValueError
        If there is no such layer, or layers rest in some frames.
    """
    if name not in names(model):
        raise ValueError(f"the layer must be one of {', '.join(names(model))}, not {name!r}")
    if max(model.strides) > 1:
        raise ValueError(f"all layers must run at the frame rate, not at strides {model.strides}")
    index, part = int(name.removeprefix("layer").partition(".")[0]), name.partition(".")[2]
    layer, values = model.layers[index], Golden(model).run(frames[None])
    if isinstance(layer, QuantizedLMU) and part == "w_m":
        source, given = layer.m.format, values[f"layer{index}.m"]
    elif index:
        source, given = model.layers[index - 1].output.format, values[f"layer{index - 1}.h"]
    else:
        source, given = model.input, frames[None]
    weights = layer.weights[part]
    return Dense(name, weights.values, weights.width, given[0], source)
