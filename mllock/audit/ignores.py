"""mlproject.audit.toml: vulnerabilities that were looked at and do not matter here, with reasons.

Beside the spec and not in it: what somebody decides about a vulnerability changes neither the lock
nor an image. Specified in docs/reference/audit.md. Raises InputError that names file and key.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from mllock.audit.types import Ignore
from mllock.errors import InputError
from mllock.store.regular import open_regular

__all__ = ["FILE", "read_ignores"]

FILE = "mlproject.audit.toml"

_MAX = 16 * 1024 * 1024

_Text = Annotated[str, Meta(min_length=1)]


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: _Text
    reason: _Text
    package: _Text | None = None
    until: dt.date | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ignore: tuple[_Entry, ...] = ()


def read_ignores(project: Path) -> tuple[Ignore, ...]:
    """What the file says; nothing if there is none."""
    try:
        with open_regular(project / FILE) as file:
            data = file.read(_MAX + 1)
    except FileNotFoundError:
        return ()
    except InputError as error:
        raise InputError("not a regular file", file=FILE, found=error.found) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be read: {reason}", file=FILE) from error
    if len(data) > _MAX:
        raise InputError("too large", file=FILE, found=f"more than {_MAX} bytes")
    try:
        found = msgspec.toml.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message, _, place = str(error).partition(" - at ")
        raise InputError(
            message[:1].lower() + message[1:],
            file=FILE,
            key=place.strip("`").removeprefix("$.") or None,
            hint='an entry is: [[ignore]], id = "CVE-...", reason = "...", and package and until '
            "if you like",
        ) from None
    return tuple(
        Ignore(id=entry.id, reason=entry.reason, package=entry.package, until=entry.until)
        for entry in found.ignore
    )
