"""Rounds: with several frames for each fetch of a weight, the frames that are taken in and then computed together.

A round is `AcceleratorConfig.frames_per_fetch` frames, a power of two. Behind strides fewer of them are computed, but
one at least: a layer whose stride is longer than a round runs in every so many rounds.
"""

import itertools
import math

from lmu_hw.model.program import QuantizedLMU, QuantizedModel

__all__ = ["check_rounds", "round_strides", "vector_frames"]


def _rates(model: QuantizedModel) -> list[int]:
    """Input frames for each frame that a layer takes in, and for each that the last one gives."""
    return list(itertools.accumulate(model.strides, lambda a, b: a * b, initial=1))


def check_rounds(model: QuantizedModel, frames: int) -> None:
    """Refuse a network whose frames cannot be computed so many at a time.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : int
        Frames of a round.

    Raises
    ------
    ValueError
        If a stride and the round do not divide each other, or a layer needs the result of one frame of the round in the
        next one, beside its memory.
    """
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
    """How many frames of each vector a round computes, by name.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : int
        Frames of a round.
    """
    counts = [max(1, frames // rate) for rate in _rates(model)]
    found = {"x": frames}
    for index, layer in enumerate(model.layers):
        if isinstance(layer, QuantizedLMU):
            found |= {f"layer{index}.u": counts[index], f"layer{index}.m": counts[index]}
        found[f"layer{index}.h"] = counts[index + 1]
    return found


def round_strides(model: QuantizedModel, frames: int) -> tuple[int, ...]:
    """Of each layer, the rounds in which its memory runs for each one in which its hidden state is computed.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : int
        Frames of a round.
    """
    rounds = (math.ceil(rate / frames) for rate in _rates(model))
    return tuple(after // before for before, after in itertools.pairwise(rounds))
