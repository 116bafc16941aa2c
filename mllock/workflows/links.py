"""Where the spec's `find-links` are on this machine.

The lock does not say: it holds no path. So whoever has to bring a locked wheel back asks the spec
that lies beside it; what comes is believed by its hash alone. A folder has to be there when
versions are chosen, and need not be later: the wheels may be in the cache, or in an index by now.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mllock.errors import InputError
from mllock.spec.links import is_page
from mllock.spec.reader import load_spec
from mllock.spec.requirements import declared
from mllock.workflows.context import Context

__all__ = ["absolute_links", "spec_links"]


def absolute_links(project: Path, links: Sequence[str]) -> tuple[str, ...]:
    """Pages as they are, folders as file:// URLs. Raises InputError for one that is not there."""
    for link in links:
        problem = None if is_page(link) else _problem(Path(os.path.realpath(project)), link)
        if problem is not None:
            raise InputError(
                problem, file="mlproject.toml", key="environment.find-links", found=f'"{link}"'
            )
    return _urls(project, links)


def spec_links(ctx: Context) -> tuple[str, ...]:
    """Those that are there now. Raises SpecError."""
    loaded = load_spec(ctx.project / "mlproject.toml")
    root = Path(os.path.realpath(ctx.project))
    links = declared(ctx.project, loaded).find_links
    return _urls(ctx.project, [x for x in links if is_page(x) or _problem(root, x) is None])


def _urls(project: Path, links: Sequence[str]) -> tuple[str, ...]:
    root = project.absolute()
    return tuple(link if is_page(link) else (root / link).as_uri() for link in links)


def _problem(root: Path, name: str) -> str | None:
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(root):
        return "this folder is outside of the project"
    if not path.exists():
        return "no such folder"
    return None if path.is_dir() else "not a folder"
