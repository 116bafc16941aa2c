"""Which of the wheels that an index states is locked, where that is not plain: pip is asked.

Order: a wheel that is locked stays. If its file is stated with other bytes, pip looks for the
locked ones in all indexes, whoever has them in the cache: else some would get an error and some
would not. One wheel that fits is the one. Of several, some may be yanked, which uv does not tell:
pip picks, from the same indexes, by metadata alone where the index has it (PEP 658). What nobody
can settle is left out, and comes by download. See ADR 0141.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mllock import processes
from mllock.core.digest import from_hex
from mllock.core.ports import Blobs
from mllock.errors import IntegrityError, ResolutionError
from mllock.lock.download import asking, by_index, download
from mllock.lock.links import link_lines
from mllock.lock.offers import Offer, Offers, fitting_offers, offer_in
from mllock.lock.pip import Pip, clean_environ, in_time, published_before
from mllock.lock.ports import PythonRequest
from mllock.lock.target import Target
from mllock.lock.types import PythonPackage

__all__ = ["Asked", "settle"]

_PICKS = "picks.txt"
# What pip.conf may say of installations, and nothing is installed.
_NO_INSTALLATION = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Whom to ask: `folder` is a scratch folder, the places are those of `request`."""

    pip: Pip
    folder: Path
    target: Target
    request: PythonRequest


def settle(
    names: Mapping[str, str],
    offers: Offers,
    known: Mapping[str, PythonPackage],
    blobs: Blobs,
    asked: Asked,
) -> dict[str, Offer]:
    """The wheel of each package of `names` (name -> version), as far as it can be told without
    its bytes; `known` are locked ones, by name. A size is missing where only bytes have it."""
    from mllock.lock.platforms import ranks

    rank = ranks(asked.target)
    found: dict[str, Offer] = {}
    several: dict[str, tuple[Offer, ...]] = {}
    for name, version in names.items():
        fitting = fitting_offers(name, version, offers.get((name, version), ()), rank)
        old = known.get(name)
        if old is not None and old.version == version and fitting:
            found[name] = _locked(old, fitting, blobs, asked)
        elif fitting and (len(fitting) == 1 or fitting[0].chosen):
            found[name] = fitting[0]
        elif fitting and all(item.size is not None for item in fitting):
            several[name] = fitting
    picks = _picks(asked, {name: names[name] for name in several}) if several else {}
    for name, fitting in several.items():
        pick = picks.get((name, names[name]))
        same = (item for item in fitting if pick and item.sha256 == pick.sha256)
        offer = next(same, pick)
        if offer is not None:
            found[name] = offer
    return {name: _measured(offer, blobs) for name, offer in found.items()}


def _locked(old: PythonPackage, fitting: Sequence[Offer], blobs: Blobs, asked: Asked) -> Offer:
    """The locked wheel, unless its file is stated with other bytes and nobody has these any more:
    then what is stated, for whoever compares."""
    wheel = old.wheels[0]
    locked = Offer(file=wheel.name, sha256=wheel.hashes["sha256"], size=wheel.size)
    stated = [item for item in fitting if item.file == locked.file]
    if not stated or any(item.sha256 == locked.sha256 for item in stated):
        return locked
    if _is_there(old, locked.sha256, blobs, asked):
        return locked
    return replace(stated[0], size=stated[0].size or locked.size)


def _is_there(old: PythonPackage, digest: str, blobs: Blobs, asked: Asked) -> bool:
    """Whether an index has the locked bytes; then they are in the cache. Raises OfflineError."""
    place = asked.folder / f"there-{old.name}"
    place.mkdir(exist_ok=True)
    line = f"{old.name}=={old.version} --hash=sha256:{digest}\n"
    options = ("--no-deps", "--require-hashes")
    request = asked.request
    try:
        download(
            *(asked.pip, place, asked.target, options, request.indexes, request.find_links),
            pins=[line],
        )
    except (IntegrityError, ResolutionError):
        return False
    for path in (place / "wheels").glob("*.whl"):
        blobs.put_file(path, expected=from_hex(digest), move=True)
    return True


def _picks(asked: Asked, names: Mapping[str, str]) -> dict[tuple[str, str], Offer]:
    """The wheels that pip would take for these versions, by name and version."""
    request, folder = asked.request, asked.folder
    found: dict[tuple[str, str], Offer] = {}
    # Exactly: == would take what has a local version as well.
    lines = [f"{name}==={version}" for name, version in sorted(names.items())]
    for index, texts in by_index(lines, request.indexes).items():
        head = link_lines(request.find_links) if index is None else []
        (folder / _PICKS).write_text("\n".join([*head, *texts, ""]))
        pip = asking(asked.pip, index, request.indexes, folder, request.find_links)
        found.update(_reported(pip, folder, asked.target, request.exclude_newer))
    return found


def _reported(
    pip: Pip, folder: Path, target: Target, before: str | None
) -> Iterator[tuple[tuple[str, str], Offer]]:
    """What pip says that it would install; nothing where it fails: a download says why."""
    temporary = folder.absolute() / "pip-tmp"
    temporary.mkdir(exist_ok=True)
    platforms = (item for tag in target.platform_tags for item in ("--platform", tag))
    with in_time("pip"):
        done = processes.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"),
                *("--report", "-", "--ignore-installed", "--no-deps", "--only-binary", ":all:"),
                *("--implementation", "cp", "--python-version", target.python, *platforms),
                *("--requirement", _PICKS, *published_before(before)),
            ],
            folder=folder,
            variables=clean_environ(pip.environ) | _NO_INSTALLATION | {"TMPDIR": str(temporary)},
            timeout=pip.limit,
        )
    if done.code == 0:
        yield from _read(done.output, pip.yanked)


def _read(
    report: bytes, yanked: MutableMapping[tuple[str, str], str]
) -> Iterator[tuple[tuple[str, str], Offer]]:
    """`yanked` is what uv said of versions: pip takes another file of them if there is one."""
    from packaging.utils import canonicalize_name

    try:
        items: list[Any] = json.loads(report)["install"]
        for item in items:
            about, came = item["metadata"], item["download_info"]
            offer = offer_in({"url": came["url"], "hashes": came["archive_info"]["hashes"]})
            key = str(canonicalize_name(about["name"])), str(about["version"])
            if item.get("is_yanked") is False:
                yanked.pop(key, None)
            if offer is not None:
                yield key, offer
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return


def _measured(offer: Offer, blobs: Blobs) -> Offer:
    """Of an index that does not say, the bytes have the size."""
    path = blobs.get(from_hex(offer.sha256)) if offer.size is None else None
    return offer if path is None else replace(offer, size=path.stat().st_size)
