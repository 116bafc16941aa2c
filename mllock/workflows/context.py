"""The real ports, made once for a command and handed to the workflows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mllock.core.offline import is_offline
from mllock.core.ports import Fetcher, Reporter, Want
from mllock.errors import InputError
from mllock.store.cache import Cache
from mllock.store.vendored import vendored_of

__all__ = ["Context", "make_context"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Where things are and who does the effects.

    `project` is the folder that holds mlproject.toml; `environ` is the caller's environment, the
    only place where settings (MLLOCK_*, XDG_*) are read from.
    """

    project: Path
    environ: Mapping[str, str]
    reporter: Reporter
    cache: Cache
    fetcher: Fetcher

    @property
    def state(self) -> Path:
        """`.mllock` of the project: runs, images, the stat cache."""
        return self.project / ".mllock"

    @property
    def runs(self) -> Path:
        return self.state / "runs"

    @property
    def releases(self) -> Path:
        """Signed releases and revocations of the project; these may be committed."""
        return self.state / "releases"

    @property
    def seen_dir(self) -> Path:
        """`$XDG_STATE_HOME/mllock/seen`: what this user has seen of releases, by project."""
        return _xdg(self.environ, "XDG_STATE_HOME", ".local/state") / "mllock" / "seen"

    @property
    def config_dir(self) -> Path:
        """`$XDG_CONFIG_HOME/mllock`: keys and policy of this user."""
        return _xdg(self.environ, "XDG_CONFIG_HOME", ".config") / "mllock"


def make_context(project: Path, reporter: Reporter, environ: Mapping[str, str]) -> Context:
    if environ.get("MLLOCK_CACHE"):
        root = Path(environ["MLLOCK_CACHE"]).absolute()  # programs run in other folders
    else:
        root = _xdg(environ, "XDG_CACHE_HOME", ".cache") / "mllock"
    cache = Cache(root, reporter, vendored=vendored_of(project, environ))
    return Context(
        project=project,
        environ=environ,
        reporter=reporter,
        cache=cache,
        fetcher=_LaterFetcher(cache, reporter, offline=is_offline(environ)),
    )


class _LaterFetcher:
    """Implements `Fetcher`: an `HttpFetcher`, imported when something is to be fetched, which most
    commands never do."""

    def __init__(self, cache: Cache, reporter: Reporter, *, offline: bool) -> None:
        self._cache, self._reporter, self._offline = cache, reporter, offline

    @cached_property
    def _real(self) -> Fetcher:
        from mllock.store.fetch import HttpFetcher

        return HttpFetcher(self._cache, self._reporter, offline=self._offline)

    def read(self, url: str, *, max_bytes: int) -> bytes:
        return self._real.read(url, max_bytes=max_bytes)

    def fetch(self, wants: Sequence[Want]) -> None:
        self._real.fetch(wants)


def _xdg(environ: Mapping[str, str], name: str, default: str) -> Path:
    value = environ.get(name, "")
    # XDG Base Directory Specification: relative paths are invalid and ignored.
    if value and os.path.isabs(value):
        return Path(value)
    if environ.get("HOME"):
        return Path(environ["HOME"]) / default
    try:
        return Path.home() / default
    except RuntimeError:  # no HOME, and a user without an entry in the password database
        raise InputError(
            "this user has no home folder",
            hint="set HOME, or all of MLLOCK_CACHE, XDG_CACHE_HOME, XDG_CONFIG_HOME and "
            "XDG_STATE_HOME",
        ) from None
