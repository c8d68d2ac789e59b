"""Weight images: another network of the same shape fits, any other is refused; damaged files are refused."""

import json
import zlib
from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.export.emit import emit
from lmu_hw.model import program_file
from lmu_hw.model.fixed import Format
from lmu_hw.model.program import QuantizedLMU
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.shape import CAPACITIES, ShapeError, fitted, identification, shape, shape_digest
from lmu_hw.plan.weight_file import Image, WeightFileError, make_image, read_image
from lmu_kit.cli.main import main
from lmu_sim.testing.random_models import prune_blocks, random_model
from tests.sim.interface_cases import retrained

CONFIG = AcceleratorConfig(lanes=3, weights="ram")


def model_of(seed=1, **options):
    return random_model(np.random.default_rng(seed), layers=("lmu", "dense"), units=4, bias=True, **options)


@pytest.fixture(scope="module")
def model():
    return model_of()


@pytest.fixture(scope="module")
def plan(model):
    return make_plan(model, CONFIG)


def test_a_retrained_network_fits(model, plan):
    other = make_plan(retrained(model), CONFIG)
    laid_out = fitted(other, shape(plan))
    first, second = make_image(plan), make_image(laid_out, shape(plan))
    assert first.shape == second.shape
    assert [word[:2] for word in first.words] == [word[:2] for word in second.words]
    assert first.words != second.words
    assert first.model_sha256 != second.model_sha256
    assert laid_out.parameters.width == plan.parameters.width


def test_the_shape_says_nothing_about_weights(model, plan):
    layer = model.layers[0]
    swapped = replace(layer, w_m=replace(layer.w_m, values=layer.w_m.values[::-1].copy()))
    assert not np.array_equal(swapped.w_m.values, layer.w_m.values)
    other = make_plan(replace(model, layers=(swapped, *model.layers[1:])), CONFIG)
    own, others = shape(plan), shape(other)
    assert {k: v for k, v in own.items() if "bits" not in k} == {k: v for k, v in others.items() if "bits" not in k}
    assert shape_digest(own) == shape_digest(json.loads(json.dumps(own)))
    assert identification(shape_digest(own)) == int(shape_digest(own)[:8], 16)


def dense_with(model, **changes):
    return replace(model, layers=(*model.layers[:-1], replace(model.layers[-1], **changes)))


def refusals(model):
    lmu, dense = model.layers
    h = dense.h
    wide = replace(h, format=Format(h.format.width + 1, h.format.frac, h.format.signed))
    big = np.full_like(dense.b, (1 << 20) - 1)
    return {
        "output": (dense_with(model, h=wide), r"layer1\.h: narrow width=\d+ .*, the accelerator has width=\d+ "),
        "stride": (replace(model, layers=(replace(lmu, stride=lmu.stride + 1), dense)), r"stride \d+, the accelerator"),
        "bias": (dense_with(model, b=big), r"sum_bits \d+ are needed, the accelerator has \d+$"),
        "weights": (dense_with(model, w=replace(dense.w, width=dense.w.width + 1)), r"layer1\.h: weight_bits \d+, the"),
        "shifts": (
            dense_with(model, w=replace(dense.w, frac=dense.w.frac + 3), b=dense.b << 3),
            r"layer1\.h: sums are shifted by [\d, ]+, the accelerator can shift by [\d, ]+$",
        ),
    }


@pytest.mark.parametrize("name", ["output", "stride", "bias", "weights", "shifts"])
def test_a_network_of_another_shape_is_refused(name, model, plan):
    other, message = refusals(model)[name]
    with pytest.raises(ShapeError, match=message):
        fitted(make_plan(other, CONFIG), shape(plan))


