"""Accounts that packages make for themselves, in /etc/passwd and /etc/group.

Numbers are the first that are free from 100 on, as adduser(8) has it, in the order of packages by
name; so the same packages above the same base give the same numbers. What is there stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from mllock.errors import ArchiveError
from mllock.image.debian_tree import DebianTree
from mllock.lock.debian.scripts import Account

__all__ = ["apply_accounts"]

_PASSWD, _GROUP = "etc/passwd", "etc/group"
_FIRST, _LAST = 100, 999
_NOGROUP = 65534


def apply_accounts(tree: DebianTree, accounts: Iterable[Account]) -> None:
    """Add what is not there yet. Raises ArchiveError if the tree has no accounts to add to."""
    wanted = tuple(accounts)
    if not wanted:
        return
    users, groups = _lines(tree, _PASSWD), _lines(tree, _GROUP)
    before = (list(users), list(groups))
    for account in wanted:
        if account.kind == "group":
            _add_group(groups, account.name)
        elif account.kind == "member":
            _join(groups, account.name, account.member_of or "")
        elif _number(users, account.name) is None:
            _add_user(tree, users, groups, account)
    for path, old, new in zip((_PASSWD, _GROUP), before, (users, groups), strict=True):
        if new != old:
            tree.file(path, "".join(f"{line}\n" for line in new).encode())


def _lines(tree: DebianTree, path: str) -> list[str]:
    data = tree.read(path)
    if data is None:
        raise ArchiveError(
            "a package makes an account, and the base has no file of them", file=path
        )
    return data.decode("utf-8", "surrogateescape").splitlines()


def _number(lines: list[str], name: str) -> int | None:
    """The number of a user or group; -1 if the line has none."""
    for line in lines:
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2]) if len(fields) > 2 and fields[2].isdigit() else -1
    return None


def _free(*files: list[str]) -> int:
    taken = {fields[2] for lines in files for line in lines if len(fields := line.split(":")) > 2}
    return next(number for number in range(_FIRST, _LAST + 1) if str(number) not in taken)


def _add_group(groups: list[str], name: str) -> None:
    if _number(groups, name) is None:
        groups.append(f"{name}:*:{_free(groups)}:")


def _join(groups: list[str], user: str, group: str) -> None:
    for at, line in enumerate(groups):
        fields = line.split(":")
        if fields[0] == group and len(fields) == 4:
            members = [name for name in fields[3].split(",") if name]
            if user not in members:
                groups[at] = ":".join([*fields[:3], ",".join([*members, user])])


def _add_user(tree: DebianTree, users: list[str], groups: list[str], account: Account) -> None:
    uid = _free(users)
    gid = _NOGROUP if account.group is None else _number(groups, account.group)
    if gid is None:
        raise ArchiveError(
            "a package makes a user of a group that is not there",
            file=_GROUP,
            key=account.name,
            found=account.group,
        )
    fields = (account.name, "*", str(uid), str(gid), account.gecos, account.home, account.shell)
    users.append(":".join(fields))
    if account.make_home:
        tree.folder(account.home.lstrip("/"), 0o755, gid=gid, uid=uid)
