"""The words by which a vendored folder is known: its list, what that begins with, its variable."""

from __future__ import annotations

__all__ = ["ANY_MARK", "MARK", "SUMS", "VENDOR"]

SUMS = "SHA256SUMS"
# Of every version; a newer mllock may have made the folder.
ANY_MARK = "# mllock vendor "
MARK = f"{ANY_MARK}1"
VENDOR = "MLLOCK_VENDOR"
