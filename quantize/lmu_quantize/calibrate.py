"""Post-training quantization: a float model and calibration frames in, a quantized model and its errors out."""

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model.bounds import Certificate, certify, impulse_response_l1
from lmu_hw.model.fixed import Format, Overflow
from lmu_hw.model.golden import Golden
from lmu_hw.model.memory_layer import check_strides
from lmu_hw.model.operations import output_name, tanh_table
from lmu_hw.model.program import QuantizedModel, Weights
from lmu_quantize.assembly import Assembly, Formats
from lmu_quantize.equalize import equalizing_shifts, scale_memories
from lmu_quantize.model import FloatModel, LMULayer, MemoryLayer
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.scales import (
    COARSER,
    FINER,
    FRAC_LIMIT,
    WeightTerm,
    finest_format,
    floor_power,
    format_by_error,
    format_by_percentile,
    quantize_terms,
)
from lmu_quantize.sensitivity import SensitivityReport, measure
from lmu_quantize.sums import column_power, drive, layer_sums

__all__ = ["QuantizationResult", "quantize_model", "trained_formats"]

FloatArray = NDArray[np.float64]

LOGIT_MARGIN = 1.25
"""Room above the largest float logit, for the quantization error."""
STATE_MARGIN = 2.0
"""Room above the largest state on the calibration frames, where no bound can be proven."""
LARGEST_TANH = math.nextafter(1.0, 0.0)
"""Largest hidden state whose inverse tanh is finite."""


@dataclass(frozen=True, eq=False)
class QuantizationResult:
    """What `quantize_model` gives.

    Attributes
    ----------
    model : QuantizedModel
        The network in integers.
    report : SensitivityReport
        Errors on the calibration frames.
    floats : FloatModel
        The float model with its memories scaled as in `model`; its hidden states are those of the original.
    """

    model: QuantizedModel
    report: SensitivityReport
    floats: FloatModel

    @functools.cached_property
    def certificate(self) -> Certificate:
        """Bounds of every sum and state of `model`: what is proven not to overflow."""
        return certify(self.model)


def quantize_model(
    model: FloatModel, frames: ArrayLike, config: QuantizationConfig | None = None
) -> QuantizationResult:
    """Quantize a trained network.

    Parameters
    ----------
    model : FloatModel
        The network.
    frames : array_like of float, shape (N, T, inputs)
        Real frames, as many as describe what the network will see; long enough for a logit.
    config : QuantizationConfig, optional
        Bits and rules; the defaults if not given.

    Returns
    -------
    QuantizationResult
        The quantized model, whose notes hold the settings and the hash of the frames, and the report.

    Raises
    ------
    ValueError
        If the frames have another shape, are too few or not finite, or make the model diverge. Also if a name in the
        settings is not in the model, or if its strides or sums exceed what the hardware carries.
    """
    config = QuantizationConfig() if config is None else config
    samples = _checked_frames(model, frames)
    _check_names(model, config)
    scaled, shifts = _equalized(model, samples, config)
    traces = {"x": samples} | _run(scaled, samples)
    formats = _signal_formats(scaled, traces, config) | _memory_formats(scaled, config)
    formats |= _state_formats(scaled, traces, formats, config)
    weights = _quantized_weights(scaled, traces, formats, config)
    formats |= _logit_format(scaled, traces, weights, formats, config)
    formats |= _table_formats(scaled, traces, formats, config)
    notes = dict(model.notes) | {
        "quantization": config.to_dict(),
        "calibration": {
            "frames": list(samples.shape),
            "sha256": hashlib.sha256(samples.astype("<f8").tobytes()).hexdigest(),
        },
        "equalization": {name: list(values) for name, values in shifts.items()},
    }
    assembly = Assembly(scaled, weights, config, notes)
    quantized = _fit_logits(assembly, _fit_states(assembly, formats), samples)
    return QuantizationResult(quantized, measure(scaled, quantized, samples), scaled)


