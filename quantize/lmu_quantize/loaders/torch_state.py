"""Load state dicts of the published PyTorch LMU and LMUFFT, alone or inside a model with linear layers.

Below any prefix::

    LMU      e_x (1, x), e_h (1, H), e_m (1, d), W_x (H, x), W_h (H, H), W_m (H, d), A (d, d), B (d, 1)
    LMUFFT   W_u.weight (1, x), W_u.bias (1,), W_h.weight (H, d + x) of [m, x], W_h.bias (H,), A, B, H, fft_H

Neither holds the window: it is found from ``A`` and ``B``. A two-dimensional ``weight``, with its ``bias`` if there is
one, is a dense layer. PyTorch is imported only to read its own file format; a safetensors file needs no PyTorch.
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from lmu_quantize.loaders.assemble import PerLayer, dense_activations, drop_zero_terms, in_order, make_model, naming
from lmu_quantize.loaders.legendre import stored_memory
from lmu_quantize.model import DenseLayer, FloatModel, Layer, LegendreMemory, LMULayer

__all__ = ["load_torch", "load_torch_safetensors"]

FloatArray = NDArray[np.float64]

LMU_NAMES = ("e_x", "e_h", "e_m", "W_x", "W_h", "W_m")
FFT_NAMES = ("W_u.weight", "W_u.bias", "W_h.weight", "W_h.bias")
FFT_DERIVED = ("H", "fft_H")
WRAPPERS = ("state_dict", "model_state_dict", "model")


def _prefix(name: str, suffix: str) -> str | None:
    """Prefix of a tensor's name, ending in a dot or empty, if the rest is `suffix`."""
    prefix = name.removesuffix(suffix)
    return prefix if prefix != name and prefix[-1:] in ("", ".") else None


def _memory(
    name: str, prefix: str, tensors: dict[str, FloatArray], order: int, options: PerLayer
) -> tuple[LegendreMemory, list[str]]:
    a, b = tensors.pop(f"{prefix}A", None), tensors.pop(f"{prefix}B", None)
    theta, discretizer = options.get("theta", name), options.get("discretizer", name)
    if a is None or b is None:
        (theta,) = options.need(name, "theta")
        return LegendreMemory(order, theta, discretizer or "zoh"), []
    try:
        memory = stored_memory(a, b, order=order, theta=theta, discretizer=discretizer)
    except ValueError as error:
        raise ValueError(f"layer {name!r}: tensors {prefix}A and {prefix}B: {error}") from None
    if memory.order != order:
        raise ValueError(f"layer {name!r}: tensor {prefix}A must have order {order}, not {memory.order}")
    if theta is not None:
        return memory, []
    window = f"theta {memory.theta:.9g}, {memory.discretizer}"
    return memory, [f"the memory of layer {name!r} was found from A and B: {window}"]


def _take(prefix: str, tensors: dict[str, FloatArray], names: Sequence[str], ndim: int) -> dict[str, FloatArray]:
    out = {}
    for name in names:
        if f"{prefix}{name}" not in tensors:
            raise ValueError(f"tensor {prefix}{name} is missing")
        out[name] = tensors.pop(f"{prefix}{name}")
        if out[name].ndim != (1 if name.endswith(".bias") else ndim):
            raise ValueError(f"tensor {prefix}{name} must have {ndim} dimensions, not shape {out[name].shape}")
    return out


def _lmu(name: str, prefix: str, tensors: dict[str, FloatArray], options: PerLayer) -> tuple[LMULayer, list[str]]:
    found = _take(prefix, tensors, LMU_NAMES, ndim=2)
    memory, remarks = _memory(name, prefix, tensors, found["W_m"].shape[1], options)
    layer = LMULayer(
        memories=(memory,),
        e_x=found["e_x"],
        e_h=found["e_h"],
        e_m=found["e_m"],
        w_x=found["W_x"],
        w_h=found["W_h"],
        w_m=found["W_m"],
        activation=options.get("activation", name) or "tanh",
        u_activation=options.get("u_activation", name) or "linear",
    )
    layer, more = drop_zero_terms(layer, name)
    return layer, remarks + more


def _fft(name: str, prefix: str, tensors: dict[str, FloatArray], options: PerLayer) -> tuple[LMULayer, list[str]]:
    found = _take(prefix, tensors, FFT_NAMES, ndim=2)
    for derived in FFT_DERIVED:
        tensors.pop(f"{prefix}{derived}", None)
    inputs = found["W_u.weight"].shape[1]
    order = found["W_h.weight"].shape[1] - inputs
    if order < 1:
        raise ValueError(f"tensor {prefix}W_h.weight must have more than {inputs} columns")
    memory, remarks = _memory(name, prefix, tensors, order, options)
    layer = LMULayer(
        memories=(memory,),
        e_x=found["W_u.weight"],
        b_u=found["W_u.bias"],
        w_m=found["W_h.weight"][:, :order],
        w_x=found["W_h.weight"][:, order:],
        b_h=found["W_h.bias"],
        activation=options.get("activation", name) or "relu",
        u_activation=options.get("u_activation", name) or "relu",
    )
    return layer, remarks


