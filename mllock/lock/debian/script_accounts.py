"""`adduser --system` and `addgroup --system` of maintainer scripts, read and not run.

adduser(8), of Debian: only literal names, only accounts of the system, whose number is chosen by
whoever makes them (`mllock.image.debian_accounts`). Making an account that is there changes
nothing, so it does not matter whether a script asks first. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Account", "accounts"]

_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._+-]+)+|/")
_GECOS = re.compile(r"[^:\n,=]{0,80}")
_FLAGS = frozenset(
    (
        "--allow-all-names",
        "--allow-bad-names",
        "--allow-badname",
        "--disabled-login",
        "--disabled-password",
        "--force-badname",
        "--quiet",
        "--system",
    )
)
_NO_SHELL = "/usr/sbin/nologin"
_NOWHERE = "/nonexistent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A group, or a user with its primary group; `member_of`, a group that `name` joins.

    `group` is the primary group of a user: None is nogroup. `make_home` is whether `home` is made.
    """

    kind: str
    name: str
    group: str | None = None
    gecos: str = ""
    home: str = _NOWHERE
    make_home: bool = False
    shell: str = _NO_SHELL
    member_of: str | None = None


def accounts(command: str, values: Sequence[str | None]) -> tuple[Account, ...] | None:
    """What `adduser` or `addgroup` with these arguments makes; None if that is not known."""
    options: dict[str, str] = {}
    flags: set[str] = set()
    names: list[str] = []
    left = list(values)
    while left:
        word = left.pop(0)
        if word is None:
            return None
        option, equals, value = word.partition("=")
        if option in ("--home", "--shell", "--gecos", "--comment", "--ingroup"):
            given = value if equals else left.pop(0) if left else None
            if given is None:
                return None
            options[{"--comment": "--gecos"}.get(option, option)] = given
        elif word in _FLAGS or word in ("--group", "--no-create-home"):
            flags.add(word)
        elif word.startswith("-"):
            return None
        else:
            names.append(word)
    if not all(_NAME.fullmatch(name) for name in names):
        return None
    if len(names) == 2 and not options and flags <= {"--quiet", "--system"}:
        return (Account(kind="member", name=names[0], member_of=names[1]),)
    if len(names) != 1 or "--system" not in flags:
        return None
    if command == "addgroup":
        return None if options else (Account(kind="group", name=names[0]),)
    return _user(names[0], options, flags)


def _user(name: str, options: dict[str, str], flags: set[str]) -> tuple[Account, ...] | None:
    home = options.get("--home", _NOWHERE)
    shell = options.get("--shell", _NO_SHELL)
    gecos = options.get("--gecos", "")
    group = options.get("--ingroup")
    if not _PATH.fullmatch(home) or not _PATH.fullmatch(shell) or not _GECOS.fullmatch(gecos):
        return None
    if "--group" in flags:
        if group is not None:
            return None
        group = name
    elif group is not None and not _NAME.fullmatch(group):
        return None
    user = Account(
        kind="user",
        name=name,
        group=group,
        gecos=gecos,
        home=home,
        make_home="--no-create-home" not in flags and home not in (_NOWHERE, "/"),
        shell=shell,
    )
    own = (Account(kind="group", name=name),) if group == name else ()
    return (*own, user)
