"""Recordings that cannot be used: named and counted, left out, and refused where a label has no others."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from lmu_quantize.dataset import DatasetError
from lmu_quantize.train import EpochResult, TrainConfig, train
from lmu_quantize.train.network import LayerSpec

LABELS = ("yes", "no", "unknown", "silence")


def config(data: Path, out: Path) -> TrainConfig:
    return TrainConfig(
        data=str(data), out=str(out), labels=LABELS, layers=(LayerSpec(units=8, memories=2, order=4, thetas=(20,)),),
        copies=1, batch=16, epochs=1, quantized_epochs=0, threads=1,
    )  # fmt: skip


def clips(words: Path, word: str) -> tuple[list[Path], list[Path]]:
    """Clips of training and of validation."""
    held_out = (words / "validation_list.txt").read_text().split()
    every = sorted((words / word).iterdir())
    return (
        [clip for clip in every if f"{word}/{clip.name}" not in held_out],
        [clip for clip in every if f"{word}/{clip.name}" in held_out],
    )


def test_unusable_clips_are_named_counted_and_left_out(tones: Path, tmp_path: Path):
    words = Path(shutil.copytree(tones / "speech_commands", tmp_path / "speech_commands"))
    broken, kept = clips(words, "yes")[0][:2], clips(words, "bird")[1][0]
    broken[0].write_bytes(b"")
    broken[1].write_bytes(broken[1].read_bytes()[:999])
    kept.write_bytes(b"RIFF")
    skipped: dict[str, tuple[str, ...]] = {}
    train(config(tmp_path, tmp_path / "run"), on_skipped=skipped.__setitem__)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["training_clips"]["yes"] == 10
    left_out = result["skipped_clips"]
    assert [problem.split(": ")[0] for problem in left_out["train"]] == [str(clip) for clip in broken]
    assert left_out["train"][0].endswith("this one is empty")
    assert [problem.split(": ")[0] for problem in left_out["validation"]] == [str(kept)]
    assert {split: list(problems) for split, problems in skipped.items()} == left_out


def test_progress_counts_chunks_and_epochs(tones: Path, tmp_path: Path):
    stages: list[tuple[str, int, int]] = []
    epochs: list[EpochResult] = []
    run = dataclasses.replace(config(tones, tmp_path / "run"), copies=2, quantized_epochs=1)
    result = train(run, progress=lambda *stage: stages.append(stage), on_epoch=epochs.append)
    computed = [("computing frames", 1, 2), ("computing frames", 2, 2)]
    assert stages == [("reading clips", 0, 0), *computed, *(("training", done, 2) for done in range(3))]
    assert result.history == tuple(epochs)
    assert [(row.phase, row.epoch) for row in epochs] == [("float", 0), ("quantized", 1)]
    lines = (tmp_path / "run" / "train.csv").read_text().splitlines()
    assert lines[0] == ",".join(field.name for field in dataclasses.fields(EpochResult))
    assert lines[1].startswith(f"float,0,{epochs[0].loss:.6g},{epochs[0].train_accuracy:.6g},")
    stages.clear()
    train(run, progress=lambda *stage: stages.append(stage))
    assert stages == [("reading clips", 0, 0), ("training", 2, 2)]


@pytest.mark.parametrize(("split", "place"), [("train", 0), ("validation", 1)])
def test_a_label_without_a_usable_clip_is_refused(split: str, place: int, tones: Path, tmp_path: Path):
    words = Path(shutil.copytree(tones / "speech_commands", tmp_path / "speech_commands"))
    broken = clips(words, "no")[place]
    for clip in broken:
        clip.write_bytes(b"")
    first = rf"of {len(broken)} such files the first is {broken[0]}: .* is empty$"
    with pytest.raises(DatasetError, match=rf"^no {split} clip of label 'no' can be used; {first}"):
        train(config(tmp_path, tmp_path / "run"))
    assert not (tmp_path / "run" / "result.json").exists()
