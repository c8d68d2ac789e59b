"""The sums of a layer: which matrices they add up, and which vectors these multiply."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_quantize.model import DenseLayer, Layer, SeparableLayer

__all__ = ["LayerSum", "column_power", "drive", "layer_sums"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LayerSum:
    """One sum of products of a layer.

    Parameters
    ----------
    target : str
        The vector that the sum makes, ``layer{i}.u``, ``.f`` or ``.h``.
    bias : str
        Name of the bias in the layer's ``tensors``, which may lack it.
    pairs : tuple of (str, str)
        The matrices by their names in the layer's ``tensors``, each with the vector that it multiplies.
    residual : str or None
        The vector that is added without a matrix.
    """

    target: str
    bias: str
    pairs: tuple[tuple[str, str], ...]
    residual: str | None = None


def layer_sums(index: int, layer: Layer) -> tuple[LayerSum, ...]:
    """Sums of a layer in the order of computation; those of the memory update are not among them.

    Parameters
    ----------
    index : int
        Position of the layer in its network.
    layer : Layer
        The layer.
    """
    below = "x" if index == 0 else f"layer{index - 1}.h"
    u, m, f, h = (f"layer{index}.{name}" for name in "umfh")
    if isinstance(layer, DenseLayer):
        return (LayerSum(h, "b", (("w", below),)),)
    if isinstance(layer, SeparableLayer):
        encoder = () if layer.e_x is None else (LayerSum(u, "b_u", (("e_x", below),)),)
        filters = LayerSum(f, "b_f", (("w_m", m),))
        return (*encoder, filters, LayerSum(h, "b_h", (("w_f", f),), below if layer.residual else None))
    encoders, kernels = (("e_x", below), ("e_h", h), ("e_m", m)), (("w_x", below), ("w_h", h), ("w_m", m))
    sums = ((u, "b_u", encoders), (h, "b_h", kernels))
    return tuple(
        LayerSum(target, bias, tuple(pair for pair in pairs if pair[0] in layer.tensors))
        for target, bias, pairs in sums
    )


def drive(index: int, layer: Layer) -> str:
    """Name of the vector that the memories of a layer take: u, or the layer's input where it has no encoder."""
    if isinstance(layer, SeparableLayer) and layer.e_x is None:
        return "x" if index == 0 else f"layer{index - 1}.h"
    return f"layer{index}.u"


def column_power(layer: Layer, name: str, power: FloatArray) -> FloatArray:
    """Mean squares of the elements that a matrix multiplies, column by column.

    Parameters
    ----------
    layer : Layer
        The layer.
    name : str
        Name of the matrix in the layer's ``tensors``.
    power : ndarray of float64, shape (size,)
        Mean square of each element of the vector that the matrix multiplies.

    Returns
    -------
    ndarray of float64
        `power`; for filters, which read one memory each, shape (M * F, d).
    """
    if not isinstance(layer, SeparableLayer) or name != "w_m":
        return power
    return np.repeat(power.reshape(len(layer.memories), -1), layer.filters, axis=0)
