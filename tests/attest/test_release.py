"""Releases and lists of revocations: golden vectors with mutated twins, laws, strict reading."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllock.attest.release import (
    Release,
    ReleasedImage,
    Revocations,
    Revoked,
    is_stage,
    make_release,
    make_revocations,
    read_release,
    read_revocations,
)
from mllock.core import canonical
from mllock.core.digest import sha256_of
from mllock.errors import RunError

GOLDEN = Path(__file__).parent / "golden"
NOW = dt.datetime(2026, 11, 25, 22, 0, 0, tzinfo=dt.UTC)

RELEASE = Release(
    project="wine-quality",
    stage="production",
    number=7,
    run="20261123-081501-k3f9",
    issued=NOW,
    expires=NOW + dt.timedelta(days=90),
    revocations=2,
    record=sha256_of(b"record"),
    model=sha256_of(b"model.manifest"),
    lock=sha256_of(b"lock"),
    environment=sha256_of(b"environment"),
    images=tuple(
        ReleasedImage(
            kind=kind,
            platform=platform,
            config=sha256_of(f"{kind} {platform} config".encode()),
            manifest=sha256_of(f"{kind} {platform} manifest".encode()),
        )
        for kind in ("serve", "train")
        for platform in ("linux/amd64", "linux/arm64")
    ),
)
LIST = Revocations(
    project="wine-quality",
    number=2,
    issued=NOW,
    revoked=(
        Revoked(
            run="20261121-081501-a000",
            record=sha256_of(b"one"),
            reason="trained on leaked labels",
            at=NOW - dt.timedelta(days=3),
        ),
        Revoked(run="20261122-081501-b000", record=sha256_of(b"two"), reason="", at=NOW),
    ),
)


def test_the_vectors(golden: Any) -> None:
    golden(GOLDEN / "release.json", make_release(RELEASE))
    golden(GOLDEN / "revocations.json", make_revocations(LIST))


def test_reading_gives_back_what_was_made() -> None:
    assert read_release((GOLDEN / "release.json").read_bytes()) == RELEASE
    assert read_revocations((GOLDEN / "revocations.json").read_bytes()) == LIST
    shuffled = replace(RELEASE, images=tuple(reversed(RELEASE.images)))
    assert make_release(shuffled) == make_release(RELEASE)
    turned = replace(LIST, revoked=tuple(reversed(LIST.revoked)))
    assert make_revocations(turned) == make_revocations(LIST)


READERS: dict[str, Callable[[bytes], object]] = {
    "release": read_release,
    "revocations": read_revocations,
}


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None)
@given(data=st.data())
def test_mutated_twins_say_something_else_or_nothing(name: str, data: st.DataObject) -> None:
    whole = (GOLDEN / f"{name}.json").read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    mutated = bytearray(whole)
    mutated[at] ^= data.draw(st.integers(1, 255))
    try:
        found = READERS[name](bytes(mutated))
    except RunError:
        return
    # A digit of a number, a letter of a reason: another statement, whose signature is another.
    assert found not in (RELEASE, LIST)


def edited(name: str, **changes: Any) -> bytes:
    value = json.loads((GOLDEN / f"{name}.json").read_bytes())
    for key, change in changes.items():
        if key == "subject":
            value["subject"] = change(value["subject"])
        elif callable(change):
            value["predicate"][key] = change(value["predicate"][key])
        else:
            value["predicate"][key] = change
    return canonical.dumps(value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"number": 0},
            "x: predicate: not a release: Expected `int` >= 1 - at `$.number`",
        ),
        (
            {"number": 1.5},
            "x: predicate: not a release: Expected `int`, got `float` - at `$.number`",
        ),
        (
            {"extra": 1},
            "x: predicate: not a release: Object contains unknown field `extra`",
        ),
        ({"stage": "revoked"}, 'x: predicate.stage: no stage is called "revoked"'),
        (
            {"expires": "2026-02-30T00:00:00Z"},
            "x: predicate.expires: not a time\nfound: 2026-02-30T00:00:00Z",
        ),
        (
            {"expires": "2026-11-25T22:00:00Z"},
            "x: predicate.expires: it is over before it begins",
        ),
        (
            {"images": lambda images: [*images, images[0]]},
            "x: predicate.images: not in order, or one is there twice",
        ),
        (
            {"subject": lambda subjects: subjects[1:]},
            "x: subject: the subjects are not those of the predicate",
        ),
        (
            {"subject": lambda subjects: [subjects[1], subjects[0], *subjects[2:]]},
            "x: subject: the subjects are not those of the predicate",
        ),
        (
            {"model": sha256_of(b"another")},
            "x: subject: the subjects are not those of the predicate",
        ),
    ],
)
def test_releases_are_read_strictly(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError) as caught:
        read_release(edited("release", **changes), name="x")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"revoked": []},
            "x: predicate: not a list of revocations: "
            "Expected `array` of length >= 1 - at `$.revoked`",
        ),
        (
            {"revoked": lambda runs: [*runs, runs[0]]},
            "x: predicate.revoked: not in order, or one is there twice",
        ),
        (
            {"revoked": lambda runs: runs[1:]},
            "x: subject: the subjects are not those of the predicate",
        ),
    ],
)
def test_lists_are_read_strictly(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError) as caught:
        read_revocations(edited("revocations", **changes), name="x")
    assert str(caught.value) == message


def test_duplicate_keys_are_refused() -> None:
    whole = (GOLDEN / "release.json").read_bytes()
    twice = whole.replace(b'"number":7', b'"number":6,"number":7')
    with pytest.raises(RunError) as caught:
        read_release(twice, name="x")
    assert str(caught.value) == "x: not an in-toto statement: duplicate key 'number'"


def test_one_is_not_read_as_the_other() -> None:
    with pytest.raises(RunError) as caught:
        read_release((GOLDEN / "revocations.json").read_bytes(), name="x")
    assert caught.value.message == "a statement about something else"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("production", True),
        ("eu-west-1", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("Production", False),
        ("a--b", False),
        ("../x", False),
        ("production\n", False),
        ("revoked", False),
    ],
)
def test_names_of_stages(text: str, good: bool) -> None:
    assert is_stage(text) is good
    if not good:
        with pytest.raises(RunError):
            make_release(replace(RELEASE, stage=text))
