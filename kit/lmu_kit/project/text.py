"""Project files as text: a commented one to start from, the resolved one of a run, and the reference of all keys."""

import dataclasses
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lmu_hw.files import write_whole
from lmu_hw.plan.config import FRUGAL, PLAIN, AcceleratorConfig
from lmu_kit.errors import InputError
from lmu_kit.project.project import BASE, FRONT_END_EXCLUDED, LEVERS, RECIPE_EXCLUDED, Project, project_of
from lmu_kit.project.schema import field_types, show
from lmu_kit.project.settings import (
    CosimSettings,
    DataSettings,
    EvaluateSettings,
    FlowSettings,
    PowerSettings,
    QuantizeSettings,
    VerilogSettings,
)
from lmu_quantize.features import FrontEnd
from lmu_quantize.quantization import QuantizationConfig

__all__ = ["RESOLVED", "describe_fields", "markdown", "project_content", "start_project", "to_toml", "write_resolved"]

RESOLVED = "project.toml"
"""Name of the resolved project that lies beside every output."""

START = "lmu105"
"""Recipe of a new project: a small network that needs no teacher."""

WIDTH = 100

TITLES = {
    "data": "Recordings: a folder for each word, with WAV files of any rate and number of channels.",
    "front_end": "Features of the audio.",
    "recipe": "Training. `base` is a shipped recipe or a file; the keys below override it.",
    "quantization": "From floats to integers. Exact training (most shipped recipes) makes the integers itself.",
    "accelerator": "The hardware.",
    "flow": "What the steps do, and where they write.",
}

SHOWN = {
    "data": ("folder", "speaker", "validation_percent", "test_percent"),
    "front_end": ("kind", "n_mels"),
    "recipe": (BASE, "epochs", "quantized_epochs", "seed", "threads"),
    "quantization": (),
    "accelerator": (LEVERS, "lanes", "weights", "interface"),
    "flow": ("out",),
    "flow.evaluate": ("engines",),
    "flow.cosim": ("simulator", "clips"),
    "flow.power": ("tier", "technology"),
}
"""Keys of a new project; all others are in the reference."""

LEVERS_TEXT = (
    "Set of levers that the other keys override: frugal, those that save energy in most networks on a chip; or plain, "
    "none."
)

OWN_KEYS = {
    "recipe": {BASE: ("str", "Shipped recipe, or a recipe file, that the other keys override.")},
    "accelerator": {LEVERS: ('{"frugal", "plain"}', LEVERS_TEXT)},
}
"""Keys that are no fields, with type and description."""


def _sections() -> dict[str, type]:
    from lmu_quantize.train import TrainConfig  # PyTorch is slow to import, and an extra

    return {
        "data": DataSettings, "front_end": FrontEnd, "recipe": TrainConfig, "quantization": QuantizationConfig,
        "accelerator": AcceleratorConfig, "flow": FlowSettings, "flow.quantize": QuantizeSettings,
        "flow.evaluate": EvaluateSettings, "flow.verilog": VerilogSettings, "flow.cosim": CosimSettings,
        "flow.power": PowerSettings,
    }  # fmt: skip


EXCLUDED = {"front_end": FRONT_END_EXCLUDED, "recipe": RECIPE_EXCLUDED}


def plain(value: Any) -> Any:
    """JSON form of settings: dataclasses as objects without what is None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        values = {name: getattr(value, name) for name in field_types(type(value))}
        return {name: plain(item) for name, item in values.items() if item is not None}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def project_content(project: Project) -> dict[str, Any]:
    """Tables of a resolved project: every setting, with whole paths.

    Parameters
    ----------
    project : Project
        From `open_project`.

    Returns
    -------
    dict of str to object
        `project_of` makes an equal project of it.
    """
    content = {name: plain(getattr(project, name)) for name in ("name", "labels", "data", "front_end")}
    recipe = plain(project.recipe) if project.recipe is not None else {}
    content["recipe"] = {name: value for name, value in recipe.items() if name not in RECIPE_EXCLUDED}
    content["quantization"] = plain(project.quantization)
    content["accelerator"] = {LEVERS: PLAIN} | plain(project.accelerator)
    content["flow"] = plain(project.flow)
    content["data"]["folder"] = str(project.recordings)
    content["flow"]["out"] = str(project.folder)
    power = content["flow"]["power"]
    power["technology"] = project.power_technology
    power["liberty"] = [str(project.root / file) for file in project.flow.power.liberty]
    return content


def to_toml(content: Mapping[str, Any], header: str = "") -> str:
    """TOML text of tables.

    Parameters
    ----------
    content : mapping
        Values of TOML types.
    header : str
        Dotted name of the table they are in.

    Returns
    -------
    str
        Values first, then the tables.
    """
    lines = [f"[{header}]"] if header else []
    tables = []
    for name, value in content.items():
        if isinstance(value, Mapping):
            tables.append(to_toml(value, f"{header}.{name}" if header else name))
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines += [f"{name} = [", *(f"    {show(item)}," for item in value), "]"]
        else:
            lines.append(f"{name} = {show(value)}")
    return "\n".join([*lines, "", *tables])


def write_resolved(project: Project, folder: Path) -> Path:
    """Write the resolved project into a folder.

    Parameters
    ----------
    project : Project
        From `open_project`.
    folder : Path
        Made if it does not exist.

    Returns
    -------
    Path
        ``project.toml`` in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = f"# All settings of this output, resolved.\n\n{to_toml(project_content(project))}"
    write_whole(folder / RESOLVED, text.encode())
    return folder / RESOLVED


