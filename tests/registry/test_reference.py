"""References: what is one, what is not, and what is said then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.core.digest import sha256_of
from mllock.errors import InputError
from mllock.store.registry.reference import parse_reference

DIGEST = sha256_of(b"x")
TAG = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,9}", fullmatch=True)
PART = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)?", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("example.org/team/wine:1.0", ("example.org", "team/wine", "1.0", None)),
        ("example.org:5000/wine", ("example.org:5000", "wine", None, None)),
        ("localhost/wine:latest", ("localhost", "wine", "latest", None)),
        ("127.0.0.1:5000/a/b/c_d__e-f.g", ("127.0.0.1:5000", "a/b/c_d__e-f.g", None, None)),
        ("[::1]:5000/a", ("[::1]:5000", "a", None, None)),
        (f"example.org/a@{DIGEST}", ("example.org", "a", None, DIGEST)),
        ("Example.org/a:TAG_1.x-y", ("example.org", "a", "TAG_1.x-y", None)),
    ],
)
def test_references(text, parts):
    found = parse_reference(text)
    assert (found.host, found.repository, found.tag, found.digest) == parts
    assert str(found) == text.replace("Example", "example")


@given(st.lists(PART, min_size=1, max_size=4), st.none() | TAG)
def test_law(parts, tag):
    text = f"example.org/{'/'.join(parts)}" + (f":{tag}" if tag else "")
    assert str(parse_reference(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "wine",
            "wine: the host of the registry is missing or malformed\n"
            "expected: HOST[:PORT]/REPO[:TAG|@DIGEST]",
        ),
        (
            "team/wine:1",
            "team/wine:1: the host of the registry is missing\n"
            "expected: HOST[:PORT]/REPO[:TAG|@DIGEST]\n"
            'hint: write the registry before it: "example.org/team/wine:1"',
        ),
        (
            "example.org/Wine",
            "example.org/Wine: not a name of a repository\nfound: Wine\n"
            "hint: names of repositories are lower case",
        ),
        ("example.org/", "example.org/: not a name of a repository\nfound: "),
        ("example.org/a:", "example.org/a:: not a tag\nfound: "),
        ("example.org/a:b c", "example.org/a:b c: not a tag\nfound: b c"),
        ("example.org/a:../b", "example.org/a:../b: not a tag\nfound: ../b"),
        ("example.org/a@md5:0", "example.org/a@md5:0: not a sha256 digest\nfound: md5:0"),
        (
            f"example.org/a:b@{DIGEST}",
            f"example.org/a:b@{DIGEST}: a tag and a digest\n"
            "expected: HOST[:PORT]/REPO[:TAG|@DIGEST]\nhint: give one of them",
        ),
    ],
)
def test_not_references(text, message):
    with pytest.raises(InputError) as caught:
        parse_reference(text)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("user", ["ada:hunter2", "ada:hun/ter2", "ada:p!@hunter2", "hunter2"])
def test_a_password_is_not_repeated(user):
    with pytest.raises(InputError) as caught:
        parse_reference(f"{user}@example.org/a:1")
    assert str(caught.value) == (
        "user and password in the name of an image or registry\n"
        "expected: HOST[:PORT]/REPO[:TAG|@DIGEST]\n"
        'hint: leave them out, and log in with "docker login HOST"'
    )


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/a",
        "user:secret@example.org/a",
        "example.org:0/a",
        "example.org:99999/a",
        "example.org/a/../b",
        "example.org/a//b",
        "example.org/a?b",
        "example.org/a%2fb",
        "example.org/a\n",
        "example.org/" + "a" * 256,
    ],
)
def test_hostile_references(text):
    with pytest.raises(InputError):
        parse_reference(text)
