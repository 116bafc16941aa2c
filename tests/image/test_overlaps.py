"""Wheels with a path in common: a rule says who wins, or an error says the rule."""

from __future__ import annotations

import csv
import itertools
import os
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from support.reporter import Recorder
from support.training import SPEC as TRAINED
from support.training import host, lock_of, make_project, plan_of, put_wheels

from mllock.core.digest import from_hex
from mllock.errors import ArchiveError, MllockError, SpecError
from mllock.image.content import Sources
from mllock.image.overlaps import check_conflicts
from mllock.image.python import PythonGroup, group_nodes, merge
from mllock.image.wheel import Prefix
from mllock.lock.types import PythonPackage
from mllock.spec.types import Overlap
from mllock.store.cache import Cache
from mllock.train.python import find_python
from mllock.train.venv import locked_venv

SITE = "opt/venv/lib/python3.11/site-packages"
PYTHON = find_python("3.11", os.environ)


class Made:
    """Packages in a cache, and both environments of them: the images' and the host's."""

    def __init__(self, root: Path, wheels: Mapping[str, dict[str, bytes]]) -> None:
        self.cache = Cache(root / "cache", Recorder())
        self.packages = put_wheels(self.cache, {(k, "1.0"): v for k, v in wheels.items()})
        self.wheels = {
            package.wheels[0].name: self.cache.blob_path(
                from_hex(package.wheels[0].hashes["sha256"])
            )
            for package in self.packages
        }

    def image(self, *rules: Overlap, packages: tuple[PythonPackage, ...] = ()) -> dict[str, bytes]:
        group = PythonGroup(
            packages=packages or self.packages,
            prefix=Prefix(),
            python="3.11.2",
            base_interpreter="/usr/bin/python3.11",
            frame=True,
        )
        left_out = check_conflicts(group_nodes(group, self.wheels), rules)
        nodes = merge(group_nodes(group.without(left_out), self.wheels))
        with Sources() as sources:
            return {
                node.path.removeprefix("opt/venv/"): b"".join(sources.read(node))
                for node in nodes
                if node.kind == "file" and not node.path.endswith("pyvenv.cfg")
            }

    def host(self, *rules: Overlap) -> dict[str, bytes]:
        folder = self.cache.folder("venvs")
        venv = locked_venv(
            folder, self.packages, PYTHON, lambda _: self.wheels, Recorder(), overlaps=rules
        )
        return {
            str(path.relative_to(venv.root)): path.read_bytes()
            for path in venv.root.rglob("*")
            if path.is_file()
            and not path.is_symlink()
            and "__pycache__" not in path.parts
            and path.name != "pyvenv.cfg"
        }


def rule(path: str, keep: str) -> Overlap:
    return Overlap(path=path, keep=keep)


def record(tree: Mapping[str, bytes], name: str) -> set[str]:
    text = tree[f"lib/python3.11/site-packages/{name}-1.0.dist-info/RECORD"].decode()
    return {row[0] for row in csv.reader(text.splitlines())}


TESTS = {
    "one": {"one.py": b"1", "tests/__init__.py": b"", "tests/a.py": b"1", "tests/only.py": b"1"},
    "two": {"two.py": b"2", "tests/__init__.py": b"", "tests/a.py": b"2"},
}


def test_the_other_file_is_neither_there_nor_in_its_record(tmp_path: Path) -> None:
    made = Made(tmp_path, TESTS)
    site = "lib/python3.11/site-packages"
    for keep, other, content in (("one", "two", b"1"), ("two", "one", b"2")):
        tree = made.image(rule("tests/**", keep))
        assert tree[f"{site}/tests/a.py"] == content
        assert "tests/a.py" in record(tree, keep)
        assert "tests/a.py" not in record(tree, other)
        # Equal files, and files of one package only, are nobody's dispute.
        assert {"tests/__init__.py"} <= record(tree, "one") & record(tree, "two")
        assert tree[f"{site}/tests/only.py"] == b"1"
        assert made.host(rule("tests/**", keep)) == tree


def test_without_a_rule_the_error_says_it(tmp_path: Path) -> None:
    made = Made(tmp_path, TESTS)
    for environment in (made.image, made.host):
        with pytest.raises(ArchiveError) as caught:
            environment()
        assert str(caught.value) == (
            f"{SITE}/tests/a.py: one and two both install this path, with different bytes\n"
            "hint: say whose file stays, one's or two's, in [environment] of mlproject.toml: "
            'overlaps = [{ path = "tests/a.py", keep = "one" }]'
        )


MANY = {
    "one": {f"tests/{n}.py": b"1" for n in range(3)} | {"odd [x]*.py": b"1", "ü.py": b"1"},
    "two": {f"tests/{n}.py": b"2" for n in range(3)} | {"odd [x]*.py": b"2", "ü.py": b"2"},
}


@pytest.mark.parametrize("wheels", [TESTS, MANY], ids=["one file", "many files"])
def test_what_the_error_says_can_be_pasted(tmp_path: Path, wheels: dict) -> None:
    made = Made(tmp_path, wheels)
    with pytest.raises(ArchiveError) as caught:
        made.image()
    line = re.search(r"overlaps = .*$", caught.value.hint or "")
    assert line is not None
    pasted = tomllib.loads(line.group())["overlaps"]
    rules = msgspec.convert(pasted, tuple[Overlap, ...])
    assert made.image(*rules) == made.image(rule("**", "one"))
    if wheels is MANY:
        assert [item.path for item in rules] == ["odd \\[x]\\*.py", "tests/**", "ü.py"]


