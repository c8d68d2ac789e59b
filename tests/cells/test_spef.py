"""SPEF: what is written reads back to the same loads, names of other tools are found, wrong files are refused."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.conditions import NetWires
from lmu_hw.cells.netlist import Instance, Netlist
from lmu_hw.cells.spef import read_spef, write_spef
from lmu_hw.cells.tokens import FileFormatError
from lmu_hw.cells.transitions import find_loads

HEADER = '*SPEF "IEEE 1481-1998"\n*DIVIDER /\n*BUS_DELIMITER [ ]\n*C_UNIT 2 PF\n'

FOREIGN = (
    HEADER
    + """
*NAME_MAP
*1 d[0]
*2 d\\[1\\]
*3 top/n0  // a path
*4 bus[1]

*PORTS
*1 I
*D_NET *1 0.001
*CONN
*P *1 I
*CAP
1 *1:1 0.001
*END
*D_NET *2 0.002:0.003:0.004
*END
*R_NET *3 0.005
*D_NET *4 1e-3
*D_NET q 0.25
*D_NET r 0
*D_NET unknown 7
"""
)


@pytest.fixture
def wires() -> NetWires:
    return NetWires(np.array([0, 0, 1.25, 2, 3, 0.1, 0, 7]) * 1e-15, "by hand")


@pytest.fixture
def netlist(tiny_netlist):
    """With a net in a block."""
    return replace(tiny_netlist, aliases=tiny_netlist.aliases | {"top.n0": 4})


def test_what_is_written_reads_back_to_the_same_loads(tiny_netlist, wires, tmp_path):
    path = tmp_path / "tiny.spef"
    path.write_text(write_spef(tiny_netlist, wires))
    plain = replace(tiny_netlist, aliases={f"n{net}": net for net in range(8)})
    again = read_spef(path, plain)
    assert again.capacitance == pytest.approx(wires.capacitance, rel=1e-11)
    loads, expected = find_loads(plain, again), find_loads(tiny_netlist, wires)
    assert loads.rise == pytest.approx(expected.rise, rel=1e-11)
    pins = find_loads(tiny_netlist)
    assert expected.fall == pytest.approx(pins.fall + wires.capacitance, rel=1e-15)
    assert again.describe() == "wires of tiny.spef, 100.0% of the nets"


def test_the_file_that_is_written(tiny_netlist, wires):
    text = write_spef(tiny_netlist, wires)
    assert "*PORTS\nd_0 I\nd_1 I\nq_0 O\nr_0 O\n" in text
    net = "*D_NET n4 3\n*CONN\n*I i0:Y O\n*I i2:A I\n*I i3:A I\n*CAP\n1 i0:Y 3\n"
    assert net + "*RES\n1 i0:Y i2:A 0.001\n2 i0:Y i3:A 0.001\n*END\n" in text
    assert "*CONN\n*P d_0 I\n*I i0:A I\n" in text
    assert "*CONN\n*I i2:Y O\n*P q_0 O\n" in text


def test_a_file_of_another_tool(netlist, tmp_path):
    path = tmp_path / "other.spef"
    path.write_text(FOREIGN)
    picofarad = np.array([0, 0, 0.002, 0.006, 0.01, 0.002, 0.5, 0])
    assert read_spef(path, netlist).capacitance == pytest.approx(picofarad * 1e-12)


def test_bus_bits_with_other_signs(netlist, tmp_path):
    path = tmp_path / "other.spef"
    for sign, name in (("< >", "<1>"), (":", ":1"), ("( )", "(1)")):
        text = FOREIGN.replace("*BUS_DELIMITER [ ]", f"*BUS_DELIMITER {sign}").replace("bus[1]", f"bus{name}")
        path.write_text(text.replace("d[0]", f"d{name.replace('1', '0')}"))
        assert read_spef(path, netlist).capacitance[5] == pytest.approx(2e-15)


def test_a_net_in_a_hundred_may_be_missing(tiny_library, tmp_path):
    """It gets the mean of the others for each reader."""
    inverter = tiny_library.cells["INV"]
    chain = tuple(Instance(f"u{k}", "", inverter, {"A": k + 2, "Y": k + 3}) for k in range(150))
    names = {f"n{net}": net for net in range(2, 153)}
    netlist = Netlist("chain", {"a": (2,)}, {"y": (152,)}, chain, 153, {}, names)
    path = tmp_path / "chain.spef"
    path.write_text(HEADER + "".join(f"*D_NET n{net} 0.004\n" for net in range(2, 153) if net != 50))
    wires = read_spef(path, netlist)
    assert wires.capacitance[50] == pytest.approx(150 / 149 * 8e-15)
    assert wires.describe() == "wires of chain.spef, 99.3% of the nets"
    path.write_text(HEADER + "".join(f"*D_NET n{net} 0.004\n" for net in range(2, 151)))
    with pytest.raises(FileFormatError) as error:
        read_spef(path, netlist)
    problem = "has 149 of the 151 nets of the netlist (98.7%), at least 99% are needed; 151 is missing"
    assert str(error.value) == f"{path}: {problem}"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("*D_NET a 1\n", 1, "*SPEF was expected first, not *D_NET"),
        ("*SPEF x\n*D_NET a 1\n", 2, "*C_UNIT was expected before *D_NET"),
        (HEADER, None, "has no net (*D_NET)"),
        ("*SPEF x\n*C_UNIT 1 LITRE\n", 2, "*C_UNIT must be a number and one of F, MF, UF, NF, PF, FF, not 1 LITRE"),
        ("*SPEF x\n*C_UNIT -1 PF\n", 2, "*C_UNIT must be a number of at least 0, not -1"),
        ("*SPEF x\n*DIVIDER\n", 2, "*DIVIDER has no value"),
        ("*SPEF x\n*NAME_MAP\n*1 a b\n", 3, "an index and a name were expected, not *1 a b"),
        ("*SPEF x\n*DEFINE u1 block\n", 2, "*DEFINE (a SPEF of parts) is not supported: write one of the whole design"),
        (HEADER + "*D_NET a\n", 5, "*D_NET must have a net and its capacitance"),
        (HEADER + "*D_NET *7 1\n", 5, "net *7 is not in the name map"),
        (HEADER + "*D_NET a x\n", 5, "the capacitance of net a must be a number of at least 0, not x"),
        (HEADER + "*D_NET a -1\n", 5, "the capacitance of net a must be a number of at least 0, not -1"),
        (HEADER + "*D_NET a nan\n", 5, "the capacitance of net a must be a number of at least 0, not nan"),
        (HEADER + "*D_NET a 1\n*D_NET a 1\n", 6, "net a stands in line 5 too"),
        (HEADER + "*D_NET n1 1\n*D_NET bus[1] 1\n", 6, "net bus[1] is a net that the file has under another name too"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_line(netlist, tmp_path, text, line, problem):
    path = tmp_path / "wrong.spef"
    path.write_text(text)
    with pytest.raises(FileFormatError) as error:
        read_spef(path, netlist)
    assert str(error.value) == (f"{path}: {problem}" if line is None else f"{path}:{line}: {problem}")


def test_wires_that_do_not_fit_are_refused(tiny_netlist, wires):
    with pytest.raises(ValueError, match=r"^wires of 8 nets were expected, not 3$"):
        find_loads(tiny_netlist, NetWires(np.zeros(3), ""))
    with pytest.raises(ValueError, match=r"^the wire of net 2 must have a capacitance of at least 0, not -1\.0$"):
        NetWires(np.array([0, 0, -1.0]), "")
    with pytest.raises(ValueError, match=r"not nan$"):
        NetWires(np.array([np.nan]), "")
