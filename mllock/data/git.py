"""Asking git what it tracks, without letting the repository run anything of its own.

Reads only: no hooks, no fsmonitor, no index refresh written back. `Repository.of` is None where
there is no work tree; a git that refuses to answer is a DataError, and so is no git where it has
to decide what is code, because code must not silently be another set of files.
"""

from __future__ import annotations

import os
from pathlib import Path

from mllock import processes
from mllock.errors import DataError

__all__ = ["Repository"]

_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


class Repository:
    """The work tree that `project` is in. Paths are relative to `project`."""

    def __init__(self, project: Path) -> None:
        self._project = project

    @classmethod
    def of(cls, project: Path, *, decides: bool = True) -> Repository | None:
        """`decides`: whether what is tracked decides what is code; else git may be missing."""
        start = Path(os.path.realpath(project))
        if not any((folder / ".git").exists() for folder in (start, *start.parents)):
            return None
        repository = cls(project)
        try:
            repository._run("rev-parse", "--is-inside-work-tree")
        except FileNotFoundError:
            if not decides:
                return None
            raise DataError(
                "git decides what is code here, and there is no git program",
                file=".git",
                hint="install git, or list the files of the code in mlproject.toml",
            ) from None
        return repository

    def tracked(self) -> tuple[str, ...]:
        """The files in the index, those of checked-out submodules included."""
        return _names(self._run("ls-files", "-z", "--cached", "--recurse-submodules"))

    def commit(self) -> str | None:
        """The commit that is checked out; None if there is none yet."""
        try:
            return self._run("rev-parse", "--verify", "--quiet", "HEAD").decode("ascii").strip()
        except DataError:
            return None

    def commit_of(self, revision: str) -> str | None:
        """The commit that a person calls `revision`; None if there is no such one."""
        if revision.startswith("-"):
            return None
        try:
            found = self._run(
                *("rev-parse", "--verify", "--quiet", "--end-of-options"),
                f"{revision}^{{commit}}",
            )
        except DataError:
            return None
        return found.decode("ascii").strip()

    def blob(self, commit: str, path: str, *, max_bytes: int) -> bytes | None:
        """The file at `path` of the project in `commit` (its digits); None if it has none, or a
        larger one."""
        name = f"{commit}:./{path}"
        try:
            if int(self._run("cat-file", "-s", name)) > max_bytes:
                return None
            return self._run("cat-file", "blob", name)
        except DataError:
            return None

    def listing(self, commit: str, folder: str) -> dict[str, tuple[int, int]]:
        """Mode and size of the files below `folder` of the project in `commit`, by their paths
        below it."""
        try:
            found = self._run("ls-tree", "-r", "-z", "-l", commit, "--", f"{folder}/")
        except DataError:
            return {}
        out = {}
        for line in _names(found):
            # git-ls-tree(1), "Output format": a submodule has no size.
            facts, _, path = line.partition("\t")
            mode, _, _, size = facts.split()
            if size.isdigit():
                out[path.removeprefix(f"{folder}/")] = (int(mode, 8), int(size))
        return out

    def changed(self) -> frozenset[str]:
        """Tracked files that are not as in the commit: edited, added, removed, renamed."""
        names = _names(
            self._run(
                "diff",
                "--no-ext-diff",
                "--name-only",
                "-z",
                "--relative",
                "--no-renames",
                "HEAD",
                "--",
            )
        )
        return frozenset(names)

    def _run(self, *arguments: str) -> bytes:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        environ |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        result = processes.run(["git", *_SAFE, *arguments], folder=self._project, variables=environ)
        if result.code != 0:
            lines = result.errors.decode("utf-8", "replace").strip().splitlines()
            raise DataError(
                f"git {arguments[0]} failed: {lines[0] if lines else result.code}",
                file=".git",
                hint=f"run `git {arguments[0]}` here and follow what it says",
            )
        return result.output


def _names(output: bytes) -> tuple[str, ...]:
    # surrogateescape: a name that is not UTF-8 is refused later, by name.
    return tuple(output.decode("utf-8", "surrogateescape").split("\0")[:-1])
