"""What is said of a vendored folder that is not the one that is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.vendor_project import LAYER, Typed, ctx, relock, typed

from mllock.core.digest import sha256_of
from mllock.data.code import select_code
from mllock.errors import InputError
from mllock.spec.reader import load_spec
from mllock.store.vendored import vendored_of
from mllock.workflows.context import Context, make_context

__all__ = ["ctx", "typed"]


def test_a_folder_of_a_newer_mllock_is_not_passed_over(ctx: Context, typed: Typed) -> None:
    typed("vendor")
    sums = ctx.project / "vendor" / "SHA256SUMS"
    text = sums.read_text()
    sums.write_text(text.replace("# mllock vendor 1\n", "# mllock vendor 2\n"))
    said = (
        f"{sums}: a newer mllock made this vendored folder\n"
        "expected: # mllock vendor 1\nfound: # mllock vendor 2\n"
        "hint: update mllock, or make the folder again with this one"
    )
    for arguments in (("vendor",), ("vendor", "--check")):
        assert typed(*arguments) == (2, "", f"error: {said}\n")
    environ = {**ctx.environ, "MLLOCK_CACHE": str(ctx.project.parent / "empty")}
    named = {**environ, "MLLOCK_VENDOR": str(ctx.project / "vendor")}
    for known in (environ, named):
        with pytest.raises(InputError) as caught:
            make_context(ctx.project, ctx.reporter, known).cache.get(sha256_of(LAYER))
        assert str(caught.value) == said
    assert "vendor/SHA256SUMS" not in code_paths(ctx)
    # Others have files of that name, too.
    for first in ("", "# mllock vendor\n", "# mllock vendor 1 2\n", "# mllock vendor x\n"):
        sums.write_text(first)
        assert vendored_of(ctx.project, {}) == ()


def code_paths(ctx: Context) -> set[str]:
    spec = load_spec(ctx.project / "mlproject.toml").spec
    return {entry.path for entry in select_code(ctx.project, spec, ["**/*"]).manifest.entries}


def test_a_check_looks_where_commands_look(
    ctx: Context, typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLLOCK_VENDOR", str(tmp_path / "usb"))
    assert typed("vendor", str(tmp_path / "usb"))[0] == 0
    assert typed("vendor", "--check") == (
        0,
        f"{tmp_path}/usb: all 10 files are there and right\n",
        "",
    )
    typed("vendor")
    assert typed("vendor", "--check")[1].startswith(f"{ctx.project}/vendor: all 10 files")


def test_a_folder_that_the_variable_cannot_name(typed: Typed, tmp_path: Path) -> None:
    place = tmp_path / "wine:2026"
    assert typed("vendor", str(place)) == (
        2,
        "",
        f"error: {place}: a name that MLLOCK_VENDOR cannot have: ':' stands between its folders\n"
        "hint: name a folder without ':'\n",
    )
    assert not place.exists()


def test_who_lacks_a_file_that_cannot_be_fetched(
    ctx: Context, typed: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder that was made for another lock says so, and not only that there is no network."""
    typed("vendor")
    relock(ctx, "1.1")
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "empty"))
    code, _, err = typed("-q", "why", "tiny-lib")
    assert (code, err.splitlines()) == (
        4,
        [
            "error: offline, and a file would have to be fetched",
            'expected: in the cache, or in a folder that "mllock vendor" made',
            "found: not there: tiny_lib-1.1-py3-none-any.whl",
            "hint: type it once without --offline, or name such a folder with MLLOCK_VENDOR;"
            f' {ctx.project}/vendor lacks it: "mllock vendor --check" says what else',
        ],
    )
