"""Runs the `console` blocks of a document as a reader would type them.

In a block, a line that begins with "$ " is typed, in one shell for the whole document, so that `cd`
and variables hold. The lines after it are what it prints (standard output and error together): in
order, with "..." for any number of lines, or for any text inside of a line. "# exit code N" as the
last line of an output says that the command answers N; without it, 0.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"# exit code (\d+)")
MARK = "--- mllock documentation mark ---"


@dataclass(frozen=True, kw_only=True, slots=True)
class Typed:
    """One command of a document, and what the document says that it prints."""

    command: str
    output: tuple[str, ...]
    exit_code: int


def commands(document: str) -> list[Typed]:
    typed = []
    for block in BLOCK.findall(document):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.rstrip("\n").split("\n")
            code = 0
            if match := EXIT.fullmatch(lines[-1]):
                code = int(match.group(1))
                lines.pop()
            while lines[0].endswith("\\"):
                lines[0:2] = [f"{lines[0]}\n{lines[1]}"]
            typed.append(Typed(command=lines[0], output=tuple(lines[1:]), exit_code=code))
    return typed


def mismatch(expected: tuple[str, ...], printed: str) -> str | None:
    """Say which expected line does not follow in what was printed, or None."""
    lines = [line.rstrip() for line in printed.split("\n")]
    at = 0
    loose = False
    for line in expected:
        if line.strip() == "...":
            loose = True
            continue
        pattern = ".*".join(re.escape(piece) for piece in line.rstrip().split("..."))
        found = next(
            (i for i in range(at, len(lines)) if re.fullmatch(pattern, lines[i])),
            None,
        )
        if found is None or (found != at and not loose):
            return f"expected {line!r}" + ("" if loose else f", found {lines[at : at + 3]!r}")
        at = found + 1
        loose = False
    if not loose and any(lines[at:]):
        return f"printed more than the document says: {lines[at : at + 3]!r}"
    return None


def run_document(path: Path, folder: Path, environ: dict[str, str]) -> list[str]:
    """Type every command of `path` in `folder`. Answer the problems, empty if there are none."""
    problems = []
    shell = subprocess.Popen(
        ["bash", "--noprofile", "--norc"],
        cwd=folder,
        env={**os.environ, **environ, "NO_COLOR": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    with shell:
        for typed in commands(path.read_text()):
            shell.stdin.write(f'{typed.command}\necho "$? {MARK}"\n')
            shell.stdin.flush()
            printed = []
            code = None
            for line in shell.stdout:
                if line.rstrip("\n").endswith(MARK):
                    rest, _, _ = line.rpartition(f" {MARK}")
                    head, code_text = re.fullmatch(r"(.*?)(\d+)", rest).groups()
                    code = int(code_text)
                    printed.append(head)
                    break
                printed.append(line)
            text = "".join(printed).rstrip("\n")
            if code != typed.exit_code:
                problems.append(
                    f"$ {typed.command}\nexit code {code}, not {typed.exit_code}\n{text}"
                )
            elif (reason := mismatch(typed.output, text)) is not None:
                problems.append(f"$ {typed.command}\n{reason}\n{text}")
        shell.stdin.close()
    return problems
