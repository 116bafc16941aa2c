"""`mllock vendor`: a folder with every input that the lock pins, for a place without a network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option
from mllock.cli.explained import size_text
from mllock.core.vendor import VENDOR

if TYPE_CHECKING:  # the command's own imports wait until it runs
    from mllock.workflows.vendor import VendorCheck, VendorResult

__all__ = ["command"]

_NOUNS = {"wheel": "wheel", "deb": "Debian package", "base": "base blob", "data": "data file"}
# More problems than this are counted; `--json` names them all.
_SHOWN = 20


@click.command("vendor", epilog="Example: mllock vendor /media/usb/wine")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="Remove from it what this lock does not pin.")
@click.option(
    "--check", is_flag=True, help="Only say whether DIR has all of it, by hash; exit code 1 if not."
)
@json_option
@click.pass_obj
def command(app: App, *, folder: Path | None, prune: bool, check: bool, as_json: bool) -> int:
    """Keep every input that the lock pins in DIR (default: vendor of the project).

    Wheels, Debian packages, base image and data, each hashed while it is copied; what is there and
    right is kept. Commands look into vendor of the project by themselves, and into the folders that
    MLLOCK_VENDOR names: with them, lock --check, sync, build and train need no network.
    """
    if check and prune:
        raise click.UsageError("--check only looks: leave out --prune")
    from mllock.workflows import vendor

    ctx = app.context()
    place = None if folder is None else folder.absolute()
    if check:
        looked = vendor.check_vendor(ctx, place)
        if as_json:
            app.print_json(_check_document(looked))
        else:
            app.print("\n".join(_check_lines(looked)))
        return 1 if looked.problems else 0
    done = vendor.vendor(ctx, place, prune=prune)
    if as_json:
        app.print_json(_document(done))
        return 0
    app.print("\n".join(_lines(done)))
    if place is not None and place != ctx.project / "vendor":
        app.reporter.note(f"found by whoever sets {VENDOR}={done.folder}")
    return 0


def _lines(done: VendorResult) -> list[str]:
    counts = Counter[str](item.kind for item in done.items)
    parts = [_count(counts[kind], noun) for kind, noun in _NOUNS.items() if counts[kind]]
    total = size_text(sum(item.size for item in done.items))
    lines = [f"{done.folder}: {', '.join(parts)}, {total}"]
    if done.added:
        size = size_text(sum(item.size for item in done.added))
        lines.append(f"Added {_count(len(done.added), 'file')}, {size}")
    else:
        lines.append("nothing was missing")
    if done.stale and done.removed:
        lines.append(f"Removed {_count(len(done.stale), 'file')} that this lock does not pin")
    elif done.stale:
        lines.append(
            f"kept {_count(len(done.stale), 'file')} that this lock does not pin: --prune removes"
        )
    return lines


def _check_lines(looked: VendorCheck) -> list[str]:
    if not looked.problems:
        return [f"{looked.folder}: all {looked.items} files are there and right"]
    lines = [f"{path}: {what}" for path, what in looked.problems[:_SHOWN]]
    if len(looked.problems) > _SHOWN:
        lines.append(f"... and {len(looked.problems) - _SHOWN} more")
    count = _count(len(looked.problems), "file")
    return [*lines, f'{looked.folder}: {count} to bring with "mllock vendor"']


def _document(done: VendorResult) -> dict[str, Any]:
    return {
        "folder": str(done.folder),
        "files": [
            {"kind": item.kind, "path": item.path, "sha256": item.digest[7:], "size": item.size}
            for item in done.items
        ],
        "added": [item.path for item in done.added],
        "not-pinned": list(done.stale),
        "removed": done.removed,
    }


def _check_document(looked: VendorCheck) -> dict[str, Any]:
    return {
        "folder": str(looked.folder),
        "files": looked.items,
        "problems": [{"path": path, "problem": what} for path, what in looked.problems],
    }


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
