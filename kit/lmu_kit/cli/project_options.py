"""The option ``--project``: settings of a project file where the command line names no others."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lmu_kit.cli.options import CHOICES, LEVER_HELP

if TYPE_CHECKING:
    from lmu_kit.project.project import Project

__all__ = ["FLOAT_MODEL", "MODEL", "QUANTIZED_MODEL", "add_project", "fill_from_project", "write_beside"]

MODEL, FLOAT_MODEL, QUANTIZED_MODEL = "model", "float model", "quantized model"
"""Keys of what steps made: the model of an engine, or the one that is named."""

ACCELERATOR = (*CHOICES, *LEVER_HELP, "levers")
FILES = {FLOAT_MODEL: "train/float.safetensors", QUANTIZED_MODEL: "quantize/quantized.safetensors"}
TECHNOLOGY = "flow.power.technology"
LIBERTY = "flow.power.liberty"

_DEFAULTS = "project_defaults"


def add_project(command: argparse.ArgumentParser, module: ModuleType, given: bool) -> None:
    """Add ``--project`` to a command whose module has ``PROJECT``.

    Parameters
    ----------
    command : argparse.ArgumentParser
        With all other arguments.
    module : module
        ``PROJECT`` maps destinations of arguments to dotted keys, or to several keys.
    given : bool
        Whether the command line has the option: then the arguments that it supplies need not be given.
    """
    command.add_argument(
        "--project",
        metavar="FILE",
        type=Path,
        help="project file (`lmu-hw init`) with settings, recordings and models; the other options override it",
    )
    if not given:
        return
    keys = _keys(module)
    defaults = {}
    for action in command._actions:
        if action.dest in keys:
            defaults[action.dest] = None if action.default is argparse.SUPPRESS else action.default
            action.default, action.required = argparse.SUPPRESS, False
            if not action.option_strings:
                action.nargs = "?"
    command.set_defaults(**{_DEFAULTS: defaults})


def _keys(module: ModuleType) -> dict[str, Any]:
    accelerator = {name: f"accelerator.{name}" for name in ACCELERATOR}
    return accelerator | {"config": None, "quantization": None} | module.PROJECT


def fill_from_project(args: argparse.Namespace, module: ModuleType) -> None:
    """Open the project with what the command line changes, and fill in the arguments that were not given.

    Raises
    ------
    ProjectError
        If the project, or what the command line changes in it, is refused.
    InputError
        If another file has the same settings.
    """
    import lmu_hw as lh

    keys, defaults = _keys(module), vars(args).pop(_DEFAULTS)
    given = {name: getattr(args, name) for name in defaults if getattr(args, name, None) is not None}
    for name in ("config", "quantization"):
        if name in given:
            raise lh.InputError(f"give --{name} or --project, not both")
    project = lh.open_project(args.project, _changes(given, keys))
    args.project = project
    for name, default in defaults.items():
        if name not in given:
            setattr(args, name, _value(project, args, keys[name], default))
    if "tier" in keys:
        _fill_technology(project, args)


def _changes(given: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key, as they would stand in the project."""
    from lmu_kit.cli.options import read_smoothing

    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name == "smoothing":
            smoothing = read_smoothing(value)
            changes[keys[name]] = smoothing.to_dict() if smoothing else False
            continue
        for key in (keys[name],) if isinstance(keys[name], str) else keys[name]:
            if key not in (MODEL, FLOAT_MODEL, QUANTIZED_MODEL):
                changes[key] = _plain(value, name)
    if TECHNOLOGY in changes and LIBERTY not in changes:
        changes[LIBERTY] = []
    return changes


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_plain(item, name) for item in value]
    return str(value.absolute()) if isinstance(value, Path) else value


def _value(project: "Project", args: argparse.Namespace, key: Any, default: Any) -> Any:
    """Value of an argument from the project: its default where the project has that of the settings."""
    if key is None or not isinstance(key, str) or key.startswith("accelerator.") or key in (TECHNOLOGY, LIBERTY):
        return default
    if key == MODEL:
        key = FLOAT_MODEL if args.engine == "float" else QUANTIZED_MODEL
    if key in FILES:
        return str(project.folder / FILES[key])
    if key == "data.folder":
        return None if getattr(args, "frames", None) is not None else project.recordings
    if not key.startswith("flow."):
        return default
    _, step, name = key.split(".")
    settings = getattr(project.flow, step)
    value = getattr(settings, name)
    return default if value == getattr(type(settings)(), name) else getattr(value, "value", value)


def _fill_technology(project: "Project", args: argparse.Namespace) -> None:
    """Fill in the cell library or the table of a power estimate."""
    power = project.flow.power
    if power.liberty:
        args.liberty = [project.root / file for file in power.liberty]
    elif power.tier != "gates" and Path(project.power_technology).is_file():
        args.table = project.power_technology
    else:
        args.pdk = power.technology


def write_beside(args: argparse.Namespace) -> Path | None:
    """Write the resolved project beside the output of a command; its file, if there is an output."""
    import lmu_hw as lh

    out: Path | None = getattr(args, "out", None) or getattr(args, "build", None)
    if out is None or not out.exists():
        return None
    return lh.write_resolved(args.project, out if out.is_dir() else out.parent)