def _model(
    path: Path,
    kind: str,
    tensors: dict[str, FloatArray],
    ordered: bool,
    given: Mapping[str, Any],
    layers: Sequence[str] | None,
) -> FloatModel:
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all() and not name.endswith(FFT_DERIVED):
            raise ValueError(f"tensor {name} must be finite, found NaN or infinity")
    kinds = _kinds(tensors)
    names = {prefix: prefix.removesuffix(".").removesuffix(".cell") or "lmu" for prefix in kinds}
    options = PerLayer(given, list(names.values()))
    made: dict[str, Layer] = {}
    remarks: list[str] = []
    for prefix, kind_of_layer in kinds.items():
        name = names[prefix]
        if kind_of_layer == "dense":
            made[name] = DenseLayer(w=tensors.pop(f"{prefix}weight"), b=tensors.pop(f"{prefix}bias", None))
        else:
            make = _lmu if kind_of_layer == "lmu" else _fft
            made[name], more = make(name, prefix, tensors, options)
            remarks += more
    for name, tensor in tensors.items():
        raise ValueError(f"tensor {name} of shape {tensor.shape} is not part of an LMU, an LMUFFT or a linear layer")
    chain = in_order(made, [list(made)] if ordered else [[name] for name in made], layers)
    remarks.insert(0, f"the file has no configuration; layers in order: {', '.join(chain)}")
    return make_model(path, kind, dense_activations(chain, options), remarks)


def _kinds(tensors: Mapping[str, FloatArray]) -> dict[str, str]:
    """Kind of layer (lmu, fft or dense) by the prefix of its tensors, in their order."""
    kinds: dict[str, str] = {}
    for name, tensor in tensors.items():
        for suffix, kind in (("e_x", "lmu"), ("W_u.weight", "fft")):
            prefix = _prefix(name, suffix)
            if prefix is not None:
                kinds[prefix] = kind
        prefix = _prefix(name, "weight")
        if prefix is not None and tensor.ndim == 2 and not prefix.endswith(("W_u.", "W_h.")):
            kinds[prefix] = "dense"
    if not set(kinds.values()) & {"lmu", "fft"}:
        raise ValueError("no tensors of an LMU (e_x, W_m, ...) or an LMUFFT (W_u.weight, W_h.weight, ...)")
    return kinds


def _unwrap(content: Any) -> Mapping[str, Any]:
    """Find the state dict in what a file holds: itself, or an entry of a checkpoint."""
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"a state dict of tensors is needed, not {type(content).__name__}")
    return content


def load_torch(
    path: Path,
    *,
    theta: Any = None,
    discretizer: Any = None,
    activation: Any = None,
    u_activation: Any = None,
    dense_activation: Any = None,
    layers: Sequence[str] | None = None,
) -> FloatModel:
    """Load a state dict saved by ``torch.save``.

    Options are one value for all layers or a dict by layer name: the prefix of its tensors, less ``.cell``.

    Parameters
    ----------
    path : Path
        The file; a checkpoint with the state dict under ``state_dict``, ``model_state_dict`` or ``model`` will do.
    theta : float or dict, optional
        Window in time steps; needed only where the file lacks A and B, else checked against them.
    discretizer : {"zoh", "euler"} or dict, optional
        Goes with `theta`, ``zoh`` unless given.
    activation : {"linear", "relu", "tanh"} or dict, optional
        Of the hidden state: ``tanh`` for LMU and ``relu`` for LMUFFT unless given.
    u_activation : {"linear", "relu"} or dict, optional
        Of u: ``linear`` for LMU and ``relu`` for LMUFFT unless given.
    dense_activation : {"linear", "relu", "tanh"} or dict, optional
        Of linear layers; needed for all but the last, which is linear unless given.
    layers : sequence of str, optional
        Layer names in the order of the data, if that is not the order in the file.

    Returns
    -------
    FloatModel
        With remarks in its notes.

    Raises
    ------
    ModelFileError
        If PyTorch is not installed, the file is damaged, holds other objects than tensors, or is no LMU model.
    """
    given = {"theta": theta, "discretizer": discretizer, "activation": activation}
    given |= {"u_activation": u_activation, "dense_activation": dense_activation}
    with naming(path):
        try:
            import torch
        except ImportError:
            raise ValueError("a PyTorch file needs PyTorch, which is not installed: pip install torch") from None
        with path.open("rb"):
            pass
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
            if not tensor.is_complex():
                tensors[str(name)] = tensor.detach().to(torch.float64).numpy()
            elif not str(name).endswith(FFT_DERIVED):
                raise ValueError(f"tensor {name} must be real, not {tensor.dtype}")
        return _model(path, "torch", tensors, True, given, layers)


def load_torch_safetensors(
    path: Path,
    *,
    theta: Any = None,
    discretizer: Any = None,
    activation: Any = None,
    u_activation: Any = None,
    dense_activation: Any = None,
    layers: Sequence[str] | None = None,
) -> FloatModel:
    """Load a state dict saved as safetensors, whose order of layers the sizes must tell.

    Parameters
    ----------
    path : Path
        The file.
    theta, discretizer, activation, u_activation, dense_activation, layers
        As for `load_torch`.

    Returns
    -------
    FloatModel
        With remarks in its notes.

    Raises
    ------
    ModelFileError
        If the file is damaged or is no LMU model.
    """
    given = {"theta": theta, "discretizer": discretizer, "activation": activation}
    given |= {"u_activation": u_activation, "dense_activation": dense_activation}
    with naming(path):
        try:
            arrays = load_file(path)
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"damaged safetensors file or element type without NumPy equal: {error}") from None
        tensors = {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()}
        return _model(path, "safetensors", tensors, False, given, layers)
