"""Wheels that have a path in common: the same bytes may meet, others need a rule, or are refused.

A rule (`[environment] overlaps`) speaks where two packages install different files at one path: the
file of `keep` stays, those of the others are left out of the tree and of their RECORD. Files
without a conflict, and what is in a dist-info folder, no rule touches. A rule that decides nothing
is an error, for it says something about these wheels that is not so; so are two rules that decide
differently. The answer depends on no order: not of rules, not of packages. Specified in
docs/reference/builder-format.md. Reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mllock.core.digest import sha256_of
from mllock.core.globs import compile_globs, escape
from mllock.errors import ArchiveError, SpecError
from mllock.image.tree import Deflated, Node, Packed, Stored
from mllock.image.wheel import PREFIX, Prefix
from mllock.spec.types import Overlap

__all__ = ["FRAME", "LeftOut", "Owned", "check_conflicts"]

# The owner of what is not a package's: the links to the base's Python, pyvenv.cfg.
FRAME = "the virtual environment"

# (owner, nodes)
Owned = Sequence[tuple[str, Sequence[Node]]]
# Package -> paths of its files that stay out, sorted; only packages that lose one.
LeftOut = Mapping[str, tuple[str, ...]]


def check_conflicts(
    owned: Owned,
    rules: Sequence[Overlap] = (),
    prefix: Prefix = PREFIX,
    *,
    idle: bool = False,
) -> LeftOut:
    """What `rules` leave out, over all Python layers.

    Raises ArchiveError that names both packages, the path and the rule that would decide; SpecError
    for a rule that decides nothing, unless it may be `idle` here: in a lock for several platforms
    it may be there for the wheels of another one.
    """
    losers, unused = _losers(owned, rules, prefix)
    if unused and not idle:
        raise _decides_nothing(unused[0])
    _refuse_files_above_files(owned, losers, prefix)
    return {owner: tuple(sorted(paths)) for owner, paths in sorted(losers.items())}


def _losers(
    owned: Owned, rules: Sequence[Overlap], prefix: Prefix
) -> tuple[dict[str, set[str]], list[Overlap]]:
    """Paths by the owner who loses them, and rules that decided about none."""
    disputed = _disputed(owned)
    matches = [compile_globs([rule.path]) for rule in rules]
    decisive = [False] * len(rules)
    losers: dict[str, set[str]] = {}
    for path, claims in disputed.items():
        spoken = _spoken(path, prefix)
        here = [
            index
            for index, rule in enumerate(rules)
            if spoken and rule.keep in claims and FRAME not in claims and matches[index](spoken)
        ]
        kept = sorted({rules[index].keep for index in here})
        if not kept:
            raise _undecided(path, disputed, prefix)
        if len(kept) > 1:
            raise SpecError(
                f"two rules decide about {spoken}: one keeps that of {kept[0]}, one that of "
                f"{kept[1]}",
                file="mlproject.toml",
                key="environment.overlaps",
                hint="make one of the two patterns narrower",
            )
        for index in here:
            decisive[index] = True
        for owner, node in claims.items():
            if not _same(node, claims[kept[0]]):
                losers.setdefault(owner, set()).add(path)
    unused = [rule for rule, used in zip(rules, decisive, strict=True) if not used]
    return losers, unused


def _decides_nothing(rule: Overlap) -> SpecError:
    return SpecError(
        f"{rule.keep} has no file that another package installs with different bytes and "
        "that this pattern matches",
        file="mlproject.toml",
        key="environment.overlaps",
        found=_line(rule.path, rule.keep),
        hint="leave it out, or correct it",
    )


def _disputed(owned: Owned) -> dict[str, dict[str, Node]]:
    """Path -> owner -> node, where not all are the same; in the order of paths."""
    first: dict[str, tuple[str, Node]] = {}
    shared: dict[str, dict[str, Node]] = {}
    for owner, nodes in owned:
        for node in nodes:
            other = first.setdefault(node.path, (owner, node))
            if other[1] is not node:
                shared.setdefault(node.path, dict([other]))[owner] = node
    return {
        path: claims
        for path, claims in sorted(shared.items())
        if not all(_same(node, next(iter(claims.values()))) for node in claims.values())
    }


def _spoken(path: str, prefix: Prefix) -> str | None:
    """What a pattern is held against: the path in site-packages, else in the environment."""
    in_site = path.removeprefix(f"{prefix.site}/")
    if in_site == path:
        return path.removeprefix(f"{prefix.root}/")
    # Metadata say what is installed: a package's own are never another one's.
    return None if in_site.split("/", 1)[0].endswith(".dist-info") else in_site


def _undecided(
    path: str, disputed: Mapping[str, Mapping[str, Node]], prefix: Prefix
) -> ArchiveError:
    one, other, *_ = disputed[path]
    if FRAME in (one, other) or _spoken(path, prefix) is None:
        return _conflict(one, other, _shown(path, prefix), "with different bytes")
    between = [
        spoken
        for place, claims in disputed.items()
        if one in claims and other in claims and (spoken := _spoken(place, prefix))
    ]
    lines = ", ".join(_line(pattern, one) for pattern in _patterns(between))
    return ArchiveError(
        f"{one} and {other} both install this path, with different bytes",
        key=_shown(path, prefix),
        hint=f"say whose file stays, {one}'s or {other}'s, in [environment] of mlproject.toml: "
        f"overlaps = [{lines}]",
    )


def _patterns(paths: Sequence[str]) -> list[str]:
    """One pattern for each top folder: a file's own, or of all that is in the folder."""
    tops: dict[str, list[str]] = {}
    for path in paths:
        tops.setdefault(path.split("/", 1)[0], []).append(path)
    return [
        escape(found[0]) if len(found) == 1 else f"{escape(top)}/**"
        for top, found in sorted(tops.items())
    ]


def _line(path: str, keep: str) -> str:
    quoted = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{ path = "{quoted}", keep = "{keep}" }}'


def _shown(path: str, prefix: Prefix) -> str:
    """As in an image, also of an environment on the host: it is the same one."""
    return f"{PREFIX.root}/{path.removeprefix(f'{prefix.root}/')}"


def _refuse_files_above_files(owned: Owned, losers: Mapping[str, set[str]], prefix: Prefix) -> None:
    """Raises ArchiveError where one package has a file and another one a folder."""
    owners: dict[str, tuple[str, Node]] = {}
    for owner, nodes in owned:
        gone = losers.get(owner, frozenset[str]())
        for node in nodes:
            if node.path not in gone:
                owners.setdefault(node.path, (owner, node))
    for path, (owner, _) in owners.items():
        at = path.rfind("/")
        while at > 0:
            above = owners.get(path[:at])
            if above is not None and above[1].kind != "folder":
                raise _conflict(
                    above[0], owner, _shown(path[:at], prefix), "as a file and as a folder"
                )
            at = path.rfind("/", 0, at)


def _conflict(first: str, second: str, path: str, how: str) -> ArchiveError:
    return ArchiveError(
        f"{first} and {second} both install this path, {how}",
        key=path,
        hint="leave one of the two out of [environment] dependencies",
    )


def _same(one: Node, other: Node) -> bool:
    if one.kind != other.kind or one.target != other.target:
        return False
    return one.kind != "file" or _digest(one) == _digest(other)


def _digest(node: Node) -> str | None:
    match node.content:
        case Deflated() | Packed() as content:
            return content.digest
        case Stored(data):
            return sha256_of(data)
    raise AssertionError(node.path)
