"""Verilog and a main loop in C++, compiled by Verilator to a program."""

from dataclasses import dataclass
from pathlib import Path

from lmu_hw.tools import Tool, find_compiler, find_verilator, run_tool
from lmu_sim.build_cache import BuildCache, content_key

__all__ = ["SimulatedDesign", "build_program"]

PREFIX, PROGRAM = "Vdesign", "program"
VERILATE = [
    "--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-lint", "-Wno-style",
    "--prefix", PREFIX, "--Mdir", "."
]  # fmt: skip
COMPILE = ["-std=c++17", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE=0", "-I."]
FAST, SLOW, RUNTIME = "-O3", "-O0", "-O1"


@dataclass(frozen=True)
class SimulatedDesign:
    """A design and the program that simulates it.

    Parameters
    ----------
    name : str
        Start of the name of its cache entry.
    verilog : str
        The design. In C++ it is the class ``Vdesign``, declared in ``Vdesign.h``.
    top : str
        Name of its top module.
    header : str
        Text of ``design.h``: what the main loop must know about the design.
    loop : str
        Text of the main loop, in C++.
    """

    name: str
    verilog: str
    top: str
    header: str
    loop: str


def build_program(design: SimulatedDesign, cache: BuildCache | None = None) -> Path:
    """Compile a design, or find it compiled before.

    Parameters
    ----------
    design : SimulatedDesign
        Verilog and main loop.
    cache : BuildCache, optional
        Where programs are kept; in the user's cache folder by default.

    Returns
    -------
    Path
        The program. It is built again only if a text, Verilator or the compiler changed.

    Raises
    ------
    ToolError
        If Verilator or the C++ compiler is missing or fails.
    """
    cache = BuildCache() if cache is None else cache
    verilator = find_verilator()
    compiler = find_compiler()
    tools = [verilator.version, compiler.version]
    texts = [design.verilog, design.top, design.header, design.loop]

    def compile_into(entry: Path) -> None:
        (entry / "design.v").write_text(design.verilog)
        (entry / "design.h").write_text(design.header)
        (entry / "loop.cpp").write_text(design.loop)
        run_tool(verilator, [*VERILATE, "--top-module", design.top, "design.v"], entry)
        _compile(entry, cache, verilator, compiler)
        for path in entry.iterdir():
            if path.name != PROGRAM:
                path.unlink()

    key = content_key(design.name, *texts, *tools, VERILATE, COMPILE, FAST, SLOW)
    return cache.entry(key, compile_into) / PROGRAM


def _compile(folder: Path, cache: BuildCache, verilator: Tool, compiler: Tool) -> None:
    """Compile and link the C++ that Verilator wrote into a folder."""
    headers = Path(run_tool(verilator, ["--getenv", "VERILATOR_ROOT"], folder).strip()) / "include"
    include = [f"-I{headers}", f"-I{headers / 'vltstd'}"]
    slow = sorted(path.name for path in folder.glob(f"{PREFIX}*Slow.cpp"))
    fast = sorted(path.name for path in folder.glob(f"{PREFIX}*.cpp") if path.name not in slow)
    objects = []
    for name, sources, level in (("fast", [*fast, "loop.cpp"], FAST), ("slow", slow, SLOW)):
        (folder / f"{name}.cc").write_text("".join(f'#include "{source}"\n' for source in sources))
        run_tool(compiler, [*COMPILE, *include, level, "-c", f"{name}.cc", "-o", f"{name}.o"], folder)
        objects.append(f"{name}.o")
    for name in ("verilated", "verilated_threads"):
        objects.append(str(_runtime_object(headers / f"{name}.cpp", include, cache, verilator, compiler)))
    run_tool(compiler, [*objects, "-pthread", "-o", PROGRAM], folder)


def _runtime_object(source: Path, include: list[str], cache: BuildCache, verilator: Tool, compiler: Tool) -> Path:
    """A part of Verilator's own C++, compiled once for all programs."""

    def compile_into(entry: Path) -> None:
        run_tool(compiler, [*COMPILE, *include, RUNTIME, "-c", str(source), "-o", "runtime.o"], entry)

    key = content_key(source.stem, source.read_text(), COMPILE, RUNTIME, verilator.version, compiler.version)
    return cache.entry(key, compile_into) / "runtime.o"
