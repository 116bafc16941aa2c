"""Passwords taken out of what pip and uv say: those that they were given, and what looks like one.

Known are those of the variables and settings that a process has: of each URL what stands before the
last "@", as pip and urllib read it, and as whoever wrote it may have meant it, with a "/", "?" or
"#" that should have been quoted; and those of netrc. Of the keyring nothing is known here: pip and
uv do not repeat what they get from there. Pure but for reading netrc. Short passwords are hidden
where they stand in a URL and not elsewhere: they are parts of words and of versions.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

__all__ = ["hidden"]

_ANY = re.compile(r"(?<=://)[^/\s]*@")
# Of several, with commas between them, each.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<rest>(?:(?!,[A-Za-z][\w+.-]*:)\S)+)")
_ENDS = re.compile(r"[/?#\\]")
# What cannot be a user, or a user and a part of a password.
_HOST = re.compile(r"(?:[\w-]+(?:\.[\w-]+)+|localhost|\[[0-9a-fA-F:.]+\])(?::\d+)?")
# Variables and settings that pip and uv look at, of which they may tell.
_READ = re.compile(r"(?i)(?:pip|uv)_.*|.*_proxy|proxy|(?:extra-)?index-url|find-links")
_SECRET_NAME = re.compile(r"(?i).*_(?:password|token)")
# Shorter ones are not looked for by themselves.
_LONG = 6
_STARS = "***"
# As it was written, as it is, and as Python and uv write it in a URL.
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    unquote,
    lambda text: quote(unquote(text), safe=""),
    lambda text: quote(unquote(text), safe="!$&'()*+,~"),
)


def hidden(text: str, *given: Mapping[str, str]) -> str:
    """`text` of a process that was given these variables and settings, without their secrets."""
    whole: set[str] = set()
    alone: set[str] = set()
    for name, value in (item for part in given for item in part.items()):
        if _SECRET_NAME.fullmatch(name):
            alone |= _long(_spelled(value))
        for match in _URL.finditer(value) if _READ.fullmatch(name) else ():
            for user in _users(match["rest"]):
                who, colon, password = user.partition(":")
                whole |= {f"{f(who)}{colon}{f(password)}@" for f in _SPELLINGS} | {f"{user}@"}
                alone |= _long(_spelled(password or who))
                alone.add(base64.b64encode(unquote(user).encode()).decode())
                if end := _ENDS.search(user):  # read as another host and path, and so told
                    alone.update(re.split(r"[/?#\\@:]", password or who))
                    whole.add(f"{user[end.start() :]}@")
    for part in given:
        alone |= _long(spelling for word in _netrc(part) for spelling in _spelled(word))
    # The longest first: one may be a part of another.
    for secret in sorted(whole - {"@", ":@"}, key=len, reverse=True):
        text = text.replace(secret, "")
    text = _ANY.sub("", text)
    for secret in sorted(alone - {""}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _STARS, text)
    return text


def _users(rest: str) -> Iterator[str]:
    """What `rest`, a URL after its "://", has of users and passwords."""
    authority = _ENDS.split(rest, maxsplit=1)[0]
    user, _, host = authority.rpartition("@")
    if user:
        yield user
    # An index may have an "@" in its path, too.
    more, _, after = rest.rpartition("@")
    named = _ENDS.split(after, maxsplit=1)[0]
    if more and more != user and (not _HOST.fullmatch(host) or _HOST.fullmatch(named)):
        yield more


def _spelled(text: str) -> set[str]:
    return {spelling(text) for spelling in _SPELLINGS}


def _long(words: Iterable[str]) -> set[str]:
    return {word for word in words if len(word) >= _LONG}


def _netrc(environ: Mapping[str, str]) -> set[str]:
    """The passwords of the user's netrc, as requests and uv find it."""
    home = environ.get("HOME")
    path = environ.get("NETRC") or (home and os.path.join(home, ".netrc"))
    if not path or not os.path.isfile(path):
        return set()
    import netrc

    try:
        hosts = netrc.netrc(path).hosts.values()
    except (OSError, ValueError, netrc.NetrcParseError):  # nor do they read it then
        return set()
    return {password for _, _, password in hosts if password}
