"""Whatever stands in mlproject.toml and mlproject.lock: an answer or a message, never a traceback.

500 locks and 500 specs, made from real ones by changes that are the same in every run.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.corpus import cases
from support.fuzz_text import mutated
from support.lock_project import LockProject

from mllock.cli.main import run
from mllock.errors import LockError, MllockError, SpecError
from mllock.lock.format import parse_lock
from mllock.lock.ports import Upgrade
from mllock.resources import resource
from mllock.spec.reader import parse_spec

GOLDENS = Path(__file__).parent / "goldens"
# Those that together have every key.
SPECS = [
    case.document
    for case in cases("spec", "valid.txt")
    if "every " in case.name or case.name in ("evaluation", "the builder", "an index inline")
]
OTHER_TYPES = ("7", '"x"', "true", "1.5", "[]", "{}", "2026-01-01", "[{}]", '["x"]')


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockProject:
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLLOCK_OFFLINE", "1")
    project = LockProject(tmp_path)
    project.ctx = dataclasses.replace(project.ctx, environ={"MLLOCK_OFFLINE": "1"})
    monkeypatch.chdir(project.folder)
    return project


def test_locks(project: LockProject, capsys) -> None:
    good = project.lock().lock
    texts = [project.path.read_text(), *(path.read_text() for path in GOLDENS.glob("*.lock"))]
    codes: Counter[int] = Counter()
    made: Counter[str] = Counter()
    for seed in range(500):
        data = mutated(texts[seed % len(texts)], seed)
        project.path.write_bytes(data)
        codes[run(["lock", "--check"])] += 1
        assert len(re.findall("^error: ", capsys.readouterr().err, re.MULTILINE)) <= 1
        # And what is edited is the beginning of the next lock, or a message.
        upgrade = Upgrade(names=frozenset({"alpha"})) if seed % 3 == 0 else None
        try:
            lock = project.lock(dry_run=True, upgrade=upgrade).lock
        except MllockError as error:
            made[type(error).__name__] += 1
            assert error.exit_code in (2, 4)
        else:
            made["lock"] += 1
            assert {item.name for item in lock.python.packages} == {"alpha", "beta"}
        assert project.path.read_bytes() == data
    assert good.content_digest
    assert set(codes) == {0, 1, 2}
    assert made["lock"] > 100, made


def test_specs(project: LockProject, capsys) -> None:
    project.lock()
    texts = [
        (project.folder / "mlproject.toml").read_text(),
        (resource("templates", "sklearn") / "mlproject.toml").read_text(),
        *SPECS,
    ]
    codes: Counter[int] = Counter()
    made: Counter[str] = Counter()
    for seed in range(500):
        (project.folder / "mlproject.toml").write_bytes(mutated(texts[seed % len(texts)], seed))
        codes[run(["lock", "--check"])] += 1
        assert len(re.findall("^error: ", capsys.readouterr().err, re.MULTILINE)) <= 1
        if seed % 3 == 0:
            try:
                project.lock(dry_run=True)
            except MllockError as error:
                made[type(error).__name__] += 1
                assert error.exit_code in (2, 4)
            else:
                made["lock"] += 1
    assert set(codes) == {0, 1, 2}
    assert made["lock"] >= 10, made


def other_types(text: str) -> Iterator[tuple[int, str, str]]:
    """For each key that holds one value: its line, its name, the text with another value."""
    lines = text.split("\n")
    seen: set[tuple[str, str]] = set()
    table = ""
    for at, line in enumerate(lines):
        table = line if line.startswith("[") else table
        key, equals, _ = line.partition(" = ")
        if not equals or line.startswith((" ", "#")) or line.endswith("[") or (table, key) in seen:
            continue
        seen.add((table, key))
        for value in OTHER_TYPES:
            if line != f"{key} = {value}":
                yield at + 1, key, "\n".join([*lines[:at], f"{key} = {value}", *lines[at + 1 :]])


def test_every_type_error_of_a_lock_is_named_with_its_line() -> None:
    named: set[str] = set()
    for path in GOLDENS.glob("*.lock"):
        for line, key, text in other_types(path.read_text()):
            if key in ("mllock", "resolver", "resolver-version") and f'{key} = "x"' in text:
                continue  # outside of the digest, and of the right type
            with pytest.raises(LockError) as caught:
                parse_lock(text.encode(), "mlproject.lock")
            error = caught.value
            if error.message == "wrong type":
                assert (error.line, key in str(error.key)) == (line, True), (key, str(error))
                assert error.expected
                assert error.found
                named.add(key)
    assert {"size", "name", "lock-version", "version", "files", "date", "suite"} <= named


def test_every_type_error_of_a_spec_is_named_with_its_line() -> None:
    named: set[str] = set()
    for document in SPECS:
        for line, key, text in other_types(document):
            try:
                parse_spec(text.encode(), Path("mlproject.toml"))
            except SpecError as error:
                assert error.message
                if error.message.startswith("wrong type"):
                    assert error.line == line, (key, str(error))
                    assert key in str(error.key)
                    assert error.expected
                    assert error.found
                    named.add(key)
    wanted = {"dependencies", "python", "bytecode", "port", "command", "layers", "network", "kind"}
    assert wanted <= named, wanted - named
