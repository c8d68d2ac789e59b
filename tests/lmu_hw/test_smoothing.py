"""Decision smoothing: the parameters, and the golden functions against the definition in plain Python."""

import numpy as np
import pytest

from lmu_hw.config import AcceleratorConfig
from lmu_hw.fixed import Format
from lmu_hw.plan import make_plan
from lmu_hw.smoothing import Smoothing, detect, smooth, sum_format
from lmu_sim.random_models import random_model

LOGIT = Format(9, 3)
GOOD = {"background": (0, 3), "shift": 2, "threshold": 40, "refractory": 3}


def events(logits, smoothing, restarts):
    """The definition, one number at a time."""
    sums, rest, found = [0] * len(logits[0]), 0, []
    keywords = [label for label in range(len(sums)) if label not in smoothing.background]
    for t, frame in enumerate(logits):
        sums = [0] * len(sums) if t in restarts else sums
        sums = [held - held // 2**smoothing.shift + value for held, value in zip(sums, frame, strict=True)]
        best = max(keywords, key=lambda label: (sums[label], -label))
        margin = sums[best] - max(sums[label] for label in smoothing.background)
        if rest:
            rest -= 1
        elif margin >= smoothing.threshold:
            found.append((t, best, margin))
            rest = smoothing.refractory
    return found


@pytest.mark.parametrize("shift", [0, 1, 5])
@pytest.mark.parametrize("refractory", [1, 4])
def test_events_follow_the_definition(shift, refractory):
    rng = np.random.default_rng(shift)
    logits = rng.integers(LOGIT.min, LOGIT.max, (400, 6), endpoint=True)
    logits[100:150] = rng.integers(0, 2, (50, 6))
    smoothing = Smoothing((5, 1), shift, 30 << shift >> 1, refractory)
    restarts = (0, 17, 18, 200)
    found = detect(logits, smoothing, restarts)
    expected = events(logits.tolist(), smoothing, restarts)
    assert list(zip(found.frames.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)) == expected
    assert 0 < len(expected) < 400 / refractory


@pytest.mark.parametrize("fmt", [Format(4, 0), Format(3, 0, signed=False)])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_sums_stay_between_the_averages_of_the_ends(fmt, shift):
    held = sum_format(fmt, shift)
    ends = smooth(np.repeat([[fmt.min, fmt.max]], 64 << shift, axis=0), shift)
    rounding = (1 << shift) - 1 if fmt.signed else 0
    assert ends[-1].tolist() == [(fmt.min << shift) + rounding, fmt.max << shift]
    every = np.arange(fmt.min << shift, (fmt.max << shift) + 1)
    for logit in (fmt.min, fmt.max):
        following = every - (every >> shift) + logit
        assert every[0] <= following.min()
        assert following.max() <= every[-1]
    assert held.contains(every)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": ()}, r"background must be one or more distinct indices of labels, not \(\)"),
        ({"background": (1, 1)}, r"background must be one or more distinct indices"),
        ({"background": (-1,)}, r"background must be one or more distinct indices"),
        ({"background": "01"}, r"background must be indices of labels, not '01'"),
        ({"background": 3}, r"background must be indices of labels, not 3"),
        ({"background": (0.5,)}, r"an index in background must be an integer, not 0.5"),
        ({"shift": 13}, r"shift must be in 0 to 12, not 13"),
        ({"shift": -1}, r"shift must be in 0 to 12, not -1"),
        ({"shift": 1.0}, r"shift must be an integer, not 1.0"),
        ({"threshold": True}, r"threshold must be an integer, not True"),
        ({"refractory": 0}, r"refractory must be in 1 to 65535, not 0"),
        ({"refractory": 65536}, r"refractory must be in 1 to 65535, not 65536"),
        ({"gain": 1}, r"unknown key 'gain' in smoothing, expected background, shift, threshold, refractory"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Smoothing.from_dict({**GOOD, **changes})


def test_json_form():
    smoothing = Smoothing((3, 0), 2, -5, 7)
    assert smoothing.to_dict() == {"background": [0, 3], "shift": 2, "threshold": -5, "refractory": 7}
    assert Smoothing.from_dict(smoothing.to_dict()) == smoothing
    with pytest.raises(ValueError, match="smoothing must be an object, not 3"):
        Smoothing.from_dict(3)
    with pytest.raises(ValueError, match="smoothing lacks 'refractory'"):
        Smoothing.from_dict({name: value for name, value in GOOD.items() if name != "refractory"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": (4,)}, r"background label 4 is none of the 4 labels"),
        ({"background": (0, 1, 2, 3)}, r"all 4 labels are background, at least one must be a keyword"),
        ({"threshold": 511 * 4 + 1}, r"threshold must be in -2043 to 2044 for logits of .*, not 2045"),
        ({"threshold": -511 * 4}, r"threshold must be in -2043 to 2044 for logits of .*, not -2044"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Smoothing(**{**GOOD, **changes}).check(4, LOGIT)
    Smoothing(**GOOD).check(4, LOGIT)


def test_configuration_with_smoothing():
    smoothing = Smoothing((0,), 1, 3, 2)
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
    plan = make_plan(model, AcceleratorConfig(lanes=2, smoothing=Smoothing((0,), 3, 3, 2)))
    assert plan.memories[:-1] == plain.memories
    assert (plan.memories[-1].depth, plan.memories[-1].width) == (model.outputs, plain.output.width + 3)
    assert plan.frames == plain.frames
    with pytest.raises(ValueError, match="background label 99 is none of"):
        make_plan(model, AcceleratorConfig(lanes=2, smoothing=Smoothing((99,), 3, 3, 2)))
