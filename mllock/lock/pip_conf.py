"""pip's settings, read as pip reads them: files by rank, then variables. No process is started.

`pip config list` says the same, takes longer than uv does for a small project, and sorts by the
names of files what ranks otherwise; a test compares. Settings may hold passwords: they are told to
nobody and kept in no file. Order, weakest first: machine, user, environment of Python, the file
that PIP_CONFIG_FILE names; within that `[global]`, `[download]`, variables. Not for the settings of
other commands of pip's.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from mllock.errors import InputError, ResolutionError

__all__ = ["home_of", "is_set", "seconds", "settings_of"]

_FILE = "pip.conf"
# Two names that an option of pip's has.
_SAME = {"default-timeout": "timeout", "pypi-url": "index-url"}
_NOT_SETTINGS = ("version", "help")


def settings_of(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What holds for `pip download` run in `folder` with these variables, by the long name of each
    option; multi-line values are one line. Raises ResolutionError for a file that pip cannot read.
    """
    import configparser

    parts: dict[str, dict[str, str]] = {"global": {}, "download": {}}
    for path in _files(environ, folder):
        # pip begins its own names in this way, too.
        parser = configparser.RawConfigParser()
        parser.optionxform = _name  # type: ignore[method-assign,assignment] # as documented
        try:
            with open(path, encoding="utf-8") as file:
                parser.read_file(file, source=path)
        except OSError:  # not there, or not for this user: pip passes over it
            continue
        except UnicodeDecodeError:
            raise _unreadable(f"{path} is not UTF-8") from None
        except configparser.Error as error:
            raise _unreadable(" ".join(str(error).split())) from None
        for section, values in parts.items():
            if parser.has_section(section):
                values.update(parser.items(section))
    variables = {
        _name(key[4:]): value
        for key, value in environ.items()
        if key.startswith("PIP_") and key[4:].lower() not in _NOT_SETTINGS
    }
    return _plain(parts["global"]) | _plain(parts["download"]) | _plain(variables)


def is_set(value: str | None) -> bool:
    """Whether a setting of pip's means yes."""
    return (value or "").lower() in ("1", "true", "yes", "on", "t", "y")


def seconds(text: str) -> float:
    """The setting timeout. Raises InputError; pip itself would blame the index."""
    try:
        number = float(text)
    except ValueError:
        raise InputError("pip's setting timeout is not a number", found=text) from None
    if not math.isfinite(number):
        raise InputError(
            "pip's setting timeout is not a finite number",
            expected="seconds, as in PIP_TIMEOUT=60",
            found=text,
        )
    return number


def _files(environ: Mapping[str, str], folder: Path) -> Iterator[str]:
    """The files that pip looks for, weakest first."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    own = None if named is None else os.path.join(folder, named)
    shared = environ.get("XDG_CONFIG_DIRS", "").strip() or "/etc/xdg"
    for place in shared.split(os.pathsep):
        yield os.path.join(place, "pip", _FILE)
    yield os.path.join("/etc", _FILE)
    if not named or own is None or not os.path.exists(own):
        home = home_of(environ)
        yield os.path.join(home, ".pip", _FILE)
        config = environ.get("XDG_CONFIG_HOME", "").strip()
        yield os.path.join(config or os.path.join(home, ".config"), "pip", _FILE)
    yield os.path.join(sys.prefix, _FILE)
    if own is not None:
        yield own


def home_of(environ: Mapping[str, str]) -> str:
    """As `os.path.expanduser` has it."""
    if "HOME" in environ:
        return environ["HOME"]
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "~"


def _name(text: str) -> str:
    return text.lower().replace("_", "-").removeprefix("--")


def _plain(values: Mapping[str, str]) -> dict[str, str]:
    """Without empty values: each of them only takes back what a weaker file said."""
    lines = ((_SAME.get(name, name), " ".join(value.split())) for name, value in values.items())
    return {name: value for name, value in lines if value}


def _unreadable(reason: str) -> ResolutionError:
    return ResolutionError(
        "pip cannot read its settings, which say where packages come from",
        found=reason,
        hint="mend pip.conf, or the variable that is named; see: pip config debug",
    )
