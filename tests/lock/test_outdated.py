"""`mllock outdated`: a lock, and an index on loopback that has moved on since."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.debian import Archive, Key
from support.debian_mirror import SEEN, Mirror, mirror
from support.lock_project import LockProject
from support.locks import package
from support.webserver import Answer, serving
from support.wheels import make_wheel, pip_environ, simple_index, write_wheel

from mllock.cli.main import run
from mllock.workflows.lock import Resolvers, lock_project

__all__ = ["mirror"]


class Locked(LockProject):
    """Locked at 1.0 by hand: alpha, beta, needed, gone."""

    def __init__(self, folder: Path, resolver: str) -> None:
        super().__init__(folder)
        self.change('"alpha>=1", "beta"]', f'"alpha>=1,<2", "beta"]\nresolver = "{resolver}"')
        self.python.name = resolver
        self.system.base = SEEN
        names = ("alpha", "beta", "gone", "needed", "same")
        self.python.resolve = lambda request: tuple(map(package, names))
        self.lock()


@pytest.mark.parametrize("resolver", ["pip-tools", "uv"])
def test_newer_versions_allowed_and_not(
    resolver: str, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    project = Locked(tmp_path, resolver)
    before = project.path.read_bytes()
    monkeypatch.chdir(project.folder)
    with simple_index() as index:
        for name, value in pip_environ(tmp_path / "home", index=index).items():
            monkeypatch.setenv(name, value)
        for version in ("1.0", "1.5", "3.0", "4.0rc1"):
            index.add("alpha", version)
            index.add("beta", version, ["needed<2", "same"])
            index.add("needed", version)
        index.add("same", "1.0")
        index.add_sdist("same", "2.0")
        assert run(["outdated"]) == 0
        assert capsys.readouterr() == (
            "PACKAGE  LOCKED  ALLOWED  NEWEST  HELD BY\n"
            "alpha    1.0     1.5      3.0     alpha<2,>=1\n"
            "beta     1.0     3.0      3.0\n"
            "needed   1.0     1.5      3.0\n",
            "asking the package index for newer versions\n"
            "asking the archive of debian bookworm for newer versions\n"
            "3 of 5 Python packages have a newer version, the spec allows one of 3\n"
            "none of 2 Debian packages has a newer version\n"
            'hint: take it with "mllock lock --upgrade NAME"\n',
        )
        assert not [path for path in index.requests if path.startswith("/files/gone")]
        if resolver == "uv":
            assert run(["outdated", "--json"]) == 0
            assert json.loads(capsys.readouterr().out) == {
                "total": 5,
                "packages": [
                    {
                        "name": name,
                        "locked": "1.0",
                        "allowed": allowed,
                        "newest": "3.0",
                        "held-by": held,
                    }
                    for name, allowed, held in (
                        ("alpha", "1.5", "alpha<2,>=1"),
                        ("beta", "3.0", None),
                        ("needed", "1.5", None),
                    )
                ],
                "debian": {"total": 2, "packages": []},
            }
            index.files = {}
            for name in ("alpha", "beta", "needed", "same"):
                index.add(name, "1.0")
            assert run(["outdated"]) == 0
            assert capsys.readouterr() == (
                "",
                "asking the package index for newer versions\n"
                "asking the archive of debian bookworm for newer versions\n"
                "none of 5 Python packages has a newer version\n"
                "none of 2 Debian packages has a newer version\n",
            )
    assert project.path.read_bytes() == before
    assert not [path for path in mirror.asked if path.endswith(".deb")]


@pytest.mark.parametrize("resolver", ["pip-tools", "uv"])
def test_the_index_cannot_be_reached(
    resolver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(Locked(tmp_path, resolver).folder)
    for name, value in pip_environ(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert run(["--offline", "outdated"]) == 4
    assert capsys.readouterr().err == (
        "error: offline: the package index is not asked\n"
        "hint: leave out --offline, or unset MLLOCK_OFFLINE\n"
    )
    assert run(["outdated"]) == 4
    assert capsys.readouterr() == (
        "",
        "asking the package index for newer versions\n"
        "error: the package index cannot be read: 127.0.0.1\n"
        "found: connection refused\n"
        "hint: check the network, the proxy and pip's settings (pip config debug)\n",
    )


def test_folders_count_and_what_comes_from_a_url_does_not(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """A project of this name in a public index would be another one."""
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    project = LockProject(tmp_path)
    project.system.base = SEEN
    monkeypatch.chdir(project.folder)
    wheel = make_wheel("ours", "1.0", requires=["beta<2"])
    answers = {"/ours-1.0-py3-none-any.whl": Answer(body=wheel)}
    with serving(answers) as server, simple_index() as index:
        for name, value in pip_environ(tmp_path / "home", index=index).items():
            monkeypatch.setenv(name, value)
        reference = f"ours @ {server.url}/ours-1.0-py3-none-any.whl"
        asked = f'"{reference}", "beta"]\nfind-links = ["wheels"]\nresolver = "uv"'
        project.change('"alpha>=1", "beta"]', asked)
        index.add("beta", "1.0")
        index.add("ours", "9.0")
        write_wheel(project.folder / "wheels", "gamma", "1.0")
        assert lock_project(
            replace(project.ctx, environ=dict(os.environ)),
            resolvers=Resolvers(system=project.system),
        ).written
        for version in ("1.5", "3.0"):
            write_wheel(project.folder / "wheels", "beta", version)
        asked_before = len(index.requests)
        assert run(["outdated"]) == 0
        assert capsys.readouterr().out == (
            "PACKAGE  LOCKED  ALLOWED  NEWEST  HELD BY\nbeta     1.0     1.5      3.0\n"
        )
        assert "/simple/ours/" not in index.requests[asked_before:]
        assert run(["why", "beta"]) == 0
        assert capsys.readouterr().out == (
            f"beta 1.0\n  mlproject.toml:7: beta\n  mlproject.toml:7: {reference} -> beta<2\n"
        )


def of_debian(project: Locked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing new of Python, whose index stays quiet."""
    monkeypatch.chdir(project.folder)
    project.change('["alpha>=1,<2", "beta"]', "[]")
    project.python.resolve = lambda request: ()
    project.lock()
    for name, value in pip_environ(tmp_path / "home").items():
        monkeypatch.setenv(name, value)


