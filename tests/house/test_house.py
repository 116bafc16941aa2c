"""The house itself: one-way imports, small files, what travels in the wheel, no foreign hosts."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mllock"

# Left to right: a room may import what stands before it, never what stands after it.
ROOMS = (
    "errors",
    "resources",
    "processes",
    "core",
    "spec",
    "lock",
    "data",
    "store",
    # What services know of packages; nothing of ours is made or judged by it.
    "audit",
    "image",
    # Beside image: neither knows the other; training, checking and building use both.
    "engine",
    # A record is a signed statement: training needs attest, and attest no training.
    "attest",
    "probes",
    "train",
    "serve",
    # Judges data and predictions; check reads what was signed about that, and judges nothing anew.
    "gates",
    # Two of anything that was made, side by side.
    "diff",
    # One run on a page.
    "report",
    "check",
    "workflows",
    "cli",
)
MAX_LINES = 400


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a module imports anywhere, also inside of functions."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
            if node.module == "mllock":
                names = [f"mllock.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "mllock" and len(parts) > 1 and parts[1] != "__version__":
                rooms.add(parts[1])
    return rooms


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return
    assert room in ROOMS, f"a room that is not in the drawing: {room}"
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    assert imported_rooms(path) <= allowed


def test_a_wrong_arrow_would_be_seen(tmp_path: Path) -> None:
    module = tmp_path / "wrong.py"
    module.write_text("def f():\n    from mllock.cli.app import App\n    return App\n")
    assert imported_rooms(module) == {"cli"}


@pytest.mark.parametrize(
    "forbidden", ["print(", "sys.exit(", "click.echo("], ids=["print", "exit", "echo"]
)
def test_only_cli_prints_or_exits(forbidden: str) -> None:
    offenders = [
        str(path.relative_to(ROOT))
        for path in modules()
        if room_of(path) not in ("cli", "__main__")
        and re.search(rf"(?<![\w.\"'`]){re.escape(forbidden)}", path.read_text())
    ]
    assert offenders == []


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, check=True
    )
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name]


def test_files_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py")
        if (lines := path.read_text().count("\n")) > MAX_LINES
    }
    assert long == {}


def test_no_place_of_a_user_is_resolved_by_pathlib() -> None:
    """`Path.resolve` raises RuntimeError for a link that leads to itself: `os.path.realpath`."""
    found = [str(path) for path in modules() if ".resolve()" in path.read_text()]
    assert found == []


def test_modules_say_what_they_are_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in modules()
        if ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_no_registry_host_in_the_tree() -> None:
    # Written in pieces, so that this file does not hold them itself.
    hosts = re.compile(
        "|".join(
            re.escape(left) + r"\." + right
            for left, right in [
                ("pypi", "(org|python)"),
                ("files.pythonhosted", "org"),
                ("deb.debian", "org"),
                ("security.debian", "org"),
                ("ftp.debian", "org"),
                ("registry.npmjs", "org"),
            ]
        )
    )
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        if path.is_file() and (match := hosts.search(path.read_text(errors="replace")))
    ]
    assert found == []


def test_schemas_templates_and_keys_travel_in_the_wheel(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for source, target in (("schemas", "mllock/schemas"), ("templates", "mllock/templates")):
        expected = {
            f"{target}/{path.relative_to(ROOT / source).as_posix()}" for path in tracked(source)
        }
        assert expected, f"nothing in {source}"
        assert expected <= names
    assert "mllock/py.typed" in names
    inside = {str(path.relative_to(ROOT)) for path in tracked("mllock")}
    assert inside <= names
