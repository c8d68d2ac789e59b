"""Put a finished training run into the zoo: its files, its accuracy on the official test clips, its card."""

import csv
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.files import write_whole
from lmu_hw.model import program_file
from lmu_hw.model.program import QuantizedModel
from lmu_hw.progress import Progress, silent
from lmu_kit.errors import InputError
from lmu_kit.evaluation import Evaluation, evaluate
from lmu_kit.frames import open_frames
from lmu_kit.models import read_object
from lmu_kit.training import need_torch
from lmu_quantize.dataset import SpeechCommands
from lmu_quantize.float_file import load_float
from lmu_quantize.frames_file import save_frames
from lmu_quantize.score_table import to_csv
from lmu_quantize.zoo.card import CardFacts, card_text
from lmu_quantize.zoo.cost import block_rows, cost
from lmu_quantize.zoo.peers import Peer, read_peer
from lmu_quantize.zoo.seeds import SeedResult, save_seeds

__all__ = ["Addition", "ZooAddition", "add_peer", "add_to_zoo", "is_peer"]

COPIED = ("float-parent.safetensors", "float.safetensors", "quantized.safetensors", "formats.json", "train.csv")
RESULT = "result.json"
CALIBRATION_CLIPS, TEST_CLIPS = 100, 200


@dataclass(frozen=True)
class Addition:
    """A run and where it goes.

    Parameters
    ----------
    run : Path
        Folder of a finished run with exact fine-tuning.
    data : Path
        Speech Commands folder, with its official test set.
    into : Path
        Folder of the zoo.
    seeds : tuple of Path
        Finished runs of the same recipe with other seeds.
    remarks : Path or None
        Markdown text for the end of the card.
    replace : bool
        Whether a network of that name may give way.
    """

    run: Path
    data: Path
    into: Path
    seeds: tuple[Path, ...] = ()
    remarks: Path | None = None
    replace: bool = False


@dataclass(frozen=True)
class ZooAddition:
    """A network that was added.

    Parameters
    ----------
    name : str
        Of the network.
    folder : Path
        Its folder of the zoo.
    evaluations : dict of str to Evaluation
        ``float`` and ``golden``, on the official test clips.
    """

    name: str
    folder: Path
    evaluations: dict[str, Evaluation]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        scores = {engine: evaluation.score.to_dict() for engine, evaluation in self.evaluations.items()}
        return {"name": self.name, "folder": str(self.folder), **scores}


def add_to_zoo(addition: Addition, *, progress: Progress = silent) -> ZooAddition:
    """Measure a run and write its folder of the zoo, whole or not at all.

    Parameters
    ----------
    addition : Addition
        What to add.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.

    Returns
    -------
    ZooAddition
        Where the network is, and how accurate.

    Raises
    ------
    InputError
        The run is not finished or not repeatable from a shipped recipe, or a network of its name is there.
    """
    result = _result(addition.run, COPIED)
    name = result["recipe"]["name"]
    folder = addition.into / name
    if folder.exists() and not addition.replace:
        raise InputError(f"{folder}: exists already; replace it to put this run in its place")
    _check_zoo(addition.into)
    _check_recipe(addition.run, result["recipe"])
    seeds = [_seed_result(result)] if addition.seeds else []
    for run in addition.seeds:
        seeds.append(_seed_result(_same_recipe(run, result["recipe"])))
    if len({entry.seed for entry in seeds}) < len(seeds):
        raise InputError(f"the runs must have different seeds, not {', '.join(str(entry.seed) for entry in seeds)}")
    with tempfile.TemporaryDirectory(dir=addition.into, prefix=".") as scratch:
        new = Path(scratch) / name
        new.mkdir()
        evaluations = _fill(new, addition, result, tuple(sorted(seeds, key=lambda entry: entry.seed)), progress)
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new.rename(folder)
    return ZooAddition(name, folder, evaluations)


def is_peer(run: Path) -> bool:
    """Whether a folder is that of a run of another kind of network."""
    if not (run / RESULT).is_file():
        return False
    recipe = read_object(run / RESULT, "the result of a training run").get("recipe")
    return isinstance(recipe, dict) and recipe.get("network") is not None


def add_peer(run: Path, into: Path, replace: bool) -> tuple[Peer, Path]:
    """Keep result and log of a run, in the zoo's folder ``peers``; of one of our networks with its size and cost.

    Parameters
    ----------
    run : Path
        Folder of a finished run.
    into : Path
        Folder of the zoo.
    replace : bool
        Whether a result of that name may give way.

    Returns
    -------
    peer : Peer
        The result.
    file : Path
        Where it is kept.
    """
    result = read_object(run / RESULT, "the result of a training run") if is_peer(run) else _counted(run)
    try:
        peer = read_peer(result)
    except ValueError as error:
        raise InputError(f"{run / RESULT}: {error}") from None
    if not (run / "train.csv").is_file():
        raise InputError(f"{run}: lacks train.csv")
    _check_recipe(run, result["recipe"])
    _check_zoo(into)
    kept = into / "peers" / f"{peer.name}.json"
    if kept.exists() and not replace:
        raise InputError(f"{kept}: exists already; replace it to put this run in its place")
    kept.parent.mkdir(exist_ok=True)
    write_whole(kept.with_suffix(".csv"), (run / "train.csv").read_bytes())
    write_whole(kept, (json.dumps(result, indent=2) + "\n").encode())
    return peer, kept


