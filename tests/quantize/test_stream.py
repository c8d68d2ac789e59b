"""Streams of clips, and the score of events on them."""

import numpy as np
import pytest

from lmu_hw.model.fixed import Format
from lmu_hw.model.smoothing import Events, Smoothing, detect
from lmu_quantize.features import FrontEnd
from lmu_quantize.stream import FADE, Stream, make_stream, noise_part, word_end
from lmu_quantize.stream_score import LogitClock, choose, score_events

NAMES = ("yes", "no", "unknown", "silence")
SECOND = 16_000
CLOCK = LogitClock(640, 320)


def clips(per_label=5, labels=4, seed=0):
    """Words that are bursts from 0.25 s on, each of its own length, in faint noise."""
    rng = np.random.default_rng(seed)
    found = rng.integers(-20, 20, (per_label * labels, SECOND)).astype(np.int16)
    for place, clip in enumerate(found):
        clip[4000 : 6000 + 160 * place] = rng.integers(-8000, 8000, 2000 + 160 * place)
    return found, np.repeat(np.arange(labels), per_label)


def hiss(seed=1, seconds=3):
    return [np.random.default_rng(seed).integers(-100, 100, seconds * SECOND).astype(np.int16)]


def test_a_stream_has_the_clips_at_the_places_that_it_says():
    sounds, labels = clips()
    stream = make_stream(sounds, labels, NAMES, [np.zeros(2 * SECOND, np.int16)], 0.02, 3)
    assert stream.samples.shape == (72 * SECOND,)
    assert stream.hours == 0.02
    assert len(stream.labels) == 12
    assert (np.diff(stream.starts) >= SECOND).all()
    for label, start, end in zip(stream.labels, stream.starts, stream.ends, strict=True):
        middle = slice(start + FADE, start + SECOND - FADE)
        same = [place for place, clip in enumerate(sounds) if (clip[FADE:-FADE] == stream.samples[middle]).all()]
        assert len(same) == 1
        assert labels[same[0]] == label
        assert label in (0, 1)
        assert end - start == word_end(sounds[same[0]])
    assert np.count_nonzero(stream.samples) > 25 * 0.9 * SECOND


def test_clips_repeat_only_when_all_were_drawn():
    sounds, labels = clips(per_label=6)
    stream = make_stream(sounds, labels, NAMES, hiss(), 0.02, 0)
    assert sorted(stream.labels.tolist()) == [0] * 6 + [1] * 6
    assert len(make_stream(sounds, labels, NAMES, hiss(), 0.03, 0).labels) == 18


