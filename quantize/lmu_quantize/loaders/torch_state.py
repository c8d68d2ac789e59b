"""Load state dicts of the published PyTorch LMU and LMUFFT, alone or inside a model with linear layers.

Below any prefix::

    LMU      e_x (1, x), e_h (1, H), e_m (1, d), W_x (H, x), W_h (H, H), W_m (H, d), A (d, d), B (d, 1)
    LMUFFT   W_u.weight (1, x), W_u.bias (1,), W_h.weight (H, d + x) of [m, x], W_h.bias (H,), A, B, H, fft_H

Neither holds the window: it is found from ``A`` and ``B``. A two-dimensional ``weight``, with its ``bias`` if there is
one, is a dense layer. PyTorch is imported only to read its own file format; a safetensors file needs no PyTorch.
"""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from lmu_hw.files import read_limited
from lmu_quantize.loaders.assemble import bare_model, drop_zero_terms, from_bfloat16, naming
from lmu_quantize.loaders.errors import MissingHyperparameters
from lmu_quantize.loaders.legendre import AmbiguousWindow, stored_memory
from lmu_quantize.loaders.limits import MOST_NUMBERS, check_archive, check_numbers
from lmu_quantize.loaders.options import LoadOptions
from lmu_quantize.model import DenseLayer, FloatModel, Layer, LegendreMemory, LMULayer

__all__ = ["load_torch", "load_torch_safetensors"]

FloatArray = NDArray[np.float64]

LMU_NAMES = ("e_x", "e_h", "e_m", "W_x", "W_h", "W_m")
FFT_NAMES = ("W_u.weight", "W_u.bias", "W_h.weight", "W_h.bias")
FFT_DERIVED = ("H", "fft_H")
ELEMENT_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
"""NumPy types of the elements of a safetensors file."""

WRAPPERS = ("state_dict", "model_state_dict", "model")


def _prefix(name: str, suffix: str) -> str | None:
    """Prefix of a tensor's name, ending in a dot or empty, if the rest is `suffix`."""
    prefix = name.removesuffix(suffix)
    return prefix if prefix != name and prefix[-1:] in ("", ".") else None


def _memory(
    name: str, prefix: str, tensors: dict[str, FloatArray], order: int, options: LoadOptions
) -> tuple[LegendreMemory, list[str]]:
    a, b = tensors.pop(f"{prefix}A", None), tensors.pop(f"{prefix}B", None)
    theta, discretizer = options.get("theta", name), options.get("discretizer", name)
    if a is None or b is None:
        (theta,) = options.need(name, "theta")
        return LegendreMemory(order, theta, discretizer or "zoh"), []
    try:
        memory = stored_memory(a, b, order=order, theta=theta, discretizer=discretizer)
    except AmbiguousWindow:
        raise MissingHyperparameters(name, ["theta"]) from None
    except ValueError as error:
        raise ValueError(f"layer {name!r}: tensors {prefix}A and {prefix}B: {error}") from None
    if memory.order != order:
        raise ValueError(f"layer {name!r}: tensor {prefix}A must have order {order}, not {memory.order}")
    if theta is not None:
        return memory, []
    window = f"theta {memory.theta:.9g}, {memory.discretizer}"
    return memory, [f"the memory of layer {name!r} was found from A and B: {window}"]


def _take(prefix: str, tensors: dict[str, FloatArray], names: Sequence[str], ndim: int) -> dict[str, FloatArray]:
    taken = {}
    for name in names:
        if f"{prefix}{name}" not in tensors:
            raise ValueError(f"tensor {prefix}{name} is missing")
        taken[name] = tensors.pop(f"{prefix}{name}")
        if taken[name].ndim != (1 if name.endswith(".bias") else ndim):
            raise ValueError(f"tensor {prefix}{name} must have {ndim} dimensions, not shape {taken[name].shape}")
    return taken


