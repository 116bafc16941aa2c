"""Staleness by meaning, and what a new lock changed, in words."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from support.locks import BASE, BUILDER, DATA, ENVIRONMENT, PIN, deb, make_lock, package

from mllock.lock.compare import changes, stale_reasons
from mllock.lock.types import Lock
from mllock.spec.meaning import Meaning

LOCK = make_lock()


def now(
    environment: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    builder: dict[str, Any] | None = None,
) -> Meaning:
    return Meaning(
        environment=ENVIRONMENT | (environment or {}),
        data=DATA if data is None else data,
        builder=BUILDER | (builder or {}),
    )


def test_the_same_meaning_is_not_stale() -> None:
    assert stale_reasons(LOCK, now()) == ()


@pytest.mark.parametrize(
    ("meaning", "reasons"),
    [
        (now({"python": "3.12"}), ("environment.python: 3.11 -> 3.12",)),
        (now({"bytecode": True}), ("environment.bytecode: false -> true",)),
        (
            now({"dependencies": ["alpha>=1", "beta", "polars>=1"]}),
            ("environment.dependencies: added polars>=1",),
        ),
        (now({"dependencies": ["beta"]}), ("environment.dependencies: removed alpha>=1",)),
        (
            now({"dependencies": ["alpha>=2", "gamma"]}),
            (
                "environment.dependencies: changed alpha>=1 to alpha>=2",
                "environment.dependencies: added gamma",
                "environment.dependencies: removed beta",
            ),
        ),
        (now({"dependencies": ["beta", "alpha>=1"]}), ("environment.dependencies: order changed",)),
        (
            now({"exclude-newer": "2026-11-01T00:00:00Z"}),
            ("environment.exclude-newer: added 2026-11-01T00:00:00Z",),
        ),
        (
            now({"variables": {"OMP_NUM_THREADS": "2", "A": "b"}}),
            (
                "environment.variables.A: added b",
                "environment.variables.OMP_NUM_THREADS: 1 -> 2",
            ),
        ),
        (now({"overlaps": [{"path": "x", "keep": "y"}]}), ("environment.overlaps: changed",)),
        (now(data={}), ("data.train: removed",)),
        (now(data=DATA | {"test": DATA["train"]}), ("data.test: added",)),
        (
            now(data={"train": DATA["train"] | {"source": "other.csv", "exclude": ["*.tmp"]}}),
            (
                "data.train.exclude: added *.tmp",
                "data.train.source: data/train.csv -> other.csv",
            ),
        ),
        (now(builder={"layers": 30}), ("builder.layers: 60 -> 30",)),
    ],
)
def test_reasons(meaning: Meaning, reasons: tuple[str, ...]) -> None:
    assert stale_reasons(LOCK, meaning) == reasons


def said(old: Lock | None, new: Lock) -> list[str]:
    return [str(change) for change in changes(old, new)]


def test_the_first_lock_adds_everything() -> None:
    assert said(None, LOCK) == [
        "Added debian:bookworm with Python 3.11.2",
        "Added libc6 2.36-9+deb12u14",
        "Added libgomp1 12.2.0-14",
        "Added alpha 1.0",
        "Added beta 2.0",
        "Added data.train (12 bytes, sha256:222222222222)",
    ]


def test_the_same_lock_changes_nothing() -> None:
    assert said(LOCK, LOCK) == []


def test_data_that_programs_find_elsewhere() -> None:
    new = replace(LOCK, data={"train": replace(PIN, path="in/t.csv")})
    assert said(LOCK, new) == [
        "Updated data.train (12 bytes, sha256:222222222222) -> "
        "(12 bytes, sha256:222222222222, at in/t.csv)"
    ]


def test_what_moved() -> None:
    other = package("beta", "2.0", tag="cp311-cp311-manylinux_2_17_x86_64")
    new = make_lock(
        base=replace(BASE, python="3.11.3"),
        system=(deb("libc6", "2.36-9+deb12u15"), deb("zlib1g", "1:1.2.13")),
        packages=(package("alpha", "1.1"), other),
        data={"train": replace(PIN, kind="folder", files=3, size=40)},
    )
    assert said(LOCK, new) == [
        "Updated debian:bookworm with Python 3.11.2 -> with Python 3.11.3",
        "Updated libc6 2.36-9+deb12u14 -> 2.36-9+deb12u15",
        "Removed libgomp1 12.2.0-14",
        "Added zlib1g 1:1.2.13",
        "Updated alpha 1.0 -> 1.1",
        "Updated beta 2.0 -> 2.0 (other file)",
        (
            "Updated data.train (12 bytes, sha256:222222222222) -> "
            "(3 files, 40 bytes, sha256:222222222222)"
        ),
    ]
