"""Data in a vendored folder: a dry run leaves it there, and what came from a URL is in it too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.data_server import DataServer, data_server
from support.typed import Typed, typed_in
from support.vendor_project import ctx, relock, typed

from mllock.core.digest import hex_of, sha256_of
from mllock.errors import InputError, OfflineError
from mllock.lock.format import read_lock
from mllock.workflows.context import Context, make_context
from mllock.workflows.data import fetch_sources
from mllock.workflows.lock import check_lock
from mllock.workflows.vendor import vendor

__all__ = ["ctx", "typed"]

BODY = b"a\n1\n2\n"


def snapshot(project: Path) -> dict[str, bytes | None]:
    """Everything that is there, folders too, with no exception."""
    return {
        str(path.relative_to(project)): path.read_bytes() if path.is_file() else None
        for path in project.rglob("*")
    }


def test_a_dry_run_brings_nothing_and_writes_nothing(ctx: Context, typed: Typed) -> None:
    typed("lock")
    typed("vendor")
    shutil.rmtree(ctx.project / "pictures")
    before = snapshot(ctx.project)
    assert typed("lock", "--dry-run") == (0, "", "mlproject.lock is current: nothing to do\n")
    assert snapshot(ctx.project) == before
    # What it says is what the lock will say, which brings the data and looks at it.
    spec = ctx.project / "mlproject.toml"
    for lines in ('exclude = ["again.txt", "link"]', 'include = ["sub/**"]', 'role = "test"'):
        text = spec.read_text()
        spec.write_text(text.replace('source = "pictures"\n', f'source = "pictures"\n{lines}\n'))
        before = snapshot(ctx.project)
        code, dry, _ = typed("lock", "--dry-run")
        assert (code, snapshot(ctx.project)) == (0, before)
        lock = (ctx.project / "mlproject.lock").read_bytes()
        code, said, _ = typed("lock")
        assert (code, said) == (0, dry)
        assert said.startswith("Updated data.pictures (") or lines.startswith("role")
        assert (ctx.project / "pictures/sub/run.sh").exists()
        shutil.rmtree(ctx.project / "pictures")
        spec.write_text(text)
        (ctx.project / "mlproject.lock").write_bytes(lock)


def test_a_dry_run_over_new_data_leaves_no_memory_of_it(ctx: Context, typed: Typed) -> None:
    (ctx.project / "pictures" / "new.txt").write_text("new")
    before = snapshot(ctx.project)
    code, said, _ = typed("lock", "--dry-run")
    assert (code, said.startswith("Updated data.pictures (")) == (0, True)
    assert snapshot(ctx.project) == before


@pytest.fixture
def server() -> Iterator[DataServer]:
    with data_server() as running:
        yield running


@pytest.fixture
def remote(ctx: Context, server: DataServer) -> Context:
    """Locked; the data of the URL is neither in the cache nor in the project."""
    server.put("/train.csv", BODY, '"1"')
    spec = ctx.project / "mlproject.toml"
    lines = f'source = "{server.url}/train.csv"\npath = "data/train.csv"'
    spec.write_text(spec.read_text().replace('source = "data/train.csv"', lines))
    relock(ctx)
    (ctx.project / "data/train.csv").unlink()
    return ctx


def away(ctx: Context, folder: Path, **more: str) -> Context:
    environ = {**ctx.environ, "MLLOCK_CACHE": str(ctx.project.parent / "empty"), **more}
    return make_context(ctx.project, ctx.reporter, {**environ, "MLLOCK_VENDOR": str(folder)})


def test_remote_data_is_vendored_and_found_there(
    remote: Context, server: DataServer, tmp_path: Path
) -> None:
    pin = read_lock(remote.project / "mlproject.lock").data["train"]
    folder = tmp_path / "usb"
    vendor(remote, folder)
    (remote.project / "data/train.csv").unlink()
    kept = folder / "data/sha256" / hex_of(sha256_of(BODY))
    assert kept.read_bytes() == BODY
    assert (folder / "data/sha256" / pin.tree.removeprefix("sha256:")).exists()
    server.files.clear()
    asked = len(server.asked)
    here = away(remote, folder, MLLOCK_OFFLINE="1")
    assert check_lock(here) == ()
    (placed,) = fetch_sources(here)
    assert (placed.name, placed.is_new) == ("train", True)
    assert (remote.project / "data/train.csv").read_bytes() == BODY
    assert len(server.asked) == asked


def test_other_bytes_in_the_folder_are_not_taken_for_remote_data(
    remote: Context, server: DataServer, tmp_path: Path
) -> None:
    folder = tmp_path / "usb"
    vendor(remote, folder)
    (remote.project / "data/train.csv").unlink()
    kept = folder / "data/sha256" / hex_of(sha256_of(BODY))
    kept.write_bytes(b"a\n1\n9\n")
    url = f"{server.url}/train.csv"
    with pytest.raises(OfflineError) as caught:
        fetch_sources(away(remote, folder, MLLOCK_OFFLINE="1"))
    assert caught.value.message == f"offline: the data source {url} is not asked"
    assert not (remote.project / "data/train.csv").exists()
    # With a network it comes from where the spec says.
    fetch_sources(away(remote, folder))
    assert (remote.project / "data/train.csv").read_bytes() == BODY


def test_a_dry_run_of_remote_data_leaves_the_project_alone(
    remote: Context, server: DataServer, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    typed = typed_in(remote, monkeypatch, capfd)
    server.put("/train.csv", BODY + b"3\n", '"2"')
    before = snapshot(remote.project)
    code, said, _ = typed("lock", "--dry-run", "--upgrade", "data.train")
    assert (code, "-> (8 bytes, sha256:" in said) == (0, True), said
    assert snapshot(remote.project) == before


def test_a_named_folder_that_is_gone(remote: Context, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        fetch_sources(away(remote, tmp_path / "nowhere", MLLOCK_OFFLINE="1"))
    assert caught.value.message == "no such folder"
