"""Load Keras 3 files of keras-lmu models: ``.keras``, and ``.weights.h5`` with hyperparameters from the caller.

A ``.keras`` file is a zip of ``config.json`` and ``model.weights.h5``. In the latter, variables have no names: they are
``vars/0``, ``vars/1``, ... in the order of their creation, in groups named after the snake-case classes of the layers::

    layers/lmu/layer/vars                   LMU that convolves: kernel, [bias]
    layers/lmu/layer/cell/vars              LMU that recurs: kernel, [bias], [theta_inv], [recurrent_kernel]
    layers/lmu/hidden_cell/vars             of either: kernel, [recurrent_kernel], [bias]
    layers/rnn/cell/vars                    RNN(LMUCell)
    layers/rnn/cell/hidden_cell/vars
    layers/lmu_feedforward/vars             LMUFeedforward
    layers/lmu_feedforward/hidden_cell/vars
    layers/dense/vars                       Dense: kernel, [bias]
"""

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lmu_quantize.loaders.assemble import Chain, bare_model, from_bfloat16, make_model, naming
from lmu_quantize.loaders.keras_config import (
    Dense,
    EarlyCell,
    Hidden,
    KerasCell,
    build_cell,
    build_layers,
    read_architecture,
)
from lmu_quantize.loaders.limits import check_archive, check_numbers
from lmu_quantize.loaders.options import LoadOptions
from lmu_quantize.model import DenseLayer, FloatModel, Layer

__all__ = ["bare_cell", "datasets", "load_keras", "load_weights_h5", "reading_h5"]

FloatArray = NDArray[np.float64]

SILENT_GROUPS = ("input_layer", "dropout", "gaussian_noise", "gaussian_dropout", "alpha_dropout", "spatial_dropout1d")


@contextlib.contextmanager
def reading_h5(source: Path | io.BytesIO) -> Iterator[Any]:
    """Open an HDF5 file to read; what h5py raises on a damaged one becomes `ValueError`."""
    if isinstance(source, Path):
        with source.open("rb"):
            pass
    try:
        with h5py.File(source, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"damaged HDF5 content: {error}") from None


