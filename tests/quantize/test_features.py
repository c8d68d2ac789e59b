import json
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.fft

from lmu_hw.model.fixed import Format
from lmu_quantize.features import FrontEnd, FrontEndStream, quantize_frames

KINDS = ("log-mel", "mfcc")
SMALL = {"window": 50, "hop": 20, "n_fft": 64, "n_mels": 5}


def noise(seed, n=16_000, level=3000.0):
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(0, level, n), -32768, 32767).astype(np.int16)


@pytest.fixture
def real_clip(speech):
    """Function that reads a clip of the official test set."""

    def read(word, position):
        clip = speech.take("test", word)[position].read()
        return np.pad(clip, (0, 16_000 - len(clip)))

    return read


def plain_frame(samples, front):
    """One frame by the equations of the docstring, in plain Python; independent of the code."""
    n, rate = front.n_fft, front.sample_rate

    def mel(frequency):
        return 1127 * math.log(1 + frequency / 700)

    x = [
        int(s) / 32768 * (0.5 - 0.5 * math.cos(2 * math.pi * i / front.window))
        for i, s in enumerate(samples)
    ]
    power = []
    for k in range(n // 2 + 1):
        angle = [-2 * math.pi * (k * i % n) / n for i in range(len(x))]
        real = math.fsum(v * math.cos(a) for v, a in zip(x, angle, strict=True))
        imag = math.fsum(v * math.sin(a) for v, a in zip(x, angle, strict=True))
        power.append(real * real + imag * imag)
    low, high = mel(front.f_min), mel(front.f_max)
    step = (high - low) / (front.n_mels + 1)
    logs = []
    for j in range(front.n_mels):
        left, centre, right = (low + (j + i) * step for i in range(3))
        energy = 0.0
        for k in range(1, n // 2 + 1):
            z = mel(k * rate / n)
            energy += power[k] * max(
                0.0, min((z - left) / (centre - left), (right - z) / (right - centre))
            )
        logs.append(math.log(max(energy, front.log_epsilon)))
    if front.kind == "log-mel":
        return logs
    m = front.n_mels
    return [
        math.sqrt((2 if i else 1) / m)
        * math.fsum(
            value * math.cos(math.pi * i * (2 * j + 1) / (2 * m)) for j, value in enumerate(logs)
        )
        for i in range(front.size)
    ]


def cut(rng, length, largest):
    """Random piece lengths that sum to ``length``, with pieces of 0 and 1 among them."""
    sizes = [0, 1, 0, 1]
    while sum(sizes) < length:
        sizes.append(int(rng.integers(0, largest)))
    sizes[-1] -= sum(sizes) - length
    return [*sizes, 0]


# What the numbers are


@pytest.mark.parametrize("kind", KINDS)
def test_values_against_plain_python(kind):
    front = FrontEnd(kind)
    clip = noise(1)
    frames = front.frames(clip)
    for t in (0, 1, 48):
        expected = plain_frame(clip[320 * t : 320 * t + 640], front)
        np.testing.assert_allclose(frames[t], expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_other_parameters_against_plain_python(kind):
    front = FrontEnd(
        kind, sample_rate=8000, window=200, hop=80, n_fft=300, n_mels=13, f_min=0.0, f_max=4000.0,
        n_coefficients=13 if kind == "mfcc" else None, log_epsilon=1e-3,
    )  # fmt: skip
    clip = noise(2, 1000, 300)
    frames = front.frames(clip)
    assert frames.shape == (11, 13)
    for t in range(11):
        expected = plain_frame(clip[80 * t : 80 * t + 200], front)
        np.testing.assert_allclose(frames[t], expected, rtol=0, atol=1e-11)


def test_real_speech_against_scipy(real_clip):
    clip = real_clip("yes", 7)
    front = FrontEnd("mfcc")
    windows = np.lib.stride_tricks.sliding_window_view(clip / 32768, 640)[::320]
    hann = np.hanning(641)[:-1]
    power = np.abs(scipy.fft.fft(windows * hann, 1024, axis=1)[:, :513]) ** 2
    logs = np.log(np.maximum(power @ front.mel_filters.T, front.log_epsilon))
    expected = scipy.fft.dct(logs, type=2, norm="ortho", axis=1)[:, :20]
    np.testing.assert_allclose(front.frames(clip), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(FrontEnd("log-mel").frames(clip), logs, rtol=0, atol=1e-10)


def test_mel_filters():
    filters = FrontEnd("log-mel").mel_filters
    assert filters.shape == (40, 513)
    assert filters.min() == 0
    assert filters.max() <= 1
    assert (filters[:, 0] == 0).all()
    frequency = np.arange(513) * 15.625
    assert (filters[:, (frequency <= 20) | (frequency >= 7600)] == 0).all()
    mel = 1127 * np.log(1 + frequency / 700)
    low, high = 1127 * np.log(1 + np.array([20.0, 7600.0]) / 700)
    step = (high - low) / 41
    inner = (mel >= low + step) & (mel <= high - step)
    np.testing.assert_allclose(filters[:, inner].sum(axis=0), 1, atol=1e-12)


def test_dct_is_orthonormal():
    front = FrontEnd("mfcc", n_coefficients=40)
    np.testing.assert_allclose(front.dct @ front.dct.T, np.eye(40), atol=1e-13)


def test_digital_silence_gives_the_floor():
    front = FrontEnd("log-mel")
    silence = np.zeros(640, dtype=np.int16)
    np.testing.assert_array_equal(front.frames(silence), np.full((1, 40), np.log(1e-6)))


def test_full_scale_is_finite():
    loud = np.where(np.arange(16_000) % 16 < 8, 32767, -32768).astype(np.int16)
    for kind in KINDS:
        assert np.isfinite(FrontEnd(kind).frames(loud)).all()


def test_tables_are_read_only():
    front = FrontEnd("mfcc")
    for table in (front.hann, front.mel_filters, front.dct):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1


# How many frames


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 0), (1, 0), (639, 0), (640, 1), (959, 1), (960, 2), (16_000, 49)],
)
def test_frame_count(samples, frames):
    front = FrontEnd("mfcc")
    assert front.frames_in(samples) == frames
    assert front.frames(noise(0, samples)).shape == (frames, 20)
    assert front.frames_batch(noise(0, samples)[None]).shape == (1, frames, 20)
    assert front.frames_batch(np.zeros((0, samples), np.int16)).shape == (0, frames, 20)


def test_sizes_and_rate():
    assert FrontEnd("log-mel").size == 40
    assert FrontEnd("mfcc").size == 20
    assert FrontEnd("mfcc", n_coefficients=10).size == 10
    assert FrontEnd("mfcc").frame_rate == 50.0


def test_negative_sample_count_is_refused():
    with pytest.raises(ValueError, match=r"^n_samples must not be negative, not -1$"):
        FrontEnd("mfcc").frames_in(-1)


# The same bits however the samples arrive


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("largest", [3, 100, 700, 5000])
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_any_cut_gives_the_same_bits(kind, largest, seed):
    rng = np.random.default_rng(seed)
    front = FrontEnd(kind).with_normalisation(*rng.uniform(0.5, 2, (2, FrontEnd(kind).size)))
    clip = noise(seed, 16_123)
    whole = front.frames(clip)
    stream = front.stream()
    parts, start, made = [], 0, 0
    for size in cut(rng, len(clip), largest):
        parts.append(stream.push(clip[start : start + size]))
        assert parts[-1].shape[1] == front.size
        start += size
        made += len(parts[-1])
        assert made == front.frames_in(start)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("seed", range(6))
def test_odd_sizes_give_the_same_bits(seed):
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % 2]
    front = FrontEnd(kind, **SMALL, n_coefficients=3 if kind == "mfcc" else None)
    clip = noise(seed, 25_000)
    whole = front.frames(clip)
    assert len(whole) > 1024
    stream = front.stream()
    pieces = np.split(clip, np.cumsum(cut(rng, len(clip), 400)))
    np.testing.assert_array_equal(np.concatenate([stream.push(p) for p in pieces]), whole)
    alone = [front.frames(clip[20 * t : 20 * t + 50])[0] for t in range(len(whole))]
    np.testing.assert_array_equal(alone, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_real_speech_one_sample_at_a_time(kind, real_clip):
    clip = real_clip("left", 3)
    stream = FrontEnd(kind).stream()
    parts = [stream.push(clip[i : i + 1]) for i in range(len(clip))]
    np.testing.assert_array_equal(np.concatenate(parts), FrontEnd(kind).frames(clip))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 23])
