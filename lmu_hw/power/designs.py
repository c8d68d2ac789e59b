"""Small networks with the statistics of a trained one, for characterisation."""

from dataclasses import dataclass, replace

import numpy as np

from lmu_hw.model.program import QuantizedDense, QuantizedLMU, QuantizedModel, Weights

__all__ = ["FRUGAL", "PLAIN", "Cut", "Design", "DesignSet", "cut"]


@dataclass(frozen=True)
class Cut:
    """Part of a network that is kept.

    Parameters
    ----------
    layers : int
        LMU layers, from the first on; the dense layer at the end stays.
    inputs : int
        Elements of an input frame.
    memories : int
        Memories of every layer.
    units : int
        Units of every layer.
    """

    layers: int
    inputs: int
    memories: int
    units: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")


def _kept(weights: Weights, rows: int, columns: int) -> Weights:
    """The first rows and columns; fewer columns give weights that much larger, so that sums keep their size."""
    gain = int(np.round(np.log2(weights.values.shape[1] / columns) / 2))
    return Weights(weights.values[:rows, :columns], weights.width, weights.frac[:rows] - gain)


def _cut_lmu(layer: QuantizedLMU, source: int, kept: Cut) -> QuantizedLMU:
    if layer.e_h is not None or layer.e_m is not None or layer.w_h is not None or layer.w_x is None:
        raise ValueError("a network to cut has the terms e_x, w_x and w_m only")
    if kept.memories > len(layer.matrix) or kept.units > layer.units:
        raise ValueError(f"a layer has {len(layer.matrix)} memories and {layer.units} units, not {kept}")
    matrix = layer.matrix[: kept.memories]
    if len(set(matrix)) != max(matrix) + 1:
        raise ValueError("the memories that are kept must use the first matrices")
    used = max(matrix) + 1
    size = sum(layer.b[index].size for index in matrix)
    return replace(
        layer,
        matrix=matrix,
        a=layer.a[:used],
        b=layer.b[:used],
        e_x=_kept(layer.e_x, kept.memories, source),
        w_x=_kept(layer.w_x, kept.units, source),
        w_m=_kept(layer.w_m, kept.units, size),
        b_u=None if layer.b_u is None else layer.b_u[: kept.memories],
        b_h=None if layer.b_h is None else layer.b_h[: kept.units] // 2,
    )


def cut(model: QuantizedModel, kept: Cut) -> QuantizedModel:
    """Cut a network smaller.

    Parameters
    ----------
    model : QuantizedModel
        LMU layers with the terms ``e_x``, ``w_x`` and ``w_m``, then one dense layer.
    kept : Cut
        Parts to keep.

    Returns
    -------
    QuantizedModel
        A network that computes nothing useful, but with weights, formats and activations like those of the whole.

    Raises
    ------
    ValueError
        If the network has fewer parts, or others.
    """
    *lmus, last = model.layers
    if kept.layers > len(lmus) or not isinstance(last, QuantizedDense) or kept.inputs > model.inputs:
        raise ValueError(f"{model.name} has {len(lmus)} LMU layers and {model.inputs} inputs, not {kept}")
    source, layers = kept.inputs, []
    for layer in lmus[: kept.layers]:
        if not isinstance(layer, QuantizedLMU):
            raise ValueError("all layers but the last must be LMU layers")
        layers.append(_cut_lmu(layer, source, kept))
        source = kept.units
    w = _kept(last.w, last.units, source)
    dense = replace(last, w=w)
    return QuantizedModel((*layers, dense), model.input, labels=model.labels, name=f"{model.name} cut")


