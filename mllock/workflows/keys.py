"""`mllock keys`: this user's key, and whose signatures count for this user.

Edits of the policy are whole or not at all, one process at a time, and keep what a person wrote in
the file. A policy that begins to be names this machine's own key first, which was trusted until
then: beginning one takes nobody's trust away. Private keys go nowhere; a rotated one is gone when
its successor is in its place, so that nothing new can be signed with it.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mllock.attest.keys import (
    KEY_FILE,
    PublicKey,
    SigningKey,
    create_key,
    load_key,
    make_key,
    replace_key,
)
from mllock.attest.policy import POLICY_FILE, Entry, Policy, load_policy
from mllock.attest.policy_edit import add_revoked, add_trust
from mllock.errors import InputError, RunError
from mllock.store import atomic
from mllock.store.regular import open_regular
from mllock.store.turns import turn
from mllock.workflows.context import Context

__all__ = ["Edited", "Keys", "NewKey", "list_keys", "new_key", "own_key", "revoke_key", "trust_key"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """`own` is the public half of the key that signs here, if there is one; `place` where it is."""

    own: PublicKey | None
    place: str
    policy: Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKey:
    """`policy` is the file that was edited for it, if one was."""

    key: PublicKey
    path: Path
    old: PublicKey | None = None
    policy: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Edited:
    """What an edit came to. `own_added`: the policy began with it, and names the own key first."""

    path: Path
    changed: bool
    fingerprint: str
    own_added: bool = False


def list_keys(ctx: Context, policy: Path | None = None) -> Keys:
    """The keys of this user, looked at only: none is made."""
    own = load_key(ctx.config_dir, ctx.environ)
    given = bool(ctx.environ.get("MLLOCK_KEY"))
    return Keys(
        own=None if own is None else own.public,
        place="MLLOCK_KEY" if given else str(ctx.config_dir / KEY_FILE),
        policy=load_policy(policy, ctx.config_dir, ctx.environ),
    )


def own_key(ctx: Context) -> PublicKey:
    """The public half of the key that signs here. Raises RunError if there is none."""
    key = load_key(ctx.config_dir, ctx.environ)
    if key is None:
        raise RunError(
            "there is no key yet",
            file=str(ctx.config_dir / KEY_FILE),
            hint='make one with "mllock keys new"; "mllock train" makes one, too',
        )
    return key.public


def new_key(ctx: Context, *, rotate: bool = False, file: Path | None = None) -> NewKey:
    """Make this user's key, or one in `file`. Never over one that is there, unless to `rotate`."""
    if file is not None:
        if rotate:
            raise InputError("--rotate is for this user's own key, --file for another")
        return _new_in(file, "choose another name: a key is never overwritten")
    if ctx.environ.get("MLLOCK_KEY"):
        raise InputError(
            "MLLOCK_KEY is set: it signs here, not a key of this user's",
            hint="unset MLLOCK_KEY, or make a key for elsewhere with --file FILE",
        )
    if rotate:
        return _rotate(ctx)
    hint = 'to sign with a new key from now on: "mllock keys new --rotate"'
    return _new_in(ctx.config_dir / KEY_FILE, hint)


def _new_in(path: Path, hint: str) -> NewKey:
    key, pem = make_key()
    if not create_key(path, pem):
        raise RunError("there is a key already", file=str(path), hint=hint)
    return NewKey(key=key.public, path=path)


def _rotate(ctx: Context) -> NewKey:
    """Order: the policy trusts both, then the new key is in the place of the old one."""
    path = ctx.config_dir / KEY_FILE
    with turn(ctx.config_dir, 0o700):
        old = load_key(ctx.config_dir, ctx.environ)
        if old is None:
            raise RunError(
                "there is no key to rotate", file=str(path), hint='make one with "mllock keys new"'
            )
        key, pem = make_key()
        policy = ctx.config_dir / POLICY_FILE
        text = _text(policy)
        edited = _succession(text, policy, ctx, old, key)
        if edited != text:
            _write(policy, edited)
        replace_key(path, pem)
    return NewKey(
        key=key.public, path=path, old=old.public, policy=policy if edited != text else None
    )


def _succession(text: str, policy: Path, ctx: Context, old: SigningKey, new: SigningKey) -> str:
    """The policy in which `new` may do what `old` might, and `old` keeps its own entries."""
    name = str(policy)
    if not text:
        text = add_trust("", name, Entry(project="*", key=old.public))
        return add_trust(text, name, Entry(project="*", key=new.public))
    read = load_policy(policy, ctx.config_dir, ctx.environ)
    today = dt.datetime.now(dt.UTC).date()
    # Where a person gave one key several times, what holds today goes before what does not.
    mine = sorted(
        (entry for entry in read.entries if entry.key == old.public),
        key=lambda entry: not entry.holds_on(today),
    )
    for entry in {entry.project: entry for entry in reversed(mine)}.values():
        text = add_trust(text, name, replace(entry, key=new.public))
    return text


def trust_key(
    ctx: Context,
    pem: bytes,
    name: str,
    *,
    project: str,
    valid_from: dt.date | None = None,
    valid_until: dt.date | None = None,
    fingerprint: str | None = None,
    policy: Path | None = None,
) -> Edited:
    """Trust the public key `pem` (`name` is what errors call it) for `project`, or "*" for all."""
    key = PublicKey.from_pem(pem, name=name)
    if fingerprint is not None and key.fingerprint != fingerprint:
        raise RunError(
            "this is another key",
            file=name,
            expected=fingerprint,
            found=key.fingerprint,
            hint="ask the owner again; trust nothing that came with what it is to prove",
        )
    if valid_from and valid_until and valid_from > valid_until:
        raise InputError("--from is after --until")
    entry = Entry(project=project, key=key, valid_from=valid_from, valid_until=valid_until)

    def edit(text: str, source: str) -> str:
        return add_trust(text, source, entry)

    return _edit(ctx, policy, key.fingerprint, edit)


def revoke_key(
    ctx: Context, fingerprint: str, *, reason: str, now: dt.datetime, policy: Path | None = None
) -> Edited:
    """Never trust the key with this fingerprint again, whatever it signed and whenever."""

    def edit(text: str, source: str) -> str:
        return add_revoked(text, source, fingerprint, reason, now)

    return _edit(ctx, policy, fingerprint, edit)


def _edit(
    ctx: Context, policy: Path | None, fingerprint: str, edit: Callable[[str, str], str]
) -> Edited:
    path = ctx.config_dir / POLICY_FILE if policy is None else policy
    with turn(path.parent, 0o700 if policy is None else 0o755):
        text = _text(path)
        own = load_key(ctx.config_dir, ctx.environ) if policy is None and not text else None
        begun = text
        if own is not None and own.fingerprint != fingerprint:
            begun = add_trust("", str(path), Entry(project="*", key=own.public))
        edited = edit(begun, str(path))
        if edited != text:
            _write(path, edited)
    return Edited(
        path=path, changed=edited != text, fingerprint=fingerprint, own_added=begun != text
    )


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return file.read().decode("utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise RunError(
            f"cannot read the policy: {(error.strerror or str(error)).lower()}", file=str(path)
        ) from error
    except UnicodeDecodeError as error:
        raise RunError(f"not a policy: not UTF-8 at byte {error.start}", file=str(path)) from None


def _write(path: Path, text: str) -> None:
    """Through a link, where a person keeps such files elsewhere; the mode stays."""
    place = Path(os.path.realpath(path))
    mode = place.stat().st_mode & 0o777 if place.exists() else 0o644
    atomic.write_text(place, text, mode)