def test_batch_gives_the_same_bits(kind, count):
    front = FrontEnd(kind)
    clips = noise(count, 16_000 * count).reshape(count, -1)
    expected = [front.frames(clip) for clip in clips]
    np.testing.assert_array_equal(front.frames_batch(clips), expected)


@pytest.mark.parametrize("n", [50, 5130, 5150, 12_000])
def test_batch_of_other_lengths_gives_the_same_bits(n):
    front = FrontEnd("mfcc", **SMALL, n_coefficients=3)
    clips = noise(n, 5 * n).reshape(5, n)
    expected = [front.frames(clip) for clip in clips]
    np.testing.assert_array_equal(front.frames_batch(clips), expected)


def test_memory_layout_does_not_matter():
    front = FrontEnd("mfcc")
    clips = noise(4, 6 * 16_000).reshape(6, -1)
    whole = front.frames_batch(clips)
    np.testing.assert_array_equal(front.frames_batch(np.asfortranarray(clips)), whole)
    np.testing.assert_array_equal(front.frames(np.repeat(clips[0], 2)[::2]), whole[0])
    assert whole.flags.c_contiguous
    assert whole.dtype == np.float64


def test_reset_forgets():
    front = FrontEnd("mfcc")
    clip = noise(5)
    stream = front.stream()
    assert isinstance(stream, FrontEndStream)
    stream.push(clip[:1000])
    stream.reset()
    np.testing.assert_array_equal(stream.push(clip), front.frames(clip))


