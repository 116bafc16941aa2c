"""The documents: links lead somewhere, the tutorial and the README do what they show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from support.console import Typed, commands, mismatch, run_document

from mllock.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def documents() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.md"], cwd=ROOT, capture_output=True, check=True
    )
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name]


@pytest.mark.parametrize("path", documents(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    broken = [
        target
        for target in LINK.findall(path.read_text())
        if not target.startswith(("http://", "https://", "mailto:"))
        and not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_harness_sees_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ echo one; echo two\none\n...\n$ false\n# exit code 1\n"
        "$ echo three\nfour\n$ true\n# exit code 2\n```\n"
    )
    assert commands(page.read_text())[1] == Typed(command="false", output=(), exit_code=1)
    problems = run_document(page, tmp_path, {})
    assert [problem.split("\n")[:2] for problem in problems] == [
        ["$ echo three", "expected 'four', found ['three']"],
        ["$ true", "exit code 0, not 2"],
    ]


def test_output_is_compared_line_by_line() -> None:
    assert mismatch(("a", "...", "d"), "a\nb\nc\nd") is None
    assert mismatch(("a ... c",), "a b c") is None
    assert mismatch(("a",), "a\nb") == "printed more than the document says: ['b']"
    assert mismatch(("b",), "a\nb") == "expected 'b', found ['a', 'b']"


def typing() -> dict[str, str]:
    """The environment of a reader: the mllock under test, a terminal of 80 columns."""
    return {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "COLUMNS": "80"}


def test_the_reference_of_commands_is_what_help_prints(tmp_path: Path) -> None:
    page = ROOT / "docs/reference/commands.md"
    assert run_document(page, tmp_path, typing()) == []
    expected = {"mllock --help"}
    for name in COMMANDS:
        expected.add(f"mllock {name} --help")
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            expected |= {f"mllock {name} {inner} --help" for inner in command.commands}
    assert {typed.command for typed in commands(page.read_text())} == expected


@pytest.mark.e2e
@pytest.mark.parametrize("page", ["docs/tutorial/first-model.md"])
def test_a_reader_can_type_it(page: str, tmp_path: Path, e2e_environ: dict[str, str]) -> None:
    """Every command of the page, in an empty folder, answers what the page says."""
    assert run_document(ROOT / page, tmp_path, {**e2e_environ, **typing()}) == []


def test_a_reader_can_ask_the_gates(tmp_path: Path) -> None:
    """As above, and needs no network: nothing is locked."""
    assert run_document(ROOT / "docs/how-to/gates.md", tmp_path, typing()) == []
