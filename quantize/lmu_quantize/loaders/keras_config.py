"""Read the JSON configuration of a Keras model into plain descriptions of its layers.

Configurations of Keras 2.2 to 3 and of keras-lmu are alike: a layer is ``class_name`` with ``config``. Every option
that changes what a model computes is either read or refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lmu_quantize.loaders.assemble import Chain
from lmu_quantize.model import DenseLayer, LegendreMemory, LMULayer

__all__ = [
    "Activation",
    "Architecture",
    "Dense",
    "EarlyCell",
    "Hidden",
    "KerasCell",
    "KerasLayer",
    "PassThrough",
    "VariableSource",
    "build_cell",
    "build_layers",
    "last_frame_only",
    "read_architecture",
]

FloatArray = NDArray[np.float64]

IDENTITIES = frozenset(
    {
        "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "Identity",
        "SpatialDropout1D",
    }
)  # fmt: skip
FUNCTIONS = ("linear", "relu", "tanh", "softmax")
RECURRENT_REFUSED = ("go_backwards", "stateful", "return_state", "time_major")


@dataclass(frozen=True)
class Hidden:
    """Hidden cell of an LMU: Dense, or SimpleRNNCell if `recurrent`."""

    units: int
    activation: str
    use_bias: bool
    recurrent: bool

    @property
    def names(self) -> list[str]:
        """Variables in the order of their creation."""
        return ["kernel"] + ["recurrent_kernel"] * self.recurrent + ["bias"] * self.use_bias


@dataclass(frozen=True)
class KerasCell:
    """One LMU layer of keras-lmu; None in `order`, `theta` or `discretizer` is not in the configuration."""

    name: str
    class_name: str
    memory_d: int
    order: int | None
    theta: float | None
    discretizer: str | None
    hidden: Hidden | None
    hidden_to_memory: bool = False
    memory_to_memory: bool = False
    input_to_hidden: bool = False
    trainable_theta: bool = False
    has_kernel: bool = True
    use_bias: bool = False
    return_sequences: bool = True

    @property
    def feedforward(self) -> bool:
        """Whether the class LMU computes this by convolution."""
        return not (self.hidden_to_memory or self.memory_to_memory or self.trainable_theta)

    @property
    def names(self) -> list[str]:
        """Variables outside the hidden cell, in the order of their creation."""
        present = {
            "kernel": self.has_kernel,
            "bias": self.use_bias,
            "theta_inv": self.trainable_theta,
            "recurrent_kernel": self.memory_to_memory,
        }
        return [name for name, there in present.items() if there]


@dataclass(frozen=True)
class EarlyCell:
    """One LMU layer as in the 2019 paper's code, before keras-lmu; fields that the configuration lacks are None."""

    name: str
    order: int | None
    theta: float | None
    discretizer: str | None
    activation: str | None
    return_sequences: bool = True


@dataclass(frozen=True)
class Dense:
    """A dense layer."""

    name: str
    units: int
    activation: str
    use_bias: bool

    @property
    def names(self) -> list[str]:
        """Variables in the order of their creation."""
        return ["kernel"] + ["bias"] * self.use_bias


@dataclass(frozen=True)
class Activation:
    """A layer that is an activation function."""

    name: str
    function: str


@dataclass(frozen=True)
class PassThrough:
    """A layer that changes nothing at inference; a Reshape has its target shape, a Flatten an empty one."""

    name: str
    class_name: str
    target: tuple[int, ...] | None = None


KerasLayer = KerasCell | EarlyCell | Dense | Activation | PassThrough


@dataclass(frozen=True)
class Architecture:
    """Layers in order of the data, and for each the class and number that name its group in a ``.keras`` file."""

    layers: tuple[KerasLayer, ...]
    groups: tuple[str, ...]
    inputs: int | None
    sequence: bool


def _option(config: Any, key: str, json_type: str, where: str, *default: Any) -> Any:
    """Read one entry of a configuration with its type checked."""
    if not isinstance(config, Mapping):
        raise ValueError(f"{where}: the configuration must be a JSON object, not {config!r}")
    if key not in config:
        if default:
            return default[0]
        raise ValueError(f"{where}: the configuration has no {key!r}")
    value = config[key]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    matches = {
        "bool": isinstance(value, bool),
        "integer": number and value % 1 == 0,
        "number": number,
        "string": isinstance(value, str),
        "list": isinstance(value, list),
        "object": isinstance(value, Mapping),
    }[json_type]
    if not matches:
        raise ValueError(f"{where}: {key} must be a JSON {json_type}, not {value!r}")
    return int(value) if json_type == "integer" else value


