"""The file of a quantized model: one safetensors file with integer tensors and their description.

Tensors are stored in the smallest signed integer type that holds them, and named ``layer{i}.{name}``. An LMU layer has
``a{k}`` and ``b{k}`` (the distinct memory matrices), ``e_x``, ``w_m``, and those present of ``e_h``, ``e_m``, ``w_x``,
``w_h``, ``b_u``, ``b_h``. A separable layer has ``a{k}`` and ``b{k}``, ``w_m``, ``w_f``, and those present of ``e_x``,
``b_f``, ``b_h``. A dense layer has ``w`` and ``b``. Each weight matrix has its fraction bits beside it, as
``{name}.frac``. The metadata of the safetensors header holds four strings:

``schema``
    ``lmu-hw/quantized-model``.
``version``
    ``1``.
``model``
    JSON with sorted keys and no spaces: ``name``, ``labels``, ``input`` (a format), ``front_end``, ``notes`` and
    ``layers``; a network with a level gate also has ``gate`` (its parameters). A layer has ``kind`` (``lmu``,
    ``separable`` or ``dense``), ``weights`` (bits by name), ``biases`` (names), ``h`` (a quantizer) and ``activation``.
    Layers of the kinds ``lmu`` and ``dense`` have ``table`` (a format or null). Those of the kinds ``lmu`` and
    ``separable`` have ``matrices`` (how many), ``matrix`` (which one each memory uses), ``a_format``, ``b_format``,
    ``u``, ``m`` and ``stride``. An ``lmu`` layer also has ``u_activation``. A ``separable`` layer also has ``f`` and
    ``residual``; its ``u`` is null without ``e_x``.
``sha256``
    Of the ``model`` text followed, for each tensor in the order of names, by the JSON of ``[name, dtype, shape]`` and
    the tensor's bytes.

The same model makes the same bytes, and only those bytes load.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lmu_hw.checks import require_choice, require_list, require_object, require_schema, require_type
from lmu_hw.files import canonical_json, parse_json, read_limited, write_whole
from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.gate import Gate
from lmu_hw.model.memory_layer import QuantizedMemoryLayer
from lmu_hw.model.operations import lower
from lmu_hw.model.program import (
    QuantizedDense,
    QuantizedLayer,
    QuantizedLMU,
    QuantizedModel,
    QuantizedSeparable,
    Weights,
)
from lmu_hw.model.tensor_file import AnyIntArray, dtype_name, pack, smallest, stored_bytes, unpack

T = TypeVar("T")

__all__ = ["SCHEMA", "VERSION", "ProgramFileError", "digest", "load", "save"]

SCHEMA = "lmu-hw/quantized-model"
VERSION = "1"

MOST_BYTES = 1 << 28

MODEL_KEYS = ("name", "labels", "input", "front_end", "notes", "layers")
COMMON_KEYS = ("kind", "weights", "biases", "h", "activation")
MEMORY_KEYS = ("matrices", "matrix", "a_format", "b_format", "u", "m", "stride")


@dataclass(frozen=True)
class _Kind:
    """What the description of a kind of layer holds."""

    layer: type[QuantizedLayer]
    keys: tuple[str, ...]
    weights: tuple[str, ...]
    required: tuple[str, ...]
    biases: tuple[str, ...]


KINDS = {
    "lmu": _Kind(
        QuantizedLMU,
        (*COMMON_KEYS, *MEMORY_KEYS, "table", "u_activation"),
        ("e_x", "e_h", "e_m", "w_x", "w_h", "w_m"),
        ("e_x", "w_m"),
        ("b_u", "b_h"),
    ),
    "separable": _Kind(
        QuantizedSeparable,
        (*COMMON_KEYS, *MEMORY_KEYS, "f", "residual"),
        ("e_x", "w_m", "w_f"),
        ("w_m", "w_f"),
        ("b_f", "b_h"),
    ),
    "dense": _Kind(QuantizedDense, (*COMMON_KEYS, "table"), ("w",), ("w",), ("b",)),
}


class ProgramFileError(ValueError):
    """A model file was refused; the message is one line that names the file and the field."""


def save(model: QuantizedModel, path: str | os.PathLike[str]) -> None:
    """Write a model to a file, whole or not at all.

    Parameters
    ----------
    model : QuantizedModel
        Its ``front_end`` and ``notes`` must be JSON.
    path : path-like
        The file; one that exists is replaced.

    Raises
    ------
    ValueError
        If `load` would refuse the file; nothing is written then.
    OSError
        If the file cannot be written.
    """
    data = _encode(model)
    try:
        _decode(data)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the model cannot be saved: {error}") from None
    write_whole(path, data)


def load(path: str | os.PathLike[str]) -> QuantizedModel:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    QuantizedModel
        Equal in every integer to the one saved.

    Raises
    ------
    ProgramFileError
        If the file is not a safetensors file, is truncated or altered, or has another schema or version. Also if a
        field or tensor is missing or unknown, or the model does not allow a value.
    OSError
        If the file cannot be read.
    """
    try:
        return _decode(read_limited(path, MOST_BYTES))
    except (TypeError, ValueError) as error:
        raise ProgramFileError(f"{path}: {' '.join(str(error).split())}") from None


