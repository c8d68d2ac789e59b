"""The house: which package imports which, and which library is used where.

Each package imports packages of lower rank only. The one door that opens upward is `lmu_hw/__init__.py`, which hands on
the functions of `lmu_kit` when they are asked for.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "lmu_hw": ROOT / "lmu_hw",
    "lmu_quantize": ROOT / "quantize/lmu_quantize",
    "lmu_sim": ROOT / "sim/lmu_sim",
    "lmu_kit": ROOT / "kit/lmu_kit",
}
BASE = ("checks", "files", "progress", "tools", "pareto", "version")
RANKS = [
    ("model",), ("plan",), ("host",), ("gateware",), ("export",), ("boards", "cells"), ("flows",), ("power",),
    ("explore",),
]  # fmt: skip
RANK = {f"lmu_hw.{name}": rank for rank, names in enumerate(RANKS, 1) for name in names}
RANK |= {f"lmu_hw.{name}": 0 for name in BASE}
RANK |= {"lmu_quantize": 20, "lmu_sim": 20, "lmu_kit.figures": 25, "lmu_kit": 30, "lmu_kit.report": 32}
RANK |= {"lmu_kit.cli": 40}
"""Higher imports lower; packages of the same rank don't import each other."""

DOOR = 35
"""`lmu_hw` itself, which hands on the functions of `lmu_kit`: open to the command only."""

LIBRARIES = {
    "lmu_hw": {"numpy", "scipy", "amaranth", "coloquinte"},
    "lmu_quantize": {"numpy", "scipy", "h5py", "safetensors", "soundfile", "torch"},
    "lmu_sim": {"numpy", "scipy", "cocotb", "cocotb_tools"},
    "lmu_kit": {"numpy", "distributed", "serial"},
    "lmu_kit.figures": {"numpy", "matplotlib", "adjustText"},
    "lmu_kit.report": {"numpy", "matplotlib"},
    "lmu_kit.cli": {"numpy", "argparse", "argcomplete", "rich"},
}
"""What a package may use besides the standard library; argparse, which is part of it, is for the command only."""

PLACES = {
    "torch": ("quantize/lmu_quantize/train/", "quantize/lmu_quantize/loaders/torch_state.py"),
    "h5py": ("quantize/lmu_quantize/loaders/",),
    "coloquinte": ("lmu_hw/flows/placer_worker.py",),
}
"""Heavy libraries stay in these files of their package."""


def package(module: str) -> str:
    """Package that has a rank: the longest known prefix of a module's name."""
    parts = module.split(".")
    return next((name for k in range(len(parts), 0, -1) if (name := ".".join(parts[:k])) in RANK), parts[0])


def imported(path: Path) -> Iterator[str]:
    """Full names of what a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            whole = node.module in FOLDERS or node.module == "lmu_kit.cli"
            yield from (f"{node.module}.{alias.name}" for alias in node.names) if whole else (node.module or "",)


def files() -> list[tuple[str, Path]]:
    """Module name and path of every file, but of the door."""
    found = []
    for top, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found.append((".".join((top, *(part for part in parts if part != "__init__"))), path))
    assert {name.partition(".")[0] for name, _ in found} == set(FOLDERS)
    return [(name, path) for name, path in found if name != "lmu_hw"]


def wrong_ranks(module: str, path: Path) -> list[str]:
    own = package(module)
    assert own in RANK, f"{path}: {own} has no rank in this test"
    wrong = []
    for name in imported(path):
        other = package(name)
        rank = DOOR if name == "lmu_hw" else RANK.get(other, 99)
        if name.partition(".")[0] in FOLDERS and other != own and rank >= RANK[own]:
            wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    return wrong


def test_every_package_imports_lower_ranks_only():
    assert [line for module, path in files() for line in wrong_ranks(module, path)] == []


def test_every_package_uses_its_own_libraries_only():
    wrong = []
    for module, path in files():
        allowed = LIBRARIES[next(p for p in (package(module), module.partition(".")[0]) if p in LIBRARIES)]
        for name in imported(path):
            top = name.partition(".")[0]
            standard = top in sys.stdlib_module_names and top != "argparse"
            place = PLACES.get(top, ("",))
            if not (standard or top in FOLDERS or (top in allowed and str(path.relative_to(ROOT)).startswith(place))):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_the_rule_notices_an_import_upward(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    broken = tmp_path / "broken.py"
    broken.write_text("def f():\n    from lmu_hw.power import engine\n    return engine\n")
    assert wrong_ranks("lmu_hw.cells.broken", broken) == ["broken.py imports lmu_hw.power"]
    assert wrong_ranks("lmu_hw.explore.broken", broken) == []
