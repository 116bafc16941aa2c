"""Commands and scripts of packages that are accepted, each with its reason. Data only.

An entry says that the effect is made by `mllock.image.debian_effects` ("done"), that an image does
not miss it ("not needed"), or what is missing, which `mllock lock` prints ("missing"). "*" accepts
a script as a whole; otherwise the script is followed and only the named commands are accepted in
addition to HARMLESS.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["HARMLESS", "TABLE", "Accepted", "notes"]


@dataclass(frozen=True, slots=True)
class Accepted:
    commands: tuple[str, ...]
    kind: Literal["done", "not needed", "missing"]
    reason: str


# Commands that leave nothing behind that an image would miss, whoever calls them.
HARMLESS: dict[str, str] = {
    ".": "only debconf's confmodule is sourced by maintainer scripts",
    ":": "does nothing",
    "basename": "prints",
    "break": "control flow",
    "cat": "prints",
    "cd": "changes nothing",
    "cmp": "compares",
    "command": "asks for a command",
    "continue": "control flow",
    "cut": "prints",
    "deb-systemd-helper": "enables units; an image has no init",
    "deb-systemd-invoke": "starts units; an image has no init",
    "dirname": "prints",
    "dpkg": "asks: `mllock.lock.debian.scripts` accepts no other action",
    "dpkg-maintscript-helper": "acts on files of older versions only",
    "dpkg-query": "asks",
    "dpkg-trigger": "asks another package's postinst, which is judged itself",
    "echo": "prints",
    "egrep": "prints",
    "export": "sets a variable",
    "false": "does nothing",
    "getent": "asks",
    "grep": "prints",
    "gtk-update-icon-cache": "icons of desktops",
    "head": "prints",
    "id": "asks",
    "invoke-rc.d": "starts services; an image has no init",
    "ldconfig": "done: the cache of the dynamic linker is made for the whole tree",
    "local": "sets a variable",
    "ls": "prints",
    "printf": "prints",
    "pypy3clean": "removes bytecode",
    "pypy3compile": "bytecode for PyPy",
    "py3clean": "removes bytecode",
    "py3compile": "bytecode of Debian's own Python modules only makes their start faster",
    "readlink": "asks",
    "readonly": "sets a variable",
    "set": "sets options of the shell",
    "shift": "changes arguments",
    "stat": "asks",
    "systemctl": "an image has no init",
    "systemd-tmpfiles": "makes folders at boot; an image has no init",
    "tr": "prints",
    "true": "does nothing",
    "umask": "sets a variable",
    "uname": "asks",
    "unset": "sets a variable",
    "update-desktop-database": "menus of desktops",
    "update-icon-caches": "icons of desktops",
    "update-menus": "menus of window managers",
    "update-mime": "programs that desktops open files with",
    "update-rc.d": "enables services; an image has no init",
    "which": "asks for a command",
}

_DONE: Literal["done"] = "done"
_NOT: Literal["not needed"] = "not needed"
_MISSING: Literal["missing"] = "missing"
_BYTECODE = "compiles the standard library: bytecode is a layer of its own"

TABLE: dict[tuple[str, str], Accepted] = {
    ("base-files", "postinst"): Accepted(("*",), _DONE, "folders, /etc/profile, /root"),
    ("base-files", "preinst"): Accepted(("*",), _NOT, "checks that /usr is merged"),
    ("base-passwd", "postinst"): Accepted(("*",), _DONE, "/etc/passwd and /etc/group"),
    ("base-passwd", "preinst"): Accepted(("*",), _DONE, "/etc/passwd and /etc/group"),
    ("bash", "postinst"): Accepted(
        ("add-shell", "ln"), _NOT, "/bin/sh is dash's; /etc/shells is for logins"
    ),
    ("bash", "preinst"): Accepted(("*",), _NOT, "/bin/sh is dash's"),
    ("ca-certificates", "postinst"): Accepted(("*",), _DONE, "the bundle of certificates"),
    ("coreutils", "postinst"): Accepted(("ln",), _NOT, "/usr/bin/touch, where /usr is not merged"),
    ("dash", "postinst"): Accepted(("*",), _NOT, "diverts /bin/sh, which dash itself ships"),
    ("debianutils", "postinst"): Accepted(("cp", "update-shells"), _DONE, "/etc/shells"),
    ("fontconfig", "postinst"): Accepted(
        ("*",), _NOT, "a cache that programs also make themselves"
    ),
    ("fontconfig-config", "postinst"): Accepted(
        ("*",), _MISSING, "fontconfig's choice of hinting for screens is its built-in one"
    ),
    ("gawk", "postinst"): Accepted(("rm",), _NOT, "a stale link of older versions"),
    ("gcc", "postinst"): Accepted(("rm",), _NOT, "a stale alternative of older versions"),
    ("gzip", "postinst"): Accepted(("dpkg-divert",), _NOT, "diversions for zutils"),
    ("gzip", "preinst"): Accepted(("dpkg-divert",), _NOT, "diversions for zutils"),
    ("iproute2", "postinst"): Accepted(
        ("getcap", "setcap"), _MISSING, "ip has no capabilities: only root may change networks"
    ),
    ("libasound2-dev", "preinst"): Accepted(("rm",), _NOT, "a link of older versions"),
    ("hicolor-icon-theme", "postinst"): Accepted(("*",), _NOT, "icons of desktops"),
    ("libgdk-pixbuf-2.0-0", "postinst"): Accepted(
        ("*",), _MISSING, "gdk-pixbuf finds only the image formats that are built in"
    ),
    ("libglib2.0-0", "postinst"): Accepted(
        ("*",), _MISSING, "GSettings schemas of desktop programs are not compiled"
    ),
    ("libglib2.0-0t64", "postinst"): Accepted(
        ("*",), _MISSING, "GSettings schemas of desktop programs are not compiled"
    ),
    ("libglib2.0-0t64", "preinst"): Accepted(("*",), _NOT, "a script of an older package"),
    ("libgstreamer1.0-0", "postinst"): Accepted(
        ("chmod", "setcap"), _MISSING, "gst-ptp-helper has no capabilities"
    ),
    ("libibverbs1", "postinst"): Accepted(
        ("addgroup",), _MISSING, "the group rdma, which may use InfiniBand devices, is not made"
    ),
    ("libopenblas-openmp-dev", "postinst"): Accepted(("mkdir",), _NOT, "an empty folder"),
    ("libopenblas-pthread-dev", "postinst"): Accepted(("mkdir",), _NOT, "an empty folder"),
    ("libopenblas-serial-dev", "postinst"): Accepted(("mkdir",), _NOT, "an empty folder"),
    ("libpam0g", "postinst"): Accepted(("*",), _NOT, "restarts services after an upgrade"),
    ("libpam-modules", "postinst"): Accepted(
        ("touch",), _NOT, "an empty list of old passwords; nobody logs in"
    ),
    ("libpaper1", "postinst"): Accepted(
        ("*",), _MISSING, "no default paper size is set: programs use A4"
    ),
    ("libreadline8t64", "preinst"): Accepted(
        ("dpkg-divert",), _NOT, "protects files of an older version"
    ),
    ("libselinux1", "postinst"): Accepted(("rm",), _NOT, "files of older versions"),
    ("libtirpc3t64", "preinst"): Accepted(
        ("dpkg-divert",), _NOT, "protects files of an older version"
    ),
    ("libsensors5", "preinst"): Accepted(("rm", "ucf"), _NOT, "a file of older versions"),
    ("locales", "postinst"): Accepted(
        ("*",), _MISSING, "no locale is made: there are C, C.UTF-8 and POSIX"
    ),
    ("login.defs", "postinst"): Accepted(("*",), _NOT, "a file of older versions"),
    ("libssl1.1", "postinst"): Accepted(("*",), _NOT, "restarts services after an upgrade"),
    ("mariadb-common", "postinst"): Accepted(
        ("*",), _MISSING, "/etc/mysql/my.cnf does not lead to mariadb.cnf"
    ),
    ("openssh-client", "postinst"): Accepted(
        ("chgrp", "chmod", "dpkg-statoverride"),
        _NOT,
        "ssh-agent is setgid: such bits are dropped from every file",
    ),
    ("passwd", "postinst"): Accepted(
        ("*",), _NOT, "the group shadow, which base-passwd has; /etc/shadow: nobody logs in"
    ),
    ("pkgconf-bin", "postinst"): Accepted(("install",), _NOT, "an empty folder"),
    ("libqt5core5a", "postinst"): Accepted(("rmdir",), _NOT, "a folder of older versions"),
    ("libqt5core5t64", "postinst"): Accepted(("rmdir",), _NOT, "a folder of older versions"),
    ("python3", "postinst"): Accepted(("*",), _NOT, "compiles modules again after an upgrade"),
    ("python3", "preinst"): Accepted(("rm",), _NOT, "documentation of older versions"),
    ("python3-distutils", "postinst"): Accepted(("*",), _NOT, _BYTECODE),
    ("python3-lib2to3", "postinst"): Accepted(("*",), _NOT, _BYTECODE),
    ("procps", "postinst"): Accepted(("*",), _NOT, "files and alternatives of older versions"),
    ("shared-mime-info", "postinst"): Accepted(
        ("*",), _MISSING, "desktop programs do not know the types of files"
    ),
    ("tmux", "postinst"): Accepted(("add-shell",), _NOT, "/etc/shells is for logins"),
    ("unixodbc-common", "postinst"): Accepted(("touch",), _DONE, "an empty /etc/odbcinst.ini"),
    ("xz-utils", "postinst"): Accepted(
        ("*",), _MISSING, "the names of the older lzma tools, e.g. unlzma, are not linked"
    ),
    ("libc-bin", "postinst"): Accepted(("*",), _DONE, "/etc/nsswitch.conf; ldconfig"),
    ("libc6", "postinst"): Accepted(("*",), _NOT, "restarts services after an upgrade"),
    ("libc6", "preinst"): Accepted(("*",), _NOT, "asks before an upgrade; checks the kernel"),
    ("mysql-common", "postinst"): Accepted(
        ("*",), _MISSING, "there is no /etc/mysql/my.cnf: clients have their built-in settings"
    ),
    ("netbase", "postinst"): Accepted(("*",), _NOT, "/etc/hosts is written by the engine"),
    ("openssl", "postinst"): Accepted(("ln",), _NOT, "/usr/lib/ssl, which the package ships"),
    ("readline-common", "postinst"): Accepted(("cp",), _DONE, "/etc/inputrc"),
    ("tzdata", "postinst"): Accepted(("*",), _DONE, "/etc/localtime and /etc/timezone: UTC"),
}
for _major in ("13", "15", "17"):
    TABLE[(f"postgresql-client-{_major}", "postinst")] = Accepted(
        ("*",), _NOT, "links of manual pages"
    )
for _minor in ("3.9", "3.11", "3.13"):
    TABLE[(f"libpython{_minor}-minimal", "postinst")] = Accepted(("*",), _NOT, "prints a line")
    TABLE[(f"python{_minor}", "postinst")] = Accepted(("*",), _NOT, _BYTECODE)
    TABLE[(f"python{_minor}-venv", "postinst")] = Accepted(("*",), _NOT, _BYTECODE)
    TABLE[(f"python{_minor}-minimal", "postinst")] = Accepted(("*",), _NOT, _BYTECODE)
    TABLE[(f"python{_minor}-minimal", "preinst")] = Accepted(
        ("*",), _NOT, "a mark for the postinst"
    )


def notes(packages: Iterable[str]) -> tuple[str, ...]:
    """What is missing in an image because no script is run, one line for each package."""
    return tuple(
        f"{name}: {TABLE[(name, script)].reason}"
        for name in sorted(packages)
        for script in ("preinst", "postinst")
        if (name, script) in TABLE and TABLE[(name, script)].kind == _MISSING
    )
