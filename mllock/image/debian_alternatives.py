"""Alternatives: which of several packages' files a common name leads to, e.g. which BLAS.

As update-alternatives(1) in automatic mode: the highest priority, among equals the path that sorts
first, so that the choice depends on the locked packages only. The record of it is dpkg's own, in
/var/lib/dpkg/alternatives, and is read back when the system layer is made above the base.
"""

from __future__ import annotations

from collections.abc import Iterable

from mllock.errors import ArchiveError
from mllock.image.debian_tree import DebianTree
from mllock.lock.debian.scripts import Alternative

__all__ = ["apply_alternatives", "read_group", "write_group"]

_FOLDER = "var/lib/dpkg/alternatives"
_LINKS = "etc/alternatives"


def apply_alternatives(tree: DebianTree, alternatives: Iterable[Alternative]) -> None:
    """Choose, link and record. Raises ArchiveError if two packages disagree about a link."""
    groups: dict[str, dict[str, Alternative]] = {}
    for alternative in alternatives:
        name = alternative.name
        if not tree.exists(alternative.path):
            # A manual page, which is left out; update-alternatives refuses such a path.
            continue
        if name not in groups:
            record = tree.read(f"{_FOLDER}/{name}")
            known = read_group(name, record.decode()) if record is not None else ()
            groups[name] = {other.path: other for other in known}
        groups[name][alternative.path] = alternative
    for name, group in sorted(groups.items()):
        links = {alternative.link for alternative in group.values()}
        if len(links) != 1:
            raise ArchiveError(
                f'packages disagree about the alternative "{name}"', found=", ".join(sorted(links))
            )
        ordered = tuple(group[path] for path in sorted(group))
        chosen = min(ordered, key=lambda alternative: (-alternative.priority, alternative.path))
        tree.file(f"{_FOLDER}/{name}", write_group(ordered).encode())
        _link(tree, name, chosen.link, chosen.path)
        for slave, link, path in chosen.slaves:
            if tree.exists(path):
                _link(tree, slave, link, path)


def _link(tree: DebianTree, name: str, link: str, path: str) -> None:
    place = link.lstrip("/")
    old = tree.get(place)
    if old is not None and old.kind != "symlink":
        raise ArchiveError(f'the alternative "{name}" would replace a file', key=place)
    tree.link(f"{_LINKS}/{name}", path)
    tree.link(place, f"/{_LINKS}/{name}")


def write_group(group: tuple[Alternative, ...]) -> str:
    """Dpkg's record: status, link, slave names and links, then each choice, ended by blanks."""
    slaves = {name: link for choice in group for name, link, _ in choice.slaves}
    lines = ["auto", group[0].link]
    for name in sorted(slaves):
        lines += [name, slaves[name]]
    lines.append("")
    for choice in group:
        paths = {name: path for name, _, path in choice.slaves}
        lines += [choice.path, str(choice.priority)]
        lines += [paths.get(name, "") for name in sorted(slaves)]
    return "\n".join([*lines, ""]) + "\n"


def read_group(name: str, text: str) -> tuple[Alternative, ...]:
    """Law: `read_group(name, write_group(group)) == group`, with slaves sorted by name."""
    lines = text.split("\n")
    link, rest = lines[1], lines[2:]
    slaves: list[tuple[str, str]] = []
    while rest[0]:
        slaves.append((rest[0], rest[1]))
        rest = rest[2:]
    rest = rest[1:]
    found = []
    while rest[0]:
        paths = rest[2 : 2 + len(slaves)]
        found.append(
            Alternative(
                name=name,
                link=link,
                path=rest[0],
                priority=int(rest[1]),
                slaves=tuple(
                    (slave, place, path)
                    for (slave, place), path in zip(slaves, paths, strict=True)
                    if path
                ),
            )
        )
        rest = rest[2 + len(slaves) :]
    return tuple(found)
