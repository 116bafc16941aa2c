"""Two requirements of one package as the one that means both, where there is one.

pip takes both lines, and poetry export writes a package twice: with its extras, and without.
"""

from __future__ import annotations

from mllock.spec.direct import DIRECT
from mllock.spec.requirements import canonical, parts_of

__all__ = ["joined"]


def joined(one: str, other: str) -> str | None:
    """The one that means both, which are of one package and marker; None where one of two different
    ranges would have to be chosen. Law: the order of the two does not matter."""
    name, extras, first, marker = parts_of(one)
    _, more, second, _ = parts_of(other)
    wanted = first if not second or first == second else second if not first else None
    wanted = wanted or _exact_within(first, second) or _exact_within(second, first)
    if wanted is None and (first or second):
        return None
    both = sorted({*extras, *more})
    text = name + (f"[{','.join(both)}]" if both else "") + (wanted or "")
    space = " " if (wanted or "").startswith(DIRECT) else ""
    return canonical(f"{text}{space}; {marker}" if marker else text)


def _exact_within(exact: str, ranges: str) -> str | None:
    """`exact`, if it is one version that `ranges` allow."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    version = exact.removeprefix("==")
    if version == exact or not set(version).isdisjoint("=*,<>!~"):
        return None
    try:
        return exact if SpecifierSet(ranges).contains(version, prereleases=True) else None
    except InvalidSpecifier:  # a URL
        return None
