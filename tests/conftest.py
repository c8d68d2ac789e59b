"""What all tests share: process design kits, recordings, and models of the size that ships.

A kit or the recordings may be missing on a user's machine: tests that need them are skipped there, with the line that
gets them. Where the environment variable ``CI`` is set they fail. Tools are never skipped: `make test` installs them.
"""

import csv
import gzip
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import soundfile

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import Library
from lmu_hw.cells.pdk import OSU, Pdk, find_pdk
from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.program import QuantizedDense, QuantizedLMU, QuantizedModel, Weights
from lmu_sim.testing.random_models import legendre_memory

ROOT = Path(__file__).parents[1]

FETCHED_BY_CIEL = ("sky130A", "ihp-sg13g2")

CLIP = 16_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that hold slow tests, so that no process is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def missing(reason: str) -> NoReturn:
    """Skip the test; in CI, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; CI needs it", pytrace=False)
    pytest.skip(reason)


def data_folder(variable: str, name: str) -> Path:
    """Folder that a variable of the environment names, else that which `make` fills, else that beside the clone."""
    if os.environ.get(variable):
        return Path(os.environ[variable])
    own = ROOT / "data" / name
    return own if own.is_dir() else ROOT.parent / "shared" / name


@pytest.fixture(scope="session")
def pdk() -> Callable[[str], Pdk]:
    """Function that finds a process design kit by name; the test is skipped if it is missing."""
    root = data_folder("PDK_ROOT", "pdk")

    def find(name: str) -> Pdk:
        if name != OSU and not (root / name).is_dir():
            how = "make pdk" if name in FETCHED_BY_CIEL else "docs/synthesis.md says where it is published"
            missing(f"no {name} in {root} (PDK_ROOT): {how}")
        return find_pdk(name, root)

    return find


@pytest.fixture
def pdk_in_environment(pdk: Callable[[str], Pdk], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Function that makes a kit known to commands, by PDK_ROOT."""

    def provide(name: str) -> None:
        pdk(name)
        monkeypatch.setenv("PDK_ROOT", str(data_folder("PDK_ROOT", "pdk")))

    return provide


@pytest.fixture(scope="session")
def handed_cases() -> Path:
    """Inputs that went wrong for users of other tools; the test is skipped without them, in CI too."""
    folder = ROOT.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture(scope="session")
def read_or_refuse() -> Callable[..., None]:
    """Function that reads a file that may be damaged: what it raises must be of one type, one line, with the file."""

    def attempt(read: Callable[[Path], object], path: Path, refusal: type[Exception]) -> None:
        try:
            read(path)
        except refusal as error:
            text = str(error)
        else:
            return
        assert str(path) in text
        assert "\n" not in text

    return attempt


@pytest.fixture(scope="session")
def coloquinte() -> None:
    """For tests that place cells: skips where the placer has no wheel (Python 3.13), fails in CI on older Pythons."""
    if importlib.util.find_spec("coloquinte") is None:
        reason = "coloquinte is not installed: pip install 'lmu-hw[place]' (no wheel for Python 3.13)"
        if sys.version_info >= (3, 13):
            pytest.skip(reason)
        missing(reason)


@pytest.fixture(scope="session")
def standard_cells(pdk: Callable[[str], Pdk]) -> Library:
    """For tests that any cells will do for: IHP's, or Debian's where those are missing (not in CI)."""
    there = os.environ.get("CI") or (data_folder("PDK_ROOT", "pdk") / "ihp-sg13g2").is_dir()
    return read_liberty(pdk("ihp-sg13g2" if there else OSU).cells)


@dataclass(frozen=True)
class Recording:
    """A clip of Speech Commands.

    Parameters
    ----------
    split : str
        "train", "validation" or "test" (the official test set).
    label : str
        Folder in the published layout: the word, or ``_unknown_`` or ``_silence_`` in the test set.
    word : str
        What is said.
    file : str
        Name by speaker and number; in ``_unknown_`` the published name has the word before it.
    source : Path
        Audio file.
    start, samples : int
        Part of the audio file.
    """

    split: str
    label: str
    word: str
    file: str
    source: Path
    start: int = 0
    samples: int = CLIP

    @property
    def published(self) -> str:
        """Name of the published file."""
        return f"{self.word}_{self.file}" if self.label == "_unknown_" else self.file

    def read(self) -> np.ndarray:
        """Samples, int16, shape (up to 16,000,)."""
        return next(read_clips([self]))


def read_clips(clips: Iterable[Recording]) -> Iterator[np.ndarray]:
    """Samples of clips, int16; those of one audio file are read in one go."""
    for source, group in itertools.groupby(clips, key=lambda clip: clip.source):
        with soundfile.SoundFile(source) as file:
            assert (file.samplerate, file.channels) == (16_000, 1)
            for clip in group:
                if file.tell() != clip.start:
                    file.seek(clip.start)
                yield file.read(CLIP, dtype="int16")[: clip.samples]