def _class(layer: Any, where: str) -> str:
    return str(_option(layer, "class_name", "string", where)).rpartition(">")[2]


def _function(value: Any, where: str) -> str:
    """Name of an activation as a configuration holds it; `ValueError` for one that is not supported."""
    if isinstance(value, Mapping):
        value = value.get("config") if isinstance(value.get("config"), str) else value.get("class_name")
    name = "linear" if value is None else value
    if name not in FUNCTIONS:
        raise ValueError(f"{where}: activation {name!r} is not supported, only {', '.join(FUNCTIONS)}")
    return str(name)


def _hidden(layer: Any, where: str) -> Hidden | None:
    if layer is None:
        return None
    class_name = _class(layer, f"{where}: hidden_cell")
    where = f"{where}: hidden_cell {class_name}"
    if class_name not in ("Dense", "SimpleRNNCell"):
        raise ValueError(f"{where} is not supported, only Dense, SimpleRNNCell or none")
    config = _option(layer, "config", "object", where)
    activation = _function(config.get("activation"), where)
    if activation == "softmax":
        raise ValueError(f"{where}: activation 'softmax' is not supported inside an LMU")
    units = _option(config, "units", "integer", where)
    return Hidden(units, activation, _option(config, "use_bias", "bool", where, True), class_name == "SimpleRNNCell")


def _cell(config: Any, name: str, class_name: str, return_sequences: bool) -> KerasCell:
    where = f"layer {name!r}"

    def flag(key: str) -> bool:
        return bool(_option(config, key, "bool", where, False))

    return KerasCell(
        name=name,
        class_name=class_name,
        memory_d=_option(config, "memory_d", "integer", where),
        order=_option(config, "order", "integer", where, None),
        theta=_option(config, "theta", "number", where, None),
        discretizer=_option(config, "discretizer", "string", where, None),
        hidden=_hidden(config.get("hidden_cell"), where),
        hidden_to_memory=flag("hidden_to_memory"),
        memory_to_memory=flag("memory_to_memory"),
        input_to_hidden=flag("input_to_hidden"),
        trainable_theta=flag("trainable_theta"),
        has_kernel=config.get("kernel_initializer", "glorot_uniform") is not None,
        use_bias=flag("use_bias"),
        return_sequences=return_sequences,
    )


def _rnn(config: Any, name: str) -> KerasLayer:
    where = f"layer {name!r}"
    cell = _option(config, "cell", "object", where)
    class_name = _class(cell, where)
    if class_name != "LMUCell":
        raise ValueError(f"{where}: RNN of {class_name} is not supported, only of LMUCell")
    return_sequences = _option(config, "return_sequences", "bool", where, False)
    inner = _option(cell, "config", "object", where)
    if "hidden_cell" in inner or "memory_d" in inner:
        return _cell(inner, name, "RNN", return_sequences)
    function = inner.get("hidden_activation")
    return EarlyCell(
        name=name,
        order=_option(inner, "order", "integer", where, None),
        theta=_option(inner, "theta", "number", where, None),
        discretizer=_option(inner, "method", "string", where, None),
        activation=None if function is None else _function(function, where),
        return_sequences=return_sequences,
    )


def _relu(config: Mapping[str, Any], where: str) -> str:
    plain = {"max_value": (None,), "negative_slope": (None, 0), "threshold": (None, 0)}
    for key, values in plain.items():
        if config.get(key) not in values:
            raise ValueError(f"{where}: ReLU with {key} {config[key]!r} is not supported")
    return "relu"


