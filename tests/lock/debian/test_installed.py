"""What a base has of Debian already: read, and left as it is by the solver."""

from __future__ import annotations

import pytest
from support.universe import names, stanza, universe

from mllock.errors import IntegrityError, ResolutionError
from mllock.lock.debian.index import Universe
from mllock.lock.debian.installed import installed_packages, suite_of
from mllock.lock.debian.solve import solve

STATUS = b"""\
Package: libc6
Status: install ok installed
Priority: optional
Architecture: amd64
Multi-Arch: same
Version: 2.36-9
Provides: libc6-abi (= 1), something
Breaks: old (<< 2)
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab
Description: GNU C Library

Package: gone
Status: deinstall ok config-files
Version: 1

Package: held
Status: hold ok installed
Architecture: all
Version: 1:2~rc1+b1
"""


def test_the_status_of_dpkg() -> None:
    found = installed_packages(STATUS, "status")
    assert {name: package.version for name, package in found.items()} == {
        "libc6": "2.36-9",
        "held": "1:2~rc1+b1",
    }
    assert [(p.name, p.version) for p in found["libc6"].provides] == [
        ("libc6-abi", "1"),
        ("something", None),
    ]
    assert [str(relation) for relation in found["libc6"].against] == ["old (<< 2)"]


def test_control_files_have_no_status() -> None:
    assert list(installed_packages(b"Package: aa\nVersion: 1\n\nPackage: bb\nVersion: 2", "d")) == [
        "aa",
        "bb",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"Package: \nVersion: 1\n", "status: a package without name or version\nfound: "),
        (b"Package: ../x\nVersion: 1\n", "status: a package without name or version\nfound: ../x"),
        (b"Package: aa\nVersion: 1\nProvides: b (", "status: aa: unreadable relation 'b ('"),
    ],
    ids=["no name", "no name of a package", "no relation"],
)
def test_what_dpkg_would_not_have_written(text: bytes, message: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        installed_packages(text, "status")
    assert str(caught.value) == message


OFFERS = [
    stanza("libc6", "2.36-9"),
    stanza("libc6", "2.36-10"),
    stanza("tool", Depends="libc6 (>= 2.30), libextra"),
    stanza("libextra"),
    stanza("new", Depends="libc6 (>= 2.36-10)"),
    stanza("old", "1"),
    stanza("either", "2", Depends="libc6 (>= 2.40)"),
    stanza("either", "1", Depends="libc6"),
]


def above(offers: Universe, *asked: str) -> list[str]:
    solution = solve(
        offers,
        seeds=(),
        asked=asked,
        pins={},
        left_out=(),
        installed=installed_packages(STATUS, "status"),
    )
    return [name for name in names(solution) if name.startswith("+")]


def test_only_what_the_base_lacks_is_chosen() -> None:
    assert above(universe(OFFERS), "tool", "libc6") == ["+libextra 1", "+tool 1"]


def test_a_package_that_the_base_has_need_not_be_in_the_archive() -> None:
    assert above(universe(OFFERS), "held") == []


def test_what_a_base_has_is_not_upgraded() -> None:
    with pytest.raises(ResolutionError) as caught:
        above(universe(OFFERS), "new")
    assert str(caught.value) == (
        "environment.system-packages: new 1 depends on libc6 (>= 2.36-10), and the base has libc6"
        " 2.36-9\n"
        "hint: what a base has is not upgraded: take a newer base, or leave out new"
    )


def test_an_older_version_that_goes_with_the_base_is_taken() -> None:
    assert above(universe(OFFERS), "either") == ["+either 1"]


def test_a_package_that_the_base_breaks() -> None:
    with pytest.raises(ResolutionError) as caught:
        above(universe(OFFERS), "old")
    assert str(caught.value) == (
        "environment.system-packages: libc6 2.36-9 cannot be installed together with old 1\n"
        "found: Conflicts or Breaks of libc6: old (<< 2)\n"
        "hint: ask for only one of them in system-packages"
    )


def test_packages_of_the_base_that_do_not_go_together_are_its_own_affair() -> None:
    both = installed_packages(STATUS + b"\nPackage: old\nVersion: 1\n", "status")
    solution = solve(
        universe(OFFERS), seeds=(), asked=("tool",), pins={}, left_out=(), installed=both
    )
    assert [name for name in names(solution) if name.startswith("+")] == ["+libextra 1", "+tool 1"]


def test_the_suite() -> None:
    for text in (
        b"ID=debian\nVERSION_CODENAME=bookworm\n",
        b'ID="debian"\nVERSION_CODENAME="trixie"',
    ):
        assert suite_of(text, "x") in ("bookworm", "trixie")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'ID=ubuntu\nVERSION_CODENAME=jammy\nPRETTY_NAME="Ubuntu 22.04"', "Ubuntu 22.04"),
        (b"ID=debian\nVERSION_CODENAME=sid\nPRETTY_NAME=sid", "sid"),
        (b"", "oci:base has no etc/os-release"),
    ],
    ids=["ubuntu", "sid", "none"],
)
def test_a_base_that_is_not_made_of_debian(text: bytes, found: str) -> None:
    with pytest.raises(ResolutionError) as caught:
        suite_of(text, "oci:base")
    assert str(caught.value) == (
        "mlproject.toml: environment.system-packages: system-packages are Debian packages, and the "
        "base is not made of a Debian that is known\n"
        "expected: Debian bullseye or bookworm or trixie\n"
        f"found: {found}\n"
        "hint: take a base that has these packages already, and leave system-packages out"
    )
