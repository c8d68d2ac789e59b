"""Names in layout files and in the netlist that they belong to.

Files that we write call nets, cells and port bits as `Netlist.to_verilog` does. Files that we read may escape any
character with a backslash, and may have other signs for hierarchy and bus bits than the netlist's dots and brackets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lmu_hw.cells.netlist import HIGH, Netlist

__all__ = ["NameStyle", "bit_names", "find_net", "live_nets", "port_bits"]


@dataclass(frozen=True)
class NameStyle:
    """Signs of a file.

    Parameters
    ----------
    divider : str
        Between the parts of a path.
    bus : str
        Before and after the number of a bit: ``[]``, ``<>``, ``()``, ``{}``, or one sign that stands before only.
    """

    divider: str = "/"
    bus: str = "[]"

    def plain(self, name: str) -> tuple[str, str]:
        """A name without escapes: with its dividers as they are, and with dots for them."""
        literal, dotted, escaped = [], [], False
        opened = False
        for sign in name:
            if escaped or sign != "\\":
                text = sign
                if not escaped and sign == self.bus[:1]:
                    text, opened = "[", len(self.bus) == 1
                elif not escaped and len(self.bus) == 2 and sign == self.bus[1]:
                    text = "]"
                literal.append(text)
                dotted.append("." if not escaped and sign == self.divider else text)
                escaped = False
            else:
                escaped = True
        end = "]" if opened else ""
        return "".join(literal) + end, "".join(dotted) + end


def find_net(netlist: Netlist, style: NameStyle, name: str) -> int | None:
    """Net of a name in a file, or None.

    Parameters
    ----------
    netlist : Netlist
        With `Netlist.aliases`.
    style : NameStyle
        Signs of the file.
    name : str
        As it stands there.
    """
    for text in style.plain(name):
        if text in netlist.aliases:
            return netlist.aliases[text]
    return None


def live_nets(netlist: Netlist) -> list[int]:
    """Nets that have a driver and a reader, cells or ports: those that a layout must have wires of."""
    driven = {net for nets in netlist.inputs.values() for net in nets} | netlist.drivers().keys()
    read = {net for nets in netlist.outputs.values() for net in nets}
    for instance in netlist.instances:
        read.update(instance.nets[pin] for pin in instance.cell.inputs)
    return sorted(net for net in driven & read if net > HIGH)


def port_bits(netlist: Netlist) -> Iterator[tuple[str, str, int, int]]:
    """Direction (``INPUT`` or ``OUTPUT``), port, bit and net of every bit of every port."""
    for direction, group in (("INPUT", netlist.inputs), ("OUTPUT", netlist.outputs)):
        for name, nets in group.items():
            for bit, net in enumerate(nets):
                yield direction, name, bit, net


def bit_names(port: str, bit: int, width: int) -> tuple[str, ...]:
    """Names that a bit of a port may have: ``p[3]``, ``p_3`` as in `Netlist.to_verilog`, ``p`` if it has no others."""
    return (f"{port}[{bit}]", f"{port}_{bit}", *([port] if width == 1 else []))
