"""A folder that a tool unpacked, as the members of a merged image."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mllock.core.digest import sha256_of
from mllock.image.read import Member

__all__ = ["unpacked"]


def unpacked(root: Path) -> dict[str, Member]:
    found = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder, name)
            there = path.lstat()
            common = {"uid": there.st_uid, "gid": there.st_gid}
            place = str(path.relative_to(root))
            if stat.S_ISLNK(there.st_mode):
                found[place] = Member(
                    kind="symlink", mode=0o777, target=str(path.readlink()), **common
                )
            elif stat.S_ISDIR(there.st_mode):
                found[place] = Member(kind="folder", mode=stat.S_IMODE(there.st_mode), **common)
            else:
                data = path.read_bytes()
                found[place] = Member(
                    kind="file",
                    mode=stat.S_IMODE(there.st_mode),
                    size=len(data),
                    digest=sha256_of(data),
                    **common,
                )
    return found
