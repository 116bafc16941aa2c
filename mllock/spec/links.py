"""`find-links`: folders of the project, and pages, that hold wheels. Pure.

Not for what comes from them (`mllock.lock.links`). A folder is named from the project and may lie
in no other place: a folder of one machine belongs into that machine's settings. What a folder is
called is not part of what a spec means, so that no path gets into the lock; that there is one is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from mllock.core import safepath

__all__ = ["FOLDER", "is_page", "link_problem", "meaning_of_links"]

FOLDER = "a folder of the project"

_PAGE = re.compile(r"https?://(?P<host>[^/?#\s]+)[^\s]*")
_NAMES = re.compile(r"\$\{\w+\}(:\$\{\w+\})?")


def is_page(link: str) -> bool:
    """Whether it is a URL, and not a folder."""
    return "://" in link or link.startswith("file:")


def link_problem(link: str) -> tuple[str, str | None, str | None] | None:
    """Why `link` can be neither, what may be shown of it, and what to do; None if it can."""
    if not is_page(link):
        plain = posixpath.normpath(link)
        if link.startswith(("/", "~")) or plain == ".." or plain.startswith("../"):
            return "a folder of one machine", link, _OF_THIS_MACHINE
        reason = safepath.problem(plain)
        return None if reason is None or plain == "." else (reason, link, None)
    if link.startswith("file:"):
        return "a folder of one machine", link, _OF_THIS_MACHINE
    page = _PAGE.fullmatch(link)
    if page is None:
        shown = None if "@" in link else link
        return "neither a folder of the project nor an https:// or http:// page", shown, None
    user = page["host"].rpartition("@")[0]
    if user and _NAMES.fullmatch(user) is None:
        return (
            "credentials in a URL",
            None,
            "put them in netrc, or write ${NAME} to take them from the environment",
        )
    return None


_OF_THIS_MACHINE = (
    "move it into the project; or name it in pip's settings: PIP_FIND_LINKS, find-links"
)


def meaning_of_links(links: Iterable[str]) -> list[str]:
    """What of them makes a lock stale: pages as they are written, folders without their names."""
    return sorted({link if is_page(link) else FOLDER for link in links})
