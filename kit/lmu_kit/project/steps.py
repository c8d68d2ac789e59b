"""The steps of a run: what each is made of, and what it does."""

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmu_hw.files import write_whole
from lmu_hw.model import program_file
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.plan import Plan
from lmu_hw.progress import Progress, silent
from lmu_kit.accelerators import accelerator, write_verilog
from lmu_kit.cosimulation import cosimulate
from lmu_kit.errors import InputError
from lmu_kit.estimate import (
    HEADLINE_CLIPS,
    HEADLINE_INTERVAL,
    GateOptions,
    TechnologySource,
    estimate_power,
    open_library,
    operating_point,
)
from lmu_kit.evaluation import evaluate
from lmu_kit.frames import RealFrames, open_frames
from lmu_kit.models import open_float, open_model, read_object
from lmu_kit.power import FrameSimulation
from lmu_kit.project.manifest import Manifest, hash_of, hash_recordings
from lmu_kit.project.project import Project
from lmu_kit.project.text import plain, project_content
from lmu_kit.quantizing import quantize, read_formats, save_model
from lmu_kit.reporting import accuracy_record, quantization_record, report_of
from lmu_kit.sounds import Sounds, find_sounds
from lmu_kit.training import train
from lmu_quantize.calibrate import QuantizationResult
from lmu_quantize.frames_file import FrameSet
from lmu_quantize.model import FloatModel
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.sensitivity import measure
from lmu_sim.cosim import CosimOptions

if TYPE_CHECKING:
    from lmu_quantize.train import EpochResult

__all__ = ["STEPS", "Listeners", "StepContext", "quantize_project"]

TRAINED = ("config.json", "float-parent.safetensors", "float.safetensors", "formats.json", "quantized.safetensors",
           "result.json", "train.csv")  # fmt: skip
"""What training leaves for the other steps; the last but two not always."""


@dataclass(frozen=True)
class Listeners:
    """Who hears of the work.

    Parameters
    ----------
    progress : callable
        Called with the stage, the steps done, and all steps.
    on_step : callable or None
        Called with the name of each step, and why it runs; with an empty text if it is skipped.
    on_skipped, on_epoch : callable or None
        As for `train`.
    """

    progress: Progress = silent
    on_step: Callable[[str, str], None] | None = None
    on_skipped: Callable[[str, tuple[str, ...]], None] | None = None
    on_epoch: "Callable[[EpochResult], None] | None" = None


@dataclass(eq=False)
class StepContext:
    """What the steps of one run share: the project, and what earlier steps made.

    Parameters
    ----------
    project : Project
        All settings.
    manifest : Manifest
        Of the run's folder.
    listeners : Listeners
        Who hears of the work.
    """

    project: Project
    manifest: Manifest
    listeners: Listeners = field(default_factory=Listeners)

    def folder(self, step: str) -> Path:
        """Folder of a step."""
        return self.project.folder / step

    @functools.cached_property
    def content(self) -> dict[str, Any]:
        """JSON form of the project."""
        return project_content(self.project)

    @functools.cached_property
    def recordings(self) -> str:
        """Hash of the recordings and of how they are split."""
        files = hash_recordings(self.project.recordings, self.project.folder / "recordings.json")
        return hash_of([files, plain(self.project.data.rule)])

    @functools.cached_property
    def floats(self) -> FloatModel:
        """What training made."""
        return open_float(self.folder("train") / "float.safetensors")

    @functools.cached_property
    def model(self) -> QuantizedModel:
        """What quantization made."""
        return open_model(self.folder("quantize") / "quantized.safetensors")

    @functools.cached_property
    def plan(self) -> Plan:
        """The accelerator."""
        return accelerator(self.model, self.project.accelerator)

    def real_frames(self, split: str, clips: int | None) -> RealFrames:
        """Frames for the float model."""
        rule, progress = self.project.data.rule, self.listeners.progress
        return open_frames(self.floats, self.project.recordings, split=split, clips=clips, rule=rule, progress=progress)

    def frames(self, clips: int | None) -> FrameSet:
        """Clips of the split that is evaluated."""
        rule, progress, split = self.project.data.rule, self.listeners.progress, self.project.flow.evaluate.split
        return open_frames(self.model, self.project.recordings, split=split, clips=clips, rule=rule, progress=progress)


def _train_inputs(context: StepContext) -> dict[str, Any]:
    content, recipe = context.content, context.project.recipe
    inputs = {name: content[name] for name in ("name", "labels", "front_end", "recipe")}
    inputs["recipe"] = {name: value for name, value in inputs["recipe"].items() if name != "device"}
    if recipe is not None and recipe.teacher is not None and Path(recipe.teacher.model).is_file():
        inputs["teacher"] = hash_of(Path(recipe.teacher.model))
    return inputs | {"data": context.recordings}


