"""What people call: one function for each step from a float model to joules.

Names are imported when they are first used, so that ``import lmu_hw`` costs little.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmu_hw.explore.front import Limits
    from lmu_hw.explore.sweep import Sweep
    from lmu_hw.flows.placer import PlaceOptions
    from lmu_hw.model.gate import Gate
    from lmu_hw.model.smoothing import Smoothing
    from lmu_hw.plan.config import AcceleratorConfig
    from lmu_hw.power.check_bundle import write_check
    from lmu_hw.power.guards import PowerRefused
    from lmu_hw.power.heat import LeakageRefused
    from lmu_hw.power.report import OperatingPoint
    from lmu_hw.power.technology import save_technology
    from lmu_kit.accelerators import accelerator, write_board_top, write_replay, write_verilog
    from lmu_kit.board_run import BoardOptions, run_board, simulate_board
    from lmu_kit.characterisation import characterise
    from lmu_kit.comparison import compare_with_published, scale_report, scaling_to_dict
    from lmu_kit.cosimulation import cosimulate
    from lmu_kit.errors import InputError
    from lmu_kit.estimate import (
        CellLibrary,
        GateOptions,
        estimate_power,
        find_floors,
        lay_out,
        open_library,
        operating_point,
    )
    from lmu_kit.evaluation import evaluate
    from lmu_kit.frames import RealFrames, open_frames, open_recordings, spread_evenly
    from lmu_kit.gating import add_gate
    from lmu_kit.layout import ChipLayout, LaidOut, write_layout
    from lmu_kit.lever_costs import measure_levers
    from lmu_kit.listening import listen
    from lmu_kit.models import describe, open_float, open_model
    from lmu_kit.power import FrameSimulation
    from lmu_kit.project.project import Project, open_project
    from lmu_kit.project.run import run_project
    from lmu_kit.project.schema import ProjectError
    from lmu_kit.project.steps import Listeners, quantize_project
    from lmu_kit.project.text import start_project, write_resolved
    from lmu_kit.quantizing import quantize, save_model, training_formats
    from lmu_kit.reporting import report
    from lmu_kit.sounds import find_sounds
    from lmu_kit.stream_evaluation import StreamOptions, evaluate_stream
    from lmu_kit.sweeps import confirm, sweep
    from lmu_kit.synthesis import synthesize, synthesize_asic
    from lmu_kit.training import search, train
    from lmu_kit.weight_images import check_weights, write_weights
    from lmu_quantize.frames_file import load_frames, save_frames
    from lmu_quantize.quantization import QuantizationConfig
    from lmu_sim.cosim import CosimOptions
    from lmu_sim.result import MismatchError

__all__ = [
    "AcceleratorConfig",
    "BoardOptions",
    "CellLibrary",
    "ChipLayout",
    "CosimOptions",
    "FrameSimulation",
    "Gate",
    "GateOptions",
    "InputError",
    "LaidOut",
    "LeakageRefused",
    "Limits",
    "Listeners",
    "MismatchError",
    "OperatingPoint",
    "PlaceOptions",
    "PowerRefused",
    "Project",
    "ProjectError",
    "QuantizationConfig",
    "RealFrames",
    "Smoothing",
    "StreamOptions",
    "Sweep",
    "accelerator",
    "add_gate",
    "characterise",
    "check_weights",
    "compare_with_published",
    "confirm",
    "cosimulate",
    "describe",
    "estimate_power",
    "evaluate",
    "evaluate_stream",
    "find_floors",
    "find_sounds",
    "lay_out",
    "listen",
    "load_frames",
    "measure_levers",
    "open_float",
    "open_frames",
    "open_library",
    "open_model",
    "open_project",
    "open_recordings",
    "operating_point",
    "quantize",
    "quantize_project",
    "report",
    "run_board",
    "run_project",
    "save_frames",
    "save_model",
    "save_technology",
    "scale_report",
    "scaling_to_dict",
    "search",
    "simulate_board",
    "spread_evenly",
    "start_project",
    "sweep",
    "synthesize",
    "synthesize_asic",
    "train",
    "training_formats",
    "write_board_top",
    "write_check",
    "write_layout",
    "write_replay",
    "write_resolved",
    "write_verilog",
    "write_weights",
]

_HOMES = {
    "lmu_hw.explore.front": ("Limits",),
    "lmu_hw.explore.sweep": ("Sweep",),
    "lmu_hw.flows.placer": ("PlaceOptions",),
    "lmu_hw.model.gate": ("Gate",),
    "lmu_hw.model.smoothing": ("Smoothing",),
    "lmu_hw.plan.config": ("AcceleratorConfig",),
    "lmu_hw.power.check_bundle": ("write_check",),
    "lmu_hw.power.guards": ("PowerRefused",),
    "lmu_hw.power.heat": ("LeakageRefused",),
    "lmu_hw.power.report": ("OperatingPoint",),
    "lmu_hw.power.technology": ("save_technology",),
    "lmu_kit.accelerators": ("accelerator", "write_board_top", "write_replay", "write_verilog"),
    "lmu_kit.board_run": ("BoardOptions", "run_board", "simulate_board"),
    "lmu_kit.characterisation": ("characterise",),
    "lmu_kit.comparison": ("compare_with_published", "scale_report", "scaling_to_dict"),
    "lmu_kit.cosimulation": ("cosimulate",),
    "lmu_kit.errors": ("InputError",),
    "lmu_kit.estimate": (
        "CellLibrary",
        "GateOptions",
        "estimate_power",
        "find_floors",
        "lay_out",
        "open_library",
        "operating_point",
    ),
    "lmu_kit.evaluation": ("evaluate",),
    "lmu_kit.frames": ("RealFrames", "open_frames", "open_recordings", "spread_evenly"),
    "lmu_kit.gating": ("add_gate",),
    "lmu_kit.layout": ("ChipLayout", "LaidOut", "write_layout"),
    "lmu_kit.lever_costs": ("measure_levers",),
    "lmu_kit.listening": ("listen",),
    "lmu_kit.models": ("describe", "open_float", "open_model"),
    "lmu_kit.power": ("FrameSimulation",),
    "lmu_kit.project.project": ("Project", "open_project"),
    "lmu_kit.project.run": ("run_project",),
    "lmu_kit.project.schema": ("ProjectError",),
    "lmu_kit.project.steps": ("Listeners", "quantize_project"),
    "lmu_kit.project.text": ("start_project", "write_resolved"),
    "lmu_kit.quantizing": ("quantize", "save_model", "training_formats"),
    "lmu_kit.reporting": ("report",),
    "lmu_kit.sounds": ("find_sounds",),
    "lmu_kit.stream_evaluation": ("StreamOptions", "evaluate_stream"),
    "lmu_kit.sweeps": ("confirm", "sweep"),
    "lmu_kit.synthesis": ("synthesize", "synthesize_asic"),
    "lmu_kit.training": ("search", "train"),
    "lmu_kit.weight_images": ("check_weights", "write_weights"),
    "lmu_quantize.frames_file": ("load_frames", "save_frames"),
    "lmu_quantize.quantization": ("QuantizationConfig",),
    "lmu_sim.cosim": ("CosimOptions",),
    "lmu_sim.result": ("MismatchError",),
}

_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
