"""What quantization costs, tensor by tensor and vector by vector."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model.bounds import certify
from lmu_hw.model.golden import Golden
from lmu_hw.model.memory_layer import QuantizedMemoryLayer
from lmu_hw.model.operations import lower, output_name, tanh_errors
from lmu_hw.model.program import QuantizedModel
from lmu_quantize.model import FloatModel, MemoryLayer
from lmu_quantize.sums import layer_sums

__all__ = ["SensitivityReport", "SensitivityRow", "measure"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEAST_SQNR_DB = 3.0
"""A vector with a lower ratio carries next to nothing of the float model's."""
MOST_CLIPPED = 0.05
MOST_CLIPPED_WEIGHTS = 0.2
LEAST_AGREEMENT = 0.8
"""The shipped networks decide as their float models do in more than 0.96 of the frames."""
EXPLANATION = (
    "SQNR: power of the signal over that of the quantization error; clipped: share of the numbers beyond their format; "
    "format s4.3..4: signed (u: unsigned), 4 bits, 3 to 4 of them fraction bits, row by row"
)


@dataclass(frozen=True)
class SensitivityRow:
    """The quantization error of one tensor or vector.

    Attributes
    ----------
    name : str
        ``layer{i}.{tensor}``, or a vector: ``x``, ``layer{i}.u``, ``layer{i}.m``, ``layer{i}.f``, ``layer{i}.h``.
    kind : {"weight", "bias", "matrix", "vector"}
        What it is. Errors of a vector are those of the whole network up to it, on the calibration frames.
    format : str
        Such as ``s8.5``; with the range of the fraction bits where they differ by row (``s4.3..6``).
    elements : int
        Numbers compared.
    sqnr_db : float
        Signal-to-quantization-noise ratio; infinite if exact, minus infinity if only the signal is zero.
    max_error : float
        Largest absolute error.
    clipped : float
        Fraction of the elements that lay beyond the format.
    """

    name: str
    kind: str
    format: str
    elements: int
    sqnr_db: float
    max_error: float
    clipped: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``sqnr_db`` is null where it is not finite (`max_error` tells exact from silent)."""
        finite = self.sqnr_db if math.isfinite(self.sqnr_db) else None
        return {
            "name": self.name,
            "kind": self.kind,
            "format": self.format,
            "elements": self.elements,
            "sqnr_db": finite,
            "max_error": self.max_error,
            "clipped": self.clipped,
        }


@dataclass(frozen=True)
class SensitivityReport:
    """The quantization errors of a model on calibration frames.

    Attributes
    ----------
    rows : tuple of SensitivityRow
        In the order of computation: per layer its tensors, then its vectors.
    memories : dict of str to bool
        For each ``layer{i}.m``, whether it is proven that the memory cannot overflow.
    agreement : float
        Fraction of computed frames in which the largest logit is the same one as in the float model.
    tanh_error : dict of str to float
        For each vector that a tanh table makes, the largest error of the table over all inputs.
    """

    rows: tuple[SensitivityRow, ...]
    memories: dict[str, bool]
    agreement: float
    tanh_error: dict[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> SensitivityRow:
        """Give the row of a name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def logits(self) -> SensitivityRow:
        """The row of the network's output."""
        return self.rows[-1]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the model doubtful: one line for each tensor, vector or memory concerned.

        That is a vector below 3 dB, a vector with more than 5 % clipped on the calibration frames, or a memory that is
        not proven to stay within its format. A tanh may saturate and is not counted. It is also a weight matrix below
        3 dB or with more than 20 % clipped, and another decision than the float model's in more than a fifth of the
        frames.
        """
        lines = []
        for row in self.rows:
            if row.kind not in ("vector", "weight"):
                continue
            if row.sqnr_db < LEAST_SQNR_DB:
                ratio = f"{row.sqnr_db:.1f} dB" if math.isfinite(row.sqnr_db) else "without a signal"
                lines.append(f"{row.name}: SQNR {ratio}, below {LEAST_SQNR_DB:g} dB")
            most = MOST_CLIPPED if row.kind == "vector" else MOST_CLIPPED_WEIGHTS
            if row.clipped > most and row.name not in self.tanh_error:
                lines.append(f"{row.name}: {100 * row.clipped:.1f} % clipped, above {100 * most:g} %")
        lines += [f"{name}: overflow is not excluded" for name, proven in self.memories.items() if not proven]
        if self.agreement < LEAST_AGREEMENT:
            lines.append(
                f"same decision as the float model in {100 * self.agreement:.2f} % of the frames, below "
                f"{100 * LEAST_AGREEMENT:g} %"
            )
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "memories": dict(self.memories),
            "agreement": self.agreement,
            "tanh_error": dict(self.tanh_error),
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        head = ("name", "kind", "format", "elements", "SQNR dB", "max error", "clipped")
        lines = [head, *(self._cells(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        table = [
            "  ".join(
                cell.ljust(width) if column < 3 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        table.append(EXPLANATION)
        for name, proven in self.memories.items():
            table.append(f"{name}: {'cannot overflow (proven)' if proven else 'overflow not excluded'}")
        for name, error in self.tanh_error.items():
            table.append(
                f"{name}: error of the tanh table at most {error:.3g}, over all inputs (beyond its formats too)"
            )
        table.append(f"same decision as the float model: {100 * self.agreement:.2f} % of computed frames")
        table.extend(f"warning: {warning}" for warning in self.warnings)
        return "\n".join(table)

    @staticmethod
    def _cells(row: SensitivityRow) -> tuple[str, ...]:
        sqnr = f"{row.sqnr_db:.1f}" if math.isfinite(row.sqnr_db) else "exact" if row.sqnr_db > 0 else "silent"
        clipped = f"{100 * row.clipped:.3f} %" if row.clipped else "0"
        return row.name, row.kind, row.format, str(row.elements), sqnr, f"{row.max_error:.3g}", clipped


def _row(name: str, kind: str, fmt: str, wanted: ArrayLike, quantized: ArrayLike, clipped: float) -> SensitivityRow:
    signal = np.asarray(wanted, dtype=np.float64)
    error = np.asarray(quantized, dtype=np.float64) - signal
    power, noise = float(np.square(signal).sum()), float(np.square(error).sum())
    if noise == 0:
        ratio = math.inf
    else:
        ratio = 10 * math.log10(power / noise) if power > 0 else -math.inf
    return SensitivityRow(name, kind, fmt, signal.size, ratio, float(np.abs(error).max(initial=0.0)), clipped)


def _span(letter: str, width: int, fracs: IntArray) -> str:
    low, high = int(fracs.min()), int(fracs.max())
    return f"{letter}{width}.{low}" if low == high else f"{letter}{width}.{low}..{high}"


def _beyond(real: FloatArray, fracs: IntArray, low: int, high: int) -> float:
    """Fraction of values that round to integers outside of low to high."""
    scaled = np.floor(np.ldexp(real, fracs) + 0.5)
    return float(np.mean((scaled < low) | (scaled > high)))


def _tensor_rows(index: int, floats: FloatModel, model: QuantizedModel) -> Iterable[SensitivityRow]:
    layer, wanted = model.layers[index], floats.layers[index].tensors
    for name, weights in layer.weights.items():
        nearest = np.floor(np.ldexp(wanted[name], weights.frac[:, None]) + 0.5)
        clipped = float(np.mean(nearest != weights.values))
        fmt = _span("s", weights.width, weights.frac)
        yield _row(f"layer{index}.{name}", "weight", fmt, wanted[name], weights.real(), clipped)
    sums = {op.target: op.frac for op in lower(model) if op.layer == index}
    for name, target in ((each.bias, each.target) for each in layer_sums(index, floats.layers[index])):
        if name not in wanted:
            continue
        bias, fracs = getattr(layer, name), sums[target]
        width = max(int(np.abs(bias).max()).bit_length() + 1, 2)
        real = np.ldexp(bias.astype(np.float64), -fracs)
        yield _row(f"layer{index}.{name}", "bias", _span("s", width, fracs), wanted[name], real, 0.0)


def _matrix_rows(index: int, floats: MemoryLayer, layer: QuantizedMemoryLayer) -> Iterable[SensitivityRow]:
    distinct = {memory: memory.discretize() for memory in dict.fromkeys(floats.memories)}
    exact = [distinct[memory] for memory in floats.memories]
    pairs = (("a", layer.a, layer.a_format), ("b", layer.b, layer.b_format))
    for position, (name, matrices, fmt) in enumerate(pairs):
        wanted = np.concatenate([pair[position].ravel() for pair in exact])
        rounded = np.concatenate([fmt.real(matrices[matrix]).ravel() for matrix in layer.matrix])
        clipped = _beyond(wanted, np.array(fmt.frac), fmt.min, fmt.max)
        yield _row(f"layer{index}.{name}", "matrix", str(fmt), wanted, rounded, clipped)


def measure(floats: FloatModel, model: QuantizedModel, frames: FloatArray) -> SensitivityReport:
    """Compare a quantized model with the float model that it stands for.

    Parameters
    ----------
    floats : FloatModel
        The float model, with the same scaling of its memories.
    model : QuantizedModel
        The quantized model.
    frames : ndarray of float64, shape (N, T, inputs)
        Input frames.

    Returns
    -------
    SensitivityReport
        Errors of every tensor and vector.
    """
    golden = Golden(model)
    state = golden.initial_state(len(frames))
    inputs = model.input.quantize(frames)
    integers = {"x": inputs} | golden.run(inputs, state)
    wanted = {"x": frames} | floats.run(frames)
    clipped = {name: count / integers[name].size for name, count in state.saturated.items()}
    clipped["x"] = _beyond(frames, np.array(model.input.frac), model.input.min, model.input.max)
    rows: list[SensitivityRow] = []
    reported = -1
    for name, vector in golden.vectors.items():
        index = -1 if name == "x" else int(name.removeprefix("layer").split(".")[0])
        if index > reported:
            rows.extend(_layer_rows(index, floats, model))
            reported = index
        real = vector.format.real(integers[name])
        rows.append(_row(name, "vector", str(vector.format), wanted[name], real, clipped[name]))
    last = output_name(model)
    agreement = float(np.mean(np.argmax(integers[last], axis=-1) == np.argmax(wanted[last], axis=-1)))
    proven: dict[str, bool] = {}
    for bound in certify(model).memories:
        name = f"layer{bound.layer}.m"
        proven[name] = proven.get(name, True) and bound.fits
    return SensitivityReport(tuple(rows), proven, agreement, tanh_errors(golden.operations))


def _layer_rows(index: int, floats: FloatModel, model: QuantizedModel) -> Iterable[SensitivityRow]:
    yield from _tensor_rows(index, floats, model)
    layer, exact = model.layers[index], floats.layers[index]
    if isinstance(layer, QuantizedMemoryLayer) and isinstance(exact, MemoryLayer):
        yield from _matrix_rows(index, exact, layer)
