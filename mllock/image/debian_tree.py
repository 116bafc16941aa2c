"""The tree that packages are unpacked into: links followed, owners known, conflicts found.

Not for bytes: contents are passed through. Keeps the invariant that the parent of every node is a
folder of this layer or of the layers below, never a link.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from mllock.errors import ArchiveError
from mllock.image.tree import Content, Node, Stored
from mllock.lock.debian.deb import Entry
from mllock.lock.debian.index import Relation, parse_relations

__all__ = ["MERGED", "MERGED_FOR", "DebianTree"]

# Debian's merged /usr (usrmerge, debootstrap --merged-usr), and where an architecture's loader is.
MERGED = ("bin", "lib", "sbin")
MERGED_FOR = {"amd64": ("lib64",)}
_MAX_LINKS = 40  # what Linux follows


class DebianTree:
    """A layer in the making above `below`. Paths are relative, as in `Node`."""

    def __init__(self, below: Mapping[str, Node]) -> None:
        self._below = below
        self._nodes: dict[str, Node] = {}
        self._owners: dict[str, str] = {}
        self._replaces: dict[str, tuple[Relation, ...]] = {}
        self._parents: dict[str, str] = {"": ""}
        self._users: dict[str, int] = {"root": 0}
        self._groups: dict[str, int] = {"root": 0}
        self._dropped: dict[str, str] = {}

    def get(self, path: str) -> Node | None:
        """The node at `path`, of this layer or of those below; links in `path` are followed."""
        return self._at(self.real(path))

    def read(self, path: str) -> bytes | None:
        """The content of a small file, or None."""
        data = self.content(path)
        return None if data is None else bytes(data)

    def content(self, path: str) -> memoryview | None:
        """The content of the file that `path` leads to, without copying; None if there is none."""
        real = self.follow(path)
        node = self._at(real) if real is not None else None
        if node is not None and node.kind == "hardlink" and node.target:
            node = self._at(node.target)
        if node is not None and isinstance(node.content, Stored):
            return memoryview(node.content.data)
        return None

    def under(self, folder: str) -> list[str]:
        """Paths of files and links directly in `folder`, sorted."""
        prefix = self.real(folder) + "/"
        names = {path for path in (*self._nodes, *self._below) if path.startswith(prefix)}
        return sorted(path for path in names if "/" not in path[len(prefix) :])

    def real(self, path: str) -> str:
        """`path` with the links of all its folders followed; its last component is kept."""
        parent, _, name = path.rpartition("/")
        if not parent:
            return path
        return posixpath.join(self._real_folder(parent), name)

    def exists(self, path: str) -> bool:
        """Whether `path` is there when all links are followed."""
        return self.follow(path) is not None

    def follow(self, path: str) -> str | None:
        """Where `path` leads when all links are followed, or None if nothing is there."""
        return self._follow(path, strict=True)

    def accounts(self, masters: Mapping[str, bytes]) -> None:
        """Learn names of owners from base-passwd's masters, or from the layer below."""
        for kind, known in (("passwd", self._users), ("group", self._groups)):
            data = masters.get(kind) or self.read(f"etc/{kind}") or b""
            for line in data.decode("utf-8", "replace").splitlines():
                fields = line.split(":")
                if len(fields) > 2 and fields[2].isdigit():
                    known[fields[0]] = int(fields[2])

    def replaces(self, package: str, control: str) -> None:
        """Learn from a control file whose files `package` may take over (Policy 7.6.1)."""
        match = re.search(r"^Replaces:(.*(?:\n[ \t].*)*)", control, re.MULTILINE)
        if match:
            text = " ".join(match.group(1).split())
            groups = parse_relations(text, package)
            self._replaces[package] = tuple(group[0] for group in groups)

    def folder(self, path: str, mode: int = 0o755, gid: int = 0, uid: int = 0) -> None:
        """A folder, and its parents, unless something is there."""
        path = self.real(path)
        if path and self._at(path) is None:
            self._parents_of(path)
            self._put(Node(path=path, kind="folder", mode=mode, uid=uid, gid=gid))

    def link(self, path: str, target: str) -> None:
        """A symbolic link; replaces a link that is there."""
        path = self.real(path)
        self._parents_of(path)
        self._put(Node(path=path, kind="symlink", mode=0o777, target=target))

    def file(self, path: str, data: bytes, mode: int = 0o644, gid: int = 0) -> None:
        """A file that no package owns; replaces a file that is there."""
        path = self.real(path)
        self._parents_of(path)
        self._put(Node(path=path, kind="file", mode=mode, gid=gid, content=Stored(data)))

    def unpack(self, package: str, entry: Entry, content: Content | None) -> None:
        """One member of a package, other than a hard link."""
        path = self.real(entry.path)
        old = self._at(path)
        if entry.kind == "folder":
            if old is not None and old.kind == "symlink":
                # dpkg keeps a link where a package ships a folder.
                self.folder(self._real_folder(entry.path), entry.mode)
                return
            if old is not None and old.kind == "folder":
                return
        if old is not None and not self._may_replace(package, old, content, entry.target):
            return
        mode = entry.mode
        if entry.kind == "file" and mode & 0o6000:
            mode &= 0o1777
            self._dropped[path] = f"{entry.user} {entry.group} {mode:04o} /{path}"
        self._parents_of(path)
        self._put(
            Node(
                path=path,
                kind=entry.kind,
                mode=mode,
                uid=self._owner(package, path, self._users, entry.user, entry.uid),
                gid=self._owner(package, path, self._groups, entry.group, entry.gid),
                content=content,
                target=entry.target,
            )
        )
        self._owners[path] = package

    def hardlink(self, package: str, path: str, target: str) -> None:
        """A hard link to a file that `package` shipped before."""
        path, target = self.real(path), self.real(target)
        first = self._nodes.get(target)
        if first is None:
            raise ArchiveError(
                "hard link before the file that it names", file=package, key=path, found=target
            )
        old = self._at(path)
        if old is None or self._may_replace(package, old, first.content, None):
            self._parents_of(path)
            self._put(
                Node(
                    path=path,
                    kind="hardlink",
                    mode=first.mode,
                    uid=first.uid,
                    gid=first.gid,
                    target=target,
                )
            )
            self._owners[path] = package

    def nodes(self) -> tuple[Node, ...]:
        """Everything of this layer, sorted by path."""
        if self._dropped:
            old = (self.read("var/lib/dpkg/statoverride") or b"").decode().splitlines()
            lines = sorted({*old, *self._dropped.values()})
            self.file("var/lib/dpkg/statoverride", ("\n".join(lines) + "\n").encode())
        return tuple(self._nodes[path] for path in sorted(self._nodes))

    def _at(self, path: str) -> Node | None:
        return self._nodes.get(path) or self._below.get(path)

    def _put(self, node: Node) -> None:
        if node.kind == "symlink" or (old := self._at(node.path)) is None or old.kind == "symlink":
            # A link that appears or goes changes where paths lead.
            self._parents = {"": ""}
        self._nodes[node.path] = node

    def _may_replace(
        self, package: str, old: Node, content: Content | None, target: str | None
    ) -> bool:
        """Whether a file or link of `package` goes where `old` is; False if `old` stays."""
        if old.kind == "symlink" and old.target == target:
            return False
        data = self.content(old.path) if old.kind in ("file", "hardlink") else None
        if data is not None and isinstance(content, Stored) and data == content.data:
            return False
        owner = self._owners.get(old.path)
        if owner is None:
            # Whose it is in the layer below is not known here.
            owner = "mllock" if old.path in self._nodes else "the base"
        if old.kind != "folder" and owner != package:
            if any(relation.name == owner for relation in self._replaces.get(package, ())):
                return True
            if any(relation.name == package for relation in self._replaces.get(owner, ())):
                return False
        raise ArchiveError(f"both {owner} and {package} have this path", key=old.path)

    def _owner(
        self, package: str, path: str, known: Mapping[str, int], name: str, number: int
    ) -> int:
        if name in known:
            return known[name]
        if name:
            raise ArchiveError(
                f'owner "{name}" is not one that base-passwd makes', file=package, key=path
            )
        return number

    def _parents_of(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if not parent:
            return
        node = self._at(parent)
        if node is None:
            self.folder(parent)
        elif node.kind != "folder":
            raise ArchiveError(f"below {parent}, which is not a folder", key=path)

    def _real_folder(self, folder: str) -> str:
        if folder not in self._parents:
            found = self._follow(folder, strict=False)
            # Never None: what is not there yet has the name that it will have.
            self._parents[folder] = folder if found is None else found
        return self._parents[folder]

    def _follow(self, path: str, *, strict: bool, depth: int = 0) -> str | None:
        """Where `path` leads; None if something of it is not there, and `strict`."""
        if depth > _MAX_LINKS:
            raise ArchiveError("loop of symbolic links", key=path.strip("/"))
        at = ""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for number, part in enumerate(parts):
            if part == "..":
                at = at.rpartition("/")[0]
                continue
            step = posixpath.join(at, part)
            node = self._at(step)
            if node is None and strict:
                return None
            if node is not None and node.kind == "symlink":
                target = node.target or ""
                start = "" if target.startswith("/") else at
                rest = "/".join((start, target, *parts[number + 1 :]))
                return self._follow(rest, strict=strict, depth=depth + 1)
            at = step
        return at
