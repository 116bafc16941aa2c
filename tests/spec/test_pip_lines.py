"""What to write instead of a line that only pip reads."""

from __future__ import annotations

import pytest

from mllock.spec.pip_lines import instead_of_line, instead_of_option
from mllock.spec.requirements import parts_of


@pytest.mark.parametrize(
    ("line", "requirement"),
    [
        ("git+https://example.org/x.git#egg=y", "y @ git+https://example.org/x.git"),
        (
            "git+https://example.org/x@v1#egg=y&subdirectory=z",
            "y @ git+https://example.org/x@v1#subdirectory=z",
        ),
        ("git+https://example.org/x", "NAME @ git+https://example.org/x"),
        (
            "https://example.org/alpha-1.0-py3-none-any.whl",
            "alpha @ https://example.org/alpha-1.0-py3-none-any.whl",
        ),
        ("git+ssh://git@example.org/x", "NAME @ URL"),
        ("https://me:pw@example.org/a-1.0-py3-none-any.whl", "NAME @ URL"),
    ],
)
def test_a_url_gets_its_name(line: str, requirement: str) -> None:
    """What is said can be written, and no password is said again."""
    assert instead_of_line(line) == f'write the name first: "{requirement}"'
    assert instead_of_option("-e", f"-e {line}") == instead_of_line(line)
    if not requirement.endswith(" URL"):
        assert parts_of(requirement)[2] == f" @ {requirement.partition(' @ ')[2]}"


@pytest.mark.parametrize("line", [".", ".[dev]", "./lib", "../lib", "wheels/a-1.whl", "a-1.tar.gz"])
def test_a_path_has_two_ways_out(line: str) -> None:
    hint = instead_of_line(line)
    assert hint is not None
    assert 'requirements = ["pyproject.toml"]' in hint
    assert instead_of_option("--editable", f"--editable={line}") == hint


def test_what_nobody_can_know() -> None:
    assert instead_of_line("a b") is None
    assert instead_of_option("--use-feature", "--use-feature x") is None
    assert instead_of_option("--pre", "--pre") == (
        'name the pre-release that you mean, e.g. "NAME>=2.0rc1"'
    )
