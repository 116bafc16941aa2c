"""What maintainer scripts would have done, done here: by package, in a fixed order.

`mllock.lock.debian.scripts` has the other half: packages whose scripts are accepted because of an
effect here must be listed there, a test compares the two. Each effect says which script it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mllock.image.debian_accounts import apply_accounts
from mllock.image.debian_alternatives import apply_alternatives
from mllock.image.debian_ldcache import cache_above, ld_so_cache
from mllock.image.debian_tree import DebianTree
from mllock.lock.debian.scripts import Account, Alternative

__all__ = ["CACHE", "EFFECTS", "after_unpacking"]

CACHE = "etc/ld.so.cache"
USER = "mllock"
UID = 10001


def after_unpacking(
    tree: DebianTree,
    packages: frozenset[str],
    alternatives: Iterable[Alternative],
    accounts: Iterable[Account] = (),
    lower_cache: bytes | None = None,
) -> None:
    """Apply the effects of `packages`, then `accounts` and `alternatives`. `lower_cache` is the
    linker's cache of a base whose libraries are not at hand: what it lists stays listed."""
    for name, effect in EFFECTS.items():
        if name in packages:
            effect(tree)
    apply_accounts(tree, accounts)
    apply_alternatives(tree, alternatives)
    # libc-bin's trigger: ldconfig, after all libraries and alternatives are there.
    if lower_cache is not None:
        cache = cache_above(tree, lower_cache)
        if cache is not None:
            tree.file(CACHE, cache)
    elif tree.get("etc/ld.so.conf") is not None:
        tree.file(CACHE, ld_so_cache(tree))


def _base_files(tree: DebianTree) -> None:
    # postinst: install_from_default, install_directory, install_local_dir
    for name, path in (
        ("dot.profile", "root/.profile"),
        ("dot.bashrc", "root/.bashrc"),
        ("profile", "etc/profile"),
        ("motd", "etc/motd"),
    ):
        data = tree.read(f"usr/share/base-files/{name}")
        if data is not None:
            tree.file(path, data)
    for path in ("mnt", "srv", "opt", "etc/opt", "var/opt", "media"):
        tree.folder(path)
    tree.folder("var/mail", 0o2775, gid=8)
    tree.link("var/spool/mail", "../mail")
    for path in ("bin", "etc", "games", "include", "lib", "sbin", "share", "share/man", "src"):
        tree.folder(f"usr/local/{path}")
    tree.link("usr/local/man", "share/man")
    tree.link("etc/dpkg/origins/default", "debian")
    tree.folder("tmp", 0o1777)
    tree.folder("dev")
    tree.folder("proc")
    tree.folder("sys")


def _base_passwd(tree: DebianTree) -> None:
    # preinst and postinst: the masters are copied; and the user that images run as.
    passwd = tree.read("usr/share/base-passwd/passwd.master") or b""
    group = tree.read("usr/share/base-passwd/group.master") or b""
    user = f"{USER}:*:{UID}:{UID}:{USER}:/tmp:/usr/sbin/nologin\n"
    tree.file("etc/passwd", passwd + user.encode())
    tree.file("etc/group", group + f"{USER}:*:{UID}:\n".encode())


def _ca_certificates(tree: DebianTree) -> None:
    # postinst runs update-ca-certificates: the bundle is all of Mozilla's certificates, by name.
    folder = "usr/share/ca-certificates/mozilla"
    names = [path for path in tree.under(folder) if path.endswith(".crt")]
    bundle = b"".join((tree.read(path) or b"").rstrip(b"\n") + b"\n" for path in names)
    tree.file("etc/ssl/certs/ca-certificates.crt", bundle)
    listed = "".join(f"mozilla/{path.rpartition('/')[2]}\n" for path in names)
    tree.file("etc/ca-certificates.conf", listed.encode())
    tree.folder("usr/local/share/ca-certificates")


def _debianutils(tree: DebianTree) -> None:
    # postinst: /etc/shells from the default, then update-shells adds those of shells.d.
    shells = (tree.read("usr/share/debianutils/shells") or b"").decode()
    for path in tree.under("usr/share/debianutils/shells.d"):
        for shell in (tree.read(path) or b"").decode().splitlines():
            if shell and shell not in shells.splitlines():
                shells += shell + "\n"
    tree.file("etc/shells", shells.encode())


def _copy(source: str, path: str) -> Callable[[DebianTree], None]:
    def effect(tree: DebianTree) -> None:
        data = tree.read(source)
        if data is not None:
            tree.file(path, data)

    return effect


def _tzdata(tree: DebianTree) -> None:
    # postinst: debconf's default answer.
    tree.link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
    tree.file("etc/timezone", b"Etc/UTC\n")


def _odbcinst(tree: DebianTree) -> None:
    # postinst: touch /etc/odbcinst.ini
    if tree.get("etc/odbcinst.ini") is None:
        tree.file("etc/odbcinst.ini", b"")


EFFECTS: dict[str, Callable[[DebianTree], None]] = {
    "base-files": _base_files,
    "base-passwd": _base_passwd,
    "ca-certificates": _ca_certificates,
    "debianutils": _debianutils,
    "libc-bin": _copy("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
    "readline-common": _copy("usr/share/readline/inputrc", "etc/inputrc"),
    "tzdata": _tzdata,
    "unixodbc-common": _odbcinst,
}
