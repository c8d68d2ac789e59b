"""What `lmu-hw doctor` looks for, by the version of Python."""

import importlib.metadata
import platform

import pytest

from lmu_kit.installation import installed_parts

REQUIREMENTS = [
    "numpy<3,>=2.0",
    "coloquinte<0.5,>=0.4.1; (python_version < '3.13') and extra == 'place'",
    "pytest>=8.3; extra == 'test'",
]


@pytest.mark.parametrize(("python", "names"), [("3.12.9", ["numpy", "coloquinte"]), ("3.13.0", ["numpy"])])
def test_a_package_without_a_wheel_for_this_python_is_not_missed(monkeypatch, python, names):
    monkeypatch.setattr(importlib.metadata, "requires", lambda distribution: REQUIREMENTS)
    monkeypatch.setattr(platform, "python_version", lambda: python)
    parts = {part.name: part for part in installed_parts()}
    assert [name for name in ("numpy", "coloquinte", "pytest") if name in parts] == names
    if "coloquinte" in parts:
        assert parts["coloquinte"].least == "0.4.1"
        assert not parts["coloquinte"].needed
