"""The import direction: lmu_quantize -> lmu_hw <- lmu_sim, and lmu_hw.cli -> all."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"lmu_hw": ROOT / "lmu_hw", "lmu_quantize": ROOT / "quantize/lmu_quantize", "lmu_sim": ROOT / "sim/lmu_sim"}
ALLOWED = {"lmu_hw": {"lmu_hw"}, "lmu_quantize": {"lmu_quantize", "lmu_hw"}, "lmu_sim": {"lmu_sim", "lmu_hw"}}
OUTSIDE = {
    "lmu_hw": {"numpy", "scipy", "amaranth"},
    "lmu_quantize": {"numpy", "scipy", "h5py", "safetensors", "torch", "rich"},
    "lmu_sim": {"numpy", "scipy", "cocotb", "cocotb_tools"},
    "cli": {"adjustText", "distributed", "matplotlib", "numpy", "rich", "serial"},
}
HEAVY = {"torch": "lmu_quantize/train", "h5py": "lmu_quantize/loaders"}


def imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
    return found


def modules() -> list[tuple[str, Path]]:
    return [(name, path) for name, folder in PACKAGES.items() for path in sorted(folder.rglob("*.py"))]


def test_there_are_modules_of_every_package():
    assert {name for name, _ in modules()} == set(PACKAGES)


@pytest.mark.parametrize(("package", "path"), modules(), ids=lambda value: str(value).removeprefix(str(ROOT)))
def test_imports_run_in_one_direction(package: str, path: Path):
    in_cli = (PACKAGES["lmu_hw"] / "cli") in path.parents
    for name in imports(path):
        top = name.partition(".")[0]
        if top in PACKAGES:
            assert in_cli or top in ALLOWED[package], f"{path} imports {name}"
        if not in_cli:
            assert not name.startswith("lmu_hw.cli"), f"{path} imports {name}"


@pytest.mark.parametrize(("package", "path"), modules(), ids=lambda value: str(value).removeprefix(str(ROOT)))
def test_heavy_packages_stay_where_they_belong(package: str, path: Path):
    for name in imports(path):
        place = HEAVY.get(name.partition(".")[0])
        if place is not None:
            torch_loader = path.name == "torch_state.py" and name.startswith("torch")
            assert place in str(path) or torch_loader, f"{path} imports {name}"


@pytest.mark.parametrize(("package", "path"), modules(), ids=lambda value: str(value).removeprefix(str(ROOT)))
def test_each_package_uses_its_own_libraries_only(package: str, path: Path):
    allowed = OUTSIDE["cli" if (PACKAGES["lmu_hw"] / "cli") in path.parents else package]
    for name in imports(path):
        top = name.partition(".")[0]
        assert top in allowed or top in PACKAGES or top in sys.stdlib_module_names, f"{path} imports {name}"


def test_the_rule_would_be_noticed(tmp_path: Path):
    broken = tmp_path / "broken.py"
    broken.write_text("def f():\n    from lmu_hw.tools import find_icarus\n    return find_icarus\n")
    assert "lmu_hw.tools" in imports(broken)
