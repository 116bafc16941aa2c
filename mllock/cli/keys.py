"""`mllock keys`: this user's signing key, and the policy that says whose signatures count."""

from __future__ import annotations

import datetime as dt
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option, printable
from mllock.errors import InputError, RunError

if TYPE_CHECKING:
    from mllock.attest.policy import Policy
    from mllock.workflows.keys import Keys

__all__ = ["command"]

EPILOG = """\b
Examples:
  mllock keys export > alice.pub
  mllock keys trust alice.pub --project wine-quality --until 2027-12-31
  mllock keys revoke SHA256:eyDhy12CHDs37JwObxpdIJSLAI2U2JlnEr84kFZiQgE --reason "laptop stolen"
"""
MAX_BYTES = 64 * 1024
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
PROJECT = re.compile(r"\*|[a-z0-9]+(-[a-z0-9]+)*")

policy_option = click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="This policy file; default: policy.toml of this user.",
)


def _day(ctx: click.Context, param: click.Parameter, value: str | None) -> dt.date | None:
    if value is None:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            return dt.date.fromisoformat(value)
    except ValueError:
        pass
    raise click.BadParameter(f'"{value}" is not a day like 2027-12-31', ctx, param)


def _matching(pattern: re.Pattern[str], example: str) -> Any:
    def check(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is not None and pattern.fullmatch(value) is None:
            raise click.BadParameter(f'"{value}" is not like {example}', ctx, param)
        return value

    return check


@click.group("keys", epilog=EPILOG, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Your signing key, and whose signatures count for you; alone, it lists them.

    Private keys stay where they are. Whom you trust is in policy.toml of your configuration;
    without one, this machine's own key is trusted.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command, policy=None, as_json=False)


@command.command(
    "list",
    epilog="Example: mllock keys list --json",
    short_help="List your key and whom you trust.",
)
@policy_option
@json_option
@click.pass_obj
def list_command(app: App, policy: Path | None, as_json: bool) -> None:
    """List your own key, the keys that you trust, and those that you revoked."""
    from mllock.workflows.keys import list_keys

    keys = list_keys(app.context(need_spec=False), policy)
    if as_json:
        app.print_json(_json(keys))
        return
    for line in _lines(keys):
        app.print(printable(line))


@command.command(
    "export",
    epilog="Example: mllock keys export > alice.pub",
    short_help="Print your public key.",
)
@click.pass_obj
def export_command(app: App) -> None:
    """Print your public key, for those who are to trust it.

    Its fingerprint goes to standard error: tell it to them by another way than the file.
    """
    from mllock.workflows.keys import own_key

    key = own_key(app.context(need_spec=False))
    app.print(key.pem.rstrip("\n"))
    app.reporter.note(key.fingerprint)


@command.command(
    "new", epilog="Example: mllock keys new --rotate", short_help="Make a signing key."
)
@click.option(
    "--rotate",
    is_flag=True,
    help="In the place of your key. The old public key stays trusted for what it signed; the old "
    "private key is removed.",
)
@click.option(
    "--file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Make a key in FILE (mode 0600), for MLLOCK_KEY elsewhere.",
)
@click.pass_obj
def new_command(app: App, rotate: bool, file: Path | None) -> None:
    """Make a signing key (ECDSA P-256). A key that is there is never overwritten.

    Without this command, the first one that signs makes your key.
    """
    from mllock.workflows.keys import new_key

    made = new_key(app.context(need_spec=False), rotate=rotate, file=file)
    app.print(f"new key  {made.key.fingerprint}")
    app.print(f"file     {made.path}")
    if made.old is None:
        return
    app.print(f"old key  {made.old.fingerprint} (its private half is removed)")
    if made.policy is None:
        app.reporter.note("your policy is as it was: it did not trust the old key")
    else:
        app.print(f"policy   {made.policy} trusts both")
    app.reporter.note("whoever trusted the old key has to trust the new one: mllock keys export")


@command.command(
    "trust",
    epilog="Example: mllock keys trust alice.pub --project wine-quality",
    short_help="Trust a public key for a project.",
)
@click.argument("file", metavar="FILE")
@click.option(
    "--project",
    metavar="NAME",
    required=True,
    callback=_matching(PROJECT, 'wine-quality, or "*" for all'),
    help='The project that it may sign for; "*" for all.',
)
@click.option("--from", "valid_from", metavar="DATE", callback=_day, help="Not before this day.")
@click.option("--until", "valid_until", metavar="DATE", callback=_day, help="Not after this day.")
@click.option(
    "--fingerprint",
    metavar="SHA256:...",
    callback=_matching(FINGERPRINT, "SHA256: and 43 characters"),
    help="What the key must be: refused if it is another.",
)
@policy_option
@click.pass_obj
def trust_command(
    app: App,
    *,
    file: str,
    project: str,
    valid_from: dt.date | None,
    valid_until: dt.date | None,
    fingerprint: str | None,
    policy: Path | None,
) -> None:
    """Trust the public key in FILE ("-": standard input) for a project.

    Comments in the policy stay. Run again for the same key and project, it sets the dates. They
    are compared with the day of a check, both included, in UTC.
    """
    from mllock.workflows.keys import trust_key

    done = trust_key(
        app.context(need_spec=False),
        _read(file),
        "standard input" if file == "-" else file,
        project=project,
        valid_from=valid_from,
        valid_until=valid_until,
        fingerprint=fingerprint,
        policy=policy,
    )
    app.print(f"trusted  {done.fingerprint}")
    days = [f"{word} {day}" for word, day in (("from", valid_from), ("until", valid_until)) if day]
    app.print(f"for      {' '.join([project if project != '*' else 'all projects', *days])}")
    app.print(f"policy   {done.path}{'' if done.changed else ' (said so already)'}")
    if done.own_added:
        app.reporter.note("the policy is new: your own key is in it, too, as it was trusted so far")


@command.command(
    "revoke",
    epilog='Example: mllock keys revoke SHA256:... --reason "laptop stolen"',
    short_help="Never trust a key again.",
)
@click.argument("fingerprint", callback=_matching(FINGERPRINT, "SHA256: and 43 characters"))
@click.option("--reason", metavar="TEXT", default="", help="Shown wherever the key is refused.")
@policy_option
@click.pass_obj
def revoke_command(app: App, *, fingerprint: str, reason: str, policy: Path | None) -> None:
    """Never trust a key again, for anything that it signed, before or after.

    A signature holds no proof of its time, so what a stolen key signed before the theft cannot be
    told from what it signed later. Fingerprints are in "mllock keys list".
    """
    from mllock.workflows.keys import own_key, revoke_key

    ctx = app.context(need_spec=False)
    done = revoke_key(ctx, fingerprint, reason=reason, now=dt.datetime.now(dt.UTC), policy=policy)
    app.print(f"revoked  {done.fingerprint}")
    app.print(f"policy   {done.path}{'' if done.changed else ' (said so already)'}")
    try:
        own = own_key(ctx).fingerprint
    except RunError:
        return
    if own == fingerprint:
        app.reporter.warn("this is the key that signs here; make another: mllock keys new --rotate")


def _read(file: str) -> bytes:
    if file == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        from mllock.store.regular import open_regular

        try:
            with open_regular(Path(file)) as opened:
                data = opened.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise InputError("no such file", file=file, expected="a public key") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"more than {MAX_BYTES} bytes: not a public key", file=file)
    return data


def _rows(policy: Policy) -> list[dict[str, str | None]]:
    today = dt.datetime.now(dt.UTC).date()
    return [
        {
            "fingerprint": entry.key.fingerprint,
            "project": entry.project,
            "valid-from": None if entry.valid_from is None else str(entry.valid_from),
            "valid-until": None if entry.valid_until is None else str(entry.valid_until),
            "status": policy.status_of(entry, today),
        }
        for entry in policy.entries
    ]


def _lines(keys: Keys) -> list[str]:
    policy = keys.policy
    if keys.own is None:
        lines = [f"own key  none yet (it would be {keys.place})"]
    else:
        lines = [f"own key  {keys.own.fingerprint}  {keys.place}"]
    if policy.source is None:
        return [*lines, "policy   none: your own key is trusted, and no other"]
    lines.append(f"policy   {policy.source}")
    for row in _rows(policy):
        project = "all projects" if row["project"] == "*" else row["project"]
        days = [f"{word} {row[key]}" for word, key in _DAYS if row[key] is not None]
        own = keys.own is not None and row["fingerprint"] == keys.own.fingerprint
        notes = [*(["your own"] if own else []), *days]
        if row["status"] != "trusted":
            notes.append(str(row["status"]))
        lines.append(f"trusted  {row['fingerprint']}  {', '.join([str(project), *notes])}")
    for fingerprint, reason in policy.revoked.items():
        at = policy.revoked_at.get(fingerprint)
        since = "" if at is None else f" {at.astimezone(dt.UTC):%Y-%m-%d}"
        lines.append(f"revoked  {fingerprint} {since}{': ' if reason else ''}{reason}".rstrip())
    for project, stage in policy.stages.items():
        lines.append(f'asked    the release of stage "{stage}" for project {project}')
    return lines


_DAYS = (("from", "valid-from"), ("until", "valid-until"))


def _json(keys: Keys) -> dict[str, object]:
    policy = keys.policy
    return {
        "own": None if keys.own is None else {"fingerprint": keys.own.fingerprint},
        "place": keys.place,
        "policy": policy.source,
        "trusted": _rows(policy),
        "revoked": [
            {
                "fingerprint": fingerprint,
                "reason": reason,
                "at": None if (at := policy.revoked_at.get(fingerprint)) is None else _rfc(at),
            }
            for fingerprint, reason in policy.revoked.items()
        ],
        "stages": dict(policy.stages),
    }


def _rfc(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
