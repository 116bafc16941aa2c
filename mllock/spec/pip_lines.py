"""Lines that pip reads in a requirements file and mllock does not: the way out of each. Pure.

Not for reading them (`mllock.spec.importing` does, for `mllock init --from`): every line that is
not read is an error, and here is what its author may write instead.
"""

from __future__ import annotations

import re

__all__ = ["instead_of_line", "instead_of_option"]

_URL = re.compile(r"(?P<url>(?:git\+)?(?:https?|ssh)://[^\s#]+)(?:#(?P<fragment>\S*))?")
_EGG = re.compile(r"(?:^|&)egg=(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)")
_FOLDER = re.compile(r"(?:^|&)subdirectory=(?P<folder>[^&]+)")
_PATH = re.compile(r"(?:\.{1,2}|~)?/\S*|\.{1,2}(?:\[.*\])?|\S+/\S*|\S+\.(?:whl|tar\.gz|zip)")

_INDEX = (
    "name it in [[environment.indexes]]; an index for all projects of this machine is said in "
    "pip's settings (PIP_INDEX_URL or pip.conf)"
)
_OWN = (
    'of the project\'s own package write requirements = ["pyproject.toml"] in [environment]: its '
    "code needs no installation; a wheel of another is put into a folder that find-links names"
)
_OPTIONS = {
    "--hash": "mlproject.lock holds the hashes; leave them out here",
    "--pre": 'name the pre-release that you mean, e.g. "NAME>=2.0rc1"',
    "--no-index": "say it in pip's settings (PIP_NO_INDEX or pip.conf)",
    "--no-binary": "wheels alone are locked; of sources by URL, mllock lock builds one: "
    "[environment] builds",
    "--only-binary": "leave it out: wheels alone are locked",
    "--prefer-binary": "leave it out: wheels alone are locked",
    "--require-hashes": "leave it out: mlproject.lock holds the hashes, and they are enforced",
    "--trusted-host": "say it in pip's settings (PIP_TRUSTED_HOST or pip.conf)",
}
_OPTIONS |= dict.fromkeys(("-i", "--index-url", "--extra-index-url"), _INDEX)
_OPTIONS |= dict.fromkeys(("-e", "--editable"), _OWN)


def instead_of_option(option: str, line: str) -> str | None:
    """For `line`, which has the `option` of pip's."""
    if option in ("-e", "--editable"):
        rest = re.sub(r"^(?:-e|--editable)[\s=]*", "", line)
        if _URL.fullmatch(rest):
            return instead_of_line(rest)
    return _OPTIONS.get(option)


def instead_of_line(line: str) -> str | None:
    """For `line`, which is not PEP 508."""
    url = _URL.fullmatch(line)
    if url is not None and "@" not in url["url"].partition("://")[2].partition("/")[0]:
        fragment = url["fragment"] or ""
        egg, folder = _EGG.search(fragment), _FOLDER.search(fragment)
        file = url["url"].rpartition("/")[2]
        plain = file.partition("-")[0] if file.endswith(".whl") else ""
        name = egg["name"] if egg else plain or "NAME"
        behind = f"#subdirectory={folder['folder']}" if folder else ""
        return f'write the name first: "{name} @ {url["url"]}{behind}"'
    if url is not None:
        return 'write the name first: "NAME @ URL"'
    return _OWN if _PATH.fullmatch(line) else None
