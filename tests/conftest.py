"""What all tests share: in CI the recordings must be there, so that no test on real speech is skipped."""

import os
from pathlib import Path

import pytest

SPEECH = Path(os.environ.get("LMU_HW_SPEECH", Path(__file__).parents[2] / "shared" / "speech"))


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") and not (SPEECH / "index.csv.gz").is_file():
        raise pytest.UsageError(f"the recordings must be in CI: {SPEECH} does not hold them (set LMU_HW_SPEECH)")
