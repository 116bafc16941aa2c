"""The format of mlproject.lock: laws, goals, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.pylock import Pylock
from support.locks import ENVIRONMENT, deb, inputs, make_lock, package

from mllock.core.canonical import digest_of
from mllock.errors import LockError
from mllock.lock.format import content_digest, dump_lock, parse_lock, read_bytes, read_lock, seal
from mllock.lock.toml import write
from mllock.lock.types import LayerGroup, Lock

GOLDEN = Path(__file__).parent / "goldens" / "v1.lock"

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
plain = st.recursive(
    st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
names = st.from_regex(r"[a-z]{1,4}(-[a-z]{1,3})?", fullmatch=True)
versions = st.from_regex(r"[0-9]\.[0-9]{1,2}", fullmatch=True)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    pythons = draw(st.dictionaries(names, versions, max_size=5))
    debs = draw(st.sets(names, max_size=4))
    variables = draw(st.dictionaries(text, plain, max_size=3))
    lock = make_lock(
        packages=[package(name, version) for name, version in sorted(pythons.items())],
        system=tuple(deb(name) for name in debs),
        inputs=inputs(environment={"platforms": ["linux/amd64"], "variables": variables}),
    )
    groups = draw(st.permutations(sorted(pythons)))
    cut = draw(st.integers(0, len(groups)))
    python = tuple(
        LayerGroup(packages=tuple(sorted(part))) for part in (groups[:cut], groups[cut:]) if part
    )
    return seal(replace(lock, layers=replace(lock.layers, python=python)))


@given(locks())
def test_parse_after_dump_is_the_lock(lock: Lock) -> None:
    data = dump_lock(lock)
    assert parse_lock(data, "mlproject.lock") == lock
    assert dump_lock(parse_lock(data, "mlproject.lock")) == data


@given(locks(), st.randoms())
def test_the_order_of_parts_never_shows(lock: Lock, random) -> None:
    def shuffled(items):
        return tuple(random.sample(items, len(items)))

    def turned(table):
        return dict(random.sample(sorted(table.items()), len(table)))

    other = replace(
        lock,
        system=shuffled(lock.system),
        python=replace(lock.python, packages=shuffled(lock.python.packages)),
        inputs=replace(lock.inputs, environment=turned(lock.inputs.environment)),
        data=turned(lock.data),
    )
    assert dump_lock(seal(other)) == dump_lock(lock)


@given(locks().filter(lambda lock: len(lock.layers.python) > 1))
def test_the_order_of_layers_is_kept(lock: Lock) -> None:
    """It is that of the images, from the bottom up."""
    turned = seal(replace(lock, layers=replace(lock.layers, python=lock.layers.python[::-1])))
    assert turned.content_digest != lock.content_digest
    assert parse_lock(dump_lock(turned), "mlproject.lock").layers == turned.layers


@given(locks())
def test_the_python_part_is_pep_751(lock: Lock) -> None:
    document = tomllib.loads(dump_lock(lock).decode())
    read = Pylock.from_dict(document["python"])
    assert [str(item.name) for item in read.packages] == [
        item.name for item in lock.python.packages
    ]


@given(st.dictionaries(text, plain, max_size=5))
def test_the_writer_writes_toml(document) -> None:
    assert tomllib.loads(write(document)) == document


@pytest.mark.parametrize("value", [1.5, None, 2**53, b"x", "\ud800"])
def test_the_writer_refuses_what_readers_could_read_differently(value) -> None:
    with pytest.raises(ValueError):
        write({"a": {"b": value}})


def test_the_digest_is_of_all_but_tool_and_itself() -> None:
    lock = make_lock()
    document = tomllib.loads(dump_lock(lock).decode())
    del document["tool"], document["content-digest"]
    assert lock.content_digest == digest_of(document) == content_digest(lock)
    other = replace(lock, tool=replace(lock.tool, mllock="9.9.9"))
    assert content_digest(other) == lock.content_digest


def test_locks_of_version_1_are_readable_for_ever() -> None:
    # Never change this file: a reader that cannot read it breaks every project that has a lock.
    data = GOLDEN.read_bytes()
    lock = parse_lock(data, "v1.lock")
    assert lock.content_digest == (
        "sha256:a81d051909798c416979a1a6fce4647b5355b33ac08acbc8a58567116c8b8531"
    )
    assert lock == make_lock()
    assert dump_lock(lock) == data


def test_windows_line_ends_and_comments_are_not_edits() -> None:
    data = dump_lock(make_lock()).replace(b"\n", b"\r\n") + b"# reviewed\n"
    assert parse_lock(data, "mlproject.lock") == make_lock()


def test_there_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(LockError) as caught:
        read_lock(tmp_path / "mlproject.lock")
    assert str(caught.value) == 'mlproject.lock: no lock here\nhint: make it: "mllock lock"'


def edit(old: str, new: str, count: int = 1) -> bytes:
    data = dump_lock(make_lock()).decode()
    assert old in data
    return data.replace(old, new, count).encode()


def refusal(data: bytes) -> str:
    with pytest.raises(LockError) as caught:
        parse_lock(data, "mlproject.lock")
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_version_is_looked_at_first() -> None:
    data = b'lock-version = 2\nwhatever = [1.5]\n[future]\nkey = "value"\n'
    assert refusal(data) == (
        "mlproject.lock: lock-version: written by a newer mllock\nexpected: at most 1\nfound: 2\n"
        'hint: upgrade: "pip install --upgrade mllock"'
    )


@pytest.mark.parametrize("value", ["true", '"1"', "0", "1.0", "[]"])
def test_a_version_that_is_not_one(value: str) -> None:
    assert refusal(edit("lock-version = 1\n", f"lock-version = {value}\n")).startswith(
        "mlproject.lock: lock-version: not a lock: lock-version is missing or not a number\n"
    )


def test_an_edit_is_seen() -> None:
    message = refusal(edit("size = 12\n", "size = 13\n"))
    lines = message.split("\n")
    assert lines[0] == "mlproject.lock: content-digest: edited by hand or badly merged"
    assert lines[1].startswith("expected: sha256:")
    assert lines[2] == f"found: {make_lock().content_digest}"
    assert lines[3] == 'hint: write it again with "mllock lock"'


@pytest.mark.parametrize(
    ("old", "new"),
    [("size = 12\n", 'size = "12"\n'), ("size = 12\n", ""), ("[tool]\n", "[tol]\n")],
)
def test_the_way_out_of_a_lock_of_other_types_is_one(old: str, new: str) -> None:
    # "mllock lock" alone would refuse it again: it cannot read the pins that it should keep.
    assert refusal(edit(old, new)).split("\n")[-1] == (
        'hint: restore mlproject.lock from version control, or start anew: "mllock lock --fresh"'
    )


def test_what_is_not_a_file_is_not_waited_for(tmp_path: Path) -> None:
    for make, what in ((Path.mkdir, "a folder"), (os.mkfifo, "something else")):
        path = tmp_path / what / "mlproject.lock"
        path.parent.mkdir()
        make(path)
        with pytest.raises(LockError) as caught:
            read_bytes(path)
        assert str(caught.value) == (
            f'mlproject.lock: {what}, not a file\nhint: move it away, then run "mllock lock"'
        )


def test_the_pins_of_an_edited_lock_can_still_be_read() -> None:
    lock = parse_lock(edit("size = 12\n", "size = 13\n"), "mlproject.lock", verify=False)
    assert lock.data["train"].size == 13


def test_a_merge_conflict_is_named() -> None:
    data = edit("[tool]\n", "<<<<<<< HEAD\n[tool]\n=======\n[tool]\n>>>>>>> other\n")
    assert refusal(data) == (
        "mlproject.lock:7: has conflict markers of a merge\n"
        'hint: take either side of the whole file, then run "mllock lock"'
    )


@pytest.mark.parametrize(
    ("data", "first_line"),
    [
        (
            edit("[tool]", "[tool"),
            "mlproject.lock:7: TOML syntax error: expected ']' at the end of a table declaration",
        ),
        (b"lock-version = 1\nx = '\xff'\n", "mlproject.lock:2: not UTF-8"),
        (edit("[tool]\n", "[tool]\nurl = 'x'\n"), "mlproject.lock:8: tool.url: unknown key"),
        (edit('resolver = "pip-tools"\n', ""), "mlproject.lock:7: tool.resolver: missing key"),
        (edit("size = 12\n", 'size = "12"\n'), "mlproject.lock:108: data.train.size: wrong type"),
        (
            edit("size = 12\n", "size = -1\n"),
            "mlproject.lock:108: data.train.size: expected int >= 0",
        ),
    ],
    ids=["syntax", "utf8", "unknown", "missing", "type", "range"],
)
def test_the_place_is_named(data: bytes, first_line: str) -> None:
    assert refusal(data).split("\n")[0] == first_line


def forged(lock: Lock) -> str:
    """Refused although the content digest is right: what a careful forger would write."""
    return refusal(dump_lock(replace(lock, content_digest=content_digest(lock))))


def test_sorted_and_unique() -> None:
    lock = make_lock()
    debs = lock.system
    assert forged(replace(lock, system=debs[::-1])) == (
        "mlproject.lock: system: 'libc6' is not sorted: comes after 'libgomp1'"
    )
    assert forged(replace(lock, system=(debs[0], debs[0]))) == (
        "mlproject.lock: system: 'libc6' is twice"
    )
    packages = lock.python.packages
    assert forged(replace(lock, python=replace(lock.python, packages=packages[::-1]))) == (
        "mlproject.lock: python.packages: 'alpha' is not sorted: comes after 'beta'"
    )


def with_wheel(**changes) -> Lock:
    lock = make_lock()
    first, *rest = lock.python.packages
    wheel = replace(first.wheels[0], **changes)
    packages = (replace(first, wheels=(wheel,)), *rest)
    return replace(lock, python=replace(lock.python, packages=packages))


def test_wheels_belong_to_their_package() -> None:
    name = "other-1.0-py3-none-any.whl"
    assert forged(with_wheel(name=name, path=f"wheels/{name}")) == (
        "mlproject.lock: python.packages[0].wheels[0].name: the wheel is of another package\n"
        "expected: alpha 1.0\nfound: other 1.0"
    )
    assert forged(with_wheel(path="../alpha-1.0-py3-none-any.whl")).startswith(
        "mlproject.lock: python.packages[0].wheels[0].path: not where this wheel would be\n"
    )


def test_paths_are_safe() -> None:
    lock = make_lock()
    bad = replace(lock, system=(replace(lock.system[0], filename="../x.deb"),))
    assert forged(bad) == "mlproject.lock: system[0].filename: \"..\" in path: '../x.deb'"
    bad = replace(lock, data={"train": replace(lock.data["train"], source="/etc/passwd")})
    assert forged(bad) == "mlproject.lock: data.train.source: absolute path: '/etc/passwd'"


@pytest.mark.parametrize("url", ["https://me:secret@example.org/x", "http://token@example.org"])
def test_no_credentials(url: str) -> None:
    lock = make_lock(inputs=inputs(environment=ENVIRONMENT | {"indexes": [{"url": url}]}))
    assert refusal(dump_lock(lock)) == (
        "mlproject.lock: inputs.environment.indexes[0].url: "
        "a URL with a user name or password in it"
    )


def test_a_reference_to_the_environment_is_no_credential() -> None:
    url = "https://${USER}:${TOKEN}@example.org/simple"
    lock = make_lock(inputs=inputs(environment=ENVIRONMENT | {"indexes": [{"url": url}]}))
    assert parse_lock(dump_lock(lock), "mlproject.lock") == lock


def test_the_inputs_are_what_their_digest_says() -> None:
    lock = make_lock()
    bad = replace(lock, inputs=replace(lock.inputs, builder={"kind": "native", "layers": 61}))
    assert forged(bad).startswith(
        "mlproject.lock: inputs.digest: is not the digest of the inputs below it\n"
    )


def test_layers_hold_every_package_once() -> None:
    lock = make_lock()
    bad = replace(lock, layers=replace(lock.layers, python=(LayerGroup(packages=("alpha",)),)))
    assert forged(bad).startswith(
        "mlproject.lock: layers.python: does not hold each locked Python package once\n"
    )


def test_data_without_its_input() -> None:
    lock = make_lock()
    assert forged(replace(lock, data={})) == ("mlproject.lock: data: no data source 'train' here")


def test_the_reference_says_how_to_compute_the_digest(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/reference/mlproject-lock.md").read_text()
    program = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "mlproject.lock").write_bytes(GOLDEN.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    assert parse_lock(GOLDEN.read_bytes(), "v1.lock").content_digest in page


def test_platforms_are_known() -> None:
    unsorted = {"platforms": ["linux/arm64", "linux/amd64"]}
    others = ({"platforms": []}, {"platforms": "linux/amd64"}, {"platforms": ["x/y"]})
    for wrong in ({}, *others, unsorted, {"platforms": ["linux/amd64", "linux/amd64"]}):
        lock = make_lock(inputs=inputs(environment=wrong))
        assert refusal(dump_lock(lock)) == (
            "mlproject.lock: inputs.environment.platforms: not platforms that are known\n"
            "expected: a sorted array of linux/amd64 or linux/arm64"
        )


@settings(max_examples=400)
@given(st.data())
def test_no_mutation_is_read_as_another_lock(data: st.DataObject) -> None:
    """Whatever happens to the bytes: one of our errors, or the very same lock."""
    good = GOLDEN.read_bytes()
    lines = good.split(b"\n")
    at = data.draw(st.integers(0, len(lines) - 1))
    match data.draw(st.sampled_from(["drop", "twice", "swap", "flip", "cut"])):
        case "drop":
            bad = b"\n".join(lines[:at] + lines[at + 1 :])
        case "twice":
            bad = b"\n".join([*lines[: at + 1], *lines[at:]])
        case "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
            bad = b"\n".join(lines)
        case "flip":
            where = data.draw(st.integers(0, len(good) - 1))
            bit = 1 << data.draw(st.integers(0, 7))
            bad = good[:where] + bytes([good[where] ^ bit]) + good[where + 1 :]
        case _:
            bad = good[: data.draw(st.integers(0, len(good)))]
    try:
        lock = parse_lock(bad, "mlproject.lock")
    except LockError:
        return
    assert replace(lock, tool=make_lock().tool) == make_lock()


@given(st.binary(max_size=200))
def test_anything_else_is_our_error(data: bytes) -> None:
    with pytest.raises(LockError):
        parse_lock(data, "mlproject.lock")