def _counted(run: Path) -> dict[str, Any]:
    """Give the result of a run of one of our networks, with what `PeerNetwork.size` counts of the others."""
    result = _result(run, ("quantized.safetensors",))
    model = program_file.load(run / "quantized.safetensors")
    taken = cost(model, block_rows(model))
    return result | {
        "weight_bits": model.weight_bits,
        "multiplications": taken.products,
        "equivalent_products": taken.equivalent_products,
        "fetched_bits": taken.weight_bits,
    }


def _result(run: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    """``result.json`` of a finished run that holds the needed files."""
    missing = [file for file in (RESULT, *needed) if not (run / file).is_file()]
    if missing:
        raise InputError(
            f"{run}: lacks {', '.join(missing)}; a finished run of `lmu-hw train` with exact fine-tuning is needed"
        )
    result = read_object(run / RESULT, "the result of a training run")
    for key in ("recipe", "scores", "training_clips"):
        if not isinstance(result.get(key), dict):
            raise InputError(f"{run / RESULT}: holds no {key}")
    for key in ("float.test", "quantized.test", "quantized.validation"):
        if key not in result["scores"]:
            raise InputError(f"{run / RESULT}: holds no score {key}; train with the official test clips")
    return result


def _check_zoo(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, that of a zoo is needed")


def _check_recipe(run: Path, recipe: dict[str, Any]) -> None:
    """Refuse a run that no shipped recipe repeats."""
    need_torch("recipes need")
    from lmu_quantize.train import TrainConfig

    try:
        made, shipped = TrainConfig.from_dict(recipe), TrainConfig.from_recipe(recipe["name"], "", "")
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise InputError(f"{run}: no shipped recipe repeats this run ({error})") from None
    _refuse_other(run, made.to_dict(), shipped.to_dict(), "threads", "shipped recipe")


def _same_recipe(run: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Result of a run that differs from a recipe in its seed only."""
    result = _result(run, ())
    _refuse_other(run, result["recipe"], recipe, "seed", "recipe")
    return result


def _refuse_other(run: Path, made: dict[str, Any], recipe: dict[str, Any], free: str, what: str) -> None:
    """Refuse a run by another recipe than the one given, in anything but one free key."""
    differing = sorted(key for key in {*made, *recipe} - {free} if made.get(key) != recipe.get(key))
    if differing:
        raise InputError(f"{run}: differs from the {what} {recipe['name']} in {', '.join(differing)}")


def _seed_result(result: dict[str, Any]) -> SeedResult:
    accuracies = [result["scores"][key]["accuracy"] for key in ("float.test", "quantized.test", "quantized.validation")]
    return SeedResult(result["recipe"]["seed"], *accuracies)


def _fill(
    new: Path, addition: Addition, result: dict[str, Any], seeds: tuple[SeedResult, ...], progress: Progress
) -> dict[str, Evaluation]:
    """Write all files of a network."""
    from lmu_kit.figures.score import CONFUSION, LABELS_CSV, draw_confusion  # matplotlib is slow to import

    for file in COPIED:
        shutil.copyfile(addition.run / file, new / file)
    model = program_file.load(new / "quantized.safetensors")
    evaluations = _measure(new, model, addition.data, progress)
    golden = evaluations["golden"].score
    for file, split, clips in (
        ("calibration.safetensors", "validation", CALIBRATION_CLIPS), ("test.safetensors", "test", TEST_CLIPS),
    ):  # fmt: skip
        save_frames(open_frames(model, addition.data, split=split, clips=clips, progress=progress), new / file)
    (new / LABELS_CSV).write_text(to_csv(golden))
    draw_confusion(golden, f"{model.name}: {golden}", new / CONFUSION)
    if seeds:
        save_seeds(seeds, new / "seeds.json")
    with (new / "train.csv").open(newline="") as log:
        history = list(csv.DictReader(log))
    facts = CardFacts(
        name=new.name,
        floats=load_float(new / "float.safetensors"),
        model=model,
        parent=evaluations["float"].score,
        golden=golden,
        result=result,
        history=history,
        seeds=seeds,
        remarks="" if addition.remarks is None else addition.remarks.read_text(encoding="utf-8"),
    )
    (new / "card.md").write_text(card_text(facts))
    return evaluations


def _measure(new: Path, model: QuantizedModel, data: Path, progress: Progress) -> dict[str, Evaluation]:
    """Measure float parent and integers on the official test clips, and write what evaluate writes with --json."""
    if SpeechCommands(data, model.labels).test_folder is None:
        raise InputError(f"{data}: the official test clips (speech_commands_test_set) are missing")
    parent = load_float(new / "float-parent.safetensors")
    evaluations = {}
    for engine, network in (("float", parent), ("golden", model)):
        start = time.perf_counter()
        frames = open_frames(network, data, progress=progress)
        evaluations[engine] = evaluate(network, frames, progress=progress)
        measured = evaluations[engine].to_dict() | {"seconds": time.perf_counter() - start}
        (new / f"{engine}.json").write_text(json.dumps(measured, indent=2) + "\n")
    return evaluations
