"""Read recordings: WAV files to mono 16-bit samples at 16 kHz.

Features, calibration and bit-exact vectors all start from these integers. Each conversion is
therefore defined exactly here, and nothing is converted unless the caller asks for it.
"""

import io
import math
import os
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAMPLE_RATE", "AudioError", "SampleRateError", "read_wav"]

SAMPLE_RATE = 16_000
"""Samples per second of every recording that :func:`read_wav` returns."""

_LOWEST_RATE, _HIGHEST_RATE = 4_000, 384_000
_EXPECTED = "expected a PCM WAV file"
_EXTENSIBLE = b"\xfe\xff"
_PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
"""Format tag and PCM subformat of a WAVE_FORMAT_EXTENSIBLE header."""


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
    """Read a PCM WAV file as mono 16-bit samples at 16 kHz.

    The width of a sample always becomes 16 bits:

    - 8 bits (unsigned in WAV): ``(v - 128) * 2**8``
    - 16 bits: unchanged
    - 24 bits: ``floor(v / 2**8 + 1/2)``, saturated to 32767
    - 32 bits: ``floor(v / 2**16 + 1/2)``, saturated to 32767

    Rate and channels are converted only on request. With ``resample=True`` the channels are
    averaged in float64. Then ``scipy.signal.resample_poly`` (its default Kaiser window) changes the
    rate by ``up = 16000 / g`` and ``down = rate / g`` with ``g = gcd(16000, rate)``. The result is
    rounded by ``floor(x + 1/2)`` and saturated to 16 bits. A file that is already mono at
    16 kHz gives the same samples with and without ``resample``.

    Parameters
    ----------
    path : path-like
        A RIFF WAV file with 8-, 16-, 24- or 32-bit integer PCM samples, under a plain or a
        WAVE_FORMAT_EXTENSIBLE header.
    resample : bool
        Convert other sample rates (4 kHz to 384 kHz) and channel counts instead of refusing them.

    Returns
    -------
    numpy.ndarray
        ``(n_samples,)`` int16, at least one sample.

    Raises
    ------
    AudioError
        The file is missing, empty, truncated, not PCM WAV, or its rate is outside 4 kHz to 384 kHz.
    SampleRateError
        An `AudioError`: the rate or the channel count differs, and `resample` is false.
    """
    path = Path(path)
    rate, samples = _read_pcm(path)
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


def _read_pcm(path: Path) -> tuple[int, NDArray[np.int16]]:
    """Give the sample rate in Hz and the ``(n_samples, channels)`` int16 samples of a WAV file."""
    try:
        with wave.open(io.BytesIO(_plain_header(path.read_bytes()))) as reader:
            rate, channels = reader.getframerate(), reader.getnchannels()
            width, declared = reader.getsampwidth(), reader.getnframes()
            data = reader.readframes(declared)
    except OSError as error:
        raise AudioError(f"{path}: {_EXPECTED}, cannot read it: {error.strerror}") from error
    except EOFError as error:
        state = "ends inside its header" if path.stat().st_size else "is empty"
        raise AudioError(f"{path}: {_EXPECTED}, this one {state}") from error
    except wave.Error as error:
        raise AudioError(f"{path}: {_EXPECTED}, found: {error}") from error
    if width > 4:
        raise AudioError(f"{path}: expected 8, 16, 24 or 32 bits per sample, found {8 * width}")
    count = len(data) // (width * channels)
    if count < declared:
        raise AudioError(f"{path}: truncated: expected {declared} samples, found {count}")
    if not count:
        raise AudioError(f"{path}: expected at least one sample, found none")
    return rate, _to_int16(data, width).reshape(-1, channels)


def _plain_header(data: bytes) -> bytes:
    """Turn the extensible header of a PCM file into a plain one: before Python 3.12 `wave` reads no other."""
    chunk = 12
    while chunk + 8 <= len(data):
        size = int.from_bytes(data[chunk + 4 : chunk + 8], "little")
        if data[chunk : chunk + 4] == b"fmt ":
            start = chunk + 8
            if data[start : start + 2] == _EXTENSIBLE and data[start + 24 : start + 40] == _PCM_GUID:
                return data[:start] + wave.WAVE_FORMAT_PCM.to_bytes(2, "little") + data[start + 2 :]
            break
        chunk += 8 + size + size % 2
    return data


def _to_int16(data: bytes, width: int) -> NDArray[np.int16]:
    """Convert little-endian PCM of ``width`` bytes per sample by the rule of :func:`read_wav`."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.int16) - np.int16(128)) * np.int16(256)
    if width == 2:
        return np.frombuffer(data, "<i2").astype(np.int16)
    wide: NDArray[np.int64]
    if width == 3:
        octets = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        wide = (octets[:, 0] | octets[:, 1] << 8 | octets[:, 2] << 16).astype(np.int64)
        wide -= (wide >> 23) << 24
    else:
        wide = np.frombuffer(data, "<i4").astype(np.int64)
    shift = 8 * (width - 2)
    rounded: NDArray[np.int16] = np.minimum((wide + (1 << (shift - 1))) >> shift, 32767).astype(
        np.int16
    )
    return rounded
