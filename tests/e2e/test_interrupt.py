"""Ctrl-C at each stage, and a full disk: a clear end, nothing half-written, then it works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.e2e import MLLOCK, must

pytestmark = pytest.mark.e2e


def interrupt(
    folder: Path, *arguments: str, at: str, environ: dict[str, str], delay: float = 0
) -> tuple[int, list[str]]:
    """Type a command and press Ctrl-C when standard error shows `at`."""
    with subprocess.Popen(
        [str(MLLOCK), *arguments],
        cwd=folder,
        env={**os.environ, **environ, "NO_COLOR": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal sends Ctrl-C to the whole foreground group; so do we.
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            if line.startswith(at):
                time.sleep(delay)
                os.killpg(process.pid, signal.SIGINT)
                break
        else:
            pytest.fail(f"{at!r} was never printed: {lines}")
        lines += process.stderr.read().splitlines()
        return process.wait(timeout=60), lines


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def own_cache(tmp_path: Path, e2e_environ: dict[str, str]) -> dict[str, str]:
    """The session's cache without what building and training keep, as a copy of the test's own."""
    cache = tmp_path / "cache"
    shutil.copytree(e2e_environ["MLLOCK_CACHE"], cache, copy_function=os.link)
    for name in ("layers", "venvs"):
        shutil.rmtree(cache / name)
    (tmp_path / "tmp").mkdir()
    return {**e2e_environ, "MLLOCK_CACHE": str(cache), "TMPDIR": str(tmp_path / "tmp")}


@pytest.mark.parametrize(
    ("arguments", "stage"),
    [
        (("lock", "--fresh"), "reading the indexes"),
        (("lock", "--fresh"), "fetching and examining"),
        (("lock", "--fresh"), "resolving"),
        (("lock", "--fresh"), "fetching 2"),
        (("build",), "making the base"),
        (("build",), "making 6 Python layers"),
        (("build",), "writing"),
        (("train",), "verifying the data"),
        (("train",), "installing"),
        (("train",), "running"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else value[0],
)
def test_ctrl_c(
    arguments: tuple[str, ...], stage: str, starter: Path, own_cache: dict[str, str]
) -> None:
    shutil.rmtree(starter / ".mllock/oci")
    before = files(starter)
    lock = (starter / "mlproject.lock").read_bytes()
    # "running" is said before the program starts; it takes seconds.
    delay = 0.7 if stage == "running" else 0
    code, lines = interrupt(starter, *arguments, at=stage, environ=own_cache, delay=delay)
    assert (code, lines[-1]) == (130, "interrupted: nothing was half-written"), lines
    assert (starter / "mlproject.lock").read_bytes() == lock
    left = {name for name in files(starter) - before if not name.startswith(".mllock/oci/")}
    if stage == "running":
        # A program that was stopped leaves its log and the reason, and no record.
        assert {Path(name).name for name in left} == {"log.txt", "failed.json"}
    else:
        assert left == set()
    assert not (starter / ".mllock/oci/index.json").exists()
    assert [p for p in (Path(own_cache["MLLOCK_CACHE"]) / "tmp").glob("*") if p.is_dir()] == []
    assert list(Path(own_cache["TMPDIR"]).iterdir()) == []
    must(starter, *arguments, environ=own_cache)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB. Needs root, as the tests of images do."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("arguments", [("lock", "--fresh"), ("build", "train"), ("train",)])
def test_disk_full_in_the_cache(
    arguments: tuple[str, ...], starter: Path, small_disk: Path, e2e_environ: dict[str, str]
) -> None:
    before = files(starter)
    lock = (starter / "mlproject.lock").read_bytes()
    done = must(
        starter, *arguments, environ={**e2e_environ, "MLLOCK_CACHE": str(small_disk)}, code=4
    )
    assert "cannot write: no space left on device" in done.stderr
    assert done.stderr.rstrip().splitlines()[-1] == (
        "hint: free some space, then run the same command again"
    )
    assert "Traceback" not in done.stderr
    assert (starter / "mlproject.lock").read_bytes() == lock
    assert files(starter) == before


def test_disk_full_in_the_project(
    starter: Path, small_disk: Path, e2e_environ: dict[str, str]
) -> None:
    """The layout does not fit; the old one, and everything else, stays as it was."""
    project = small_disk / "wine"
    shutil.copytree(starter, project, ignore=shutil.ignore_patterns("oci"), symlinks=True)
    before = files(project)
    done = must(project, "build", environ=e2e_environ, code=4)
    assert "cannot write: no space left on device" in done.stderr
    assert files(project) == before