def _layer(layer: Any, name: str) -> KerasLayer:
    where = f"layer {name!r}"
    class_name = _class(layer, where)
    config = _option(layer, "config", "object", where)
    if class_name in ("LMU", "LMUFeedforward", "RNN"):
        for key in RECURRENT_REFUSED:
            if config.get(key):
                raise ValueError(f"{where}: {key} is not supported")
        if class_name == "RNN":
            return _rnn(config, name)
        return _cell(config, name, class_name, _option(config, "return_sequences", "bool", where, False))
    if class_name == "Dense":
        activation = _function(config.get("activation"), where)
        units = _option(config, "units", "integer", where)
        return Dense(name, units, activation, _option(config, "use_bias", "bool", where, True))
    if class_name == "Activation":
        return Activation(name, _function(config.get("activation"), where))
    if class_name == "ReLU":
        return Activation(name, _relu(config, where))
    if class_name == "Softmax":
        return Activation(name, "softmax")
    if class_name == "Reshape":
        shape = _option(config, "target_shape", "list", where)
        return PassThrough(name, class_name, tuple(_option({"": n}, "", "integer", where) for n in shape))
    if class_name == "Flatten":
        return PassThrough(name, class_name, ())
    if class_name in IDENTITIES:
        return PassThrough(name, class_name)
    raise ValueError(f"{where}: {class_name} is not supported")


def _origins(node: Any) -> list[str]:
    """Names of the layers that a Keras 3 node takes its inputs from."""
    if isinstance(node, Mapping):
        history = node.get("config", {}).get("keras_history") if node.get("class_name") == "__keras_tensor__" else None
        return [str(history[0])] if history else [name for value in node.values() for name in _origins(value)]
    return [name for value in node for name in _origins(value)] if isinstance(node, list) else []


def _sources(layer: Mapping[str, Any], name: str) -> list[str]:
    nodes = _option(layer, "inbound_nodes", "list", f"layer {name!r}", [])
    if len(nodes) > 1:
        raise ValueError(f"layer {name!r} is used {len(nodes)} times, only a plain chain of layers is supported")
    try:
        if nodes and isinstance(nodes[0], list):
            return [str(source[0]) for source in nodes[0]]
        return _origins(nodes)
    except (AttributeError, IndexError, KeyError, TypeError):
        raise ValueError(f"layer {name!r}: inbound_nodes are not those of Keras 2 or 3") from None


def _chain(layers: Mapping[str, Any]) -> list[str]:
    """Names of the layers of a functional model in order of the data; only a plain chain is accepted."""
    after: dict[str, str] = {}
    starts = []
    for name, layer in layers.items():
        sources = _sources(layer, name)
        if not sources:
            starts.append(name)
        elif len(sources) > 1 or sources[0] in after:
            raise ValueError(f"layer {name!r} makes a branch, only a plain chain of layers is supported")
        else:
            after[sources[0]] = name
    if len(starts) != 1:
        raise ValueError(f"the model has {len(starts)} inputs, only one is supported")
    order = starts
    while order[-1] in after:
        order.append(after.pop(order[-1]))
    if len(order) != len(layers):
        raise ValueError("the layers do not make a plain chain")
    return order


def _snake_case(name: str) -> str:
    """Group name of a class: an underscore where a word starts, a run of capitals being one word."""
    out = ""
    for i, char in enumerate(name):
        after_lower = i > 0 and name[i - 1].islower() and char.isupper()
        before_lower = i > 0 and char.isupper() and name[i + 1 : i + 2].islower()
        out += ("_" if after_lower or before_lower else "") + char.lower()
    return out


def _input_shape(shape: Any, where: str) -> tuple[int | None, bool]:
    """Elements of a frame, and whether the input is a sequence, from a shape with the batch first."""
    if not isinstance(shape, list) or len(shape) not in (2, 3):
        raise ValueError(f"{where}: input must be [batch, time, features] or [batch, features], not {shape!r}")
    return _option({"": shape[-1]}, "", "integer", where) if shape[-1] is not None else None, len(shape) == 3


