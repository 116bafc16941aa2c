"""The locked wheels on their way into an environment: unpacked, and all their paths known before
any of them is written.

Files that hold the place of the environment are made for it (`mllock.train.unpacked.is_own`). What
two packages both have is decided as for the images: by the rules of the spec, or by being equal.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mllock.core.ports import Reporter
from mllock.image.overlaps import check_conflicts
from mllock.image.tree import Node, Stored
from mllock.image.wheel import Prefix, wheel_nodes
from mllock.lock.types import PythonPackage, Wheel
from mllock.spec.types import Overlap
from mllock.train.looks import look_at
from mllock.train.sync_folder import Folder
from mllock.train.synced import Installed
from mllock.train.unpacked import Unpacked, find_unpacked, is_own, unpack
from mllock.train.venv import FetchWheels

__all__ = ["Wheels"]


class Wheels:
    """`packages` are all that are locked, by name, each with its one wheel. `fetch` is how to get
    wheels that are to be unpacked, and those that are, for what is made for one environment."""

    def __init__(
        self,
        root: Path,
        python: str,
        packages: Mapping[str, PythonPackage],
        entries: Path,
        fetch: tuple[FetchWheels, FetchWheels],
        overlaps: Sequence[Overlap],
    ) -> None:
        self._root = root
        self._python = python
        self._packages = packages
        self._entries = entries
        self._fetch, self._again = fetch
        self._overlaps = overlaps
        self._prefix = Prefix(root=str(root).lstrip("/"), python=python)
        self._unpacked: dict[str, Unpacked] = {}
        self._own: dict[str, Mapping[str, Node]] = {}
        self._left: dict[str, frozenset[str]] = {}
        self._shared: dict[str, frozenset[str]] = {}
        self._prepared: tuple[frozenset[str], frozenset[str]] | None = None

    def prepare(
        self, names: Iterable[str], there: Mapping[str, Installed], reporter: Reporter
    ) -> frozenset[str]:
        """Unpack `names`. Answers the packages to install: these, and others that have a path in
        common with them. `there` is what is installed."""
        wanted = set(names)
        if self._prepared is not None and self._prepared[0] == wanted:
            return self._prepared[1]
        asked = frozenset(wanted)
        if wanted:
            reporter.step(f"installing {len(wanted)} package{'' if len(wanted) == 1 else 's'}")
        self._unpack(wanted)
        claims: dict[str, list[str]] = {}
        for name in sorted(self._packages):
            for path in self._claimed(name, wanted, there):
                claims.setdefault(path, []).append(name)
        disputed = {path: owners for path, owners in claims.items() if len(owners) > 1}
        owners = {name for names in disputed.values() for name in names}
        wanted |= owners
        self._unpack(wanted)
        own = {name for name in wanted if self._unpacked[name].has_own} | owners
        files = self._fetched(own, self._again)
        if disputed:
            self._decide(disputed, owners, files)
        for name in sorted(own):
            nodes = wheel_nodes(
                files[name],
                self._wheel(name).name,
                self._prefix,
                left_out={f"{self._prefix.root}/{path}" for path in self._left.get(name, ())},
            )
            self._own[name] = {self._below(node.path): node for node in nodes if is_own(node)}
        self._prepared = (asked, frozenset(wanted))
        return self._prepared[1]

    def paths(self, name: str) -> tuple[str, ...]:
        """Every path that `install` will write."""
        left = self._left.get(name, frozenset[str]())
        own = self._own.get(name, {})
        linked = (look.path for look in self._unpacked[name].files)
        return (*own, *(path for path in linked if path not in left and path not in own))

    def install(self, name: str, folder: Folder) -> Installed:
        own = self._own.get(name, {})
        tree = f"{self._unpacked[name].root}/"
        paths = self.paths(name)
        base = f"{self._root}/"
        # A link is the file itself, and looks as it does.
        there = {look.path: look for look in self._unpacked[name].files}
        looks = []
        for path in paths:
            node = own.get(path)
            if node is None and folder.link(tree + path, path):
                looks.append(there[path])
                continue
            if node is not None:
                assert isinstance(node.content, Stored)
                folder.write(path, node.content.data, node.mode)
            look = look_at(path, base + path)
            if look is not None:
                looks.append(look)
        wheel = self._wheel(name)
        return Installed(
            version=self._packages[name].version,
            wheel=wheel.name,
            sha256=wheel.hashes["sha256"],
            files=tuple(looks),
            shared=tuple(sorted(self._shared.get(name, ()))),
        )

    def _claimed(
        self, name: str, wanted: set[str], there: Mapping[str, Installed]
    ) -> Iterable[str]:
        if name in wanted:
            return (look.path for look in self._unpacked[name].files)
        installed = there[name]
        return {*(look.path for look in installed.files), *installed.shared}

    def _unpack(self, names: Iterable[str]) -> None:
        missing = []
        for name in sorted(names):
            if name in self._unpacked:
                continue
            found = find_unpacked(self._entries, self._wheel(name), self._python)
            if found is None:
                missing.append(name)
            else:
                self._unpacked[name] = found
        files = self._fetched(missing, self._fetch)

        def make(name: str) -> Unpacked:
            return unpack(self._entries, self._wheel(name), self._python, files[name])

        # The largest first: begun last, it would keep one core busy while the others have none.
        missing.sort(key=lambda name: -self._wheel(name).size)
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="mllock-unpack") as pool:
            self._unpacked |= zip(missing, pool.map(make, missing), strict=True)

    def _decide(
        self, disputed: Mapping[str, list[str]], owners: set[str], files: Mapping[str, Path]
    ) -> None:
        """Whose file is there: by the rules, else, of equal ones, the first package's."""
        every = [
            (name, wheel_nodes(files[name], self._wheel(name).name, self._prefix))
            for name in sorted(owners)
        ]
        # Rules that decide nothing were refused when the layers of this environment were made.
        by_rule = check_conflicts(every, self._overlaps, self._prefix, idle=True)
        left = {name: {self._below(path) for path in paths} for name, paths in by_rule.items()}
        for path, names in disputed.items():
            having = [name for name in names if path not in left.get(name, ())]
            for name in having[1:]:
                left.setdefault(name, set()).add(path)
            for name in names:
                self._shared[name] = self._shared.get(name, frozenset()) | {path}
        self._left = {name: frozenset(paths) for name, paths in left.items()}

    def _fetched(self, names: Iterable[str], fetch: FetchWheels) -> dict[str, Path]:
        packages = [self._packages[name] for name in sorted(names)]
        if not packages:
            return {}
        files = fetch(packages)
        return {package.name: files[package.wheels[0].name] for package in packages}

    def _wheel(self, name: str) -> Wheel:
        return self._packages[name].wheels[0]

    def _below(self, path: str) -> str:
        return path.removeprefix(f"{self._prefix.root}/")