def test_streams_are_repeatable_and_differ_by_seed():
    sounds, labels = clips()
    first, again, other = (make_stream(sounds, labels, NAMES, hiss(), 0.02, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.samples, again.samples)
    np.testing.assert_array_equal(first.ends, again.ends)
    assert (first.samples != other.samples).any()


def test_silence_that_is_not_given_is_cut_from_the_noise():
    sounds, labels = clips(labels=3)
    stream = make_stream(sounds, labels, NAMES, hiss(), 0.05, 5)
    level = np.sqrt(np.square(stream.samples.reshape(-1, 400).astype(float)).mean(axis=1))
    assert len(stream.labels) == 30
    assert ((level > 500) & (level < 3000)).any()


def test_streams_that_cannot_be_made_are_refused():
    sounds, labels = clips()
    with pytest.raises(ValueError, match="a stream needs clips of keywords"):
        make_stream(sounds[10:], labels[10:], NAMES, hiss(), 0.02, 0)
    with pytest.raises(ValueError, match="a stream needs recordings of noise longer than a second"):
        make_stream(sounds, labels, NAMES, hiss(seconds=1), 0.02, 0)
    with pytest.raises(ValueError, match=r"26 clips need more than 0\.02 hours"):
        make_stream(np.tile(sounds, 4), labels, NAMES, hiss(), 0.02, 0)


def test_word_ends_with_its_sound():
    sounds, _ = clips()
    for place, clip in enumerate(sounds):
        assert -160 < 6000 + 160 * place - word_end(clip) <= 0.05 * SECOND
    assert word_end(np.zeros(SECOND, np.int16)) == SECOND


def test_noise_of_training_validation_and_test_is_not_shared():
    recording = np.arange(1000, dtype=np.int16)
    assert noise_part(recording, "validation").tolist() == list(range(800, 900))
    assert noise_part(recording, "test").tolist() == list(range(900, 1000))


@pytest.mark.parametrize("period", [1, 3])
def test_clock_names_the_last_sample_that_matters(period):
    front_end = FrontEnd("log-mel")
    clock = LogitClock(front_end.window, front_end.hop, period)
    for index in (0, 1, 5):
        end = int(clock.sample(np.array(index)))
        assert front_end.frames_in(end) == (index + 1) * period
        assert front_end.frames_in(end - 1) == (index + 1) * period - 1


def spoken(*words, hours=0.1):
    """A stream of keywords given by label, start and end in seconds."""
    labels, starts, ends = (np.array(column) for column in zip(*words, strict=True))
    samples = np.zeros(round(hours * 3600 * SECOND), np.int16)
    return Stream(samples, labels, (starts * SECOND).astype(np.int64), (ends * SECOND).astype(np.int64))


def heard(*events):
    """Events given by label and second."""
    frames = np.array([round((second * SECOND - 640) / 320) for _, second in events], np.int64)
    return Events(frames, np.array([label for label, _ in events], np.int64), np.zeros(len(events), np.int64))


@pytest.mark.parametrize(
    ("events", "accepted", "false_accepts", "delays"),
    [
        ([], 0, 0, []),
        ([(0, 10.5), (1, 20.8)], 2, 0, [-0.1, 0.2]),
        ([(0, 10.5), (0, 11.2)], 1, 1, [-0.1]),
        ([(1, 10.5)], 0, 1, []),
        ([(0, 9.98)], 0, 1, []),
        ([(0, 11.6)], 1, 0, [1.0]),
        ([(0, 11.62)], 0, 1, []),
        ([(3, 12.0)], 0, 1, []),
        ([(2, 30.9), (2, 31.1)], 2, 0, [0.3, -0.5]),
        ([(2, 31.7)], 1, 0, [0.1]),
    ],
)
def test_events_are_matched_with_words(events, accepted, false_accepts, delays):
    stream = spoken((0, 10.0, 10.6), (1, 20.0, 20.6), (2, 30.0, 30.6), (2, 31.0, 31.6))
    score = score_events(heard(*events), stream, CLOCK)
    assert (score.keywords, score.accepted, score.false_accepts) == (4, accepted, false_accepts)
    np.testing.assert_allclose(score.delays, delays, atol=1e-9)
    assert score.false_rejects == 1 - accepted / 4
    assert score.false_accepts_per_hour == pytest.approx(10 * false_accepts)


def test_score_as_json():
    score = score_events(heard((0, 10.5), (0, 30.9)), spoken((0, 10.0, 10.6), (0, 30.0, 30.6)), CLOCK).to_dict()
    assert (score["keywords"], score["false_accepts"], score["false_rejects"]) == (2, 0, 0.0)
    assert score["delay_median_s"] == pytest.approx(0.1)
    assert score["delay_95_s"] == pytest.approx(0.28)
    nothing = score_events(heard(), spoken((0, 10.0, 10.6)), CLOCK).to_dict()
    assert nothing["delay_median_s"] is None


def noisy_logits(stream, seed=6):
    """Logits of three labels in which every keyword is a bump on noise; label 2 is background."""
    rng = np.random.default_rng(seed)
    logits = np.rint(rng.normal(0, 60, (len(stream.samples) // 320 - 1, 3))).astype(np.int64)
    for label, start, end in zip(stream.labels, stream.starts, stream.ends, strict=True):
        logits[start // 320 : end // 320, label] += 150
    return logits


def test_smoothing_is_chosen_by_false_rejects_under_the_rate():
    rng = np.random.default_rng(8)
    starts = np.arange(2, 350, 6) + rng.random(58)
    stream = spoken(*[(int(rng.integers(2)), start, start + 0.6) for start in starts])
    logits, fmt = noisy_logits(stream), Format(10, 6)
    few, none = choose(logits, fmt, (2,), (20.0, 0.0), stream, CLOCK)
    score = score_events(detect(logits, few), stream, CLOCK)
    assert score.false_accepts_per_hour <= 20
    assert score.false_rejects < 0.1
    assert few.shift > 0
    assert few.score_bits in (7, 8, 9)
    plain = [Smoothing((2,), 10, 0, threshold, 40) for threshold in range(1, 1000, 20)]
    scores = [score_events(detect(logits, one), stream, CLOCK) for one in plain]
    assert score.false_rejects < min(one.false_rejects for one in scores if one.false_accepts_per_hour <= 20)
    assert not score_events(detect(logits, none), stream, CLOCK).false_accepts


def test_a_rate_that_no_smoothing_keeps_has_none():
    stream = spoken((0, 100.0, 100.6), hours=0.05)
    logits = np.tile([0, 60, 0], (8000, 1))
    fmt = Format(10, 6)
    assert choose(logits, fmt, (2,), (0, 1e6), stream, CLOCK)[0] is None
    assert choose(logits, fmt, (2,), (0, 1e6), stream, CLOCK)[1].background == (2,)
    assert choose(np.zeros_like(logits), fmt, (2,), (0,), stream, CLOCK) == [None]