def test_other_networks_and_lanes_are_refused(model, plan):
    dense = make_plan(random_model(np.random.default_rng(1), layers=("dense",)), CONFIG)
    with pytest.raises(ShapeError, match=r"it computes layer0\.h, the accelerator layer0\.u, "):
        fitted(dense, {**shape(plan), "input": shape(dense)["input"]})
    wider = make_plan(model_of(inputs=model.inputs + 1), CONFIG)
    with pytest.raises(ShapeError, match=r"input size=\d+ .*, the accelerator has size=\d+ "):
        fitted(wider, shape(plan))
    with pytest.raises(ShapeError, match="lanes 2, the accelerator has 3"):
        fitted(make_plan(model, replace(CONFIG, lanes=2)), shape(plan))


def test_saturation_that_the_accelerator_lacks_is_refused(plan):
    described = shape(plan)
    saturating = {**described, "operations": [{**one, "saturates": True} for one in described["operations"]]}
    fitted(plan, saturating)
    certain = [one for one in described["operations"] if one["saturates"]]
    assert certain
    without = {**described, "operations": [{**one, "saturates": False} for one in described["operations"]]}
    with pytest.raises(ShapeError, match="the accelerator has no saturator there"):
        fitted(plan, without)


def test_more_weight_words_than_the_accelerator_has_are_refused():
    rng = np.random.default_rng(5)
    model = random_model(rng, layers=("lmu", "dense"), units=12, inputs=9, stride=1)
    config = AcceleratorConfig(lanes=3, weights="ram", skip_zero_blocks=True)
    half, most = (make_plan(prune_blocks(rng, model, 3, fraction), config) for fraction in (0.5, 0.9))
    room = {**shape(most), **{name: shape(half)[name] for name in CAPACITIES if name in shape(half)}}
    with pytest.raises(ShapeError, match=r"layer0\.u: \d+ weight words are needed, the accelerator has \d+$"):
        fitted(half, room)
    with pytest.raises(ShapeError, match=r"layer0\.u: index_bits 0, the accelerator has \d$"):
        fitted(make_plan(model, config), room)


def test_writes_say_each_word_once_and_the_checksum_covers_them(plan):
    image = make_image(plan)
    writes = list(image.writes())
    assert writes[0] == ("LOAD_SHAPE", int(image.shape[:8], 16))
    words, memory, address, pieces = [], None, None, []
    for name, value in writes[1:]:
        assert 0 <= value < 1 << 32
        if name == "LOAD_MEMORY":
            memory = value
        elif name == "LOAD_ADDRESS":
            address = value
        else:
            pieces.append(value)
            if len(pieces) == image.beats:
                words.append((memory, address, sum(piece << 32 * beat for beat, piece in enumerate(pieces))))
                address, pieces = address + 1, []
    assert tuple(words) == image.words
    assert image.crc32 == zlib.crc32(b"".join(value.to_bytes(4, "little") for _, value in writes[1:]))


def test_a_file_is_read_back(plan, tmp_path):
    image = make_image(plan)
    path = tmp_path / "a.weights"
    path.write_text(image.text())
    assert read_image(path) == image
    read_image(path).check(shape(plan))
    with pytest.raises(ShapeError, match=r"the image of random is for accelerators of shape \w{8}, this one has "):
        image.check(shape(make_plan(model_of(seed=3), CONFIG)))


def altered(text):
    lines = text.splitlines()
    header = json.loads(lines[0])
    yield "nothing", "", "not a weight image"
    yield "other text", "0 0 1\n", "not a weight image"
    yield "another schema", text.replace("weight-image", "accelerator"), "not a weight image"
    yield "another version", text.replace('"version":2', '"version":3'), r"version must be 2 \(or 1\), not 3"
    yield "a key less", json.dumps({**header, "beats": None, "crc": 0}) + "\n", "its header must have the keys beats, "
    yield "cut short", "\n".join(lines[:-1]) + "\n", r"cut short or altered: \d+ words expected, \d+ found"
    yield "no word", text.replace(lines[2], "what is this"), "line 3 must be memory, address and data in hexadecimal"
    yield "another word", text.replace(lines[2], lines[2][:-1] + ("0" if lines[2][-1] != "0" else "1")), "checksum"
    yield "another shape", text.replace(header["shape"], "x" * 64), "it was altered"
    yield "no beats", text.replace(f'"beats":{header["beats"]}', '"beats":"3"'), "it was altered"
    yield "no newline", text[:-1], "it was altered"
    yield "another name", text.replace('"name":"random"', '"name":"randon"'), "it was altered"
    yield "another network", text.replace(header["model"]["sha256"], "0" * 64), "it was altered"
    yield "an older version", text.replace('"version":2', '"version":1'), "its header must have the keys beats, "


