"""Direct references while resolving: their wheels come first, and the resolvers get files of them.

So either resolver takes the metadata of the very wheel, and no index is asked for its name. What
was locked, or built, is handed in (`DirectWheel`); any other wheel is downloaded here by pip, with
the tags of the target. Lines of ours that name a URL have variables of ours in the place of
secrets, as `mllock.lock.links` does. See ADR 0101.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mllock.core.offline import is_offline, not_here
from mllock.errors import IntegrityError, MllockError, OfflineError, ResolutionError
from mllock.lock.download import AGAIN, why_not
from mllock.lock.indexes import PackageIndex, credentials, with_user
from mllock.lock.pip import Pip
from mllock.lock.target import Target
from mllock.spec.direct import DIRECT, Reference, reference_in

__all__ = [
    "DirectWheel",
    "about",
    "fetch_direct",
    "gather",
    "localised",
    "locked_references",
    "references_for",
    "without_files",
]

_FOLDER = "direct"
_FILE = f"{DIRECT}file:"
_GONE = re.compile(r"because of HTTP error (?P<why>4\d\d [\w: ]+?) for url")
_OTHER = re.compile(r"Expected sha256 (?P<expected>[0-9a-f]{64})\s+Got\s+(?P<found>[0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectWheel:
    """The wheel of a direct reference: `file` is its name, `path` holds its bytes."""

    name: str
    file: str
    path: Path


def locked_references(environment: Mapping[str, Any], target: Target) -> dict[str, Reference]:
    """Those of `[inputs.environment]` of a lock. Raises ResolutionError."""
    texts = environment.get("dependencies")
    return references_for(map(str, texts if isinstance(texts, list | tuple) else ()), target)


def references_for(requirements: Iterable[str], target: Target) -> dict[str, Reference]:
    """The references, by normalised name, that hold on `target`. They may be of a lock that was
    forged. Raises ResolutionError."""
    from packaging.requirements import Requirement

    found: dict[str, Reference] = {}
    for text in requirements:
        if DIRECT not in text:
            continue
        try:
            named = reference_in(text)
            marker = Requirement(text).marker
        except ValueError as error:
            raise ResolutionError(f"not a requirement with a URL: {error}") from None
        assert named is not None
        if marker is not None and not marker.evaluate(dict(target.markers())):
            continue
        name, reference = named
        if found.setdefault(name, reference) != reference:
            raise ResolutionError(
                f"{name} comes from two URLs on {target.platform}",
                found=f"{found[name]} and {reference}",
                hint="write markers of which one at most holds on each platform",
            )
    return found


def gather(
    pip: Pip,
    folder: Path,
    target: Target,
    references: Mapping[str, Reference],
    known: Sequence[DirectWheel],
) -> dict[str, Path]:
    """A file for each of `references`, in a folder of their own within `folder`.

    Raises ResolutionError, OfflineError, IntegrityError.
    """
    place = folder / _FOLDER
    place.mkdir()
    found = {}
    for wheel in known:
        if wheel.name in references:
            found[wheel.name] = place / wheel.file
            _same_file(wheel.path, place / wheel.file)
    for name, reference in references.items():
        if name not in found:
            if is_offline(pip.environ):
                raise not_here([reference.file])
            path = _download(pip, folder, target, name, reference)
            found[name] = path.rename(place / path.name)
    return found


def _same_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        import shutil

        shutil.copyfile(source, target)


def _download(pip: Pip, folder: Path, target: Target, name: str, reference: Reference) -> Path:
    from packaging.utils import canonicalize_name, parse_wheel_filename

    if reference.kind != "wheel":
        raise ResolutionError(f"{name} has to be built", found=str(reference))
    _refuse_other_name(name, reference)
    (folder / "direct.txt").write_text(f"{_line(name, reference)}\n")
    variables = _variables(name, reference, pip.environ)
    pip = replace(pip, environ={**pip.environ, **variables})
    done = pip.download(folder, "direct.txt", target, ("--no-deps",))
    if done.code == 0:
        for path in (folder / "wheels").glob("*.whl"):
            if str(canonicalize_name(parse_wheel_filename(path.name)[0])) == name:
                return path
    raise _failure(pip, folder, target, name, reference)


def _refuse_other_name(name: str, reference: Reference) -> None:
    """What the file name says needs no download. Raises ResolutionError."""
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

    try:
        found = str(canonicalize_name(parse_wheel_filename(reference.file)[0]))
    except InvalidWheelFilename:
        raise about(
            name,
            ResolutionError(
                f"the URL of {name} does not end in the file name of a wheel",
                expected=f"e.g. {name.replace('-', '_')}-1.0-py3-none-any.whl",
                found=reference.file,
            ),
        ) from None
    if found != name:
        raise about(
            name,
            ResolutionError(
                f"the URL of {name} is that of another package",
                found=reference.file,
                hint=f'did you mean "{found} @ ..."?',
            ),
        )


def about(name: str, error: ResolutionError) -> ResolutionError:
    """The same error, for who can say where in the spec `name` stands (`mllock.lock.blame`)."""
    error.names = (name,)
    return error


def _failure(
    pip: Pip, folder: Path, target: Target, name: str, reference: Reference
) -> MllockError:
    again = pip.download(folder, "direct.txt", target, ("--no-deps", *AGAIN))
    other = _OTHER.search(again.text)
    if other is not None:
        asked = f"sha256={other['expected']}" in reference.text
        return IntegrityError(
            f"the URL of {name} serves other bytes than "
            + ("its #sha256= says" if asked else "those that are locked"),
            expected=f"sha256:{other['expected']}",
            found=f"sha256:{other['found']}",
            hint="find out which of both is right: a released wheel never changes"
            if asked
            else "find out why before you lock them anew: a released wheel never changes",
        )
    error = why_not(again.text, target, folder)
    if (gone := _GONE.search(again.text)) is not None:
        error = OfflineError(
            f"the URL of {name} is not served", expected=str(reference), found=gone["why"].lower()
        )
        error.hint = "check the URL; a file that has moved has another one"
    elif error.message.startswith("pip could not"):
        error.message = f"the wheel of {name} cannot be taken from its URL"
        error.hint = "check the URL, and that the wheel is for the Python and platform of the image"
    error.expected = error.expected or str(reference)
    return about(name, error) if isinstance(error, ResolutionError) else error


def fetch_direct(
    pip: Pip,
    folder: Path,
    target: Target,
    wheels: Mapping[str, tuple[str, str]],
    references: Mapping[str, Reference],
) -> dict[str, MllockError]:
    """Bring locked wheels (name -> version, sha256) that have a URL into `folder`/wheels.

    Why each of the others could not be taken from there: a URL is a hint, and the same bytes may
    be elsewhere by now. Raises IntegrityError for other bytes at the URL.
    """
    failures: dict[str, MllockError] = {}
    for name in sorted(wheels.keys() & references.keys()):
        reference = replace(references[name], sha256=wheels[name][1])
        if is_offline(pip.environ):
            failures[name] = not_here([reference.file])
            continue
        try:
            _download(pip, folder, target, name, reference)
        except (OfflineError, ResolutionError) as error:
            failures[name] = error
    return failures


def localised(requirements: Iterable[str], files: Mapping[str, Path]) -> tuple[str, ...]:
    """The same requirements, with the file in the place of the URL; those whose marker does not
    hold, and that have no file, are left out."""
    out = []
    for text in requirements:
        named = reference_in(text)
        if named is None:
            out.append(text)
        elif named[0] in files:
            head, _, rest = text.partition(DIRECT)
            marker = rest.partition(" ; ")[2]
            line = f"{head}{DIRECT}{files[named[0]].absolute().as_uri()}"
            out.append(f"{line} ; {marker}" if marker else line)
    return tuple(out)


def without_files(asked: Iterable[str], pins: str) -> str:
    """`pins` without the lines of those that `asked` names by files."""
    names = {text.partition("[")[0].partition(DIRECT)[0] for text in asked if _FILE in text}
    lines = pins.splitlines(keepends=True)
    return "".join(
        line for line in lines if line.partition("[")[0].partition(DIRECT)[0] not in names
    )


def _line(name: str, reference: Reference) -> str:
    """A line of a requirements file that names the wheel, without secrets."""
    page = PackageIndex(name=name, url=reference.url)
    digest = f"#sha256={reference.sha256}" if reference.sha256 else ""
    return f"{name}{DIRECT}{with_user(page, _names(name))}{digest}"


def _variables(name: str, reference: Reference, environ: Mapping[str, str]) -> dict[str, str]:
    """What has to be in the environment of whoever reads that line. Raises InputError."""
    values = credentials(PackageIndex(name=name, url=reference.url), environ)
    pairs = zip(_names(name), values, strict=True)
    return {key: quote(value, safe="") for key, value in pairs if value}


def _names(name: str) -> tuple[str, str]:
    stem = f"MLLOCK_DIRECT_{name.upper().replace('-', '_')}"
    return f"{stem}_USER", f"{stem}_PASSWORD"
