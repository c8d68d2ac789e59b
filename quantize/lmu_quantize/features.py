"""Speech features: samples to log-mel or MFCC frames, the same bits however the samples arrive.

Every number of a frame is computed by the same sequence of float64 operations, independent of other frames. These are
per-frame transforms and element-wise NumPy operations in a fixed order. A matrix product is never used, because its
rounding depends on the shape of the batch. A whole clip, a batch of clips and a stream cut anywhere therefore give
identical frames.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.checks import from_json, require_choice, require_int
from lmu_hw.model.fixed import Format

__all__ = ["FEATURE_KINDS", "FrontEnd", "FrontEndStream", "quantize_frames"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST = {"sample_rate": 1 << 20, "window": 1 << 16, "hop": 1 << 16, "n_fft": 1 << 16, "n_mels": 1 << 10}
"""Largest parameters of a front end, above any in use: a model's file can't ask for memory without bound."""

FEATURE_KINDS = ("log-mel", "mfcc")

_FRAMES_AT_ONCE = 512
"""Frames computed together; bounds memory and keeps the intermediates near the processor."""


@dataclass(frozen=True)
class FrontEnd:
    r"""The front end of a keyword spotter, exactly defined.

    Frame ``t`` is made from the ``window`` samples that start at sample ``t * hop``; nothing is
    padded, so ``n`` samples give ``floor((n - window) / hop) + 1`` frames (49 for 16000 samples
    with the defaults). With ``N = n_fft`` and ``s`` the int16 samples of the frame:

    1. scale and window (periodic Hann):
       ``x[n] = s[n] / 32768 * (1/2 - 1/2 cos(2 pi n / window))``, ``0 <= n < window``
    2. power spectrum, zero padded to ``N``:
       ``P[k] = |sum_n x[n] exp(-2 pi i k n / N)|**2``, ``0 <= k <= N // 2``
    3. mel energies, ``n_mels`` triangles linear in HTK mel, ``mel(f) = 1127 ln(1 + f / 700)``:
       with ``z_i = mel(f_min) + i (mel(f_max) - mel(f_min)) / (n_mels + 1)`` and
       ``z = mel(k sample_rate / N)``,
       ``E[j] = sum_k P[k] max(0, min((z - z_j) / (z_{j+1} - z_j),
       (z_{j+2} - z) / (z_{j+2} - z_{j+1})))``, ``0 <= j < n_mels``, without ``k = 0``
    4. natural logarithm: ``L[j] = ln(max(E[j], log_epsilon))``; ``log-mel`` ends here
    5. ``mfcc``, the first ``n_coefficients`` of the orthonormal DCT-II, ``M = n_mels``:
       ``C[i] = sqrt((1 if i == 0 else 2) / M) sum_j L[j] cos(pi i (2 j + 1) / (2 M))``
    6. where given, a normalisation of each feature: ``(value - offset[i]) * scale[i]``

    Sums over ``k`` and ``j`` run in ascending order.

    Parameters
    ----------
    kind : str
        ``"log-mel"`` or ``"mfcc"``.
    sample_rate : int
        Samples per second, Hz.
    window : int
        Samples in a frame.
    hop : int
        Samples from one frame to the next, at most ``window``.
    n_fft : int
        Length of the transform, at least ``window``.
    n_mels : int
        Mel triangles; each must cover at least one bin of the transform.
    n_coefficients : int, optional
        Cepstral coefficients, the first (the mean log energy) included, at most ``n_mels``;
        20 where it is not given. Only for ``mfcc``, ``None`` for ``log-mel``.
    f_min, f_max : float
        Lowest and highest edge of the triangles in Hz, ``0 <= f_min < f_max <= sample_rate / 2``.
        7600 Hz keeps the fricatives and leaves out the anti-aliasing slope below 8 kHz.
    log_epsilon : float
        Smallest mel energy, above 0. The rounding of samples to 16 bits leaves 5e-8 to 6e-7 in a
        triangle (with the default ``window``, ``n_fft`` and ``n_mels``); 1e-6 lies just above, so
        digital silence is no outlier.
    offset, scale : sequence of float, optional
        Normalisation of each feature, both or neither, ``size`` finite values each, ``scale``
        without zeros. Kept as tuples.

    Raises
    ------
    TypeError, ValueError
        A parameter is of the wrong type or out of its range, of which `MOST` has the upper ends; the message names it.
    """

    kind: str
    sample_rate: int = 16_000
    window: int = 640
    hop: int = 320
    n_fft: int = 1024
    n_mels: int = 40
    n_coefficients: int | None = None
    f_min: float = 20.0
    f_max: float = 7600.0
    log_epsilon: float = 1e-6
    offset: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check the parameters and bring them to their final types."""
        require_choice("kind", self.kind, FEATURE_KINDS)
        for name in ("sample_rate", "window", "hop", "n_fft", "n_mels"):
            self._set(name, require_int(name, getattr(self, name), 1))
            require_int(name, getattr(self, name), high=MOST[name])
        if self.hop > self.window:
            raise ValueError(f"hop must be at most window = {self.window}, not {self.hop}")
        if self.n_fft < self.window:
            raise ValueError(f"n_fft must be at least window = {self.window}, not {self.n_fft}")
        self._check_coefficients()
        self._check_band()
        self._check_normalisation()

    @property
    def size(self) -> int:
        """Features in one frame."""
        return self.n_mels if self.n_coefficients is None else self.n_coefficients

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    @functools.cached_property
    def hann(self) -> FloatArray:
        """The window of step 1, ``(window,)`` float64, read-only."""
        phase = 2.0 * np.pi * np.arange(self.window) / self.window
        return _read_only(0.5 - 0.5 * np.cos(phase))

    @functools.cached_property
    def mel_filters(self) -> FloatArray:
        """The triangles of step 3, ``(n_mels, n_fft // 2 + 1)`` float64, 0 to 1, read-only."""
        low, high = _mel(np.array([self.f_min, self.f_max]))
        edges = low + np.arange(self.n_mels + 2) * ((high - low) / (self.n_mels + 1))
        numbers = np.arange(self.n_fft // 2 + 1, dtype=np.float64)
        bins = _mel(numbers * (self.sample_rate / self.n_fft))
        rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
        falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
        filters = np.maximum(0.0, np.minimum(rising, falling))
        filters[:, 0] = 0.0
        return _read_only(filters)

    @functools.cached_property
    def dct(self) -> FloatArray:
        """The cosines of step 5, scaled, ``(size, n_mels)`` float64, read-only; for ``mfcc``."""
        order = np.arange(self.size)[:, None]
        angles = np.pi * order * (2 * np.arange(self.n_mels) + 1) / (2 * self.n_mels)
        return _read_only(np.cos(angles) * np.sqrt(np.where(order, 2.0, 1.0) / self.n_mels))

    def frames_in(self, n_samples: int) -> int:
        """Give the number of frames that ``n_samples`` samples (0 or more) make."""
        if n_samples < 0:
            raise ValueError(f"n_samples must not be negative, not {n_samples!r}")
        return max(0, (n_samples - self.window) // self.hop + 1)

    def frames(self, samples: ArrayLike) -> FloatArray:
        """Compute the frames of one recording.

        Parameters
        ----------
        samples : array_like
            ``(n_samples,)`` int16 at ``sample_rate``.

        Returns
        -------
        numpy.ndarray
            ``(frames_in(n_samples), size)`` float64.

        Raises
        ------
        TypeError, ValueError
            The samples are not int16, or not of one dimension.
        """
        samples = _int16(samples, "samples", 1)
        out = np.empty((self.frames_in(len(samples)), self.size))
        for first in range(0, len(out), _FRAMES_AT_ONCE):
            last = min(first + _FRAMES_AT_ONCE, len(out))
            span = samples[first * self.hop : (last - 1) * self.hop + self.window]
            out[first:last] = self._features(self._windows(span))
        return out

    def frames_batch(self, clips: ArrayLike) -> FloatArray:
        """Compute the frames of many clips of one length; the same bits as :meth:`frames` of each.

        Parameters
        ----------
        clips : array_like
            ``(N, n_samples)`` int16 at ``sample_rate``.

        Returns
        -------
        numpy.ndarray
            ``(N, frames_in(n_samples), size)`` float64.

        Raises
        ------
        TypeError, ValueError
            The clips are not int16, or not of two dimensions.
        """
        clips = _int16(clips, "clips", 2)
        per_clip = self.frames_in(clips.shape[1])
        out = np.empty((len(clips), per_clip, self.size))
        if not per_clip:
            return out
        together = _FRAMES_AT_ONCE // per_clip
        if together < 2:
            for clip, rows in zip(clips, out, strict=True):
                rows[:] = self.frames(clip)
            return out
        for first in range(0, len(clips), together):
            windows = self._windows(clips[first : first + together])
            features = self._features(windows.reshape(-1, self.window))
            out[first : first + together] = features.reshape(-1, per_clip, self.size)
        return out

    def stream(self) -> "FrontEndStream":
        """Start a stream that takes samples in pieces of any length."""
        return FrontEndStream(self)

    def with_normalisation(self, mean: ArrayLike, std: ArrayLike) -> "FrontEnd":
        """Give a front end whose features have the mean and deviation taken out.

        Parameters
        ----------
        mean, std : array_like
            ``(size,)`` mean and standard deviation of each feature as computed *without*
            normalisation; ``std`` above 0. ``offset = mean`` and ``scale = 1 / std``.

        Returns
        -------
        FrontEnd
            A copy with this normalisation in place of any former one.

        Raises
        ------
        ValueError
            The wrong number of values, values that are not finite, or ``std`` not above 0.
        """
        deviation = np.asarray(std, dtype=np.float64)
        if not (deviation > 0).all():
            raise ValueError("std must be above 0 for every feature")
        offset = np.asarray(mean, dtype=np.float64)
        return replace(self, offset=tuple(offset.ravel()), scale=tuple((1.0 / deviation).ravel()))

    def to_dict(self) -> dict[str, Any]:
        """Give all parameters as a dictionary that JSON can hold without loss."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FrontEnd":
        """Build a front end from :meth:`to_dict`; absent keys take the defaults.

        Raises
        ------
        TypeError, ValueError
            If a key is unknown, ``kind`` is missing, or a value is refused.
        """
        return from_json(cls, "the front end", data)

    @functools.cached_property
    def _taps(self) -> list[tuple[int, IntArray, FloatArray]]:
        """The triangles in the order in which they are summed.

        Entry ``n`` adds the ``n``-th bin of each triangle. It holds the first triangle that has so many bins, then the
        bins ``(m,)`` and weights ``(m, 1)`` of it and all after it. A weight is 0 where a triangle is shorter.
        """
        filters = self.mel_filters
        starts = (filters > 0).argmax(axis=1)
        counts = filters.shape[1] - (filters > 0)[:, ::-1].argmax(axis=1) - starts
        taps = []
        for step in range(int(counts.max())):
            first = int((counts > step).argmax())
            bins = np.minimum(starts[first:] + step, filters.shape[1] - 1)
            weights = filters[np.arange(first, self.n_mels), bins]
            weights[counts[first:] <= step] = 0.0
            taps.append((first, bins, weights[:, None]))
        return taps

    def _windows(self, samples: NDArray[np.int16]) -> FloatArray:
        """Cut ``(..., n_samples)`` samples into windowed frames ``(..., frames, window)``."""
        views = np.lib.stride_tricks.sliding_window_view(samples, self.window, axis=-1)
        # A power of two scales without rounding, so its place in the product does not matter.
        return views[..., :: self.hop, :] * (self.hann / 32768.0)

    def _features(self, windows: FloatArray) -> FloatArray:
        """Compute features ``(frames, size)`` of windowed frames ``(frames, window)``."""
        spectrum = np.fft.rfft(windows, n=self.n_fft, axis=1)
        power = np.ascontiguousarray((np.square(spectrum.real) + np.square(spectrum.imag)).T)
        values = np.zeros((self.n_mels, len(windows)))
        for first, bins, weights in self._taps:
            values[first:] += power[bins] * weights
        np.log(np.maximum(values, self.log_epsilon, out=values), out=values)
        if self.kind == "mfcc":
            logs, values = values, np.zeros((self.size, len(windows)))
            for column, row in zip(self.dct.T, logs, strict=True):
                values += column[:, None] * row
        if self.offset is not None and self.scale is not None:
            values -= np.array(self.offset)[:, None]
            values *= np.array(self.scale)[:, None]
        return values.T

    def _check_coefficients(self) -> None:
        """Fill in and check the number of cepstral coefficients."""
        if self.kind == "log-mel":
            if self.n_coefficients is not None:
                raise ValueError("n_coefficients is for mfcc only, it must be None for log-mel")
            return
        count = 20 if self.n_coefficients is None else self.n_coefficients
        self._set("n_coefficients", require_int("n_coefficients", count, 1))
        if self.size > self.n_mels:
            raise ValueError(
                f"n_coefficients must be at most n_mels = {self.n_mels}, not {self.size}"
            )

    def _check_band(self) -> None:
        """Check the edges of the triangles and the smallest energy."""
        for name in ("f_min", "f_max", "log_epsilon"):
            self._set(name, _finite(name, getattr(self, name)))
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(
                f"f_min and f_max must satisfy 0 <= f_min < f_max <= {self.sample_rate / 2:g} Hz, "
                f"not {self.f_min:g} and {self.f_max:g}"
            )
        if self.log_epsilon <= 0:
            raise ValueError(f"log_epsilon must be above 0, not {self.log_epsilon:g}")
        empty = np.flatnonzero(~self.mel_filters.any(axis=1))
        if len(empty):
            raise ValueError(
                f"mel triangle {empty[0]} covers no bin of the transform: "
                f"lower n_mels = {self.n_mels} or raise n_fft = {self.n_fft}"
            )

    def _check_normalisation(self) -> None:
        """Check the normalisation and keep it as tuples."""
        if (self.offset is None) != (self.scale is None):
            raise ValueError("offset and scale must be given together")
        for name in ("offset", "scale"):
            sequence = getattr(self, name)
            if sequence is None:
                continue
            if not isinstance(sequence, Sequence) or isinstance(sequence, str):
                raise TypeError(f"{name} must be a sequence of numbers, not {sequence!r}")
            values = tuple(_finite(name, value) for value in sequence)
            if len(values) != self.size:
                raise ValueError(f"{name} must have {self.size} values, not {len(values)}")
            self._set(name, values)
        if self.scale is not None and 0.0 in self.scale:
            raise ValueError("scale must not contain 0")

    def _set(self, name: str, value: Any) -> None:
        """Store a checked field of this frozen dataclass; for ``__post_init__`` only."""
        object.__setattr__(self, name, value)


class FrontEndStream:
    """Frames of a recording that arrives in pieces.

    The frames of all pieces together are those of :meth:`FrontEnd.frames` of the whole recording,
    bit for bit, wherever it is cut. Between pieces at most ``window - 1`` samples are kept.

    Parameters
    ----------
    front_end : FrontEnd
        What to compute.
    """

    def __init__(self, front_end: FrontEnd) -> None:
        self.front_end = front_end
        self.reset()

    def reset(self) -> None:
        """Forget all samples: the next one is the first of a recording."""
        self._kept = np.zeros(0, dtype=np.int16)

    def push(self, samples: ArrayLike) -> FloatArray:
        """Take the next samples and give the frames that they complete.

        Parameters
        ----------
        samples : array_like
            ``(n_samples,)`` int16; may be empty.

        Returns
        -------
        numpy.ndarray
            ``(k, size)`` float64, ``k >= 0``.

        Raises
        ------
        TypeError, ValueError
            The samples are not int16, or not of one dimension; the stream is left as it was.
        """
        samples = np.concatenate([self._kept, _int16(samples, "samples", 1)])
        frames = self.front_end.frames(samples)
        self._kept = samples[len(frames) * self.front_end.hop :].copy()
        return frames


def quantize_frames(features: ArrayLike, fmt: Format) -> IntArray:
    """Turn features into the integers that the hardware takes in.

    Parameters
    ----------
    features : array_like
        Finite values of any shape.
    fmt : lmu_hw.model.fixed.Format
        Format of the network's input.

    Returns
    -------
    numpy.ndarray
        ``floor(x * 2**fmt.frac + 1/2)``, saturated to ``fmt.min`` and ``fmt.max``; int64, the
        shape of ``features``.

    Raises
    ------
    ValueError
        A value is not finite.
    """
    return fmt.quantize(features)


def _mel(frequency: FloatArray) -> FloatArray:
    """Give HTK mel of frequencies in Hz."""
    return 1127.0 * np.log(1.0 + frequency / 700.0)


def _read_only(array: FloatArray) -> FloatArray:
    """Protect a cached array."""
    array.setflags(write=False)
    return array


def _int16(samples: ArrayLike, name: str, dimensions: int) -> NDArray[np.int16]:
    """Check that samples are int16 and have this number of dimensions."""
    array = np.asarray(samples)
    if array.dtype != np.int16:
        raise TypeError(f"{name} must be int16, not {array.dtype}")
    if array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension(s), not {array.ndim}")
    return array


def _finite(name: str, value: Any) -> float:
    """Check a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{name} must be a finite number, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    return float(value)
