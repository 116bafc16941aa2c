from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from support.debian import make_deb, member, on_disk

from mllock.errors import ArchiveError
from mllock.image.debian import base_nodes, system_nodes
from mllock.image.tree import Node, Stored

PASSWD = b"root:*:0:0:root:/root:/bin/bash\nmail:*:8:8:mail:/var/mail:/usr/sbin/nologin\n"
GROUP = b"root:*:0:\nmail:*:8:\nshadow:*:42:\n"
BASE_PASSWD = make_deb(
    "base-passwd",
    files={
        "usr/share/base-passwd/passwd.master": PASSWD,
        "usr/share/base-passwd/group.master": GROUP,
    },
)


def base(folder: Path, **debs: bytes) -> dict[str, Node]:
    everything = {"base-passwd": BASE_PASSWD} | {
        name.replace("_", "-"): deb for name, deb in debs.items()
    }
    pairs = [on_disk(folder, deb, name) for name, deb in everything.items()]
    return by_path(base_nodes(pairs))


def system(folder: Path, below: Mapping[str, Node], **debs: bytes) -> dict[str, Node]:
    pairs = [on_disk(folder, deb, name.replace("_", "-")) for name, deb in debs.items()]
    return by_path(system_nodes(pairs, below))


def by_path(nodes: tuple[Node, ...]) -> dict[str, Node]:
    paths = [node.path for node in nodes]
    assert paths == sorted(set(paths))
    return {node.path: node for node in nodes}


def data(node: Node) -> bytes:
    assert isinstance(node.content, Stored)
    return bytes(node.content.data)


def refused(folder: Path, **debs: bytes) -> str:
    with pytest.raises(ArchiveError) as caught:
        base(folder, **debs)
    return str(caught.value)


def test_usr_is_merged_whatever_a_package_ships(tmp_path: Path) -> None:
    nodes = base(
        tmp_path,
        dash=make_deb("dash", files={"bin": "folder", "bin/dash": b"#!", "bin/sh": "-> dash"}),
        libc6=make_deb("libc6", files={"lib64/ld.so": "-> /lib/ld-2.so", "lib/ld-2.so": b"x"}),
        tool=make_deb("tool", files={"usr/bin/tool": b"#!"}),
    )
    for name in ("bin", "lib", "lib64", "sbin"):
        assert (nodes[name].kind, nodes[name].target) == ("symlink", f"usr/{name}")
        assert nodes[f"usr/{name}"].kind == "folder"
    assert nodes["usr/bin/dash"].mode == 0o755
    assert nodes["usr/bin/sh"].target == "dash"
    assert nodes["usr/lib64/ld.so"].target == "/lib/ld-2.so"
    assert data(nodes["usr/lib/ld-2.so"]) == b"x"
    assert not [path for path in nodes if path.startswith(("bin/", "lib/", "lib64/", "sbin/"))]


def test_the_loader_of_arm64_is_not_in_lib64(tmp_path: Path) -> None:
    """Debootstrap makes that link for some architectures only; arm64 is none of them."""
    files = {
        "usr/share/base-passwd/passwd.master": PASSWD,
        "usr/share/base-passwd/group.master": GROUP,
        "lib/ld.so": b"x",
    }
    deb = make_deb("base-passwd", files=files, architecture="arm64")
    pin, path = on_disk(tmp_path, deb, "base-passwd")
    nodes = by_path(base_nodes([(msgspec.structs.replace(pin, architecture="arm64"), path)]))
    assert "lib64" not in nodes
    assert nodes["lib"].target == "usr/lib"
    assert data(nodes["usr/lib/ld.so"]) == b"x"


def test_parents_are_explicit(tmp_path: Path) -> None:
    nodes = base(tmp_path, x=make_deb("x", files={"opt/a/b/c": b"1"}))
    assert all(
        path.rpartition("/")[0] in {"", *(p for p, n in nodes.items() if n.kind == "folder")}
        for path in nodes
    )
    assert (nodes["opt/a/b"].mode, nodes["opt/a/b"].uid) == (0o755, 0)


def test_modes_owners_and_links_are_the_packages(tmp_path: Path) -> None:
    nodes = base(
        tmp_path,
        x=make_deb(
            "x",
            files={
                "var/mail": member("./var/mail/", kind=tarfile.DIRTYPE, mode=0o2775, group="mail"),
                "etc/secret": member("./etc/secret", mode=0o640, group="shadow"),
                "usr/bin/a": b"#!a",
                "usr/bin/b": "hard usr/bin/a",
                "usr/bin/c": "-> a",
            },
        ),
    )
    assert (nodes["var/mail"].mode, nodes["var/mail"].gid) == (0o2775, 8)
    assert (nodes["etc/secret"].mode, nodes["etc/secret"].gid) == (0o640, 42)
    assert (nodes["usr/bin/b"].kind, nodes["usr/bin/b"].target) == ("hardlink", "usr/bin/a")
    assert nodes["usr/bin/b"].mode == nodes["usr/bin/a"].mode == 0o755
    assert nodes["usr/bin/c"].target == "a"


