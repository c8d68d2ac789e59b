"""IP-XACT (IEEE 1685-2014) description of an emitted accelerator: ports, bus interfaces, registers, files."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from lmu_hw.export.names import wrapper_name
from lmu_hw.export.ports import Port, ports
from lmu_hw.host import registers
from lmu_hw.plan.config import Interface
from lmu_hw.plan.plan import Plan

__all__ = ["NAMESPACE", "component"]

NAMESPACE = "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"

BUSES = {
    "stream": (("AMBA4", "AXI4Stream", "r0p0_1"), ("AMBA4", "AXI4Stream_rtl", "r0p0_1")),
    "lite": (("AMBA4", "AXI4-Lite", "r0p0_0"), ("AMBA4", "AXI4-Lite_rtl", "r0p0_0")),
}
"""Arm's bus and abstraction definitions: library, name and version; their vendor is amba.com."""

INTERFACES = {
    "s_axis": ("stream", "slave", "s_axis_"),
    "m_axis_logits": ("stream", "master", "m_axis_logits_"),
    "m_axis_decision": ("stream", "master", "m_axis_decision_"),
    "s_axil": ("lite", "slave", "s_axil_"),
}
"""Kind, role and prefix of the ports of each bus interface of the AXI wrapper."""

ACCESS = {
    registers.Access.READ: ("read-only", None),
    registers.Access.READ_WRITE: ("read-write", None),
    registers.Access.WRITE: ("write-only", None),
    registers.Access.CLEAR: ("read-write", "oneToClear"),
}
"""Access and modified write value of each kind of register."""


def _add(parent: ET.Element, tag: str, text: object = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, f"{{{NAMESPACE}}}{tag}", attributes)
    if text is not None:
        element.text = str(text)
    return element


def component(plan: Plan, manifest: Mapping[str, Any]) -> str:
    """Text of ``NAME.xml``, for the folder that an accelerator was emitted to.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    manifest : mapping
        Its manifest, from `lmu_hw.export.emit.manifest`.

    Returns
    -------
    str
        A component ``lmu-hw:accelerators:MODULE:VERSION``. Behind AXI it has bus interfaces and a memory map; behind
        SPI the memory map stands by itself, since IP-XACT knows no standard SPI bus; the core has ports only.

    Raises
    ------
    ValueError
        If Verilog does not take the name of the top module.
    """
    ET.register_namespace("ipxact", NAMESPACE)
    root = ET.Element(f"{{{NAMESPACE}}}component")
    interface = plan.config.interface
    module = wrapper_name(plan, manifest["top"])
    for tag, text in (
        ("vendor", "lmu-hw"),
        ("library", "accelerators"),
        ("name", module),
        ("version", manifest["tools"]["lmu-hw"]),
    ):
        _add(root, tag, text)
    all_ports = ports(plan)
    if interface is Interface.AXI:
        _bus_interfaces(root, all_ports)
    if interface is not Interface.STREAM:
        _memory_map(root, plan)
    _model(root, module, all_ports)
    _files(root, [name for name in manifest["files"] if name.endswith(".v")])
    _add(root, "description", f"Keyword spotter {manifest['model']['name']}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _bus_interfaces(root: ET.Element, all_ports: tuple[Port, ...]) -> None:
    parent = _add(root, "busInterfaces")
    for name, (bus_name, role, prefix) in INTERFACES.items():
        interface = _add(parent, "busInterface")
        _add(interface, "name", name)
        bus, abstraction = (
            dict(zip(("vendor", "library", "name", "version"), ("amba.com", *names), strict=True))
            for names in BUSES[bus_name]
        )
        _add(interface, "busType", **bus)
        described = _add(_add(interface, "abstractionTypes"), "abstractionType")
        _add(described, "abstractionRef", **abstraction)
        maps = _add(described, "portMaps")
        _port_map(maps, "ACLK", "aclk")
        _port_map(maps, "ARESETn", "aresetn")
        for port in all_ports:
            if port.name.startswith(prefix):
                _port_map(maps, port.name.removeprefix(prefix).upper(), port.name)
        mode = _add(interface, role)
        if bus_name == "lite":
            _add(mode, "memoryMapRef", memoryMapRef="registers")


def _port_map(maps: ET.Element, logical: str, physical: str) -> None:
    port_map = _add(maps, "portMap")
    _add(_add(port_map, "logicalPort"), "name", logical)
    _add(_add(port_map, "physicalPort"), "name", physical)


def _memory_map(root: ET.Element, plan: Plan) -> None:
    memory_map = _add(_add(root, "memoryMaps"), "memoryMap")
    _add(memory_map, "name", "registers")
    block = _add(memory_map, "addressBlock")
    for tag, text in (
        ("name", "block"),
        ("baseAddress", 0),
        ("range", 1 << registers.ADDRESS_WIDTH),
        ("width", 32),
        ("usage", "register"),
    ):
        _add(block, tag, text)
    fixed = registers.constants(plan)
    for register in registers.present(plan):
        _register(block, register, fixed.get(register.name, register.reset))
    _add(memory_map, "addressUnitBits", 8)


def _register(block: ET.Element, register: registers.Register, reset: int | None) -> None:
    access, modified = ACCESS[register.access]
    element = _add(block, "register")
    _add(element, "name", register.name)
    _add(element, "description", register.meaning)
    _add(element, "addressOffset", f"'h{register.offset:x}")
    _add(element, "size", 32)
    _add(element, "access", access)
    for field in register.fields or (registers.Field("value", 0, 32, register.meaning),):
        part = _add(element, "field")
        _add(part, "name", field.name)
        _add(part, "description", field.meaning)
        _add(part, "bitOffset", field.low)
        if reset is not None:
            value = reset >> field.low & ((1 << field.width) - 1)
            _add(_add(_add(part, "resets"), "reset"), "value", f"'h{value:x}")
        _add(part, "bitWidth", field.width)
        _add(part, "access", access)
        if modified is not None:
            _add(part, "modifiedWriteValue", modified)


def _model(root: ET.Element, module: str, all_ports: tuple[Port, ...]) -> None:
    model = _add(root, "model")
    view = _add(_add(model, "views"), "view")
    _add(view, "name", "rtl")
    _add(view, "envIdentifier", "Verilog::")
    _add(view, "componentInstantiationRef", "rtl")
    instantiation = _add(_add(model, "instantiations"), "componentInstantiation")
    _add(instantiation, "name", "rtl")
    _add(instantiation, "language", "Verilog")
    _add(instantiation, "moduleName", module)
    _add(_add(instantiation, "fileSetRef"), "localName", "rtl")
    parent = _add(model, "ports")
    for port in all_ports:
        element = _add(parent, "port")
        _add(element, "name", port.name)
        _add(element, "description", port.meaning)
        wire = _add(element, "wire")
        _add(wire, "direction", "in" if port.is_input else "out")
        if port.width > 1:
            vector = _add(_add(wire, "vectors"), "vector")
            _add(vector, "left", port.width - 1)
            _add(vector, "right", 0)


def _files(root: ET.Element, names: list[str]) -> None:
    file_set = _add(_add(root, "fileSets"), "fileSet")
    _add(file_set, "name", "rtl")
    for name in names:
        file = _add(file_set, "file")
        _add(file, "name", name)
        _add(file, "fileType", "verilogSource")
