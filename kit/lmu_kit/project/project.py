"""A project: all settings from recordings to joules, read from TOML and checked together."""

import dataclasses
import importlib.util
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmu_hw.plan.config import FRUGAL, LEVER_SETS, AcceleratorConfig, choose_levers
from lmu_hw.power.technology import load_technology, shipped
from lmu_kit.errors import InputError
from lmu_kit.project.schema import Problem, ProjectError, build, field_types, read_table, read_values, show
from lmu_kit.project.settings import DataSettings, FlowSettings
from lmu_quantize import zoo
from lmu_quantize.audio import SAMPLE_RATE
from lmu_quantize.dataset import SpeechCommands, check_labels
from lmu_quantize.features import FrontEnd
from lmu_quantize.float_file import load_float
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.shipped import RECIPES, read_given

if TYPE_CHECKING:
    from lmu_quantize.train import TrainConfig

__all__ = ["BASE", "FRONT_END_EXCLUDED", "RECIPE_EXCLUDED", "SECTIONS", "Project", "open_project", "project_of"]

SECTIONS = ("data", "front_end", "recipe", "quantization", "accelerator", "flow")
"""Tables of a project file."""

TOP_KEYS = ("name", "labels")

FRONT_END_EXCLUDED = ("offset", "scale")
"""Training finds the normalisation."""

RECIPE_EXCLUDED = ("data", "out", "split", "name", "labels", "front_end", "network")
"""They stand elsewhere in a project; a network of another kind cannot become hardware."""

BASE = "base"
LEVERS = "levers"

SCHEME_BITS = ("weight_bits", "input_bits", "u_bits")
"""Bits that training has chosen, and quantization cannot change."""


@dataclass(frozen=True)
class Project:
    """All settings from recordings to joules.

    Parameters
    ----------
    name : str
        Name of the model.
    labels : tuple of str
        What is told apart, in output order: words, each with a folder of recordings; ``unknown``, all other words;
        ``silence``.
    data : DataSettings
        Recordings and their split.
    front_end : FrontEnd
        Features, without normalisation.
    recipe : TrainConfig or None
        How the network is trained; None where PyTorch is not installed.
    quantization : QuantizationConfig
        How floats become integers.
    accelerator : AcceleratorConfig
        The hardware.
    flow : FlowSettings
        What the steps do.
    root : Path
        Folder that the paths in the project are relative to.
    """

    name: str
    labels: tuple[str, ...]
    data: DataSettings
    front_end: FrontEnd
    recipe: "TrainConfig | None"
    quantization: QuantizationConfig
    accelerator: AcceleratorConfig
    flow: FlowSettings
    root: Path

    @property
    def folder(self) -> Path:
        """Folder of all results."""
        return self.root / self.flow.out

    @property
    def power_technology(self) -> str:
        """Technology of the power step: a name, or the whole path of a table file."""
        file = self.root / self.flow.power.technology
        return str(file) if file.is_file() else self.flow.power.technology

    @property
    def recordings(self) -> Path:
        """Folder of the recordings."""
        return self.root / self.data.folder

    def count_speakers(self) -> dict[str, int]:
        """Count the speakers in each split of the recordings; empty where no speaker is known.

        Raises
        ------
        DatasetError
            If a folder of a label is missing, or a file name has no speaker.
        """
        return SpeechCommands(self.recordings, self.labels, rule=self.data.rule).count_speakers()


def open_project(path: str | os.PathLike[str], changes: Mapping[str, Any] | None = None) -> Project:
    """Read a project file, and check all of it.

    Parameters
    ----------
    path : path-like
        A TOML file; `start_project` writes one.
    changes : mapping of str to object, optional
        Other values by dotted key, such as ``{"accelerator.lanes": 8}``; they override those of the file.

    Returns
    -------
    Project
        With every setting resolved.

    Raises
    ------
    ProjectError
        If keys are unknown, values have a wrong type or are not allowed, or exclude each other: all of them at once.
    InputError
        If the file cannot be read, or is not TOML.
    """
    source = Path(path)
    try:
        content = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}); `lmu-hw init` writes a project") from None
    except UnicodeDecodeError:
        raise InputError(f"{source}: is not UTF-8 text; a project is a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source}: is not TOML: {error}") from None
    for key, value in (changes or {}).items():
        _change(content, key, value)
    return project_of(content, source.absolute().parent, str(source))


