"""Trust: which keys the verifier believes, for which projects, and when.

Trust comes from the verifier's side only: `--policy FILE`, else `policy.toml` in the user's
configuration, never anything beside the target. With no policy, this machine's own key is trusted
("own key") and any other key is unknown. With a policy, only its keys count. A revoked key is
never trusted. Dates are compared with today: nothing in a bundle proves when it was signed.
Order: revoked, then the signature, then the dates. Specified in docs/reference/keys-and-policy.md.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mllock.attest.bundle import Bundle, verify_bundle
from mllock.attest.keys import PublicKey, load_key
from mllock.errors import RunError
from mllock.store.regular import open_regular

__all__ = ["POLICY_FILE", "Entry", "Policy", "Trust", "load_policy", "parse_policy"]

POLICY_FILE = "policy.toml"
MAX_BYTES = 16 * 1024 * 1024
NAME = r"^[a-z0-9]+(-[a-z0-9]+)*\Z"

Status = Literal[
    "trusted", "own key", "unknown", "not yet valid", "expired", "revoked", "bad signature"
]


class _Table(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """A TOML table: unknown keys are errors."""


class _TrustTable(_Table, frozen=True, kw_only=True):
    project: Annotated[str, Meta(pattern=r"^(\*|[a-z0-9]+(-[a-z0-9]+)*)\Z")]
    public_key: str
    valid_from: dt.date | None = None
    valid_until: dt.date | None = None


class _RevokedTable(_Table, frozen=True, kw_only=True):
    fingerprint: Annotated[str, Meta(pattern=r"^SHA256:[A-Za-z0-9+/]{43}\Z")]
    reason: str = ""
    at: Annotated[dt.datetime, Meta(tz=True)] | None = None


class _ReleaseTable(_Table, frozen=True, kw_only=True):
    project: Annotated[str, Meta(pattern=NAME)]
    stage: Annotated[str, Meta(pattern=NAME)]


class _PolicyFile(_Table, frozen=True, kw_only=True):
    trust: tuple[_TrustTable, ...] = ()
    revoked: tuple[_RevokedTable, ...] = ()
    release: tuple[_ReleaseTable, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One trusted key. `project` is a name, or "*" for all; both days are included."""

    project: str
    key: PublicKey
    valid_from: dt.date | None = None
    valid_until: dt.date | None = None

    def holds_on(self, day: dt.date) -> bool:
        return not (
            (self.valid_from is not None and day < self.valid_from)
            or (self.valid_until is not None and day > self.valid_until)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """What a policy says about one bundle.

    `payload` is the verified bytes, and is None unless the signature was checked and fits: it is
    there for an expired key too, but only `trusted` says that it may be believed. `refuted` tells
    a no from a "cannot tell": True for a bad signature, a revoked or expired key, and a key that
    the policy does not name. `fingerprint` is the bundle's own claim unless `payload` is there;
    `key` is then the one that the signature fits.
    """

    status: Status
    fingerprint: str
    reason: str
    payload: bytes | None = None
    key: PublicKey | None = None
    refuted: bool = False
    hint: str | None = None

    @property
    def trusted(self) -> bool:
        return self.status in ("trusted", "own key") and self.payload is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """`source` is the policy file, None if there is none; then `own` is what is trusted.

    `named` says that the file is not the user's own but one of --policy. `revoked` holds the
    reasons by fingerprint, `revoked_at` the times where they are known. `stages` says for a project
    of which stage a release is asked for.
    """

    source: str | None
    named: bool = False
    entries: tuple[Entry, ...] = ()
    revoked: Mapping[str, str]
    revoked_at: Mapping[str, dt.datetime] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)
    own: PublicKey | None = None

    def decide(self, project: str, bundle: Bundle, *, today: dt.date | None = None) -> Trust:
        """Whether `bundle` is signed by a key that is trusted for `project` (its name)."""
        claimed = bundle.claimed_fingerprint
        if claimed in self.revoked:
            why = f": {self.revoked[claimed]}" if self.revoked[claimed] else ""
            at = self.revoked_at.get(claimed)
            since = "" if at is None else f" ({at.astimezone(dt.UTC):%Y-%m-%d})"
            return Trust(
                status="revoked",
                fingerprint=claimed,
                reason=f"{self.source} revokes this key{since}{why}",
                refuted=True,
            )
        keys = [entry.key for entry in self.entries] if self.source else [self.own]
        key = next((key for key in keys if key is not None and key.hint == bundle.hint), None)
        if key is None:
            return self._unknown(project, claimed)
        try:
            payload = verify_bundle(bundle, key)
        except RunError as error:
            return Trust(
                status="bad signature", fingerprint=claimed, reason=error.message, refuted=True
            )
        if self.source is None:
            return Trust(
                status="own key",
                fingerprint=claimed,
                reason="signed by this machine's own key",
                payload=payload,
                key=key,
            )
        return self._by_entries(project, key, payload, today or _today())

    def status_of(self, entry: Entry, today: dt.date) -> Status:
        """What `entry` is worth on that day, if a signature by its key fits."""
        if entry.key.fingerprint in self.revoked:
            return "revoked"
        if entry.holds_on(today):
            return "trusted"
        before = entry.valid_from is not None and today < entry.valid_from
        return "not yet valid" if before else "expired"

    def _unknown(self, project: str, claimed: str) -> Trust:
        if self.source is None:
            none = "" if self.own else ", and it has none yet"
            return Trust(
                status="unknown",
                fingerprint=claimed,
                reason="signed by a key that nothing here trusts; without a policy, "
                f"this machine's own key is{none}",
                hint=self._how_to_trust(project, claimed),
            )
        return Trust(
            status="unknown",
            fingerprint=claimed,
            reason=f"{self.source} does not name the key that signed this",
            refuted=True,
            hint=self._how_to_trust(project, claimed),
        )

    def _how_to_trust(self, project: str, fingerprint: str) -> str:
        """The command; nothing that a bundle says gets into it without having been looked at."""
        name = project if re.match(NAME, project) else "NAME"
        policy = f" --policy {shlex.quote(self.source or '')}" if self.named else ""
        return (
            "ask its owner, not who sent this, for the public key; then: mllock keys trust FILE "
            f"--project {name} --fingerprint {fingerprint}{policy}"
        )

    def _by_entries(self, project: str, key: PublicKey, payload: bytes, today: dt.date) -> Trust:
        mine = [e for e in self.entries if e.key == key and e.project in ("*", project)]
        if not mine:
            return Trust(
                status="unknown",
                fingerprint=key.fingerprint,
                reason=f'{self.source} does not trust this key for project "{project}"',
                payload=payload,
                key=key,
                refuted=True,
                hint=self._how_to_trust(project, key.fingerprint),
            )
        answers = [self._by_dates(entry, key, payload, today) for entry in mine]
        return next((answer for answer in answers if answer.trusted), answers[0])

    def _by_dates(self, entry: Entry, key: PublicKey, payload: bytes, today: dt.date) -> Trust:
        status = self.status_of(entry, today)
        reason = {
            "not yet valid": f"{self.source} trusts this key from {entry.valid_from} on, "
            f"today is {today}",
            "expired": f"{self.source} trusted this key until {entry.valid_until}, "
            f"today is {today}",
        }.get(status, f'trusted by {self.source} for project "{entry.project}"')
        return Trust(
            status=status,
            fingerprint=key.fingerprint,
            reason=reason,
            payload=payload,
            key=key,
            refuted=status != "trusted",
        )