def test_damaged_files_are_refused(plan, tmp_path):
    path = tmp_path / "a.weights"
    for name, text, message in altered(make_image(plan).text()):
        path.write_text(text)
        with pytest.raises(WeightFileError, match=message) as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: "), name
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(WeightFileError, match="not a weight image"):
        read_image(path)


def test_no_flipped_bit_of_an_image_is_taken(plan, tmp_path):
    path = tmp_path / "a.weights"
    content = make_image(plan).text().encode()
    rng = np.random.default_rng(17)
    head = content.index(b"\n")
    for position in [*range(head), *rng.integers(head, len(content), 60).tolist()]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(WeightFileError, match=r"a\.weights: "):
            read_image(path)


def test_the_commands_write_and_check(model, plan, tmp_path, capsys):
    emit(plan, tmp_path, "kws")
    manifest = tmp_path / "kws.json"
    program_file.save(retrained(model), tmp_path / "retrained.safetensors")
    program_file.save(model_of(seed=3), tmp_path / "other.safetensors")
    out = tmp_path / "new" / "retrained.weights"
    arguments = ["weights", str(tmp_path / "retrained.safetensors"), "--for", str(manifest), "--out", str(out)]
    assert main([*arguments, "--json", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["crc32"] == f"{read_image(out).crc32:08x}"
    for path in (out, tmp_path / "kws.weights"):
        assert main(["weights", "--for", str(manifest), "--check", str(path)]) == 0
    capsys.readouterr()
    out.unlink()
    arguments[1] = str(tmp_path / "other.safetensors")
    assert main(arguments) == 1
    assert "random: the network does not fit this accelerator: " in capsys.readouterr().err
    assert not out.exists()
    emit(make_plan(model_of(seed=3), CONFIG), tmp_path, "other")
    assert main(["weights", "--for", str(manifest), "--check", str(tmp_path / "other.weights")]) == 1
    assert "is for accelerators of shape" in capsys.readouterr().err
    emit(make_plan(model, AcceleratorConfig(lanes=3)), tmp_path, "rom")
    for wrong, message in (
        (["--for", str(tmp_path / "rom.json"), "--check", str(out)], "has its weights as constants"),
        (["--for", str(tmp_path / "r.json"), "--check", str(out)], "not the manifest of an accelerator"),
        (["--for", str(manifest)], "give a model and --out to write an image, or --check to check one"),
        (["kws361", "--for", str(manifest)], "give a model and --out"),
        (["--for", str(manifest), "--check", str(tmp_path / "none")], "none"),
    ):
        assert main(["weights", *wrong]) == 1
        assert message in capsys.readouterr().err
    text = json.loads(manifest.read_text())
    text["shape"]["lanes"] = 4
    manifest.write_text(json.dumps(text))
    assert main(["weights", "--for", str(manifest), "--check", str(tmp_path / "kws.weights")]) == 1
    assert "kws.json: its sha256 does not match, the manifest was altered" in capsys.readouterr().err
    text["version"] = 1  # of versions that wrote no sha256
    manifest.write_text(json.dumps(text))
    assert main(["weights", "--for", str(manifest), "--check", str(tmp_path / "kws.weights")]) == 1
    assert "its shape is missing or was altered" in capsys.readouterr().err


def test_an_image_is_what_it_says(plan):
    image = make_image(plan)
    assert isinstance(image, Image)
    assert isinstance(plan.model.layers[0], QuantizedLMU)
    assert image.model == "random"
    assert len(image.words) == sum(memory.depth for memory in (*plan.weight_memories, plan.parameters))
