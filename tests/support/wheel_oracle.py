"""What pip makes of wheels, beside what mllock makes of them: path, mode, bytes.

    PYTHONPATH=tests python -m support.wheel_oracle LIST [FOLDER]

LIST has lines `name==version --hash=sha256:...`; FOLDER keeps the wheels (default: a new one).
Both sides install for one prefix, so that shebangs are equal as well. What differs on purpose is
named in `EXPECTED`, by rule and reason, and in docs/reference/differences.md; everything else is
printed, and the program ends with 1.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mllock.image.content import Sources
from mllock.image.python import merge
from mllock.image.tree import Node, Stored
from mllock.image.wheel import Prefix, wheel_nodes
from support.wheels import pip_environ

# Rule -> why mllock does not do as pip does.
EXPECTED = {
    "INSTALLER": "each tool writes its own name",
    "REQUESTED": "mllock installs what the lock says; who asked for it is in the spec",
    "direct_url.json": "it would hold a path of the machine that installs",
    "__pycache__": "bytecode of a wheel is of any Python and of any time; mllock makes its own",
    "entry point": "the same import and call in other words: the bytes are part of the format",
    "RECORD": "the same rows but for the files above, sorted, with LF",
    "signature": "a signature of a RECORD that is rewritten says nothing any more",
    "script's bit": "a script is there to be run; pip leaves it at 0644 if its wheel has no bit",
    "pip itself": "pip makes up versioned names for its own script",
}
_INFO = ("INSTALLER", "REQUESTED", "direct_url.json")
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")
CHUNK = 40


@dataclass(frozen=True)
class File:
    mode: int
    digest: str
    data: bytes | None = field(default=None, compare=False, repr=False)


Tree = dict[str, File]


@dataclass
class Comparison:
    """`files` are all paths that were compared; `expected` counts by rule, `problems` the rest."""

    wheels: int = 0
    files: int = 0
    expected: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, other: Comparison) -> None:
        self.wheels += other.wheels
        self.files += other.files
        self.expected += other.expected
        self.problems += other.problems


class Oracle:
    """An environment below `folder` whose Python is what both sides write into shebangs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "venv"
        venv.create(self.root, with_pip=False, symlinks=True)
        minor = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.prefix = Prefix(root=str(self.root).lstrip("/"), python=minor)

    def compare(self, wheels: Sequence[Path]) -> Comparison:
        """Both trees of wheels that have no path in common. Raises MllockError if one is refused
        by mllock, CalledProcessError if pip refuses one."""
        ours, theirs = self.ours(wheels), self.theirs(wheels)
        found = Comparison(wheels=len(wheels), files=len(ours.keys() | theirs.keys()))
        for path in sorted(ours.keys() | theirs.keys()):
            rule = self._rule(path, ours, theirs)
            if rule in EXPECTED:
                found.expected[rule] += 1
            elif rule:
                found.problems.append(f"{path}: {rule}")
        return found

    def theirs(self, wheels: Sequence[Path]) -> Tree:
        out = self.folder / "pip"
        command = [sys.executable, "-m", "pip", "--python", str(self.root / "bin" / "python")]
        command += ["install", "--quiet", "--no-deps", "--no-compile", "--no-index"]
        command += ["--ignore-installed", "--root", str(out), *map(str, wheels)]
        before = os.umask(0o022)
        try:
            subprocess.run(
                command, check=True, env=pip_environ(self.folder), capture_output=True, text=True
            )
        finally:
            os.umask(before)
        try:
            return {
                str(path.relative_to(out)): _on_disk(path)
                for path in out.rglob("*")
                if not path.is_dir()
            }
        finally:
            shutil.rmtree(out)

    def ours(self, wheels: Sequence[Path]) -> Tree:
        owned = [(path.name, wheel_nodes(path, path.name, self.prefix)) for path in wheels]
        with Sources() as sources:
            return {
                node.path: _in_memory(node, sources)
                for node in merge(owned)
                if node.kind != "folder"
            }

    def _rule(self, path: str, ours: Tree, theirs: Tree) -> str | None:
        """None if both are equal, a key of EXPECTED, or what is wrong."""
        mine, other = ours.get(path), theirs.get(path)
        if mine == other:
            return None
        folder, _, name = path.rpartition("/")
        info = folder.endswith(".dist-info")
        if info and name in _INFO and (mine is None or name == "INSTALLER"):
            return name
        if info and name in _SIGNATURES and mine is None:
            return "signature"
        if mine is None:
            if "/__pycache__/" in path:
                return "__pycache__"
            return "pip itself" if _of_pip(path, self.prefix) else "only pip has it"
        if other is None:
            return "pip itself" if _of_pip(path, self.prefix) else "only mllock has it"
        marked = (mine.mode, other.mode) == (0o755, 0o644) and mine.digest == other.digest
        if marked and folder == f"{self.prefix.root}/bin":
            return "script's bit"
        if mine.mode != other.mode:
            return f"mode {mine.mode:o}, pip's is {other.mode:o}"
        if info and name == "RECORD":
            return self._record(path, ours, theirs)
        if (
            folder == f"{self.prefix.root}/bin"
            and (program := _program(mine))
            and program == _program(other)
        ):
            return "entry point"
        return "other bytes than pip's"

    def _record(self, path: str, ours: Tree, theirs: Tree) -> str:
        mine, other = (self._rows(tree[path]) for tree in (ours, theirs))
        for row in mine ^ other:
            target = os.path.normpath(f"{self.prefix.site}/{row[0]}")
            same = target in ours and target in theirs and ours[target] == theirs[target]
            # A row may differ where its file does, and then as its file does.
            if same or target == path or self._rule(target, ours, theirs) not in EXPECTED:
                return f"a row that differs: {row}"
        return "RECORD"

    def _rows(self, file: File) -> set[tuple[str, ...]]:
        assert file.data is not None
        return {tuple(row) for row in csv.reader(file.data.decode().splitlines())}


