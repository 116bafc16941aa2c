"""`mllock data`: how the data stands to the lock; fetching and verifying it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option, printable

if TYPE_CHECKING:
    from mllock.core.tree import Difference, Entry
    from mllock.lock.types import DataPin
    from mllock.workflows.data import DataDiff, DataState

__all__ = ["command"]

SHORT = 12
MOVED = {
    "unchanged": "the source says it is unchanged",
    "changed": "the source has changed",
    "unknown": "the source does not say whether it changed",
}
READ = {"unchanged": "the source has the same bytes", "changed": "the source has changed"}

names_argument = click.argument("names", nargs=-1, metavar="[NAME]...")


@click.group("data")
def command() -> None:
    """Data sources of mlproject.toml: how they stand to the lock, fetching and verifying them.

    NAME is a source, "train" for [data.train]; without one, all of them.
    """


@command.command(
    "status",
    epilog="Example: mllock data status --remote",
    short_help="Say how each source stands to the lock.",
)
@names_argument
@click.option("--remote", is_flag=True, help="Ask remote sources whether they have changed.")
@json_option
@click.pass_obj
def status_command(app: App, names: tuple[str, ...], *, remote: bool, as_json: bool) -> int:
    """Say how each source stands to the lock, without reading data that looks as it did.

    Answers 1 if data is changed, missing or not locked, or if a source says that it has changed;
    "not here" is remote data that is fetched when it is needed.
    """
    from mllock.workflows.data import status_of_data

    states = status_of_data(app.context(), names, ask=remote)
    return _report(app, states, MOVED, as_json=as_json)


@command.command(
    "verify",
    epilog="Example: mllock data verify train",
    short_help="Read every byte, here and at the sources.",
)
@names_argument
@click.option("--here", is_flag=True, help="Only what is here; ask no source.")
@json_option
@click.pass_obj
def verify_command(app: App, names: tuple[str, ...], *, here: bool, as_json: bool) -> int:
    """Read every byte: of what is here, and of what remote sources have now.

    Nothing is kept and nothing is changed. Answers 1 if something is not what is locked.
    """
    from mllock.workflows.data import verify_data

    return _report(app, verify_data(app.context(), names, ask=not here), READ, as_json=as_json)


@command.command(
    "diff",
    epilog="Example: mllock data diff train",
    short_help="Say which files are not what is locked.",
)
@names_argument
@json_option
@click.pass_obj
def diff_command(app: App, names: tuple[str, ...], *, as_json: bool) -> int:
    """Say which files were added, removed and changed since the lock.

    Which files are locked is known on the machine that locked or fetched them. Answers 1 if
    anything differs.
    """
    from mllock.workflows.data import diff_data

    found = diff_data(app.context(), names)
    if as_json:
        app.print_json([_diff_json(item) for item in found])
    else:
        for item in found:
            for line in _diff_lines(item):
                app.print(line)
            if item.unknown is not None:
                app.reporter.note(f"data.{item.name}: {item.unknown}")
        if not any(item.differences or item.unknown for item in found):
            app.reporter.note("nothing differs from the lock")
    return 1 if any(item.differences or item.unknown for item in found) else 0


@command.command(
    "fetch",
    epilog="Example: mllock data fetch train",
    short_help="Put remote data where programs find it.",
)
@names_argument
@click.option("--force", is_flag=True, help="Replace what is there, also if it is nowhere else.")
@click.pass_obj
def fetch_command(app: App, names: tuple[str, ...], *, force: bool) -> None:
    """Put remote data at its path, as locked: from the cache, or from its source.

    Every byte is verified. What is there already and is something else is replaced only if the
    cache has it too. `mllock train` does the same by itself.
    """
    from mllock.workflows.data import fetch_sources

    placed = fetch_sources(app.context(), names, force=force)
    for item in placed:
        verb = "fetched" if item.is_new else "current"
        app.print(printable(f"{verb} data.{item.name} {item.path} ({_amount(item.pin)})"))
    if not placed:
        app.reporter.note("there is no remote data source")


def _report(app: App, states: Sequence[DataState], moved: dict[str, str], *, as_json: bool) -> int:
    if as_json:
        app.print_json([_state_json(state) for state in states])
    else:
        for line in _state_lines(states, moved):
            app.print(line)
        if not states:
            app.reporter.note("there is no data source")
    return 0 if all(state.is_good for state in states) else 1


def _state_lines(states: Sequence[DataState], moved: dict[str, str]) -> Iterator[str]:
    width = max((len(state.name) for state in states), default=0)
    for state in states:
        facts: list[str] = [state.state]
        if state.pin is not None:
            facts.append(_amount(state.pin))
            facts.append(state.pin.tree.removeprefix("sha256:")[:SHORT])
        if state.moved is not None:
            facts.append(moved[state.moved])
        yield printable(f"{state.name.ljust(width)}  {state.source}  {'; '.join(facts)}")
        for reason in state.reasons:
            yield printable(f"{' ' * width}  {reason}")


def _amount(pin: DataPin) -> str:
    files = "1 file" if pin.files == 1 else f"{pin.files} files"
    return f"{pin.size} bytes" if pin.kind == "file" else f"{files}, {pin.size} bytes"


def _state_json(state: DataState) -> dict[str, Any]:
    pin = state.pin
    return {
        "name": state.name,
        "source": state.source,
        "path": state.path,
        "state": state.state,
        "source-state": state.moved,
        "reasons": list(state.reasons),
        "locked": None
        if pin is None
        else {"kind": pin.kind, "files": pin.files, "size": pin.size, "tree": pin.tree},
    }


def _diff_lines(item: DataDiff) -> Iterator[str]:
    for difference in item.differences:
        path = "" if difference.path == "." else f"/{difference.path}"
        before, after = _facts(difference.expected), _facts(difference.found)
        if difference.expected is None:
            yield printable(f"added    {item.name}{path} ({after})")
        elif difference.found is None:
            yield printable(f"removed  {item.name}{path} ({before})")
        else:
            same = f"{before}, other bytes" if before == after else f"{before} -> {after}"
            yield printable(f"changed  {item.name}{path} ({same})")


def _facts(entry: Entry | None) -> str:
    if entry is None:
        return ""
    if entry.target is not None:
        return f"link to {entry.target}"
    if entry.digest is None:
        return "empty folder"
    return f"{entry.size} bytes{', executable' if entry.kind == 'x' else ''}"


def _diff_json(item: DataDiff) -> dict[str, Any]:
    return {
        "name": item.name,
        "unknown": item.unknown,
        "differences": [_difference_json(difference) for difference in item.differences],
    }


def _difference_json(difference: Difference) -> dict[str, Any]:
    return {
        "path": difference.path,
        "locked": None if difference.expected is None else difference.expected.line(),
        "found": None if difference.found is None else difference.found.line(),
    }
