"""System packages above a base that is an image: its database, its linker's cache, its links."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from support.base_image import libc, link, status, tree_of
from support.debian import make_deb, member, on_disk
from support.ldcache import entries, shared_object

from mllock.errors import ArchiveError, ResolutionError
from mllock.image.base_system import installed_in, nodes_above, suite_in
from mllock.image.debian_ldcache import Entry, _encode, read_cache
from mllock.image.tree import Node, Stored

MD5 = hashlib.md5(b"a = 1\n", usedforsecurity=False).hexdigest()
MULTI = "usr/lib/x86_64-linux-gnu"


def lower_cache(*pairs: tuple[str, str]) -> bytes:
    return _encode([Entry(soname, path, 0x0303) for soname, path in pairs])


def files(**more: Any) -> dict[str, Any]:
    return {
        "lib": link("usr/lib"),
        "bin": link("usr/bin"),
        f"{MULTI}/libc.so.6": libc(),
        "etc/os-release": link("../usr/lib/os-release"),
        "usr/lib/os-release": b"ID=debian\nVERSION_CODENAME=bookworm\n",
        "etc/passwd": b"root:x:0:0::/root:/bin/sh\nmail:x:8:8::/:/bin/sh\n",
        "etc/group": b"root:x:0:\nmail:x:8:\n",
        "etc/ld.so.conf": b"include /etc/ld.so.conf.d/*.conf\n",
        "etc/ld.so.conf.d/libc.conf": b"/usr/local/lib\n",
        "etc/ld.so.cache": lower_cache(("libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1")),
        "var/lib/dpkg/status": status(libc6="2.36-9", zlib1g="1.2"),
        **more,
    }


def above(tmp_path: Path, below: dict[str, Any], **debs: bytes) -> dict[str, Node]:
    tree = tree_of(tmp_path, below)
    pairs = [on_disk(tmp_path, deb, name.replace("_", "-")) for name, deb in debs.items()]
    return {node.path: node for node in nodes_above(tree, pairs)}


def data(node: Node) -> bytes:
    assert isinstance(node.content, Stored)
    return bytes(node.content.data)


def test_what_the_base_is_made_of(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, files())
    assert suite_in(tree, "oci:base") == "bookworm"
    assert {p.name: p.version for p in installed_in(tree, "oci:base").values()} == {
        "libc6": "2.36-9",
        "zlib1g": "1.2",
    }


def test_files_in_status_d(tmp_path: Path) -> None:
    below = files() | {
        "var/lib/dpkg/status.d/libc6": b"Package: libc6\nVersion: 2\n",
        "var/lib/dpkg/status.d/libc6.md5sums": b"x",
        "var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2026\n",
    }
    del below["var/lib/dpkg/status"]
    assert sorted(installed_in(tree_of(tmp_path, below), "x")) == ["libc6", "tzdata"]
    nodes = above(tmp_path, below, tool=make_deb("tool", files={"usr/bin/tool": b"#!"}))
    assert "var/lib/dpkg/status.d/tool" in nodes
    assert "var/lib/dpkg/status" not in nodes


def test_a_base_that_does_not_say_what_it_has(tmp_path: Path) -> None:
    below = files()
    del below["var/lib/dpkg/status"]
    with pytest.raises(ResolutionError) as caught:
        installed_in(tree_of(tmp_path, below), "oci:base")
    assert str(caught.value) == (
        "mlproject.toml: environment.system-packages: the base does not say which Debian packages "
        "it has\nexpected: /var/lib/dpkg/status, or files in /var/lib/dpkg/status.d\n"
        "found: oci:base\n"
        "hint: take a base that has these packages already, and leave system-packages out"
    )


def test_the_bases_own_database_is_added_to(tmp_path: Path) -> None:
    nodes = above(tmp_path, files(), tool=make_deb("tool", files={"bin/tool": b"#!"}))
    text = data(nodes["var/lib/dpkg/status"]).decode()
    lower = status(libc6="2.36-9", zlib1g="1.2").decode()
    assert text.startswith(lower)
    added = text.removeprefix(lower).strip().split("\n")
    assert added[:2] == ["Package: tool", "Status: install ok installed"]
    assert "/bin/tool" in data(nodes["var/lib/dpkg/info/tool.list"]).decode().splitlines()
    assert not any(path.startswith("var/lib/dpkg/status.d") for path in nodes)


@pytest.mark.parametrize(("format", "name"), [(b"1\n", "libx:amd64"), (None, "libx")])
def test_lists_have_the_names_that_dpkg_looks_for(
    tmp_path: Path,
    format: bytes | None,  # noqa: A002 - dpkg's word
    name: str,
) -> None:
    below = files() if format is None else files() | {"var/lib/dpkg/info/format": format}
    deb = make_deb("libx", files={"usr/share/x": b"x"}, fields={"Multi-Arch": "same"})
    nodes = above(tmp_path, below, libx=deb)
    assert sorted(path for path in nodes if path.startswith("var/lib/dpkg/info/")) == [
        f"var/lib/dpkg/info/{name}.list",
        f"var/lib/dpkg/info/{name}.md5sums",
    ]


def test_conffiles_are_in_the_stanza(tmp_path: Path) -> None:
    deb = make_deb(
        "tool", files={"etc/tool.conf": b"a = 1\n"}, scripts={"conffiles": "/etc/tool.conf\n"}
    )
    text = data(above(tmp_path, files(), tool=deb)["var/lib/dpkg/status"]).decode()
    assert text.endswith(f"Conffiles:\n /etc/tool.conf {MD5}\n\n")


def test_paths_go_through_the_links_of_the_base(tmp_path: Path) -> None:
    """Never is `bin -> usr/bin` replaced by a folder; what the base has is not in the layer."""
    nodes = above(tmp_path, files(), tool=make_deb("tool", files={"bin/tool": b"#!"}))
    assert nodes["usr/bin/tool"].kind == "file"
    assert not {"bin", "bin/tool", "lib", f"{MULTI}/libc.so.6", "etc/passwd"} & nodes.keys()


def test_the_linkers_cache_has_what_the_base_has_and_what_is_new(tmp_path: Path) -> None:
    deb = make_deb(
        "libnew",
        files={
            f"{MULTI}/libnew.so.2.1": shared_object("libnew.so.2"),
            f"{MULTI}/libnew.so.2": "-> libnew.so.2.1",
        },
    )
    nodes = above(tmp_path, files(), libnew=deb)
    assert entries(data(nodes["etc/ld.so.cache"])) == [
        ("libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1"),
        ("libnew.so.2", "/lib/x86_64-linux-gnu/libnew.so.2"),
    ]


def test_without_new_libraries_the_cache_stays(tmp_path: Path) -> None:
    below = files() | {"etc/ld.so.cache": b"of another time"}
    nodes = above(tmp_path, below, tool=make_deb("tool", files={"usr/bin/tool": b"#!"}))
    assert "etc/ld.so.cache" not in nodes


@pytest.mark.parametrize(
    ("cache", "reason"),
    [
        (b"ld.so-1.7.0" + bytes(64), "not glibc's new format"),
        (lower_cache(("libz.so.1", "/lib/libz.so.1"))[:60], "unpack_from requires"),
        (
            _encode([Entry("libz.so.1", "/lib/libz.so.1", 0x0303, (0, 1 << 62))]),
            "libraries of glibc-hwcaps",
        ),
        (
            lower_cache(("libz.so.1", "/lib/libz.so.1")).replace(b"so.1\0", b"so.1x"),
            "a string outside of the file",
        ),
    ],
    ids=["old", "cut", "hwcaps", "no end"],
)
def test_a_cache_that_cannot_be_added_to(tmp_path: Path, cache: bytes, reason: str) -> None:
    deb = make_deb("libnew", files={f"{MULTI}/libnew.so.2": shared_object("libnew.so.2")})
    with pytest.raises(ArchiveError) as caught:
        above(tmp_path, files() | {"etc/ld.so.cache": cache}, libnew=deb)
    first, hint = str(caught.value).split("\n")
    start = "etc/ld.so.cache: the base has a cache of its libraries that cannot be added to: "
    assert first.startswith(start + reason)
    assert hint == "hint: take a base that has the libraries, and leave system-packages out"


def test_read_cache_reads_what_is_written() -> None:
    wanted = [
        Entry("libb.so.2", "/usr/local/lib/libb.so.2", 0x0303),
        Entry("liba.so.1", "/opt/x/other-name", 0x0303, (7, 5)),
    ]
    assert read_cache(_encode(wanted)) == wanted


def test_a_file_that_the_base_has_too(tmp_path: Path) -> None:
    below = files() | {"usr/bin/tool": b"theirs"}
    same = above(tmp_path, below, tool=make_deb("tool", files={"usr/bin/tool": b"theirs"}))
    assert "usr/bin/tool" not in same
    with pytest.raises(ArchiveError) as caught:
        above(tmp_path, below, tool=make_deb("tool", files={"usr/bin/tool": b"ours"}))
    assert str(caught.value) == "usr/bin/tool: both the base and tool have this path"


def test_alternatives_of_the_base_are_read(tmp_path: Path) -> None:
    below = files() | {
        "var/lib/dpkg/alternatives/pager": b"auto\n/usr/bin/pager\n\n/usr/bin/less\n77\n\n",
        "usr/bin/less": b"less",
        "usr/bin/pager": link("/etc/alternatives/pager"),
        "etc/alternatives/pager": link("/usr/bin/less"),
    }
    script = "#!/bin/sh\nupdate-alternatives --install /usr/bin/pager pager /usr/bin/most 90\n"
    deb = make_deb("most", files={"usr/bin/most": b"most"}, scripts={"postinst": script})
    nodes = above(tmp_path, below, most=deb)
    assert nodes["etc/alternatives/pager"].target == "/usr/bin/most"
    assert data(nodes["var/lib/dpkg/alternatives/pager"]) == (
        b"auto\n/usr/bin/pager\n\n/usr/bin/less\n77\n/usr/bin/most\n90\n\n"
    )


def test_owners_are_those_of_the_bases_passwd(tmp_path: Path) -> None:
    spool = member("./var/spool/x", mode=0o600, group="mail")
    deb = make_deb("tool", files={"var/spool/x": spool})
    below = files() | {"etc/group": b"root:x:0:\nmail:x:88:\n"}
    assert above(tmp_path, below, tool=deb)["var/spool/x"].gid == 88
    (tmp_path / "other").mkdir()
    with pytest.raises(ArchiveError) as caught:
        above(tmp_path / "other", files() | {"etc/group": b"root:x:0:\n"}, tool=deb)
    assert str(caught.value) == (
        'tool: var/spool/x: owner "mail" is not one that base-passwd makes'
    )