def _lmu(name: str, prefix: str, tensors: dict[str, FloatArray], options: LoadOptions) -> tuple[LMULayer, list[str]]:
    weights = _take(prefix, tensors, LMU_NAMES, ndim=2)
    memory, remarks = _memory(name, prefix, tensors, weights["W_m"].shape[1], options)
    layer = LMULayer(
        memories=(memory,),
        e_x=weights["e_x"],
        e_h=weights["e_h"],
        e_m=weights["e_m"],
        w_x=weights["W_x"],
        w_h=weights["W_h"],
        w_m=weights["W_m"],
        activation=options.get("activation", name) or "tanh",
        u_activation=options.get("u_activation", name) or "linear",
    )
    layer, more = drop_zero_terms(layer, name)
    return layer, remarks + more


def _fft(name: str, prefix: str, tensors: dict[str, FloatArray], options: LoadOptions) -> tuple[LMULayer, list[str]]:
    weights = _take(prefix, tensors, FFT_NAMES, ndim=2)
    for derived in FFT_DERIVED:
        tensors.pop(f"{prefix}{derived}", None)
    inputs = weights["W_u.weight"].shape[1]
    order = weights["W_h.weight"].shape[1] - inputs
    if order < 1:
        raise ValueError(f"tensor {prefix}W_h.weight must have more than {inputs} columns")
    memory, remarks = _memory(name, prefix, tensors, order, options)
    layer = LMULayer(
        memories=(memory,),
        e_x=weights["W_u.weight"],
        b_u=weights["W_u.bias"],
        w_m=weights["W_h.weight"][:, :order],
        w_x=weights["W_h.weight"][:, order:],
        b_h=weights["W_h.bias"],
        activation=options.get("activation", name) or "relu",
        u_activation=options.get("u_activation", name) or "relu",
    )
    return layer, remarks


def _model(
    path: Path, file_format: str, tensors: dict[str, FloatArray], ordered: bool, options: LoadOptions
) -> FloatModel:
    """Make the model of a state dict; `ordered` says that its tensors are in the order of the layers."""
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all() and not name.endswith(FFT_DERIVED):
            raise ValueError(f"tensor {name} must be finite, found NaN or infinity")
    classes = _layer_classes(tensors)
    names = {prefix: prefix.removesuffix(".").removesuffix(".cell") or "lmu" for prefix in classes}
    options.check_layers(list(names.values()))
    layers: dict[str, Layer] = {}
    remarks: list[str] = []
    for prefix, layer_class in classes.items():
        name = names[prefix]
        if layer_class == "dense":
            layers[name] = DenseLayer(w=tensors.pop(f"{prefix}weight"), b=tensors.pop(f"{prefix}bias", None))
        else:
            read = _lmu if layer_class == "lmu" else _fft
            layers[name], more = read(name, prefix, tensors, options)
            remarks += more
    for name, tensor in tensors.items():
        raise ValueError(f"tensor {name} of shape {tensor.shape} is not part of an LMU, an LMUFFT or a linear layer")
    sequences = [list(layers)] if ordered else [[name] for name in layers]
    return bare_model(path, file_format, layers, sequences, options, remarks)


def _layer_classes(tensors: Mapping[str, FloatArray]) -> dict[str, str]:
    """Class of each layer (lmu, fft or dense) by the prefix of its tensors, in their order."""
    classes: dict[str, str] = {}
    for name, tensor in tensors.items():
        for suffix, layer_class in (("e_x", "lmu"), ("W_u.weight", "fft")):
            prefix = _prefix(name, suffix)
            if prefix is not None:
                classes[prefix] = layer_class
        prefix = _prefix(name, "weight")
        if prefix is not None and tensor.ndim == 2 and not prefix.endswith(("W_u.", "W_h.")):
            classes[prefix] = "dense"
    if not set(classes.values()) & {"lmu", "fft"}:
        raise ValueError("no tensors of an LMU (e_x, W_m, ...) or an LMUFFT (W_u.weight, W_h.weight, ...)")
    return classes


