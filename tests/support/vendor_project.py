"""A locked project whose inputs are all in the cache, and `mllock` typed in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from mllock.core.digest import hex_of, sha256_of
from mllock.lock.format import dump_lock, seal
from mllock.lock.types import Base, BaseLayer, BasePlatform
from mllock.workflows.context import Context
from support.training import SPEC, context, lock_of, make_project, put_wheels
from support.typed import Typed, typed_in

DEB = b"not really a deb"
CONFIG = b"{}"
LAYER = b"not really a layer"


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    """A base image, a Debian package above it, two wheels, a file and a folder as data."""
    spec = SPEC.replace("[environment]\n", '[environment]\nbase = "oci:base"\n')
    spec += '\n[data.pictures]\nsource = "pictures"\n'
    files = {"pictures/one.txt": "one", "pictures/sub/run.sh": "#!\n", "pictures/again.txt": "one"}
    project = make_project(tmp_path / "project", spec=spec, files=files)
    (project / "pictures" / "sub" / "run.sh").chmod(0o755)
    (project / "pictures" / "link").symlink_to("sub/run.sh")
    (project / "pictures" / "nothing").mkdir()
    ctx = context(project)
    relock(ctx)
    return ctx


def relock(ctx: Context, version: str = "1.0") -> None:
    packages = put_wheels(ctx.cache, {("tiny-lib", version): None, ("other", "2.0"): None})
    lock = lock_of(ctx.project, packages)
    (deb,) = lock.system
    for data in (DEB, CONFIG, LAYER):
        ctx.cache.put_bytes(data)
    base = BasePlatform(
        platform="linux/amd64",
        manifest=sha256_of(b"manifest"),
        config=sha256_of(CONFIG),
        config_size=len(CONFIG),
        glibc="2.36",
        layers=(
            BaseLayer(
                digest=sha256_of(LAYER),
                diff_id=sha256_of(b"diff"),
                size=len(LAYER),
                type="application/vnd.oci.image.layer.v1.tar+gzip",
            ),
        ),
        variables={},
    )
    deb = replace(deb, size=len(DEB), sha256=hex_of(sha256_of(DEB)), layer="system")
    lock = replace(
        lock,
        system=(deb,),
        base=Base(
            kind="oci",
            reference="oci:base",
            suite="bookworm",
            python="3.11.2",
            interpreter="/usr/bin/python3.11",
            indexes=lock.base.indexes,
            platforms=(base,),
        ),
    )
    (ctx.project / "mlproject.lock").write_bytes(dump_lock(seal(lock)))


@pytest.fixture
def typed(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Typed:
    """`typed("vendor", "DIR")`: exit code, standard output, standard error."""
    monkeypatch.setenv("MLLOCK_OFFLINE", "1")
    return typed_in(ctx, monkeypatch, capfd)
