"""Decision smoothing: the parameters, and the golden functions against the definition in plain Python."""

import numpy as np
import pytest

from lmu_hw.model.fixed import Format
from lmu_hw.model.smoothing import Smoothing, detect, smooth
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_sim.testing.random_models import random_model

LOGIT = Format(9, 3)
GOOD = {"background": (0, 3), "score_bits": 6, "shift": 2, "threshold": 40, "refractory": 3}


def events(logits, smoothing, restarts):
    """The definition, one number at a time."""
    sums, rest, found = [0] * len(logits[0]), 0, []
    full = 2**smoothing.score_bits - 1
    for t, frame in enumerate(logits):
        sums = [0] * len(sums) if t in restarts else sums
        scores = [max(full - (max(frame) - value), 0) for value in frame]
        sums = [held - held // 2**smoothing.shift + score for held, score in zip(sums, scores, strict=True)]
        leads = {
            label: value - max(other for place, other in enumerate(sums) if place != label)
            for label, value in enumerate(sums)
            if label not in smoothing.background
        }
        best = max(leads, key=lambda label: leads[label])
        if rest:
            rest -= 1
        elif leads[best] >= smoothing.threshold:
            found.append((t, best, leads[best]))
            rest = smoothing.refractory
    return found


@pytest.mark.parametrize("shift", [0, 1, 5])
@pytest.mark.parametrize("score_bits", [1, 7, 9])
@pytest.mark.parametrize("refractory", [1, 4])
def test_events_follow_the_definition(shift, score_bits, refractory):
    rng = np.random.default_rng(shift)
    logits = rng.integers(LOGIT.min, LOGIT.max, (400, 6), endpoint=True)
    logits[100:150] = rng.integers(0, 2, (50, 6))
    smoothing = Smoothing((5, 1), score_bits, shift, max(1, (1 << score_bits + shift) // 30), refractory)
    restarts = (0, 17, 18, 200)
    found = detect(logits, smoothing, restarts)
    expected = events(logits.tolist(), smoothing, restarts)
    assert list(zip(found.frames.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)) == expected
    assert 0 < len(expected) < 400 / refractory


@pytest.mark.parametrize("score_bits", [1, 4])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_no_sum_exceeds_its_format(score_bits, shift):
    smoothing = Smoothing((0,), score_bits, shift, 1, 1)
    full = (1 << score_bits) - 1
    assert smooth(np.full((64 << shift, 1), full), shift)[-1].tolist() == [smoothing.most]
    every = np.arange(smoothing.most + 1)
    following = every - (every >> shift) + full
    assert following.max() == smoothing.most
    held = smoothing.sum_format(LOGIT)
    assert held.contains(every)
    assert not held.contains(2 * smoothing.most + (1 << shift))
    assert held.frac == LOGIT.frac + shift


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": ()}, r"background must be one or more distinct indices of labels, not \(\)"),
        ({"background": (1, 1)}, r"background must be one or more distinct indices"),
        ({"background": (-1,)}, r"background must be one or more distinct indices"),
        ({"background": "01"}, r"background must be indices of labels, not '01'"),
        ({"background": 3}, r"background must be indices of labels, not 3"),
        ({"background": (0.5,)}, r"an index in background must be an integer, not 0.5"),
        ({"score_bits": 0}, r"score_bits must be in 1 to 32, not 0"),
        ({"score_bits": 33}, r"score_bits must be in 1 to 32, not 33"),
        ({"shift": 13}, r"shift must be in 0 to 12, not 13"),
        ({"shift": -1}, r"shift must be in 0 to 12, not -1"),
        ({"shift": 1.0}, r"shift must be an integer, not 1.0"),
        ({"threshold": True}, r"threshold must be an integer, not True"),
        ({"threshold": 0}, r"threshold must be in 1 to 252, not 0"),
        ({"threshold": 253}, r"threshold must be in 1 to 252, not 253"),
        ({"refractory": 0}, r"refractory must be in 1 to 65535, not 0"),
        ({"refractory": 65536}, r"refractory must be in 1 to 65535, not 65536"),
        ({"gain": 1}, r"unknown key 'gain' in the smoothing, expected background, score_bits, shift, threshold"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Smoothing.from_dict({**GOOD, **changes})


def test_json_form():
    smoothing = Smoothing((3, 0), 6, 2, 5, 7)
    given = {"background": [0, 3], "score_bits": 6, "shift": 2, "threshold": 5, "refractory": 7}
    assert smoothing.to_dict() == given
    assert Smoothing.from_dict(smoothing.to_dict()) == smoothing
    with pytest.raises(ValueError, match="the smoothing must be an object, not 3"):
        Smoothing.from_dict(3)
    with pytest.raises(ValueError, match="the smoothing lacks the key 'refractory'"):
        Smoothing.from_dict({name: value for name, value in GOOD.items() if name != "refractory"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": (4,)}, r"background label 4 is none of the 4 labels"),
        ({"background": (0, 1, 2, 3)}, r"all 4 labels are background, at least one must be a keyword"),
        ({"score_bits": 10}, r"score_bits must be in 1 to 9 for logits of .*, not 10"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Smoothing(**{**GOOD, **changes}).check(4, LOGIT)
    Smoothing(**GOOD).check(4, LOGIT)


def test_configuration_with_smoothing():
    smoothing = Smoothing((0,), 4, 1, 3, 2)
    config = AcceleratorConfig(lanes=2, smoothing=smoothing)
    assert AcceleratorConfig.from_dict(config.to_dict()) == config
    assert "smoothing" not in AcceleratorConfig(lanes=2).to_dict()
    with pytest.raises(TypeError, match="smoothing must be Smoothing or None, not 3"):
        AcceleratorConfig(smoothing=3)
    with pytest.raises(ValueError, match="smoothing needs the stream interface, not axi"):
        AcceleratorConfig(interface="axi", smoothing=smoothing)


def test_the_plan_counts_the_sums_and_checks_the_network():
    model = random_model(np.random.default_rng(3), layers=("dense",))
    plain = make_plan(model, AcceleratorConfig(lanes=2))
    plan = make_plan(model, AcceleratorConfig(lanes=2, smoothing=Smoothing((0,), 5, 3, 3, 2)))
    assert plan.memories[:-1] == plain.memories
    assert (plan.memories[-1].depth, plan.memories[-1].width) == (model.outputs, 8)
    assert plan.frames == plain.frames
    with pytest.raises(ValueError, match="background label 99 is none of"):
        make_plan(model, AcceleratorConfig(lanes=2, smoothing=Smoothing((99,), 5, 3, 3, 2)))
