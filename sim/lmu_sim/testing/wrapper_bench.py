"""A module around a wrapper, so that a bench in Python sees its ports in every simulator."""

import re

__all__ = ["BENCH", "bench_verilog"]

BENCH = "lmu_wrapper_bench"
"""Name of the module around a wrapper."""

_PORT = re.compile(r"^  (input|output) (\[\d+:0\] )?(\w+);$", re.MULTILINE)


def bench_verilog(wrapper: str, name: str) -> str:
    """Verilog of a module around a wrapper: its ports as signals of the same names, which cocotb sees in Verilator too.

    Parameters
    ----------
    wrapper : str
        From `lmu_hw.export.emit.wrapper_verilog`.
    name : str
        Name of the wrapper's module.
    """
    start = wrapper.index(f"\nmodule {name}(")
    ports = _PORT.findall(wrapper[start : wrapper.index("\nendmodule", start)])
    kinds = {"input": ("reg", " = 0"), "output": ("wire", "")}
    signals = [
        f"  {kinds[direction][0]} {width}{port} /*verilator public_flat_rw*/{kinds[direction][1]};\n"
        for direction, width, port in ports
    ]
    connections = ",\n".join(f"    .{port}({port})" for _, _, port in ports)
    return f"module {BENCH};\n{''.join(signals)}  {name} dut (\n{connections}\n  );\nendmodule\n"