def test_setuid_bits_are_dropped_and_listed(tmp_path: Path) -> None:
    nodes = base(
        tmp_path,
        x=make_deb(
            "x",
            files={
                "su": member("./usr/bin/su", mode=0o4755),
                "wall": member("./usr/bin/wall", mode=0o2755, group="mail"),
            },
        ),
    )
    assert nodes["usr/bin/su"].mode == 0o755
    assert nodes["usr/bin/wall"].mode == 0o755
    assert data(nodes["var/lib/dpkg/statoverride"]) == (
        b"root mail 0755 /usr/bin/wall\nroot root 0755 /usr/bin/su\n"
    )
    more = make_deb("y", files={"su": member("./usr/bin/mount", mode=0o4755)})
    above = system(tmp_path, nodes, y=more)
    assert data(above["var/lib/dpkg/statoverride"]) == (
        b"root mail 0755 /usr/bin/wall\nroot root 0755 /usr/bin/mount\nroot root 0755 /usr/bin/su\n"
    )


def test_an_owner_that_nobody_makes(tmp_path: Path) -> None:
    deb = make_deb("x", files={"a": member("./etc/a", owner="postgres")})
    assert refused(tmp_path, x=deb) == (
        'x: etc/a: owner "postgres" is not one that base-passwd makes'
    )


def test_accounts(tmp_path: Path) -> None:
    nodes = base(tmp_path)
    user = b"mllock:*:10001:10001:mllock:/tmp:/usr/sbin/nologin\n"
    assert data(nodes["etc/passwd"]) == PASSWD + user
    assert data(nodes["etc/group"]) == GROUP + b"mllock:*:10001:\n"


def test_what_an_image_has_no_use_for_is_left_out(tmp_path: Path) -> None:
    nodes = base(
        tmp_path,
        x=make_deb(
            "x",
            files={
                "usr/share/doc/x": "folder",
                "usr/share/doc/x/copyright": b"free",
                "usr/share/doc/x/README.gz": b"read me",
                "usr/share/doc/x/examples/a.py": b"a",
                "usr/share/doc/y": "-> x",
                "usr/share/man/man1/x.1.gz": b"x",
                "usr/share/locale/de/LC_MESSAGES/x.mo": b"x",
                "usr/share/x/kept": "hard usr/share/doc/x/README.gz",
            },
        ),
    )
    doc = [path for path in nodes if path.startswith("usr/share/doc/")]
    assert doc == ["usr/share/doc/x", "usr/share/doc/x/copyright", "usr/share/doc/y"]
    assert not [path for path in nodes if "man1" in path or "LC_MESSAGES" in path]
    assert data(nodes["usr/share/x/kept"]) == b"read me"


def test_a_hard_link_to_nothing(tmp_path: Path) -> None:
    assert refused(tmp_path, x=make_deb("x", files={"a": "hard b"})) == (
        "x: a: hard link to a file that is not in the package\nfound: b"
    )


def test_two_packages_with_one_path(tmp_path: Path) -> None:
    one = make_deb("one", files={"usr/bin/a": b"1"})
    two = make_deb("two", files={"bin/a": b"2"})
    assert refused(tmp_path, one=one, two=two) == "usr/bin/a: both one and two have this path"
    # Equal bytes may meet (Multi-Arch: same), and Replaces says who takes over.
    same = make_deb("two", files={"bin/a": b"1"})
    assert data(base(tmp_path, one=one, two=same)["usr/bin/a"]) == b"1"
    over = make_deb("two", files={"bin/a": b"2"}, fields={"Replaces": "x (<< 2), one"})
    assert data(base(tmp_path, one=one, two=over)["usr/bin/a"]) == b"2"
    under = make_deb("one", files={"usr/bin/a": b"1"}, fields={"Replaces": "two"})
    assert data(base(tmp_path, one=under, two=two)["usr/bin/a"]) == b"1"


def test_the_system_layer_has_only_what_is_new(tmp_path: Path) -> None:
    below = base(tmp_path, one=make_deb("one", files={"usr/bin/a": b"1", "usr/lib/x/y": b"y"}))
    nodes = system(
        tmp_path,
        below,
        two=make_deb("two", files={"lib/x": "folder", "lib/x/z": b"z", "bin/a": b"1"}),
    )
    assert sorted(nodes) == [
        "usr/lib/x/z",
        "var/lib/dpkg/status.d/two",
        "var/lib/dpkg/status.d/two.md5sums",
    ]
    with pytest.raises(ArchiveError) as caught:
        system(tmp_path, below, two=make_deb("two", files={"bin/a": b"2"}))
    assert str(caught.value) == "usr/bin/a: both the base and two have this path"


