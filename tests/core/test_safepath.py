"""Safe paths: what is let through cannot leave, hide, or collide."""

from __future__ import annotations

import posixpath
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mllock.core import safepath

# Names as an attacker would make them: the pieces that matter, in any order.
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(
                    "..",
                    ".",
                    "/",
                    "//",
                    "\\",
                    "\0",
                    "\n",
                    "\t",
                    "a",
                    "A",
                    "é",
                    "e\u0301",
                    "c:",
                    "~",
                ),
                *("\u202e", "\u200b", "\ufeff", "\udcff", " ", "\x7f", "\x85", "ß", "x" * 256),
            ]
        ),
        st.text(max_size=3),
    ),
    max_size=8,
).map("".join)


@given(HOSTILE)
@example("a" * 4097)
@example("a/" * 2048)
@example("é" * 127 + "a")
def test_a_safe_path_stays_where_it_is_put(path: str) -> None:
    if safepath.problem(path) is not None:
        with pytest.raises(ValueError):
            safepath.check(path)
        return
    assert safepath.check(path) == path
    joined = posixpath.normpath(posixpath.join("/root", path))
    assert joined == f"/root/{path}"
    assert path.encode("utf-8").decode("utf-8") == path
    assert all(unicodedata.category(char) not in ("Cc", "Cs") for char in path)
    assert len(path.encode()) <= 4096
    assert all(0 < len(part.encode()) <= 255 for part in path.split("/"))


@given(st.lists(HOSTILE, max_size=4) | st.lists(st.text("./a\0", max_size=4), max_size=4))
def test_many_are_safe_if_each_one_is(paths: list[str]) -> None:
    try:
        safepath.check_all(paths)
    except ValueError as error:
        first = next(path for path in paths if safepath.problem(path) is not None)
        assert str(error) == f"{safepath.problem(first)}: {first!r}"
    else:
        assert all(safepath.problem(path) is None for path in paths)


@given(st.lists(st.text("aAé\u00c9e\u0301ßsS/\0k\u212a", max_size=4), max_size=5))
def test_collision_is_two_different_paths_with_one_fold(paths: list[str]) -> None:
    found = safepath.collision(paths)
    different = set(paths)
    if found is None:
        assert len({safepath.fold(path) for path in different}) == len(different)
    else:
        assert found[0] != found[1]
        assert safepath.fold(found[0]) == safepath.fold(found[1])


@given(st.text())
def test_fold_is_idempotent(text: str) -> None:
    assert safepath.fold(safepath.fold(text)) == safepath.fold(text)


def test_fold_of_every_character() -> None:
    for number in range(sys.maxunicode + 1):
        char = chr(number)
        folded = safepath.fold(char)
        assert safepath.fold(folded) == folded, ascii(char)
        assert safepath.fold(unicodedata.normalize("NFD", char)) == folded, ascii(char)
        assert "/" not in folded or char == "/", ascii(char)


@given(st.text(max_size=6))
def test_fold_does_not_see_normal_forms_or_case(text: str) -> None:
    folded = safepath.fold(text)
    assert safepath.fold(unicodedata.normalize("NFD", text)) == folded
    assert safepath.fold(unicodedata.normalize("NFC", text)) == folded
    assert safepath.fold(text.casefold()) == folded


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "empty path"),
        ("/a", "absolute path"),
        ("a//b", "empty component in path"),
        ("a/", "empty component in path"),
        (".", '"." in path'),
        ("a/..", '".." in path'),
        ("a\\b", "backslash in path"),
        ("C:/a", "drive letter in path"),
        ("a\nb", "character U+000A in path"),
        ("a\udcffb", "character U+DCFF in path"),
        ("a\u061cb", "character U+061C in path"),
        ("n" * 256, "name of more than 255 bytes"),
        ("n/" * 2048 + "n", "path of more than 4096 bytes"),
    ],
)
def test_reasons(path: str, reason: str) -> None:
    assert safepath.problem(path) == reason


@pytest.mark.parametrize(
    "path", ["a", "a/b", "...", ".a", "a..b", "-x", "a b", "ñ/日本", "n" * 255, "1:2", "a/c:d", "~"]
)
def test_safe(path: str) -> None:
    assert safepath.problem(path) is None


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["a", ".wh.a"], ".wh.a"),
        (["a/.wh.b/c"], "a/.wh.b/c"),
        (["a/.wh..wh..opq", "b"], "a/.wh..wh..opq"),
        (["a", "a.wh.b", ".whx", "x/.wh"], None),
        ([], None),
    ],
)
def test_names_that_layers_take_for_removals(paths: list[str], found: str | None) -> None:
    assert safepath.whiteout(paths) == found
    # They are safe everywhere else: the tree digest of data does not change its meaning.
    assert all(safepath.problem(path) is None for path in paths)
