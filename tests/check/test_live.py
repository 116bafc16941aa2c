"""The rules about an instance, on descriptions that no command of ours makes; and their lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mllock.check import live_lists
from mllock.check.live import judge, mounts_of, resolved
from mllock.check.live_lists import ENGINE_FILES, LOADERS, PLATFORM, TUNING, named
from mllock.check.mountinfo import KernelMount, kernel_mounts, parse_mountinfo
from mllock.check.tree import ContainerTree, compare_tree, read_export
from mllock.core.digest import sha256_of
from mllock.errors import ArchiveError
from mllock.image.read import Member

CONFIG = {"Cmd": ["python", "serve.py"], "Env": ["A=1"], "User": "1:1", "WorkingDir": "/app"}
LINK = Member(kind="symlink", mode=0o777, uid=0, gid=0, target="usr/lib")
FOLDER = Member(kind="folder", mode=0o755, uid=0, gid=0)
TREE = {"lib": LINK, "usr": FOLDER, "usr/lib": FOLDER, "var": FOLDER, "var/lib": FOLDER}


def described(
    config: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "Path": "python",
        "Args": ["serve.py"],
        "Config": CONFIG | (config or {}),
        "HostConfig": host or {},
        **more,
    }


def judged(raw: dict[str, Any], kernel: tuple[KernelMount, ...] | None = None):
    found = judge(raw, CONFIG, ("API_KEY",), TREE, TREE, kernel)
    return [d.path for d in found.refuting], [d.path for d in found.open], found.outside


def test_what_is_not_known_is_unproven() -> None:
    assert judged(described()) == ([], [], [])
    assert judged(described(host={"Invented": True, "Empty": [], "Memory": 5})) == (
        [],
        ["HostConfig.Invented"],
        [],
    )
    assert judged(described({"Invented": "x", "Empty": None})) == ([], ["config.Invented"], [])


def test_the_health_check_of_the_image_is_no_addition() -> None:
    own = {"Test": ["CMD", "python", "-c", "pass"], "Interval": 10}
    signed = CONFIG | {"Healthcheck": own}

    def outside(there: dict[str, Any] | None, expected: dict[str, Any]) -> list[str]:
        found = judge(described({"Healthcheck": there}), expected, (), TREE, TREE)
        assert (found.refuting, found.open) == ([], [])
        return found.outside

    assert outside(own, signed) == []
    for other in ({**own, "Interval": 1}, {"Test": ["NONE"]}, {"Test": ["CMD", "sh"]}, None):
        assert outside(other, signed) == ["a health check"]
    assert outside(own, CONFIG) == ["a health check"]
    assert outside(None, CONFIG) == []


def test_the_program_that_runs() -> None:
    raw = described() | {"Path": "/bin/sh", "Args": []}
    assert judged(raw)[0] == ["the program"]
    assert judged(described({"Cmd": None}))[0] == ["config.Cmd"]


def test_a_variable_twice() -> None:
    assert judged(described({"Env": ["A=2", "A=1"]}))[0] == ["variable A"]


def test_values_of_added_variables_are_not_shown() -> None:
    listed = ["A=secret", "LD_PRELOAD=secret", "B=secret"]
    found = judge(described({"Env": listed}), CONFIG, (), TREE, TREE)
    assert "secret" not in str(found)
    assert [d.path for d in found.refuting] == ["variable A", "variable LD_PRELOAD"]
    assert [d.path for d in found.open] == ["variable B"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/lib/x", "usr/lib/x"),
        ("/data/../lib", "usr/lib"),
        ("/app/", "app"),
        ("//", ""),
        ("/loop/x", "loop/x"),
        ("/up", "usr"),
    ],
)
def test_where_a_mount_comes_to_lie(target: str, expected: str) -> None:
    loop = Member(kind="symlink", mode=0o777, uid=0, gid=0, target="loop")
    up = Member(kind="symlink", mode=0o777, uid=0, gid=0, target="/var/../usr")
    assert resolved(target, TREE | {"loop": loop, "up": up}) == expected


def test_mounts_have_an_order() -> None:
    mounts = [{"Type": "bind", "Source": "/s", "Destination": d} for d in ("/b", "/a")]
    found = mounts_of({"Mounts": mounts, "HostConfig": {"Tmpfs": {"/aa": ""}}}, TREE)
    assert [(mount.target, mount.what) for mount in found] == [
        ("a", "a bind of /s"),
        ("aa", "a tmpfs"),
        ("b", "a bind of /s"),
    ]


MOUNTINFO = r"""
79 54 0:39 / / rw,relatime master:3 - overlay overlay rw
80 79 0:42 / /proc rw,nosuid - proc proc rw
60 80 0:43 /null /proc/keys rw,nosuid - tmpfs tmpfs rw
96 79 254:0 /data/containers/1/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda rw
97 79 254:0 /a\040b /srv/c\040d rw - ext4 /dev/vda rw
98 79 254:0 / /app/model rw - tmpfs none rw
""".strip()


def test_what_the_kernel_lists() -> None:
    found = parse_mountinfo(MOUNTINFO)
    assert [mount.target for mount in found] == [
        *("", "proc", "proc/keys", "etc/resolv.conf", "srv/c d", "app/model"),
    ]
    assert found[4].what == "a mount of /a b (ext4)"
    refuted, unproven, _ = judged(described(), found)
    assert (refuted, unproven) == (["/app/model"], ["/srv/c d"])
    known = {"Mounts": [{"Type": "bind", "Source": "/a b", "Destination": "/srv/c d"}]}
    assert judged(described(**known), found)[1] == ["/srv/c d"]


def test_a_second_root_and_lines_that_are_not_understood() -> None:
    root = KernelMount(target="", what="a mount of overlay")
    assert judged(described(), (root,))[0] == []
    assert judged(described(), (root, root))[0] == ["/"]
    broken = parse_mountinfo(f"{MOUNTINFO}\nnonsense")
    assert "/" in judged(described(), broken)[0]


def test_a_process_that_is_somebody_else(tmp_path: Path) -> None:
    """The same number on another machine, or in another namespace."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text("0::/docker/abc\n")
    (tmp_path / "7" / "mountinfo").write_text(MOUNTINFO)
    assert kernel_mounts(7, "abc", tmp_path) == parse_mountinfo(MOUNTINFO)
    assert kernel_mounts(7, "abd", tmp_path) is None
    assert kernel_mounts(8, "abc", tmp_path) is None
    assert kernel_mounts(0, "abc", tmp_path) is None
    assert kernel_mounts(7, "", tmp_path) is None