def _unwrap(content: Any) -> Mapping[str, Any]:
    """Find the state dict in a file's content: the content itself, or an entry of a checkpoint."""
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"a state dict of tensors is needed, not {type(content).__name__}")
    return content


def load_torch(path: Path, options: LoadOptions) -> FloatModel:
    """Load a state dict saved by ``torch.save``.

    Parameters
    ----------
    path : Path
        The file: a state dict, or a checkpoint with it under ``state_dict``, ``model_state_dict`` or ``model``.
    options : LoadOptions
        Layers are named as the prefix of their tensors, less ``.cell``. ``theta`` is needed only where the file lacks
        A and B, otherwise it is checked against them; ``discretizer`` belongs to it and is ``zoh`` by default.
        ``layers`` is needed where the order in the file is not that of the data.

    Returns
    -------
    FloatModel
        With remarks in its notes.

    Raises
    ------
    MissingHyperparameters, LayerOrderError
        If an option is needed and not given.
    ModelFileError
        If PyTorch is not installed, the file is damaged, holds objects other than tensors, or is no LMU model.
    """
    with naming(path):
        return _model(path, "torch", _read_torch(path), True, options)


def _read_torch(path: Path) -> dict[str, FloatArray]:
    """Read the real tensors of a file that ``torch.save`` wrote, as float64, without running code from it."""
    try:
        import torch
    except ImportError:
        raise ValueError("a PyTorch file needs PyTorch, which is not installed: pip install torch") from None
    with path.open("rb"):
        pass
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, archive.namelist())
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError("holds other objects than tensors, save model.state_dict() instead") from None
    except (RuntimeError, OSError, EOFError, KeyError, AttributeError, ImportError) as error:
        raise ValueError(f"damaged PyTorch file: {error}") from None
    tensors = {}
    for name, tensor in _unwrap(content).items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"entry {name} of the state dict must be a tensor, not {type(tensor).__name__}")
        check_numbers(f"tensor {name}", tensor.shape)
        if not tensor.is_complex():
            tensors[str(name)] = tensor.detach().to(torch.float64).numpy()
        elif not str(name).endswith(FFT_DERIVED):
            raise ValueError(f"tensor {name} must be real, not {tensor.dtype}")
    return tensors


def load_torch_safetensors(path: Path, options: LoadOptions) -> FloatModel:
    """Load a state dict saved as safetensors, which does not hold the order of the layers.

    Parameters
    ----------
    path : Path
        The file.
    options : LoadOptions
        As for `load_torch`; ``layers`` is needed where the sizes are ambiguous.

    Returns
    -------
    FloatModel
        With remarks in its notes.

    Raises
    ------
    MissingHyperparameters, LayerOrderError
        If an option is needed and not given.
    ModelFileError
        If the file is damaged or is no LMU model.
    """
    with naming(path):
        return _model(path, "safetensors", _read_safetensors(path), False, options)


def _read_safetensors(path: Path) -> dict[str, FloatArray]:
    """Read the tensors of a safetensors file as float64."""
    try:
        entries = deserialize(read_limited(path, 8 * MOST_NUMBERS))
    except SafetensorError as error:
        raise ValueError(f"damaged safetensors file: {error}") from None
    tensors = {}
    for name, entry in entries:
        check_numbers(f"tensor {name}", entry["shape"])
        if entry["dtype"] == "BF16":
            flat = from_bfloat16(np.frombuffer(entry["data"], "<u2"))
        elif entry["dtype"] in ELEMENT_TYPES:
            flat = np.frombuffer(entry["data"], ELEMENT_TYPES[entry["dtype"]]).astype(np.float64)
        else:
            types = ", ".join([*ELEMENT_TYPES, "BF16"])
            raise ValueError(f"tensor {name} must have one of the types {types}, not {entry['dtype']}")
        tensors[name] = flat.reshape(entry["shape"])
    return tensors
