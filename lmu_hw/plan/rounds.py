"""Rounds: the frames that are buffered and then computed together, with several frames for each fetch of a weight.

A round is `AcceleratorConfig.frames_per_fetch` frames, a power of two. Behind strides fewer of them are computed, but
at least one. A layer whose stride is longer than a round runs only in some rounds.
"""

import itertools
import math

from lmu_hw.model.operations import vectors
from lmu_hw.model.program import QuantizedLMU, QuantizedModel

__all__ = ["check_rounds", "round_strides", "vector_frames"]


def _rates(model: QuantizedModel) -> list[int]:
    """Input frames for each frame that a layer takes, and for each frame that the last layer gives."""
    return list(itertools.accumulate(model.strides, lambda a, b: a * b, initial=1))


def check_rounds(model: QuantizedModel, frames: int) -> None:
    """Refuse a network whose frames cannot be computed in rounds of this length.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : int
        Frames of a round.

    Raises
    ------
    ValueError
        If a stride and the round do not divide each other, or frames of a round may be asleep. Or if a layer, beside
        its memory, needs the result of one frame of the round in the next frame.
    """
    if frames > 1 and model.gate is not None:
        raise ValueError(f"frames_per_fetch of {frames} needs a network without a gate, which judges frame by frame")
    rates = _rates(model)
    for rate in rates:
        if rate % frames and frames % rate:
            raise ValueError(f"frames_per_fetch of {frames} does not fit layers that run every {rate} frames")
    for index, layer in enumerate(model.layers):
        if isinstance(layer, QuantizedLMU) and frames > rates[index]:
            for name in ("e_h", "e_m", "w_h"):
                if getattr(layer, name) is not None:
                    raise ValueError(f"frames_per_fetch of {frames} needs layers without {name}, layer {index} has it")


def vector_frames(model: QuantizedModel, frames: int) -> dict[str, int]:
    """Frames of each vector that a round computes, by name.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : int
        Frames of a round.
    """
    counts = [max(1, frames // rate) for rate in _rates(model)]
    known = vectors(model)
    computed = {"x": frames}
    for index in range(len(model.layers)):
        by_name = {"u": counts[index], "m": counts[index], "f": counts[index + 1], "h": counts[index + 1]}
        computed |= {
            f"layer{index}.{name}": count for name, count in by_name.items() if f"layer{index}.{name}" in known
        }
    return computed


def round_strides(model: QuantizedModel, frames: int) -> tuple[int, ...]:
    """For each layer, the rounds in which its memory runs for each round in which its hidden state is computed.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : int
        Frames of a round.
    """
    rounds = (math.ceil(rate / frames) for rate in _rates(model))
    return tuple(after // before for before, after in itertools.pairwise(rounds))
