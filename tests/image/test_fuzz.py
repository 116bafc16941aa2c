"""A changed archive is refused, or gives the very same files; `support.fuzz` goes on for hours."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fuzz import ARCHIVES, CHANGES, INSIDE, changed, outcome

PLACE = st.integers(0, 1 << 30)


@pytest.mark.parametrize("name", ARCHIVES)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(CHANGES), PLACE, PLACE, PLACE, PLACE)
def test_a_changed_archive_is_refused_or_means_the_same(
    name: str, how: str, at: int, length: int, other: int, value: int
) -> None:
    data, make = ARCHIVES[name]
    with tempfile.TemporaryDirectory() as folder:
        made = outcome(make, Path(folder), changed(data, how, at, length, other, value))
        assert made is None or made == make(Path(folder), data)


@pytest.mark.parametrize("name", INSIDE)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(CHANGES), PLACE, PLACE, PLACE, PLACE)
def test_what_is_inside_is_refused_or_read(
    name: str, how: str, at: int, length: int, other: int, value: int
) -> None:
    data, make = INSIDE[name]
    with tempfile.TemporaryDirectory() as folder:
        outcome(make, Path(folder), changed(data, how, at, length, other, value))


@pytest.mark.parametrize("name", [*ARCHIVES, *INSIDE])
def test_unchanged_archives_are_read(name: str, tmp_path: Path) -> None:
    data, make = (ARCHIVES | INSIDE)[name]
    assert outcome(make, tmp_path, data) is not None


@pytest.mark.parametrize("how", CHANGES)
def test_changes_change(how: str) -> None:
    data = bytes(range(200))
    assert changed(data, how, 7, 3, 100, 5) != data
