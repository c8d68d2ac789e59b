import re
import shutil
import subprocess

import numpy as np
import pytest

from lmu_hw.flows.liberty import Library, read_text
from lmu_hw.power.activity import Activity, clock_nets
from lmu_hw.power.netlist import Netlist


@pytest.fixture
def sta(tmp_path):
    """Function that runs OpenSTA 2.0.17 on a netlist with an activity for every pin; internal, switching, leakage in watt."""
    program = shutil.which("sta")
    if program is None:
        pytest.fail("OpenSTA was not found: apt-get install opensta")

    def run(library: Library, netlist: Netlist, activity: Activity) -> np.ndarray:
        commands, unit = [], "1ns"
        for index, path in enumerate(library.files):
            # That version adds the library's default wires to every net; the comparison is without.
            text = re.sub(r"(?m)^\s*default_wire_load\w*\s*:.*$", "", read_text(path))
            text = re.sub(r"default_wire_load\w*", "comment", text)
            unit = re.search(r'time_unit\s*:\s*"(\w+)"', text)[1]
            (tmp_path / f"cells{index}.lib").write_text(text)
            commands.append(f"read_liberty cells{index}.lib")
        (tmp_path / "netlist.v").write_text(netlist.to_verilog())
        commands += [
            "read_verilog netlist.v",
            f"link_design {netlist.top}",
            f"create_clock -name clk -period {activity.period / {'1ns': 1e-9, '1ps': 1e-12}[unit]} [get_ports clk_0]",
            "set_propagated_clock [all_clocks]",
        ]
        clocks = clock_nets(netlist, "clk")
        for name, nets in netlist.inputs.items():
            for bit, net in enumerate(nets):
                if not clocks[net]:
                    values = f"-activity {activity.toggles[net]:.9g} -duty {activity.duty[net]:.9g}"
                    commands.append(f"set_power_activity -input_ports {name}_{bit} {values}")
        for index, instance in enumerate(netlist.instances):
            for pin, net in instance.nets.items():
                if not clocks[net]:
                    values = f"{activity.toggles[net]:.9g} {activity.duty[net]:.9g}"
                    commands.append(f"sta::set_power_pin_activity [get_pins i{index}/{pin}] {values}")
        commands.append("report_power -digits 8")
        (tmp_path / "run.tcl").write_text("\n".join(commands) + "\n")
        done = subprocess.run(
            [program, "-no_splash", "-exit", "run.tcl"],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        (tmp_path / "sta.log").write_text(done.stdout + done.stderr)
        total = re.search(r"^Total\s+(\S+)\s+(\S+)\s+(\S+)\s", done.stdout, re.MULTILINE)
        assert total, done.stdout[-2000:] + done.stderr[-2000:]
        return np.array([float(one) for one in total.groups()])

    return run
