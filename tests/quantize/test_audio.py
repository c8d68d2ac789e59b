import functools
import re
import struct
import wave
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import soundfile
from hypothesis import strategies
from scipy.signal import resample_poly

from lmu_quantize import audio
from lmu_quantize.audio import SAMPLE_RATE, AudioError, SampleRateError, read_wav


def write_wav(path, data, *, width=2, channels=1, rate=SAMPLE_RATE):
    with wave.open(str(path), "wb") as writer:
        writer.setsampwidth(width)
        writer.setnchannels(channels)
        writer.setframerate(rate)
        writer.writeframes(data)
    return path


def noise(seed, n=4000):
    return np.random.default_rng(seed).integers(-(1 << 15), 1 << 15, n).astype(np.int16)


@pytest.mark.parametrize("n", [1, 2, 639, 16_000, 16_001])
def test_sixteen_bits_are_unchanged(tmp_path, n):
    samples = noise(n, n)
    read = read_wav(write_wav(tmp_path / "a.wav", samples.astype("<i2").tobytes()))
    assert read.dtype == np.int16
    np.testing.assert_array_equal(read, samples)


def test_path_may_be_a_string(tmp_path):
    assert read_wav(str(write_wav(tmp_path / "a.wav", b"\x01\x02"))).tolist() == [0x0201]


def test_eight_bits_by_the_stated_rule(tmp_path):
    read = read_wav(write_wav(tmp_path / "a.wav", bytes(range(256)), width=1))
    assert read.dtype == np.int16
    assert read.tolist() == [(value - 128) * 256 for value in range(256)]


@pytest.mark.parametrize("width", [3, 4])
def test_wide_samples_by_the_stated_rule(tmp_path, width):
    shift = 8 * (width - 2)
    top = 1 << (8 * width - 1)
    half = 1 << (shift - 1)
    values = [0, 1, half - 1, half, half + 1, -half, -half - 1, -1, top - 1, top - half, -top]
    rng = np.random.default_rng(width)
    values += rng.integers(-top, top, 500).tolist()
    data = b"".join(value.to_bytes(width, "little", signed=True) for value in values)
    expected = [min((value + half) // (1 << shift), 32767) for value in values]
    read = read_wav(write_wav(tmp_path / "a.wav", data, width=width))
    assert read.dtype == np.int16
    assert read.tolist() == expected


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32"])
def test_files_of_another_writer(tmp_path, subtype):
    samples = noise(3) & ~0xFF
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype=subtype, format="WAV")
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav"), samples)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32"])
def test_extensible_headers_are_read(tmp_path, subtype):
    samples = noise(4)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype=subtype, format="WAVEX")
    assert (tmp_path / "a.wav").read_bytes()[20:22] == b"\xfe\xff"
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav"), samples)


@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_float_samples_by_the_stated_rule(tmp_path, subtype, format):
    real = [0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -3.0, 1.5 / 32768, -1.5 / 32768, 2.49 / 32768, 0.99999]
    soundfile.write(tmp_path / "a.wav", np.array(real), SAMPLE_RATE, subtype=subtype, format=format)
    read = read_wav(tmp_path / "a.wav")
    assert read.dtype == np.int16
    assert read.tolist() == [0, 16384, -16384, 32767, -32768, 32767, -32768, 2, -1, 2, 32767]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_float_sample_that_is_no_number_is_refused(tmp_path, wrong):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, 0.1, wrong]), SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=rf"a\.wav: sample 2 must be a finite number, not \[{wrong}\]$"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize(("subtype", "format"), [("ULAW", "WAV"), ("IMA_ADPCM", "WAV"), ("PCM_16", "RF64")])
def test_other_encodings_are_those_of_the_library(tmp_path, subtype, format):
    soundfile.write(tmp_path / "a.wav", noise(6), SAMPLE_RATE, subtype=subtype, format=format)
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav"), soundfile.read(tmp_path / "a.wav", dtype="int16")[0])


