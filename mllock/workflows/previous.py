"""The lock that was here, as `mllock lock` begins with it: its pins are wishes, its parts may stay.

One that was edited by hand or badly merged lends its pins and nothing else; one of a newer mllock
is refused. Not for anybody who builds or trains: they need a lock that is whole (`current_lock`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mllock.errors import InputError, LockError
from mllock.lock.format import LOCK_NAME, NEWER, parse_lock, read_bytes
from mllock.lock.make import pins_of
from mllock.lock.near_names import bare, locked_as
from mllock.lock.ports import Upgrade
from mllock.lock.types import Lock
from mllock.spec.meaning import package_name
from mllock.workflows.context import Context

__all__ = ["Previous", "checked_upgrade", "previous_lock"]

# What may follow a name in PEP 508.


@dataclass(frozen=True, kw_only=True, slots=True)
class Previous:
    """The lock that was here. `pins` are wishes; `parts` may be kept as they are."""

    pins: Lock | None = None
    parts: Lock | None = None
    shown: Lock | None = None
    # Where there is no lock yet: what `init --from` found, name -> version.
    imported: Mapping[str, str] = field(default_factory=dict)


def previous_lock(ctx: Context, path: Path, *, fresh: bool) -> Previous:
    """Raises LockError if there is one that can neither be kept to nor be written over."""
    if not path.exists():
        from mllock.lock.imported import read_pins

        return Previous() if fresh else Previous(imported=read_pins(ctx.state))
    content = read_bytes(path)
    try:
        lock = parse_lock(content, path.name)
    except LockError as error:
        if error.message == NEWER:
            raise
        if fresh:
            return Previous()
        if error.key not in ("content-digest", "inputs.digest"):
            raise
        edited = parse_lock(content, path.name, verify=False)
        ctx.reporter.warn(f"{path.name}: {error.message}: everything is resolved again")
        return Previous(pins=edited, shown=edited)
    if fresh:
        return Previous(shown=lock)
    return Previous(pins=lock, parts=lock, shown=lock)


def checked_upgrade(upgrade: Upgrade, old: Lock | None, asked: Iterable[str] = ()) -> Upgrade:
    """The same upgrade with names as the lock writes them. Raises InputError for unknown ones.
    `asked` is what the spec asks for: what of it is not locked yet comes in its newest version
    anyway."""
    if old is None or not upgrade.names:
        return upgrade
    python, system = (set(pins) for pins in pins_of(old))
    data = {f"data.{name}" for name in old.data}
    names = set()
    for name in sorted(upgrade.names):
        normal = package_name(name)
        found = {normal} & python or {name} & system or {name} & data
        if not found and normal in {bare(text) for text in asked}:
            continue
        if not found:
            near = locked_as(name, python | system | data)
            raise InputError(
                f"no locked package is named {name!r}",
                file=LOCK_NAME,
                hint=f'did you mean "{near}"?' if near else f"{LOCK_NAME} lists them",
            )
        names |= found
    return Upgrade(all=upgrade.all, names=frozenset(names))
