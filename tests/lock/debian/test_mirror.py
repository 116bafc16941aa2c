from __future__ import annotations

from pathlib import Path

import pytest

from mllock.errors import InputError
from mllock.lock.debian.mirror import Archive, find_archives, without_credentials

SOURCES = """\
Types: deb deb-src
# a comment
URIs: http://mirror.example.org/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.org/debian-security
Suites: bookworm-security
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://theirs.example.org/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/theirs.gpg

Types: deb-src
URIs: http://sources.example.org/debian
Suites: bookworm
Components: main

Types: deb
Enabled: no
URIs: http://disabled.example.org/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://other.example.org/repo
Suites: nodistro
Components: main
"""

ONE_LINE = """\
# deb http://commented.example.org/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/theirs.gpg] http://theirs.example.org bookworm main
deb http://old.example.org/debian bookworm main contrib # the old way
deb http://stable.example.org/linux bookworm stable
deb-src http://old.example.org/debian bookworm main
deb cdrom:[Debian]/ bookworm main
"""


def apt(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        (folder / "sources.list.d" / name.replace("_", ".")).write_text(text)
    return folder


def found(archives: tuple[Archive, ...]) -> list[tuple[str, str, bool]]:
    return [(archive.url, archive.suite, archive.required) for archive in archives]


def test_the_sources_of_apt_in_both_forms(tmp_path: Path) -> None:
    folder = apt(tmp_path, debian_sources=SOURCES, other_list=ONE_LINE)
    assert found(find_archives("bookworm", None, {}, folder)) == [
        ("http://mirror.example.org/debian", "bookworm", True),
        ("http://old.example.org/debian", "bookworm", True),
        ("http://mirror.example.org/debian", "bookworm-updates", True),
        ("http://mirror.example.org/debian-security", "bookworm-security", True),
    ]


def test_sources_of_another_release_of_debian_serve_too(tmp_path: Path) -> None:
    folder = apt(tmp_path, debian_sources=SOURCES.replace("bookworm", "trixie"))
    assert found(find_archives("bookworm", None, {}, folder)) == [
        ("http://mirror.example.org/debian", "bookworm", True),
        ("http://mirror.example.org/debian", "bookworm-updates", False),
        ("http://mirror.example.org/debian-security", "bookworm-security", False),
    ]


def test_what_is_declared_comes_first_the_spec_before_the_environment(tmp_path: Path) -> None:
    folder = apt(tmp_path, debian_sources=SOURCES)
    environ = {"MLLOCK_DEBIAN_MIRROR": "http://env.example.org/debian"}
    declared = "file:///mirror/debian/ https://spec.example.org/debian-security"
    assert found(find_archives("bookworm", declared, environ, folder)) == [
        ("file:///mirror/debian", "bookworm", True),
        ("file:///mirror/debian", "bookworm-updates", False),
        ("https://spec.example.org/debian-security", "bookworm-security", True),
    ]
    assert found(find_archives("bookworm", None, environ, folder)) == [
        ("http://env.example.org/debian", "bookworm", True),
        ("http://env.example.org/debian", "bookworm-updates", False),
    ]


def test_no_mirror_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_archives("bookworm", None, {"MLLOCK_DEBIAN_MIRROR": " "}, tmp_path)
    assert str(caught.value) == (
        "no Debian mirror for bookworm: neither debian-mirror, MLLOCK_DEBIAN_MIRROR nor this"
        " machine's apt sources name one\n"
        "hint: set MLLOCK_DEBIAN_MIRROR to the URLs of a mirror and of its security archive, e.g."
        ' "http://mirror.example.org/debian http://mirror.example.org/debian-security"'
    )
    assert caught.value.exit_code == 2


def test_a_value_that_is_not_a_url_is_shown_without_its_password() -> None:
    with pytest.raises(InputError) as caught:
        find_archives("bookworm", "ftp://user:secret@mirror.example.org/debian", {})
    assert str(caught.value) == (
        "environment.debian-mirror: not the URL of a Debian mirror\n"
        "expected: http, https or file URLs, separated by spaces\n"
        "found: ftp://mirror.example.org/debian"
    )


@pytest.mark.parametrize("url", ["http://[bad/debian", "http://u:secret@[bad/debian"])
def test_what_cannot_be_split_is_not_a_url_either(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError) as caught:
        find_archives("bookworm", url, {})
    assert caught.value.message == "not the URL of a Debian mirror"
    assert caught.value.found == "http://[bad/debian"
    folder = apt(tmp_path, debian_sources=SOURCES)
    expected = find_archives("bookworm", None, {}, folder)
    (folder / "sources.list").write_text(f"deb {url} bookworm main\n")
    assert find_archives("bookworm", None, {}, folder) == expected


def test_credentials_may_be_named_and_stay_in_the_environment() -> None:
    environ = {"MIRROR_USER": "me", "MIRROR_PASSWORD": "a/b@c"}
    url = "https://${MIRROR_USER}:${MIRROR_PASSWORD}@mirror.example.org/debian"
    archive, *_ = find_archives("bookworm", url, environ)
    assert archive.url == "https://me:a%2Fb%40c@mirror.example.org/debian"
    assert archive.shown == "https://mirror.example.org/debian"
    with pytest.raises(InputError) as caught:
        find_archives("bookworm", url, {"MIRROR_USER": "me"})
    assert str(caught.value) == (
        "environment.debian-mirror: MIRROR_PASSWORD is not set in the environment"
    )


def test_a_security_archive_alone_is_not_enough() -> None:
    with pytest.raises(InputError) as caught:
        find_archives("bookworm", "http://mirror.example.org/debian-security", {})
    assert str(caught.value) == (
        "environment.debian-mirror: no mirror of bookworm itself, only of its security archive\n"
        "hint: add the URL of a mirror before it"
    )


def test_credentials_are_used_and_never_shown() -> None:
    (archive, _) = find_archives("bookworm", "https://user:secret@mirror.example.org/debian", {})
    assert archive.at("x") == "https://user:secret@mirror.example.org/debian/x"
    assert archive.shown == "https://mirror.example.org/debian"
    assert without_credentials("https://u:p@h.example.org:8/p?token=t#f") == (
        "https://h.example.org:8/p"
    )