@dataclass(frozen=True)
class Speech:
    """Recordings of Speech Commands, as published or packed (one audio file for each word and split).

    Parameters
    ----------
    clips : tuple of Recording
        In the order of their files.
    noise : dict of str to Path
        Background noise by name.
    """

    clips: tuple[Recording, ...]
    noise: dict[str, Path]

    def take(self, split: str, label: str, most: int | None = None) -> list[Recording]:
        """First clips of a label."""
        return [clip for clip in self.clips if (clip.split, clip.label) == (split, label)][:most]

    def labels(self, split: str) -> list[str]:
        """All labels of a split."""
        return sorted({clip.label for clip in self.clips if clip.split == split})

    def write(self, root: Path, clips: Iterable[Recording], noise: Iterable[str] = ()) -> dict[Path, np.ndarray]:
        """Write some of the recordings in the published layout under a folder; samples by file."""
        clips, written = list(clips), {}
        words, test_set = root / "speech_commands", root / "speech_commands_test_set"
        for clip, samples in zip(clips, read_clips(clips), strict=True):
            written[(test_set if clip.split == "test" else words) / clip.label / clip.published] = samples
        for name in noise:
            written[words / "_background_noise_" / f"{name}.wav"] = soundfile.read(self.noise[name], dtype="int16")[0]
        for path, samples in written.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, 16_000)
        held_out = [f"{clip.label}/{clip.file}" for clip in clips if clip.split == "validation"]
        (words / "validation_list.txt").write_text("\n".join(held_out))
        (words / "testing_list.txt").write_text("")
        return written


def packed_speech(folder: Path) -> Speech:
    splits = {"train": "train", "val": "validation", "test_official": "test"}
    folders = {"unknown": "_unknown_", "silence": "_silence_"}
    clips = []
    with gzip.open(folder / "index.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            split = splits[row["shard"].partition("/")[0]]
            label = folders.get(Path(row["shard"]).stem, Path(row["shard"]).stem) if split == "test" else row["word"]
            start, samples = CLIP * int(row["pos"]), int(row["samples"])
            clips.append(Recording(split, label, row["word"], row["file"], folder / row["shard"], start, samples))
    return Speech(tuple(clips), {path.stem: path for path in sorted((folder / "background_noise").glob("*.ogg"))})


def published_speech(words: Path, test_set: Path) -> Speech:
    held_out = {split: set((words / f"{split}_list.txt").read_text().split()) for split in ("validation", "testing")}
    clips = []
    for path in sorted(words.glob("[!_]*/*.wav")):
        name = f"{path.parent.name}/{path.name}"
        if name not in held_out["testing"]:
            split = "validation" if name in held_out["validation"] else "train"
            clips.append(Recording(split, path.parent.name, path.parent.name, path.name, path))
    for path in sorted(test_set.glob("*/*.wav")):
        label = path.parent.name
        word, _, file = path.name.partition("_") if label == "_unknown_" else (label, "", path.name)
        clips.append(Recording("test", label, word, file, path))
    return Speech(tuple(clips), {path.stem: path for path in sorted((words / "_background_noise_").glob("*.wav"))})


@pytest.fixture(scope="session")
def speech() -> Speech:
    """The recordings; the test is skipped if they are missing."""
    folder = data_folder("LMU_HW_SPEECH", "speech")
    if (folder / "index.csv.gz").is_file():
        return packed_speech(folder)
    for version in ("_v0.02", ""):
        words, test_set = folder / f"speech_commands{version}", folder / f"speech_commands_test_set{version}"
        if words.is_dir() and test_set.is_dir():
            return published_speech(words, test_set)
    missing(f"no recordings in {folder} (LMU_HW_SPEECH): make speech")


def make_spotter(units=112, memories=16, order=8, inputs=40, labels=10):
    """Keyword spotter of the size that is shipped: three LMU layers and a dense one, random 4-bit weights."""
    rng = np.random.default_rng(2024)
    state_format, output_format = Format(12, 10), Format(8, 7, signed=False)
    a, b = legendre_memory(order, 16.0)
    a_format, b_format = Format(10, 8), Format(8, 8)

    def weights(rows, columns, frac):
        return Weights(rng.integers(-7, 8, (rows, columns)), 4, np.full(rows, frac))

    layers = []
    source = inputs
    for _ in range(3):
        layers.append(
            QuantizedLMU(
                matrix=(0,) * memories,
                a=(a_format.quantize(a),),
                b=(b_format.quantize(b),),
                a_format=a_format,
                b_format=b_format,
                u=Quantizer(Format(8, 7)),
                m=Quantizer(state_format),
                h=Quantizer(output_format),
                e_x=weights(memories, source, 6),
                w_x=weights(units, source, 6),
                w_m=weights(units, memories * order, 6),
                b_h=rng.integers(-500, 500, units),
            )
        )
        source = units
    layers.append(QuantizedDense(weights(labels, units, 6), Quantizer(Format(12, 7))))
    return QuantizedModel(tuple(layers), Format(8, 4), tuple(f"label{i}" for i in range(labels)), name="spotter")


@pytest.fixture(scope="session")
def spotter():
    return make_spotter()


@pytest.fixture(scope="session")
def published_size_spotter():
    """As many weights as the published 361-kbit network has, and a few more."""
    return make_spotter(units=128)
