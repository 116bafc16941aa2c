"""An image that only looks like the one that was built: each trick, and the claim that sees it."""

from __future__ import annotations

import json

import pytest
from support.layers import compact, info, tar
from support.tamper import Layout, flip
from support.world import finding, paths, verdicts

SITE = "opt/venv/lib/python3.11/site-packages"


def oci(world) -> str:
    return f"oci:{world.oci}"


def check(world, **options):
    return world.check(oci(world), **options)


def test_untouched(world):
    report = check(world)
    assert verdicts(report) == {
        "signature": "proven",
        "lineage": "proven",
        "model": "proven",
        "environment": "unproven",
        "code": "proven",
        "configuration": "proven",
        "behaviour": "not asked",
        "release": "not asked",
    }
    assert report.exit_code() == 3
    assert check(world, accepted=["environment"]).exit_code() == 0
    assert finding(report, "environment").reason.endswith(
        "but it was trained on the host; 2 of 2 wheels equal by hash"
    )


@pytest.mark.parametrize("repoint", [True, False])
def test_a_byte_of_the_model(world, repoint):
    layout = Layout(world.oci)
    layout.edit("app/out/model/weights.bin", lambda _, data: flip(data))
    layout.save(repoint=repoint)
    report = check(world, accepted=["environment"])
    assert paths(report, "model") == ["/app/out/model/weights.bin"]
    assert verdicts(report)["model"] == "refuted"
    assert report.exit_code() == 1


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("add", ["/app/out/model/more.bin"]),
        ("remove", ["/app/out/model/weights.bin"]),
        ("rename", ["/app/out/model/renamed.bin", "/app/out/model/weights.bin"]),
        ("exec", ["/app/out/model/weights.bin"]),
        ("link", ["/app/out/model/weights.bin"]),
        ("empty folder", ["/app/out/model/empty"]),
    ],
)
def test_the_model_is_a_closed_world(world, change, found):
    layout = Layout(world.oci)
    path = "app/out/model/weights.bin"
    number = layout.layer_with(path)
    members = layout.members(number)
    member, _data = members[path]
    match change:
        case "add":
            members["x"] = info("app/out/model/more.bin", "file", "x")
        case "remove":
            del members[path]
        case "rename":
            member.name = "app/out/model/renamed.bin"
        case "exec":
            member.mode = 0o755
        case "link":
            members[path] = info(path, "symlink", "/etc/passwd")
        case "empty folder":
            members["x"] = info("app/out/model/empty", "folder")
    layout.replace(number, members)
    layout.save(repoint=True)
    report = check(world)
    assert verdicts(report)["model"] == "refuted"
    assert paths(report, "model") == found


def test_a_byte_of_a_package_is_named(world):
    layout = Layout(world.oci)
    path = f"{SITE}/tiny_lib/__init__.py"
    layout.edit(path, lambda _, data: flip(data))
    layout.save(repoint=True)
    report = check(world, accepted=["environment"])
    assert verdicts(report)["environment"] == "refuted"
    first = finding(report, "environment").differences[0]
    assert first.path == f"/{path}"
    assert first.expected.startswith("sha256:")
    assert first.found.startswith("sha256:")
    assert first.expected != first.found
    assert report.exit_code() == 1


def test_a_byte_of_a_debian_package_is_named(world):
    layout = Layout(world.oci)
    layout.edit("usr/lib/libc.so.6", lambda _, data: flip(data))
    layout.save(repoint=True)
    report = check(world)
    assert paths(report, "environment")[0] == "/usr/lib/libc.so.6"


def test_a_start_up_hook_in_a_package_layer_is_named(world):
    layout = Layout(world.oci)
    number = layout.layer_with(f"{SITE}/tiny_lib/__init__.py")
    members = layout.members(number)
    members["x"] = info(f"{SITE}/sitecustomize.py", "file", "import os\n")
    layout.replace(number, members)
    layout.save(repoint=True)
    report = check(world)
    assert paths(report, "environment")[0] == f"/{SITE}/sitecustomize.py"


@pytest.mark.parametrize(
    ("member", "claim", "path"),
    [
        (("opt/venv/x.pth", "file", "x"), "environment", "/opt/venv/x.pth"),
        (("etc/ld.so.preload", "file", "x"), "environment", "/etc/ld.so.preload"),
        (("usr/lib/.wh.libc.so.6", "file", ""), "environment", "/usr/lib/libc.so.6"),
        (("app/sitecustomize.py", "file", "x"), "code", "/app/sitecustomize.py"),
        (("app/serve.py", "file", "x"), "code", "/app/serve.py"),
        (("app/.wh.serve.py", "file", ""), "code", "/app/serve.py"),
        (("app/out/model/weights.bin", "file", "x"), "model", "/app/out/model/weights.bin"),
        (("app/out/.wh.model", "file", ""), "model", "/app/out/model/weights.bin"),
        (("app/out/model/.wh..wh..opq", "file", ""), "model", "/app/out/model/weights.bin"),
        (("opt/mllock/extra", "file", "x"), "lineage", "/opt/mllock/extra"),
        (("opt/mllock/mlproject.lock", "file", "x"), "lineage", "/opt/mllock/mlproject.lock"),
        (("lib/x", "file", "x"), "code", "the files of all layers together"),
    ],
    ids=str,
)
@pytest.mark.parametrize("repoint", [True, False])
def test_a_layer_put_on_top(world, member, claim, path, repoint):
    layout = Layout(world.oci)
    layout.append(tar([member]))
    layout.save(repoint=repoint)
    report = check(world, accepted=["environment"])
    assert verdicts(report)[claim] == "refuted"
    assert verdicts(report)["configuration"] == "refuted"
    assert path in paths(report, claim)
    assert report.exit_code() == 1