def _change(content: dict[str, Any], key: str, value: Any) -> None:
    *tables, last = key.split(".")
    for name in tables:
        content = content.setdefault(name, {})
        if not isinstance(content, dict):
            raise InputError(f"{key}: {name} is a value, not a table")
    content[last] = value


def project_of(content: Mapping[str, Any], root: Path, source: str) -> Project:
    """Make a project of the content of its file.

    Parameters
    ----------
    content : mapping
        Tables and keys, as `tomllib` reads them.
    root : Path
        Folder that its paths are relative to.
    source : str
        Name of the file, for errors.

    Returns
    -------
    Project
        With every setting resolved.

    Raises
    ------
    ProjectError
        With everything that is wrong.
    """
    reader = _Reader(content, root)
    project = reader.read()
    if reader.problems or project is None:
        raise ProjectError(source, reader.problems)
    return project


class _Reader:
    """Reads the tables of a project and collects what is wrong with them."""

    def __init__(self, content: Mapping[str, Any], root: Path) -> None:
        self.content, self.root = content, root
        self.problems: list[Problem] = []

    def read(self) -> Project | None:
        """Read everything; None if something required is wrong."""
        self._check_top()
        name = self._name()
        labels = self._labels()
        data = read_table(DataSettings, self._table("data"), "data", self.problems)
        flow = read_table(FlowSettings, self._table("flow"), "flow", self.problems)
        base = self._base()
        front_end = self._front_end(base)
        recipe = self._recipe(base)
        quantization = self._quantization(recipe)
        accelerator = self._accelerator(flow)
        if recipe is not None and front_end is not None and labels:
            self._check_trained(recipe, labels, front_end)
        if data is None or flow is None or front_end is None or quantization is None or accelerator is None:
            return None
        if not labels:
            return None
        if recipe is not None:
            recipe = dataclasses.replace(
                recipe, name=name, labels=labels, split=data.rule, front_end=front_end.to_dict()
            )
        return Project(name, labels, data, front_end, recipe, quantization, accelerator, flow, self.root)

    def _table(self, section: str) -> Any:
        return self.content.get(section, {})

    def _check_top(self) -> None:
        allowed = (*TOP_KEYS, *SECTIONS)
        for key, value in self.content.items():
            if key not in allowed:
                shown = None if isinstance(value, Mapping) else value
                self.problems.append(Problem(((key, shown),), f"unknown key; allowed: {', '.join(allowed)}"))

    def _name(self) -> str:
        name = self.content.get("name", "own")
        if not isinstance(name, str) or not name:
            self.problems.append(Problem((("name", name),), "must be a text that is not empty"))
            return "own"
        return name

    def _labels(self) -> tuple[str, ...]:
        if "labels" not in self.content:
            self.problems.append(Problem((("labels", None),), "is missing: the words that are told apart"))
            return ()
        labels = self.content["labels"]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            self.problems.append(Problem((("labels", labels),), "must be a list of texts"))
            return ()
        words = [label for label in labels if label not in ("unknown", "silence")]
        if len(labels) < 2 or not words:
            self.problems.append(Problem((("labels", labels),), "must be two or more, one of them a word"))
            return ()
        made = build(lambda labels: check_labels(labels), {"labels": labels}, "", self.problems)
        return () if made is None else made

    def _base(self) -> Mapping[str, Any]:
        """Content of the recipe that this one starts from."""
        table = self._table("recipe")
        if not isinstance(table, Mapping) or BASE not in table:
            return {}
        base = table[BASE]
        try:
            given = self.root / base
            content = dict(json.loads(read_given(given if given.is_file() else base, RECIPES, "recipe")))
            if content.get("network") is not None:
                raise ValueError("is a network of another kind, which cannot become hardware")
        except (OSError, TypeError, ValueError) as error:
            self.problems.append(Problem((("recipe.base", base),), str(error)))
            return {}
        return content

    def _front_end(self, base: Mapping[str, Any]) -> FrontEnd | None:
        front_end = read_table(
            FrontEnd, self._table("front_end"), "front_end", self.problems, excluded=FRONT_END_EXCLUDED,
            defaults=base.get("front_end", {"kind": "log-mel"}),
        )  # fmt: skip
        if front_end is not None and front_end.sample_rate != SAMPLE_RATE:
            text = f"must be {SAMPLE_RATE}: recordings are converted to it"
            self.problems.append(Problem((("front_end.sample_rate", front_end.sample_rate),), text))
        if front_end is not None and front_end.window > SAMPLE_RATE:
            text = f"must be at most {SAMPLE_RATE}, the samples of a clip"
            self.problems.append(Problem((("front_end.window", front_end.window),), text))
        return front_end

    def _recipe(self, base: Mapping[str, Any]) -> "TrainConfig | None":
        if importlib.util.find_spec("torch") is None:
            return None
        from lmu_quantize.train import TrainConfig  # PyTorch is slow to import, and an extra

        table = self._table("recipe")
        try:
            start = TrainConfig.from_dict({key: value for key, value in base.items() if key not in RECIPE_EXCLUDED})
        except (TypeError, ValueError) as error:
            self.problems.append(Problem((("recipe.base", table[BASE]),), str(error)))
            return None
        defaults = {name: getattr(start, name) for name in field_types(TrainConfig)}
        recipe = read_table(
            TrainConfig, table, "recipe", self.problems, excluded=RECIPE_EXCLUDED, beside=(BASE,), defaults=defaults
        )
        if recipe is None or recipe.teacher is None or not (self.root / recipe.teacher.model).is_file():
            return recipe
        teacher = dataclasses.replace(recipe.teacher, model=str(self.root / recipe.teacher.model))
        return dataclasses.replace(recipe, teacher=teacher)

    def _quantization(self, recipe: "TrainConfig | None") -> QuantizationConfig | None:
        table = self._table("quantization")
        defaults = {} if recipe is None else {name: getattr(recipe.scheme, name) for name in SCHEME_BITS}
        if isinstance(table, Mapping) and recipe is not None and recipe.quantized_epochs:
            trained = QuantizationConfig(**defaults).to_dict()
            exact = recipe.scheme.exact
            for name, value in table.items():
                if name in (trained if exact else SCHEME_BITS) and value != trained[name]:
                    text = f"must be {show(trained[name])}, as in recipe.scheme, with which the network is trained"
                    if exact:
                        text = "must be left out: with recipe.scheme.exact training makes the integers itself"
                    self.problems.append(Problem(((f"quantization.{name}", value),), text))
        return read_table(QuantizationConfig, table, "quantization", self.problems, defaults=defaults)

    def _accelerator(self, flow: FlowSettings | None) -> AcceleratorConfig | None:
        """Read the accelerator, whose keys override those of a set of levers."""
        table = self._table("accelerator")
        if not isinstance(table, Mapping):
            return read_table(AcceleratorConfig, table, "accelerator", self.problems)
        levers = table.get(LEVERS, FRUGAL)
        if levers not in LEVER_SETS:
            self.problems.append(Problem((("accelerator.levers", levers),), f"must be {' or '.join(LEVER_SETS)}"))
            levers = FRUGAL
        values = read_values(AcceleratorConfig, table, "accelerator", self.problems, beside=(LEVERS,))
        macros = flow is None or _has_macros(flow)

        def make(**chosen: Any) -> AcceleratorConfig:
            return AcceleratorConfig(**(choose_levers(levers, chosen, macros=macros) | chosen))

        return build(make, values, "accelerator", self.problems)

    def _check_trained(self, recipe: "TrainConfig", labels: tuple[str, ...], front_end: FrontEnd) -> None:
        """Refuse a teacher or a warm start of other labels."""
        if recipe.init:
            self._check_network("recipe.init", recipe.init, labels)
        if recipe.teacher is not None and self._check_network("recipe.teacher.model", recipe.teacher.model, labels):
            from lmu_quantize.train.teacher import Teacher  # needs PyTorch

            try:
                Teacher(recipe.teacher, labels, front_end, recipe.period)
            except ValueError as error:
                self.problems.append(Problem((("recipe.teacher.model", recipe.teacher.model),), str(error)))

    def _check_network(self, key: str, name: str, labels: tuple[str, ...]) -> bool:
        """Whether there is a network of this name, or in this file, that knows no other labels."""
        path = Path(name)
        if not path.is_file():
            if name not in zoo.names():
                text = f"is no file and no shipped network; those are {', '.join(zoo.names())}"
                self.problems.append(Problem(((key, name),), text))
                return False
            path = Path(zoo.path(name, "float-parent.safetensors"))
        known = load_float(path).labels
        if set(known) <= set(labels):
            return True
        text = f"was trained for the labels {', '.join(known)}; yours are {', '.join(labels)}"
        self.problems.append(Problem(((key, name),), text))
        return False


def _has_macros(flow: FlowSettings) -> bool:
    """Whether the process that power is estimated for has SRAM macros, as far as its table says."""
    name = flow.power.technology
    if name not in shipped() or flow.power.liberty:
        return True
    return load_technology(name).memories.has_macros