def _of_pip(path: str, prefix: Prefix) -> bool:
    return path.startswith(f"{prefix.root}/bin/pip3")


def _on_disk(path: Path) -> File:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kept = path.read_bytes() if _is_kept(str(path)) else None
    return File(mode=path.lstat().st_mode & 0o7777, digest=digest, data=kept)


def _in_memory(node: Node, sources: Sources) -> File:
    hasher = hashlib.sha256()
    for piece in sources.read(node):
        hasher.update(piece)
    kept = bytes(node.content.data) if isinstance(node.content, Stored) else None
    return File(mode=node.mode, digest=hasher.hexdigest(), data=kept)


def _is_kept(path: str) -> bool:
    return path.endswith(".dist-info/RECORD") or "/venv/bin/" in path


def _program(file: File) -> tuple[str, ...] | None:
    """What a generated script does: interpreter, what it imports, what it calls and exits with.

    Both have words about names that end in ".exe" besides, which no file has here.
    """
    try:
        text = (file.data or b"").decode()
        body = ast.parse(text).body
    except (UnicodeDecodeError, SyntaxError, ValueError):
        return None
    match body:
        case [*_, ast.ImportFrom() as load, ast.If(test=test, body=[_, ast.Expr() as leave])]:
            return (text.partition("\n")[0], *(ast.dump(part) for part in (load, test, leave)))
    return None


def download(listed: Path, folder: Path) -> list[Path]:
    """The wheels of a list, each with the hash that it says, from where pip finds packages."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--dest", str(folder), "--requirement", str(listed)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    hashes = {part[-64:] for part in listed.read_text().split() if part.startswith("--hash=")}
    found = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in folder.glob("*.whl")}
    missing = hashes - found.keys()
    if missing:
        raise SystemExit(f"wheels that pip did not download: {sorted(missing)}")
    return sorted(path for digest, path in found.items() if digest in hashes)


def chunks(wheels: Iterable[Path]) -> Iterable[list[Path]]:
    every = list(wheels)
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[2]) if sys.argv[2:] else Path(scratch) / "wheels"
        oracle = Oracle(Path(scratch))
        total = Comparison()
        for wheels in chunks(download(Path(sys.argv[1]), folder)):
            total.add(oracle.compare(wheels))
    for problem in total.problems:
        print(problem)
    print(f"{total.wheels} wheels, {total.files} files, {len(total.problems)} differences")
    for rule, count in sorted(total.expected.items()):
        print(f"{count:8} {rule}: {EXPECTED[rule]}")
    return 1 if total.problems else 0


if __name__ == "__main__":
    sys.exit(main())
