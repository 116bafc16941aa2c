"""`mllock audit`: known vulnerabilities of all that the lock pins by version.

A lock (a stale one as well: what it pins is what was built), the ignore list, then both services;
one that does not answer leaves the other's answer as it is, and its own packages named as not
looked at. Nothing of it changes anything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mllock.audit.debian import (
    MAX_TRACKER,
    SourcePackage,
    debian_vulnerabilities,
    source_of,
)
from mllock.audit.debian import VARIABLE as TRACKER
from mllock.audit.ignores import read_ignores
from mllock.audit.python import VARIABLE as OSV
from mllock.audit.python import python_vulnerabilities
from mllock.audit.types import Ignore, Kind, Unanswered, Vulnerability
from mllock.core.digest import from_hex
from mllock.core.offline import is_offline, not_asked
from mllock.errors import InputError, MllockError, SurroundingsError
from mllock.lock.format import LOCK_NAME, parse_lock, read_bytes
from mllock.lock.types import DebianPackage, Lock
from mllock.store.regular import open_regular
from mllock.workflows.context import Context

__all__ = ["AuditResult", "audit"]

KINDS: tuple[Kind, ...] = ("python", "debian")


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditResult:
    """`found` are those that count; `ignored` have the entry that covers them; `over` are entries
    that covered something and are past their day. `looked` are numbers of packages by kind."""

    found: tuple[Vulnerability, ...]
    ignored: tuple[tuple[Vulnerability, Ignore], ...]
    over: tuple[Ignore, ...]
    idle: tuple[Ignore, ...]
    unanswered: tuple[Unanswered, ...]
    looked: dict[Kind, int]
    foreign_base: str | None

    @property
    def exit_code(self) -> int:
        """0 only if everything was looked at, and nothing that counts is known."""
        if self.found:
            return 1
        return max((item.exit_code for item in self.unanswered), default=0)


def audit(
    ctx: Context,
    *,
    only: Kind | None = None,
    ignore: Sequence[str] = (),
    ignore_unfixed: bool = False,
    today: dt.date | None = None,
) -> AuditResult:
    """Ask. Raises LockError and InputError; a service that fails is in the result."""
    lock = parse_lock(read_bytes(ctx.project / LOCK_NAME), LOCK_NAME)
    day = today or dt.datetime.now(dt.UTC).date()
    ignores = (*read_ignores(ctx.project), *(Ignore(id=name, reason="--ignore") for name in ignore))
    found: list[Vulnerability] = []
    unanswered: list[Unanswered] = []
    looked: dict[Kind, int] = {}
    for kind, count, ask in _questions(ctx, lock):
        if count == 0 or (only is not None and kind != only):
            continue
        try:
            found += ask()
            looked[kind] = count
        except MllockError as error:
            unanswered.append(_unanswered(kind, count, error))
    if ignore_unfixed:
        found = [item for item in found if item.fixed is not None]
    covers = {item: [entry for entry in ignores if entry.covers(item)] for item in found}
    ignored = []
    counts = []
    for item, entries in covers.items():
        holding = [entry for entry in entries if entry.holds(day)]
        if holding:
            ignored.append((item, holding[0]))
        else:
            counts.append(item)
    used = {entry for entries in covers.values() for entry in entries}
    foreign = lock.base.reference if only != "python" and lock.base.kind != "debian" else None
    return AuditResult(
        found=tuple(
            sorted(counts, key=lambda item: (item.kind != "python", item.package, item.id))
        ),
        ignored=tuple(ignored),
        over=tuple(entry for entry in ignores if entry in used and not entry.holds(day)),
        idle=tuple(entry for entry in ignores if entry not in used and not unanswered),
        unanswered=tuple(unanswered),
        looked=looked,
        foreign_base=foreign,
    )


_Ask = Callable[[], tuple[Vulnerability, ...]]


def _questions(ctx: Context, lock: Lock) -> list[tuple[Kind, int, _Ask]]:
    packages = sorted({(item.name, item.version) for item in lock.python.packages})
    debs = tuple({(deb.name, deb.version): deb for deb in lock.system}.values())

    def python() -> tuple[Vulnerability, ...]:
        url = ctx.environ.get(OSV) or None
        if is_offline(ctx.environ):
            raise not_asked("the vulnerability service")
        ctx.reporter.step(f"asking about {len(packages)} Python packages")
        return python_vulnerabilities(packages, url)

    def debian() -> tuple[Vulnerability, ...]:
        data = _tracker(ctx)
        ctx.reporter.step(f"looking for {len(debs)} Debian packages")
        return debian_vulnerabilities(data, lock.base.suite or "", _sources(ctx, debs))

    return [("python", len(packages), python), ("debian", len(debs), debian)]


def _unanswered(kind: Kind, count: int, error: MllockError) -> Unanswered:
    place = ": ".join(part for part in (error.file, error.key, error.message) if part)
    why = place if error.found is None else f"{place} ({error.found})"
    hint = error.hint or f"leave them out with --only {'debian' if kind == 'python' else 'python'}"
    return Unanswered(
        kind=kind,
        packages=count,
        why=why,
        hint=hint,
        exit_code=4 if isinstance(error, SurroundingsError) else 2,
    )


def _tracker(ctx: Context) -> bytes:
    place = ctx.environ.get(TRACKER, "").strip()
    if not place:
        raise InputError(
            "where the data of Debian's security tracker is was not said",
            hint=f"set {TRACKER} to the URL of the tracker's JSON data, or to a file with it; or "
            "ask about Python packages alone: --only python",
        )
    if place.lower().startswith(("http:", "https:", "file:")):
        ctx.reporter.step("reading Debian's security data")
        try:
            return ctx.fetcher.read(place, max_bytes=MAX_TRACKER)
        except FileNotFoundError:
            raise SurroundingsError("there is nothing at this URL", key=TRACKER) from None
    try:
        with open_regular(Path(place).expanduser()) as file:
            data = file.read(MAX_TRACKER + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be read: {reason}", file=place, key=TRACKER) from error
    if len(data) > MAX_TRACKER:
        raise InputError("too large", file=place, key=TRACKER)
    return data


def _sources(ctx: Context, debs: Sequence[DebianPackage]) -> list[SourcePackage]:
    binaries: dict[tuple[str, str], list[str]] = {}
    paths = ctx.cache.get_all(from_hex(deb.sha256) for deb in debs)
    for deb in debs:
        path = paths[from_hex(deb.sha256)]
        control = None if path is None else _control(path, deb.filename)
        source = source_of(deb.name, deb.version, deb.filename, control)
        binaries.setdefault(source, []).append(deb.name)
    return [
        SourcePackage(name=name, version=version, binaries=tuple(sorted(set(names))))
        for (name, version), names in sorted(binaries.items())
    ]


def _control(path: Path, name: str) -> str:
    from mllock.lock.debian.deb import open_deb

    return open_deb(path, name).control["control"].decode("utf-8", "replace")
