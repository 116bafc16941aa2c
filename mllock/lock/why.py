"""Why something is locked: chains from what the spec asks for down to it. Pure.

What a package needs is read from the locked files themselves (a wheel's METADATA, the control file
of a .deb), which were verified by their digests: the lock repeats none of it. See ADR 0082. One
chain, the shortest, is given for each thing that the spec asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from email.parser import BytesParser

from mllock.errors import ArchiveError
from mllock.lock.closure import WheelMetadata
from mllock.lock.debian.index import parse_relations
from mllock.lock.target import Target

__all__ = ["debian_chains", "python_chains"]

Steps = tuple[str, ...]
# What leads further: the words of it, and where it leads.
_Step = tuple[str, tuple[str, ...]]


def python_chains(
    requirements: Iterable[str], wheels: Mapping[str, WheelMetadata], target: Target, name: str
) -> tuple[Steps, ...]:
    """Requirements as they are written, each the reason for the next; the last one is for `name`.

    `wheels` are by normalised name. Raises ArchiveError if a requirement cannot be read.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    def step(text: str, extra: str) -> _Step | None:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            raise ArchiveError(f"the requirement {text!r} cannot be read: {reason}") from None
        if requirement.marker and not requirement.marker.evaluate(dict(target.markers(extra))):
            return None
        requirement.marker = None
        wanted = str(canonicalize_name(requirement.name))
        return str(requirement), (wanted, *(f"{wanted}[{e}]" for e in sorted(requirement.extras)))

    def needs(node: str) -> Iterator[_Step]:
        package, _, extra = node.removesuffix("]").partition("[")
        if package in wheels:
            found = (step(text, extra) for text in wheels[package].requires)
            yield from (item for item in found if item is not None)

    roots = (step(text, "") for text in requirements)
    return _chains((root for root in roots if root is not None), needs, name)


def debian_chains(
    roots: Iterable[Steps], controls: Mapping[str, bytes], name: str
) -> tuple[Steps, ...]:
    """Names of packages, each needed by the one before; `roots` end in a package, and may begin
    with who asks for it. `controls` are the control files of what is locked, by name."""
    needed: dict[str, list[str]] = {}
    provided: dict[str, set[str]] = {}
    for package, control in controls.items():
        fields = BytesParser().parsebytes(control, headersonly=True)
        texts = [str(fields[key]) for key in ("Pre-Depends", "Depends") if fields[key]]
        groups = parse_relations(", ".join(texts), package)
        needed[package] = [item.name for group in groups for item in group]
        for group in parse_relations(str(fields["Provides"] or ""), package):
            provided.setdefault(group[0].name, set()).add(package)

    def needs(node: str) -> Iterator[_Step]:
        for wanted in needed.get(node, ()):
            for package in sorted({wanted} & controls.keys() or provided.get(wanted, set())):
                yield package, (package,)

    found = []
    for root in roots:
        below = _chains([(root[-1], (root[-1],))], needs, name)
        found += [(*root[:-1], *chain) for chain in below]
    return tuple(found)


def _chains(
    roots: Iterable[_Step], needs: Callable[[str], Iterable[_Step]], name: str
) -> tuple[Steps, ...]:
    found = []
    for root in roots:
        chain = _shortest(root, needs, name)
        if chain is not None and chain not in found:
            found.append(chain)
    return tuple(found)


def _shortest(
    root: _Step, needs: Callable[[str], Iterable[_Step]], name: str
) -> tuple[str, ...] | None:
    words, nodes = root
    waiting: list[tuple[Steps, str]] = [((words,), node) for node in nodes]
    seen = set(nodes)
    for steps, node in waiting:
        if node.partition("[")[0] == name:
            return steps
        for more, leads in needs(node):
            fresh = [item for item in leads if item not in seen]
            seen.update(fresh)
            waiting += [((*steps, more), item) for item in fresh]
    return None