def test_stream_does_not_hold_on_to_the_callers_array():
    front = FrontEnd("mfcc")
    clip = noise(6)
    expected = front.frames(clip)
    stream = front.stream()
    piece = clip[:900].copy()
    first = stream.push(piece)
    piece[:] = 0
    np.testing.assert_array_equal(np.concatenate([first, stream.push(clip[900:])]), expected)


def test_refused_push_leaves_the_stream_as_it_was():
    front = FrontEnd("mfcc")
    clip = noise(7)
    stream = front.stream()
    first = stream.push(clip[:900])
    with pytest.raises(TypeError, match="samples must be int16, not float64"):
        stream.push(clip[900:] / 32768)
    np.testing.assert_array_equal(
        np.concatenate([first, stream.push(clip[900:])]), front.frames(clip)
    )


# Normalisation


def test_normalisation():
    front = FrontEnd("mfcc")
    clips = noise(8, 4 * 16_000).reshape(4, -1)
    plain = front.frames_batch(clips)
    mean, std = plain.mean(axis=(0, 1)), plain.std(axis=(0, 1))
    normal = front.with_normalisation(mean, std)
    assert normal.offset == tuple(mean.tolist())
    assert normal.scale == tuple((1 / std).tolist())
    np.testing.assert_array_equal(normal.frames_batch(clips), (plain - mean) * (1 / std))
    again = normal.with_normalisation(np.zeros(20), np.ones(20))
    np.testing.assert_array_equal(again.frames_batch(clips), plain)


def test_normalisation_is_checked():
    front = FrontEnd("mfcc")
    with pytest.raises(ValueError, match=r"^std must be above 0 for every feature$"):
        front.with_normalisation(np.zeros(20), np.arange(20.0))
    with pytest.raises(ValueError, match=r"^offset must have 20 values, not 19$"):
        front.with_normalisation(np.zeros(19), np.ones(20))
    with pytest.raises(ValueError, match=r"^scale must have 20 values, not 40$"):
        front.with_normalisation(np.zeros(20), np.ones(40))
    with pytest.raises(ValueError, match=r"^offset must be a finite number, not .*nan"):
        front.with_normalisation(np.full(20, np.nan), np.ones(20))


# The description as data


def test_dictionary_round_trip_through_json():
    rng = np.random.default_rng(9)
    fronts = [
        FrontEnd("log-mel"),
        FrontEnd("mfcc", n_coefficients=13, f_min=1 / 3),
        FrontEnd("mfcc").with_normalisation(*rng.uniform(0.1, 9, (2, 20))),
    ]
    for front in fronts:
        again = FrontEnd.from_dict(json.loads(json.dumps(front.to_dict())))
        assert again == front
        assert hash(again) == hash(front)
        assert again.to_dict() == front.to_dict()


def test_computing_does_not_change_the_description():
    front = FrontEnd("mfcc")
    before = front.to_dict()
    front.frames(noise(1))
    assert front.to_dict() == before
    assert front == FrontEnd("mfcc")


def test_defaults():
    assert FrontEnd("mfcc").to_dict() == {
        "kind": "mfcc", "sample_rate": 16_000, "window": 640, "hop": 320, "n_fft": 1024,
        "n_mels": 40, "n_coefficients": 20, "f_min": 20.0, "f_max": 7600.0, "log_epsilon": 1e-6,
        "offset": None, "scale": None,
    }  # fmt: skip
    assert FrontEnd.from_dict({"kind": "log-mel"}) == FrontEnd("log-mel")