@dataclass(frozen=True)
class Design:
    """An accelerator to characterise a technology with.

    Parameters
    ----------
    cut : Cut or None
        Parts of the network to keep; None for the whole network.
    lanes : int
        Lanes of the accelerator.
    weights : {"rom", "ram"}
        Weight store of the accelerator.
    fitted : bool
        Whether the table is made from it, or checked with it.
    skips : bool
        Whether zero elements are skipped.
    bank_words, state_bank_words : int
        Bank sizes of the accelerator.
    """

    cut: Cut | None
    lanes: int
    weights: str
    fitted: bool
    skips: bool = False
    bank_words: int = 0
    state_bank_words: int = 0

    @property
    def name(self) -> str:
        """Description of the design."""
        kept = self.cut
        what = "the whole network"
        if kept is not None:
            what = f"{kept.layers} x ({kept.memories} memories, {kept.units} units), {kept.inputs} inputs"
        banks = f" in banks of {self.bank_words}" if self.bank_words else ""
        states = f", states in banks of {self.state_bank_words}" if self.state_bank_words else ""
        return f"{what}, {self.lanes} lanes, {self.weights}{banks}{states}" + (", zeros skipped" if self.skips else "")


@dataclass(frozen=True)
class DesignSet:
    """Accelerators with the same levers.

    Parameters
    ----------
    name : str
        Name of the set.
    levers : tuple of str
        Those of `lmu_hw.plan.config.LEVERS` that all of them have, beside `Design.skips`.
    designs : tuple of Design
        Some to make a table from, some to check it with.
    whole : tuple of Design
        To check it with too: the whole network, whose synthesis takes minutes.
    """

    name: str
    levers: tuple[str, ...]
    designs: tuple[Design, ...]
    whole: tuple[Design, ...]


PLAIN = DesignSet(
    "plain",
    (),
    (
        Design(Cut(1, 8, 2, 8), 4, "rom", True),
        Design(Cut(1, 16, 4, 24), 8, "rom", True),
        Design(Cut(2, 24, 4, 32), 16, "rom", True),
        Design(Cut(1, 16, 8, 40), 8, "rom", True),
        Design(Cut(1, 40, 8, 64), 4, "rom", True),
        Design(Cut(1, 12, 3, 12), 4, "ram", True),
        Design(Cut(2, 24, 6, 40), 8, "ram", True),
        Design(Cut(1, 24, 5, 36), 8, "rom", False),
        Design(Cut(2, 32, 4, 28), 12, "ram", False),
    ),
    (Design(None, 16, "rom", False), Design(None, 16, "ram", False)),
)
"""No levers."""

FRUGAL = DesignSet(
    "frugal",
    ("isolate_operands", "control_reset", "stop_clock", "gate_blocks"),
    (
        Design(Cut(1, 8, 2, 8), 4, "rom", True, skips=True),
        Design(Cut(2, 24, 4, 32), 16, "rom", True, skips=True),
        Design(Cut(2, 16, 8, 40), 8, "rom", True, skips=True),
        Design(Cut(1, 40, 8, 64), 4, "rom", True, skips=True, bank_words=128),
        Design(Cut(2, 24, 6, 40), 8, "rom", True, skips=True, bank_words=64),
        Design(Cut(1, 12, 3, 12), 4, "ram", True, skips=True),
        Design(Cut(2, 24, 6, 40), 8, "ram", True, skips=True),
        Design(Cut(2, 24, 5, 36), 8, "rom", False, skips=True),
        Design(Cut(2, 32, 6, 36), 12, "rom", False, skips=True, bank_words=32),
        Design(Cut(2, 32, 4, 28), 12, "ram", False, skips=True),
        Design(Cut(1, 24, 5, 36), 8, "rom", False),
        Design(Cut(2, 24, 4, 32), 16, "rom", True, skips=True, bank_words=64, state_bank_words=16),
        Design(Cut(1, 40, 8, 64), 8, "rom", True, skips=True, state_bank_words=8),
        Design(Cut(1, 12, 3, 12), 4, "ram", True, skips=True, state_bank_words=4),
        Design(Cut(2, 24, 6, 40), 16, "rom", False, skips=True, bank_words=64, state_bank_words=16),
        Design(Cut(1, 24, 5, 36), 8, "rom", False, skips=True, state_bank_words=32),
    ),
    (
        Design(None, 16, "rom", False, skips=True, bank_words=256),
        Design(None, 16, "rom", False, skips=True, bank_words=256, state_bank_words=16),
    ),
)
"""All levers that go together; zeros are skipped by all but one, and by as many layers as can be."""