def start_project(
    path: str | Path,
    labels: Sequence[str] | None = None,
    *,
    name: str = "own",
    recordings: str | Path = "recordings",
    speaker: str = "",
    whole: bool = False,
) -> Path:
    """Write a commented project file to start from.

    Parameters
    ----------
    path : path-like
        The TOML file; one that exists is not replaced.
    labels : sequence of str, optional
        What is told apart; if not given, the word folders in `recordings`, and ``silence`` if there are recordings of
        noise.
    name : str
        Name of the model.
    recordings : path-like
        Folder of the recordings, relative to the file.
    speaker : str
        Regular expression that finds the speaker in a file name.
    whole : bool
        Write every key, those that are rarely changed as comments.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the file exists, or there are no labels and no recordings.
    ProjectError
        If a value is refused.
    """
    target = Path(path)
    if target.exists():
        raise InputError(f"{target}: exists already, and is not replaced")
    if labels is None:
        labels = _labels_in(target.absolute().parent / recordings)
    content = {
        "name": name,
        "labels": list(labels),
        "data": {"folder": str(recordings), "speaker": speaker},
        "recipe": {BASE: START},
    }
    project = project_of(content, target.absolute().parent, str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, "\n".join(_template(project, str(recordings), whole)).encode())
    return target


def _labels_in(recordings: Path) -> list[str]:
    """Words that a folder has recordings of, and silence if it has noise."""
    if not recordings.is_dir():
        raise InputError(f"{recordings}: no such folder; give the labels, or the folder with a folder for each word")
    folders = [folder.name for folder in sorted(recordings.iterdir()) if folder.is_dir()]
    words = [name for name in folders if not name.startswith(("_", "."))]
    if not words:
        raise InputError(f"{recordings}: no folders in it; one for each word is expected")
    return words + (["silence"] if "_background_noise_" in folders else [])


def _template(project: Project, recordings: str, whole: bool) -> Iterator[str]:
    """Lines of a commented project."""
    yield "# From recordings to Verilog and joules: `lmu-hw run THIS_FILE` does all steps."
    yield "# Every key: docs/project.md. Paths are relative to this file."
    yield ""
    yield from ("# Name of the model.", f"name = {show(project.name)}", "")
    yield from _comment("What is told apart: words, each a folder of recordings; unknown, all other words; silence.")
    yield f"labels = {show(project.labels)}"
    values = project_content(project)
    values["data"]["folder"], values["flow"]["out"] = recordings, project.flow.out
    values["recipe"][BASE], values["accelerator"][LEVERS] = START, FRUGAL
    for section in _sections():
        shown = SHOWN.get(section, ())
        if not shown and not whole and section not in TITLES:
            continue
        yield ""
        yield from _comment(TITLES.get(section, ""))
        yield f"[{section}]"
        table = values
        for part in section.split("."):
            table = table[part]
        for key, (_, text, default) in describe_fields(section).items():
            if key in shown or (whole and default != NO_DEFAULT and not isinstance(table.get(key), Mapping)):
                value = show(table[key]) if key in table else default
                yield from _comment(text)
                yield f"{key} = {value}" if key in shown else f"# {key} = {value}"
    yield ""


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text.replace("``", "`"), WIDTH, initial_indent="# ", subsequent_indent="# ")


NO_DEFAULT = "-"