def test_newer_debian_packages_by_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    of_debian(Locked(tmp_path, "uv"), monkeypatch, tmp_path)
    made = Mirror(monkeypatch)
    made.archive.add("libc6", "2.36-9+deb12u14")
    made.archive.add("libc6", "2.36-9+deb12u16", pocket="-security")
    made.archive.add("libc6", "2.36-9+deb12u15", pocket="-updates")
    made.archive.add("libgomp1", "1.0-1~bpo1")  # not newer
    made.archive.add("libgomp1", "1:0.5", pocket="-updates")  # by its epoch
    made.archive.add("unlocked", "9")
    with serving(made.archive.answers()) as server:
        made.serve(server.url)
        assert run(["outdated"]) == 0
        assert capsys.readouterr() == (
            "DEBIAN PACKAGE  LOCKED           NEWEST           SUITE\n"
            "libc6           2.36-9+deb12u14  2.36-9+deb12u16  bookworm-security\n"
            "libgomp1        1.0-1            1:0.5            bookworm-updates\n",
            "asking the package index for newer versions\n"
            "asking the archive of debian bookworm for newer versions\n"
            "none of 0 Python packages has a newer version\n"
            "2 of 2 Debian packages have a newer version\n"
            'hint: take it with "mllock lock --upgrade NAME"\n',
        )
        assert run(["outdated", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["debian"] == {
            "total": 2,
            "packages": [
                {
                    "name": "libc6",
                    "locked": "2.36-9+deb12u14",
                    "newest": "2.36-9+deb12u16",
                    "suite": "bookworm-security",
                },
                {
                    "name": "libgomp1",
                    "locked": "1.0-1",
                    "newest": "1:0.5",
                    "suite": "bookworm-updates",
                },
            ],
        }


def test_an_archive_that_cannot_be_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    of_debian(Locked(tmp_path, "uv"), monkeypatch, tmp_path)
    made = Mirror(monkeypatch)
    made.archive.add("libc6", "9")
    path = "/debian/dists/bookworm/InRelease"
    forged = Archive(Key())
    forged.release = made.archive.release
    forged.add("libc6", "9")
    with serving(made.archive.answers() | {path: Answer(body=forged.inrelease())}) as server:
        made.serve(server.url)
        assert run(["outdated"]) == 4
        place = f"{server.url}{path}"
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[2] == (
        f"error: {place}: signed by keys that are not the archive keys of this suite"
    )
    # An archive that is older than the lock is no news.
    made.archive.release |= {"Date": "Fri, 06 Nov 2026 09:41:08 UTC"}
    with serving(made.archive.answers()) as server:
        made.serve(server.url)
        assert run(["outdated"]) == 4
    assert capsys.readouterr().err.partition("error: ")[2] == (
        f"{server.url}{path}: the archive is older than the one that the lock was made from\n"
        "expected: 2026-11-07T09:41:08Z or later\nfound: 2026-11-06T09:41:08Z\n"
        'hint: use a mirror that is up to date; "mllock lock --fresh" takes this one\n'
    )
