"""The file of a quantized model: one safetensors file with integer tensors and their description.

Tensors are stored in the smallest signed integer type that holds them, and named ``layer{i}.{name}``. An LMU layer has
``a{k}`` and ``b{k}`` (the distinct memory matrices), ``e_x``, ``w_m``, and those present of ``e_h``, ``e_m``, ``w_x``,
``w_h``, ``b_u``, ``b_h``. A dense layer has ``w`` and ``b``. Each weight matrix has its fraction bits beside it, as
``{name}.frac``. The metadata of the safetensors header holds four strings:

``schema``
    ``lmu-hw/quantized-model``.
``version``
    ``1``.
``model``
    JSON with sorted keys and no spaces: ``name``, ``labels``, ``input`` (a format), ``front_end``, ``notes`` and
    ``layers``. A layer has ``kind`` (``lmu`` or ``dense``), ``weights`` (bits by name), ``biases`` (names), ``h`` (a
    quantizer), ``activation`` and ``table`` (a format or null). An ``lmu`` layer also has ``matrices`` (how many),
    ``matrix`` (which one each memory uses), ``a_format``, ``b_format``, ``u``, ``m``, ``u_activation`` and ``stride``.
``sha256``
    Of the ``model`` text followed, for each tensor in the order of names, by the JSON of ``[name, dtype, shape]`` and
    the tensor's bytes.

The same model makes the same bytes, and only those bytes load.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lmu_hw.checks import require_choice, require_list, require_object, require_schema, require_type
from lmu_hw.files import canonical_json, parse_json, write_whole
from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.operations import lower
from lmu_hw.model.program import QuantizedDense, QuantizedLayer, QuantizedLMU, QuantizedModel, Weights
from lmu_hw.model.tensor_file import AnyIntArray, dtype_name, pack, smallest, stored_bytes, unpack

T = TypeVar("T")

__all__ = ["SCHEMA", "VERSION", "ProgramFileError", "digest", "load", "save"]

SCHEMA = "lmu-hw/quantized-model"
VERSION = "1"

MODEL_KEYS = ("name", "labels", "input", "front_end", "notes", "layers")
DENSE_KEYS = ("kind", "weights", "biases", "h", "activation", "table")
LMU_KEYS = (*DENSE_KEYS, "matrices", "matrix", "a_format", "b_format", "u", "m", "u_activation", "stride")
LMU_WEIGHTS = ("e_x", "e_h", "e_m", "w_x", "w_h", "w_m")
LMU_BIASES = ("b_u", "b_h")


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
    data = Path(path).read_bytes()
    try:
        return _decode(data)
    except (TypeError, ValueError) as error:
        raise ProgramFileError(f"{path}: {' '.join(str(error).split())}") from None


def digest(model: QuantizedModel) -> str:
    """Give the sha256 that a model's file carries, as 64 hexadecimal digits."""
    return _sha256(_describe(model), _tensors(model))


def _tensors(model: QuantizedModel) -> dict[str, AnyIntArray]:
    tensors: dict[str, NDArray[np.int64]] = {}
    for index, layer in enumerate(model.layers):
        own: dict[str, NDArray[np.int64]] = {}
        if isinstance(layer, QuantizedLMU):
            own |= {f"a{k}": value for k, value in enumerate(layer.a)}
            own |= {f"b{k}": value for k, value in enumerate(layer.b)}
        for name, weights in layer.weights.items():
            own |= {name: weights.values, f"{name}.frac": weights.frac}
        own |= _biases(layer)
        tensors |= {f"layer{index}.{name}": value for name, value in own.items()}
    return {name: smallest(value) for name, value in tensors.items()}


def _biases(layer: QuantizedLayer) -> dict[str, NDArray[np.int64]]:
    if isinstance(layer, QuantizedDense):
        return {} if layer.b is None else {"b": layer.b}
    return {name: value for name, value in (("b_u", layer.b_u), ("b_h", layer.b_h)) if value is not None}


