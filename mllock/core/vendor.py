"""The words by which a vendored folder is known: its list, what that begins with, its variable."""

from __future__ import annotations

__all__ = ["MARK", "SUMS", "VENDOR"]

SUMS = "SHA256SUMS"
MARK = "# mllock vendor 1"
VENDOR = "MLLOCK_VENDOR"
