"""The file of a float model: one safetensors file with the tensors and their description.

Tensors are float64, named ``layer{i}.{name}`` as in the ``tensors`` of each layer. The metadata of the safetensors
header holds four strings:

``schema``
    ``lmu-hw/float-model``.
``version``
    ``1``.
``model``
    JSON: ``name``, ``labels``, ``front_end``, ``notes`` and ``layers``. A layer has ``kind`` (``lmu``, ``separable`` or
    ``dense``), ``inputs``, ``units``, ``tensors`` (names) and ``activation``. Those with memories have ``stride`` and
    ``memories`` (``order``, ``theta``, ``discretizer``) too, ``lmu`` has ``u_activation``, and ``separable`` has
    ``filters`` (of each memory) and ``residual``.
``sha256``
    Of the ``model`` string, UTF-8, followed by the bytes of the tensors in the order of their names.

The same model makes the same bytes.
"""

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from lmu_hw.files import write_whole
from lmu_quantize.model import DenseLayer, FloatModel, Layer, LegendreMemory, LMULayer, SeparableLayer

__all__ = ["SCHEMA", "VERSION", "ModelFileError", "load_float", "save_float"]

SCHEMA = "lmu-hw/float-model"
VERSION = "1"

FloatArray = NDArray[np.float64]


class ModelFileError(ValueError):
    """A model file was refused; the message is one line that names the file and the field."""


def _describe(index: int, layer: Layer) -> dict[str, Any]:
    common = {
        "inputs": layer.inputs,
        "units": layer.units,
        "activation": layer.activation,
        "tensors": [f"layer{index}.{name}" for name in layer.tensors],
    }
    if isinstance(layer, DenseLayer):
        return {"kind": "dense", **common}
    memories = [{"order": m.order, "theta": m.theta, "discretizer": m.discretizer} for m in layer.memories]
    common |= {"stride": layer.stride, "memories": memories}
    if isinstance(layer, SeparableLayer):
        return {"kind": "separable", **common, "filters": layer.filters, "residual": layer.residual}
    return {"kind": "lmu", **common, "u_activation": layer.u_activation}


def _digest(model: str, tensors: dict[str, FloatArray]) -> str:
    digest = hashlib.sha256(model.encode())
    for name in sorted(tensors):
        digest.update(tensors[name].astype("<f8").tobytes())
    return digest.hexdigest()


def _encode(model: FloatModel) -> bytes:
    tensors = {
        f"layer{index}.{name}": tensor
        for index, layer in enumerate(model.layers)
        for name, tensor in layer.tensors.items()
    }
    description = {
        "name": model.name,
        "labels": list(model.labels),
        "front_end": model.front_end,
        "notes": model.notes,
        "layers": [_describe(index, layer) for index, layer in enumerate(model.layers)],
    }
    try:
        text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"name, front_end and notes of a model must be JSON to be saved: {error}") from None
    header: dict[str, Any] = {
        "__metadata__": {"schema": SCHEMA, "version": VERSION, "model": text, "sha256": _digest(text, tensors)}
    }
    data = b""
    for name in sorted(tensors):
        raw = tensors[name].astype("<f8").tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F64", "shape": list(tensors[name].shape), "data_offsets": offsets}
        data += raw
    head = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data


def save_float(model: FloatModel, path: str | os.PathLike[str]) -> None:
    """Write a model to a safetensors file, whole or not at all.

    Parameters
    ----------
    model : FloatModel
        Its ``front_end`` and ``notes`` must be JSON.
    path : path-like
        The file; one that exists is replaced.

    Raises
    ------
    ValueError
        If ``front_end`` or ``notes`` is not JSON.
    OSError
        If the file cannot be written.
    """
    write_whole(path, _encode(model))


