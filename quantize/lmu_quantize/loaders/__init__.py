"""Load trained LMU models of other frameworks, without those frameworks."""

import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lmu_quantize.float_file import load_float
from lmu_quantize.loaders.assemble import naming
from lmu_quantize.loaders.errors import LayerOrderError, MissingHyperparameters
from lmu_quantize.loaders.keras import load_keras, load_weights_h5, reading_h5
from lmu_quantize.loaders.keras_h5 import load_keras_h5
from lmu_quantize.loaders.options import LoadOptions
from lmu_quantize.loaders.torch_state import load_torch, load_torch_safetensors
from lmu_quantize.model import FloatModel

__all__ = ["FORMATS", "LayerOrderError", "LoadOptions", "MissingHyperparameters", "load_model", "sniff"]

_PLAIN: dict[str, Callable[[Path], FloatModel]] = {"float": load_float, "keras": load_keras}
_OPTIONAL: dict[str, Callable[[Path, LoadOptions], FloatModel]] = {
    "weights.h5": load_weights_h5,
    "keras-h5": load_keras_h5,
    "torch": load_torch,
    "safetensors": load_torch_safetensors,
}
_KERAS = ("order", "theta", "discretizer", "activation", "dense_activation", "inputs", "layers")
_TORCH = ("theta", "discretizer", "activation", "u_activation", "dense_activation", "layers")

FORMATS: dict[str, tuple[str, ...]] = {
    "float": (),
    "keras": (),
    "weights.h5": _KERAS,
    "keras-h5": _KERAS,
    "torch": _TORCH,
    "safetensors": _TORCH,
}
"""File formats, with the fields of `LoadOptions` that each takes."""

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
PICKLE_MAGIC = b"\x80\x02"


def sniff(path: str | os.PathLike[str]) -> str:
    """Recognize the format of a model file by its content.

    Parameters
    ----------
    path : path-like
        The file, under any name.

    Returns
    -------
    str
        A key of `FORMATS`.

    Raises
    ------
    ModelFileError
        If it is a folder, damaged or of no known format.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with naming(path):
        if path.is_dir():
            raise ValueError("is a folder; of a TensorFlow SavedModel, save the Keras model as .keras instead")
        with path.open("rb") as file:
            head = file.read(9)
        if head.startswith(HDF5_MAGIC):
            with reading_h5(path) as content:
                bare = "layers" in content and "model_config" not in content.attrs
            return "weights.h5" if bare else "keras-h5"
        if head.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            if "config.json" in names:
                return "keras"
            if any(name.endswith("/data.pkl") for name in names):
                return "torch"
        elif head.startswith(PICKLE_MAGIC):
            return "torch"
        elif head[8:] == b"{":
            try:
                with safe_open(path, framework="numpy") as content:
                    ours = "schema" in (content.metadata() or {})
            except SafetensorError as error:
                raise ValueError(f"not a whole safetensors file: {error}") from None
            return "float" if ours else "safetensors"
        raise ValueError("not a .keras, Keras HDF5, PyTorch or safetensors file")


def load_model(
    path: str | os.PathLike[str], *, name: str | None = None, labels: Sequence[str] | None = None, **overrides: Any
) -> FloatModel:
    """Load a trained model from a file of any supported format, which is recognized by its content.

    Parameters
    ----------
    path : path-like
        ``.keras``, ``.weights.h5``, legacy Keras ``.h5`` or ``.hdf5``, PyTorch state dict, or safetensors: a state dict
        or what `save_float` writes.
    name : str, optional
        Name of the model; the file's name up to its first dot unless given or stored.
    labels : sequence of str, optional
        Names of the outputs.
    **overrides
        Fields of `LoadOptions`: hyperparameters that the format does not hold. `FORMATS` lists those that each takes.

    Returns
    -------
    FloatModel
        Its notes have the file's name, format and SHA-256 under ``source``, and under ``remarks`` what the loader left
        out or added.

    Raises
    ------
    ModelFileError
        If the file is damaged, of no known format, or not supported; one line that names the file.
    MissingHyperparameters, LayerOrderError
        If the file leaves open what `overrides` can give; both are a `ModelFileError`.
    TypeError
        If the format takes no such override.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    file_format = sniff(path)
    accepted = FORMATS[file_format]
    for option in overrides:
        if option not in accepted:
            takes = f"takes {', '.join(accepted)}" if accepted else "takes no options"
            raise TypeError(f"{path}: a file of format {file_format} {takes}, not {option!r}")
    if file_format in _PLAIN:
        model = _PLAIN[file_format](path)
    else:
        model = _OPTIONAL[file_format](path, LoadOptions(**overrides))
    if name is not None:
        model = replace(model, name=name)
    if labels is not None:
        with naming(path):
            model = replace(model, labels=tuple(labels))
    return model
