"""`mllock audit`: known vulnerabilities of the locked packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option

if TYPE_CHECKING:  # the command's own imports wait until it runs
    from mllock.audit.types import Kind, Vulnerability
    from mllock.workflows.audit import AuditResult

__all__ = ["command"]

_NOUNS = {"python": "Python package", "debian": "Debian package"}


@click.command("audit", epilog="Example: mllock audit --ignore-unfixed")
@click.option(
    "--only", type=click.Choice(("python", "debian")), help="Ask about these packages alone."
)
@click.option(
    "--ignore-unfixed", is_flag=True, help="Leave out what no version of the package mends yet."
)
@click.option(
    "--ignore",
    metavar="ID",
    multiple=True,
    help="Leave out this vulnerability; repeatable. With reason and end: mlproject.audit.toml.",
)
@json_option
@click.pass_obj
def command(
    app: App, *, only: Kind | None, ignore_unfixed: bool, ignore: tuple[str, ...], as_json: bool
) -> int:
    """Look for known vulnerabilities of the locked packages.

    Python packages through OSV (pip-audit; pip install "mllock[audit]"), Debian packages in the
    data of Debian's security tracker, which MLLOCK_DEBIAN_TRACKER names: a URL, or a file. Exit
    code: 0 none is known, 1 there are some, 2 or 4 not all packages could be looked at.
    """
    from mllock.workflows.audit import audit

    result = audit(app.context(), only=only, ignore=ignore, ignore_unfixed=ignore_unfixed)
    if as_json:
        app.print_json(_document(result))
    else:
        for item in result.found:
            app.print(_line(item))
            if item.summary:
                app.print(f"  {item.summary}")
    _tell(app, result)
    return result.exit_code


def _line(item: Vulnerability) -> str:
    of = f" ({', '.join(item.binaries)})" if item.binaries else ""
    names = item.id + (f" ({', '.join(item.aliases)})" if item.aliases else "")
    known = item.urgency not in (None, "not yet assigned")
    urgency = f", {item.urgency}" if known else ""
    cure = f"fixed in {item.fixed}" if item.fixed else "no fixed version"
    return f"{item.package} {item.version}{of}: {names}{urgency}: {cure}"


def _tell(app: App, result: AuditResult) -> None:
    """What is said about the answer, on standard error."""
    say, warn = app.reporter.note, app.reporter.warn
    for found, entry in result.ignored:
        until = f" until {entry.until}" if entry.until else ""
        say(f"ignored{until}: {found.package} {found.id}: {entry.reason}")
    for entry in result.over:
        warn(f"ignored until {entry.until}, which is over: {entry.id}: {entry.reason}")
    for entry in result.idle:
        warn(f"nothing to ignore: {entry.id} is not known of any locked package")
    if result.foreign_base is not None:
        say(f"not looked at: the packages of the base itself, {result.foreign_base}")
    for item in result.unanswered:
        warn(f"{_count(item.packages, _NOUNS[item.kind])} not looked at: {item.why}")
        say(f"hint: {item.hint}")
    looked = " and ".join(_count(n, _NOUNS[kind]) for kind, n in result.looked.items())
    packages = {(item.kind, item.package) for item in result.found}
    if result.found:
        kinds = "y" if len(result.found) == 1 else "ies"
        say(
            f"{len(result.found)} known vulnerabilit{kinds} in {_count(len(packages), 'package')};"
            f" looked at {looked}"
        )
        mended = sorted({i.package for i in result.found if i.kind == "python" and i.fixed})
        if mended:
            say(f"hint: mllock lock {' '.join(f'--upgrade {name}' for name in mended)}")
        if any(item.kind == "debian" and item.fixed for item in result.found):
            say("hint: mllock lock --upgrade takes what the Debian archive has now")
    elif looked:
        say(f"no known vulnerability in {looked}")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _document(result: AuditResult) -> dict[str, Any]:
    return {
        "vulnerabilities": [_vulnerability(item) for item in result.found],
        "ignored": [
            {
                **_vulnerability(item),
                "reason": entry.reason,
                "until": None if entry.until is None else entry.until.isoformat(),
            }
            for item, entry in result.ignored
        ],
        "looked-at": dict(result.looked),
        "not-looked-at": [
            {"kind": item.kind, "packages": item.packages, "why": item.why, "hint": item.hint}
            for item in result.unanswered
        ],
        "base-not-looked-at": result.foreign_base,
        "exit-code": result.exit_code,
    }


def _vulnerability(item: Vulnerability) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "package": item.package,
        "version": item.version,
        "id": item.id,
        "aliases": list(item.aliases),
        "fixed": item.fixed,
        "urgency": item.urgency,
        "summary": item.summary,
        "packages": list(item.binaries),
    }
