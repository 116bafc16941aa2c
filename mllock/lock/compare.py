"""Two comparisons, both pure: the lock against the spec (stale?) and against the lock before.

`stale_reasons` compares meanings, never bytes, and says in words what changed. `changes` says what
a new lock added, updated and removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mllock.lock.platforms import narrowed, platforms_of
from mllock.lock.types import DataPin, Lock
from mllock.spec.meaning import Meaning

__all__ = ["Action", "Change", "ChangeKind", "changes", "stale_reasons"]

ChangeKind = Literal["base", "system", "python", "data"]
Action = Literal["added", "updated", "removed"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One pin that is not what it was. `old` and `new` are versions, or facts for data; `platform`
    is the one that it is about, if the lock is for several and not all of them have it."""

    kind: ChangeKind
    action: Action
    name: str
    old: str | None = None
    new: str | None = None
    platform: str | None = None

    def __str__(self) -> str:
        """In the past tense, e.g. "Updated numpy 1.26.4 -> 2.0.1"."""
        versions = " -> ".join(part for part in (self.old, self.new) if part)
        where = "" if self.platform is None else f" ({self.platform})"
        return f"{self.action.capitalize()} {self.name} {versions}{where}"


def stale_reasons(lock: Lock, meaning: Meaning) -> tuple[str, ...]:
    """What the spec means now that it did not mean to the lock; empty if the lock is current."""
    if lock.inputs.digest == meaning.digest:
        return ()
    return (
        *_table("environment", lock.inputs.environment, meaning.environment),
        *_table("data", lock.inputs.data, meaning.data),
        *_table("builder", lock.inputs.builder, meaning.builder),
    )


def _table(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        here = f"{key}.{name}"
        if name not in old:
            yield f"{here}: added{_brief(new[name])}"
        elif name not in new:
            yield f"{here}: removed"
        elif isinstance(old[name], Mapping) and isinstance(new[name], Mapping):
            yield from _table(here, old[name], new[name])
        elif old[name] != new[name]:
            yield from _value(here, old[name], new[name])


def _value(key: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, str | int) and isinstance(new, str | int):
        yield f"{key}: {_scalar(old)} -> {_scalar(new)}"
    elif _are_strings(old) and _are_strings(new):
        yield from _items(key, old, new)
    else:
        yield f"{key}: changed"


def _items(key: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    added = [item for item in new if item not in old]
    removed = [item for item in old if item not in new]
    for item in tuple(added):
        # "pandas>=2" for "pandas<2" is one change, if there is one of that name on both sides.
        same = [other for other in removed if _name(other) == _name(item)]
        if len(same) == 1 and [_name(other) for other in added].count(_name(item)) == 1:
            yield f"{key}: changed {same[0]} to {item}"
            added.remove(item)
            removed.remove(same[0])
    if added:
        yield f"{key}: added {', '.join(added)}"
    if removed:
        yield f"{key}: removed {', '.join(removed)}"
    if set(old) == set(new):
        yield f"{key}: order changed"


def _are_strings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _name(text: str) -> str:
    match = _NAME.match(text)
    return match[0] if match else text


def _brief(value: Any) -> str:
    return f" {_scalar(value)}" if isinstance(value, str | int) else ""


def _scalar(value: str | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def changes(old: Lock | None, new: Lock, *, edited: bool = False) -> tuple[Change, ...]:
    """What moved from `old` to `new`: base, then system, python and data, each by name. An `edited`
    lock, of which nothing but its types is known, is not taken apart by platform."""
    there = () if old is None or edited else platforms_of(old)
    parts = {
        platform: (old if edited else _part(old, platform), _part(new, platform))
        for platform in sorted({*platforms_of(new), *there})
    }
    return (
        *_pins("base", _base(old), _base(new)),
        *_by_platform(parts, "system", _system),
        *_by_platform(parts, "python", _python),
        *_pins("data", _data(old), _data(new)),
    )


def _by_platform(
    parts: Mapping[str, tuple[Lock | None, Lock | None]],
    kind: ChangeKind,
    pins: Callable[[Lock | None], _Pins],
) -> Iterator[Change]:
    """The changes of each platform; what all of them have in common is said once."""
    seen: dict[Change, list[str]] = {}
    for platform, (old, new) in parts.items():
        for change in _pins(kind, pins(old), pins(new)):
            seen.setdefault(change, []).append(platform)
    for change, those in sorted(seen.items(), key=lambda item: item[0].name):
        if len(those) == len(parts):
            yield change
        else:
            yield from (replace(change, platform=platform) for platform in those)


def _part(lock: Lock | None, platform: str) -> Lock | None:
    """What of `lock` is for `platform`."""
    return None if lock is None or platform not in platforms_of(lock) else narrowed(lock, platform)


# name -> (what is shown, what decides whether it changed)
_Pins = dict[str, tuple[str, object]]


def _base(lock: Lock | None) -> _Pins:
    if lock is None:
        return {}
    base = lock.base
    if base.reference is not None:
        digests = tuple((item.platform, item.manifest) for item in base.platforms)
        short = ", ".join(digest[:19] for _, digest in digests)
        return {base.reference: (f"with Python {base.python} ({short})", (base.python, digests))}
    return {f"{base.kind}:{base.suite}": (f"with Python {base.python}", base.python)}


def _system(lock: Lock | None) -> _Pins:
    return {item.name: (item.version, item.sha256) for item in lock.system} if lock else {}


def _python(lock: Lock | None) -> _Pins:
    if lock is None:
        return {}
    return {item.name: (item.version, item.wheels) for item in lock.python.packages}


def _data(lock: Lock | None) -> _Pins:
    if lock is None:
        return {}
    # What a server says of the same bytes is no change.
    return {
        f"data.{name}": (_facts(pin), (pin.source, pin.path, pin.kind, pin.tree))
        for name, pin in lock.data.items()
    }


def _facts(pin: DataPin) -> str:
    several = f"{pin.files} file{'s' if pin.files != 1 else ''}, "
    files = "" if pin.kind == "file" else several
    place = "" if pin.path == pin.source else f", at {pin.path}"
    return f"({files}{pin.size} bytes, {pin.tree[:19]}{place})"


def _pins(kind: ChangeKind, old: _Pins, new: _Pins) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is None and after is not None:
            yield Change(kind=kind, action="added", name=name, new=after[0])
        elif after is None and before is not None:
            yield Change(kind=kind, action="removed", name=name, old=before[0])
        elif before is not None and after is not None and before[1] != after[1]:
            shown = after[0] if before[0] != after[0] else f"{after[0]} (other file)"
            yield Change(kind=kind, action="updated", name=name, old=before[0], new=shown)