def _train(context: StepContext, folder: Path) -> list[Path]:
    recipe = context.project.recipe
    if recipe is None:
        raise InputError("training needs PyTorch: pip install 'lmu-hw[train]'")
    listeners = context.listeners
    train(
        context.project.recordings, folder, recipe, progress=listeners.progress, on_skipped=listeners.on_skipped,
        on_epoch=listeners.on_epoch,
    )  # fmt: skip
    return [folder / name for name in TRAINED if (folder / name).is_file()]


def _quantize_inputs(context: StepContext) -> dict[str, Any]:
    return {
        "train": context.manifest.files("train"),
        "quantization": context.content["quantization"],
        "flow.quantize": context.content["flow"]["quantize"],
        "data": context.recordings,
    }


def _quantize(context: StepContext, folder: Path) -> list[Path]:
    frames = context.real_frames("validation", context.project.flow.quantize.clips)
    result = quantize_project(context.project, context.floats, frames)
    save_model(result.model, folder / "quantized.safetensors")
    result.certificate.save(folder / "certificate.json")
    write_whole(folder / "quantization.txt", f"{result.report}\n".encode())
    _write_json(folder / "quantization.json", quantization_record(result))
    names = ("quantized.safetensors", "certificate.json", "quantization.txt", "quantization.json")
    return [folder / name for name in names]


def quantize_project(project: Project, model: FloatModel, frames: RealFrames) -> QuantizationResult:
    """Quantize a float model by the settings of a project.

    Parameters
    ----------
    project : Project
        Its quantization; and its training, if that made the model.
    model : FloatModel
        What training made; or another model, to which the formats of training do not apply.
    frames : RealFrames
        Calibration frames.

    Returns
    -------
    QuantizationResult
        The integers of exact training, if it made the model.
    """
    folder = project.folder / "train"
    if not (folder / "float.safetensors").is_file() or not _same(model, open_float(folder / "float.safetensors")):
        return quantize(model, frames, project.quantization)
    if (folder / "quantized.safetensors").is_file():
        trained = open_model(folder / "quantized.safetensors")
        return QuantizationResult(trained, measure(model, trained, frames.frames), model)
    return quantize(model, frames, _with_trained_formats(project))


def _same(model: FloatModel, other: FloatModel) -> bool:
    return model.labels == other.labels and len(model.layers) == len(other.layers) and all(
        name in theirs.tensors and np.array_equal(tensor, theirs.tensors[name])
        for layer, theirs in zip(model.layers, other.layers, strict=True)
        for name, tensor in layer.tensors.items()
    )


def _with_trained_formats(project: Project) -> QuantizationConfig:
    """Quantization with the formats of fine-tuning, where the project names no others."""
    config, path = project.quantization, project.folder / "train" / "formats.json"
    formats = read_formats(path) if path.is_file() else {}
    changed = config.to_dict() | {"formats": {}}
    known = {name: fmt.to_dict() for name, fmt in {**formats, **config.formats}.items()}
    return QuantizationConfig.from_dict(changed | {"formats": known})


def _evaluate_inputs(context: StepContext) -> dict[str, Any]:
    engines = context.project.flow.evaluate.engines
    return {
        "train": context.manifest.files("train") if "float" in engines else None,
        "quantize": _model_hash(context),
        "accelerator": context.content["accelerator"] if "rtl" in engines else None,
        "flow.evaluate": context.content["flow"]["evaluate"],
        "data": context.recordings,
    }


def _evaluate(context: StepContext, folder: Path) -> list[Path]:
    settings, results = context.project.flow.evaluate, {}
    for engine in settings.engines:
        floats = engine == "float"
        evaluation = evaluate(
            context.floats if floats else context.model,
            context.real_frames(settings.split, settings.clips) if floats else context.frames(settings.clips),
            engine=engine,
            config=context.project.accelerator,
            jobs=settings.jobs,
            progress=context.listeners.progress,
        )
        results[engine] = accuracy_record(evaluation.check())
    return [_write_json(folder / "evaluation.json", results)]


def _verilog_inputs(context: StepContext) -> dict[str, Any]:
    return _hardware_inputs(context) | {"flow.verilog": context.content["flow"]["verilog"]}


def _verilog(context: StepContext, folder: Path) -> list[Path]:
    return write_verilog(context.plan, folder, name=context.project.flow.verilog.name)


