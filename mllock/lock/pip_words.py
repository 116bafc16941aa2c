"""What pip said when it could not, as errors of ours: one cause, the names, the way out.

Pure: `explain` reads the output of `pip download -vv`. This is the only use of pip's output; what
was resolved is read from files. If pip's words change, messages become less exact and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mllock.errors import MllockError, ResolutionError
from mllock.lock.index_words import broken, host, misnamed, no_list, unreachable
from mllock.lock.metadata_words import unreadable
from mllock.lock.near_names import installed_as
from mllock.lock.target import Target

__all__ = ["PRIVATE", "RequirementError", "explain", "in_the_way", "no_space"]

PRIVATE = "a private index is set in pip's settings, e.g. PIP_EXTRA_INDEX_URL"

_NO_VERSION = re.compile(
    r"Could not find a version that satisfies the requirement (?P<requirement>.+?)"
    r"(?: \(from (?P<source>(?!versions:).+?)\))? \(from versions: (?P<versions>.*)\)$",
    re.MULTILINE,
)
_SDIST = re.compile(r"Skipping link: No sources permitted for \S+: (?P<url>\S+)")
_TAGS = re.compile(r"Skipping link: none of the wheel's tags .*? are compatible .*?: (?P<url>\S+)")
_PYTHON = re.compile(
    r"Link requires a different Python \(.*? not in: '(?P<spec>.*?)'\): (?P<url>\S+)"
)
_NEWER = re.compile(r"Skipping link: Upload time .+? not prior to .+?: (?P<url>\S+)")
_UNDATED = re.compile(r"Index (?P<url>\S+) does not provide upload-time metadata")
_NEEDS_PYTHON = re.compile(
    r"Package '(?P<name>.*?)' requires a different Python: (?P<have>\S+) not in '(?P<spec>.*?)'"
)
_DISCARDED = re.compile(
    r"^Discarding ([A-Za-z0-9._-]+?)==.* to proceed the resolution$", re.MULTILINE
)
_CONFLICT = re.compile(r"^The conflict is caused by:\n(?P<lines>(?: {4}.*\n)+)", re.MULTILINE)
_DEPENDS = re.compile(r"(?P<who>\S+) (?P<version>\S+) depends on (?P<what>.+)")
_REQUESTED = re.compile(r" *The user requested (?P<constraint>\(constraint\) )?(?P<what>.+)")
_COLLECTING = re.compile(
    r"^ *Collecting (?P<name>[A-Za-z0-9._-]+).*? \(from (?P<chain>.*)\)$", re.MULTILINE
)
_REASONS = ((_SDIST, "sdist"), (_TAGS, "tags"), (_PYTHON, "python"), (_NEWER, "newer"))


class RequirementError(ResolutionError):
    """A ResolutionError about `names`."""

    # The name that no index has and that somebody typed; None if a package asks for it.
    unknown: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Skipped:
    """A file that the index has and that was not looked at."""

    file: str
    version: str
    why: str


def explain(text: str, target: Target) -> MllockError:
    """The error that `text`, the output of pip -vv that failed, amounts to."""
    return (
        _no_space(text)
        or _undated(text)
        or unreadable(text)
        or broken(text)
        or _no_version(text, target)
        or _conflict(text)
        or _python(text)
        or unreachable(text)
        or ResolutionError(
            "pip could not resolve the dependencies",
            found=_last_words(text),
            hint='see all that it says with "mllock -v lock"',
        )
    )


def in_the_way(text: str) -> frozenset[str]:
    """Packages that pip-compile's ResolutionImpossible names: what is asked for, and who asks; and
    those whose pins it gave up by itself, in vain."""
    names = set(_DISCARDED.findall(text))
    for line in text.splitlines():
        if "ResolutionImpossible: [" in line:
            names.update(re.findall(r"SpecifierRequirement\('([A-Za-z0-9._-]+)", line))
            askers = (unquote(url.rpartition("/")[2]) for url in re.findall(r"\S+\.whl", line))
            names.update(asker.partition("-")[0] for asker in askers)
            break
    return frozenset(map(_normal, names))


def _no_space(text: str) -> MllockError | None:
    return no_space() if "No space left on device" in text else None


def no_space() -> MllockError:
    """The disk that wheels are fetched to is full."""
    from mllock.errors import SurroundingsError

    return SurroundingsError(
        "cannot write: no space left on device while downloading wheels",
        hint="free some space, then run the same command again",
    )


def _undated(text: str) -> MllockError | None:
    match = _UNDATED.search(text)
    if match is None:
        return None
    name = match["url"].rstrip("/").rpartition("/")[2]
    error = RequirementError(
        f"the index does not say when it got the files of {name}: {host(match['url'])}",
        expected="upload times (PEP 700), because environment.exclude-newer is set",
        hint="use an index that has them, or leave out exclude-newer",
    )
    return _named(error, [name])


def _no_version(text: str, target: Target) -> MllockError | None:
    match = _NO_VERSION.search(text)
    if match is None:
        return None
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(match["requirement"])
    except InvalidRequirement:
        return None
    asked = f'"{requirement}"' + _asked_by(match["source"])
    skipped = [
        item
        for item in _skipped(text, requirement.name)
        if requirement.specifier.contains(item.version, prereleases=True)
    ]
    error = _only_others(requirement.name, asked, skipped, target)
    versions = [item for item in match["versions"].split(", ") if item != "none"]
    if error is None and (lie := misnamed(text, _normal(requirement.name))):
        return lie
    if error is None and versions:
        error = RequirementError(
            f"no version satisfies {asked}",
            found=_some(versions),
            hint="widen the version range",
        )
    if error is None:
        trouble = unreachable(text) or no_list(text, _normal(requirement.name))
        if trouble is not None:
            return trouble
        error = RequirementError(
            f"no package {requirement.name!r} in the index" + _asked_by(match["source"]),
            hint=f"check the spelling; {PRIVATE}",
        )
        error.unknown = None if _names_in(match["source"]) else _normal(requirement.name)
    source = _names_in(match["source"])
    above = [asker for name in source for asker in reversed(_askers(text).get(name, ()))]
    return _named(error, [requirement.name, *source, *above])


def _only_others(
    name: str, asked: str, skipped: Sequence[_Skipped], target: Target
) -> RequirementError | None:
    """Versions that would do exist, but not as a wheel that the image could use."""
    by_reason = {why: [item for item in skipped if item.why == why] for why in ("tags", "python")}
    for why, items in by_reason.items():
        if not items:
            continue
        newest = items[-1].version
        files = [item.file for item in items if item.version == newest]
        return RequirementError(
            f"no wheel for the image satisfies {asked}",
            expected=f"Python {target.minor}, {target.platform}, glibc {_dotted(target.glibc)}"
            if why == "tags"
            else f"Python {target.python}",
            found=_some(files),
            hint=f"ask for a version of {name} that has one, or take a base that can use these",
        )
    if newer := [item for item in skipped if item.why == "newer"]:
        return RequirementError(
            f"nothing that satisfies {asked} came before environment.exclude-newer",
            found=_some([item.file for item in newer]),
            hint="write a later time there, or widen the version range",
        )
    if skipped:
        other = installed_as(name)
        return RequirementError(
            f"{name} {skipped[-1].version} has no wheel, only a source distribution, {asked}",
            found=skipped[-1].file,
            hint=f'did you mean "{other}"?'
            if other
            else "ask for a version with a wheel; or build one (pip wheel --no-deps "
            f"{name}=={skipped[-1].version}) and put its folder in PIP_FIND_LINKS",
        )
    return None


def _conflict(text: str) -> MllockError | None:
    found = _CONFLICT.findall(text)
    if not found:
        return None
    askers = _askers(text)
    chains, names = [], list[str]()
    for line in found[-1].splitlines():
        user = _REQUESTED.match(line)
        depends = _DEPENDS.match(line.strip())
        if user:
            chain = ["a constraint" if user["constraint"] else "the spec", user["what"]]
            names += _names_in(user["what"])
        elif depends:
            who = depends["who"].partition("[")[0]
            before = askers.get(_normal(who), ())
            chain = ["the spec", *before, f"{depends['who']} {depends['version']}", depends["what"]]
            names += [*before[:1], who]
        else:
            continue
        chains.append(" -> ".join(chain))
    return _named(
        RequirementError(
            "the dependencies conflict",
            found=_first(tuple(dict.fromkeys(chains))),
            hint="widen one of these ranges, or remove one of the packages",
        ),
        names,
    )


def _askers(text: str) -> dict[str, tuple[str, ...]]:
    """Who wanted each package that pip looked at, from what the spec asks for downwards."""
    found: dict[str, tuple[str, ...]] = {}
    for match in _COLLECTING.finditer(text):
        chain = [name for part in match["chain"].split("->") for name in _names_in(part)]
        found.setdefault(_normal(match["name"]), tuple(reversed(chain)))
    return found


def _python(text: str) -> MllockError | None:
    match = _NEEDS_PYTHON.search(text)
    if match is None:
        return None
    askers = _askers(text).get(_normal(match["name"]), ())
    who = f", asked for by {askers[-1]}" if askers else ""
    error = RequirementError(
        f"{match['name']} does not run on the Python of the image{who}",
        expected=f"Python {match['spec']}",
        found=f"Python {match['have']}",
        hint=f"ask for another version of {match['name']}",
    )
    return _named(error, [match["name"], *reversed(askers)])


def _skipped(text: str, name: str) -> list[_Skipped]:
    """The skipped files of the project `name`, oldest version first."""
    from packaging.version import Version

    found = {
        _Skipped(file=file, version=version, why=why)
        for pattern, why in _REASONS
        for file, project, version in _files(match["url"] for match in pattern.finditer(text))
        if project == _normal(name)
    }
    return sorted(found, key=lambda item: (Version(item.version), item.file))


def _files(urls: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """File name, normalised project and version of each URL that is a distribution's."""
    from packaging.utils import (
        InvalidSdistFilename,
        InvalidWheelFilename,
        parse_sdist_filename,
        parse_wheel_filename,
    )

    for url in urls:
        file = unquote(urlsplit(url).path.rpartition("/")[2])
        try:
            if file.endswith(".whl"):
                name, version, _, _ = parse_wheel_filename(file)
            else:
                name, version = parse_sdist_filename(file)
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
        yield file, str(name), str(version)


def _asked_by(source: str | None) -> str:
    names = _names_in(source)
    return f", asked for by {names[0]}" if names else ""


def _names_in(source: str | None) -> list[str]:
    """Package names in pip's "from needsrc" or "from alpha>=2->-r in.txt (line 1)"."""
    if not source or source.startswith("-"):
        return []
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", source)
    return [_normal(match[0])] if match else []


def _named(error: RequirementError, names: Iterable[str]) -> RequirementError:
    error.names = tuple(dict.fromkeys(_normal(name) for name in names))
    return error


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _some(values: Sequence[str], limit: int = 5) -> str:
    """The last ones: of versions, the newest."""
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(values[-limit:]) + more


def _first(sentences: Sequence[str], limit: int = 4) -> str:
    """The first ones: pip tells the newest candidates, and what the spec asks for, first."""
    more = [f"and {len(sentences) - limit} more"] if len(sentences) > limit else []
    return "\n       ".join([*sentences[:limit], *more])


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _last_words(text: str) -> str | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return next(reversed(errors or lines), None)