def digest(model: QuantizedModel) -> str:
    """Give the sha256 that a model's file carries, as 64 hexadecimal digits."""
    return _sha256(_describe(model), _tensors(model))


def _tensors(model: QuantizedModel) -> dict[str, AnyIntArray]:
    tensors: dict[str, NDArray[np.int64]] = {}
    for index, layer in enumerate(model.layers):
        own: dict[str, NDArray[np.int64]] = {}
        if isinstance(layer, QuantizedMemoryLayer):
            own |= {f"a{k}": value for k, value in enumerate(layer.a)}
            own |= {f"b{k}": value for k, value in enumerate(layer.b)}
        for name, weights in layer.weights.items():
            own |= {name: weights.values, f"{name}.frac": weights.frac}
        own |= _biases(layer)
        tensors |= {f"layer{index}.{name}": value for name, value in own.items()}
    return {name: smallest(value) for name, value in tensors.items()}


def _biases(layer: QuantizedLayer) -> dict[str, NDArray[np.int64]]:
    names = KINDS[_kind(layer)].biases
    return {name: getattr(layer, name) for name in names if getattr(layer, name) is not None}


def _kind(layer: QuantizedLayer) -> str:
    return next(name for name, kind in KINDS.items() if kind.layer is type(layer))


def _describe_layer(layer: QuantizedLayer) -> dict[str, Any]:
    description: dict[str, Any] = {
        "kind": _kind(layer),
        "weights": {name: weights.width for name, weights in layer.weights.items()},
        "biases": list(_biases(layer)),
        "h": layer.h.to_dict(),
        "activation": layer.activation,
    }
    if isinstance(layer, QuantizedLMU | QuantizedSeparable):
        description |= {
            "matrices": len(layer.a),
            "matrix": list(layer.matrix),
            "a_format": layer.a_format.to_dict(),
            "b_format": layer.b_format.to_dict(),
            "u": None if layer.u is None else layer.u.to_dict(),
            "m": layer.m.to_dict(),
            "stride": layer.stride,
        }
    if isinstance(layer, QuantizedSeparable):
        return {**description, "f": layer.f.to_dict(), "residual": layer.residual}
    description["table"] = None if layer.table is None else layer.table.to_dict()
    return {**description, "u_activation": layer.u_activation} if isinstance(layer, QuantizedLMU) else description


def _describe(model: QuantizedModel) -> str:
    for name in ("name", "front_end", "notes"):
        try:
            canonical_json(getattr(model, name))
        except ValueError as error:
            raise ValueError(f"the model cannot be saved: {name}: {error}") from None
    return canonical_json(
        {
            "name": model.name,
            "labels": list(model.labels),
            "input": model.input.to_dict(),
            "front_end": model.front_end,
            "notes": model.notes,
            "layers": [_describe_layer(layer) for layer in model.layers],
        }
        | ({} if model.gate is None else {"gate": model.gate.to_dict()})
    )


