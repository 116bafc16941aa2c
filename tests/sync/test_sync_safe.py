"""`mllock sync` where something is in the way: others' folders, interruptions, hostile states."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from support.reporter import Recorder
from support.settling import settle
from support.syncing import (
    IS_LOCKED,
    OTHER,
    SITE,
    TINY,
    Typed,
    ctx,
    files,
    lock,
    typed,
)
from support.training import put_wheels

from mllock.core.digest import from_hex
from mllock.errors import ArchiveError
from mllock.lock.format import parse_lock
from mllock.spec.types import Overlap
from mllock.train.python import HostPython, find_python
from mllock.train.sync import plan_sync, sync
from mllock.workflows.context import Context

__all__ = ["ctx", "typed"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("foreign", "an environment that somebody else made: it is left alone"),
        ("folder", "not an environment: it is left alone"),
        ("file", "not a folder"),
    ],
)
def test_what_mllock_did_not_make_is_left_alone(
    ctx: Context, typed: Typed, kind: str, said: str
) -> None:
    venv = ctx.project / ".venv"
    if kind == "file":
        venv.write_text("mine")
    else:
        venv.mkdir()
        (venv / ("pyvenv.cfg" if kind == "foreign" else "precious")).write_text("mine")
    for words in (("sync",), ("sync", "--check")):
        assert typed(*words) == (
            2,
            "",
            f"error: {venv}: {said}\nhint: move it away, or name another folder with --venv DIR\n",
        )
    assert [p.read_text() for p in (venv, *venv.glob("*")) if p.is_file()] == ["mine"]


def test_what_is_in_the_way_is_kept_aside(ctx: Context, typed: Typed) -> None:
    lock(ctx, other=False)
    typed("sync")
    venv = ctx.project / ".venv"
    (venv / SITE / "other.py").write_text("mine")
    (venv / SITE / "other_more").write_text("mine as well")
    (venv / "bin" / "tiny").unlink()
    (venv / "bin" / "tiny").mkdir()
    lock(ctx)
    code, out, err = typed("sync")
    assert (code, out) == (0, "Added other 2.0\nRestored tiny-lib 1.0 (1 file)\n")
    kept = venv / "mllock-kept"
    assert sorted(line for line in err.splitlines() if "by hand" in line) == [
        f"warning: was changed by hand, and is now {kept}/{path}"
        for path in ("bin/tiny", f"{SITE}/other.py", f"{SITE}/other_more")
    ]
    assert (kept / SITE / "other.py").read_text() == "mine"
    assert (venv / SITE / "other.py").read_bytes() == OTHER["other.py"]
    assert typed("sync", "--check") == (0, "", IS_LOCKED)


def test_an_empty_folder_becomes_one(ctx: Context, typed: Typed) -> None:
    (ctx.project / ".venv").mkdir()
    assert typed("sync")[0] == 0
    assert typed("sync", "--check") == (0, "", IS_LOCKED)


@pytest.mark.parametrize("after", ["removal", "first", "interpreter"])
def test_the_next_sync_repairs_an_interrupted_one(
    ctx: Context, typed: Typed, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    venv = ctx.project / ".venv"
    if after != "interpreter":
        typed("sync")
        lock(ctx, "1.1")
    stops = {
        "removal": "mllock.train.sync_wheels.Wheels.install",
        "first": "mllock.train.sync_folder.Folder.write",
        "interpreter": "mllock.train.sync._made_venv",
    }

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stops[after], stop)
        assert typed("sync")[0] == 130
    code, out, _ = typed("sync", "--check")
    assert (code, out.splitlines()[0]) == (1, ".venv: a sync was interrupted")
    assert typed("sync")[0] == 0
    assert typed("sync", "--check") == (0, "", IS_LOCKED)
    repaired = files(venv)
    shutil.rmtree(venv)
    typed("sync")
    assert repaired == files(venv)


def test_another_python(ctx: Context, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    typed("sync")
    venv = ctx.project / ".venv"
    state = json.loads((venv / "mllock-sync.json").read_bytes())
    state["version"] = "3.10.1"
    old = venv / "lib/python3.10/site-packages/tiny_lib"
    old.mkdir(parents=True)
    (old / "__init__.py").write_bytes(TINY["tiny_lib/__init__.py"])
    look = old.joinpath("__init__.py").stat()
    state["packages"] = {
        "tiny-lib": {
            "version": "1.0",
            "wheel": "x",
            "sha256": "0" * 64,
            "files": [
                [
                    str((old / "__init__.py").relative_to(venv)),
                    look.st_size,
                    look.st_mtime_ns,
                    look.st_ino,
                ]
            ],
        }
    }
    shutil.rmtree(venv / SITE)
    (venv / "mllock-sync.json").write_text(json.dumps(state))
    why = f"it was made with Python 3.10.1, {state['python']}"
    assert typed("sync", "--check")[:2] == (
        1,
        f".venv: {why}\nother 2.0: not installed\ntiny-lib 1.0: 1.0 is installed\n",
    )
    code, out, _ = typed("sync")
    assert (code, out) == (
        0,
        f"Made .venv again: {why}\nAdded other 2.0\nUpdated tiny-lib 1.0 -> 1.0\n",
    )
    assert not old.exists()
    assert typed("sync", "--check") == (0, "", IS_LOCKED)
    monkeypatch.setattr("mllock.train.python.sys.version_info", (3, 9, 1))
    monkeypatch.setenv("PATH", "/nowhere")
    assert typed("sync") == (
        4,
        "",
        "error: no Python 3.11 on this machine\n"
        "expected: python3.11 on PATH, as environment.python says\n"
        "hint: install it, e.g. with: uv python install 3.11\n",
    )


def test_an_environment_that_moved_or_lost_its_python(ctx: Context, typed: Typed) -> None:
    typed("sync")
    venv = ctx.project / ".venv"
    venv.rename(ctx.project / "moved")
    why = f"it was made at {venv}"
    code, out, _ = typed("sync", "--venv", "moved")
    assert (code, out.splitlines()[0]) == (0, f"Made moved again: {why}")
    assert (
        (ctx.project / "moved" / "bin" / "tiny")
        .read_text()
        .startswith(f"#!{ctx.project}/moved/bin/python\n")
    )
    typed("sync")
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to("/bin/sh")
    python = find_python("3.11", os.environ).path
    why = f"its bin/python is not {python}"
    assert typed("sync", "--check")[:2] == (1, f".venv: {why}\n")
    assert typed("sync")[:2] == (0, f"Made .venv again: {why}\n")
    assert typed("sync", "--check") == (0, "", IS_LOCKED)


def test_a_stale_lock_is_refused(ctx: Context, typed: Typed) -> None:
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace('"tiny-lib"', '"tiny-lib>=1"'))
    code, _, err = typed("sync")
    assert (code, err.splitlines()[-1]) == (2, 'hint: bring it up to date with "mllock lock"')
    assert not (ctx.project / ".venv").exists()


def test_a_wheel_that_is_not_here_changes_nothing(ctx: Context, typed: Typed) -> None:
    (package,) = put_wheels(ctx.cache, {("other", "2.0"): OTHER})
    path = ctx.cache.blob_path(from_hex(package.wheels[0].hashes["sha256"]))
    path.unlink()
    code, _, err = typed("sync")
    assert (code, err.splitlines()[1]) == (4, "error: offline, and a file would have to be fetched")
    assert not (ctx.project / ".venv").exists()


def test_hostile_states_and_records_lead_nowhere(
    ctx: Context, typed: Typed, tmp_path: Path
) -> None:
    typed("sync")
    venv = ctx.project / ".venv"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    # A RECORD that names what is elsewhere, by a path and behind a link.
    info = venv / SITE / "evil-1.0.dist-info"
    info.mkdir()
    (venv / SITE / "link").symlink_to(outside)
    (info / "RECORD").write_text(
        f"{outside}/precious,,\n../../../../../outside/precious,,\nlink/precious,,\n"
        "evil-1.0.dist-info/RECORD,,\n"
    )
    # A link where a package has a folder: a developer's own copy of it.
    shutil.rmtree(venv / SITE / "tiny_lib")
    (venv / SITE / "tiny_lib").symlink_to(outside)
    code, out, _ = typed("sync")
    assert (code, out) == (0, "Removed evil 1.0\nRestored tiny-lib 1.0 (2 files)\n")
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (venv / SITE / "tiny_lib" / "data.txt").read_bytes() == b"data\n"
    assert (venv / "mllock-kept" / SITE / "tiny_lib").is_symlink()
    state = venv / "mllock-sync.json"
    text = state.read_text()
    for path in ("../../outside/precious", "/etc/hostname"):
        state.write_text(text.replace('"pending":[]', f'"pending":["{path}"]'))
        code, _, err = typed("sync")
        assert (code, err) == (
            2,
            f"error: {state}: cannot be read, so nothing in its environment is touched\n"
            f'found: {path}\nhint: remove .venv, then run "mllock sync" again\n',
        )
    assert (outside / "precious").read_text() == "mine"


def test_a_package_without_a_record_is_said(ctx: Context, typed: Typed) -> None:
    typed("sync")
    venv = ctx.project / ".venv"
    (venv / SITE / "old_thing-1.0.egg-info").mkdir()
    before = files(venv)
    code, out, err = typed("sync")
    assert (code, out, err.splitlines()) == (
        2,
        "",
        [
            f"error: {venv}: old_thing was installed without a RECORD: its files are not known",
            'hint: remove .venv, then run "mllock sync" again',
        ],
    )
    assert files(venv) == before


@pytest.fixture
def host() -> HostPython:
    return find_python("3.11", os.environ)


def test_a_path_of_two_packages(ctx: Context, host: HostPython, tmp_path: Path) -> None:
    """Equal files are the first one's, different ones are decided by a rule; and a package that
    stays gets its file when the other one goes."""
    shared = {"tests/__init__.py": b"", "same/x.txt": b"same\n"}
    wheels = {
        ("aa", "1"): {**shared, "aa.py": b"A\n", "clash.txt": b"of a\n"},
        ("bb", "1"): {**shared, "bb.py": b"B\n", "clash.txt": b"of b\n"},
    }
    packages = put_wheels(ctx.cache, wheels)
    venv, rule = tmp_path / "venv", Overlap(path="clash.txt", keep="bb")

    def fetch(wanted):
        names = [wheel for package in wanted for wheel in package.wheels]
        return {w.name: ctx.cache.get(from_hex(w.hashes["sha256"])) for w in names}

    def go(some, *rules: Overlap) -> None:
        sync(
            venv,
            some,
            host,
            entries=ctx.cache.folder("unpacked"),
            fetch=fetch,
            again=fetch,
            reporter=Recorder(),
            prompt="x",
            overlaps=rules,
        )
        assert plan_sync(venv, some, host, rules).nothing_to_do

    with pytest.raises(ArchiveError, match="both install this path"):
        go(packages)
    go(packages, rule)
    site = venv / SITE
    assert (site / "clash.txt").read_bytes() == b"of b\n"
    assert "clash.txt" not in (site / "aa-1.dist-info" / "RECORD").read_text()
    assert "same/x.txt" in (site / "bb-1.dist-info" / "RECORD").read_text() or (
        "same/x.txt" in (site / "aa-1.dist-info" / "RECORD").read_text()
    )
    go(packages, Overlap(path="clash.txt", keep="aa"))
    assert (site / "clash.txt").read_bytes() == b"of a\n"
    for some in (packages[:1], packages[1:]):
        go(some)
        own = some[0].name.encode()[:1]
        assert (site / "clash.txt").read_bytes() == b"of " + own + b"\n"
        assert (site / "same" / "x.txt").read_bytes() == b"same\n"
        names = {path.name for path in site.iterdir() if path.name != "__pycache__"}
        assert names == {
            f"{some[0].name}.py",
            f"{some[0].name}-1.dist-info",
            "tests",
            "same",
            "clash.txt",
        }
        go(packages, rule)


def test_wheels_are_hashed_once_for_several_environments(
    ctx: Context, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As unpacked files are: believed by their looks, which a changed byte changes."""
    typed("sync")
    settle(ctx.cache.root)
    assert typed("sync", "--venv", "second")[0] == 0

    def hashed(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr("mllock.store.cache.Cache.get", hashed)
        assert typed("sync", "--venv", "third")[0] == 0
    assert files(ctx.project / "third").keys() == files(ctx.project / "second").keys()
    content = (ctx.project / "mlproject.lock").read_bytes()
    wheel = parse_lock(content, "mlproject.lock").python.packages[1].wheels[0]
    blob = ctx.cache.blob_path(from_hex(wheel.hashes["sha256"]))
    data = bytearray(blob.read_bytes())
    data[50] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    code, _, err = typed("sync", "--venv", "fourth")
    assert code == 4
    assert err == (
        "installing 2 packages\n"
        f"warning: removed a damaged entry of the cache: sha256:{wheel.hashes['sha256']}\n"
        "fetching 1 wheels\n"
        "error: offline, and a file would have to be fetched\n"
        'expected: in the cache, or in a folder that "mllock vendor" made\n'
        f"found: not there: {wheel.name}\n"
        "hint: type it once without --offline, or name such a folder with MLLOCK_VENDOR\n"
    )
    assert not (ctx.project / "fourth").exists()
