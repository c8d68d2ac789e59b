"""What the tests of the command line share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lmu_kit.cli.main import main

CLIPS = 4
"""Of each label and split."""


@pytest.fixture(scope="module")
def recordings(speech, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few clips of every label, in the layout of Speech Commands."""
    root = tmp_path_factory.mktemp("data")
    splits = ("validation", "test")
    clips = [clip for split in splits for label in speech.labels(split) for clip in speech.take(split, label, CLIPS)]
    speech.write(root, clips, ("pink_noise", "exercise_bike"))
    return root


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail; its one line."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 1
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("lmu-hw: error: ")
        return lines[0]

    return run