def test_metadata_for_scanners(tmp_path: Path) -> None:
    nodes = base(tmp_path, x=make_deb("x", fields={"Source": "src"}))
    assert data(nodes["var/lib/dpkg/status.d/x"]) == (
        b"Package: x\nVersion: 1.0\nArchitecture: amd64\nSource: src\nDescription: a package\n"
    )
    assert data(nodes["var/lib/dpkg/status.d/x.md5sums"]) == b""


def test_run_and_lock_are_where_they_belong(tmp_path: Path) -> None:
    lock = member("./var/lock/", kind=tarfile.DIRTYPE, mode=0o1777)
    files = {
        "var/lock": lock,
        "var/run": "folder",
        "tmp": member("./tmp/", kind=tarfile.DIRTYPE, mode=0o1777),
    }
    nodes = base(tmp_path, base_files=make_deb("base-files", files=files))
    assert nodes["var/run"].target == "/run"
    assert nodes["var/lock"].target == "/run/lock"
    assert nodes["run/lock"].mode == nodes["tmp"].mode == 0o1777
    for name in ("proc", "sys", "dev", "mnt", "opt", "srv", "usr/local/bin"):
        assert nodes[name].kind == "folder"


def test_certificates(tmp_path: Path) -> None:
    folder = "usr/share/ca-certificates/mozilla"
    files = {f"{folder}/B.crt": b"-B-\n", f"{folder}/A.crt": b"-A-"}
    nodes = base(tmp_path, ca_certificates=make_deb("ca-certificates", files=files))
    assert data(nodes["etc/ssl/certs/ca-certificates.crt"]) == b"-A-\n-B-\n"
    assert data(nodes["etc/ca-certificates.conf"]) == b"mozilla/A.crt\nmozilla/B.crt\n"


def test_a_loop_of_links(tmp_path: Path) -> None:
    deb = make_deb("x", files={"a": "-> b", "b": "-> a", "a/c": b"1"})
    assert "loop of symbolic links" in refused(tmp_path, x=deb)


def test_links_of_packages_lead_where_they_say_inside_of_the_image(tmp_path: Path) -> None:
    deb = make_deb("x", files={"opt/x": "-> ../../../etc", "opt/x/f": b"1"})
    nodes = base(tmp_path, x=deb)
    assert data(nodes["etc/f"]) == b"1"


def test_a_path_below_a_file(tmp_path: Path) -> None:
    one = make_deb("one", files={"opt/x": b"1"})
    two = make_deb("two", files={"opt/x/y": b"2"})
    assert refused(tmp_path, one=one, two=two) == "opt/x/y: below opt/x, which is not a folder"


def test_nothing_replaces_a_folder_or_a_link_of_the_merged_usr(tmp_path: Path) -> None:
    deb = make_deb("x", files={"lib": "-> opt"})
    assert refused(tmp_path, x=deb) == "lib: both mllock and x have this path"
    assert base(tmp_path, x=make_deb("x", files={"lib": "-> usr/lib"}))["lib"].target == "usr/lib"
    one = make_deb("one", files={"opt/x": "folder"}, fields={"Replaces": "two"})
    two = make_deb("two", files={"opt/x": b"2"}, fields={"Replaces": "one"})
    assert refused(tmp_path, one=one, two=two) == "opt/x: both one and two have this path"


def test_a_folder_where_a_link_is_keeps_the_link(tmp_path: Path) -> None:
    one = make_deb("one", files={"opt/x": "-> y"})
    two = make_deb("two", files={"opt/x": "folder", "opt/x/z": b"2"})
    nodes = base(tmp_path, one=one, two=two)
    assert nodes["opt/x"].target == "y"
    assert nodes["opt/y"].kind == "folder"
    assert data(nodes["opt/y/z"]) == b"2"


def test_the_order_of_packages_does_not_matter(tmp_path: Path) -> None:
    debs = {
        "base-passwd": BASE_PASSWD,
        "a": make_deb(
            "a", files={"usr/share/x": member("./usr/share/x/", kind=tarfile.DIRTYPE, mode=0o700)}
        ),
        "b": make_deb("b", files={"usr/share/x": "folder", "usr/share/x/y": b"1"}),
        "base-files": make_deb("base-files", files={"usr": "folder"}),
    }
    pairs = [on_disk(tmp_path, deb, name) for name, deb in debs.items()]
    assert base_nodes(pairs) == base_nodes(list(reversed(pairs)))
