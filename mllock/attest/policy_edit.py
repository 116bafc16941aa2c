"""Editing the text of a policy: what a person wrote in it stays, comments and order too.

Pure: text in, text out; `mllock.workflows.keys` reads and writes. Every edit is read again by
`parse_policy` before it is answered, so that what is written is a policy that says what was asked.
A policy that does not read is not edited. Specified in docs/reference/keys-and-policy.md.
Raises RunError.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import tomlkit

from mllock.attest.policy import Entry, Policy, parse_policy
from mllock.errors import RunError

__all__ = ["HEADER", "add_revoked", "add_trust"]

HEADER = """\
# Whose signatures count on this machine, for which project, and when.
# With this file only the keys in it are trusted; without it, this machine's own key.
"""


def add_trust(text: str, source: str, entry: Entry) -> str:
    """`text` with `entry` in it; an entry of the same key and project gets its dates.

    The same text if it says so already. `text` may be empty: then a policy begins.
    """
    policy = _read(text, source)
    if policy is not None and entry.key.fingerprint in policy.revoked:
        raise RunError(
            "this key is revoked here, and a revoked key is never trusted",
            file=source,
            key="revoked",
            found=entry.key.fingerprint,
            hint="if that was a mistake, remove its [[revoked]] table from the file",
        )
    if policy is not None and entry in policy.entries:
        return text
    days = {"valid-from": entry.valid_from, "valid-until": entry.valid_until}
    there = 0 if policy is None else sum(_same(other, entry) for other in policy.entries)
    if there > 1:
        raise RunError(
            "the policy names this key more than once for this project",
            file=source,
            key="trust",
            found=entry.key.fingerprint,
            hint="edit the dates by hand, or leave one of the tables",
        )
    if policy is not None and there:
        edited = _with_days(text, policy, entry, days)
    else:
        table = {"project": entry.project, "public-key": _lines(entry.key.pem), **days}
        edited = _append(text, "trust", table)
    _expect(entry in _entries(edited, source), source, "trust")
    return edited


def add_revoked(text: str, source: str, fingerprint: str, reason: str, now: dt.datetime) -> str:
    """`text` with the key revoked since `now`. The same text if it is revoked already."""
    policy = _read(text, source)
    if policy is not None and fingerprint in policy.revoked:
        return text
    at = now.astimezone(dt.UTC).replace(microsecond=0)
    table = {"fingerprint": fingerprint, "reason": reason or None, "at": at}
    edited = _append(text, "revoked", table)
    _expect(_is_revoked(edited, source, fingerprint), source, "revoked")
    return edited


def _read(text: str, source: str) -> Policy | None:
    return parse_policy(text.encode("utf-8"), source) if text else None


def _append(text: str, name: str, table: Mapping[str, Any]) -> str:
    """A table at the end of the text: what is there is not touched at all."""
    made = tomlkit.table()
    for key, value in table.items():
        if value is not None:
            made.add(key, value)
    before = (text or HEADER).rstrip("\n")
    return f"{before}\n\n[[{name}]]\n{made.as_string()}".rstrip("\n") + "\n"


def _same(left: Entry, right: Entry) -> bool:
    return (left.key, left.project) == (right.key, right.project)


def _with_days(text: str, policy: Policy, entry: Entry, days: Mapping[str, dt.date | None]) -> str:
    """The text with other dates in the table of this key and project.

    Only lines of dates are touched; `add_trust` reads the whole again and sees what went wrong.
    """
    number = next(n for n, other in enumerate(policy.entries) if _same(other, entry))
    lines = text.split("\n")
    heads = [n for n, line in enumerate(lines) if _HEAD.match(line)]
    if len(heads) != len(policy.entries):
        return text
    start = heads[number] + 1
    end = next((n for n in range(start, len(lines)) if lines[n].startswith("[")), len(lines))
    table = lines[start:end]
    for name, day in days.items():
        at = next((n for n, line in enumerate(table) if re.match(rf"{name}\s*=", line)), None)
        if at is None and day is not None:
            last = max(n for n, line in enumerate(table) if line.strip() and line[0] != "#")
            table.insert(last + 1, f"{name} = {day}")
        elif at is not None and day is not None:
            table[at] = re.sub(r"=\s*[0-9-]+", f"= {day}", table[at], count=1)
        elif at is not None:
            del table[at]
    return "\n".join([*lines[:start], *table, *lines[end:]])


_HEAD = re.compile(r"\[\[\s*trust\s*\]\]")


def _lines(text: str) -> Any:
    """A string of several lines that begins below its quotes; TOML drops that line end."""
    return tomlkit.parse(f'x = """\n{text}"""\n').item("x")


def _entries(text: str, source: str) -> tuple[Entry, ...]:
    try:
        return parse_policy(text.encode("utf-8"), source).entries
    except RunError:
        return ()


def _is_revoked(text: str, source: str, fingerprint: str) -> bool:
    try:
        return fingerprint in parse_policy(text.encode("utf-8"), source).revoked
    except RunError:
        return False


def _expect(done: bool, source: str, key: str) -> None:
    if not done:
        raise RunError(
            "this file is written in a way that cannot be edited here",
            file=source,
            key=key,
            expected=f"[[{key}]] tables",
            hint="add it by hand: docs/reference/keys-and-policy.md",
        )