def load_policy(path: Path | None, config_dir: Path, environ: Mapping[str, str]) -> Policy:
    """The policy in `path`, else the user's, else "no policy". Raises RunError, InputError."""
    chosen = path if path is not None else config_dir / POLICY_FILE
    try:
        with open_regular(chosen) as file:
            _only_its_owner_decides(os.fstat(file.fileno()), chosen, named=path is not None)
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if path is not None:
            raise RunError("no such policy file", file=str(path)) from None
        own = load_key(config_dir, environ)
        return Policy(source=None, revoked={}, own=None if own is None else own.public)
    except OSError as error:
        raise RunError(
            f"cannot read the policy: {(error.strerror or str(error)).lower()}", file=str(chosen)
        ) from error
    if len(data) > MAX_BYTES:
        raise RunError(f"more than {MAX_BYTES} bytes: not a policy", file=str(chosen))
    return replace(parse_policy(data, str(chosen)), named=path is not None)


def _only_its_owner_decides(status: os.stat_result, path: Path, *, named: bool) -> None:
    """Whoever can write the policy says which keys count. The user's own is the user's, or the
    administrator's; one of --policy may be anybody's who keeps it for others to read."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RunError(
            "other users may change this policy",
            file=str(path),
            expected="a mode like 0644",
            found=f"mode {mode:04o}",
            hint=f"read it; if it is as you want it: chmod go-w {shlex.quote(str(path))}",
        )
    if not named and status.st_uid not in (os.geteuid(), 0):
        raise RunError(
            "this policy is another user's",
            file=str(path),
            expected=f"owner {os.geteuid()}",
            found=f"owner {status.st_uid}",
            hint="read it; if it is as you want it, make a copy of your own, or name it: "
            "--policy FILE",
        )


def parse_policy(data: bytes, source: str) -> Policy:
    """Read a policy strictly; `source` is what errors and answers call it. Raises RunError."""
    try:
        raw = msgspec.convert(tomllib.loads(data.decode("utf-8")), _PolicyFile)
    except ValueError as error:  # tomllib's, UTF-8's and msgspec's errors are ValueErrors
        raise RunError(
            f"not a policy: {str(error).rstrip('.')}",
            file=source,
            hint="see docs/reference/keys-and-policy.md",
        ) from None
    if not raw.trust and not raw.revoked:
        raise RunError(
            "the policy is empty",
            file=source,
            expected="at least one [[trust]] table",
            hint="remove the file to trust this machine's own key only",
        )
    stages = {table.project: table.stage for table in raw.release}
    if len(stages) != len(raw.release):
        raise RunError("two stages for one project", file=source, key="release")
    return Policy(
        source=source,
        entries=tuple(_entry(number, table, source) for number, table in enumerate(raw.trust)),
        revoked={table.fingerprint: table.reason for table in raw.revoked},
        revoked_at={t.fingerprint: t.at for t in raw.revoked if t.at is not None},
        stages=stages,
    )


def _entry(number: int, table: _TrustTable, source: str) -> Entry:
    key = f"trust[{number}]"
    for when in (table.valid_from, table.valid_until):
        if isinstance(when, dt.datetime):
            raise RunError("a date without a time is expected", file=source, key=key)
    if table.valid_from and table.valid_until and table.valid_from > table.valid_until:
        raise RunError("valid-from is after valid-until", file=source, key=key)
    return Entry(
        project=table.project,
        key=PublicKey.from_pem(table.public_key, name=f"{source}: {key}.public-key"),
        valid_from=table.valid_from,
        valid_until=table.valid_until,
    )


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
