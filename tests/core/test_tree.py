"""Tree manifests: laws."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.core import safepath
from mllock.core.digest import sha256_of
from mllock.core.tree import Entry, TreeManifest, check_link, differences, parse

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\", exclude_categories=("Cc", "Cs")),
    min_size=1,
    max_size=8,
).filter(lambda name: safepath.problem(name) is None)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@st.composite
def manifests(draw: st.DrawFn) -> TreeManifest:
    """Trees of files, programs, empty folders and links to what is there."""
    entries: list[Entry] = []
    for path in draw(st.lists(PATHS, max_size=8, unique=True)):
        kind = draw(st.sampled_from("fxfxd"))
        data = draw(st.binary(max_size=4))
        entry = Entry(kind="d", path=path)
        if kind != "d":
            entry = Entry(kind=kind, path=path, size=len(data), digest=sha256_of(data))
        try:
            TreeManifest.of([*entries, entry])
        except ValueError:
            continue
        entries.append(entry)
    for path in draw(st.lists(NAMES, max_size=2)):
        target = draw(st.sampled_from([entry.path for entry in entries] or ["."]))
        try:
            TreeManifest.of([*entries, Entry(kind="l", path=path, target=target)])
        except ValueError:
            continue
        entries.append(Entry(kind="l", path=path, target=target))
    return TreeManifest.of(entries)


@given(manifests(), st.randoms())
def test_parse_is_the_inverse_of_text(manifest: TreeManifest, order: object) -> None:
    assert parse(manifest.text()) == manifest
    assert parse(manifest.text()).text() == manifest.text()
    shuffled = list(manifest.entries)
    order.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis says Random only at run time
    assert TreeManifest.of(shuffled) == manifest
    assert manifest.digest == "sha256:" + hashlib.sha256(manifest.text()).hexdigest()


@given(manifests(), st.data())
def test_any_change_changes_the_digest(manifest: TreeManifest, data: st.DataObject) -> None:
    if not manifest.entries:
        return
    index = data.draw(st.integers(0, len(manifest.entries) - 1))
    entry = manifest.entries[index]
    changes = [{"path": entry.path + "0"}]
    if entry.digest is not None:
        changes.append({"kind": "x" if entry.kind == "f" else "f"})
        changes.append({"size": entry.size + 1})
        changes.append({"digest": sha256_of(b"something else that is longer")})
    changed = msgspec.structs.replace(entry, **data.draw(st.sampled_from(changes)))
    entries = [*manifest.entries[:index], changed, *manifest.entries[index + 1 :]]
    try:
        other = TreeManifest.of(entries)
    except ValueError:
        return
    assert other.digest != manifest.digest
    assert differences(manifest, other) != ()
    fewer = TreeManifest(manifest.entries[:index] + manifest.entries[index + 1 :])
    assert fewer.digest != manifest.digest


@given(manifests(), manifests())
def test_no_differences_means_equal_digests(one: TreeManifest, other: TreeManifest) -> None:
    assert (differences(one, other) == ()) is (one.digest == other.digest)
    for difference in differences(one, other):
        assert difference.expected in (*one.entries, None)
        assert difference.found in (*other.entries, None)
        assert difference.expected != difference.found


@given(st.binary(max_size=200))
def test_parse_of_anything_is_a_manifest_or_a_value_error(data: bytes) -> None:
    for text in (data, b"mllock-tree\t1\n" + data, b"mllock-tree\t1\n" + data + b"\n"):
        try:
            manifest = parse(text)
        except ValueError:
            continue
        assert manifest.text() == text


@given(manifests(), st.data())
def test_a_mutated_manifest_is_refused_or_says_something_else(
    manifest: TreeManifest, data: st.DataObject
) -> None:
    text = bytearray(manifest.text())
    position = data.draw(st.integers(0, len(text) - 1))
    text[position] ^= data.draw(st.integers(1, 255))
    try:
        other = parse(bytes(text))
    except ValueError:
        return
    assert other != manifest


@pytest.mark.parametrize(
    "entry",
    [
        Entry(kind="f", path="a"),
        Entry(kind="f", path="a", size=-1, digest=sha256_of(b"")),
        Entry(kind="f", path="a", size=2**63, digest=sha256_of(b"")),
        Entry(kind="f", path="a", digest=sha256_of(b""), target="b"),
        Entry(kind="x", path="a", target="b"),
        Entry(kind="d", path="a", size=1),
        Entry(kind="d", path="a", digest=sha256_of(b"")),
        Entry(kind="d", path="a", target="."),
        Entry(kind="l", path="a"),
        Entry(kind="l", path="a", target=".", size=1),
        Entry(kind="s", path="a"),  # type: ignore[arg-type] # what a caller without types may do
    ],
)
def test_entries_have_what_their_kind_has(entry: Entry) -> None:
    with pytest.raises(ValueError) as caught:
        TreeManifest.of([entry])
    assert str(caught.value) == "wrong kind of entry: 'a'"


def test_facts() -> None:
    manifest = TreeManifest.of(
        [
            Entry(kind="f", path="a", size=3, digest=sha256_of(b"abc")),
            Entry(kind="x", path="b", size=4, digest=sha256_of(b"abcd")),
            Entry(kind="l", path="c", target="a"),
            Entry(kind="d", path="d"),
        ]
    )
    assert (manifest.files, manifest.size, manifest.is_single_file) == (2, 7, False)
    single = TreeManifest.of([Entry(kind="f", path=".", size=0, digest=sha256_of(b""))])
    assert single.is_single_file


@pytest.mark.parametrize(
    ("path", "target", "end"),
    [
        ("a", "b", "b"),
        ("a", "./b//c/", "b/c"),
        ("x/a", "../b", "b"),
        ("x/y/a", ".././../b", "b"),
        ("x/a", "b", "x/b"),
        ("x/a", "..", ""),
        ("a", ".", ""),
    ],
)
def test_where_links_lead(path: str, target: str, end: str) -> None:
    assert "/".join(check_link(path, target)) == end
