"""A Debian mirror on loopback that is signed today, for commands as they are typed.

Only the keyring of the product is another one: it holds this mirror's key instead of Debian's.
`SEEN` is a base for locks that such a mirror is not older than.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import msgspec
import pytest

from mllock.lock.debian import DebianResolver
from support.debian import Archive, Key
from support.locks import BASE
from support.webserver import serving

__all__ = ["SEEN", "Mirror", "mirror"]

_KEY = Key()
# What a LockProject has: libc6 2.36-9+deb12u14, libgomp1 1.0-1.
SAME = {"libc6": "2.36-9+deb12u14", "libgomp1": "1.0-1"}
SEEN = msgspec.structs.replace(
    BASE, indexes=(msgspec.structs.replace(BASE.indexes[0], date="2026-11-07T09:41:08Z"),)
)


class Mirror:
    """An archive that is signed today, and what it has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.archive = Archive(_KEY)
        self.archive.stanzas["-security"] = []
        now = dt.datetime.now(dt.UTC)
        for name, when in (("Date", now), ("Valid-Until", now + dt.timedelta(days=7))):
            self.archive.release[name] = f"{when:%a, %d %b %Y %H:%M:%S} UTC"
        self.asked: list[str] = []

    def serve(self, url: str) -> None:
        self._monkeypatch.setenv("MLLOCK_DEBIAN_MIRROR", f"{url}/debian {url}/debian-security")
        # Only the keyring is another one than Debian's.
        defaults = DebianResolver.__init__.__kwdefaults__
        self._monkeypatch.setitem(defaults, "keyring", lambda suite: (_KEY.public,))


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """One with nothing new."""
    made = Mirror(monkeypatch)
    for name, version in SAME.items():
        made.archive.add(name, version)
    with serving(made.archive.answers()) as server:
        made.serve(server.url)
        made.asked = server.asked
        yield made