def datasets(file: Any, root: str) -> dict[str, FloatArray]:
    """Read every array below a group of an HDF5 file.

    Parameters
    ----------
    file : h5py.Group
        An open file or group.
    root : str
        Path of the group; one that is absent holds nothing.

    Returns
    -------
    dict of str to ndarray of float64
        Arrays by their path from `root`, seeds of random generators left out.
    """
    arrays: dict[str, FloatArray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "seed_generator" not in name:
            check_numbers(f"variable {root}/{name}", item.shape or ())
            if item.dtype.itemsize == 2 and item.attrs.get("dtype") == "bfloat16":
                arrays[name] = from_bfloat16(np.asarray(item[()]).view(np.uint16))
                return
            if item.dtype.kind not in "fiu":
                raise ValueError(f"variable {root}/{name} must hold numbers, not {item.dtype}")
            arrays[name] = np.asarray(item[()], dtype=np.float64)

    if root in file:
        file[root].visititems(visit)
    return arrays


class _Positional:
    """Variables of a ``.weights.h5``, by group and position."""

    def __init__(self, variables: Mapping[str, FloatArray]) -> None:
        self._left = dict(variables)

    def _take(self, layer: str, group: str, names: Sequence[str]) -> dict[str, FloatArray]:
        prefix = f"{group}/vars/"
        present = [name for name in self._left if name.startswith(prefix)]
        if sorted(present) != sorted(f"{prefix}{i}" for i in range(len(names))):
            expected = ", ".join(names) or "no variables"
            raise ValueError(f"layer {layer!r}: layers/{group} must hold {expected}, found {len(present)} variables")
        return {name: self._left.pop(f"{prefix}{i}") for i, name in enumerate(names)}

    def dense(self, spec: Dense, group: str) -> dict[str, FloatArray]:
        return self._take(spec.name, group, spec.names)

    def cell(self, spec: KerasCell, group: str) -> tuple[KerasCell, dict[str, FloatArray], dict[str, FloatArray]]:
        inner = {"RNN": "/cell", "LMUFeedforward": ""}.get(
            spec.class_name, "/layer" if spec.feedforward else "/layer/cell"
        )
        cell = self._take(spec.name, group + inner, spec.names)
        if spec.hidden is None:
            return spec, cell, {}
        outer = group + inner if spec.class_name == "RNN" else group
        return spec, cell, self._take(spec.name, f"{outer}/hidden_cell", spec.hidden.names)

    def early(self, chain: Chain, spec: EarlyCell) -> None:
        raise ValueError(f"layer {spec.name!r}: the configuration of its LMUCell has no 'memory_d'")

    def check_empty(self) -> None:
        if self._left:
            raise ValueError(f"variable layers/{sorted(self._left)[0]} belongs to no layer of the configuration")


def load_keras(path: Path) -> FloatModel:
    """Load a ``.keras`` file.

    Parameters
    ----------
    path : Path
        Zip of ``config.json`` and ``model.weights.h5``.

    Returns
    -------
    FloatModel
        With remarks in its notes.

    Raises
    ------
    ModelFileError
        If the file is damaged, or a layer or option is not supported.
    """
    with naming(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            check_archive(archive, names)
            for member in ("config.json", "model.weights.h5"):
                if member not in names:
                    raise ValueError(f"not a .keras file: the zip has no {member}")
            config = json.loads(archive.read("config.json"))
            weights = archive.read("model.weights.h5")
        architecture = read_architecture(config)
        with reading_h5(io.BytesIO(weights)) as file:
            source = _Positional(datasets(file, "layers"))
        chain = build_layers(architecture, source)
        source.check_empty()
        return make_model(path, "keras", chain.layers, chain.remarks)


def bare_cell(
    name: str,
    cell: Mapping[str, FloatArray],
    hidden: Mapping[str, FloatArray],
    recurs: bool | None,
    options: LoadOptions,
) -> Layer:
    """Make an LMU layer without a configuration, from the shapes of its variables.

    Parameters
    ----------
    name : str
        Of the layer.
    cell, hidden : mapping of str to ndarray of float64
        Variables of the cell and of its hidden cell, by their names in keras-lmu.
    recurs : bool or None
        Whether the layer has any of the options ``hidden_to_memory``, ``memory_to_memory`` and ``trainable_theta``;
        None if that is not known.
    options : LoadOptions
        ``order``, ``theta``, ``discretizer``, ``activation`` and, where the shapes are ambiguous, ``inputs``.

    Returns
    -------
    LMULayer
        The layer.

    Raises
    ------
    MissingHyperparameters
        If an option is needed and not given.
    ValueError
        If a kernel is missing, or a shape does not fit.
    """
    needed = ["order", "discretizer", "activation"] + ["theta"] * ("theta_inv" not in cell)
    order, discretizer, activation, *theta = options.need(name, *needed)
    for variables, owner in ((cell, "cell"), (hidden, "hidden cell")):
        if "kernel" not in variables or variables["kernel"].ndim != 2:
            raise ValueError(f"layer {name!r}: without a configuration a {owner} with a kernel is needed")
    (rows, memories), units = cell["kernel"].shape, hidden["kernel"].shape[1]
    inputs, input_to_hidden = _bare_inputs(name, cell, hidden, recurs, order, options)
    spec = KerasCell(
        name=name,
        class_name="LMU",
        memory_d=memories,
        order=order,
        theta=theta[0] if theta else None,
        discretizer=discretizer,
        hidden=Hidden(units, activation, "bias" in hidden, "recurrent_kernel" in hidden),
        hidden_to_memory=rows > inputs,
        memory_to_memory="recurrent_kernel" in cell,
        input_to_hidden=input_to_hidden,
        trainable_theta="theta_inv" in cell,
        use_bias="bias" in cell,
    )
    chain = Chain(inputs, sequence=True)
    build_cell(chain, spec, cell, hidden)
    return chain.layers[0]


def _bare_inputs(
    name: str,
    cell: Mapping[str, FloatArray],
    hidden: Mapping[str, FloatArray],
    recurs: bool | None,
    order: int,
    options: LoadOptions,
) -> tuple[int, bool]:
    """Elements of a layer's input frame, and whether the hidden cell reads them, from the shapes of the kernels.

    The rows of the cell's kernel are those of the inputs, then those of the hidden state where it is fed back. The rows
    of the hidden kernel are those of the memory, then those of the inputs where it reads them.
    """
    (rows, memories), (hidden_rows, units) = cell["kernel"].shape, hidden["kernel"].shape
    states = memories * order
    extra = hidden_rows - states
    if extra < 0:
        raise ValueError(
            f"layer {name!r}: order {order} needs {states} rows in the hidden kernel, which has {hidden_rows}"
        )
    given = options.get("inputs", name)
    if extra:
        inputs = extra
    elif given is not None:
        inputs = given
    elif recurs is False or rows <= units:
        inputs = rows
    elif recurs and "theta_inv" not in cell and "recurrent_kernel" not in cell:
        inputs = rows - units
    else:
        inputs = options.need(name, "inputs")[0]
    if given not in (None, inputs) or rows - inputs not in (0, units) or inputs < 1:
        raise ValueError(
            f"layer {name!r}: kernel of shape {(rows, memories)} and hidden kernel of shape {(hidden_rows, units)} "
            f"do not fit order {order}" + ("" if given is None else f" and {given} inputs")
        )
    return int(inputs), extra > 0


def _named(
    layer: str, group: str, names: Mapping[int, Sequence[str]], present: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Names for positional variables of a group from their numbers of dimensions, in the order of their creation."""
    free = [(ndim, name) for ndim, options in names.items() for name in options]
    out: dict[str, FloatArray] = {}
    for i in range(len(present)):
        array = present.get(f"{group}/vars/{i}")
        name = next((name for ndim, name in free if array is not None and ndim == array.ndim), None)
        if array is None or name is None:
            raise ValueError(f"layer {layer!r}: variables of layers/{group} are not those of an LMU or Dense")
        free.remove((array.ndim, name))
        out[name] = array
    return out


def load_weights_h5(path: Path, options: LoadOptions) -> FloatModel:
    """Load a ``.weights.h5`` file, which has no configuration.

    Parameters
    ----------
    path : Path
        HDF5 file with a group ``layers``.
    options : LoadOptions
        Layers are named as their groups: ``lmu``, ``lmu_1``, ``dense``, ...

    Returns
    -------
    FloatModel
        With remarks in its notes.

    Raises
    ------
    MissingHyperparameters, LayerOrderError
        If an option is needed and not given.
    ModelFileError
        If the file is damaged, or does not hold an LMU model.
    """
    with naming(path):
        with reading_h5(path) as file:
            contents = {group: datasets(file, f"layers/{group}") for group in file.get("layers", ())}
        contents = {group: arrays for group, arrays in contents.items() if _stem(group)[0] not in SILENT_GROUPS}
        options.check_layers(list(contents))
        layers = {group: _bare_group(group, arrays, options) for group, arrays in contents.items()}
        by_class: dict[str, list[tuple[int, str]]] = {}
        for group in contents:
            stem, number = _stem(group)
            by_class.setdefault(stem, []).append((number, group))
        sequences = [[group for _, group in sorted(members)] for members in by_class.values()]
        return bare_model(path, "weights.h5", layers, sequences, options)


def _stem(group: str) -> tuple[str, int]:
    """Class and number of a group name."""
    stem, _, number = group.rpartition("_")
    return (stem, int(number)) if stem and number.isdigit() else (group, 0)


def _bare_group(group: str, variables: Mapping[str, FloatArray], options: LoadOptions) -> Layer:
    stem, _ = _stem(group)
    present = {f"{group}/{name}": array for name, array in variables.items()}
    if stem == "dense":
        dense = _named(group, group, {2: ["kernel"], 1: ["bias"]}, present)
        if "kernel" not in dense:
            raise ValueError(f"layer {group!r}: layers/{group} has no kernel")
        return DenseLayer(w=dense["kernel"].T, b=dense.get("bias"))
    recurs = any(name.startswith(f"{group}/layer/cell/") for name in present)
    inner = {"lmu": "/layer/cell" if recurs else "/layer", "rnn": "/cell", "lmu_feedforward": ""}.get(stem)
    if inner is None:
        raise ValueError(f"layer {group!r}: {stem} is not supported without a configuration")
    outer = f"{group}{inner}" if stem == "rnn" else group
    hidden_variables = {name: array for name, array in present.items() if name.startswith(f"{outer}/hidden_cell/")}
    cell_variables = {name: array for name, array in present.items() if name not in hidden_variables}
    names_by_ndim = {2: ["kernel", "recurrent_kernel"], 1: ["bias"], 0: ["theta_inv"]}
    cell = _named(group, f"{group}{inner}", names_by_ndim, cell_variables)
    hidden = _named(group, f"{outer}/hidden_cell", {2: names_by_ndim[2], 1: names_by_ndim[1]}, hidden_variables)
    return bare_cell(group, cell, hidden, None if stem == "rnn" else recurs, options)
