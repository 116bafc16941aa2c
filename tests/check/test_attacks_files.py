"""Containers whose files somebody changed: each found, by path, by the claim whose file it is."""

from __future__ import annotations

import json
import os
import shutil
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.attacked import MODEL, RUNS, SERVED, SITE, Attacked, load
from support.nodes import file
from support.world import RUN, finding, make_world, paths, verdicts

from mllock.check.types import Report

WEIGHTS = f"{MODEL}/weights.bin"


def refuted(report: Report, claim: str, path: str, also: str = "") -> None:
    """By this claim, with this path; and by the one that says that nothing was written over."""
    assert report.exit_code() == 1
    assert verdicts(report)[claim] == "refuted"
    assert path in paths(report, claim)
    assert path in paths(report, "configuration")
    for other in ("model", "code", "environment"):
        verdict = "refuted" if other in (claim, also) else "proven"
        assert verdicts(report)[other] == verdict, finding(report, other)
    assert finding(report, claim).level == "B"


@pytest.mark.parametrize(
    ("path", "data", "claim"),
    [
        (WEIGHTS, b"\x07" * 200, "model"),
        (f"{MODEL}/pytorch_model.bin", b"second", "model"),
        ("/app/json.py", b"shadows the standard library", "code"),
        ("/app/tiny_lib/__init__.py", b"shadows a package", "code"),
        ("/app/serve.py", b"print('serving')\n#", "code"),
        (f"{SITE}/sitecustomize.py", b"import os", "environment"),
        (f"{SITE}/usercustomize.py", b"import os", "environment"),
        (f"{SITE}/x.pth", b"import os", "environment"),
        (f"{SITE}/__pycache__/other.cpython-311.pyc", b"x", "environment"),
        ("/opt/venv/pyvenv.cfg", b"include-system-site-packages = true\n", "environment"),
        ("/etc/ld.so.preload", b"/tmp/x.so\n", "environment"),
        ("/etc/passwd", b"root::0:0::/:\n", "environment"),
        ("/.local/lib/python3.11/site-packages/usercustomize.py", b"x", "environment"),
        ("/usr/bin/python3.11", b"#!/bin/other\n", "environment"),
    ],
)
def test_a_file_copied_in(attacked: Attacked, path: str, data: bytes, claim: str) -> None:
    made = attacked.run()
    attacked.shell(made, f"mkdir -p {path.rpartition('/')[0]}")
    attacked.put(made, path, data, 0o755 if path.startswith("/usr/bin") else 0o644)
    refuted(attacked.check(f"container:{made}"), claim, path)