def describe_fields(section: str) -> dict[str, tuple[str, str, str]]:
    """Describe the keys of a table, from the docstrings of its dataclass.

    Parameters
    ----------
    section : str
        Such as ``flow.power``.

    Returns
    -------
    dict of str to (str, str, str)
        For each key its type, its description, and its default as TOML; `NO_DEFAULT` without one.
    """
    return _described(_sections()[section], EXCLUDED.get(section, ()), OWN_KEYS.get(section, {}))


def _described(
    kind: type, excluded: Sequence[str] = (), own: Mapping[str, tuple[str, str]] | None = None
) -> dict[str, tuple[str, str, str]]:
    texts: dict[str, tuple[str, str]] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            texts |= _parameters(base.__doc__ or "")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    rows = {key: (*text, NO_DEFAULT) for key, text in (own or {}).items()}
    for name in field_types(kind):
        if name in excluded or _is_table_of_flow(kind, name):
            continue
        field = fields[name]
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        known = NO_DEFAULT if default in (dataclasses.MISSING, None) or _holds_tables(default) else show(default)
        rows[name] = (*texts[name], known)
    return rows


def _holds_tables(default: Any) -> bool:
    items = default if isinstance(default, tuple) else (default,)
    return any(dataclasses.is_dataclass(item) for item in items)


def _is_table_of_flow(kind: type, name: str) -> bool:
    return kind is FlowSettings and name != "out"


def _parameters(docstring: str) -> dict[str, tuple[str, str]]:
    """Type and description of each parameter of a numpydoc docstring."""
    _, _, rest = inspect.cleandoc(docstring).partition("Parameters\n----------\n")
    body = re.split(r"\n\n\w[\w ]*\n-{3,}\n", rest)[0]
    found: dict[str, tuple[str, str]] = {}
    for entry in re.split(r"\n(?=\S)", body):
        head, _, text = entry.partition("\n")
        names, _, hint = head.partition(" : ")
        for name in names.split(", "):
            found[name] = _toml_type(hint), " ".join(text.split())
    return found


def _toml_type(hint: str) -> str:
    """Type of a parameter in the words of TOML."""
    for python, words in (
        ("tuple of", "list of"), ("sequence of", "list of"), ("dict of", "table of"), (", optional", " or false"),
        (" or None", " or false"), ("path-like", "text"),
    ):  # fmt: skip
        hint = hint.replace(python, words)
    for name, word in {"str": "text", "int": "integer", "float": "number", "bool": "boolean"}.items():
        hint = re.sub(rf"\b{name}\b", word, hint)
    return hint


def markdown() -> str:
    """Reference of all keys of a project file, as the page ``docs/project.md``.

    Returns
    -------
    str
        Markdown.
    """
    lines = [
        "# Project file", "",
        "Every key of the file that `lmu-hw init` writes and `lmu-hw run` follows ([own words](own-words.md)). This",
        "page is generated from the code. A setting that may be left out is turned off by `false`.", "",
        "At the top: `name`, a text, and `labels`, a list of texts in output order.", "",
    ]  # fmt: skip
    for section in _sections():
        lines += [f"## {section}", "", *([TITLES[section], ""] if section in TITLES else [])]
        lines += _rows(describe_fields(section))
    lines += ["## Tables in tables", ""]
    for key, kind in _nested().items():
        lines += [f"### {key}", "", *_rows(_described(kind))]
    return "\n".join(lines).rstrip() + "\n"


def _nested() -> dict[str, type]:
    """Dataclasses that are values of keys, by dotted key."""
    found: dict[str, type] = {}
    for section, kind in _sections().items():
        for name, hint in field_types(kind).items():
            if name in EXCLUDED.get(section, ()) or _is_table_of_flow(kind, name):
                continue
            for part in _dataclasses_in(hint):
                several = f", {part.__name__}" if f"{section}.{name}" in found else ""
                found[f"{section}.{name}{several}"] = part
    return found


def _dataclasses_in(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for part in getattr(hint, "__args__", ()):
        yield from _dataclasses_in(part)


def _rows(fields: Mapping[str, tuple[str, str, str]]) -> list[str]:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, (hint, text, default) in fields.items():
        cells = (f"`{key}`", hint, f"`{default}`" if default != NO_DEFAULT else "", text)
        rows.append("| " + " | ".join(cell.replace("``", "`").replace("|", "\\|") for cell in cells) + " |")
    return [*rows, ""]
