"""The core as an instance of its own Verilog module, for what is wrapped around it."""

from amaranth.hdl import Instance, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from lmu_hw.gateware.accelerator import accelerator_ports
from lmu_hw.plan.plan import Plan

__all__ = ["core_instance"]


def core_instance(plan: Plan, name: str, clk: Value, rst: Value) -> tuple[Instance, wiring.PureInterface]:
    """Make an instance of the core and signals on all of its ports.

    Parameters
    ----------
    plan : Plan
        The core's.
    name : str
        Of its Verilog module, from `lmu_hw.export.emit.to_verilog`.
    clk, rst : Value
        Its clock and its synchronous reset.

    Returns
    -------
    instance : Instance
        To be added as a submodule.
    ports : PureInterface
        The ports of `Accelerator`, by the same names.
    """
    signature = accelerator_ports(plan)
    ports = signature.create(path=("core",))
    connections = {"i_clk": clk, "i_rst": rst}
    for path, member, value in signature.flatten(ports):
        connections[("i_" if member.flow is In else "o_") + "__".join(path)] = value
    return Instance(name, **connections), ports
