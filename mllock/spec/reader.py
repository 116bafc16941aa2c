"""Reading mlproject.toml: text -> TOML -> types -> rules, in this order, each step only if the
one before it passed.

Every error is one SpecError with file, line, key, expected, found and the next step where there
is one. Of several problems in the structure, the first in the file is reported, missing keys
last. What needs the disk (requirements files, data) is read by those who use it; nothing here
looks at anything but the spec file.
"""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from mllock.errors import SpecError
from mllock.spec.loaded import LoadedSpec
from mllock.spec.places import dotted, nearest, places
from mllock.spec.types import Spec

__all__ = ["MAX_SPEC", "LoadedSpec", "load_spec", "parse_spec"]

MAX_SPEC = 1024 * 1024

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load_spec(path: Path) -> LoadedSpec:
    """Read and validate the spec at `path`. Raises SpecError."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe would be waited for
            what = "a folder" if stat.S_ISDIR(mode) else "something else"
            raise SpecError(f"this is {what}, not a file", file=path.name)
        with path.open("rb") as stream:
            data = stream.read(MAX_SPEC + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise SpecError(
            "no such file",
            file=path.name,
            expected=f"a spec at {path}",
            hint='make one with "mllock init"',
        ) from None
    except OSError as error:
        raise SpecError(
            f"cannot be read: {(error.strerror or str(error)).lower()}",
            file=path.name,
            hint="check the owner and the permissions of the file and of its folder",
        ) from error
    return parse_spec(data, path)


def parse_spec(data: bytes, path: Path) -> LoadedSpec:
    """Validate the bytes of the spec at `path`. Raises SpecError."""
    from mllock.spec.rules import check_rules

    text = _decode(data, path.name)
    document = _parse(text, path.name)
    try:
        spec = msgspec.convert(document, Spec)
    except msgspec.ValidationError as error:
        raise _explained(document, text, path.name, str(error)) from None
    loaded = LoadedSpec(spec, path, text)
    check_rules(loaded)
    return loaded


def _decode(data: bytes, name: str) -> str:
    if len(data) > MAX_SPEC:
        raise SpecError(f"more than {MAX_SPEC} bytes: this is not a spec", file=name)
    if data.startswith(b"\xef\xbb\xbf"):
        raise SpecError(
            "starts with a byte order mark",
            file=name,
            line=1,
            hint='save it as "UTF-8", not as "UTF-8 with BOM"',
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(
            "not UTF-8",
            file=name,
            line=line,
            found=f"byte 0x{data[error.start]:02x}",
            hint="save it as UTF-8",
        ) from None


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise SpecError("nested too deeply", file=name) from None
    except ValueError as error:  # TOMLDecodeError is one; an endless integer raises a plain one
        message = str(error)
    at = _AT.search(message)
    line, column = (int(at[1]), at[2]) if at and at[1] else (text.count("\n") + 1, None)
    message = message[: at.start()] if at else message
    rows = text.split("\n")
    raise SpecError(
        f"TOML syntax error: {message[:1].lower()}{message[1:]}",
        file=name,
        line=line,
        found=rows[line - 1].strip()[:80] + (f" (column {column})" if column else ""),
    )


def _explained(document: dict[str, Any], text: str, name: str, refusal: str) -> SpecError:
    from msgspec import inspect as mi

    from mllock.spec.explain import problems

    found = places(text)
    lines = [
        (nearest(found, problem.path) or 1, problem)
        for problem in problems(document, mi.type_info(Spec))
    ]
    if not lines:  # the walk knows less than msgspec: still an honest, if less exact, message
        return SpecError(refusal, file=name)
    # A key that is missing is often one that is written in another way: that one is the cause.
    line, first = min(lines, key=lambda item: (item[1].missing, item[0]))
    return SpecError(
        first.message,
        file=name,
        line=line,
        key=dotted(first.path),
        expected=first.expected,
        found=first.found,
        hint=first.hint,
    )
