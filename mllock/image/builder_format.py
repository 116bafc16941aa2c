"""The version of the rules by which bytes of images are made. Specified in
docs/reference/builder-format.md; a lock holds it, and needs nothing else of this room.
"""

from __future__ import annotations

__all__ = ["BUILDER_FORMAT"]

# 0 carries no promise; from 1 on, digests of every format are golden in the tests for ever.
BUILDER_FORMAT = 1
