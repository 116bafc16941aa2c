"""dpkg's metadata of the packages in a layer: what scanners and dpkg itself read.

A tree that mllock assembles has a control file for each package in `status.d`, as images without
dpkg do. A base that dpkg made has one database for all, `status`, and lists in `info`: there the
packages are added to it, so that there is one answer to what is installed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from mllock.image.debian_tree import DebianTree
from mllock.lock.debian.deb import Deb, Entry

__all__ = ["FORMAT", "INFO", "STATUS", "STATUS_D", "record_packages"]

STATUS = "var/lib/dpkg/status"
STATUS_D = "var/lib/dpkg/status.d"
INFO = "var/lib/dpkg/info"
FORMAT = f"{INFO}/format"
_KEPT = ("conffiles", "md5sums")

Opened = Sequence[tuple[str, Deb, Sequence[Entry]]]


def record_packages(tree: DebianTree, packages: Opened) -> None:
    """Write down what was unpacked: (name, package, its files) in order of their names."""
    status = tree.read(STATUS)
    if status is None:
        for name, deb, _ in packages:
            tree.file(f"{STATUS_D}/{name}", deb.control["control"])
            if "md5sums" in deb.control:
                tree.file(f"{STATUS_D}/{name}.md5sums", deb.control["md5sums"])
        return
    stanzas = [status.rstrip(b"\n") + b"\n"] if status.strip() else []
    # dpkg, infodb-format: 1 names the architecture of packages that may be there for several.
    several = (tree.read(FORMAT) or b"").strip() == b"1"
    for name, deb, entries in packages:
        stanzas.append(_stanza(deb, entries))
        place = f"{INFO}/{_listed_as(name, deb) if several else name}"
        tree.file(f"{place}.list", _list(entries))
        for kind in _KEPT:
            if kind in deb.control:
                tree.file(f"{place}.{kind}", deb.control[kind])
    tree.file(STATUS, b"\n".join(stanzas) + b"\n")


def _stanza(deb: Deb, entries: Sequence[Entry]) -> bytes:
    """The control file as dpkg keeps it: Status after Package, conffiles with their md5sums."""
    lines = deb.control["control"].rstrip(b"\n").split(b"\n")
    at = next(n for n, line in enumerate(lines) if line.startswith(b"Package:"))
    lines.insert(at + 1, b"Status: install ok installed")
    names = [
        line.strip() for line in deb.control.get("conffiles", b"").splitlines() if line.strip()
    ]
    if names:
        files = {f"/{entry.path}".encode(): entry.data for entry in entries}
        lines.append(b"Conffiles:")
        for name in sorted(names):
            # MD5 is what dpkg has here; it decides nothing.
            digest = hashlib.md5(files.get(name, b""), usedforsecurity=False).hexdigest()
            lines.append(b" " + name + b" " + digest.encode())
    return b"\n".join(lines) + b"\n"


def _listed_as(name: str, deb: Deb) -> str:
    fields = dict(
        line.split(b": ", 1) for line in deb.control["control"].splitlines() if b": " in line
    )
    if fields.get(b"Multi-Arch", b"").strip() == b"same":
        return f"{name}:{fields[b'Architecture'].strip().decode()}"
    return name


def _list(entries: Iterable[Entry]) -> bytes:
    return b"".join(f"/{entry.path or '.'}\n".encode() for entry in entries)
