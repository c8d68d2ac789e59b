"""Parts that all loaders share: naming the file in errors, and putting layers in order."""

import contextlib
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.files import file_sha256
from lmu_quantize.float_file import ModelFileError
from lmu_quantize.loaders.errors import LayerOrderError, MissingHyperparameters
from lmu_quantize.loaders.options import LoadOptions
from lmu_quantize.model import DenseLayer, FloatModel, Layer, LMULayer

__all__ = ["Chain", "bare_model", "drop_zero_terms", "from_bfloat16", "in_order", "make_model", "naming"]

BEHIND_SOFTMAX = "the softmax of layer {!r} is not the last layer, which is not supported"


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn errors of a malformed file into a `ModelFileError` of one line that names the file."""
    try:
        yield
    except (MissingHyperparameters, LayerOrderError) as error:
        raise error.named(os.fspath(path)) from None
    except ModelFileError:
        raise
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelFileError(f"{os.fspath(path)}: {' '.join(str(error).split())}") from None
    except (RuntimeError, OverflowError, LookupError, AttributeError, TypeError, lzma.LZMAError) as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelFileError(f"{os.fspath(path)}: damaged, or not as its tool writes it ({problem})") from None


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Values of bfloat16 numbers, which are the upper halves of float32 numbers."""
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _orders(sequences: Sequence[Sequence[str]], layers: Mapping[str, Layer], size: int | None) -> Iterator[list[str]]:
    """Orders in which every layer takes the outputs of the one before; `size` are those before the first, if known."""
    if not any(sequences):
        yield []
    for index, sequence in enumerate(sequences):
        if sequence and size in (None, layers[sequence[0]].inputs):
            rest = [*sequences[:index], sequence[1:], *sequences[index + 1 :]]
            for tail in _orders(rest, layers, layers[sequence[0]].units):
                yield [sequence[0], *tail]


def in_order(
    layers: Mapping[str, Layer], sequences: Sequence[Sequence[str]], names: Sequence[str] | None
) -> dict[str, Layer]:
    """Order layers so that each takes the outputs of the one before.

    Parameters
    ----------
    layers : mapping of str to LMULayer or DenseLayer
        Layers by name.
    sequences : sequence of sequence of str
        Names whose mutual order is known; together every layer once.
    names : sequence of str or None
        All names in order, if the caller knows it.

    Returns
    -------
    dict of str to layer
        In the order of `names`, or in the only order whose sizes fit.

    Raises
    ------
    LayerOrderError
        If no order fits, or more than one does.
    ValueError
        If `names` does not name each layer once.
    """
    if names is not None:
        if sorted(names) != sorted(layers):
            raise ValueError(f"layers must name each of {', '.join(layers)} once, not {', '.join(names)}")
        sequences = [list(names)]
    orders = _orders(sequences, layers, None)
    first, second = next(orders, None), next(orders, None)
    if first is None or second is not None:
        sizes = {name: (layer.inputs, layer.units) for name, layer in layers.items()}
        raise LayerOrderError(sizes, ambiguous=first is not None)
    return {name: layers[name] for name in first}


def bare_model(
    path: Path,
    file_format: str,
    layers: Mapping[str, Layer],
    sequences: Sequence[Sequence[str]],
    options: LoadOptions,
    remarks: Sequence[str] = (),
) -> FloatModel:
    """Make the model of a file without a configuration: layers in order, with the activations that the caller gives.

    Parameters
    ----------
    path, file_format, remarks
        As in `make_model`.
    layers : mapping of str to LMULayer or DenseLayer
        Layers by name.
    sequences : sequence of sequence of str
        As in `in_order`.
    options : LoadOptions
        With ``layers`` and ``dense_activation`` where they are needed.
    """
    ordered = in_order(layers, sequences, options.layers)
    remark = f"the file has no configuration; layers in order: {', '.join(ordered)}"
    return make_model(path, file_format, _dense_activations(ordered, options), [remark, *remarks])


def _dense_activations(layers: Mapping[str, Layer], options: LoadOptions) -> list[Layer]:
    """Give dense layers the option ``dense_activation``, needed for all but the last, which is linear unless given."""
    out: list[Layer] = []
    for index, (name, layer) in enumerate(layers.items()):
        if isinstance(layer, DenseLayer):
            if index < len(layers) - 1:
                activation = options.need(name, "dense_activation")[0]
            else:
                per_name = options.get("dense_activation", name)
                activation = "linear" if per_name is None else per_name
            layer = replace(layer, activation=activation)
        out.append(layer)
    return out


def drop_zero_terms(layer: LMULayer, name: str) -> tuple[LMULayer, list[str]]:
    """Leave out optional tensors that are all zeros; also return a remark for each."""
    optional = ("e_h", "e_m", "w_x", "w_h")
    zero = [term for term in optional if getattr(layer, term) is not None and not getattr(layer, term).any()]
    remarks = [f"{term} of layer {name!r} is all zeros and was left out" for term in zero]
    absent: dict[str, Any] = dict.fromkeys(zero)
    return replace(layer, **absent), remarks


class Chain:
    """Layers of a model in order, while a configuration is read.

    Parameters
    ----------
    size : int or None
        Elements of an input frame, if known.
    sequence : bool
        Whether the input is a sequence of frames, rather than one vector.
    """

    def __init__(self, size: int | None, sequence: bool) -> None:
        self.layers: list[Layer] = []
        self.remarks: list[str] = []
        self.size = size
        self.sequence = sequence
        self._softmax: str | None = None

    def add(self, layer: Layer) -> None:
        """Append a layer."""
        if self._softmax is not None:
            raise ValueError(BEHIND_SOFTMAX.format(self._softmax))
        self.layers.append(layer)
        self.size = layer.units

    def activation(self, name: str, function: str) -> None:
        """Apply an activation function to the output so far: in the last layer, or in an identity layer of its own."""
        if function == "linear":
            return
        if self._softmax is not None:
            raise ValueError(BEHIND_SOFTMAX.format(self._softmax))
        if function == "softmax":
            self._softmax = name
            self.remarks.append(f"the softmax of layer {name!r} was left out: the outputs are logits")
            return
        last = self.layers[-1] if self.layers else None
        recurrent = isinstance(last, LMULayer) and (last.e_h is not None or last.w_h is not None)
        if last is not None and last.activation == function == "relu":
            return
        if last is not None and last.activation == "linear" and not recurrent:
            self.layers[-1] = replace(last, activation=function)
            return
        if self.size is None:
            raise ValueError(f"layer {name!r}: the number of elements of an input frame is not known")
        self.add(DenseLayer(w=np.eye(self.size), activation=function))
        self.remarks.append(f"activation layer {name!r} became a dense layer with identity weights")


def make_model(path: Path, file_format: str, layers: Sequence[Layer], remarks: Sequence[str]) -> FloatModel:
    """Make the model; its notes hold the file's name, format and SHA-256, and what the loader left out or added."""
    source = {"file": path.name, "format": file_format, "sha256": file_sha256(path)}
    return FloatModel(tuple(layers), name=path.name.split(".")[0], notes={"source": source, "remarks": list(remarks)})
