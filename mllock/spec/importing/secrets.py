"""Credentials in files of other tools: found, so that nothing repeats them.

Broad on purpose: a harmless word that is taken for a secret costs a line of typing, a password
that is written into mlproject.toml costs more.
"""

from __future__ import annotations

import re

__all__ = ["is_secret_name", "one_line", "reveals", "without_credentials"]

MAX_SHOWN = 160
MAX_READ = 2000
MAX_SEARCHED = 64 * 1024

# user:password@ of a URL, and its query, which often is a token. ssh's "git@" goes with them.
_USER = re.compile(r"(?<=://)[^/\s\"'<>]*@")
# user:password@host without a scheme; not NAME:TAG@sha256:...
_BARE = re.compile(r"(?<![\w:/@.-])[\w.+-]+:[^\s/@:\"'<>]+@(?!sha256:)(?=[A-Za-z0-9])")
_QUERY = re.compile(r"(://[^\s\"'<>?]{0,500})\?[^\s\"'<>]*")
_NAME = (
    r"(?:pass(?:word|wd|phrase)|secret|token|credentials?"
    r"|(?:api|access|private|account|auth)[_-]?key)"
)
# NAME=value, NAME: value, --name value; not "tokenizers==0.15".
_ASSIGNED = re.compile(
    rf"(?i)((?<![a-z]){_NAME}s?(?:[_-]\w{{1,50}})?(?:\s*=(?!=)|:)\s*|(?<![\w-])--?(?:[\w-]{{0,40}}-)?{_NAME}\s+)"
    r"(?!\*\*\*|[$\s])(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)"
)
_KNOWN = re.compile(
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}"
    r"|AKIA[0-9A-Z]{16}|sk-[\w-]{20,}|xox[abps]-[\w-]{10,}|pypi-[\w-]{20,}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"
)
# What else says that a secret follows; the first group stays.
_SAID = tuple(
    re.compile(text)
    for text in (
        # The token of a channel of conda: https://HOST/t/TOKEN/CHANNEL.
        r"(://[^\s\"'<>]{1,500}?/t/)(?!\*\*\*)[^/\s\"'<>]+",
        r"(?i)(\bauthorization\s*[:=]\s*(?:(?:bearer|basic|token|digest)\s+)?+)(?!\*\*\*|\$)[^\s\"']+",
        r"(?i)(\bbearer\s+)(?!\*\*\*|\$)[^\s\"']{6,}",
        # curl -u NAME:PASSWORD; not docker's -u UID:GID.
        r"(?i)((?<![\w-])(?:-u|--(?:proxy-|http-)?user)[\s=]\s*[\"']?)(?!\d+:\d+\b)[^\s:\"'$=]+:[^\s\"']+",
        r"(?i)(\blogin\s+\S{1,200}\s+password\s+)(?!\*\*\*|\$)[^\s\"']+",
        # docker login -p PASSWORD, sshpass -p PASSWORD.
        r"(?i)(\b(?:login|sshpass)\b[^\n]{0,200}?\s-p[\s=]\s*[\"']?)(?!\*\*\*|\$)[^\s\"']+",
        r"(?i)(\b\w{0,50}(?:secret_access_key|auth_?token)[\s=]\s*)(?!\*\*\*|[$=])[^\s\"']+",
    )
)
_SECRET_NAME = re.compile(rf"(?i)(?<![a-z]){_NAME}s?(?![a-z])|(?:^|_)(?:PASS|PWD|KEY)$")


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name usually holds a secret."""
    return _SECRET_NAME.search(name) is not None


def without_credentials(text: str) -> str:
    """`text` without what looks like one. Law: `f(f(text)) == f(text)`."""
    text = _BARE.sub("", _USER.sub("", text))
    text = _QUERY.sub(r"\1", text)
    text = _KNOWN.sub("***", text)
    for pattern in _SAID:
        text = pattern.sub(r"\1***", text)
    return _ASSIGNED.sub(r"\1***", text)


def reveals(text: str) -> bool:
    """Whether `text` holds what looks like a credential, or is too long to be looked through."""
    if len(text) > MAX_SEARCHED:
        return True
    return any(
        pattern.search(text) for pattern in (_USER, _BARE, _QUERY, _KNOWN, _ASSIGNED, *_SAID)
    )


def one_line(text: str) -> str:
    """Fit to be shown and to be written in a comment: no credentials, one line, not long."""
    cut = len(text) > MAX_READ
    plain = "".join(char if char.isprintable() else " " for char in text[:MAX_READ])
    plain = without_credentials(" ".join(plain.split()))
    if cut and len(plain) <= MAX_SHOWN:
        return "..."  # the cut may have gone through a credential
    return plain if len(plain) <= MAX_SHOWN else f"{plain[: MAX_SHOWN - 3]}..."
