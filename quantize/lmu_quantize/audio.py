"""Read recordings: WAV files to mono 16-bit samples at 16 kHz.

Features, calibration and bit-exact vectors all start from these integers. Each conversion is
therefore defined exactly here, and nothing is converted unless the caller asks for it.
"""

import io
import math
import os
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from lmu_hw.files import read_limited
from lmu_quantize.riff import RiffError, readable_wav

__all__ = ["SAMPLE_RATE", "AudioError", "SampleRateError", "read_wav"]

SAMPLE_RATE = 16_000
"""Samples per second of every recording that :func:`read_wav` returns."""

_LOWEST_RATE, _HIGHEST_RATE = 4_000, 384_000

MOST_BYTES = 1 << 29
"""Largest file that is read: 4.6 hours of mono 16-bit samples at 16 kHz."""

_BLOCK = 1 << 20
"""Samples per channel that are converted at once."""

_EXPECTED = "expected a WAV file"
_INTEGERS = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32")
_FLOATS = ("FLOAT", "DOUBLE")


class AudioError(ValueError):
    """A recording that cannot be used; the message names the file and what was expected."""


class SampleRateError(AudioError):
    """A recording of another sample rate or channel count than asked for, which `read_wav` can convert.

    Parameters
    ----------
    path : Path
        The file.
    channels : int
        Channels found.
    rate : int
        Sample rate found, in Hz.

    Attributes
    ----------
    path, channels, rate
        As above.
    problem : str
        The message without the advice to convert.
    """

    def __init__(self, path: Path, channels: int, rate: int) -> None:
        self.path, self.channels, self.rate = path, channels, rate
        self.problem = f"{path}: expected mono at {SAMPLE_RATE} Hz, found {channels} channel(s) at {rate} Hz"
        super().__init__(f"{self.problem}; pass resample=True to convert it")


def read_wav(path: str | os.PathLike[str], *, resample: bool = False) -> NDArray[np.int16]:
    """Read a WAV file as mono 16-bit samples at 16 kHz.

    A sample always becomes 16 bits:

    - 8 bits (unsigned in WAV): ``(v - 128) * 2**8``
    - 16 bits: unchanged
    - 24 bits: ``floor(v / 2**8 + 1/2)``, saturated to 32767
    - 32 bits: ``floor(v / 2**16 + 1/2)``, saturated to 32767
    - float, 32 or 64 bits: ``floor(v * 2**15 + 1/2)``, saturated to 16 bits
    - compressed (mu-law, A-law, ADPCM): the 16 bits that libsndfile decodes

    A file from a program that streams has no length in its header: 0, or 2 GiB and more. It is read to its end.

    Rate and channels are converted only on request. With ``resample=True`` the channels are
    averaged in float64. Then ``scipy.signal.resample_poly`` (its default Kaiser window) changes the
    rate by ``up = 16000 / g`` and ``down = rate / g`` with ``g = gcd(16000, rate)``. The result is
    rounded by ``floor(x + 1/2)`` and saturated to 16 bits. A file that is already mono at
    16 kHz gives the same samples with and without ``resample``.

    Parameters
    ----------
    path : path-like
        A WAV file (RIFF, RIFX or RF64) with a plain or a WAVE_FORMAT_EXTENSIBLE header.
    resample : bool
        Convert other sample rates (4 kHz to 384 kHz) and channel counts instead of refusing them.

    Returns
    -------
    numpy.ndarray
        ``(n_samples,)`` int16, at least one sample.

    Raises
    ------
    AudioError
        The file is missing, empty, truncated, damaged, no WAV file or over 512 MiB, a sample is not finite, or the
        rate is outside 4 kHz to 384 kHz.
    SampleRateError
        An `AudioError`: the rate or the channel count differs, and `resample` is false.
    """
    path = Path(path)
    rate, samples = _read_samples(path)
    channels = samples.shape[1]
    if rate == SAMPLE_RATE and channels == 1:
        return samples[:, 0]
    if not resample:
        raise SampleRateError(path, channels, rate)
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise AudioError(
            f"{path}: expected a sample rate of {_LOWEST_RATE} to {_HIGHEST_RATE} Hz, found {rate}"
        )
    mono = samples.mean(axis=1, dtype=np.float64)
    if rate != SAMPLE_RATE:
        common = math.gcd(SAMPLE_RATE, rate)
        from scipy.signal import resample_poly  # takes a second to import, and most commands never resample

        mono = resample_poly(mono, SAMPLE_RATE // common, rate // common)
    rounded: NDArray[np.int16] = np.clip(np.floor(mono + 0.5), -32768, 32767).astype(np.int16)
    return rounded


def _read_samples(path: Path) -> tuple[int, NDArray[np.int16]]:
    """Give the sample rate in Hz and the ``(n_samples, channels)`` int16 samples of a WAV file."""
    try:
        content = readable_wav(read_limited(path, MOST_BYTES))
    except OSError as error:
        raise AudioError(f"{path}: {_EXPECTED}, cannot read it: {error.strerror}") from error
    except (RiffError, ValueError) as error:
        raise AudioError(f"{path}: {error}") from None
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            blocks = [_to_int16(path, file, start) for start in range(0, file.frames, _BLOCK)]
            rate = int(file.samplerate)
    except soundfile.SoundFileError as error:
        reason = getattr(error, "error_string", str(error))
        raise AudioError(f"{path}: {_EXPECTED}, libsndfile says: {' '.join(reason.split())}") from None
    if not sum(map(len, blocks)):
        raise AudioError(f"{path}: expected at least one sample, found none")
    return rate, np.concatenate(blocks)


def _to_int16(path: Path, file: soundfile.SoundFile, start: int) -> NDArray[np.int16]:
    """Read the next block of samples and convert it by the rule of :func:`read_wav`; shape (n, channels)."""
    if file.subtype in _INTEGERS:
        wide = file.read(_BLOCK, dtype="int32", always_2d=True).astype(np.int64)
        whole: NDArray[np.int16] = np.minimum((wide + (1 << 15)) >> 16, 32767).astype(np.int16)
        return whole
    if file.subtype not in _FLOATS:
        decoded: NDArray[np.int16] = file.read(_BLOCK, dtype="int16", always_2d=True)
        return decoded
    real = file.read(_BLOCK, dtype="float64", always_2d=True)
    wrong = np.flatnonzero(~np.isfinite(real).all(axis=1))
    if wrong.size:
        raise AudioError(f"{path}: sample {start + wrong[0]} must be a finite number, not {real[wrong[0]].tolist()}")
    rounded: NDArray[np.int16] = np.clip(np.floor(real * 32768 + 0.5), -32768, 32767).astype(np.int16)
    return rounded
