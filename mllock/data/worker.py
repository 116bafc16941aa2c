"""Hashing one regular file, and a program that does it for many: `python -I -S worker.py`.

Not for anything that needs mllock: as a program it starts in 15 ms because it imports next to
nothing. It reads frames (a 4-byte length, then paths relative to its working folder, each ended
by NUL) from standard input and answers one `RESULT` for each path, until the input ends.
Invariant: links are not followed, at most the size found at open is read, and a file whose size
or times change while it is read is CHANGED.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import sys

__all__ = ["CHANGED", "LARGE", "NOT_REGULAR", "RESULT", "Result", "hash_file"]

# status (an errno, or one of those below), digest, size, mode
RESULT = struct.Struct("=i32sqI")
Result = tuple[int, bytes, int, int]

CHANGED = -1
NOT_REGULAR = -2
LARGE = -3

FRAME = struct.Struct("=I")
BUFFER = 256 * 1024
# Larger files are left to the caller, which spreads them over its threads.
LIMIT = 8 * 1024 * 1024

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def hash_file(path: bytes, buffer: bytearray, limit: int | None = None) -> Result:
    """The digest, size and mode of `path`; LARGE, not hashed, if it has more than `limit` bytes.

    `buffer` is scratch, not larger than `limit`. A file that fits into it is read by one call:
    what fstat says after that call is what was read, or else the size differs.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        return _failed(error.errno or CHANGED)
    try:
        count = os.readv(descriptor, (buffer,))
        status = os.fstat(descriptor)
        if count == status.st_size and stat.S_ISREG(status.st_mode):
            digest = hashlib.sha256(memoryview(buffer)[:count]).digest()
            return 0, digest, count, status.st_mode
        return _hash_rest(descriptor, memoryview(buffer), count, status, limit)
    except OSError as error:
        return _failed(error.errno or CHANGED)
    finally:
        os.close(descriptor)


def _hash_rest(
    descriptor: int, view: memoryview, count: int, before: os.stat_result, limit: int | None
) -> Result:
    """Go on after the first `count` bytes, which are in `view`."""
    size = before.st_size
    if not stat.S_ISREG(before.st_mode):
        return _failed(NOT_REGULAR)
    if limit is not None and size > limit:
        return _failed(LARGE, size)
    digest = hashlib.sha256(view[:count])
    done = count
    while count > 0 and done < size:
        count = os.readv(descriptor, (view,))
        digest.update(view[:count])
        done += count
    after = os.fstat(descriptor)
    if done != size or _identity(before) != _identity(after):
        return _failed(CHANGED)
    return 0, digest.digest(), size, before.st_mode


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _failed(status: int, size: int = 0) -> Result:
    return status, b"", size, 0


def main() -> None:
    buffer = bytearray(BUFFER)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while header := requests.read(FRAME.size):
        paths = requests.read(FRAME.unpack(header)[0]).split(b"\0")[:-1]
        answers.write(b"".join([RESULT.pack(*hash_file(path, buffer, LIMIT)) for path in paths]))
        answers.flush()


if __name__ == "__main__":
    main()
