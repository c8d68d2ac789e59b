"""The level gate: lets the network rest while nothing is louder than the room.

The level of a frame is the sum of its elements. Features are logarithms of energies, so a level is how loud all bands
are together. The gate compares it with a floor that follows the room. Let ``level[t]`` be the level of frame ``t``, and
``f`` the larger of `Gate.rise` and `Gate.fall`. All values are integers:

1. ``difference[t] = level[t] * 2**f - floor[t-1]``. The floor has ``f`` fraction bits.
2. The frame is loud if ``difference[t] >= margin * 2**f``.
3. A loud frame is awake, and so are the `Gate.hold` frames after it. Every other frame is asleep.
4. ``floor[t] = floor[t-1] + floor(difference[t] / 2**rise)``, or with `Gate.fall` where the difference is negative. So
   the floor stays between the levels that there are, and steady noise puts the network to sleep.

A frame that is asleep is not computed, and it clears the state of the network: the next frame that is awake is computed
from the zero state. Training starts every clip from that state. The last logits stand, and none are given again.

Before the first frame, and after the state was cleared, the floor is `Gate.floor` and no frame was loud. The clear that
a frame asleep causes leaves floor and hold as they are. The gateware (`lmu_hw.gateware.gate`) gives the same bits.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.checks import from_json, require_int
from lmu_hw.model.fixed import Format

__all__ = ["Gate", "GateBound", "GateState", "levels"]

IntArray = NDArray[np.int64]

MAX_HOLD = 65535
MAX_SHIFT = 12
MAX_LEVEL = 1 << 40
_KEYS = ("margin", "hold", "rise", "fall", "floor")


@dataclass
class GateState:
    """State of a gate between frames.

    Attributes
    ----------
    floor : int
        Level of the room, with the fraction bits of the gate.
    left : int
        How many more frames are awake without a loud one.
    """

    floor: int
    left: int


@dataclass(frozen=True)
class GateBound:
    """Proven ranges of a gate, for all frames of the input format.

    Attributes
    ----------
    level_low, level_high : int
        Range of a level.
    floor_low, floor_high : int
        Range of the floor, with its fraction bits.
    level_bits, floor_bits, difference_bits : int
        Bits of signed integers that hold a level, the floor, and their difference.
    """

    level_low: int
    level_high: int
    floor_low: int
    floor_high: int
    level_bits: int
    floor_bits: int
    difference_bits: int


@dataclass(frozen=True)
class Gate:
    """Parameters of a level gate.

    Parameters
    ----------
    margin : int
        A frame is loud whose level is at least this far above the floor. In units of the last place of an element.
        Where it is the lowest possible difference of two levels, every frame is loud: the gate is held open.
    hold : int
        Frames that stay awake after a loud one, 1 to 65535.
    rise, fall : int
        The floor moves ``2**-rise`` of the way to a higher level in each frame, and ``2**-fall`` to a lower one; 0
        to 12.
    floor : int
        Level of the room before the first frame, and after the state was cleared.
    """

    margin: int
    hold: int
    rise: int
    fall: int
    floor: int

    def __post_init__(self) -> None:
        limits = {
            "margin": (-MAX_LEVEL, MAX_LEVEL), "hold": (1, MAX_HOLD), "rise": (0, MAX_SHIFT), "fall": (0, MAX_SHIFT),
            "floor": (-MAX_LEVEL, MAX_LEVEL),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            object.__setattr__(self, name, require_int(name, getattr(self, name), low, high))

    @property
    def fraction_bits(self) -> int:
        """Fraction bits of the floor."""
        return max(self.rise, self.fall)

    def bound(self, inputs: int, element: Format) -> GateBound:
        """Proven ranges.

        A level is the sum of `inputs` elements. The floor moves at most to the level, so it stays in the range of the
        levels; the difference of two values of a range needs a bit more than they do.

        Parameters
        ----------
        inputs : int
            Elements of a frame.
        element : Format
            Of an element.
        """
        low, high = inputs * element.min, inputs * element.max
        level_bits = _bits(low, high)
        floor_bits = level_bits + self.fraction_bits
        scaled = (low << self.fraction_bits, high << self.fraction_bits)
        return GateBound(low, high, *scaled, level_bits, floor_bits, floor_bits + 1)

    def check(self, inputs: int, element: Format) -> None:
        """Refuse a network that these parameters do not fit.

        Parameters
        ----------
        inputs : int
            Elements of a frame.
        element : Format
            Of an element.

        Raises
        ------
        ValueError
            If the floor is no level of a frame, or the margin no difference of two levels.
        """
        bound = self.bound(inputs, element)
        low, high = bound.level_low, bound.level_high
        if not low <= self.floor <= high:
            raise ValueError(f"the gate's floor must be a level of {low} to {high}, not {self.floor}")
        if abs(self.margin) > high - low:
            raise ValueError(
                f"the gate's margin must be a difference of levels, {low - high} to {high - low}, not {self.margin}"
            )

    def held_open(self, inputs: int, element: Format) -> "Gate":
        """The same gate with the lowest margin: every frame is awake."""
        bound = self.bound(inputs, element)
        return replace(self, margin=bound.level_low - bound.level_high)

    def initial_state(self) -> GateState:
        """State before the first frame, and after a clear."""
        return GateState(self.floor << self.fraction_bits, 0)

    def step(self, level: int, state: GateState) -> bool:
        """Judge one frame, and update `state` in place.

        Parameters
        ----------
        level : int
            Of the frame, from `levels`.
        state : GateState
            From `initial_state`.

        Returns
        -------
        bool
            Whether the frame is awake.
        """
        difference = (level << self.fraction_bits) - state.floor
        loud = difference >= self.margin << self.fraction_bits
        awake = loud or state.left > 0
        state.left = self.hold if loud else max(state.left - 1, 0)
        state.floor += difference >> (self.fall if difference < 0 else self.rise)
        return awake

    def awake(self, frames: ArrayLike, state: GateState | None = None) -> NDArray[np.bool_]:
        """Judge the frames of a stream.

        Parameters
        ----------
        frames : array_like of int, shape (T, inputs)
            In the network's input format.
        state : GateState, optional
            Where to start; updated in place. That of `initial_state` if not given.

        Returns
        -------
        ndarray of bool, shape (T,)
            Whether each frame is awake.
        """
        state = self.initial_state() if state is None else state
        return np.array([self.step(level, state) for level in levels(frames).tolist()], np.bool_)

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`."""
        return {name: getattr(self, name) for name in _KEYS}

    @classmethod
    def from_dict(cls, data: Any) -> "Gate":
        """Parameters from their JSON form; an unknown or missing key is refused by name."""
        return from_json(cls, "the gate", data)


def stretches(awake: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First frame of each stretch without a sleep, and the frame after its last.

    Parameters
    ----------
    awake : ndarray of bool, shape (T,)
        From `Gate.awake`.

    Returns
    -------
    list of (int, int)
    """
    edges = np.diff(awake.astype(np.int8), prepend=0, append=0)
    return list(zip(np.flatnonzero(edges > 0).tolist(), np.flatnonzero(edges < 0).tolist(), strict=True))


def levels(frames: ArrayLike) -> IntArray:
    """Level of each frame: the sum of its elements.

    Parameters
    ----------
    frames : array_like of int, shape (..., inputs)
        Integers.

    Returns
    -------
    ndarray of int64, shape (...)
    """
    summed: IntArray = np.asarray(frames).sum(axis=-1, dtype=np.int64)
    return summed


def _bits(low: int, high: int) -> int:
    """Bits of a signed integer that holds a range."""
    return max(max(high, 0).bit_length(), (-1 - low if low < 0 else 0).bit_length()) + 1
