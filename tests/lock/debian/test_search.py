"""Choices of the Debian solver that turn out wrong are taken back, and what stays wrong is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.debian_machine import archive, machine
from support.universe import names, stanza, universe

from mllock.errors import ResolutionError
from mllock.lock.debian import search
from mllock.lock.debian.index import Universe
from mllock.lock.debian.solve import Solution, solve

# The first choices, p and r, do not go together; without p there is only q, which nobody wants:
# what is left is the second choice for r.
CROSSED = {
    "a": {"Depends": "p | q, r | s"},
    "p": {"Conflicts": "r"},
    "q": {"Conflicts": "a"},
    "r": {},
    "s": {},
}


def solved(made: Universe, *asked: str, **options) -> Solution:
    return solve(made, seeds=(), asked=asked, pins=options.pop("pins", {}), left_out=(), **options)


def crossed(**more: dict[str, str]) -> Universe:
    return universe([stanza(name, **fields) for name, fields in {**CROSSED, **more}.items()])


def test_an_earlier_choice_is_taken_back() -> None:
    solution = solved(crossed(), "a")
    assert names(solution) == ["+a 1", "+p 1", "+s 1"]
    assert solution.chain("s") == ("a", "s")
    # What is locked is what is found again, and a pin is preferred where it goes with the rest.
    pins = {package.name: package.version for package in solution.system}
    assert names(solved(crossed(), "a", pins=pins)) == names(solution)


def test_a_lower_version_is_a_choice_as_well() -> None:
    made = universe(
        [
            stanza("a", Depends="x"),
            stanza("b", Depends="y"),
            stanza("x", "2", Depends="c (= 2)"),
            stanza("x", "1", Depends="c (= 1)"),
            stanza("y", "2", Depends="c (= 3)"),
            stanza("y", "1", Depends="c (= 1)"),
            stanza("c", "3"),
            stanza("c", "2"),
            stanza("c", "1"),
        ]
    )
    assert names(solved(made, "a", "b")) == ["+a 1", "+b 1", "+c 1", "+x 1", "+y 1"]


def test_there_is_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    made = crossed(s={"Conflicts": "p"})
    with pytest.raises(ResolutionError) as caught:
        solved(made, "a")
    assert str(caught.value) == (
        "environment.system-packages: p 1 (a -> p) cannot be installed together with r 1 (a -> r)\n"
        "found: Conflicts or Breaks of p: r\n"
        "hint: ask for only one of them in system-packages"
    )
    monkeypatch.setattr(search, "MAX_STEPS", 2)
    with pytest.raises(ResolutionError) as caught:
        solved(made, "a")
    assert caught.value.hint == (
        "ask for only one of them in system-packages; there are too many alternatives to try them "
        "all: name those that you want in system-packages"
    )


def test_the_users_choice_stays_one() -> None:
    """A way that needs one of several providers is no way that is taken for the user."""
    made = crossed(
        s={"Depends": "mailer"}, exim={"Provides": "mailer"}, postfix={"Provides": "mailer"}
    )
    with pytest.raises(ResolutionError):
        solved(made, "a")
    assert names(solved(made, "a", "exim")) == ["+a 1", "+exim 1", "+p 1", "+s 1"]


def test_the_base_stays_the_base() -> None:
    made = crossed(bash={"Depends": "libc"}, libc={})
    solution = solve(made, seeds=("bash",), asked=("a",), pins={}, left_out=())
    assert names(solution) == ["bash 1", "libc 1", "+a 1", "+p 1", "+s 1"]


def test_what_a_base_image_has_is_not_given_up() -> None:
    made = crossed()
    (r,) = made.versions("r")
    with pytest.raises(ResolutionError) as caught:
        solved(made, "a", installed={"r": r})
    assert caught.value.message == ("p 1 (a -> p) cannot be installed together with r 1")


def test_a_large_conflict_ends_soon() -> None:
    """Twenty choices of two, and a conflict that none of them helps with: a bound, not a wait."""
    many = {f"n{i}": {} for i in range(40)}
    depends = ", ".join(f"n{2 * i} | n{2 * i + 1}" for i in range(20))
    made = universe(
        [stanza(name) for name in many]
        + [stanza("a", Depends=f"{depends}, last"), stanza("last", Conflicts="a")]
    )
    with pytest.raises(ResolutionError) as caught:
        solved(made, "a")
    assert caught.value.message == "last 1 (a -> last) cannot be installed together with a 1"


def test_from_a_signed_archive(tmp_path: Path) -> None:
    made = archive()
    for name, fields in CROSSED.items():
        made.add(f"pkg-{name}", fields={key: prefixed(value) for key, value in fields.items()})
    with machine(tmp_path, made) as (place, _):
        first = place.resolve("pkg-a")
        found = {package.name for package in first.packages if package.layer == "system"}
        assert found == {"pkg-a", "pkg-p", "pkg-s"}
        assert place.resolve("pkg-a", locked=first) == first


def prefixed(relations: str) -> str:
    groups = [
        " | ".join(f"pkg-{name}" for name in group.split(" | ")) for group in relations.split(", ")
    ]
    return ", ".join(groups)
