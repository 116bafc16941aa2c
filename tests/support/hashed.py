"""What of a project's data is read, and not only looked at."""

from __future__ import annotations

import os

import pytest

from mllock.data import hashing, remembered

__all__ = ["hashed"]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that were read."""
    names: list[str] = []
    real = hashing.hash_file

    def spy(path: bytes, *rest: object) -> object:
        names.append(os.path.basename(path).decode())
        return real(path, *rest)  # type: ignore[arg-type] # passed through

    monkeypatch.setattr(hashing, "hash_file", spy)
    monkeypatch.setattr(remembered, "hash_file", spy)
    return names