def _read(path: Path) -> tuple[dict[str, str], dict[str, FloatArray]]:
    with path.open("rb"):
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("schema") != SCHEMA:
                raise ModelFileError(f"{path}: schema must be {SCHEMA!r}, not {metadata.get('schema')!r}")
            if metadata.get("version") != VERSION:
                raise ModelFileError(f"{path}: version must be {VERSION!r}, not {metadata.get('version')!r}")
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except SafetensorError as error:
        raise ModelFileError(f"{path}: not a whole safetensors file: {error}") from None
    for name, tensor in tensors.items():
        if tensor.dtype != np.float64:
            raise ModelFileError(f"{path}: tensor {name} must be float64, not {tensor.dtype}")
    return metadata, tensors


def _shapes(prefix: str, layer: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes that a described layer's tensors must have."""
    n, h = layer["inputs"], layer["units"]
    if layer["kind"] == "dense":
        shapes: dict[str, tuple[int, ...]] = {"w": (h, n), "b": (h,)}
    elif layer["kind"] == "separable":
        m, d = len(layer["memories"]), layer["memories"][0]["order"]
        rows = m * layer["filters"]
        shapes = {"e_x": (m, n), "w_m": (rows, d), "b_f": (rows,), "w_f": (h, rows), "b_h": (h,)}
    else:
        m, d = len(layer["memories"]), sum(memory["order"] for memory in layer["memories"])
        shapes = {"e_x": (m, n), "e_h": (m, h), "e_m": (m, d), "b_u": (m,)}
        shapes |= {"w_x": (h, n), "w_h": (h, h), "w_m": (h, d), "b_h": (h,)}
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def _build(prefix: str, layer: dict[str, Any], tensors: dict[str, FloatArray]) -> Layer:
    own: dict[str, Any] = {name.removeprefix(f"{prefix}."): tensors[name] for name in layer["tensors"]}
    if layer["kind"] == "dense":
        return DenseLayer(activation=layer["activation"], **own)
    memories = tuple(LegendreMemory(**memory) for memory in layer["memories"])
    own |= {"memories": memories, "activation": layer["activation"], "stride": layer["stride"]}
    if layer["kind"] == "separable":
        return SeparableLayer(e_x=own.pop("e_x", None), residual=layer["residual"], **own)
    return LMULayer(u_activation=layer["u_activation"], **own)


def load_float(path: str | os.PathLike[str]) -> FloatModel:
    """Read a model that `save_float` wrote.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    FloatModel
        Equal in every bit to the one saved.

    Raises
    ------
    ModelFileError
        If the file is truncated or altered, has another schema or version, lacks a tensor or has one too many, or a
        tensor has a wrong shape or type or is not finite.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    metadata, tensors = _read(path)
    text = metadata.get("model", "")
    try:
        description = json.loads(text)
        layers = description["layers"]
        names = [name for layer in layers for name in layer["tensors"]]
        shapes: dict[str, tuple[int, ...]] = {}
        for index, layer in enumerate(layers):
            shapes |= _shapes(f"layer{index}", layer)
        for name in names:
            if name not in tensors:
                raise ModelFileError(f"{path}: tensor {name} is missing")
            if tensors[name].shape != shapes[name]:
                raise ModelFileError(f"{path}: tensor {name} must have shape {shapes[name]}, not {tensors[name].shape}")
    except (KeyError, IndexError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ModelFileError(f"{path}: metadata 'model' is not the JSON of a model: {error!r}") from None
    for name, tensor in tensors.items():
        if name not in names:
            raise ModelFileError(f"{path}: tensor {name} is not part of the model")
        if not np.isfinite(tensor).all():
            raise ModelFileError(f"{path}: tensor {name} must be finite, found NaN or infinity")
    if metadata.get("sha256") != _digest(text, tensors):
        raise ModelFileError(f"{path}: sha256 does not match, the file was altered after it was written")
    try:
        model = FloatModel(
            layers=tuple(_build(f"layer{index}", layer, tensors) for index, layer in enumerate(layers)),
            labels=tuple(description["labels"]),
            name=description["name"],
            front_end=description["front_end"],
            notes=description["notes"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: metadata 'model' is not a valid model: {error}") from None
    if _encode(model) != path.read_bytes():
        raise ModelFileError(f"{path}: the header is not in the form that this version writes, or was altered")
    return model
