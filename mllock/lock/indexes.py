"""Package indexes of the spec: which packages come from where, and with whose password. Pure.

An index that lists packages is asked for these and nothing else, and nothing else is asked for
them: not the default index, not pip's extra indexes, not its folders. An index without a list is
one more for all the other packages. User and password are ${NAME} in the URL until the moment a
child process is started; then they are in its environment, never among its arguments, because every
user of a machine can read those. netrc and keyring are pip's and uv's own affair. See ADR 0075.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from mllock.errors import InputError

__all__ = [
    "PackageIndex",
    "assigned",
    "bare_url",
    "credentials",
    "indexes_of",
    "pip_variables",
    "shared",
    "slips",
    "url_for",
    "uv_variables",
    "with_user",
]

_USER = re.compile(r"(?P<scheme>[a-z]+://)(?P<user>[^/?#]*)@(?P<rest>.*)", re.DOTALL)
_NAME = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageIndex:
    """`url` as the spec has it, with ${NAME} for secrets; `packages` are normalised names."""

    name: str
    url: str
    packages: tuple[str, ...] = ()


def indexes_of(environment: Mapping[str, Any]) -> tuple[PackageIndex, ...]:
    """Those of `[inputs.environment]` of a lock, or of what a spec means."""
    return tuple(
        PackageIndex(name=item["name"], url=item["url"], packages=tuple(item["packages"]))
        for item in environment.get("indexes", ())
    )


def assigned(indexes: Iterable[PackageIndex]) -> dict[str, PackageIndex]:
    """The only index of each package that has one."""
    return {name: index for index in indexes for name in index.packages}


def shared(indexes: Iterable[PackageIndex]) -> tuple[PackageIndex, ...]:
    """Those for every package that has no index of its own."""
    return tuple(index for index in indexes if not index.packages)


def slips(indexes: Iterable[PackageIndex], locked: Collection[str]) -> Iterator[str]:
    """Sentences about names in lists of packages that nothing locked has, where something nearly
    has them: that came from any index, and was to come from this one."""
    from mllock.spec.hints import near

    own = assigned(indexes)
    for name, index in sorted(own.items()):
        if name in locked:
            continue
        # A list may well have what is not needed here; a slip is one letter or two.
        guess = near(name, set(locked) - own.keys(), likeness=0.85)
        if guess is not None:
            yield (
                f'the index {index.name} is for "{name}", which is not locked: if "{guess}" is '
                "meant, that may have come from another index; see [[environment.indexes]]"
            )


def pip_variables(
    index: PackageIndex | None,
    indexes: Sequence[PackageIndex],
    environ: Mapping[str, str],
    settings: Mapping[str, str],
    nothing: str,
) -> dict[str, str]:
    """What pip has to have in its environment to ask `index` alone; None: to ask what is for all
    other packages. `settings` are pip's own (`mllock.lock.pip_conf`), `nothing` is an empty folder.

    Raises InputError if a variable that a URL names is not set.
    """
    if index is None:
        urls = [url_for(item, environ) for item in shared(indexes)]
        more = settings.get("extra-index-url", "")
        return {"PIP_EXTRA_INDEX_URL": " ".join([*urls, *more.split()])} if urls else {}
    url = url_for(index, environ)
    # Stronger than pip.conf, where an empty value would not be.
    return {
        "PIP_INDEX_URL": url,
        "PIP_EXTRA_INDEX_URL": url,
        "PIP_FIND_LINKS": nothing,
    }


def uv_variables(indexes: Iterable[PackageIndex], environ: Mapping[str, str]) -> dict[str, str]:
    """User and password of the indexes that uv is told by name, without them in the URL."""
    found = {}
    for index in indexes:
        user, password = credentials(index, environ)
        variable = f"UV_INDEX_{index.name.upper().replace('-', '_')}"
        if user:
            found[f"{variable}_USERNAME"] = user
        if password:
            found[f"{variable}_PASSWORD"] = password
    return found


def bare_url(index: PackageIndex) -> str:
    """Its URL without user and password: what may be written, and handed over."""
    match = _USER.fullmatch(index.url)
    return match["scheme"] + match["rest"] if match else index.url


def url_for(index: PackageIndex, environ: Mapping[str, str]) -> str:
    """Its URL with user and password in it: for the environment of a process only."""
    match = _USER.fullmatch(index.url)
    if match is None:
        return index.url
    user = ":".join(quote(item, safe="") for item in credentials(index, environ) if item)
    return f"{match['scheme']}{user}@{match['rest']}"


def with_user(index: PackageIndex, names: tuple[str, str]) -> str:
    """Its URL with other names of variables, for user and password, where it has some."""
    match = _USER.fullmatch(index.url)
    if match is None:
        return index.url
    count = match["user"].count(":") + 1
    user = ":".join(f"${{{name}}}" for name in names[:count])
    return f"{match['scheme']}{user}@{match['rest']}"


def credentials(index: PackageIndex, environ: Mapping[str, str]) -> tuple[str, str]:
    """User and password, "" where the URL has none. Raises InputError if one is not set."""
    match = _USER.fullmatch(index.url)
    user, _, password = match["user"].partition(":") if match else ("", "", "")
    return _value(index, user, environ), _value(index, password, environ)


def _value(index: PackageIndex, text: str, environ: Mapping[str, str]) -> str:
    match = _NAME.fullmatch(text)
    if match is None:
        return ""  # the spec allows nothing else there
    if not environ.get(match[1]):
        raise InputError(
            f"{match[1]} is not set in the environment",
            key="environment.indexes",
            found=f"the index {index.name} needs it: {index.url}",
            hint="set it, or leave user and password to netrc",
        )
    return environ[match[1]]
