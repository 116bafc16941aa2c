"""The one writer of lock TOML: a plain document in, the same bytes out, for ever.

Not a general TOML library. It writes what a lock holds: tables, arrays, strings, integers and
booleans; anything else (floats, dates, null) is a ValueError, because two readers could
understand it differently. Layout, which docs/reference/mlproject-lock.md specifies:

- keys of a table in the order given, those that are not tables first;
- a table is a `[header]`, an array of tables at one of `tables` a row of `[[header]]`;
- any other array has one item a line, so that a diff shows the item; empty is `[]`;
- tables inside of arrays are inline.

Law: `tomllib.loads(write(document)) == document`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["write"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
    '"': '\\"',
    "\\": "\\\\",
}
# TOML 1.0 integers are 64-bit; JSON's that survive every reader are 53-bit (RFC 8785).
MAX_INTEGER = 2**53 - 1

Path = tuple[str, ...]


def write(document: Mapping[str, Any], *, tables: Collection[Path] = (), header: str = "") -> str:
    """The TOML text of `document`, with `header` as comment lines above it.

    Args:
        document: nested mappings, sequences, str, int and bool.
        tables: paths of the arrays that are written as `[[path]]`.
        header: lines without "#".
    """
    lines = [f"# {line}" for line in header.splitlines()]
    lines += [""] if lines else []
    lines += _table(document, (), frozenset(tables))
    return "\n".join(lines).strip("\n") + "\n"


def _table(table: Mapping[str, Any], path: Path, tables: frozenset[Path]) -> Iterator[str]:
    later: list[tuple[Path, Any]] = []
    for key, value in table.items():
        here = (*path, key)
        if isinstance(value, Mapping) or (here in tables and value):
            later.append((here, value))
        else:
            yield f"{_key(key)} = {_value(value, here)}"
    for here, value in later:
        name = ".".join(map(_key, here))
        if isinstance(value, Mapping):
            inner = list(_table(value, here, tables))
            # The header of a table that holds nothing but tables is implied by theirs.
            yield from () if inner[:1] == [""] else ("", f"[{name}]")
            yield from inner
        else:
            for item in value:
                yield from ("", f"[[{name}]]")
                yield from _table(item, here, tables)


def _value(value: Any, path: Path) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not value:
            return "[]"
        return "".join(["[\n", *(f"  {_inline(item, path)},\n" for item in value), "]"])
    return _inline(value, path)


def _inline(value: Any, path: Path) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() if abs(value) <= MAX_INTEGER:
            return str(value)
        case str():
            return _string(value)
        case Mapping():
            pairs = (f"{_key(key)} = {_inline(item, path)}" for key, item in value.items())
            return "{ " + ", ".join(pairs) + " }" if value else "{}"
        case list() | tuple():
            return "[" + ", ".join(_inline(item, path) for item in value) + "]"
    raise ValueError(f"{'.'.join(path)}: a lock does not hold {value!r}")


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    out = []
    for char in text:
        code = ord(char)
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\u{code:04X}")
        elif 0xD800 <= code <= 0xDFFF:
            raise ValueError(f"a lone surrogate in {text!r}")
        else:
            out.append(char)
    return '"' + "".join(out) + '"'
