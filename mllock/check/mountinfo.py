"""What the kernel says is mounted in a running container, where it runs on this machine.

A mount that was made later, in the container's own mount namespace, is in no description of the
engine and in no export of its files. The process is looked at only if its control group names the
container: a process number of another machine, or of another namespace, is somebody else here.
Source: proc(5), /proc/PID/mountinfo.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KernelMount", "kernel_mounts", "parse_mountinfo"]

PROC = Path("/proc")
MAX_BYTES = 4 * 1024 * 1024
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelMount:
    """`target` is relative to the container's root, "" for the root itself; `what` in words."""

    target: str
    what: str


def kernel_mounts(pid: int, container: str, proc: Path = PROC) -> tuple[KernelMount, ...] | None:
    """The mounts of process `pid`, or None if they cannot be seen from here."""
    if pid <= 0 or not container:
        return None
    try:
        groups = _read(proc / str(pid) / "cgroup")
        text = _read(proc / str(pid) / "mountinfo")
        again = _read(proc / str(pid) / "cgroup")
    except OSError:
        return None
    if container not in groups or groups != again:
        return None
    return parse_mountinfo(text)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_BYTES).decode("utf-8", "surrogateescape")


def parse_mountinfo(text: str) -> tuple[KernelMount, ...]:
    """Lines that are not of the form of proc(5) are mounts of an unknown place: the root."""
    found = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if not separator or len(fields) < 6 or len(kinds) < 2:
            found.append(KernelMount(target="", what=f"what cannot be read: {line[:200]}"))
            continue
        root, target = _plain(fields[3]), _plain(fields[4])
        what = f"a mount of {kinds[0]}" if root == "/" else f"a mount of {root} ({kinds[0]})"
        found.append(KernelMount(target=target.strip("/"), what=what))
    return tuple(found)


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
