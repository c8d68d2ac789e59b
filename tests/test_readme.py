"""What the README shows works as it stands."""

import re
from pathlib import Path

import pytest

from lmu_kit.cli.main import parser

TEXT = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(code.strip().splitlines()) <= 11
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    out = capsys.readouterr().out
    assert "of 4 clips" in out
    assert "nJ per frame" in out
    assert (tmp_path / "build" / "rtl" / "lmu_accelerator.v").is_file()


def test_every_command_line_is_understood():
    lines = re.findall(r"(?:\.venv/bin/|`)lmu-hw ([^`#\n]*)", TEXT)
    whole = [words for words in map(str.split, lines) if len(words) > 1 and not words[1].startswith("--")]
    assert len(whole) >= 10
    for words in whole:
        parser().parse_args(words)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path = Path(__file__).parent.parent / target.partition("#")[0]
        assert target.startswith("https://") or path.exists(), target
