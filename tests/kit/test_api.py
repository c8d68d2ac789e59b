"""The Python API: `import lmu_hw` gives every function, documented, and each refuses what it cannot use."""

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lmu_hw as lh
import lmu_kit
from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.program_file import digest
from lmu_hw.model.smoothing import detect
from lmu_hw.power.technology import load_technology
from lmu_quantize import zoo
from lmu_quantize.frames_file import FrameSet

HOT = lh.GateOptions(hot_liberty=["a.lib"])


@pytest.fixture(scope="module")
def model():
    return lh.open_model("kws49")


@pytest.fixture(scope="module")
def frames(model):
    return lh.open_frames(model, clips=8)


def unnamed(model):
    """The same network under a name that nothing ships with."""
    return dataclasses.replace(model, name="own")


def test_the_import_is_light():
    heavy = ("numpy", "amaranth", "rich", "matplotlib")
    code = f"import sys, lmu_hw; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_there_and_documented():
    assert set(lmu_kit.__all__) <= set(dir(lh))
    for name in lmu_kit.__all__:
        thing = getattr(lh, name)
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            parameters = [p for p in inspect.signature(thing).parameters.values() if p.kind is not p.VAR_KEYWORD]
            text = inspect.getdoc(thing) or ""
            for parameter in parameters:
                assert f"\n{parameter.name}" in text or f", {parameter.name}" in text, f"{name}: {parameter.name}"
            assert "Returns\n" in text or "Yields\n" in text or thing.__annotations__["return"] is None, name


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'lmu_hw' has no attribute 'quantise'"):
        _ = lh.quantise
    with pytest.raises(AttributeError, match="module 'lmu_kit' has no attribute 'quantise'"):
        _ = lmu_kit.quantise


def test_a_quantized_model_is_the_shipped_one(tmp_path: Path):
    floats = lh.open_float("kws49")
    result = lh.quantize(floats)
    assert result.model.weight_bits == lh.open_model("kws49").weight_bits
    assert all(result.report.memories.values())
    assert not any(bound.overflows for name, bound in result.certificate.operations.items() if name.endswith(".m"))
    lh.save_model(result.model, tmp_path / "new" / "q.safetensors")
    again = lh.open_model(tmp_path / "new" / "q.safetensors")
    assert np.array_equal(Golden(again).run(lh.open_frames(again, clips=1).frames)["logits"],
                          Golden(result.model).run(lh.open_frames(again, clips=1).frames)["logits"])  # fmt: skip


def test_engines_decide(model, frames):
    golden = lh.evaluate(model, frames)
    decisions = decide(Golden(model).run(frames.frames)["logits"][:, -1])[0]
    assert golden.engine == "golden"
    assert golden.score.correct == int((decisions == frames.truth).sum())
    assert golden.accuracy == golden.score.accuracy
    assert golden.check() is golden
    assert lh.evaluate(model, frames.frames, frames.truth).to_dict() == golden.to_dict()
    floats = lh.open_float("kws49")
    assert lh.evaluate(floats, lh.open_frames(floats, clips=8)).engine == "float"


def test_the_verilog_decides_as_the_golden_model(model, frames):
    rtl = lh.evaluate(model, lh.spread_evenly(frames, 2), engine="rtl", config=lh.AcceleratorConfig(lanes=8), jobs=1)
    assert rtl.check().comparison.compared == 2 * 49 * 12
    assert rtl.to_dict()["differing"] == 0
    worse = dataclasses.replace(rtl, comparison=dataclasses.replace(rtl.comparison, differing=3))
    with pytest.raises(AssertionError, match="the Verilog and the golden model differ"):
        worse.check()


def test_a_co_simulation_says_what_was_decided(model, frames):
    plan, clips = lh.accelerator(model, lh.AcceleratorConfig(lanes=16)), lh.spread_evenly(frames, 2)
    result = lh.cosimulate(plan, clips, lh.CosimOptions(simulator="verilator")).check()
    decisions = decide(Golden(model).run(clips.frames)["logits"][:, -1])[0]
    assert [decision.word for decision in result.decisions] == [model.labels[index] for index in decisions]
    assert result.differing == 0
    assert result.compared > 2 * 49 * 10


