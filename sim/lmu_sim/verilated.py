"""Verilog and a main loop in C++, compiled by Verilator to a program."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from lmu_hw.tools import Tool, ToolError, find_verilator, run_tool

__all__ = ["build_program"]

PREFIX = "Vdesign"
VERILATE = [
    "--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-lint", "-Wno-style",
    "--prefix", PREFIX, "--Mdir", "."
]  # fmt: skip
COMPILE = ["-std=c++17", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE=0", "-I."]
FAST, SLOW, RUNTIME = "-O3", "-O0", "-O1"


def build_program(directory: Path, name: str, verilog: str, top: str, header: str, loop: str) -> Path:
    """Compile a design, or find it compiled before.

    Parameters
    ----------
    directory : Path
        Where programs are kept; made if it does not exist.
    name : str
        What the program's name begins with.
    verilog : str
        The design. In C++ it is the class ``Vdesign``, declared in ``Vdesign.h``.
    top : str
        Name of its top module.
    header : str
        Text of ``design.h``: what the main loop must know of the design.
    loop : str
        Text of the main loop.

    Returns
    -------
    Path
        The program. It is built again only if a text, Verilator or the compiler changed.

    Raises
    ------
    ToolError
        If Verilator or the C++ compiler is missing or fails.
    """
    directory.mkdir(parents=True, exist_ok=True)
    verilator = find_verilator()
    compiler = _compiler(verilator)
    flags = " ".join([*VERILATE, *COMPILE, FAST, SLOW])
    program = directory / f"{name}-{_digest(verilog, top, loop, header, flags, verilator.version, compiler.version)}"
    if not program.exists():
        with tempfile.TemporaryDirectory(prefix=".build-", dir=directory) as folder:
            build = Path(folder)
            (build / "design.v").write_text(verilog)
            (build / "design.h").write_text(header)
            (build / "loop.cpp").write_text(loop)
            run_tool(verilator, [*VERILATE, "--top-module", top, "design.v"], build)
            _compile(build, directory, verilator, compiler).replace(program)
    return program


def _compile(build: Path, directory: Path, verilator: Tool, compiler: Tool) -> Path:
    headers = Path(run_tool(verilator, ["--getenv", "VERILATOR_ROOT"], build).strip()) / "include"
    include = [f"-I{headers}", f"-I{headers / 'vltstd'}"]
    slow = sorted(path.name for path in build.glob(f"{PREFIX}*Slow.cpp"))
    fast = sorted(path.name for path in build.glob(f"{PREFIX}*.cpp") if path.name not in slow)
    objects = []
    for name, sources, level in (("fast", [*fast, "loop.cpp"], FAST), ("slow", slow, SLOW)):
        (build / f"{name}.cc").write_text("".join(f'#include "{source}"\n' for source in sources))
        run_tool(compiler, [*COMPILE, *include, level, "-c", f"{name}.cc", "-o", f"{name}.o"], build)
        objects.append(f"{name}.o")
    for name in ("verilated", "verilated_threads"):
        objects.append(_runtime_object(headers / f"{name}.cpp", include, build, directory, verilator, compiler))
    run_tool(compiler, [*objects, "-pthread", "-o", "program"], build)
    return build / "program"


def _runtime_object(
    source: Path, include: list[str], build: Path, directory: Path, verilator: Tool, compiler: Tool
) -> str:
    """A part of Verilator's own, compiled once for all programs in the directory."""
    key = _digest(source.read_text(), " ".join([*COMPILE, RUNTIME]), verilator.version, compiler.version)
    kept = directory.resolve() / f"{source.stem}-{key}.o"
    if not kept.exists():
        made = build / kept.name
        run_tool(compiler, [*COMPILE, *include, RUNTIME, "-c", str(source), "-o", made.name], build)
        made.replace(kept)
    return str(kept)


def _compiler(verilator: Tool) -> Tool:
    command = verilator.env.get("CXX", "g++")
    found = shutil.which(command, path=verilator.env.get("PATH"))
    if found is None:
        raise ToolError(f"the C++ compiler {command} was not found: apt install g++")
    tool = Tool([found], verilator.env, "")
    return tool._replace(version=run_tool(tool, ["--version"], Path.cwd()).partition("\n")[0])


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
