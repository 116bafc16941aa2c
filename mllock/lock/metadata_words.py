"""What pip says where it cannot read a wheel's METADATA, as an error that names the wheel. Pure.

Not for what is wrong with indexes (`mllock.lock.index_words`): for pip, a requirement that it
cannot parse is a version to pass over, and a marker that it cannot evaluate an error of its own;
both look like something else. uv mends some of them and passes over others, so they come out when
the wheels come.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from mllock.errors import ArchiveError, MllockError

__all__ = ["unreadable"]

_INVALID = re.compile(
    r"^ *(?:WARNING: )?Requested (?P<what>\S+) from (?P<url>\S+?)(?: \(from [^\n]*\))? has invalid "
    r"metadata: (?P<reason>[^\n]*)\n(?:(?P<text> +\S[^\n]*)\n(?: +[~^]+ *\n))?",
    re.MULTILINE,
)
_MARKER = re.compile(r"^pip\._vendor\.packaging\.markers\.(?P<reason>\w+: [^\n]*)$", re.MULTILINE)
# The last one before it is the wheel that it was about.
_WHEEL = re.compile(r"([^\s\"/]+\.whl)(?:\.metadata)?(?=[\s\"#]|$)", re.MULTILINE)
_UNSATISFIED = re.compile(
    r"Could not find a version that satisfies the requirement (?P<requirement>.+?) \(from"
)
_ASKS = "has a requirement that pip cannot read"


def unreadable(text: str) -> MllockError | None:
    """The error that `text`, the output of a pip that failed, amounts to, if it is that."""
    marker = _MARKER.search(text)
    if marker is not None:
        wheels = _WHEEL.findall(text, 0, marker.start())
        return _error(_ASKS, wheels[-1] if wheels else None, marker["reason"])
    unsatisfied = _UNSATISFIED.search(text)
    if unsatisfied is None:
        return None
    # The newest comes first.
    for match in _INVALID.finditer(text):
        file = urlsplit(match["url"]).path.rpartition("/")[2]
        if _would_do(unquote(file), unsatisfied["requirement"]):
            requirement = (match["text"] or "").strip()
            said = f"{_ASKS}: {requirement[:200]}" if requirement else _ASKS
            return _error(said, file, match["reason"])
    return None


def _would_do(file: str, text: str) -> bool:
    """Whether the wheel is of a version that is asked for."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

    try:
        requirement = Requirement(text)
        name, version, _, _ = parse_wheel_filename(file)
    except (InvalidRequirement, InvalidWheelFilename):
        return False
    same = canonicalize_name(requirement.name) == name
    return same and requirement.specifier.contains(version, prereleases=True)


def _error(said: str, file: str | None, reason: str) -> MllockError:
    return ArchiveError(
        said,
        file=None if file is None else unquote(file),
        expected="one as PEP 508 has it",
        found=reason[:200],
        hint="ask for another version, and tell those who made this one",
    )