def trained_formats(data: Mapping[str, Any]) -> dict[str, Format]:
    """Read the formats of a network trained with quantization, for `QuantizationConfig.formats`.

    Parameters
    ----------
    data : mapping
        As `lmu_quantize.train.network.LMUNetwork.formats` gives them: ``input`` and, in ``layers``, ``u``, ``m``,
        ``f``, ``h``, ``a`` and ``b`` of each layer that has them.

    Returns
    -------
    dict of str to Format
        ``x``, ``layer{i}.u`` and so on.
    """
    if not isinstance(data, Mapping) or not {"input", "layers"} <= set(data):
        raise ValueError("trained formats must have the keys input and layers")
    formats = {"x": Format.from_dict(data["input"])}
    for index, layer in enumerate(data["layers"]):
        names = [name for name in ("u", "m", "f", "h", "a", "b") if name in layer]
        formats |= {f"layer{index}.{name}": Format.from_dict(layer[name]) for name in names}
    return formats


def _checked_frames(model: FloatModel, frames: ArrayLike) -> FloatArray:
    samples = np.asarray(frames, dtype=np.float64)
    if samples.ndim != 3 or samples.shape[2] != model.inputs:
        raise ValueError(f"calibration frames must have shape (N, T, {model.inputs}), not {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("calibration frames must be finite, found NaN or infinity")
    check_strides(model.strides)
    period = math.prod(model.strides)
    if samples.shape[0] < 1 or samples.shape[1] < period:
        raise ValueError(
            f"calibration needs at least 1 sequence of {period} frames, the strides multiplied, not {samples.shape[:2]}"
        )
    return samples


def _run(model: FloatModel, frames: FloatArray) -> dict[str, FloatArray]:
    """Vectors of the float model, which must be finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        traces = model.run(frames)
    for name, values in traces.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} of the float model is not finite on the calibration frames")
    return traces


def _check_names(model: FloatModel, config: QuantizationConfig) -> None:
    weights, known = set(), {"x"}
    for index, layer in enumerate(model.layers):
        weights |= {f"layer{index}"} | {f"layer{index}.{name}" for name in layer.tensors if not name.startswith("b")}
        known |= {layer_sum.target for layer_sum in layer_sums(index, layer)}
        names = ["m", "a", "b"] if isinstance(layer, MemoryLayer) else []
        known |= {f"layer{index}.{name}" for name in ([*names, "table"] if layer.activation == "tanh" else names)}
    for setting, entries, allowed in (
        ("weight_overrides", config.weight_overrides, weights),
        ("formats", config.formats, known),
    ):
        for name in sorted(set(entries) - allowed):
            raise ValueError(f"{setting}: the model has no {name!r}, only {', '.join(sorted(allowed))}")


def _equalized(
    model: FloatModel, frames: FloatArray, config: QuantizationConfig
) -> tuple[FloatModel, dict[str, tuple[int, ...]]]:
    """Scale the memories of each layer whose format of u is free; the model and the shifts used."""
    if not config.equalize:
        return model, {}
    traces = _run(model, frames)
    layers, used = list(model.layers), {}
    for index, layer in enumerate(model.layers):
        name = f"layer{index}.u"
        if not isinstance(layer, MemoryLayer) or name not in traces or name in config.formats:
            continue
        shifts = equalizing_shifts(traces[name], config.u_bits)
        if any(shifts):
            layers[index], used[name] = scale_memories(layer, shifts), shifts
    return replace(model, layers=tuple(layers)), used


def _best_format(values: FloatArray, width: int, signed: bool, config: QuantizationConfig) -> Format:
    if config.range_rule == "mse":
        return format_by_error(values, width, signed)
    return format_by_percentile(values, width, config.percentile, signed)


def _is_logits(model: FloatModel, index: int) -> bool:
    """Whether the output of a layer is the network's and nothing else: the last one, without feedback."""
    layer = model.layers[index]
    feedback = isinstance(layer, LMULayer) and (layer.e_h is not None or layer.w_h is not None)
    return index == len(model.layers) - 1 and not feedback


def _signal_formats(model: FloatModel, traces: dict[str, FloatArray], config: QuantizationConfig) -> Formats:
    """Choose the formats of x, every u and f, and every h that is not the logits."""
    chosen = {"x": (config.input_bits, True)}
    rectified = config.activation_bits, config.activation_bits != 7
    for index, layer in enumerate(model.layers):
        for target in (layer_sum.target for layer_sum in layer_sums(index, layer)):
            if target.endswith(".u"):
                chosen[target] = (config.u_bits, True)
            elif target.endswith(".f"):
                chosen[target] = rectified
            elif not _is_logits(model, index):
                chosen[target] = rectified if layer.activation == "relu" else (config.signed_bits, True)
    return {
        name: config.formats.get(name) or _best_format(traces[name], width, signed, config)
        for name, (width, signed) in chosen.items()
    }


def _memory_formats(model: FloatModel, config: QuantizationConfig) -> Formats:
    """Choose the formats of the discrete memory matrices, which hold all their elements."""
    formats: Formats = {}
    for index, layer in enumerate(model.layers):
        if not isinstance(layer, MemoryLayer):
            continue
        pairs = [memory.discretize() for memory in dict.fromkeys(layer.memories)]
        for position, (name, width) in enumerate((("a", config.a_bits), ("b", config.b_bits))):
            peak = max(float(np.abs(pair[position]).max()) for pair in pairs)
            key = f"layer{index}.{name}"
            formats[key] = config.formats.get(key) or finest_format(peak, width)
    return formats


def _state_formats(
    model: FloatModel, traces: dict[str, FloatArray], formats: Formats, config: QuantizationConfig
) -> Formats:
    """First formats of the memory states: chosen on frames, or as fine as a bound without rounding errors allows."""
    chosen: Formats = {}
    for index, layer in enumerate(model.layers):
        key, name = f"layer{index}.m", f"layer{index}"
        if not isinstance(layer, MemoryLayer):
            continue
        if key in config.formats:
            chosen[key] = config.formats[key]
            continue
        if config.state_range == "frames":
            chosen[key] = _best_format(traces[key], config.state_bits, True, config)
            continue
        u = formats[drive(index, layer)]
        gains = []
        for memory in dict.fromkeys(layer.memories):
            a, b = memory.discretize()
            fmt_a, fmt_b = formats[f"{name}.a"], formats[f"{name}.b"]
            gains.append(impulse_response_l1(fmt_a.real(fmt_a.quantize(a)), fmt_b.real(fmt_b.quantize(b))).max())
        peak = float(max(gains)) * u.magnitude * u.lsb
        if not math.isfinite(peak):
            peak = STATE_MARGIN * float(np.abs(traces[key]).max())
        chosen[key] = finest_format(peak, config.state_bits)
    return chosen


def _power(values: FloatArray) -> FloatArray:
    """Mean square of each element, kept from zero."""
    mean: FloatArray = np.square(values.reshape(-1, values.shape[-1])).mean(axis=0)
    return floor_power(mean)


def _quantized_weights(
    model: FloatModel, traces: dict[str, FloatArray], formats: Formats, config: QuantizationConfig
) -> list[dict[str, Weights]]:
    """Weights of each layer, those of one sum together."""
    weights_of_layers: list[dict[str, Weights]] = []
    powers = {name: _power(values) for name, values in traces.items()}
    for index, layer in enumerate(model.layers):
        weights_of_layer: dict[str, Weights] = {}
        for layer_sum in layer_sums(index, layer):
            terms = [
                WeightTerm(
                    layer.tensors[name], config.bits_of(index, name), column_power(layer, name, powers[source]),
                    formats[source].frac,
                )
                for name, source in layer_sum.pairs
            ]  # fmt: skip
            quantized = quantize_terms(terms, config.weight_range == "symmetric")
            weights_of_layer |= {name: weights for (name, _), weights in zip(layer_sum.pairs, quantized, strict=True)}
        weights_of_layers.append(weights_of_layer)
    return weights_of_layers


def _logit_format(
    model: FloatModel,
    traces: dict[str, FloatArray],
    weights: Sequence[Mapping[str, Weights]],
    formats: Formats,
    config: QuantizationConfig,
) -> Formats:
    """Format of the logits: it holds the calibration frames with room to spare, and is no finer than the exact sums."""
    index = len(model.layers) - 1
    key = f"layer{index}.h"
    if key in config.formats:
        return {key: config.formats[key]}
    if not _is_logits(model, index):
        return {}
    fmt = finest_format(LOGIT_MARGIN * float(np.abs(traces[key]).max()), config.logits_bits)
    if model.layers[index].activation == "tanh":
        return {key: fmt}
    last = layer_sums(index, model.layers[index])[-1]
    scales = [int(weights[index][name].frac.max()) + formats[source].frac for name, source in last.pairs]
    exact = max(scales if last.residual is None else [*scales, formats[last.residual].frac])
    return {key: replace(fmt, frac=min(fmt.frac, exact))}


def _table_formats(
    model: FloatModel, traces: dict[str, FloatArray], formats: Formats, config: QuantizationConfig
) -> Formats:
    """Index formats of the tanh tables."""
    chosen: Formats = {}
    for index, layer in enumerate(model.layers):
        key, name = f"layer{index}.table", f"layer{index}.h"
        if layer.activation == "tanh":
            chosen[key] = config.formats.get(key) or _best_table(traces[name], formats[name], config)
    return chosen


def _best_table(hidden: FloatArray, output: Format, config: QuantizationConfig) -> Format:
    """Index format with the smallest mean squared error of the table's results on the float model's hidden states.

    Of equals the finest one that holds every pre-activation, which is the inverse of tanh of a hidden state.
    """
    pre = np.arctanh(np.clip(hidden, -LARGEST_TANH, LARGEST_TANH)).ravel()
    widest = finest_format(float(np.abs(pre).max(initial=0.0)), config.table_bits)
    best, smallest = widest, math.inf
    coarser = range(widest.frac, widest.frac - COARSER - 1, -1)
    finer = range(widest.frac + 1, min(widest.frac + FINER, FRAC_LIMIT) + 1)
    for frac in (*coarser, *finer):
        fmt = Format(config.table_bits, frac)
        index = fmt.quantize(pre, Overflow.SAT_SYM)
        values = np.sign(index) * tanh_table(fmt, output)[np.abs(index)]
        error = float(np.square(output.real(values) - hidden.ravel()).sum())
        if error < smallest:
            best, smallest = fmt, error
    return best


def _coarser(fmt: Format) -> Format:
    return replace(fmt, frac=fmt.frac - 1)


def _fit_states(assembly: Assembly, formats: Formats) -> Formats:
    """Make free formats of memory states coarser until each is proven to hold its memories.

    A memory whose response could not be summed has no bound; its format stays, as all do that were chosen on frames.
    """
    if assembly.config.state_range == "frames":
        return formats
    formats = dict(formats)
    while True:
        bounds = certify(assembly(formats)).memories
        narrow = {f"layer{bound.layer}.m" for bound in bounds if bound.steps and not bound.fits}
        narrow -= set(assembly.config.formats)
        if not narrow:
            return formats
        formats |= {name: _coarser(formats[name]) for name in narrow}


def _fit_logits(assembly: Assembly, formats: Formats, frames: FloatArray) -> QuantizedModel:
    """Make a free format of the logits coarser until none saturates on the frames; the final model."""
    name = f"layer{len(assembly.floats.layers) - 1}.h"
    free = name not in assembly.config.formats and _is_logits(assembly.floats, len(assembly.floats.layers) - 1)
    while True:
        model = assembly(formats)
        golden = Golden(model)
        state = golden.initial_state(len(frames))
        golden.run(model.input.quantize(frames), state)
        if not free or state.saturated[output_name(model)] == 0:
            return model
        formats = formats | {name: _coarser(formats[name])}
