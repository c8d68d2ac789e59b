"""The command as a process: how quickly it answers, what a shell completes, and how Ctrl-C ends it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lmu_hw.version import VERSION
from lmu_kit.cli.main import COMMANDS
from lmu_quantize import zoo

RUN = [sys.executable, "-c", "from lmu_kit.cli.main import main; raise SystemExit(main())"]

PROCESSOR_SECONDS = 0.3
TRIES = 5


def processor_time(words: list[str], environment: dict[str, str]) -> float:
    """Seconds of the processor, user and system, that a whole process takes; the best of several."""
    times = []
    for _ in range(TRIES):
        process = subprocess.Popen([*RUN, *words], stdout=subprocess.DEVNULL, env=environment)
        _, _, usage = os.wait4(process.pid, 0)
        times.append(usage.ru_utime + usage.ru_stime)
        process.returncode = 0
    return min(times)


def environment(**more: str) -> dict[str, str]:
    """Environment without what measures or changes Python's start."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("COVERAGE", "COV_", "_ARGC"))}
    return kept | more


def completion(line: str, out: Path) -> dict[str, str]:
    """Environment in which a shell asks for completions of a line."""
    return environment(
        _ARGCOMPLETE="1", _ARGCOMPLETE_IFS="\n", COMP_LINE=line, COMP_POINT=str(len(line)), COMP_TYPE="9",
        _ARGCOMPLETE_STDOUT_FILENAME=str(out),
    )  # fmt: skip


@pytest.fixture
def completed(tmp_path: Path) -> Callable[[str], list[str]]:
    """Completions of a command line."""

    def complete(line: str) -> list[str]:
        out = tmp_path / "completions"
        out.write_text("")
        subprocess.run(RUN, env=completion(line, out), cwd=tmp_path, check=False)
        return [word.strip() for word in out.read_text().split("\n") if word]

    return complete


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["power", "--help"], ["explore", "--help"]])
def test_help_and_version_come_at_once(words: list[str]):
    assert processor_time(words, environment()) < PROCESSOR_SECONDS


@pytest.mark.parametrize("line", ["lmu-hw ", "lmu-hw power --", "lmu-hw evaluate kws", "lmu-hw synth kws49 --target "])
def test_completions_come_at_once(line: str, tmp_path: Path):
    assert processor_time([], completion(line, tmp_path / "out")) < PROCESSOR_SECONDS
    assert (tmp_path / "out").read_text()


def test_the_version_is_that_of_the_distribution():
    done = subprocess.run([*RUN, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"lmu-hw {VERSION}\n"


def test_commands_options_choices_and_networks_are_completed(completed: Callable[[str], list[str]], tmp_path: Path):
    assert set(completed("lmu-hw ")) >= set(COMMANDS)
    assert completed("lmu-hw ev") == ["evaluate"]
    assert sorted(completed("lmu-hw cosim --sta")) == ["--stalls", "--state", "--state-bank-words"]
    assert sorted(completed("lmu-hw cosim kws49 --stalls ")) == ["alternate", "none", "random"]
    assert sorted(completed("lmu-hw --quiet evaluate kws361-t")) == ["kws361-theta", "kws361-tuned"]
    assert set(completed("lmu-hw explore kws49 ")) >= set(zoo.names())
    assert completed("lmu-hw completion z") == ["zsh"]
    (tmp_path / "mine.safetensors").write_text("")
    assert completed("lmu-hw verilog mi") == ["mine.safetensors"]
    assert completed("lmu-hw evaluate kws49 --frames mi") == ["mine.safetensors"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str):
    done = subprocess.run([*RUN, "completion", shell], capture_output=True, text=True, check=True)
    assert "lmu-hw" in done.stdout
    assert "_ARGCOMPLETE" in done.stdout


def test_bash_completes_after_the_printed_line(tmp_path: Path):
    script = tmp_path / "lmu-hw"
    script.write_text(f"#!{sys.executable}\n{RUN[2]}\n")
    script.chmod(0o755)
    text = """
        eval "$(lmu-hw completion bash)"
        COMP_LINE='lmu-hw hil kws49 --sim' COMP_POINT=22 COMP_WORDS=(lmu-hw hil kws49 --sim) COMP_CWORD=3 COMP_TYPE=9
        _python_argcomplete_lmu_hw lmu-hw 2>/dev/null || _python_argcomplete lmu-hw
        echo "${COMPREPLY[@]}"
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", text], env=environment(PATH=path), capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["--simulate"]


def interrupted(words: list[object], ready: Callable[[], bool]) -> str:
    """Start a command, interrupt it and its children as a terminal does once it is ready; its standard error."""
    process = subprocess.Popen(
        [*RUN, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # A shell's background jobs, such as a CI run may be, ignore the interrupt, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, "ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    try:
        _, error = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert process.returncode == 130
    deadline = time.monotonic() + 30
    while alive(process.pid):
        assert time.monotonic() < deadline, "a child outlives the command"
        time.sleep(0.05)
    return error


def alive(group: int) -> bool:
    """Whether a process group has members that are not dead."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state != "Z":
            return True
    return False


def test_ctrl_c_ends_a_calibration_and_nothing_is_written(tmp_path: Path):
    pipe = tmp_path / "frames"
    os.mkfifo(pipe)
    writer: list[int] = []

    def ready() -> bool:
        try:
            writer.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody reads yet
            return False
        time.sleep(0.5)  # until it waits for data: an interrupt between opening and waiting comes too early
        return True

    words = ["quantize", "kws49", "--frames", pipe, "--out", tmp_path / "q", "--certificate", tmp_path / "c"]
    assert interrupted(words, ready) == "lmu-hw: error: interrupted\n"
    os.close(writer[0])
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_ctrl_c_ends_a_simulation(tmp_path: Path):
    build = tmp_path / "build"
    words = ["cosim", "kws49", "--clips", "4", "--lanes", "16", "--build", build, "--json", tmp_path / "result.json"]

    def ready() -> bool:
        trace = build / "trace.txt"
        return trace.exists() and trace.stat().st_size > 0

    assert interrupted(words, ready) == "lmu-hw: error: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["build"]


def test_ctrl_c_ends_a_sweep_that_resumes(tmp_path: Path):
    out = tmp_path / "sweep"
    lanes = ",".join(map(str, range(1, 31)))
    words = ["explore", "kws49", "--lanes", lanes, "--weights", "rom,ram", "--jobs", "2", "--out", out]
    points = out / "points.jsonl"
    ready = lambda: points.exists() and points.read_bytes().count(b"\n") > 3  # noqa: E731
    assert interrupted(words, ready) == "lmu-hw: error: interrupted\n"
    assert [path.name for path in out.iterdir()] == ["points.jsonl"]
    kept = points.read_bytes().splitlines()[:-1]
    assert subprocess.run([*RUN, *map(str, words), "--quiet"], check=False).returncode == 0
    assert points.read_bytes().splitlines()[: len(kept)] == kept