def _cosim_inputs(context: StepContext) -> dict[str, Any]:
    flow = context.content["flow"]
    return _hardware_inputs(context) | {
        "flow.cosim": flow["cosim"], "flow.evaluate.split": flow["evaluate"]["split"], "data": context.recordings,
    }  # fmt: skip


def _cosim(context: StepContext, folder: Path) -> list[Path]:
    settings = context.project.flow.cosim
    values = plain(settings) | {"folder": folder / "simulation"}
    clips = values.pop("clips")
    frames = context.frames(clips).frames
    result = cosimulate(context.plan, list(frames), CosimOptions(**values), progress=context.listeners.progress)
    path = _write_json(folder / "cosimulation.json", result.report())
    result.check()
    return [path]


def _power_inputs(context: StepContext) -> dict[str, Any]:
    flow, power = context.content["flow"], context.project.flow.power
    files = [context.project.power_technology, *flow["power"]["liberty"]]
    return _hardware_inputs(context) | {
        "flow.power": flow["power"],
        "files": {file: hash_of(Path(file)) for file in files if Path(file).is_file()},
        "flow.evaluate.split": flow["evaluate"]["split"],
        "data": context.recordings if power.tier != "table" else None,
    }


def _power(context: StepContext, folder: Path) -> list[Path]:
    settings = context.project.flow.power
    technology: TechnologySource = context.project.power_technology
    if settings.tier == "gates":
        liberty = [context.project.root / file for file in settings.liberty]
        pdk = None if liberty else settings.technology
        technology = open_library(pdk, liberty=liberty or None, corner=settings.corner, macros=settings.macros)
    interval = settings.interval
    if interval is None and settings.clips is None:
        interval = 100 * HEADLINE_INTERVAL
    simulation = FrameSimulation(delays=not settings.settled, interval=None if interval is None else interval / 100)
    result = estimate_power(
        context.plan,
        technology,
        tier=settings.tier,
        sounds=_sounds(context),
        point=operating_point(context.plan, clock=settings.clock, frame_rate_hz=settings.frame_rate),
        gates=GateOptions(simulation) if settings.tier == "gates" else None,
        progress=context.listeners.progress,
    )
    return [_write_json(folder / "power.json", result.to_dict())]


def _sounds(context: StepContext) -> Sounds | None:
    settings = context.project.flow.power
    if settings.tier == "table":
        return None
    clips = settings.clips or (HEADLINE_CLIPS if settings.tier == "gates" else 1)
    return find_sounds(context.model, context.frames(None), clips=clips)


def _report_inputs(context: StepContext) -> dict[str, Any]:
    files = {step: context.manifest.files(step) for step in STEPS if step != "report"}
    return {"accelerator": context.content["accelerator"]} | files


def _report(context: StepContext, folder: Path) -> list[Path]:
    record = report_of(
        context.plan,
        quantization=_read(context, "quantize", "quantization.json"),
        accuracy=_read(context, "evaluate", "evaluation.json"),
        cosimulation=_read(context, "cosim", "cosimulation.json"),
        energy=_read(context, "power", "power.json"),
    )
    return record.write(folder)


def _hardware_inputs(context: StepContext) -> dict[str, Any]:
    return {"quantize": _model_hash(context), "accelerator": context.content["accelerator"]}


def _model_hash(context: StepContext) -> Any:
    path = context.folder("quantize") / "quantized.safetensors"
    return program_file.digest(context.model) if path.is_file() else None


def _read(context: StepContext, step: str, name: str) -> dict[str, Any]:
    return read_object(context.folder(step) / name, f"the result of the step {step}")


def _write_json(path: Path, content: dict[str, Any]) -> Path:
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
    return path


@dataclass(frozen=True)
class _Step:
    """A step: what it is made of, what it does, and what of its folder a new start may keep."""

    inputs: Callable[[StepContext], dict[str, Any]]
    run: Callable[[StepContext, Path], list[Path]]
    kept: tuple[str, ...] = ()

    def clear(self, folder: Path) -> None:
        """Remove what an earlier run with other inputs left."""
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and path.name not in self.kept:
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()


STEPS = {
    "train": _Step(_train_inputs, _train, kept=("frames",)),
    "quantize": _Step(_quantize_inputs, _quantize),
    "evaluate": _Step(_evaluate_inputs, _evaluate),
    "verilog": _Step(_verilog_inputs, _verilog),
    "cosim": _Step(_cosim_inputs, _cosim),
    "power": _Step(_power_inputs, _power),
    "report": _Step(_report_inputs, _report),
}
"""All steps by name, in order."""