def read_architecture(model: Any) -> Architecture:
    """Read the configuration of a Sequential or functional model.

    Parameters
    ----------
    model : Any
        JSON of ``config.json`` or of the attribute ``model_config``.

    Returns
    -------
    Architecture
        Its layers, those that only name the input left out.

    Raises
    ------
    ValueError
        If an entry is missing or of another type, the layers are no plain chain, or a layer or option is not
        supported.
    """
    model_class = _class(model, "model")
    if model_class not in ("Sequential", "Functional", "Model"):
        raise ValueError(f"model: {model_class} is not supported, only Sequential and functional models")
    config = model.get("config")
    entries = config if isinstance(config, list) else _option(config, "layers", "list", "model")
    layers: dict[str, Any] = {}
    groups: dict[str, str] = {}
    used: dict[str, int] = {}
    for entry in entries:
        class_name = _class(entry, "model")
        inner = _option(entry, "config", "object", f"layer of class {class_name}")
        name = _option(inner, "name", "string", f"layer of class {class_name}")
        layers[name] = entry
        stem = _snake_case(class_name)
        groups[name] = f"{stem}_{used[stem]}" if stem in used else stem
        used[stem] = used.get(stem, 0) + 1
    order = list(layers) if model_class == "Sequential" else _chain(layers)
    inputs, sequence = None, True
    for name in order[:1]:
        first = layers[name]["config"]
        shape = first.get("batch_shape", first.get("batch_input_shape"))
        if shape is not None:
            inputs, sequence = _input_shape(shape, f"layer {name!r}")
    order = [name for name in order if _class(layers[name], name) != "InputLayer"]
    return Architecture(
        layers=tuple(_layer(layers[name], name) for name in order),
        groups=tuple(groups[name] for name in order),
        inputs=inputs,
        sequence=sequence,
    )


def _apply_plain(chain: Chain, layer: Activation | PassThrough) -> None:
    """Append a layer without weights to a chain."""
    if isinstance(layer, Activation):
        chain.activation(layer.name, layer.function)
        return
    if layer.target is None:
        return
    where = f"layer {layer.name!r}: {layer.class_name}"
    if layer.class_name == "Flatten":
        if chain.sequence:
            raise ValueError(f"{where} of a sequence is not supported")
        return
    if chain.layers:
        same = (-1, chain.size) if chain.sequence else (chain.size,)
        if layer.target != same:
            raise ValueError(f"{where} to {layer.target} after the first layer is not supported")
        return
    if len(layer.target) != 2 or layer.target[1] < 1:
        raise ValueError(f"{where} to {layer.target} is not supported, only to (time, features)")
    chain.size, chain.sequence = layer.target[1], True
    chain.remarks.append(f"the frames are those after layer {layer.name!r}, {layer.target[1]} elements each")


def _shape(where: str, variables: Mapping[str, FloatArray], name: str, shape: tuple[int, ...]) -> FloatArray:
    array = variables[name]
    if array.shape != shape:
        raise ValueError(f"{where}: variable {name!r} must have shape {shape}, not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: variable {name!r} must be finite, found NaN or infinity")
    return array


def _build_dense(chain: Chain, spec: Dense, variables: Mapping[str, FloatArray]) -> None:
    """Append a dense layer to a chain; `variables` has exactly the names of `spec`."""
    where = f"layer {spec.name!r}"
    kernel = variables["kernel"]
    inputs = chain.size if chain.size is not None else int(kernel.shape[0]) if kernel.ndim else 0
    kernel = _shape(where, variables, "kernel", (inputs, spec.units))
    bias = _shape(where, variables, "bias", (spec.units,)) if spec.use_bias else None
    chain.add(DenseLayer(w=kernel.T, b=bias))
    chain.activation(spec.name, spec.activation)


def _memory(spec: KerasCell, where: str, cell: Mapping[str, FloatArray]) -> LegendreMemory:
    theta = spec.theta
    if spec.trainable_theta:
        rate = float(_shape(where, cell, "theta_inv", ()))
        if rate <= 0:
            raise ValueError(f"{where}: variable 'theta_inv' must be above 0, not {rate:g}")
        theta = 1.0 / rate
    if spec.order is None or theta is None or spec.discretizer is None:
        has = {"order": spec.order, "theta": theta, "discretizer": spec.discretizer}
        raise ValueError(f"{where}: the configuration has no {', '.join(k for k, v in has.items() if v is None)}")
    return LegendreMemory(spec.order, theta, spec.discretizer)


