"""Slips in requirements, with both resolvers: what is said of them, and of whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.locking import Locking
from support.wheels import SimpleIndex, simple_index

from mllock.errors import OfflineError
from mllock.lock.ports import Upgrade

BOTH = pytest.mark.parametrize("resolver", ["pip-tools", "uv"])


@pytest.fixture
def index() -> Iterator[SimpleIndex]:
    with simple_index() as served:
        yield served


@BOTH
def test_an_extra_that_a_package_does_not_have(
    tmp_path: Path, index: SimpleIndex, resolver: str
) -> None:
    index.add("alpha", "1.0")
    index.add("beta", "1.0", ["alpha[oops]"])
    project = Locking(tmp_path, index, 'dependencies = ["alpha[fsat]", "beta"]', resolver)
    assert project.versions() == {"alpha": "1.0", "beta": "1.0"}
    assert [line for line in project.reporter.lines if line.startswith("warn")] == [
        "warn: alpha 1.0 declares no extra 'fsat': check its spelling",
        "warn: alpha 1.0 declares no extra 'oops': check its spelling",
    ]


@BOTH
def test_who_asked_is_found_through_others(
    tmp_path: Path, index: SimpleIndex, resolver: str
) -> None:
    index.add("alpha", "1.0", ["beta"])
    index.add("beta", "1.0", ["gone"])
    project = Locking(tmp_path, index, 'dependencies = ["alpha"]', resolver)
    assert project.refusal().splitlines()[0] == (
        f"mlproject.toml:{_line(project)}: environment.dependencies[0]: no package 'gone' in the "
        "index, asked for by beta"
    )


def test_a_url_of_another_package(tmp_path: Path, index: SimpleIndex) -> None:
    """Nothing is fetched to see that."""
    index.add("beta", "1.0")
    url = index.url.replace("/simple", "/files/beta/")
    project = Locking(tmp_path, index, f'dependencies = ["alpha @ {url}beta-1.0-py3-none-any.whl"]')
    place = f"mlproject.toml:{_line(project)}: environment.dependencies[0]: the URL of alpha"
    assert project.refusal() == (
        f"{place} is that of another package\nfound: beta-1.0-py3-none-any.whl\n"
        'hint: did you mean "beta @ ..."?'
    )
    project.change("beta-1.0-py3-none-any.whl", "x.whl")
    assert project.refusal() == (
        f"{place} does not end in the file name of a wheel\n"
        "expected: e.g. alpha-1.0-py3-none-any.whl\nfound: x.whl"
    )
    assert index.requests == []
    project.change("/x.whl", "/alpha-9-py3-none-any.whl")
    assert project.refusal(OfflineError) == (
        f"the URL of alpha is not served\nexpected: {url}alpha-9-py3-none-any.whl\n"
        "found: 404 client error: not found\nhint: check the URL; a file that has moved has "
        "another one"
    )


def test_to_upgrade_what_is_not_locked_yet(tmp_path: Path, index: SimpleIndex) -> None:
    """The spec asks for it: it comes in, and nothing else moves."""
    index.add("alpha", "1.0")
    index.add("beta", "1.0")
    project = Locking(tmp_path, index, 'dependencies = ["alpha"]', "uv")
    project.real()
    index.add("alpha", "2.0")
    project.change('"alpha"', '"alpha", "beta>=1"')
    found = project.versions(upgrade=Upgrade(names=frozenset({"Beta"})))
    assert found == {"alpha": "1.0", "beta": "1.0"}


def _line(project: Locking) -> int:
    lines = (project.folder / "mlproject.toml").read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.startswith("dependencies"))
