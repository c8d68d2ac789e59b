"""LEF: sizes, sites, pins and capacitances, by hand and of the kits; errors with their line."""

import gzip

import pytest

from lmu_hw.cells.lef import read_lef
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.pdk import PdkError, find_lef
from lmu_hw.cells.tokens import FileFormatError


def test_a_file_by_hand(tiny_lef):
    assert list(tiny_lef.sites) == ["core"]
    site = tiny_lef.sites["core"]
    assert (site.width, site.height, site.kind) == (0.5, 2.0, "CORE")
    (layer,) = tiny_lef.layers
    assert layer.wire_capacitance == pytest.approx((3e-5 * 0.2 + 2 * 4e-5) * 1e-12)
    inverter = tiny_lef.macros["INV"]
    assert (inverter.width, inverter.height, inverter.site, inverter.kind) == (2.0, 2.0, "core", "CORE")
    assert inverter.pins == {"A": (0.25, 1.0), "Y": (1.75, 0.5)}  # the ground pin is left out
    assert tiny_lef.macros["NAND"].pins == {"A": (0.5, 0.5), "B": (1.5, 1.5), "Y": (3.5, 0.5)}


@pytest.mark.parametrize(
    ("name", "metal", "wire", "site"),
    [("sky130A", "met2", 0.0779, "unithd"), ("ihp-sg13g2", "Metal2", 0.0930, "CoreSite")],
)
def test_the_files_of_a_kit(pdk, monkeypatch, name, metal, wire, site):
    process = pdk(name)
    root = process.cells[0].parents[4]
    lef = read_lef(find_lef(name, root))
    layer = next(layer for layer in lef.layers if layer.name == metal)
    assert layer.wire_capacitance * 1e15 == pytest.approx(wire, abs=5e-5)
    library = read_liberty((*process.cells, *process.macros))
    for cell in library.cells.values():
        macro = lef.macros[cell.name]
        assert set(cell.inputs) | set(cell.outputs) <= macro.pins.keys(), cell.name
        if cell.memory is None and cell.area:
            assert macro.site == site
            assert macro.width * macro.height == pytest.approx(cell.area, rel=0.12), (
                cell.name
            )  # one of IHP's differs by 10 %


def test_a_compressed_file_reads_the_same(tiny_files, tiny_lef, tmp_path):
    path = tmp_path / "tiny.lef.gz"
    path.write_bytes(gzip.compress(tiny_files[1].read_bytes()))
    assert read_lef([path]).sites == tiny_lef.sites


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("MACRO A\n  SIZE 1 BY x ;\nEND A", 2, "a height must be a number, not x"),
        ("MACRO A\n  SIZE 0 BY 2 ;\nEND A", 2, "a size must be above 0, not 0 by 2"),
        ("MACRO A\n  CLASS CORE ;\nEND A", 3, "macro A has no SIZE"),
        ("MACRO A\n  SIZE 1 BY 2 ;\nEND B", 3, "A was expected, not B"),
        ("SITE s\n  CLASS CORE ;\nEND s", 3, "site s has no SIZE"),
        (
            "MACRO A\n  SIZE 1 BY 2 ;\n  PIN P\n    PORT\n      RECT 0 0 1 ;",
            5,
            "RECT must have pairs of numbers, not 0 0 1",
        ),
        ("MACRO A\n  PIN P\n    PORT\n      RECT 0 a 1 1 ;", 4, "RECT must have numbers, not 0 a 1 1"),
        ("LAYER m\n  TYPE ROUTING ;\n  EDGECAPACITANCE inf ;", 3, "EDGECAPACITANCE must be finite, not inf"),
        (
            "UNITS\n  CAPACITANCE PICOFARADS none ;",
            2,
            "a unit of capacitance was expected, not CAPACITANCE PICOFARADS none",
        ),
        ("MACRO A\n  SIZE 1 BY 2 ;", 2, "the file ends where more was expected"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path, text, line, problem):
    path = tmp_path / "bad.lef"
    path.write_text(text)
    with pytest.raises(FileFormatError) as error:
        read_lef([path])
    assert str(error.value) == f"{path}:{line}: {problem}"
    assert (error.value.path, error.value.line, error.value.problem) == (path, line, problem)


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(FileFormatError, match=r"no\.lef: cannot be read: No such file or directory$"):
        read_lef([tmp_path / "no.lef"])
    for data in (b"\xff\xfe\x00", b"\x1f\x8b\x08broken"):
        (tmp_path / "binary.lef").write_bytes(data)
        with pytest.raises(FileFormatError, match=r"binary\.lef: (is not a text file|cannot be read)"):
            read_lef([tmp_path / "binary.lef"])


def test_a_kit_without_lef_says_what_was_expected(tmp_path):
    (tmp_path / "own").mkdir()
    with pytest.raises(PdkError, match=r"LEF files \(lef/\*\.tlef or lef/\*\.lef\) were expected in .*own"):
        find_lef("own", tmp_path)
    (tmp_path / "sky130A").mkdir()
    with pytest.raises(PdkError, match=r"the LEF file .*sky130_fd_sc_hd__nom\.tlef was expected"):
        find_lef("sky130A", tmp_path)
    with pytest.raises(PdkError, match="no LEF files are known for osu018: give them by name"):
        find_lef("osu018")
    for name in ("a.tlef", "b.lef", "b.lef.gz"):
        (tmp_path / "own" / "lef").mkdir(exist_ok=True)
        (tmp_path / "own" / "lef" / name).touch()
    assert [path.name for path in find_lef("own", tmp_path)] == ["a.tlef", "b.lef"]