def test_names_and_patterns() -> None:
    assert named("LD_PRELOAD", LOADERS)
    assert not named("LD", LOADERS)
    assert not named("WORLD_LD_PRELOAD", LOADERS)
    assert not named("ld_preload", LOADERS)


@pytest.mark.parametrize("path", ENGINE_FILES)
def test_what_engines_put_there_is_taken_exactly(path: str) -> None:
    known = ENGINE_FILES[path]
    if known.kind == "file":
        known = replace(known, digest=sha256_of(b""))
    tree = ContainerTree(members={path: known})
    assert compare_tree({}, tree, ()) == {}
    others = [
        replace(known, uid=10001),
        replace(known, kind="symlink", target="/tmp/x"),
        *([] if known.kind == "symlink" else [replace(known, mode=0o777)]),
    ]
    if known.kind == "file":
        others.append(replace(known, size=1, digest=sha256_of(b"x")))
    for other in others:
        assert list(compare_tree({}, ContainerTree(members={path: other}), ())) == [path]
    odd = ContainerTree(members={path: known}, odd={path: "a file with security.capability"})
    assert list(compare_tree({}, odd, ())) == [path]
    # In place of what the image has there, or nothing: but not gone.
    own = replace(known, mode=0o644)
    assert compare_tree({path: own}, tree, ()) == {}
    assert list(compare_tree({path: own}, ContainerTree(), ())) == [path]


def test_what_is_made_for_a_mount() -> None:
    point = {"data": FOLDER, "data/in": FOLDER}
    mounts = ["data/in"]
    assert compare_tree({}, ContainerTree(members=point), mounts) == {}
    assert list(compare_tree({}, ContainerTree(members=point), ())) == ["data", "data/in"]
    full = point | {"data/in/x": Member(kind="file", mode=0o644, uid=0, gid=0, size=1)}
    assert list(compare_tree({}, ContainerTree(members=full), mounts)) == ["data/in/x"]
    mine = point | {"data/in": replace(FOLDER, uid=1)}
    assert list(compare_tree({}, ContainerTree(members=mine), mounts)) == ["data/in"]
    # What the image has stays what it is.
    assert list(compare_tree(point, ContainerTree(members=mine), mounts)) == ["data/in"]


REFERENCE = (Path(__file__).parents[2] / "docs/reference/check.md").read_text()


@pytest.mark.parametrize("entry", [*LOADERS, *TUNING, *PLATFORM])
def test_the_reference_lists_the_variables(entry: str) -> None:
    assert f"`{entry}`" in REFERENCE


@pytest.mark.parametrize(
    "path",
    [
        *live_lists.PROTECTED,
        *live_lists.PROTECTED_ETC,
        *live_lists.SCRATCH,
        *live_lists.ENGINE_MOUNTS,
        *live_lists.ENGINE_FILESYSTEMS,
        *ENGINE_FILES,
    ],
)
def test_the_reference_lists_the_paths(path: str) -> None:
    assert f"`/{path}`" in REFERENCE


def test_a_mount_is_where_either_tree_has_it() -> None:
    """A link that was put there, to lead a mount over what is read."""
    raw = {"Mounts": [{"Type": "bind", "Source": "/s", "Destination": "/data"}]}
    link = Member(kind="symlink", mode=0o777, uid=0, gid=0, target="/app/model")
    found = judge(described(**raw), CONFIG, (), TREE, TREE | {"data": link})
    assert [d.path for d in found.refuting] == ["/app/model"]
    assert [d.path for d in found.open] == ["/data"]


def test_an_export_that_is_no_tar() -> None:
    with pytest.raises(ArchiveError) as caught:
        read_export(iter([b"x" * 2000]), {})
    assert str(caught.value) == "a tar header whose checksum is b'xxxxxxxx'"
