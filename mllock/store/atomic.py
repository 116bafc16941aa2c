"""Writing files and folders so that a reader sees the old one or the whole new one.

Order: temporary name in the same folder, write, flush, fsync, rename, fsync of the folder. After
an error, a full disk or Ctrl-C nothing is left under the final name and no temporary file stays;
after kill -9 at most a name that starts with `TEMP_PREFIX`, which the next `staging` of that
folder removes when it is old. Modes are exact: the umask of the caller changes nothing.
Raises SurroundingsError that names the file where the system refuses.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mllock.errors import SurroundingsError
from mllock.processes import held_interrupts

__all__ = [
    "TEMP_PREFIX",
    "cannot_write",
    "move_folder",
    "publish_folder",
    "remove_old_temporaries",
    "staging",
    "sync_folder",
    "write_bytes",
    "write_text",
    "writing",
]

TEMP_PREFIX = ".mllock-tmp-"
OLD_SECONDS = 24 * 3600

_HINTS = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some space, then run the same command again",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "check the owner and the permissions of the folder",
    errno.EPERM: "check the owner and the permissions of the folder",
}


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put `data` at `path`, whole or not at all. Missing parent folders are made."""
    with writing(path, mode) as file:
        file.write(data)


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """As `write_bytes`, in UTF-8, line ends as they are."""
    write_bytes(path, text.encode("utf-8"), mode)


@contextlib.contextmanager
def writing(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `path` when the block ends without an exception."""
    temporary = path.with_name(temp_name())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        if error.filename is not None and str(error.filename) not in _ours(path, temporary):
            raise  # the block's own trouble with another file
        raise cannot_write(path, error) from error
    finally:
        # After the rename there is nothing of that name.
        with contextlib.suppress(OSError):
            os.unlink(temporary)


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A new empty folder inside of `folder` (made if missing), gone when the block ends.

    What is to stay is moved out with `publish_folder`. Leftovers of killed processes that are
    older than a day are removed first.
    """
    staged = folder / temp_name()
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_old_temporaries(folder)
            staged.mkdir(mode=0o700)
        except OSError as error:
            raise cannot_write(folder, error) from error
        yield staged
    finally:
        # Ctrl-C, and a second one, do not stop this.
        with held_interrupts():
            remove_tree(staged)


def publish_folder(staged: Path, final: Path, mode: int = 0o755) -> bool:
    """Make the folder `staged` be `final`, by one rename, its files on disk before.

    Returns False, and leaves `staged` alone, if `final` is there already and is not empty:
    somebody else was faster. Both must be on one file system.
    """
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        sync_tree(staged)
        os.chmod(staged, mode)
        if not move_folder(staged, final):
            return False
        sync_folder(final.parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise cannot_write(final, error) from error
    return True


def move_folder(staged: Path, final: Path) -> bool:
    """The same for what may be lost in a power cut: only the rename."""
    try:
        os.rename(staged, final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise cannot_write(final, error) from error
    return True


def sync_folder(folder: Path) -> None:
    """Bring names that were made, renamed or removed in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Bring to the disk all files and folders below `folder`, and itself. Follows no links."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(parent))


def _ours(path: Path, temporary: Path) -> tuple[str, ...]:
    return (str(temporary), str(path), *(str(parent) for parent in path.parents))


def temp_name() -> str:
    return f"{TEMP_PREFIX}{os.getpid()}-{os.urandom(6).hex()}"


def remove_tree(path: Path) -> None:
    """Remove a file or folder as well as can be; read-only folders inside do not stop it."""
    if path.is_dir() and not path.is_symlink():
        for parent, folders, _ in os.walk(path):
            for name in folders:
                inner = os.path.join(parent, name)
                if not os.path.islink(inner):
                    with contextlib.suppress(OSError):
                        os.chmod(inner, 0o700)
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def remove_old_temporaries(folder: Path, older_than: float = OLD_SECONDS) -> None:
    """Remove what killed processes left in `folder`: our own temporary names, by age only.

    A process number says nothing about a process in another container on the same disk.
    """
    limit = time.time() - older_than
    with os.scandir(folder) as found:
        names = [entry.name for entry in found if entry.name.startswith(TEMP_PREFIX)]
    for name in names:
        path = folder / name
        try:
            old = path.lstat().st_mtime < limit
        except FileNotFoundError:
            continue
        if old:
            remove_tree(path)


def cannot_write(path: Path, error: OSError) -> SurroundingsError:
    """What to say when the system refuses to write `path`."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        reason = "a file is where a folder should be"
    return SurroundingsError(
        f"cannot write: {reason}",
        file=str(path),
        hint=_HINTS.get(error.errno or 0),
    )
