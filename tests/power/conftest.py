"""Designs, libraries and OpenSTA for the tests of this folder."""

import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.liberty import read_liberty, read_text
from lmu_hw.cells.library import Library
from lmu_hw.cells.netlist import Instance, Netlist, read_netlist
from lmu_hw.cells.sram import find_macro
from lmu_hw.export.emit import to_verilog
from lmu_hw.flows.synth import synthesize
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.activity import Activity, clock_nets
from lmu_hw.power.engine import weigh_unguarded
from lmu_hw.power.result import Power
from lmu_sim.testing.random_models import random_model


def macro_netlist(library: Library, name: str) -> Netlist:
    """A memory macro of IHP's between flip-flops: D of port ``d`` to its inputs, from its outputs to port ``q``."""
    macro = find_macro(library.cells[name])
    instances, names = [], {}

    def net(name: str) -> int:
        names[2 + len(names)] = name
        return 1 + len(names)

    def flip_flop(name: str, data: int, out: int) -> None:
        nets = {"CLK": clock, "D": data, "RESET_B": high, "Q": out}
        instances.append(Instance(name, "", library.cells["sg13g2_dfrbpq_1"], nets))

    clock, low, high = net("clk"), net("low"), net("high")
    instances.append(Instance("low", "", library.cells["sg13g2_tielo"], {"L_LO": low}))
    instances.append(Instance("high", "", library.cells["sg13g2_tiehi"], {"L_HI": high}))
    nets = {macro.clock: clock} | dict.fromkeys(macro.mask, high)
    nets |= {pin: high if level else low for pin, level in macro.ties.items()}
    inputs, outputs = [], []
    for pin in (macro.enable, macro.read, macro.write, *macro.address, *macro.data_in):
        inputs.append(net(f"d {pin}"))
        nets[pin] = net(pin)
        flip_flop(pin, inputs[-1], nets[pin])
    for pin in macro.data_out:
        nets[pin] = net(pin)
        outputs.append(net(f"q {pin}"))
        flip_flop(pin, nets[pin], outputs[-1])
    instances.append(Instance("memory", "memory", library.cells[name], nets))
    ports = {"clk": (clock,), "d": tuple(inputs)}, {"q": tuple(outputs)}
    return Netlist("macro", *ports, tuple(instances), 2 + len(names), names)


def mapped(verilog: str, top: str, library: Library, **options) -> Netlist:
    done = synthesize(verilog, top, library, **options)
    return read_netlist(done.json, top, library)


def unguarded(netlist: Netlist, activity: Activity, conditions: Conditions | None = None, rules=None) -> Power:
    """Power without guards: activities that were made up for a comparison pass none of them."""
    return weigh_unguarded(netlist, activity, conditions or Conditions(), rules)


FLAT = 'power_lut_template (flat) { variable_1 : input_transition_time; index_1 ("0, 1"); }'

MULTIPLIER = """
module multiplier(input clk, input signed [7:0] a, input signed [7:0] b, output reg signed [15:0] p);
  reg signed [7:0] ra, rb;
  always @(posedge clk) begin ra <= a; rb <= b; p <= ra * rb; end
endmodule
"""

MEMORY_UPDATE = """
module memory_update(input clk, input enable, input signed [7:0] u, output [47:0] m);
  reg run; reg signed [7:0] ru; reg signed [11:0] m0, m1, m2, m3;
  wire signed [23:0] s0 = 98 * m0 - 29 * m1 - 27 * m2 - 25 * m3 + 61 * ru;
  wire signed [23:0] s1 = 85 * m0 + 41 * m1 - 77 * m2 - 71 * m3 + 85 * ru;
  wire signed [23:0] s2 = -71 * m0 + 98 * m1 - 7 * m2 - 101 * m3 - 71 * ru;
  wire signed [23:0] s3 = 63 * m0 - 47 * m1 + 108 * m2 - 41 * m3 + 45 * ru;
  always @(posedge clk) begin
    run <= enable; ru <= u;
    if (run) begin m0 <= s0 >>> 7; m1 <= s1 >>> 7; m2 <= s2 >>> 7; m3 <= s3 >>> 7; end
  end
  assign m = {m3, m2, m1, m0};
endmodule
"""


def small_model(**shape) -> QuantizedModel:
    shape = {"inputs": 4, "units": 6, "memories": [(4, 8.0), (4, 8.0)]} | shape
    return random_model(
        np.random.default_rng(3), **shape, activation="relu", u_activation="linear", stride=1, e_h=False, w_h=False
    )


