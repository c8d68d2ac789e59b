"""Load legacy Keras HDF5 files (``.h5``, ``.hdf5``) of LMU models, from 2019 to Keras 3.

Variables have names; the configuration is JSON in the attribute ``model_config``. Below ``model_weights`` (or the root,
in a file of weights only)::

    <layer>/<layer>/[<rnn>/]<cell>/{kernel,bias,theta_inv,recurrent_kernel}             keras-lmu 0.4 and later
    <layer>/<layer>/[<rnn>/]<cell>/<hidden cell>/{kernel,recurrent_kernel,bias}
    <layer>/<layer>/<cell>/{A,B,...}                                                    keras-lmu 0.2 and 0.3, as well
    <layer>/<layer>/{input_encoders,hidden_encoders,memory_encoders,
                     input_kernel,hidden_kernel,memory_kernel,AT,BT}                    2019

Names may end in ``:0``. ``A`` is the transpose of the discrete state matrix; ``AT`` is that less the identity. The 2019
configuration holds neither order nor window: both are found from ``AT`` and ``BT``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmu_quantize.loaders.assemble import Chain, bare_model, drop_zero_terms, make_model, naming
from lmu_quantize.loaders.keras import bare_cell, datasets, reading_h5
from lmu_quantize.loaders.keras_config import (
    Dense,
    EarlyCell,
    KerasCell,
    build_layers,
    last_frame_only,
    read_architecture,
)
from lmu_quantize.loaders.legendre import infer_memory, stored_memory
from lmu_quantize.loaders.options import LoadOptions
from lmu_quantize.model import DenseLayer, FloatModel, Layer, LMULayer

__all__ = ["load_keras_h5"]

FloatArray = NDArray[np.float64]
Variables = dict[str, FloatArray]

EARLY_NAMES = (
    "input_encoders", "hidden_encoders", "memory_encoders",
    "input_kernel", "hidden_kernel", "memory_kernel", "AT", "BT",
)  # fmt: skip


def _split(layer: str, variables: Mapping[str, FloatArray], has_hidden: bool) -> tuple[Variables, Variables]:
    """Separate a layer's variables into those of the cell and those of the hidden cell, one group deeper."""
    by_group: dict[str, Variables] = {}
    for path, array in variables.items():
        group, _, name = path.rpartition("/")
        by_group.setdefault(group, {})[name.removesuffix(":0")] = array
    groups = sorted(by_group, key=len)
    if has_hidden and len(groups) == 1:
        return {}, by_group[groups[0]]
    if len(groups) > 1 + has_hidden or (len(groups) == 2 and not groups[1].startswith(f"{groups[0]}/")):
        raise ValueError(f"layer {layer!r}: variables must be those of one LMU, found groups {', '.join(groups)}")
    return by_group.get(groups[0], {}) if groups else {}, by_group[groups[1]] if len(groups) > 1 else {}


def _require(layer: str, owner: str, variables: Mapping[str, FloatArray], names: Sequence[str]) -> None:
    for name in names:
        if name not in variables:
            raise ValueError(f"layer {layer!r}: variable {name!r} of the {owner} is missing")
    for name in variables:
        if name not in names:
            raise ValueError(f"layer {layer!r}: variable {name!r} of the {owner} is not expected")


def _early_layer(spec: EarlyCell, variables: Variables) -> tuple[LMULayer, list[str]]:
    """Make an LMU layer from the variables of the 2019 code."""
    _require(spec.name, "LMU", variables, EARLY_NAMES)
    transposed = variables["AT"]
    if transposed.ndim != 2 or transposed.shape[0] != transposed.shape[1]:
        raise ValueError(f"layer {spec.name!r}: variable 'AT' must be a square matrix, not of shape {transposed.shape}")
    a, b = transposed.T + np.eye(transposed.shape[0]), variables["BT"]
    try:
        memory = stored_memory(a, b, order=spec.order, theta=spec.theta, discretizer=spec.discretizer)
    except ValueError as error:
        raise ValueError(f"layer {spec.name!r}: variables AT and BT: {error}") from None
    layer = LMULayer(
        memories=(memory,),
        e_x=variables["input_encoders"].T,
        e_h=variables["hidden_encoders"].T,
        e_m=variables["memory_encoders"].T,
        w_x=variables["input_kernel"].T,
        w_h=variables["hidden_kernel"].T,
        w_m=variables["memory_kernel"].T,
        activation=spec.activation or "tanh",
    )
    layer, remarks = drop_zero_terms(layer, spec.name)
    if spec.theta is None:
        window = f"order {memory.order}, theta {memory.theta:.9g}, {memory.discretizer}"
        remarks.append(f"the memory of layer {spec.name!r} was found from AT and BT: {window}")
    if spec.activation is None:
        remarks.append(f"the activation of layer {spec.name!r} is not in the file; tanh, as in the 2019 paper")
    return layer, remarks


def _with_matrices(spec: KerasCell, cell: Variables) -> tuple[KerasCell, Variables]:
    """Take the stored matrices of keras-lmu 0.2 and 0.3 out of a cell's variables, and check or complete `spec`."""
    cell = dict(cell)
    a, b = cell.pop("A", None), cell.pop("B", None)
    if a is None or b is None:
        return spec, cell
    try:
        memory = stored_memory(a.T, b, order=spec.order, theta=spec.theta, discretizer=spec.discretizer)
    except ValueError as error:
        raise ValueError(f"layer {spec.name!r}: variables A and B: {error}") from None
    return replace(spec, order=memory.order, theta=memory.theta, discretizer=memory.discretizer), cell


