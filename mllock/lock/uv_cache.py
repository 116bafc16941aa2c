"""Where uv may keep what it read of indexes: what is there decides which digests are locked.

No digest protects it, so it is the user's own: a folder of theirs, in folders that nobody else may
put files into, up to the cache itself (`mllock.store.own`). In a cache that is shared on purpose
nothing is kept from one lock to the next. See ADR 0140.
"""

from __future__ import annotations

import os
from pathlib import Path

from mllock.store.own import are_private, make_folder

__all__ = ["own_cache"]


def own_cache(shared: Path, scratch: Path) -> Path:
    """This user's folder in `shared`, a folder of the cache, if it is private; else one in
    `scratch`, which goes away."""
    own = shared / str(os.geteuid())
    try:
        make_folder(shared)
        if are_private((shared, shared.parent)):
            own.mkdir(0o700, exist_ok=True)
    except OSError:
        pass
    # Looked at anew: it may have been there, and somebody else's.
    return own if are_private((own, shared, shared.parent)) else scratch / "uv-cache"
