"""Offline as a value: whether the network may be asked, and what to say where it would have to be.

`--offline` is `MLLOCK_OFFLINE=1` in the environment that a command is given: each room that asks
somebody looks there, and nowhere else. What is on this machine is no network: the cache, vendored
folders, `file:` URLs, pip's local folders, a container engine. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mllock.core.vendor import VENDOR
from mllock.errors import OfflineError

__all__ = ["VARIABLE", "is_offline", "not_asked", "not_here"]

VARIABLE = "MLLOCK_OFFLINE"

_NO = frozenset({"", "0", "false", "no", "off"})
# So many are named; a lock may pin hundreds.
_NAMED = 5


def is_offline(environ: Mapping[str, str]) -> bool:
    return environ.get(VARIABLE, "").strip().lower() not in _NO


def not_here(names: Sequence[str]) -> OfflineError:
    """For files that would have to be fetched."""
    count = len(names)
    more = f" and {count - _NAMED} more" if count > _NAMED else ""
    return OfflineError(
        f"offline, and {'a file' if count == 1 else f'{count} files'} would have to be fetched",
        expected='in the cache, or in a folder that "mllock vendor" made',
        found=f"not there: {', '.join(names[:_NAMED])}{more}",
        hint=f"type it once without --offline, or name such a folder with {VENDOR}",
    )


def not_asked(whom: str) -> OfflineError:
    """For an answer that nobody else can give. `whom` is a noun with its article."""
    return OfflineError(
        f"offline: {whom} is not asked",
        hint=f"leave out --offline, or unset {VARIABLE}",
    )