def test_scripts_and_data_are_named_from_the_environment(tmp_path: Path) -> None:
    made = Made(
        tmp_path,
        {
            "one": {"one-1.0.data/scripts/tool": b"#!python\n1", "one-1.0.data/data/share/x": b"1"},
            "two": {"two-1.0.data/scripts/tool": b"#!python\n2", "two-1.0.data/data/share/x": b"2"},
        },
    )
    tree = made.image(rule("bin/tool", "two"), rule("share", "one"))
    assert tree["bin/tool"].endswith(b"\n2")
    assert tree["share/x"] == b"1"


def test_three_packages(tmp_path: Path) -> None:
    wheels = {name: {"x.py": data} for name, data in (("a", b"1"), ("b", b"2"), ("c", b"2"))}
    made = Made(tmp_path, wheels)
    kept = made.image(rule("x.py", "a"))
    assert [name for name in "abc" if "x.py" in record(kept, name)] == ["a"]
    # c's is the same as b's, so both of them have it.
    kept = made.image(rule("x.py", "b"))
    assert [name for name in "abc" if "x.py" in record(kept, name)] == ["b", "c"]
    rules = (rule("x.py", "b"), rule("*.py", "b"))
    for order in itertools.permutations(made.packages):
        for ordered in itertools.permutations(rules):
            assert made.image(*ordered, packages=order) == kept


LEAVE_OUT = "hint: leave one of the two out of [environment] dependencies"
REFUSED = {
    "decides nothing": (
        TESTS,
        [rule("tests/**", "one"), rule("docs/**", "one")],
        SpecError,
        "mlproject.toml: environment.overlaps: one has no file that another package installs with "
        'different bytes and that this pattern matches\nfound: { path = "docs/**", keep = "one" }'
        "\nhint: leave it out, or correct it",
    ),
    "decides about equal files": (
        {"one": {"x.py": b"1"}, "two": {"x.py": b"1"}},
        [rule("x.py", "one")],
        SpecError,
        "mlproject.toml: environment.overlaps: one has no file that another package installs with "
        'different bytes and that this pattern matches\nfound: { path = "x.py", keep = "one" }'
        "\nhint: leave it out, or correct it",
    ),
    "two that differ": (
        TESTS,
        [rule("tests/**", "one"), rule("**/a.py", "two")],
        SpecError,
        "mlproject.toml: environment.overlaps: two rules decide about tests/a.py: one keeps that "
        "of one, one that of two\nhint: make one of the two patterns narrower",
    ),
    "another package": (
        TESTS | {"more": {"more.py": b""}},
        [rule("tests/**", "more")],
        ArchiveError,
        f"{SITE}/tests/a.py: one and two both install this path, with different bytes\n"
        "hint: say whose file stays, one's or two's, in [environment] of mlproject.toml: "
        'overlaps = [{ path = "tests/a.py", keep = "one" }]',
    ),
    "a file and a folder": (
        {"one": {"x": b"1"}, "two": {"x/y.py": b"2"}},
        [],
        ArchiveError,
        f"{SITE}/x: one and two both install this path, as a file and as a folder\n{LEAVE_OUT}",
    ),
    "the interpreter": (
        {"one": {"one-1.0.data/scripts/python": b"#!/bin/sh\n"}},
        [rule("bin/python", "one")],
        ArchiveError,
        "opt/venv/bin/python: the virtual environment and one both install this path, with "
        f"different bytes\n{LEAVE_OUT}",
    ),
    "metadata of another package": (
        {"one": {}, "two": {"two-1.0.data/purelib/one-1.0.dist-info/RECORD": b"lies"}},
        [rule("**", "two")],
        ArchiveError,
        f"{SITE}/one-1.0.dist-info/RECORD: one and two both install this path, with different "
        f"bytes\n{LEAVE_OUT}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    wheels, rules, kind, message = REFUSED[case]
    made = Made(tmp_path, wheels)
    # What a rule would decide is asked once, when the layers are made.
    both = (made.image,) if "decides" in case else (made.image, made.host)
    for environment in both:
        with pytest.raises(MllockError) as caught:
            environment(*rules)
        assert type(caught.value) is kind
        assert str(caught.value) == message
    assert list(made.cache.folder("venvs").iterdir()) == []


def test_training_on_the_host_has_what_the_rule_keeps(tmp_path: Path) -> None:
    made = Made(tmp_path, TESTS)
    rule = 'overlaps = [{ path = "tests/**", keep = "two" }]'
    program = (
        "import importlib.metadata, pathlib, tests\n"
        "found = (pathlib.Path(tests.__file__).parent / 'a.py').read_text()\n"
        "lists = [d.name for d in importlib.metadata.distributions()\n"
        "         if any(str(f) == 'tests/a.py' for f in d.files)]\n"
        "pathlib.Path('model').write_text(f'{found} {lists}')\n"
    )
    spec = TRAINED.replace('["tiny-lib"]\n', f'["tiny-lib"]\n{rule}\n')
    project = make_project(tmp_path / "project", program, spec)
    plan = plan_of(project, lock_of(project, made.packages))
    work = tmp_path / "work"
    work.mkdir()
    outcome = host(made.cache).run(plan, work, tmp_path / "log")
    assert outcome.exit_code == 0, (tmp_path / "log").read_text()
    assert (work / "model").read_text() == "2 ['two']"


def test_a_place_with_a_space(tmp_path: Path) -> None:
    """Linux takes no interpreter with a space; the shell does."""
    made = Made(
        tmp_path / "a place", {"one": {"one-1.0.data/scripts/tool": b"#!python\nprint(1)\n"}}
    )
    tree = made.host()
    place = next(made.cache.folder("venvs").iterdir()) / "venv" / "bin" / "tool"
    assert tree["bin/tool"].startswith(b"#!/bin/sh\n'''exec' '")
    assert subprocess.run([place], capture_output=True, check=True).stdout == b"1\n"
