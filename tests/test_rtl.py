"""The committed reference accelerators are what the generator emits from the shipped models, byte for byte."""

import hashlib
import json
from pathlib import Path

import pytest

from lmu_hw.export.emit import emit
from lmu_hw.export.fusesoc import core_file
from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_quantize import zoo

RTL = Path(__file__).parent.parent / "rtl"
MANIFESTS = sorted(RTL.glob("*.json"))


def test_there_are_reference_accelerators():
    assert len(MANIFESTS) >= 2
    known = {RTL / "README.md", *(path.with_suffix(end) for path in MANIFESTS for end in (".json", ".core", ".xml"))}
    for path in MANIFESTS:
        known |= {RTL / name for name in json.loads(path.read_text())["files"]}
    assert set(RTL.iterdir()) == known


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_files_have_the_hashes_of_the_manifest(manifest: Path):
    for name, digest in json.loads(manifest.read_text())["files"].items():
        assert hashlib.sha256((RTL / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_the_generator_emits_the_same_bytes(manifest: Path, tmp_path: Path):
    described = json.loads(manifest.read_text())
    model = program_file.load(zoo.path(described["model"]["name"], "quantized.safetensors"))
    plan = make_plan(model, AcceleratorConfig.from_dict(described["config"]))
    for path in emit(plan, tmp_path, described["top"]):
        assert path.read_bytes() == (RTL / path.name).read_bytes(), path.name


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_the_core_file_is_made_from_the_manifest(manifest: Path):
    described = json.loads(manifest.read_text())
    text = manifest.with_suffix(".core").read_text()
    assert text == core_file(described)
    assert text.startswith("CAPI=2:\n")
    assert all(f"\n      - {name}\n" in text for name in described["files"])
    wrapped = {**described, "config": {**described["config"], "interface": "spi"}}
    assert f"toplevel: {described['top']}_spi\n" in core_file(wrapped)
