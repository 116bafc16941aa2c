"""`find-links` of the spec for pip and uv: more places for wheels, beside those of pip's settings.

Links are absolute: pages as the spec has them, with ${NAME} for secrets, or file:// of a folder.
pip reads them as lines of the files that it is given anyway; there a secret is the name of a
variable of ours, whose value is quoted as URLs need it and is in the environment of the child only.
A package that has an index of its own is not looked for there. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mllock.lock.indexes import PackageIndex, credentials, url_for, with_user

__all__ = ["for_uv", "link_lines", "link_variables", "local_links"]


def link_lines(links: Sequence[str]) -> list[str]:
    """Lines of a requirements file."""
    return [f"--find-links {with_user(_page(link), _names(n))}" for n, link in enumerate(links)]


def link_variables(links: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """What has to be in the environment of whoever reads these lines.

    Raises InputError if a variable that a URL names is not set.
    """
    from urllib.parse import quote

    found = {}
    for number, link in enumerate(links):
        values = credentials(_page(link), environ)
        for name, value in zip(_names(number), values, strict=True):
            if value:
                found[name] = quote(value, safe="")
    return found


def for_uv(links: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The places, with their secrets: for the environment of a process only."""
    return [url_for(_page(link), environ).replace(",", "%2C") for link in links]


def local_links(links: Sequence[str]) -> tuple[str, ...]:
    """Those that are on this machine."""
    return tuple(link for link in links if link.startswith("file:"))


def _page(link: str) -> PackageIndex:
    return PackageIndex(name="find-links", url=link)


def _names(number: int) -> tuple[str, str]:
    return f"MLLOCK_LINK_{number}_USER", f"MLLOCK_LINK_{number}_PASSWORD"
