"""Laws of comparing a container's files: what was written is read back, and any one change is
found, under its path."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.check import tree as module
from mllock.check.live_lists import ENGINE_FILES, SCRATCH
from mllock.check.tree import compare_tree, is_below, read_export
from mllock.core.digest import sha256_of
from mllock.image.read import Member

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)
PATHS = (
    st.lists(NAMES, min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda p: not {".", "..", ""} & set(p.split("/")))
    .filter(lambda p: not p.startswith(".wh.") and p not in ENGINE_FILES)
    .filter(lambda p: not is_below(p, SCRATCH))
)
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o4755])
OWNERS = st.integers(0, 2**21 - 1)
CONTENT = st.binary(max_size=1500)


@st.composite
def contents(draw: st.DrawFn) -> dict[str, tuple[Member, bytes]]:
    """A tree: members with their bytes, no member below a file or link."""
    found: dict[str, tuple[Member, bytes]] = {}
    for path in sorted(draw(st.sets(PATHS, max_size=8))):
        parents = [path[:at] for at, char in enumerate(path) if char == "/"]
        if any(p in found and found[p][0].kind != "folder" for p in parents):
            continue
        kind = draw(st.sampled_from(["file", "folder", "symlink"]))
        data = draw(CONTENT) if kind == "file" else b""
        found[path] = (
            Member(
                kind=kind,
                mode=0o777 if kind == "symlink" else draw(MODES),
                uid=draw(OWNERS),
                gid=draw(OWNERS),
                size=len(data),
                digest=sha256_of(data) if kind == "file" else None,
                target=draw(NAMES) if kind == "symlink" else None,
            ),
            data,
        )
    return found


def exported(found: Mapping[str, tuple[Member, bytes]]) -> Iterator[bytes]:
    kinds = {"file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, (member, data) in found.items():
            info = tarfile.TarInfo(path)
            info.type, info.size = kinds[member.kind], len(data)
            info.mode, info.uid, info.gid = member.mode, member.uid, member.gid
            info.linkname = member.target or ""
            archive.addfile(info, io.BytesIO(data))
    whole = out.getvalue()
    return (whole[at : at + 1000] for at in range(0, len(whole), 1000))


def members(found: Mapping[str, tuple[Member, bytes]]) -> dict[str, Member]:
    return {path: member for path, (member, _) in found.items()}


@given(contents())
def test_what_is_there_is_read_back(found: dict[str, tuple[Member, bytes]]) -> None:
    expected = members(found)
    there = read_export(exported(found), expected)
    assert compare_tree(expected, there, ()) == {}
    assert there.hashed == sum(member.size for member in expected.values())


@given(contents(), st.data())
def test_any_one_change_is_found(
    found: dict[str, tuple[Member, bytes]], data: st.DataObject
) -> None:
    expected = members(found)
    path = data.draw(st.sampled_from(sorted(found)) if found else PATHS)
    changed = dict(found)
    if path not in found or data.draw(st.booleans()):
        # Something more, or something less.
        member, content = changed.pop(path, (Member(kind="folder", mode=0o755, uid=0, gid=0), b""))
        if path not in found:
            changed[path] = (member, content)
    else:
        member, content = found[path]
        changed[path] = data.draw(st.sampled_from(list(_changes(member, content))))
    there = read_export(exported(changed), expected)
    assert path in compare_tree(expected, there, ())


def _changes(member: Member, content: bytes) -> Iterator[tuple[Member, bytes]]:
    yield replace(member, uid=member.uid ^ 1), content
    yield replace(member, gid=member.gid ^ 1), content
    if member.kind == "symlink":
        yield replace(member, target=f"{member.target}x"), content
    else:
        yield replace(member, mode=member.mode ^ 1), content
    if content:
        yield member, bytes([content[0] ^ 1]) + content[1:]
    if member.kind == "file":
        yield member, content + b"\0"


def one(path: str, data: bytes) -> dict[str, tuple[Member, bytes]]:
    member = Member(kind="file", mode=0o644, uid=0, gid=0, size=len(data), digest=sha256_of(data))
    return {path: (member, data)}


def test_no_more_is_read_than_can_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLACK", 100)
    monkeypatch.setattr(module, "MAX_SCRATCH", 50)
    expected = members(one("a", b"x" * 10))
    assert read_export(exported(one("a", b"x" * 110)), expected).problem is None
    found = read_export(exported(one("a", b"x" * 111)), expected).problem
    assert found is not None
    assert (found.path, found.expected, found.found) == (
        "/a",
        "at most 110 bytes up to here",
        "111 bytes",
    )
    assert read_export(exported(one("tmp/a", b"x" * 50)), expected).problem is None
    scratch = read_export(exported(one("tmp/a", b"x" * 51)), expected).problem
    assert scratch is not None
    assert scratch.path == "/tmp/a"
    # What the image has in a scratch folder is compared like the rest.
    own = members(one("tmp/a", b"y"))
    assert list(compare_tree(own, read_export(exported(one("tmp/a", b"z")), own), ())) == ["tmp/a"]


def test_an_entry_that_comes_twice() -> None:
    twice = one("a", b"x")
    first, second = b"".join(exported(twice)), b"".join(exported(one("a", b"y")))
    found = read_export(iter([first[:1024], second]), members(twice)).problem
    assert found is not None
    assert (found.path, found.reason) == ("/a", "it comes twice")
