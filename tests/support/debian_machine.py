"""A machine that resolves Debian packages from an archive of `support.debian`, over HTTP."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mllock.errors import MllockError
from mllock.lock.debian import DebianResolver, fetch_debs
from mllock.lock.debian.suites import seeds
from mllock.lock.ports import LockedDebian, SystemRequest, SystemResolution, Upgrade
from mllock.store.cache import Cache
from mllock.store.fetch import HttpFetcher
from support.debian import NOW, Archive, Key
from support.reporter import Recorder
from support.webserver import Answer, Server, serving

__all__ = ["KEY", "Place", "archive", "machine", "message_of", "without_port"]

KEY = Key()


def archive() -> Archive:
    """A suite that has the seeds of the base, with no dependencies but libc6."""
    made = Archive(KEY)
    for name in seeds("3.11"):
        version = "3.11.2-6+deb12u9" if name == "python3.11" else "1.0"
        made.add(name, version, fields={"Depends": "libc6"} if name == "bash" else None)
    made.add("libc6", "2.36-9")
    made.add("libgomp1", fields={"Depends": "gcc-12-base"})
    made.add("gcc-12-base")
    made.add("openssl", "1.0+deb12u1", pocket="-security")
    return made


class Place:
    """A machine: its cache, its environment, what it was told."""

    def __init__(self, root: Path, url: str = "") -> None:
        self.reporter = Recorder()
        self.cache = Cache(root / "cache", self.reporter)
        self.fetcher = HttpFetcher(self.cache, self.reporter, backoff=0.001)
        self.apt = root / "apt"
        self.environ = (
            {"MLLOCK_DEBIAN_MIRROR": f"{url}/debian {url}/debian-security"} if url else {}
        )

    def resolve(
        self,
        *packages: str,
        python: str = "3.11",
        base: str = "debian:bookworm",
        pins: Mapping[str, str] | None = None,
        upgrade: Upgrade | None = None,
        locked: SystemResolution | None = None,
        keys: tuple[bytes, ...] = (KEY.public,),
    ) -> SystemResolution:
        """`locked` is what was resolved before: its versions are pins, unless others are given."""
        before = locked.packages if locked else ()
        resolver = DebianResolver(
            self.fetcher,
            self.cache,
            self.environ,
            self.reporter,
            keyring=lambda suite: keys,
            now=lambda: NOW,
            apt=self.apt,
        )
        request = SystemRequest(
            base=base,
            python=python,
            packages=packages,
            platform="linux/amd64",
            mirror=None,
            pins=pins or {package.name: package.version for package in before},
            upgrade=upgrade or Upgrade(),
            locked=locked
            and LockedDebian(
                suite=str(locked.base.suite), indexes=locked.base.indexes, packages=before
            ),
        )
        return resolver.resolve(request)

    def fetch(self, resolution: SystemResolution) -> dict[str, Path]:
        return fetch_debs(
            resolution.packages,
            suite="bookworm",
            mirror=None,
            environ=self.environ,
            fetcher=self.fetcher,
            blobs=self.cache,
            apt=self.apt,
        )


@contextlib.contextmanager
def machine(
    root: Path, made: Archive, changes: Mapping[str, Answer] | None = None
) -> Iterator[tuple[Place, Server]]:
    with serving(made.answers() | dict(changes or {})) as server:
        yield Place(root, server.url), server


def message_of(error: MllockError) -> str:
    """The message with the server's port, which varies, left out."""
    return without_port(str(error))


def without_port(text: str) -> str:
    return re.sub(r"127\.0\.0\.1:[0-9]+", "HOST", text)
