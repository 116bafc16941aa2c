"""From a URL to who answers for it: http by ourselves, object stores through fsspec."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from mllock.core.offline import is_offline, not_asked
from mllock.core.ports import Reporter
from mllock.data.remote import RemoteSource
from mllock.spec.sources import shown, split
from mllock.store.remote.fetch import OpenSource

__all__ = ["opener"]


def opener(environ: Mapping[str, str], reporter: Reporter) -> OpenSource:
    """Connects to a source. Raises InputError where something for it is missing here, and
    OfflineError where nobody may be asked."""

    def connect(url: str) -> AbstractContextManager[RemoteSource]:
        if is_offline(environ):
            raise not_asked(f"the data source {shown(url)}")
        if split(url).scheme in ("https", "http"):
            from mllock.store.remote.http import HttpSource

            return HttpSource(url, environ, reporter)
        from mllock.store.remote.filesystem import FilesystemSource

        return FilesystemSource(url)

    return connect
