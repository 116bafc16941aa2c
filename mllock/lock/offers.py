"""Wheels that a chooser found for what it chose, as the indexes state them: uv's answer, read.

Nothing of a wheel is seen here: name, sha256 and size are the index's word, and may be a lie.
Whoever fetches the bytes compares (`mllock.lock.locked`), and nothing is installed
before that. What is not stated, or cannot be one of ours, is left out, and such a wheel has to be
downloaded to be locked. URLs are read for the name of the file and go no further. See ADR 0103.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mllock.errors import ResolutionError
from mllock.lock.types import PythonPackage, Wheel

__all__ = ["Offer", "Offers", "fitting_offers", "locked_offer", "offer_in", "offers_in"]

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """One wheel of an index: the name of its file, and what is stated of its bytes."""

    file: str
    sha256: str
    # Of an index that does not say, the bytes do.
    size: int | None
    # The chooser would install it: that it was yanked is out of the question.
    chosen: bool = False


# By normalised name and version.
Offers = Mapping[tuple[str, str], tuple[Offer, ...]]


def offers_in(text: str) -> tuple[Offers, tuple[str, ...]]:
    """What a PEP 751 document of one resolution offers of packages in indexes; and the names of
    those that it has from elsewhere. Raises ResolutionError if it is no such document."""
    import tomllib

    try:
        packages = tomllib.loads(text).get("packages", [])
        offers = {
            (item["name"], item["version"]): tuple(
                offer for wheel in item["wheels"] if (offer := offer_in(wheel)) is not None
            )
            for item in packages
            if "wheels" in item
        }
        return offers, tuple(item["name"] for item in packages if "wheels" not in item)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResolutionError(
            "uv's answer cannot be understood",
            expected="a document as PEP 751 has it",
            found=f"{type(error).__name__}: {error}"[:300],
            hint="this version of mllock may be too old for the uv that is installed",
        ) from None


def fitting_offers(
    name: str, version: str, offers: Iterable[Offer], rank: Mapping[str, int]
) -> tuple[Offer, ...]:
    """The wheels of this version that an installer with these `ranks` could take: the best one, as
    pip weighs them, first."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import Version

    wanted = Version(version)
    found: list[tuple[tuple[int, tuple[int, str]], Offer]] = []
    for offer in sorted(offers, key=lambda item: item.file):
        try:
            project, is_version, build, tags = parse_wheel_filename(offer.file)
        except InvalidWheelFilename:
            continue
        place = min((rank[str(tag)] for tag in tags if str(tag) in rank), default=None)
        if place is None or str(project) != name or is_version != wanted:
            continue
        found.append(((-place, build or (-1, "")), offer))
    # Stable: of equals, the first by name.
    return tuple(offer for _, offer in sorted(found, key=lambda item: item[0], reverse=True))


def locked_offer(name: str, version: str, offer: Offer) -> PythonPackage:
    """What is locked of an offer that has a size."""
    assert offer.size is not None
    wheel = Wheel(
        name=offer.file,
        path=f"wheels/{offer.file}",
        size=offer.size,
        hashes={"sha256": offer.sha256},
    )
    return PythonPackage(name=name, version=version, wheels=(wheel,))


def offer_in(wheel: Mapping[str, Any]) -> Offer | None:
    """What a row of a document says of a wheel; None if it is none that can be locked."""
    place = str(wheel.get("url") or wheel.get("path") or "")
    file = str(wheel.get("name") or unquote(urlsplit(place).path).rpartition("/")[2])
    digest = wheel.get("hashes", {}).get("sha256")
    if not _FILE.fullmatch(file) or not _SHA256.fullmatch(str(digest)):
        return None
    size = wheel.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        size = _size_here(place)
    return Offer(file=file, sha256=str(digest), size=size)


def _size_here(place: str) -> int | None:
    """The size of a file of this machine."""
    parts = urlsplit(place)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return None
    if not parts.path.startswith("/"):
        return None
    try:
        found = os.stat(Path(unquote(parts.path)))
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