SCRIPTS = {
    "a package file is edited": (
        f"echo 'VERSION = 2' >> {SITE}/tiny_lib/__init__.py",
        f"{SITE}/tiny_lib/__init__.py",
        "environment",
    ),
    "a library of the base": ("echo x > /usr/lib/libc.so.6", "/usr/lib/libc.so.6", "environment"),
    "a model file is removed": (f"rm {WEIGHTS}", WEIGHTS, "model"),
    "a package is removed": (
        f"rm -r {SITE}/tiny_lib",
        f"{SITE}/tiny_lib/__init__.py",
        "environment",
    ),
    "the same size and time": (
        f"touch -r {WEIGHTS} /tmp/t; printf X | dd of={WEIGHTS} bs=1 seek=7 conv=notrunc; "
        f"touch -r /tmp/t {WEIGHTS}",
        WEIGHTS,
        "model",
    ),
    "a link to the same bytes elsewhere": (
        f"cp {WEIGHTS} /tmp/w; rm {WEIGHTS}; ln -s /tmp/w {WEIGHTS}",
        WEIGHTS,
        "model",
    ),
    "the folder of the model is a link": (
        f"cp -r {MODEL} /tmp/m; rm -r {MODEL}; ln -s /tmp/m {MODEL}",
        WEIGHTS,
        "model",
    ),
    "the folder above is a link": (
        "cp -r /app/out /tmp/o; rm -r /app/out; ln -s /tmp/o /app/out",
        WEIGHTS,
        "model and code",
    ),
    "a FIFO in the place of a file": (f"rm {WEIGHTS}; mkfifo {WEIGHTS}", WEIGHTS, "model"),
    "a device in the place of a file": (f"rm {WEIGHTS}; mknod {WEIGHTS} c 1 3", WEIGHTS, "model"),
    "the exec bit of code": ("chmod +x /app/serve.py", "/app/serve.py", "code"),
    "the exec bit of the model": (f"chmod +x {WEIGHTS}", WEIGHTS, "model"),
    "anyone may write the model": (f"chmod 666 {WEIGHTS}", WEIGHTS, "model"),
    "another owner of the model": (f"chown 10001 {WEIGHTS}", WEIGHTS, "model"),
    "a folder that anyone may write": (f"chmod 777 {SITE}", SITE, "environment"),
    "setuid": ("chmod 4755 /usr/bin/busybox", "/usr/bin/busybox", "environment"),
    "an empty folder that shadows": ("mkdir /app/other", "/app/other", "code"),
    "the base's link": ("rm /lib; mkdir /lib", "/lib", "environment"),
    "a sparse file of a terabyte": (
        f"dd if=/dev/zero of={MODEL}/big bs=1 count=1 seek=1000000000000",
        f"{MODEL}/big",
        "unreadable",
    ),
    "a name that hides": (
        f"touch \"$(printf '{SITE}/a\\033[2Kb.py')\"",
        f"{SITE}/a\x1b[2Kb.py",
        "environment",
    ),
    "a name that is not UTF-8": (
        f"touch \"$(printf '{SITE}/\\377.pth')\"",
        f"{SITE}/\udcff.pth",
        "environment",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_somebody_in_the_container(attacked: Attacked, name: str) -> None:
    script, path, claim = SCRIPTS[name]
    made = attacked.run()
    attacked.shell(made, script)
    report = attacked.check(f"container:{made}")
    if claim != "unreadable":
        refuted(report, *claim.split(" and ")[:1], path, *claim.split(" and ")[1:])
        return
    assert paths(report, "configuration") == [path]
    assert [verdicts(report)[c] for c in ("model", "code", "environment")] == ["unproven"] * 3
    assert report.exit_code() == 1


def test_a_capability_of_a_file(attacked: Attacked) -> None:
    """What lets a program do more than its user may: no change of its bytes."""
    made = attacked.run()
    merged = attacked.docker("inspect", "--format", "{{.GraphDriver.Data.MergedDir}}", made)
    if not Path(merged).is_dir():
        pytest.skip("the engine's layers are not on this machine")
    # linux/capability.h, VFS_CAP_REVISION_2 with one permitted capability, effective.
    value = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    os.setxattr(f"{merged}/usr/bin/busybox", "security.capability", value)
    report = attacked.check(f"container:{made}")
    refuted(report, "environment", "/usr/bin/busybox")
    (difference,) = finding(report, "environment").differences
    assert difference.found == "a file with security.capability"


def test_written_and_put_back(attacked: Attacked) -> None:
    """The bytes are right now: what was read before, nobody can say."""
    made = attacked.run()
    attacked.shell(made, f"cp {WEIGHTS} /tmp/w; echo x > {WEIGHTS}; cat /tmp/w > {WEIGHTS}")
    report = attacked.check(f"container:{made}")
    assert verdicts(report)["model"] == "proven"
    assert verdicts(report)["configuration"] == "unproven"
    assert paths(report, "configuration") == [WEIGHTS]
    assert report.exit_code() == 3


def test_what_any_program_may_write(attacked: Attacked) -> None:
    made = attacked.run()
    attacked.shell(made, "echo x > /tmp/a; mkdir /tmp/b; echo y > /tmp/b/c")
    report = attacked.check(f"container:{made}")
    assert report.exit_code() == 0
    assert finding(report, "configuration").reason.endswith(
        "; outside of the proof: 2 files in scratch folders"
    )


def test_scratch_folders_that_are_never_read_to_their_end(attacked: Attacked) -> None:
    """A sparse file of a terabyte: nothing is known, and nobody is accused."""
    made = attacked.run()
    attacked.shell(made, "dd if=/dev/zero of=/tmp/big bs=1 count=1 seek=1000000000000")
    report = attacked.check(f"container:{made}")
    images = ("model", "code", "environment", "configuration")
    assert [verdicts(report)[claim] for claim in images] == ["unproven"] * 4
    assert paths(report, "configuration") == ["/tmp/big"]
    assert report.exit_code() == 3


def test_added_where_nothing_is_looked_for(attacked: Attacked) -> None:
    made = attacked.run()
    attacked.shell(made, "mkdir /srv; echo x > /srv/x")
    report = attacked.check(f"container:{made}")
    assert verdicts(report)["environment"] == "proven"
    assert verdicts(report)["configuration"] == "unproven"
    assert paths(report, "configuration") == ["/srv", "/srv/x"]
    assert report.exit_code() == 3


def layer_folder(attacked: Attacked, path: str) -> Path:
    """Where the engine keeps the layer of the image that holds `path`."""
    data = json.loads(
        attacked.docker("image", "inspect", "--format", "{{json .GraphDriver.Data}}", attacked.tag)
    )
    folders = [data["UpperDir"], *data.get("LowerDir", "").split(":")]
    found = [Path(folder) for folder in folders if os.path.lexists(f"{folder}{path}")]
    if not found:
        pytest.skip("the engine's layers are not on this machine")
    return found[0]


@pytest.fixture
def alone(engine_host: str, tmp_path: Path) -> Iterator[Attacked]:
    """A world none of whose layers is in any other image of the engine: these will be broken."""
    base = (*RUNS, file("etc/unique", uuid.uuid4().bytes))
    world = make_world(tmp_path / "alone", spec=SERVED, base=base, runtime="docker")
    mine = Attacked(world=world, host=engine_host, tag="", older="")
    mine.tag = mine.new_tag()
    load(mine, mine.tag, RUN)
    yield mine
    mine.clean()


@pytest.mark.parametrize("warm", [True, False], ids=["listed before", "never seen"])
@pytest.mark.parametrize("how", ["edit", "delete"])
def test_the_host_changes_a_lower_folder(alone: Attacked, warm: bool, how: str) -> None:
    """The engine's own copy of a layer is not what it was: its image store does not notice."""
    path = f"{SITE}/tiny_lib/__init__.py"
    made = alone.create()
    if warm:
        assert alone.check(f"container:{made}").exit_code() == 0
    else:
        shutil.rmtree(alone.world.root / "cache")
        shutil.rmtree(alone.world.oci)
    changed = layer_folder(alone, path) / path.lstrip("/")
    if how == "edit":
        data = changed.read_bytes()
        changed.write_bytes(data[:-3] + b"X" + data[-2:])
    else:
        changed.unlink()
    report = alone.check(f"container:{made}")
    assert verdicts(report)["environment"] == "refuted"
    assert path in str(finding(report, "environment").differences)
    assert verdicts(report)["model"] == "proven"
    assert report.exit_code() == 1
    image = alone.check(f"image:{alone.tag}")
    assert verdicts(image)["environment"] == "refuted"
    assert paths(image, "environment") == [path]
    assert paths(image, "configuration") == [path]
    assert image.exit_code() == 1


def test_the_host_changes_the_model_in_a_lower_folder(alone: Attacked) -> None:
    made = alone.run()
    changed = layer_folder(alone, WEIGHTS) / WEIGHTS.lstrip("/")
    changed.write_bytes(b"\x07" * 200)
    refuted(alone.check(f"container:{made}"), "model", WEIGHTS)
    image = alone.check(f"image:{alone.tag}")
    assert verdicts(image)["model"] == "refuted"
    assert paths(image, "model") == [WEIGHTS]