def build_cell(chain: Chain, spec: KerasCell, cell: Mapping[str, FloatArray], hidden: Mapping[str, FloatArray]) -> None:
    """Append an LMU layer to a chain.

    Parameters
    ----------
    chain : Chain
        The layers before.
    spec : KerasCell
        Complete description.
    cell, hidden : mapping of str to ndarray of float64
        Variables, exactly those of ``spec.names`` and ``spec.hidden.names``.

    Raises
    ------
    ValueError
        If a variable has another shape or is not finite, or options contradict each other.
    """
    where = f"layer {spec.name!r}"
    if not chain.sequence:
        raise ValueError(f"{where}: an LMU must get a sequence of frames, not one vector")
    memory = _memory(spec, where, cell)
    m, d, h = spec.memory_d, spec.memory_d * memory.order, spec.hidden.units if spec.hidden else 0
    if spec.hidden_to_memory and (spec.hidden is None or not spec.has_kernel):
        lack = "hidden_cell" if spec.hidden is None else "kernel_initializer"
        raise ValueError(f"{where}: hidden_to_memory without {lack} is not supported")
    fed_back = h if spec.hidden_to_memory else 0
    n = chain.size
    if n is None:
        n = m if not spec.has_kernel else cell["kernel"].shape[0] - fed_back if cell["kernel"].ndim == 2 else 0
    if not spec.has_kernel and n != m:
        raise ValueError(f"{where}: without a kernel the {n} inputs must be memory_d, which is {m}")
    kernel = _shape(where, cell, "kernel", (n + fed_back, m)) if spec.has_kernel else np.eye(n)
    extra = n if spec.input_to_hidden else 0
    readout = np.eye(d + extra)
    if spec.hidden is not None:
        readout = _shape(f"{where}: hidden cell", hidden, "kernel", (d + extra, h))
    recurrent = spec.hidden is not None and spec.hidden.recurrent
    bias = spec.hidden is not None and spec.hidden.use_bias
    layer = LMULayer(
        memories=(memory,) * m,
        e_x=kernel[:n].T,
        e_h=kernel[n:].T if fed_back else None,
        e_m=_shape(where, cell, "recurrent_kernel", (d, m)).T if spec.memory_to_memory else None,
        b_u=_shape(where, cell, "bias", (m,)) if spec.use_bias else None,
        w_m=readout[:d].T,
        w_x=readout[d:].T if spec.input_to_hidden else None,
        w_h=_shape(f"{where}: hidden cell", hidden, "recurrent_kernel", (h, h)).T if recurrent else None,
        b_h=_shape(f"{where}: hidden cell", hidden, "bias", (h,)) if bias else None,
        activation=spec.hidden.activation if spec.hidden else "linear",
    )
    chain.add(layer)
    last_frame_only(chain, spec)


def last_frame_only(chain: Chain, spec: KerasCell | EarlyCell) -> None:
    """Note that the Keras layer returns its last frame only, while the float model returns every frame."""
    if not spec.return_sequences:
        chain.sequence = False
        chain.remarks.append(
            f"layer {spec.name!r} hands on its last frame only (return_sequences is false); "
            "here every frame's output is computed"
        )


class VariableSource(Protocol):
    """The variables of a file, by layer."""

    def dense(self, spec: Dense, group: str) -> Mapping[str, FloatArray]:
        """Variables of a dense layer: exactly those of ``spec.names``."""

    def cell(self, spec: KerasCell, group: str) -> tuple[KerasCell, Mapping[str, FloatArray], Mapping[str, FloatArray]]:
        """Complete description and variables of an LMU layer, as `build_cell` takes them."""

    def early(self, chain: Chain, spec: EarlyCell) -> None:
        """Append an LMU layer of the 2019 code to a chain."""


def build_layers(architecture: Architecture, source: VariableSource) -> Chain:
    """Make the layers of an architecture from a file's variables; `ValueError` if they do not fit."""
    chain = Chain(architecture.inputs, architecture.sequence)
    for layer, group in zip(architecture.layers, architecture.groups, strict=True):
        if isinstance(layer, KerasCell):
            build_cell(chain, *source.cell(layer, group))
        elif isinstance(layer, EarlyCell):
            source.early(chain, layer)
        elif isinstance(layer, Dense):
            _build_dense(chain, layer, source.dense(layer, group))
        else:
            _apply_plain(chain, layer)
    return chain