def streamed(path, riff, data, tail=b""):
    """A WAV file of ten samples with these lengths in its header, as programs write that cannot seek back."""
    form = struct.pack("<HHLLHH", 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    body = b"WAVEfmt " + struct.pack("<L", 16) + form + b"data" + struct.pack("<L", data)
    path.write_bytes(b"RIFF" + struct.pack("<L", riff) + body + noise(7, 10).tobytes() + tail)
    return path


@pytest.mark.parametrize(
    ("riff", "data"), [(0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFDB), (0x7FFFF024, 0x7FFFF000), (0, 0), (36, 0)]
)
def test_a_streamed_file_is_read_to_its_end(tmp_path, riff, data):
    for tail in (b"", b"\x01"):
        read = read_wav(streamed(tmp_path / "a.wav", riff, data, tail))
        np.testing.assert_array_equal(read, noise(7, 10))


def test_a_big_endian_file_is_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(8), SAMPLE_RATE, endian="BIG")
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RIFX"
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav"), noise(8))


def test_an_empty_recording_with_a_chunk_behind_it_has_no_samples(tmp_path):
    path = write_wav(tmp_path / "a.wav", b"")
    path.write_bytes(path.read_bytes() + b"LIST\x04\0\0\0INFO")
    with pytest.raises(AudioError, match="expected at least one sample, found none"):
        read_wav(path)


def test_a_chunk_that_is_longer_than_the_file_is_named(tmp_path):
    path = write_wav(tmp_path / "a.wav", bytes(8))
    content = path.read_bytes()
    path.write_bytes(content[:12] + b"LIST\xf0\xff\xff\xff" + content[12:])
    message = r"a\.wav: expected a WAV file, its chunk b'LIST' at byte 12 should have 4294967280 bytes, 40 are left$"
    with pytest.raises(AudioError, match=message):
        read_wav(path)


def test_a_file_that_never_ends_is_refused(monkeypatch):
    monkeypatch.setattr(audio, "MOST_BYTES", 1 << 20)
    with pytest.raises(AudioError, match=r"/dev/zero: has over 1 MiB, which is not read$"):
        read_wav("/dev/zero")


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(
    strategies.sampled_from(["PCM_U8", "PCM_24", "FLOAT", "IMA_ADPCM"]),
    strategies.lists(strategies.tuples(strategies.integers(0, 71), strategies.integers(0, 255)), min_size=1),
)
def test_a_damaged_header_gives_samples_or_one_clear_error(tmp_path_factory, read_or_refuse, subtype, changes):
    path = tmp_path_factory.mktemp("damaged") / "a.wav"
    soundfile.write(path, noise(9, 64), SAMPLE_RATE, subtype=subtype, format="WAV")
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position] = value
    path.write_bytes(content)
    read_or_refuse(functools.partial(read_wav, resample=True), path, AudioError)


@pytest.mark.parametrize("name", ["float32", "ext16", "stream_ffff"])
def test_handed_files_are_read(handed_cases, name):
    path = handed_cases / "wav" / f"{name}.wav"
    real = soundfile.read(path, dtype="float64")[0]
    np.testing.assert_array_equal(read_wav(path), np.clip(np.floor(real * 32768 + 0.5), -32768, 32767))


def test_a_handed_file_with_a_wrong_chunk_is_named(handed_cases):
    with pytest.raises(AudioError, match=r"chunk_size_too_big\.wav: expected a WAV file, its chunk b'LIST'"):
        read_wav(handed_cases / "wav" / "chunk_size_too_big.wav")


def test_resample_leaves_the_right_form_alone(tmp_path):
    samples = noise(5)
    path = write_wav(tmp_path / "a.wav", samples.tobytes())
    np.testing.assert_array_equal(read_wav(path, resample=True), samples)


def test_channels_are_averaged_and_rounded_half_up(tmp_path):
    stereo = np.array([[1, 2], [-1, -2], [32767, 32767], [-32768, -32768], [3, 3]], dtype=np.int16)
    path = write_wav(tmp_path / "a.wav", stereo.tobytes(), channels=2)
    assert read_wav(path, resample=True).tolist() == [2, -1, 32767, -32768, 3]


