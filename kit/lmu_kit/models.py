"""Models by file or by name: float models of several tools, and quantized models."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from lmu_hw.files import parse_json, read_limited
from lmu_hw.model import program_file
from lmu_hw.model.program import QuantizedModel
from lmu_kit.errors import InputError
from lmu_quantize import zoo
from lmu_quantize.features import FEATURE_KINDS, FrontEnd
from lmu_quantize.loaders import LayerOrderError, MissingHyperparameters, load_model
from lmu_quantize.model import FloatModel

__all__ = ["FrontEndSource", "describe", "front_end_of", "open_float", "open_model", "read_object", "silence_label"]

FrontEndSource = FrontEnd | Mapping[str, Any] | str | os.PathLike[str]
"""A front end, its JSON form, ``"mfcc"`` or ``"log-mel"`` for a default one, or a JSON file."""

MOST_JSON = 1 << 26
"""Most bytes of a JSON file that a user gives."""

AnyModel = TypeVar("AnyModel", FloatModel, QuantizedModel)


def open_float(
    source: str | os.PathLike[str] | FloatModel,
    *,
    labels: Sequence[str] | None = None,
    front_end: FrontEndSource | None = None,
    **loader: Any,
) -> FloatModel:
    """Load a float model.

    Parameters
    ----------
    source : path-like, str or FloatModel
        A model file (our safetensors, keras-lmu ``.keras``, ``.h5`` or ``.weights.h5``, or a PyTorch state dict), the
        name of a shipped network such as ``"kws361"``, or a model that is loaded already.
    labels : sequence of str, optional
        Names of the outputs, in order. Needed where the file holds none and decisions are to be named.
    front_end : FrontEnd, mapping, str or path-like, optional
        The front end that makes the model's frames. Needed where the file holds none and recordings are to be used.
    **loader
        What the file of another tool does not hold, such as ``order=6, theta=40.0, discretizer="zoh"``; see
        `lmu_quantize.loaders.load_model`.

    Returns
    -------
    FloatModel
        Weights in float64, with labels and front end.

    Raises
    ------
    InputError
        If there is no such file or network, the model is quantized already, or the labels or the front end don't fit.
    MissingHyperparameters, LayerOrderError
        If the file lacks something that `loader` must give.
    ModelFileError
        If the file is damaged or of an unknown kind.
    """
    if isinstance(source, FloatModel):
        return describe(source, labels, front_end)
    path = zoo.path(str(source), "float.safetensors") if str(source) in zoo.names() else _model_file(source)
    try:
        model = load_model(path, **loader)
    except (MissingHyperparameters, LayerOrderError):
        raise
    except (ValueError, TypeError):
        if _is_quantized(path):
            raise InputError(f"{source}: this model is quantized already; a float model is needed") from None
        raise
    return describe(model, labels, front_end)


def open_model(
    source: str | os.PathLike[str] | QuantizedModel,
    *,
    labels: Sequence[str] | None = None,
    front_end: FrontEndSource | None = None,
) -> QuantizedModel:
    """Load a quantized model.

    Parameters
    ----------
    source : path-like, str or QuantizedModel
        A file that `save_model` or ``lmu-hw quantize`` wrote, the name of a shipped network such as ``"kws361"``, or
        a model that is loaded already.
    labels, front_end
        As in `open_float`.

    Returns
    -------
    QuantizedModel
        Integers and formats.

    Raises
    ------
    InputError
        If there is no such file or network, the model is a float model, or the labels or the front end don't fit.
    ProgramFileError
        If the file is damaged.
    """
    if isinstance(source, QuantizedModel):
        return describe(source, labels, front_end)
    if str(source) in zoo.names():
        return describe(program_file.load(zoo.path(str(source), "quantized.safetensors")), labels, front_end)
    path = _model_file(source)
    try:
        model = program_file.load(path)
    except program_file.ProgramFileError:
        if _is_float(path):
            raise InputError(f"{source}: this is a float model; quantize it first") from None
        raise
    return describe(model, labels, front_end)


def describe(
    model: AnyModel, labels: Sequence[str] | None = None, front_end: FrontEndSource | None = None
) -> AnyModel:
    """Give a model the labels and the front end that its file does not hold.

    Parameters
    ----------
    model : FloatModel or QuantizedModel
        Any model.
    labels : sequence of str, optional
        One distinct name for each output; those of the model are kept if not given.
    front_end : FrontEnd, mapping, str or path-like, optional
        Its frames must have as many elements as the model has inputs; that of the model is kept if not given.

    Returns
    -------
    FloatModel or QuantizedModel
        The same kind of model.

    Raises
    ------
    InputError
        If they don't fit the model.
    """
    if labels is not None:
        names = tuple(labels)
        if len(names) != model.outputs or len(set(names)) != len(names) or not all(names):
            raise InputError(f"labels must be {model.outputs} distinct names, one for each output, not {names}")
        model = replace(model, labels=names)
    if front_end is not None:
        known = _front_end(front_end)
        if known.size != model.inputs:
            raise InputError(f"the front end makes frames of {known.size} elements; the model takes {model.inputs}")
        model = replace(model, front_end=known.to_dict())
    return model


def front_end_of(model: FloatModel | QuantizedModel) -> FrontEnd:
    """Front end that makes the frames of a model.

    Raises
    ------
    InputError
        If the model does not name one.
    """
    if model.front_end is None:
        raise InputError(
            f"model {model.name!r} does not say which front end made its frames: give the front end, or frames"
        )
    return FrontEnd.from_dict(model.front_end)


def silence_label(model: QuantizedModel) -> int:
    """Label of a clip in which a network with a gate never woke: ``silence``, or else ``unknown``.

    Raises
    ------
    InputError
        If a network with a gate has neither.
    """
    for index, label in enumerate(model.labels):
        if label == "silence" or (label == "unknown" and "silence" not in model.labels):
            return index
    if model.gate is not None:
        raise InputError("a network with a gate needs a label silence or unknown, for clips in which it never wakes")
    return 0


def read_object(path: str | os.PathLike[str], content: str) -> dict[str, Any]:
    """Read a JSON object from a file.

    Parameters
    ----------
    path : path-like
        The file.
    content : str
        What the object should hold, for the error.

    Raises
    ------
    InputError
        If the file cannot be read or holds anything else.
    """
    path = Path(path)
    try:
        value = parse_json(read_limited(path, MOST_JSON).decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {content}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); expected {content}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: must hold a JSON object with {content}, not a {type(value).__name__}")
    return value


def _front_end(source: FrontEndSource) -> FrontEnd:
    if isinstance(source, FrontEnd):
        return source
    if isinstance(source, Mapping):
        return FrontEnd.from_dict(source)
    if str(source) in FEATURE_KINDS:
        return FrontEnd(str(source))
    parameters = read_object(source, f"the parameters of a front end (or give {' or '.join(FEATURE_KINDS)})")
    try:
        return FrontEnd.from_dict(parameters)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: {error}") from None


def _model_file(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if path.is_dir():
        raise InputError(f"{source}: is a folder; a model file or the name of a shipped network is needed")
    if not path.exists():
        known = ", ".join(zoo.names()) or "none"
        raise InputError(f"{source}: no such file, and no shipped network of that name (shipped: {known})")
    return path


def _is_float(path: Path) -> bool:
    try:
        return bool(load_model(path))
    except (MissingHyperparameters, LayerOrderError):
        return True
    except (ValueError, TypeError, OSError):
        return False


def _is_quantized(path: Path) -> bool:
    try:
        return bool(program_file.load(path))
    except (ValueError, TypeError, OSError):
        return False