def test_shipped_frames_by_split(model):
    assert lh.open_frames(model, split="validation").clips == 100
    assert lh.open_frames(model).clips == 200
    with pytest.raises(lh.InputError, match="there are none of split 'train'"):
        lh.open_frames(model, split="train")


def test_listening_is_the_golden_model(model):
    rng = np.random.default_rng(5)
    samples = rng.integers(-8000, 8000, 3 * 16_000).astype(np.int16)
    smoothing = lh.Smoothing(score_bits=8, shift=3, threshold=1, refractory=10, background=(len(model.labels) - 1,))
    heard = lh.listen(model, samples, smoothing)
    assert heard.logits.shape == (len(heard.times), model.outputs)
    assert [model.labels.index(label) for label in heard.labels] == decide(heard.logits)[0].tolist()
    events = detect(heard.logits, smoothing)
    assert [(keyword.label, keyword.score) for keyword in heard.keywords] == [
        (model.labels[label], score) for label, score in zip(events.labels, events.scores, strict=True)
    ]
    assert heard.times[0] == pytest.approx(0.04)
    assert heard.times[-1] <= 3.0
    with pytest.raises(lh.InputError, match=r"the audio has 100 samples; the first logits need 640"):
        lh.listen(model, samples[:100])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, f: lh.open_model("kws9"), "kws9: no such file, and no shipped network of that name"),
        (lambda m, f: lh.open_model("/tmp"), "/tmp: is a folder; a model file or the name of a shipped network"),
        (lambda m, f: lh.open_model(zoo.path("kws49", "float.safetensors")), "this is a float model; quantize it"),
        (lambda m, f: lh.open_float(zoo.path("kws49", "quantized.safetensors")), "is quantized already; a float model"),
        (lambda m, f: lh.describe(m, ["a", "a"]), r"labels must be 10 distinct names, one for each output, not \('a',"),
        (lambda m, f: lh.describe(m, front_end={"kind": "mfcc", "n_coefficients": 13}), "frames of 13 elements; the"),
        (lambda m, f: lh.describe(m, front_end="/nowhere.json"), "/nowhere.json: cannot be read"),
        (lambda m, f: lh.quantize(unnamed(lh.open_float("kws49"))), "no frames are shipped for model 'own'"),
        (lambda m, f: lh.open_frames(unnamed(m)), "no frames are shipped for model 'own': give frames, recordings or"),
        (lambda m, f: lh.open_frames(m, clips=0), "clips must be a positive integer, not 0"),
        (lambda m, f: lh.open_frames(m, dataclasses.replace(f, frames=f.frames[:, :, :3])), "frames have 3 elements"),
        (lambda m, f: lh.open_frames(m, dataclasses.replace(f, frames=f.frames[:0], truth=f.truth[:0])), "0 clips of"),
        (lambda m, f: lh.open_frames(m, dataclasses.replace(f, labels=tuple("abcdefghij"))), "its labels are a, b, c"),
        (lambda m, f: lh.open_frames(m, dataclasses.replace(f, front_end={"kind": "mfcc"})), "another front end"),
        (lambda m, f: lh.evaluate(m, f, engine="float"), "engine must be golden or rtl for a quantized model"),
        (lambda m, f: lh.evaluate(lh.open_float("kws49"), f.real(), f.truth, engine="rtl"), "must be float for a"),
        (lambda m, f: lh.evaluate(m, f.frames), "truth is missing"),
        (lambda m, f: lh.evaluate(m, f.frames[0]), r"frames must have shape \(clips, T, inputs\)"),
        (lambda m, f: lh.evaluate(dataclasses.replace(m, labels=()), f), "has no labels: give its 10 labels in order"),
        (lambda m, f: lh.estimate_power(lh.accelerator(m), tier="layout"), "tier must be table, rtl or gates, not"),
        (lambda m, f: lh.estimate_power(lh.accelerator(m), sounds={}), "tier table knows no frames"),
        (lambda m, f: lh.estimate_power(lh.accelerator(m), gates=HOT), "hot_liberty belongs to tier gates"),
        (lambda m, f: lh.estimate_power(lh.accelerator(m), ["a.lib"], tier="rtl"), "Liberty needs gates"),
        (
            lambda m, f: lh.estimate_power(lh.accelerator(m), load_technology("sky130A"), tier="gates"),
            "a table belongs to the tiers table and rtl",
        ),
        (lambda m, f: lh.open_library("sky130A", liberty=["a.lib"]), "leave the PDK and the corner out"),
        (lambda m, f: lh.find_sounds(unnamed(m)), "no frames are shipped for model 'own': give frames or recordings"),
        (lambda m, f: lh.characterise(lh.open_library(), levers=("fast",)), "levers must be among .*, not fast"),
        (lambda m, f: lh.characterise(lh.open_library(), levers=()), "levers must be among .*, not nothing"),
        (lambda m, f: lh.synthesize(lh.accelerator(m), "virtex"), "target must be one of .*, not 'virtex'"),
        (lambda m, f: lh.run_board(lh.accelerator(m), f, "/dev/none"), "/dev/none: cannot be opened as a serial port"),
        (lambda m, f: lh.evaluate_stream(dataclasses.replace(m, labels=tuple("abcdefghij")), "/tmp"), "a stream needs"),
        (lambda m, f: lh.listen(dataclasses.replace(m, front_end=None), []), "does not say which front end"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(model, frames: FrameSet, call, message: str):
    with pytest.raises(lh.InputError, match=message) as error:
        call(model, frames)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hours": 0.0}, "hours must be in 0.01 to 100, not 0.0"),
        ({"false_accepts": -1.0}, "false_accepts must be a number of 0 or more, not -1.0"),
        ({"seed": -1}, "seed must be an integer of 0 or more, not -1"),
    ],
)
def test_options_of_a_stream_are_checked(options: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        lh.StreamOptions(**options)


def test_a_sweep_needs_accuracies_of_its_models(tmp_path: Path):
    with pytest.raises(lh.InputError, match="accuracy of 'other': a model of the sweep and a number above 0 to 1"):
        lh.sweep(lh.Sweep(("kws49",), {"lanes": (4,)}), tmp_path, accuracies={"other": 0.5}, jobs=1)


def test_a_report_traces_every_figure(model, frames, tmp_path: Path):
    result = lh.quantize(lh.open_float("kws49"))
    plan = lh.accelerator(result.model)
    golden, energy = lh.evaluate(result.model, frames), lh.estimate_power(plan, "sky130A")
    record = lh.report(plan, quantization=result, evaluations=[golden], energy=energy)
    assert [path.name for path in record.write(tmp_path / "run")] == ["report.json", "report.md"]
    content = json.loads((tmp_path / "run" / "report.json").read_text())
    assert content == record.content
    assert content["model"]["sha256"] == digest(result.model)
    assert content["accuracy"]["golden"]["accuracy"] == golden.accuracy
    assert content["cosimulation"] is None
    page = (tmp_path / "run" / "report.md").read_text()
    assert f"| integers | {golden.score} |" in page
    assert "nJ per frame (speech, tier table, sky130A); not included: detours of wires, front end, pads" in page
    assert "memories: an SRAM model that no" in page
    assert "cannot overflow (proven)" in page
    with pytest.raises(lh.InputError, match="the quantization is of another model than the plan"):
        lh.report(lh.accelerator(lh.open_model("kws105")), quantization=result)
    with pytest.raises(lh.InputError, match="one evaluation for each engine is needed, not golden, golden"):
        lh.report(plan, evaluations=[golden, golden])


def test_an_accelerator_has_the_defaults_of_its_configuration(model):
    assert lh.accelerator(model).config == lh.AcceleratorConfig.frugal()
    with pytest.raises(ValueError, match="levers must be frugal or plain, not 'lean'"):
        lh.AcceleratorConfig.from_dict({"levers": "lean"})
    assert lh.accelerator(model).lanes == 16
    assert lh.operating_point(lh.accelerator(model)).frame_rate == 50
