"""The tops of the boards: pins, clocks, serial rates, and each of them in simulation."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import serial

from lmu_hw.boards import BOARDS, BoardClient, board_verilog, constraints
from lmu_hw.boards.constraints import SUFFIXES, VIVADO_SCRIPT
from lmu_hw.host.link import LinkLayout, image_chunks
from lmu_hw.model import program_file
from lmu_hw.model.golden import Golden, decide
from lmu_hw.plan.plan import make_plan
from lmu_hw.tools import Tool, find_icarus, find_verilator, run_tool
from lmu_kit.cli.main import main
from lmu_sim.serial_bridge import SerialBridge
from lmu_sim.testing.random_models import random_frames

FOLDER = Path(__file__).parents[2] / "constraints"

PORTS = {
    "pcf": r"^set_io (?:-\S+ \S+ )*(\S+) \S+$",
    "lpf": r'^LOCATE COMP "(\S+)" SITE "\S+";$',
    "cst": r'^IO_LOC "(\S+)" \S+;$',
    "xdc": r"PACKAGE_PIN \S+ .*\[get_ports \{(\S+)\}\]$",
}


def top_ports(verilog, top):
    """Every bit of every port of a module, from its Verilog."""
    body = verilog[verilog.index(f"module {top}(") :]
    body = body[: body.index("endmodule")]
    found = set()
    for high, name in re.findall(r"^  (?:input|output) (?:\[(\d+):0\] )?(\w+);$", body, re.MULTILINE):
        found |= {f"{name}[{bit}]" for bit in range(int(high) + 1)} if high else {name}
    return found


@pytest.mark.parametrize("board", BOARDS)
def test_every_port_has_a_pin_and_every_pin_a_port(board, tops):
    text = (FOLDER / f"{board}.{SUFFIXES[board]}").read_text()
    pinned = re.findall(PORTS[SUFFIXES[board]], text, re.MULTILINE)
    assert len(pinned) == len(set(pinned))
    assert set(pinned) == top_ports(*tops[board])
    assert len(pinned) > 8


@pytest.mark.parametrize("board", BOARDS)
def test_the_constraints_are_those_of_the_table(board):
    path = FOLDER / f"{board}.{SUFFIXES[board]}"
    assert path.read_text() == constraints(board), f"write constraints({board!r}) to {path}"
    assert all(source in path.read_text() for source in BOARDS[board].sources)


@pytest.mark.parametrize("board", ["icebreaker", "artya7"])
def test_the_tops_are_clean(board, tops, tmp_path):
    verilog, top = tops[board]
    (tmp_path / "top.v").write_text(verilog)
    words = ["--lint-only", "-Wall", "--top-module", top, "top.v"]
    assert "%Warning" not in run_tool(find_verilator(), words, tmp_path)


def test_the_script_for_vivado_is_the_one_that_is_written():
    assert (FOLDER / "artya7.tcl").read_text() == VIVADO_SCRIPT, f"write VIVADO_SCRIPT to {FOLDER / 'artya7.tcl'}"


@pytest.mark.parametrize("board", ["ulx3s", "artya7"])
def test_the_command_writes_all_that_a_tool_needs(board, rom_plan, tops, tmp_path):
    program_file.save(rom_plan.model, tmp_path / "model")
    words = ["verilog", tmp_path / "model", "--lanes", 2, "--board", board, "--out", tmp_path / "b"]
    assert main([str(word) for word in words]) == 0
    written = {path.name for path in (tmp_path / "b").iterdir()}
    script = {"artya7.tcl"} if board == "artya7" else set()
    assert written == {f"lmu_{board}.v", f"{board}.{SUFFIXES[board]}"} | script
    assert (tmp_path / "b" / f"lmu_{board}.v").read_text() == tops[board][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "b", "--baud", "9600"], "--baud belongs to --board"),
        (["--bundle", "b", "--board", "ulx3s"], "--board needs --out"),
        (["--out", "b", "--board", "ulx3s", "--baud", "10000000"], "baud must be a rate that 25 MHz makes"),
    ],
)
def test_options_that_do_not_fit(words, message, rom_plan, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program_file.save(rom_plan.model, tmp_path / "model")
    assert main(["verilog", "model", *words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("board", BOARDS)
def test_the_usual_rate_is_met(board):
    assert abs(BOARDS[board].baud_error()) < 0.005
    assert BOARDS[board].uart_divisor() >= 8


def test_rates_that_a_clock_makes_or_not():
    board = BOARDS["icebreaker"]
    assert board.uart_divisor(1_000_000) == 12
    assert board.baud_error(1_000_000) == 0
    for baud in (0, -1, 921_600 * 2, 6_000_000, 12_000_000):
        with pytest.raises(ValueError, match=rf"baud must be a rate that 12 MHz makes to 2 % .*, not {baud}"):
            board.uart_divisor(baud)


def test_boards_that_are_none(rom_plan):
    with pytest.raises(ValueError, match=r"board must be one of icebreaker, .*, not 'x'"):
        board_verilog(rom_plan, "x")
    with pytest.raises(ValueError, match="divisor must be at least 4, not 3"):
        board_verilog(rom_plan, "ulx3s", divisor=3)
    for lever in ("stop_clock", "gate_blocks"):
        gated = make_plan(rom_plan.model, dataclasses.replace(rom_plan.config, **{lever: True}))
        with pytest.raises(ValueError, match="stop_clock and gate_blocks are for chips, not for boards"):
            board_verilog(gated, "ulx3s")
    board = BOARDS["ulx3s"]
    with pytest.raises(ValueError, match="divider must be a power of two, not 3"):
        dataclasses.replace(board, divider=3)
    with pytest.raises(ValueError, match="ulx3s: port clk is given twice"):
        dataclasses.replace(board, pins=(*board.pins, board.pins[0]))
    with pytest.raises(ValueError, match="ulx3s: site G2 is given twice"):
        dataclasses.replace(board, pins=(*board.pins, dataclasses.replace(board.pins[0], port="other")))


def session(plan, bridge):
    """Run a clip on a board; the board after its end, and the last label."""
    (clip,) = random_frames(np.random.default_rng(4), plan.model, 1, 8)
    wanted = iter(Golden(plan.model).run(clip[None])["logits"][0])
    with bridge, serial.Serial(bridge.port) as port:
        client = BoardClient(port, LinkLayout.of(plan), timeout=20.0)
        assert client.status().ready != bool(LinkLayout.of(plan).image)
        if LinkLayout.of(plan).image:
            client.load(image_chunks(plan))
        client.clear()
        for number, frame in enumerate(clip):
            result = client.frame(frame)
            assert (result is not None) == ((number + 1) % plan.period == 0)
            if result is not None:
                logits = next(wanted)
                assert result.logits.tolist() == logits.tolist()
                assert (result.label, result.score) == tuple(int(value) for value in decide(logits))
                label = result.label
        assert client.repeated == client.damaged == client.reported == 0
    return bridge.leds, label


def test_a_board_computes_and_shows_the_word(rom_plan, rom_board):
    signs, label = session(rom_plan, rom_board)
    assert (signs.word, signs.ready, signs.trouble) == (label + 1, True, False)


@pytest.mark.slow
@pytest.mark.parametrize("board", [name for name in BOARDS if name != "tangnano9k"])
def test_the_other_boards_compute_and_show_the_word(board, rom_plan):
    signs, label = session(rom_plan, SerialBridge(rom_plan, board))
    assert (signs.word, signs.ready, signs.trouble) == (label + 1, True, False)


BENCH = """
module bench;
  reg clk = 0, button = {released};
  wire tx, led_ready, led_trouble;
  wire [{high}:0] led;
  {top} board(.clk(clk), .{button}(button), .rx(1'b1), .tx(tx), .led(led), .led_ready(led_ready),
    .led_trouble(led_trouble));
  always #5 clk = ~clk;
  task show; $display("%b %b %b %b %b", led, led_ready, led_trouble, tx, board.rst); endtask
  initial begin
    #1 show;
    #{after} show;
    button = ~button;
    #{press} show;
    button = ~button;
    #{after} show;
    $finish;
  end
endmodule
"""


@pytest.mark.parametrize("board", BOARDS)
def test_reset_and_lights_of_each_board(board, tops, tmp_path):
    """In Icarus Verilog: after power-on and after the button the reset lasts 20 us, then ready is lit and no other."""
    found = BOARDS[board]
    verilog, top = tops[board]
    cycle = 10 * found.divider
    reset = int(20e-6 * found.clock_hz)
    (tmp_path / "top.v").write_text(verilog)
    bench = BENCH.format(
        top=top,
        button=found.button,
        released=int(found.button_low),
        high=found.word_leds - 1,
        after=cycle * (reset + 4),
        press=cycle * 6,
    )
    (tmp_path / "bench.v").write_text(bench)
    icarus = find_icarus()
    run_tool(icarus, ["-g2005", "-o", "bench", "top.v", "bench.v"], tmp_path)
    printed = run_tool(Tool(["vvp"], icarus.env, ""), ["-n", "bench"], tmp_path)
    dark, lit = ("1" if found.led_low else "0"), ("0" if found.sign_low else "1")
    off = "0" if lit == "1" else "1"
    quiet = f"{dark * found.word_leds} {lit} {off} 1"
    assert printed.splitlines() == [f"{quiet} 1", f"{quiet} 0", f"{quiet} 1", f"{quiet} 0"]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["pulse", "utterance"])
def test_the_state_policy_of_the_accelerator_changes_nothing(policy, plan_of):
    plan = plan_of(state=policy)
    session(plan, SerialBridge(plan))