def _sha256(text: str, tensors: dict[str, AnyIntArray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(canonical_json([name, dtype_name(array), list(array.shape)]).encode())
        digest.update(stored_bytes(array))
    return digest.hexdigest()


def _encode(model: QuantizedModel) -> bytes:
    text, tensors = _describe(model), _tensors(model)
    metadata = {"schema": SCHEMA, "version": VERSION, "model": text, "sha256": _sha256(text, tensors)}
    return pack(tensors, metadata)


def _decode(data: bytes) -> QuantizedModel:
    tensors, metadata = unpack(data)
    rest = require_schema("the metadata", metadata, SCHEMA, VERSION)
    metadata = require_object("the metadata", rest, ("model", "sha256"))
    text = metadata["model"]
    if not text.isascii() or metadata["sha256"] != _sha256(text, tensors):
        raise ValueError("metadata sha256: does not match the content, the file was altered after it was written")
    try:
        description = parse_json(text)
    except ValueError as error:
        raise ValueError(f"metadata model: not JSON: {error}") from None
    model = _model(description, tensors)
    if _encode(model) != data:
        raise ValueError("header: not in the form that this version writes, or altered after it was written")
    return model


def _made(where: str, make: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a constructor and name the field in what it refuses."""
    try:
        return make(*args, **kwargs)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from None


def _model(description: Any, tensors: dict[str, AnyIntArray]) -> QuantizedModel:
    values = require_object("the model", description, (*MODEL_KEYS, "gate"), MODEL_KEYS)
    described = require_list("layers", values["layers"], dict)
    left = dict(tensors)
    layers = tuple(_layer(f"layer{index}", layer, left) for index, layer in enumerate(described))
    for name in sorted(left):
        raise ValueError(f"tensor {name}: is not part of the model")
    if values["front_end"] is not None:
        require_type("front_end", values["front_end"], dict)
    model = _made(
        "model",
        QuantizedModel,
        layers=layers,
        input=_made("input", Format.from_dict, values["input"]),
        labels=require_list("labels", values["labels"], str),
        name=require_type("name", values["name"], str),
        front_end=values["front_end"],
        notes=require_type("notes", values["notes"], dict),
        gate=_made("gate", Gate.from_dict, values["gate"]) if "gate" in values else None,
    )
    _made("model", lower, model)
    return model


def _take(name: str, left: dict[str, AnyIntArray]) -> NDArray[np.int64]:
    if name not in left:
        raise ValueError(f"tensor {name}: is missing")
    return left.pop(name).astype(np.int64)


def _layer(where: str, description: dict[str, Any], left: dict[str, AnyIntArray]) -> QuantizedLayer:
    """Layer from its description; its tensors are taken out of `left`."""
    name = require_choice(f"{where} kind", description.get("kind"), tuple(KINDS))
    kind = KINDS[name]
    require_object(where, description, kind.keys)
    parts = _weights(where, kind, description["weights"], left)
    for bias in require_list(f"{where} biases", description["biases"], str):
        require_choice(f"{where} biases", bias, kind.biases)
        parts[bias] = _take(f"{where}.{bias}", left)
    parts["h"] = _made(f"{where} h", Quantizer.from_dict, description["h"])
    parts["activation"] = require_type(f"{where} activation", description["activation"], str)
    if description.get("table") is not None:
        parts["table"] = _made(f"{where} table", Format.from_dict, description["table"])
    if "matrix" in kind.keys:
        parts |= _memories(where, description, left)
        if name == "lmu" or description["u"] is not None:
            parts["u"] = _made(f"{where} u", Quantizer.from_dict, description["u"])
    if name == "lmu":
        parts["u_activation"] = require_type(f"{where} u_activation", description["u_activation"], str)
    if name == "separable":
        parts["f"] = _made(f"{where} f", Quantizer.from_dict, description["f"])
        parts["residual"] = require_type(f"{where} residual", description["residual"], bool)
    make: Callable[..., QuantizedLayer] = kind.layer
    return _made(where, make, **parts)


def _weights(where: str, kind: _Kind, widths: Any, left: dict[str, AnyIntArray]) -> dict[str, Any]:
    """Give the weight matrices of a layer by name."""
    parts = {}
    for name, width in require_object(f"{where} weights", widths, kind.weights, kind.required).items():
        require_type(f"{where} weights {name}", width, int)
        values, frac = _take(f"{where}.{name}", left), _take(f"{where}.{name}.frac", left)
        parts[name] = _made(f"{where}.{name}", Weights, values, width, frac)
    return parts


def _memories(where: str, description: dict[str, Any], left: dict[str, AnyIntArray]) -> dict[str, Any]:
    """Give the constructor's arguments that only layers with memories have."""
    matrices = range(require_type(f"{where} matrices", description["matrices"], int))
    return {
        "matrix": require_list(f"{where} matrix", description["matrix"], int),
        "a": tuple(_take(f"{where}.a{k}", left) for k in matrices),
        "b": tuple(_take(f"{where}.b{k}", left) for k in matrices),
        "a_format": _made(f"{where} a_format", Format.from_dict, description["a_format"]),
        "b_format": _made(f"{where} b_format", Format.from_dict, description["b_format"]),
        "m": _made(f"{where} m", Quantizer.from_dict, description["m"]),
        "stride": require_type(f"{where} stride", description["stride"], int),
    }
