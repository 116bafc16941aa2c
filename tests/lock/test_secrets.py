"""Passwords of private indexes: from the lock to images and a signed run, then everything that was
written is searched for them, and everything that was said. More ways in tests/lock/test_indexes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.locking import Locking
from support.wheels import SimpleIndex, simple_index
from support.world import BASE, seed_base

from mllock.errors import MllockError
from mllock.workflows.build import build_images
from mllock.workflows.train import train

USER, SECRET = "someone", "hunter2-of-the-index/@:"
# As it stands in URLs and in headers, beside as it is.
TRACES = (
    b"hunter2",
    base64.b64encode(f"{USER}:{SECRET}".encode()),
    base64.b64encode(f"{USER}:hunter2".encode()),
)
TRAIN = """
[train]
command = ["python", "train.py"]
code = ["*.py"]
model = "model"
"""
PROGRAM = """\
import os, pathlib, ours
pathlib.Path("model").mkdir()
pathlib.Path("model/seen.txt").write_text("\\n".join(f"{k}={v}" for k, v in os.environ.items()))
"""


@pytest.fixture
def private() -> Iterator[SimpleIndex]:
    with simple_index() as index:
        index.add("ours", "1.0+team")
        index.login = f"{USER}:{SECRET}"
        yield index


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How the password comes to pip and uv; `user` is what stands in the URL."""

    resolver: str
    user: str
    packages: tuple[str, ...] = ()


ENVIRONMENT, KEYRING = "${INDEX_USER}:${INDEX_PASSWORD}@", "${INDEX_USER}@"
WAYS = {
    "environment-uv": Way(resolver="uv", user=ENVIRONMENT, packages=("ours",)),
    "keyring-pip-tools": Way(resolver="pip-tools", user=KEYRING),
    "keyring-uv": Way(resolver="uv", user=KEYRING, packages=("ours",)),
}


def keyring(folder: Path) -> None:
    """The command of that name, as keyring 25 answers, with one entry; what it was asked is in
    `asked`."""
    (folder / "secret").write_text(SECRET)
    answer = json.dumps({"username": USER, "password": SECRET})
    (folder / "creds").write_text(answer)
    (folder / "keyring").write_text(
        f"""#!/bin/sh
echo "$@" >> {folder}/asked
for word; do last=$word; done
[ "$last" = {USER} ] || exit 1
case $1 in --mode=creds) cat {folder}/creds ;; *) cat {folder}/secret ;; esac
"""
    )
    (folder / "keyring").chmod(0o755)


def project_of(
    folder: Path, aside: Path, public: SimpleIndex, private: SimpleIndex, way: Way
) -> Locking:
    url = private.url.replace("http://", f"http://{way.user}")
    lines = (
        'dependencies = ["ours"]\n[[environment.indexes]]\nname = "team"\n'
        f'url = "{url}"\npackages = {list(way.packages)}\n{TRAIN}'
    )
    project = Locking(folder, public, lines, way.resolver)
    (project.folder / "train.py").write_text(PROGRAM)
    project.environ |= {"INDEX_USER": USER, "MLLOCK_ENGINE": "none"}
    if way.user == ENVIRONMENT:
        project.environ["INDEX_PASSWORD"] = SECRET
    else:
        keyring(aside)
        project.environ["PIP_KEYRING_PROVIDER"] = "subprocess"
        project.environ["PATH"] = f"{aside}:{project.environ['PATH']}"
    return project


def nowhere(folder: Path, project: Locking, said: list[str]) -> None:
    lines = [line.encode() for line in (*said, *project.reporter.lines)]
    assert [line for line in lines for trace in TRACES if trace in line] == []
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"mlproject.lock", "record.sigstore.json", "index.json"} & {p.name for p in files}
    found = [path for path in files for trace in TRACES if trace in path.read_bytes()]
    assert found == []
    assert [path for path in folder.rglob("*") if "hunter2" in path.name] == []


@pytest.mark.parametrize("name", WAYS)
def test_a_password_is_nowhere(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, private: SimpleIndex, name: str
) -> None:
    way, aside = WAYS[name], tmp_path_factory.mktemp("aside")
    with simple_index() as public:
        project = project_of(tmp_path, aside, public, private, way)
        private.watched = tmp_path
        lock = project.real().lock
        assert [item.version for item in lock.python.packages] == ["1.0+team"]
        if way.user == KEYRING:
            assert USER in (aside / "asked").read_text()
        project.lose_wheels()
        if way.user == ENVIRONMENT:  # the wheel comes again, for images
            seed_base(project.ctx, lock, BASE)
            train(project.ctx)
            build_images(project.ctx)
            assert (project.folder / ".mllock/oci/index.json").is_file()
            (seen,) = project.folder.glob(".mllock/runs/*/model/seen.txt")
            assert "INDEX_USER" not in seen.read_text()
        else:
            assert project.installed(lock) == {"ours": "1.0+team"}
        # What is said where the password is a wrong one.
        private.login = f"{USER}:another"
        project.lose_wheels()
        said = [said_of(project, '"ours"', '"ours>7"')]
        # While it was asked for: no file and no argument of any process.
        for texts in (private.commands, private.written):
            assert [text for text in texts for trace in TRACES if trace in text] == []
        nowhere(tmp_path, project, said)


def said_of(project: Locking, old: str, new: str) -> str:
    project.change(old, new)
    with pytest.raises(MllockError) as caught:
        project.real()
    return str(caught.value)
