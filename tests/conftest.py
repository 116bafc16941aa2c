"""Goldens: bytes that must not change without somebody deciding so.

`pytest --update-goldens` writes what tests find; the diff is then reviewed like code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Golden = Callable[[Path, bytes], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens", action="store_true", help="write golden files instead of comparing"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(path, found)`: `found` is what the file holds, or the file becomes it."""

    def compare(path: Path, found: bytes) -> None:
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found)
        expected = path.read_bytes() if path.exists() else b""
        assert found == expected, f"{path.name}: changed on purpose? pytest --update-goldens"

    return compare