class _Named:
    """Variables of a legacy file, by layer and name."""

    def __init__(self, variables: Mapping[str, Variables], activation: str | None) -> None:
        self._left = dict(variables)
        self._activation = activation

    def _take(self, layer: str) -> Variables:
        if layer not in self._left:
            raise ValueError(f"layer {layer!r}: the file has no variables of it")
        return self._left.pop(layer)

    def dense(self, spec: Dense, group: str) -> Variables:
        variables, _ = _split(spec.name, self._take(spec.name), has_hidden=False)
        _require(spec.name, "dense layer", variables, spec.names)
        return variables

    def cell(self, spec: KerasCell, group: str) -> tuple[KerasCell, Variables, Variables]:
        cell, hidden = _split(spec.name, self._take(spec.name), has_hidden=spec.hidden is not None)
        spec, cell = _with_matrices(spec, cell)
        _require(spec.name, "LMU", cell, spec.names)
        _require(spec.name, "hidden cell", hidden, spec.hidden.names if spec.hidden else [])
        return spec, cell, hidden

    def early(self, chain: Chain, spec: EarlyCell) -> None:
        cell, _ = _split(spec.name, self._take(spec.name), has_hidden=False)
        layer, remarks = _early_layer(replace(spec, activation=spec.activation or self._activation), cell)
        if chain.size not in (None, layer.inputs):
            raise ValueError(f"layer {spec.name!r}: must take {chain.size} inputs, not {layer.inputs}")
        chain.add(layer)
        chain.remarks += remarks
        last_frame_only(chain, spec)

    def check_empty(self) -> None:
        for layer, variables in self._left.items():
            if variables:
                raise ValueError(f"variables of {layer!r} belong to no layer of the configuration")


def _bare_layer(name: str, variables: Variables, options: LoadOptions) -> tuple[Layer, list[str]]:
    names = {path.rpartition("/")[2].removesuffix(":0") for path in variables}
    if "AT" in names:
        cell, _ = _split(name, variables, has_hidden=False)
        return _early_layer(EarlyCell(name, None, None, None, options.get("activation", name)), cell)
    groups = {path.rpartition("/")[0] for path in variables}
    if len(groups) == 1:
        if "lmu" in name or any("/" in group for group in groups):
            raise ValueError(f"layer {name!r}: without a configuration a cell and a hidden cell are needed")
        dense, _ = _split(name, variables, has_hidden=False)
        _require(name, "dense layer", dense, ["kernel", "bias"] if "bias" in dense else ["kernel"])
        return DenseLayer(w=dense["kernel"].T, b=dense.get("bias")), []
    cell, hidden = _split(name, variables, has_hidden=True)
    if "A" in cell and "B" in cell:
        memory = infer_memory(cell.pop("A").T, cell.pop("B"))
        options = replace(options, order=memory.order, theta=memory.theta, discretizer=memory.discretizer)
    return bare_cell(name, cell, hidden, None, options), []


def load_keras_h5(path: Path, options: LoadOptions) -> FloatModel:
    """Load a legacy Keras HDF5 file.

    Parameters
    ----------
    path : Path
        HDF5 file with the attribute ``model_config``, or with weights only.
    options : LoadOptions
        For a file of weights only. A file with a configuration takes none, except for a 2019 configuration:
        ``activation``, one of the names, ``tanh`` by default.

    Returns
    -------
    FloatModel
        With remarks in its notes.

    Raises
    ------
    MissingHyperparameters, LayerOrderError
        If an option is needed and not given.
    ModelFileError
        If the file is damaged, a layer or option is not supported, or stored matrices are not those of a Legendre
        memory.
    """
    with naming(path):
        with reading_h5(path) as file:
            config = file.attrs.get("model_config")
            root = "model_weights" if "model_weights" in file else "/"
            stored = [str(n.decode() if isinstance(n, bytes) else n) for n in file[root].attrs.get("layer_names", ())]
            variables = {group: datasets(file[root], group) for group in file[root] if group != "optimizer_weights"}
        if config is None:
            return _load_bare(path, {name: arrays for name, arrays in variables.items() if arrays}, stored, options)
        architecture = read_architecture(json.loads(config))
        early = any(isinstance(layer, EarlyCell) for layer in architecture.layers)
        for option in options.given():
            if not (early and option == "activation"):
                raise ValueError(f"the file has a configuration, {option} cannot be given")
        source = _Named(variables, options.activation)
        chain = build_layers(architecture, source)
        source.check_empty()
        return make_model(path, "keras-h5", chain.layers, chain.remarks)


def _load_bare(
    path: Path, variables: Mapping[str, Variables], stored: Sequence[str], options: LoadOptions
) -> FloatModel:
    """Load a file of weights only; `stored` are the layer names that it lists."""
    options.check_layers(list(variables))
    layers: dict[str, Layer] = {}
    remarks: list[str] = []
    for name, arrays in variables.items():
        layers[name], more = _bare_layer(name, arrays, options)
        remarks += more
    names = [name for name in stored if name in layers]
    sequences = [names] if len(names) == len(layers) else [[name] for name in layers]
    return bare_model(path, "keras-h5", layers, sequences, options, remarks)
