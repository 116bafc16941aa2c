"""Relative places in pip's settings: from the folder that the caller is in, as pip takes them.

pip and uv run in a scratch folder, where the same words would name nothing, silently: a pip.conf
that is not there is no error, and its private index would be replaced by the default one. A value
of a file is taken as one of a variable is: pip knows no folder of a file. Nothing is read here but
whether an index is a folder. Law: what is absolute stays as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["as_variables", "placed", "rooted"]

# Variables that name a file or a folder, for pip, for requests, and for OpenSSL.
_FILES = (
    "PIP_CONFIG_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NETRC",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
)
_LISTS = ("SSL_CERT_DIR", "XDG_CONFIG_DIRS")
# Settings of pip's that are one path, and those that are words of which some may be.
_PATHS = ("cert", "client-cert", "cache-dir")
_WORDS = ("find-links", "index-url", "extra-index-url")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# What pip, or uv, would take for the end of a word.
_ENDS = re.compile(r"[\s,]")


def rooted(environ: Mapping[str, str], here: Path) -> dict[str, str]:
    """`environ`, its relative names of files taken from `here`."""
    found = dict(environ)
    for name in _FILES:
        parts = found.get(name, "").split(os.pathsep) if name in _LISTS else [found.get(name, "")]
        if any(parts):
            found[name] = os.pathsep.join(_joined(part, here) for part in parts if part)
    return found


def placed(settings: Mapping[str, str], here: Path, home: str) -> dict[str, str]:
    """`settings` of pip's (`mllock.lock.pip_conf`), all places in them absolute."""
    found = dict(settings)
    for name in _PATHS:
        if name in found:
            found[name] = _joined(_expanded(found[name], home), here)
    for name in _WORDS:
        if name in found:
            words = found[name].split()
            # Without a scheme, an index is a folder, or a mistake that pip is to name.
            found[name] = " ".join(_place(word, here, home, name == "find-links") for word in words)
    return found


def as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """The places of `settings` for the environment of pip: stronger than its files."""
    names = (name for name in (*_PATHS, *_WORDS) if name in settings)
    return {f"PIP_{name.upper().replace('-', '_')}": settings[name] for name in names}


def _place(word: str, here: Path, home: str, certain: bool) -> str:
    if _SCHEME.match(word):
        return word
    path = _expanded(word, home)
    path = _joined(path if path == word or os.path.exists(path) else word, here)
    if path == word or not (certain or os.path.exists(path)):
        return word
    return Path(path).as_uri() if _ENDS.search(path) else path


def _joined(path: str, here: Path) -> str:
    return path if path.startswith("~") else os.path.join(here, path)


def _expanded(path: str, home: str) -> str:
    return os.path.join(home, path[2:]) if path.startswith("~/") else path