def test_dictionary_is_checked():
    with pytest.raises(ValueError, match=r"^unknown key 'n_mel' in the front end, expected kind, sample"):
        FrontEnd.from_dict({"kind": "mfcc", "n_mel": 40})
    with pytest.raises(ValueError, match=r"^the front end lacks the key 'kind'$"):
        FrontEnd.from_dict({"n_mels": 40})
    with pytest.raises(ValueError, match=r"^hop must be at least 1, not 0$"):
        FrontEnd.from_dict({"kind": "mfcc", "hop": 0})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"kind": "fbank"}, ValueError, r"^kind must be one of log-mel, mfcc, not 'fbank'$"),
        ({"window": 0}, ValueError, r"^window must be at least 1, not 0$"),
        ({"hop": 320.0}, TypeError, r"^hop must be an integer, not 320\.0$"),
        ({"n_mels": True}, TypeError, r"^n_mels must be an integer, not True$"),
        ({"sample_rate": "16k"}, TypeError, r"^sample_rate must be an integer, not '16k'$"),
        ({"hop": 641}, ValueError, r"^hop must be at most window = 640, not 641$"),
        ({"n_fft": 512}, ValueError, r"^n_fft must be at least window = 640, not 512$"),
        ({"n_coefficients": 41}, ValueError, r"^n_coefficients must be at most n_mels = 40, not"),
        ({"n_coefficients": 0}, ValueError, r"^n_coefficients must be at least 1, not 0$"),
        ({"kind": "log-mel", "n_coefficients": 20}, ValueError, r"^n_coefficients is for mfcc onl"),
        ({"f_max": 8001.0}, ValueError, r"^f_min and f_max must .* <= 8000 Hz, not 20 and 8001$"),
        ({"f_min": -1.0}, ValueError, r"^f_min and f_max must satisfy"),
        ({"f_min": 7600.0}, ValueError, r"^f_min and f_max must satisfy"),
        ({"f_min": math.nan}, ValueError, r"^f_min must be a finite number, not nan$"),
        ({"f_min": "20"}, TypeError, r"^f_min must be a finite number, not '20'$"),
        ({"log_epsilon": 0}, ValueError, r"^log_epsilon must be above 0, not 0$"),
        ({"n_mels": 400}, ValueError, r"^mel triangle \d+ covers no bin .* lower n_mels = 400 or"),
        ({"offset": (0.0,) * 20}, ValueError, r"^offset and scale must be given together$"),
        ({"offset": 1.0, "scale": 1.0}, TypeError, r"^offset must be a sequence of numbers, not"),
        ({"offset": (0.0,) * 20, "scale": (0.0,) * 20}, ValueError, r"^scale must not contain 0$"),
        ({"offset": (None,) * 20, "scale": (1.0,) * 20}, TypeError, r"^offset must be a finite"),
    ],
)
def test_parameters_are_checked(changes, error, message):
    with pytest.raises(error, match=message):
        replace(FrontEnd("mfcc"), **changes)


def test_samples_are_checked():
    front = FrontEnd("mfcc")
    with pytest.raises(TypeError, match=r"^samples must be int16, not float32$"):
        front.frames(np.zeros(640, np.float32))
    with pytest.raises(ValueError, match=r"^samples must have 1 dimension\(s\), not 2$"):
        front.frames(np.zeros((1, 640), np.int16))
    with pytest.raises(TypeError, match=r"^clips must be int16, not int64$"):
        front.frames_batch([[0] * 640])
    with pytest.raises(ValueError, match=r"^clips must have 2 dimension\(s\), not 1$"):
        front.frames_batch(np.zeros(640, np.int16))


# Integers for the hardware


def test_quantize_frames():
    fmt = Format(8, 4, True)
    values = np.array(
        [[0.0, 1.0, -1.0, 1 / 32, -1 / 32, 3 / 32], [7.9, 8.0, -8.0, -8.1, 1e9, -1e9]]
    )
    quantized = quantize_frames(values, fmt)
    assert quantized.dtype == np.int64
    assert quantized.tolist() == [[0, 16, -16, 1, 0, 2], [126, 127, -128, -128, 127, -128]]


@pytest.mark.parametrize("seed", [21, 22])
@pytest.mark.parametrize("fmt", [Format(7, 3, True), Format(16, 10, True), Format(4, -2, False)])
def test_quantize_frames_by_the_stated_rule(seed, fmt):
    values = np.random.default_rng(seed).normal(0, 20, (30, 20))
    expected = [
        [min(max(math.floor(v * 2.0**fmt.frac + 0.5), fmt.min), fmt.max) for v in row]
        for row in values.tolist()
    ]
    np.testing.assert_array_equal(quantize_frames(values, fmt), expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_quantize_frames_refuses_what_is_not_finite(bad):
    with pytest.raises(ValueError, match="finite"):
        quantize_frames([0.0, bad], Format(8, 4, True))


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [("n_fft", 10**9, 65536), ("n_mels", 10**6, 1024), ("sample_rate", 2**40, 1048576), ("window", 10**9, 65536)],
)
def test_a_front_end_without_bound_is_refused(name, value, most):
    with pytest.raises(ValueError, match=rf"{name} must be at most {most}, not {value}$"):
        FrontEnd.from_dict({"kind": "mfcc", name: value})
