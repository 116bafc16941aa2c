"""`mllock lock`: pin everything that the spec declares, or say whether that has been done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option

if TYPE_CHECKING:  # the command's own imports wait until it runs
    from mllock.lock.compare import Change
    from mllock.workflows.lock import LockResult

__all__ = ["command"]

EVERYTHING = "*"
# More Debian packages of one kind than this are one line; `-v` and `--json` name them all.
MANY = 8


@click.command(
    "lock",
    short_help="Pin everything that mlproject.toml declares.",
    epilog="Example: mllock lock --upgrade pandas",
)
@click.option("--check", is_flag=True, help="Only say whether the lock is current; offline.")
@click.option(
    "--data",
    "by_content",
    is_flag=True,
    help="Read all data again, remote data too; with --check, local data.",
)
@click.option(
    "--upgrade",
    "upgrades",
    metavar="[NAME]",
    multiple=True,
    is_flag=False,
    flag_value=EVERYTHING,
    help="Let this package move, or all of them; may be given more than once.",
)
@click.option("--fresh", is_flag=True, help="Forget the previous lock.")
@click.option("--dry-run", is_flag=True, help="Say what would change; leave the lock as it is.")
@json_option
@click.pass_obj
def command(
    app: App,
    *,
    check: bool,
    by_content: bool,
    upgrades: tuple[str, ...],
    fresh: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Pin base, system packages, Python packages and data in mlproject.lock.

    Pins stay as they are unless the spec or --upgrade asks. What was added, updated and removed is
    printed. With nothing to do, nothing is fetched and nothing is written. With --dry-run, what is
    fetched to know stays in the cache, and a lock is not written.
    """
    if check and dry_run:
        raise click.UsageError("--check changes nothing: leave out --dry-run")
    if check and (upgrades or fresh):
        raise click.UsageError("--check changes nothing: leave out --upgrade and --fresh")
    if upgrades and fresh:
        raise click.UsageError("--fresh forgets every pin: leave out --upgrade")
    if check:
        return _check(app, by_content=by_content, as_json=as_json)

    from mllock.lock.ports import Upgrade
    from mllock.workflows.lock import lock_project

    names = frozenset(upgrades) - {EVERYTHING}
    upgrade = Upgrade(all=EVERYTHING in upgrades, names=names)
    result = lock_project(
        app.context(), upgrade=upgrade, fresh=fresh, dry_run=dry_run, by_content=by_content
    )
    if as_json:
        app.print_json(_as_json(result))
        return 0
    for line in _lines(result.changes, everything=app.verbosity > 0):
        app.print(line)
    app.reporter.note(_summary(result))
    return 0


def _check(app: App, *, by_content: bool, as_json: bool) -> int:
    from mllock.workflows.lock import check_lock

    reasons = check_lock(app.context(), by_content=by_content)
    if as_json:
        app.print_json({"stale": bool(reasons), "reasons": list(reasons)})
    else:
        for reason in reasons:
            app.print(reason)
        if reasons:
            app.reporter.note(
                'mlproject.lock is stale\nhint: bring it up to date with "mllock lock"'
            )
        else:
            app.reporter.note("mlproject.lock is current")
    return 1 if reasons else 0


def _lines(changes: Sequence[Change], *, everything: bool) -> Iterator[str]:
    counts = Counter(change.action for change in changes if change.kind == "system")
    said: set[str] = set()
    for change in changes:
        if everything or change.kind != "system" or counts[change.action] <= MANY:
            yield str(change)
        elif change.action not in said:
            said.add(change.action)
            yield f"{change.action.capitalize()} {counts[change.action]} Debian packages"


def _summary(result: LockResult) -> str:
    if result.current:
        return "mlproject.lock is current: nothing to do"
    lock = result.lock
    counts = (
        (len(lock.python.packages), "Python package"),
        (len(lock.system), "Debian package"),
        (len(lock.data), "data source"),
    )
    words = ", ".join(f"{n} {noun}{'' if n == 1 else 's'}" for n, noun in counts)
    return f"{'wrote' if result.written else 'would write'} mlproject.lock: {words}"


def _as_json(result: LockResult) -> dict[str, Any]:
    return {
        "current": result.current,
        "written": result.written,
        "content-digest": result.lock.content_digest,
        "changes": [
            {
                "kind": change.kind,
                "action": change.action,
                "name": change.name,
                "old": change.old,
                "new": change.new,
                **({} if change.platform is None else {"platform": change.platform}),
            }
            for change in result.changes
        ],
    }
