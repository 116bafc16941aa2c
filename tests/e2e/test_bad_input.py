"""Bad input: one clear message each, the exit code of the contract, nothing half-written.

What concerns the spec alone is in tests/corpus; here are the lines that need a whole project, each
typed as a user would type it, whole messages compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.e2e import must

from mllock.core.digest import Digest, sha256_of

pytestmark = pytest.mark.e2e

Edit = Callable[[Path], None]


def spec(old: str, new: str) -> Edit:
    return replace("mlproject.toml", old, new)


def lock(old: str, new: str) -> Edit:
    return replace("mlproject.lock", old, new)


def replace(name: str, old: str, new: str) -> Edit:
    def edit(project: Path) -> None:
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new, 1))

    return edit


def remove(name: str) -> Edit:
    return lambda project: (project / name).unlink()


def append(name: str, text: str) -> Edit:
    def edit(project: Path) -> None:
        with (project / name).open("a") as file:
            file.write(text)

    return edit


def errors(stderr: str) -> str:
    """From the error on, with digests and versions of the day left out."""
    text = stderr[stderr.index("error: ") :].rstrip("\n")
    return re.sub(r"sha256:[0-9a-f]{64}", "sha256:...", text)


DEPENDENCIES = '"fastapi", "uvicorn"]'
STALE_DATA = """\
error: mlproject.lock: is stale
found: data.train: 'data/train.csv' has 212806 bytes now, 212802 locked
hint: bring it up to date with "mllock lock"\
"""
STALE_SPEC = """\
error: mlproject.lock: is stale
found: environment.dependencies: added polars
hint: bring it up to date with "mllock lock"\
"""
EDITED = """\
error: mlproject.lock: content-digest: edited by hand or badly merged
expected: sha256:...
found: sha256:...
hint: write it again with "mllock lock"\
"""
FUTURE = """\
error: mlproject.lock: lock-version: written by a newer mllock
expected: at most 1
found: 2
hint: upgrade: "pip install --upgrade mllock"\
"""
NO_DATA = """\
error: mlproject.toml:17: data.train.source: no such file or folder: 'data/train.csv'
hint: put the data there, or correct the path\
"""
CASES: dict[str, tuple[Edit, tuple[str, ...], int, str]] = {
    "no-lock": (
        remove("mlproject.lock"),
        ("train",),
        2,
        'error: mlproject.lock: no lock here\nhint: make it: "mllock lock"',
    ),
    "syntax": (
        spec('name = "wine"', 'name = "wine'),
        ("lock",),
        2,
        "error: mlproject.toml:4: TOML syntax error: illegal character '\\n'\n"
        'found: name = "wine (column 13)',
    ),
    "unknown-key": (
        spec("source =", "sorce ="),
        ("lock",),
        2,
        'error: mlproject.toml:17: data.train.sorce: unknown key\nhint: did you mean "source"?',
    ),
    "wrong-type": (
        spec("port = 8080", 'port = "8080"'),
        ("lock",),
        2,
        "error: mlproject.toml:36: serve.port: wrong type\nexpected: an integer\n"
        'found: "8080"\nhint: write it without quotes',
    ),
    "conflict": (
        spec(DEPENDENCIES, '"fastapi==0.115.0", "starlette==0.50.0", "uvicorn"]'),
        ("lock",),
        2,
        "error: mlproject.toml:11: environment.dependencies[3]: the dependencies conflict\n"
        "found: the spec -> starlette==0.50.0\n"
        "       the spec -> fastapi 0.115.0 -> starlette<0.39.0 and >=0.37.2\n"
        "hint: widen one of these ranges, or remove one of the packages",
    ),
    "no-such-package": (
        spec(DEPENDENCIES, '"fastapi", "mllock-no-such-package", "uvicorn"]'),
        ("lock",),
        2,
        "error: mlproject.toml:11: environment.dependencies[3]:"
        " no package 'mllock-no-such-package' in the index\n"
        "hint: check the spelling; a private index is set in pip's settings,"
        " e.g. PIP_EXTRA_INDEX_URL",
    ),
    "data-missing-lock": (remove("data/train.csv"), ("lock",), 2, NO_DATA),
    "data-missing-train": (remove("data/train.csv"), ("train",), 2, NO_DATA),
    "data-outside": (
        spec('source = "data/train.csv"', 'source = "../train.csv"'),
        ("lock",),
        2,
        "error: mlproject.toml:17: data.train.source: data is outside of the project\n"
        'expected: a path relative to the folder of the spec\nfound: "../train.csv"\n'
        "hint: copy or move it into the project",
    ),
    "data-changed-build": (append("data/train.csv", "1,2\n"), ("build",), 2, STALE_DATA),
    "data-changed-train": (
        append("data/train.csv", "1,2\n"),
        ("train",),
        2,
        "error: mlproject.lock: data.train: 'data/train.csv' has 212806 bytes now, 212802 locked\n"
        "expected: 1 file, 212802 bytes, sha256:...\nfound: 1 file, 212806 bytes, sha256:...\n"
        'hint: bring the data back, or pin what is there now with "mllock lock"',
    ),
    "spec-changed-train": (
        spec(DEPENDENCIES, '"fastapi", "polars", "uvicorn"]'),
        ("train",),
        2,
        STALE_SPEC,
    ),
    "spec-changed-build": (
        spec(DEPENDENCIES, '"fastapi", "polars", "uvicorn"]'),
        ("build",),
        2,
        STALE_SPEC,
    ),
    "edited-train": (lock("size = ", "size = 1"), ("train",), 2, EDITED),
    "edited-build": (lock("size = ", "size = 1"), ("build",), 2, EDITED),
    "edited-check": (lock("size = ", "size = 1"), ("lock", "--check"), 2, EDITED),
    "future-train": (lock("lock-version = 1", "lock-version = 2"), ("train",), 2, FUTURE),
    "future-lock": (lock("lock-version = 1", "lock-version = 2"), ("lock",), 2, FUTURE),
    "no-network": (
        remove("mlproject.lock"),
        ("lock",),
        4,
        "error: cannot fetch InRelease: 127.0.0.1:9: connection refused\n"
        "hint: check the network, the proxy and the mirror, then run the same command again",
    ),
    "exits-1": (
        replace("train.py", "def main() -> None:", "def main() -> None:\n    raise SystemExit(1)"),
        ("train",),
        1,
        "error: .mllock/runs/RUN/log.txt: the training program failed with exit code 1\n"
        "found: no output",
    ),
    "no-model": (
        replace("train.py", "def main() -> None:", "def main() -> None:\n    return"),
        ("train",),
        1,
        "error: mlproject.toml:29: train.model: the program ended well and wrote no model\n"
        "expected: a file or folder model\n"
        "hint: the program must write it to model, relative to the folder that it runs in",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, starter: Path, e2e_environ: dict[str, str]) -> None:
    edit, arguments, code, message = CASES[name]
    edit(starter)
    before = snapshot(starter)
    # Nothing listens on port 9 (discard); only the case about the network asks it.
    environ = {**e2e_environ, "MLLOCK_DEBIAN_MIRROR": "http://127.0.0.1:9/debian"}
    if name in ("conflict", "no-such-package"):
        environ.pop("MLLOCK_DEBIAN_MIRROR")
    done = must(starter, *arguments, environ=environ, code=code)
    shown = re.sub(r"runs/[0-9]{8}-[0-9]{6}-[a-z0-9]{4}/", "runs/RUN/", errors(done.stderr))
    assert shown == message
    assert "Traceback" not in done.stderr
    after = snapshot(starter)
    if arguments == ("train",) and code == 1:
        after = {path: data for path, data in after.items() if "/runs/" not in f"/{path}"}
        before = {path: data for path, data in before.items() if "/runs/" not in f"/{path}"}
        runs = must(starter, "runs", environ=e2e_environ).stdout.splitlines()
        assert [line.split()[1] for line in runs] == ["STATUS", "failed", "good"]
    assert after == before


def snapshot(project: Path) -> dict[str, Digest]:
    """Every file of the project, but for what a command may remember about unchanged data. Digests:
    what pytest says of two sets of images that are not the same would take all memory."""
    remembered = (project / ".mllock/stat-cache", project / ".mllock/trees.json")
    return {
        str(path.relative_to(project)): sha256_of(path.read_bytes())
        for path in project.rglob("*")
        if path.is_file() and path not in remembered
    }


@pytest.mark.parametrize("command", ["lock", "train", "build", "runs", "show"])
def test_no_spec(command: str, tmp_path: Path, e2e_environ: dict[str, str]) -> None:
    done = must(tmp_path, command, environ=e2e_environ, code=2)
    assert errors(done.stderr) == (
        "error: mlproject.toml: no spec here\n"
        f"expected: mlproject.toml in {tmp_path} or in a folder above it\n"
        'hint: make one with "mllock init", or name the project with --project DIR'
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["scipy-", "base-files_"])
def test_a_damaged_entry_of_the_cache_is_fetched_again(
    kind: str, starter: Path, tmp_path: Path, e2e_environ: dict[str, str]
) -> None:
    """A tampered wheel and a tampered .deb: seen, said, and replaced by the real one."""
    import shutil

    cache = tmp_path / "cache"
    shutil.copytree(e2e_environ["MLLOCK_CACHE"], cache)
    shutil.rmtree(cache / "layers")
    environ = {**e2e_environ, "MLLOCK_CACHE": str(cache)}
    text = (starter / "mlproject.lock").read_text()
    digest = re.search(r'sha256 = "([0-9a-f]{64})"', text[text.index(f"{kind}") :]).group(1)
    blob = cache / "blobs/sha256" / digest[:2] / digest
    good = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(good[:1000] + b"!" + good[1001:])
    index = starter / ".mllock/oci/index.json"
    before = index.read_bytes()
    done = must(starter, "build", environ=environ)
    assert f"warning: removed a damaged entry of the cache: sha256:{digest}" in done.stderr
    assert blob.read_bytes() == good
    assert index.read_bytes() == before

    blob.chmod(0o644)
    blob.write_bytes(good[:1000] + b"!" + good[1001:])
    shutil.rmtree(cache / "layers")
    closed = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_RETRIES": "0",
        "MLLOCK_DEBIAN_MIRROR": "http://127.0.0.1:9/debian",
    }
    done = must(starter, "build", environ={**environ, **closed}, code=4)
    assert "error: " in done.stderr
    assert "hint: check the network" in done.stderr
    assert index.read_bytes() == before