def registered_accelerator(model: QuantizedModel | None = None, **config) -> str:
    """An accelerator with flip-flops at its inputs: OpenSTA keeps activities only behind them."""
    plan = make_plan(model or small_model(), AcceleratorConfig(**{"lanes": 4} | config))
    core = to_verilog(plan, "core")
    ports = re.findall(r"^  (input|output) (\[\d+:0\] )?(\w+);", core.partition("endmodule")[0], re.MULTILINE)
    heads, wires = [], []
    for direction, width, name in ports:
        heads.append(f"{direction} {width}{name}")
        if direction == "input" and name != "clk":
            wires.append(f"  reg {width}{name}_q; always @(posedge clk) {name}_q <= {name};")
    pins = ", ".join(
        f".{name}({name}_q)" if direction == "input" and name != "clk" else f".{name}({name})"
        for direction, _, name in ports
    )
    return (
        core + f"module registered({', '.join(heads)});\n" + "\n".join(wires) + f"\n  core core ({pins});\nendmodule\n"
    )


@pytest.fixture(scope="session")
def bench(pdk):
    """Designs, and functions that load libraries and map designs."""

    def load_library(name: str, macro: str = "") -> Library:
        """Cells of a process, and those of its macros whose name has the given part."""
        kit = pdk(name)
        return read_liberty([*kit.cells, *(path for path in kit.macros if macro and macro in path.name)])

    return SimpleNamespace(
        multiplier=MULTIPLIER,
        memory_update=MEMORY_UPDATE,
        macro_netlist=macro_netlist,
        registered_accelerator=registered_accelerator,
        small_model=small_model,
        load_library=load_library,
        mapped=mapped,
        unguarded=unguarded,
    )


@pytest.fixture
def opensta(tmp_path):
    """Function that runs commands of OpenSTA 2.0.17 on a netlist with a clock; what it prints."""
    program = shutil.which("sta")
    if program is None:
        pytest.fail("OpenSTA was not found: apt-get install opensta")

    def run(library: Library, netlist: Netlist, period: float, commands: list[str]) -> str:
        script, unit = [], "1ns"
        for index, path in enumerate(library.files):
            # That version adds the library's default wires to every net; the comparison is without.
            text = re.sub(r"(?m)^\s*default_wire_load\w*\s*:.*$", "", read_text(path))
            text = re.sub(r"default_wire_load\w*", "comment", text)
            # It also takes an energy that is not a table for joules, whatever the units are.
            text = re.sub(
                r"(rise_power|fall_power)\s*\(\s*\"?scalar\"?\s*\)\s*\{\s*values\s*\(\s*\"?([-+.\de]+)\"?\s*\)",
                r'\1 (flat) { values ("\2, \2")', text
            )  # fmt: skip
            text = re.sub(r"(library\s*\([^)]*\)\s*\{)", rf"\1 {FLAT}", text, count=1)
            unit = re.search(r'time_unit\s*:\s*"(\w+)"', text)[1]
            (tmp_path / f"cells{index}.lib").write_text(text)
            script.append(f"read_liberty cells{index}.lib")
        (tmp_path / "netlist.v").write_text(netlist.to_verilog())
        script += [
            "read_verilog netlist.v",
            f"link_design {netlist.top}",
            f"create_clock -name clk -period {period / {'1ns': 1e-9, '1ps': 1e-12}[unit]} [get_ports clk_0]",
            "set_propagated_clock [all_clocks]",
            *commands,
        ]
        (tmp_path / "run.tcl").write_text("\n".join(script) + "\n")
        done = subprocess.run(
            [program, "-no_splash", "-exit", "run.tcl"],
            cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert not done.stderr, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.fixture
def sta(opensta):
    """Function that gives OpenSTA commands and an activity for every pin: internal, switching, leakage in watt."""

    def run(library: Library, netlist: Netlist, activity: Activity, *first: str) -> np.ndarray:
        commands = list(first)
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
        printed = opensta(library, netlist, activity.period, [*commands, "report_power -digits 8"])
        total = re.search(r"^Total\s+(\S+)\s+(\S+)\s+(\S+)\s", printed, re.MULTILINE)
        assert total, printed[-2000:]
        return np.array([float(one) for one in total.groups()])

    return run
