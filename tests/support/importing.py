"""Cases of tests/corpus/import: files of one project in one text, and what is made of them.

`=== NAME` begins a file. KIND/NAME.case has the files, KIND/NAME.golden the mlproject.toml, the
pins and the list of what was not carried over. The first file is the one that is imported, unless
the case is of `folder` or the first is a file that is read with others.
"""

from __future__ import annotations

from pathlib import Path

from mllock.spec.importing.folder import read_file, read_folder
from mllock.spec.importing.found import Found
from mllock.spec.importing.writer import pins_text
from mllock.workflows.importing import imported_files

CORPUS = Path(__file__).parents[1] / "corpus" / "import"
CASES = sorted(
    path.relative_to(CORPUS).with_suffix("").as_posix() for path in CORPUS.rglob("*.case")
)


class MemoryFiles:
    """Implements `mllock.spec.importing.documents.Files`."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def named(self, suffix: str) -> list[str]:
        return sorted(name for name in self.files if name.endswith(suffix))


def files_of(case: str) -> dict[str, bytes]:
    text = (CORPUS / f"{case}.case").read_text(encoding="utf-8")
    found = {}
    for block in text.split("=== ")[1:]:
        name, _, content = block.partition("\n")
        found[name] = content.encode()
    return found


def found_in(files: dict[str, bytes], *, folder: bool = False) -> Found:
    if folder:
        return read_folder(MemoryFiles(files), "demo")
    return read_file(MemoryFiles(files), next(iter(files)), "demo")


def spec_of(found: Found) -> bytes:
    return imported_files(found, host="linux/amd64", python="3.11")["mlproject.toml"]


def golden_of(case: str) -> bytes:
    found = found_in(files_of(case), folder=case.startswith("folder/"))
    parts = [
        spec_of(found).decode(),
        "=== pins\n",
        pins_text(found),
        "=== not carried over\n",
        *(f"{leftover}\n" for leftover in found.leftovers),
    ]
    return "".join(parts).encode()