def _describe_layer(layer: QuantizedLayer) -> dict[str, Any]:
    common = {
        "weights": {name: weights.width for name, weights in layer.weights.items()},
        "biases": list(_biases(layer)),
        "h": layer.h.to_dict(),
        "activation": layer.activation,
        "table": None if layer.table is None else layer.table.to_dict(),
    }
    if isinstance(layer, QuantizedDense):
        return {"kind": "dense", **common}
    return {
        "kind": "lmu",
        **common,
        "matrices": len(layer.a),
        "matrix": list(layer.matrix),
        "a_format": layer.a_format.to_dict(),
        "b_format": layer.b_format.to_dict(),
        "u": layer.u.to_dict(),
        "m": layer.m.to_dict(),
        "u_activation": layer.u_activation,
        "stride": layer.stride,
    }


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
    values = require_object("the model", description, MODEL_KEYS)
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
    )
    _made("model", lower, model)
    return model


def _take(name: str, left: dict[str, AnyIntArray]) -> NDArray[np.int64]:
    if name not in left:
        raise ValueError(f"tensor {name}: is missing")
    return left.pop(name).astype(np.int64)


def _layer(where: str, description: dict[str, Any], left: dict[str, AnyIntArray]) -> QuantizedLayer:
    """Layer from its description; its tensors are taken out of `left`."""
    kind = require_choice(f"{where} kind", description.get("kind"), ("lmu", "dense"))
    require_object(where, description, LMU_KEYS if kind == "lmu" else DENSE_KEYS)
    parts = _weights(where, kind, description["weights"], left)
    biases = LMU_BIASES if kind == "lmu" else ("b",)
    for name in require_list(f"{where} biases", description["biases"], str):
        require_choice(f"{where} biases", name, biases)
        parts[name] = _take(f"{where}.{name}", left)
    parts["h"] = _made(f"{where} h", Quantizer.from_dict, description["h"])
    parts["activation"] = require_type(f"{where} activation", description["activation"], str)
    if description["table"] is not None:
        parts["table"] = _made(f"{where} table", Format.from_dict, description["table"])
    if kind == "dense":
        return _made(where, QuantizedDense, **parts)
    return _made(where, QuantizedLMU, **parts, **_memories(where, description, left))


def _weights(where: str, kind: str, widths: Any, left: dict[str, AnyIntArray]) -> dict[str, Any]:
    """Give the weight matrices of a layer by name."""
    allowed, required = (LMU_WEIGHTS, ("e_x", "w_m")) if kind == "lmu" else (("w",), ("w",))
    parts = {}
    for name, width in require_object(f"{where} weights", widths, allowed, required).items():
        require_type(f"{where} weights {name}", width, int)
        values, frac = _take(f"{where}.{name}", left), _take(f"{where}.{name}.frac", left)
        parts[name] = _made(f"{where}.{name}", Weights, values, width, frac)
    return parts


def _memories(where: str, description: dict[str, Any], left: dict[str, AnyIntArray]) -> dict[str, Any]:
    """Give the constructor's arguments that only an LMU layer has."""
    matrices = range(require_type(f"{where} matrices", description["matrices"], int))
    return {
        "matrix": require_list(f"{where} matrix", description["matrix"], int),
        "a": tuple(_take(f"{where}.a{k}", left) for k in matrices),
        "b": tuple(_take(f"{where}.b{k}", left) for k in matrices),
        "a_format": _made(f"{where} a_format", Format.from_dict, description["a_format"]),
        "b_format": _made(f"{where} b_format", Format.from_dict, description["b_format"]),
        "u": _made(f"{where} u", Quantizer.from_dict, description["u"]),
        "m": _made(f"{where} m", Quantizer.from_dict, description["m"]),
        "u_activation": require_type(f"{where} u_activation", description["u_activation"], str),
        "stride": require_type(f"{where} stride", description["stride"], int),
    }
