"""Direct references (PEP 508, `NAME @ URL`): which ones a spec may hold, and what they name. Pure.

A wheel is taken as it is, by hash. An archive of sources and a repository have to be built, which
runs their code: only for packages that `[environment] builds` lists. A reference is of no machine
(no file:// and no path) and holds no credentials, only ${NAME}.

Law: `str(parse_reference(text)) == text`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

__all__ = ["DIRECT", "Reference", "parse_reference", "reference_in"]

# What stands between a name and its URL in a canonical requirement.
DIRECT = " @ "
ARCHIVES = (".tar.gz", ".zip")

Kind = Literal["wheel", "archive", "git"]

_URL = re.compile(r"(?P<vcs>git\+)?(?P<scheme>https?|ssh)://(?P<host>[^/?#\s]+)/[^?\s]*")
_NAMES = re.compile(r"\$\{\w+\}(:\$\{\w+\})?")
_LOGIN = re.compile(r"[A-Za-z0-9._-]+")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_PART = re.compile(r"(?P<key>sha256|subdirectory)=(?P<value>[^&]+)")
_SUBDIRECTORY = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_HOW = "https://.../NAME.whl, https://.../NAME.tar.gz or git+https://...@REVISION"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """`url` is without fragment, "git+" and revision; `text` is what was read. `revision` is a
    branch, a tag or a commit; None: what the repository calls HEAD."""

    text: str
    kind: Kind
    url: str
    revision: str | None = None
    subdirectory: str | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def file(self) -> str:
        """The file name that the URL ends in."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


def parse_reference(text: str) -> Reference:
    """Raises ValueError with the reason, which holds nothing of the URL."""
    plain, _, fragment = text.partition("#")
    match = _URL.fullmatch(plain)
    if match is None:
        if plain.startswith("file:") or "://" not in plain:
            raise ValueError("a file of one machine: put it into a folder that find-links names")
        raise ValueError(f"a URL of a kind that cannot be locked: expected {_HOW}")
    is_git, user = match["vcs"] is not None, match["host"].rpartition("@")[0]
    if match["scheme"] == "ssh" and not is_git:
        raise ValueError(f"a URL of a kind that cannot be locked: expected {_HOW}")
    allowed = _LOGIN if match["scheme"] == "ssh" else _NAMES
    if user and allowed.fullmatch(user) is None:
        raise ValueError("credentials in a URL: put them in netrc, or write ${NAME}")
    parts = _parts(fragment)
    digest = parts.get("sha256")
    if digest is not None and (is_git or re.fullmatch("[0-9a-f]{64}", digest) is None):
        raise ValueError("not a sha256, 64 hexadecimal digits, of a file")
    folder = parts.get("subdirectory")
    if folder is not None and (_SUBDIRECTORY.fullmatch(folder) is None or ".." in folder):
        raise ValueError("not a subdirectory")
    if is_git:
        url, revision = _revision(plain.removeprefix("git+"))
        return Reference(text=text, kind="git", url=url, revision=revision, subdirectory=folder)
    path = urlsplit(plain).path
    if path.endswith(".whl"):
        if folder is not None:
            raise ValueError("a wheel has no subdirectory")
        return Reference(text=text, kind="wheel", url=plain, sha256=digest)
    if path.endswith(ARCHIVES):
        return Reference(text=text, kind="archive", url=plain, subdirectory=folder, sha256=digest)
    raise ValueError(f"neither a wheel nor an archive of sources: expected {_HOW}")


def reference_in(requirement: str) -> tuple[str, Reference] | None:
    """The name and the reference of a canonical requirement, if it has one."""
    name, at, rest = requirement.partition(DIRECT)
    if not at:
        return None
    return name.partition("[")[0], parse_reference(rest.partition(" ; ")[0])


def _parts(fragment: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in fragment.split("&") if fragment else ():
        part = _PART.fullmatch(item)
        if part is None or part["key"] in found:
            raise ValueError("of what stands behind #, only sha256= and subdirectory= are read")
        found[part["key"]] = part["value"]
    return found


def _revision(url: str) -> tuple[str, str | None]:
    head, slash, path = url.partition("://")[2].partition("/")
    path, at, revision = path.partition("@")
    if at and (_REVISION.fullmatch(revision) is None or ".." in revision):
        raise ValueError("not a branch, a tag or a commit")
    scheme = url.partition("://")[0]
    return f"{scheme}://{head}{slash}{path}", revision or None
