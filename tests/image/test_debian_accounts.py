"""Accounts that packages make for themselves: /etc/passwd and /etc/group of an image."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.debian import make_deb, on_disk

from mllock.errors import ArchiveError
from mllock.image.debian import base_nodes, system_nodes
from mllock.image.tree import Node, Stored

PASSWD = "root:*:0:0:root:/root:/bin/bash\ntaken:*:101:65534::/:/bin/sh\n"
GROUP = "root:*:0:\nusers:*:100:\nnogroup:*:65534:\n"
MASTERS = make_deb(
    "base-passwd",
    files={
        "usr/share/base-passwd/passwd.master": PASSWD.encode(),
        "usr/share/base-passwd/group.master": GROUP.encode(),
    },
)
OURS = "mllock:*:10001:10001:mllock:/tmp:/usr/sbin/nologin\n"
OUR_GROUP = "mllock:*:10001:\n"


def named(name: str, *lines: str) -> bytes:
    return make_deb(name, scripts={"postinst": "\n".join(["#!/bin/sh", "set -e", *lines, ""])})


def base(folder: Path, **debs: bytes) -> dict[str, Node]:
    pairs = [on_disk(folder, deb, name) for name, deb in debs.items()]
    return {
        node.path: node for node in base_nodes([on_disk(folder, MASTERS, "base-passwd"), *pairs])
    }


def system(folder: Path, below: dict[str, Node], **debs: bytes) -> dict[str, Node]:
    pairs = [on_disk(folder, deb, name) for name, deb in debs.items()]
    return {node.path: node for node in system_nodes(pairs, below)}


def text(node: Node) -> str:
    assert isinstance(node.content, Stored)
    return bytes(node.content.data).decode()


def test_the_first_free_numbers_in_the_order_of_names(tmp_path: Path) -> None:
    debs = {
        "b": named("b", "addgroup --system _b", "adduser --system --no-create-home --ingroup _b b"),
        "a": named("a", "adduser --system --group --home /var/lib/a --gecos 'the a' a"),
    }
    below = base(tmp_path)
    nodes = system(tmp_path, below, **debs)
    assert text(nodes["etc/passwd"]) == (
        f"{PASSWD}{OURS}"
        "a:*:100:101:the a:/var/lib/a:/usr/sbin/nologin\n"
        "b:*:102:102::/nonexistent:/usr/sbin/nologin\n"
    )
    assert text(nodes["etc/group"]) == f"{GROUP}{OUR_GROUP}a:*:101:\n_b:*:102:\n"
    home = nodes["var/lib/a"]
    assert (home.kind, home.mode, home.uid, home.gid) == ("folder", 0o755, 100, 101)
    assert "nonexistent" not in nodes
    # Whatever the order in which they are given.
    again = system(tmp_path, below, **dict(reversed(debs.items())))
    assert again == nodes
    # In the base as well as above it.
    inside = base(tmp_path, **debs)
    assert text(inside["etc/passwd"]) == text(nodes["etc/passwd"])


def test_what_is_there_stays(tmp_path: Path) -> None:
    below = base(tmp_path)
    nodes = system(
        tmp_path,
        below,
        a=named("a", "adduser --system --home /srv/taken taken", "addgroup --system users"),
    )
    assert not {"etc/passwd", "etc/group", "srv/taken"} & nodes.keys()


def test_a_member_of_a_group(tmp_path: Path) -> None:
    twice = "adduser taken users"
    nodes = system(tmp_path, base(tmp_path), a=named("a", twice, twice, "adduser root users"))
    assert "etc/passwd" not in nodes
    assert "users:*:100:taken,root\n" in text(nodes["etc/group"])


def test_a_group_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        base(tmp_path, a=named("a", "adduser --system --ingroup absent a"))
    assert str(caught.value) == (
        "etc/group: a: a package makes a user of a group that is not there\nfound: absent"
    )


def test_a_base_without_accounts(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        base_nodes([on_disk(tmp_path, named("a", "adduser --system a"), "a")])
    assert str(caught.value) == (
        "etc/passwd: a package makes an account, and the base has no file of them"
    )