def test_a_large_record_is_read_and_many_are_not_kept(world):
    """Of a model of 130,000 files the record has 21 megabytes; each layer may hold one."""
    layout = Layout(world.oci)
    name = "opt/mllock/record.sigstore.json"
    for _ in range(12):
        layout.append(tar([(name, "file", bytes(20 * 1024 * 1024))]))
    layout.save(repoint=True)
    report = check(world)
    assert verdicts(report)["model"] == "proven"
    assert paths(report, "lineage") == [f"/{name}"]


@pytest.mark.parametrize("path", ["usr/lib/.wh.libc.so.6", "usr/lib/.wh..wh..opq"])
def test_a_layer_of_the_environment_removes_nothing(world, path):
    """A wheel that holds such a name makes one, and its diff_id is then what was signed."""
    layout = Layout(world.oci)
    number = layout.layer_with(f"{SITE}/other.py")
    layout.replace(number, layout.members(number) | {path: info(path, "file")})
    layout.save()
    found = finding(check(world), "environment")
    removed = "/usr/lib/libc.so.6" if path.endswith("6") else "/usr/lib"
    assert [
        (d.path, d.expected, d.found) for d in found.differences if d.path.startswith("/usr")
    ] == [(removed, "nothing removed within the environment", f"a whiteout in layer {number + 1}")]


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("Cmd", ["sh"], "config.config.Cmd"),
        ("User", "0", "config.config.User"),
        ("WorkingDir", "/tmp", "config.config.WorkingDir"),
        ("Entrypoint", ["/bin/sh"], "config.config.Entrypoint"),
        ("Env", ["PATH=/tmp", "LD_PRELOAD=/x"], "config.config.Env[0]"),
        ("Env", ["PATH=/tmp"], "config.config.Env"),
    ],
)
def test_the_config(world, key, value, path):
    layout = Layout(world.oci)
    layout.config["config"][key] = value
    layout.save(repoint=True)
    report = check(world, accepted=["environment"])
    assert verdicts(report)["configuration"] == "refuted"
    assert path in paths(report, "configuration")
    expected = "refuted" if key in ("User", "WorkingDir", "Env") else "unproven"
    assert verdicts(report)["environment"] == expected


def test_a_config_with_other_bytes_and_the_same_meaning(world):
    layout = Layout(world.oci)
    layout.save()
    config = layout.manifest["config"]
    layout.put(config, json.dumps(layout.config, indent=1).encode())
    layout.put(layout.entry, compact(layout.manifest))
    (world.oci / "index.json").write_bytes(compact(layout.index))
    report = check(world, accepted=["environment"])
    assert paths(report, "configuration") == ["config", "manifest"]


def test_the_environment_layer_of_another_place(world):
    layout = Layout(world.oci)
    layout.drop(2)
    layout.save(repoint=True)
    report = check(world)
    assert verdicts(report)["environment"] == "refuted"
    assert "layer 3" in paths(report, "environment")


def test_diff_ids_that_lie(world):
    layout = Layout(world.oci)
    path = f"{SITE}/tiny_lib/__init__.py"
    number = layout.layer_with(path)
    honest = layout.config["rootfs"]["diff_ids"][number]
    layout.edit(path, lambda _, data: flip(data))
    layout.config["rootfs"]["diff_ids"][number] = honest
    layout.save(repoint=True)
    report = check(world)
    assert f"config: rootfs.diff_ids[{number}]" in paths(report, "environment")


@pytest.mark.parametrize("what", ["layer", "config", "manifest"])
def test_a_blob_that_is_not_what_its_digest_says(world, what):
    layout = Layout(world.oci)
    descriptor = {
        "layer": layout.manifest["layers"][0],
        "config": layout.manifest["config"],
        "manifest": layout.entry,
    }[what]
    path = layout.path(descriptor)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(flip(data, len(data) // 2))
    report = check(world)
    assert verdicts(report)["configuration"] == "refuted"
    assert paths(report, "configuration") == [f"blobs/sha256/{path.name}"]
    assert "proven" not in [verdicts(report)[c] for c in ("model", "environment", "code")]