@pytest.mark.parametrize(
    ("rate", "up", "down"),
    [(8_000, 2, 1), (44_100, 160, 441), (48_000, 1, 3), (16_001, 16_000, 16_001)],
)
def test_rate_by_the_stated_rule(tmp_path, rate, up, down):
    samples = noise(rate, 1000)
    path = write_wav(tmp_path / "a.wav", samples.tobytes(), rate=rate)
    exact = resample_poly(samples.astype(np.float64), up, down)
    expected = np.clip(np.floor(exact + 0.5), -32768, 32767)
    assert np.abs(expected).max() == 32768 or rate > SAMPLE_RATE
    np.testing.assert_array_equal(read_wav(path, resample=True), expected)


def test_a_tone_keeps_its_frequency_and_level(tmp_path):
    time = np.arange(48_000) / 48_000
    tone = np.round(8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
    path = write_wav(tmp_path / "a.wav", tone.tobytes(), rate=48_000)
    read = read_wav(path, resample=True)
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert len(read) == 16_000
    assert np.abs(read - expected)[100:-100].max() < 20


def test_wrong_form_is_refused(tmp_path):
    path = write_wav(tmp_path / "a.wav", bytes(8), channels=2)
    message = r"a\.wav: expected mono at 16000 Hz, found 2 channel\(s\) at 16000 Hz"
    with pytest.raises(AudioError, match=message):
        read_wav(path)
    path = write_wav(tmp_path / "b.wav", bytes(8), rate=8000)
    message = r"b\.wav: expected mono .* 1 channel\(s\) at 8000 Hz; pass resample=True to convert it$"
    with pytest.raises(SampleRateError, match=message) as caught:
        read_wav(path)
    assert (caught.value.path, caught.value.channels, caught.value.rate) == (path, 1, 8000)
    assert caught.value.problem == str(caught.value).removesuffix("; pass resample=True to convert it")


@pytest.mark.parametrize("rate", [1, 3999, 384_001, 2_000_000_000])
def test_absurd_rate_is_refused(tmp_path, rate):
    path = write_wav(tmp_path / "a.wav", bytes(8), rate=rate)
    message = f"expected a sample rate of 4000 to 384000 Hz, found {rate}$"
    with pytest.raises(AudioError, match=message):
        read_wav(path, resample=True)


def test_truncated_in_the_samples(tmp_path):
    path = write_wav(tmp_path / "a.wav", noise(1, 100).tobytes())
    path.write_bytes(path.read_bytes()[:-41])
    with pytest.raises(AudioError, match=r"a\.wav: truncated: expected 100 samples, found 79$"):
        read_wav(path)


def test_truncated_anywhere_is_refused(tmp_path):
    whole = write_wav(tmp_path / "a.wav", noise(1, 10).tobytes()).read_bytes()
    path = tmp_path / "cut.wav"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(AudioError, match=r"cut\.wav: (expected a WAV|truncated)"):
            read_wav(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected a WAV file, this one is empty$"),
        (b"RIFF", r"expected a WAV file, this one ends inside its header$"),
        (b"fLaC" + bytes(100), r"expected a WAV file \(RIFF and WAVE at its start\), found b'fLaC' and"),
        (b"RIFF\x24\0\0\0AVI " + bytes(40), r"expected a WAV file .*, found b'RIFF' and b'AVI '$"),
        (b"RIFF\x24\0\0\0WAVE", r"expected a WAV file, this one ends without samples"),
    ],
)
def test_not_a_wav_file(tmp_path, content, message):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.wav: " + message):
        read_wav(path)


def test_no_samples(tmp_path):
    with pytest.raises(AudioError, match=r"expected at least one sample, found none$"):
        read_wav(write_wav(tmp_path / "a.wav", b""))


def test_odd_sample_width_is_refused(tmp_path):
    form = struct.pack("<HHLLHH", 1, 1, SAMPLE_RATE, 5 * SAMPLE_RATE, 5, 40)
    body = b"WAVEfmt " + struct.pack("<L", len(form)) + form + b"data" + struct.pack("<L", 10)
    body += bytes(10)
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<L", len(body)) + body)
    with pytest.raises(AudioError, match=r"a\.wav: expected a WAV file, libsndfile says: "):
        read_wav(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(AudioError, match=re.escape(str(tmp_path / "none.wav")) + ".*cannot read"):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="cannot read it"):
        read_wav(Path(tmp_path))


def test_message_is_one_line(tmp_path):
    with pytest.raises(AudioError) as caught:
        read_wav(tmp_path / "none.wav")
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
