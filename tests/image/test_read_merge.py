"""The law of `merge`: what it accepts is what umoci makes of it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.layers import HandMade, packed, tar
from support.unpacked import unpacked

from mllock.core.digest import sha256_of
from mllock.errors import ArchiveError
from mllock.image.read import LayerContents, Member, merge, read_layer

NAMES = ("a", "b", "c")
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)


@st.composite
def member(draw):
    path = draw(paths)
    kind = draw(
        st.sampled_from(
            ["file", "file", "folder", "folder", "symlink", "whiteout", "opaque", "hardlink"]
        )
    )
    folder, _, name = path.rpartition("/")
    prefix = f"{folder}/" if folder else ""
    match kind:
        case "file":
            return path, "file", draw(st.sampled_from(["", "x", "yy"])), 0o644
        case "folder":
            return path, "folder", "", draw(st.sampled_from([0o755, 0o700]))
        case "whiteout":
            return f"{prefix}.wh.{name}", "file", "", 0o644
        case "opaque":
            return f"{path}/.wh..wh..opq", "file", "", 0o644
    return path, kind, draw(paths), 0o644


layers = st.lists(st.lists(member(), max_size=6), min_size=1, max_size=3)


def read(data: bytes) -> LayerContents:
    return read_layer(iter([packed(data)]), "layer", hashed=lambda _: True)


def umoci(tars: list[bytes]) -> dict[str, Member]:
    with tempfile.TemporaryDirectory() as scratch:
        HandMade(Path(scratch, "oci")).image("x", tars)
        subprocess.run(
            ["umoci", "unpack", "--image", f"{scratch}/oci:x", f"{scratch}/bundle"],
            check=True,
            capture_output=True,
        )
        return unpacked(Path(scratch, "bundle", "rootfs"))


@pytest.mark.tools
@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(layers)
def test_what_is_accepted_is_what_umoci_unpacks(made):
    tars = [tar(members) for members in made]
    try:
        merged = merge([read(data) for data in tars])
    except ArchiveError:
        return
    assert merged == umoci(tars)


@pytest.mark.tools
def test_a_layer_of_everything_against_umoci():
    tars = [
        tar(
            [
                ("lib", "symlink", "usr/lib"),
                ("usr", "folder"),
                ("usr/lib", "folder"),
                ("usr/lib/one.so", "file", "1", 0o755),
                ("usr/lib/two.so", "hardlink", "usr/lib/one.so", 0o755),
                ("etc/implied/conf", "file", "c"),
                ("gone", "folder"),
                ("gone/file", "file", "x"),
                ("blank", "folder"),
                ("blank/old", "file", "x"),
                ("turned", "folder"),
                ("turned/inner", "file", "x"),
                ("x" * 150 + "/" + "é" * 60, "file", "long"),
            ]
        ),
        tar(
            [
                (".wh.gone", "file", ""),
                ("blank", "folder", "", 0o700),
                ("blank/.wh..wh..opq", "file", ""),
                ("blank/new", "file", "y"),
                ("turned", "file", "now a file"),
                ("usr/lib/one.so", "file", "changed"),
            ]
        ),
    ]
    merged = merge([read(data) for data in tars])
    assert merged == umoci(tars)
    assert "gone" not in merged
    assert "blank/old" not in merged
    assert merged["turned"].kind == "file"
    assert merged["usr/lib/two.so"].digest == sha256_of(b"1")


REFUSED = [
    (
        [[("lib", "symlink", "usr")], [("lib/x", "file", "1")]],
        "'lib/x' goes through 'lib', which is a symlink",
    ),
    (
        [[("lib", "file", "usr")], [("lib/x", "file", "1")]],
        "'lib/x' goes through 'lib', which is a file",
    ),
    (
        [[("lib", "symlink", "usr")], [("lib/.wh.x", "file", "")]],
        "a whiteout below 'lib', which is a symlink",
    ),
]


@pytest.mark.parametrize(("made", "message"), REFUSED)
def test_members_through_links_are_refused(made, message):
    with pytest.raises(ArchiveError) as caught:
        merge([read(tar(members)) for members in made])
    assert str(caught.value) == message


def test_a_folder_takes_the_place_of_a_link_only_when_the_layer_says_so():
    below = read(tar([("lib", "symlink", "usr")]))
    above = read(tar([("lib", "folder"), ("lib/x", "file", "1")]))
    assert merge([below, above])["lib"].kind == "folder"
