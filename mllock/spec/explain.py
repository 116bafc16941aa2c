"""Why a TOML value is not what a type asks for: key, expected, found, hint.

`msgspec.convert` decides what is valid, quickly and for all. When it has refused a document, this
walk over `msgspec.inspect` finds every problem with its exact key, in the words of TOML; it never
decides. Law, tested over the corpus: it finds at least one problem if and only if convert refuses.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import operator
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import inspect as mi

from mllock.spec import hints
from mllock.spec.places import Part, dotted

__all__ = ["Problem", "problems", "words"]

_TYPES = (
    (mi.StrType, "a string"),
    (mi.LiteralType, "a string"),
    (mi.BoolType, "true or false"),
    (mi.IntType, "an integer"),
    (mi.FloatType, "a number"),
    (mi.VarTupleType, "an array"),
    (mi.DictType, "a table"),
    (mi.StructType, "a table"),
    (mi.DateType, "a date, e.g. 2027-01-31"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong. `path` may name a key that is missing."""

    path: tuple[Part, ...]
    message: str
    expected: str | None = None
    found: str | None = None
    hint: str | None = None
    missing: bool = False


Homes = Mapping[str, tuple[str, ...]]


def problems(document: Any, kind: mi.Type) -> Iterator[Problem]:
    """Everything about `document` that `kind` (`msgspec.inspect.type_info(T)`) does not allow."""
    return _problems(document, kind, (), _homes(kind))


def _problems(value: Any, kind: mi.Type, path: tuple[Part, ...], homes: Homes) -> Iterator[Problem]:
    if isinstance(kind, mi.Metadata):
        yield from _problems(value, kind.type, path, homes)
    elif isinstance(kind, mi.UnionType):
        yield from _union(value, kind, path, homes)
    elif not _is(value, kind):
        yield _wrong_type(value, _noun(kind), path)
    elif isinstance(kind, mi.StructType):
        yield from _struct(value, kind, path, homes)
    elif isinstance(kind, mi.DictType):
        for key, item in value.items():
            yield from _problems(key, kind.key_type, (*path, key), homes)
            yield from _problems(item, kind.value_type, (*path, key), homes)
    elif isinstance(kind, mi.VarTupleType):
        if len(value) < (kind.min_length or 0):
            yield Problem(
                path=path,
                message="too few values",
                expected=f"at least {kind.min_length}",
                found=f"{len(value)}",
            )
        for index, item in enumerate(value):
            yield from _problems(item, kind.item_type, (*path, index), homes)
    else:
        yield from _scalar(value, kind, path)


def words(value: Any) -> str:
    """A TOML value as an error shows it, cut short."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 80 else f'{text[:76]}..."'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        noun = "the integer" if isinstance(value, int) else "the number"
        return f"{noun} {value}"
    return f"the date or time {value}"


def _is(value: Any, kind: mi.Type) -> bool:
    """Whether the TOML type is right, whatever the value."""
    if isinstance(kind, mi.StructType | mi.DictType):
        return isinstance(value, dict)
    if isinstance(kind, mi.VarTupleType):
        return isinstance(value, list)
    if isinstance(kind, mi.StrType | mi.LiteralType):
        return isinstance(value, str)
    if isinstance(kind, mi.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, mi.IntType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(kind, mi.FloatType):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(kind, mi.DateType):
        return isinstance(value, str | dt.date) and not isinstance(value, dt.datetime)
    return True


def _noun(kind: mi.Type) -> str:
    for known, noun in _TYPES:
        if isinstance(kind, known):
            return noun
    raise TypeError(f"no words for {kind!r}")


def _union(
    value: Any, kind: mi.UnionType, path: tuple[Part, ...], homes: Homes
) -> Iterator[Problem]:
    inner = [_bare(item) for item in kind.types if not isinstance(_bare(item), mi.NoneType)]
    if len(inner) == 1:
        yield from _problems(value, inner[0], path, homes)
    elif not any(_is(value, item) for item in inner):
        nouns = [noun for known, noun in _TYPES if any(isinstance(item, known) for item in inner)]
        yield _wrong_type(value, f"{', '.join(nouns[:-1])} or {nouns[-1]}", path)
    else:
        # By TOML type there is one that is meant: msgspec takes no unions that it could not tell.
        yield from _problems(value, next(k for k in inner if _is(value, k)), path, homes)


def _bare(kind: mi.Type) -> mi.Type:
    return _bare(kind.type) if isinstance(kind, mi.Metadata) else kind


def _struct(
    value: dict[str, Any], kind: mi.StructType, path: tuple[Part, ...], homes: Homes
) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in kind.fields}
    for key, item in value.items():
        if key in fields:
            yield from _problems(item, fields[key].type, (*path, key), homes)
        else:
            yield Problem(
                path=(*path, key),
                message="unknown key",
                hint=_key_hint(key, fields, homes),
            )
    for key, field in fields.items():
        if field.required and key not in value:
            yield Problem(
                path=(*path, key),
                message="missing key",
                expected=_noun(_bare(field.type)),
                missing=True,
            )


def _key_hint(key: str, fields: Iterable[str], homes: Homes) -> str:
    """In this order: another name of a key of this table, a key of another table, a slip."""
    meant = hints.alias(key, fields)
    if meant is None and key in homes:
        return f"it belongs to {' or '.join(homes[key])}"
    meant = meant or hints.near(key, fields)
    return f'did you mean "{meant}"?' if meant else f"known here: {', '.join(sorted(fields))}"


def _homes(kind: mi.Type, path: str = "") -> Homes:
    """Key -> the headers of the tables that have it; tables with names of their own are NAME."""
    found: dict[str, tuple[str, ...]] = {}
    kind = _bare(kind)
    if isinstance(kind, mi.UnionType):
        inner = [_homes(item, path) for item in kind.types]
    elif isinstance(kind, mi.DictType):
        inner = [_homes(kind.value_type, f"{path}.NAME")]
    elif isinstance(kind, mi.VarTupleType):
        inner = [_homes(kind.item_type, f"[{path}]")]
    elif isinstance(kind, mi.StructType):
        header = f"[{path}]" if path else "the top of the file"
        found = {field.encode_name: (header,) for field in kind.fields}
        inner = [
            _homes(field.type, f"{path}.{field.encode_name}".lstrip(".")) for field in kind.fields
        ]
    else:
        return found
    for more in inner:
        for key, headers in more.items():
            found[key] = found.get(key, ()) + headers
    return found


def _wrong_type(value: Any, expected: str, path: tuple[Part, ...]) -> Problem:
    return Problem(
        path=path,
        message="wrong type",
        expected=expected,
        found=words(value),
        hint=_type_hint(value, expected, path),
    )


def _type_hint(value: Any, expected: str, path: tuple[Part, ...]) -> str | None:
    header = dotted(path)
    match expected, value:
        case "an array", str() if path[-1] == "command":
            parts = value.split()
            # Unbalanced quotes: the plain split is still a good example.
            with contextlib.suppress(ValueError):
                parts = shlex.split(value)
            return f"write {json.dumps(parts, ensure_ascii=False)}"
        case "an array", str():
            return f"write {json.dumps([value], ensure_ascii=False)}"
        case "an array", dict() if path[-1] == "dependencies":
            return 'write requirements, e.g. ["pandas>=2,<3"]'
        case "an array", dict():
            return f"write [[{header}]], with two brackets"
        case "a table", list() if path == ("data",):
            return "give each source a name, e.g. [data.train]"
        case "a table", list() if all(isinstance(item, dict) for item in value):
            return f"write [{header}], with one bracket"
        case "a table", _ if path[0] == "data" and len(path) == 2:
            return "give the source a name, e.g. [data.train]"
        case "a string", bool():
            return None
        case "a string", int():
            return f'put it in quotes: "{value}"'
        case "a string", float() | dt.date() | dt.time():
            return "put it in quotes"
        case "true or false", "true" | "false":
            return "write it without quotes"
        case "an integer" | "a number", str() if value.strip().isdigit():
            return "write it without quotes"
    return None


def _scalar(value: Any, kind: mi.Type, path: tuple[Part, ...]) -> Iterator[Problem]:
    if isinstance(kind, mi.StrType):
        yield from _string(value, kind, path)
    elif isinstance(kind, mi.LiteralType):
        if value not in kind.values:
            allowed = [str(item) for item in kind.values]
            meant = hints.alias(value, allowed, hints.VALUE_ALIASES) or hints.near(value, allowed)
            named = [words(item) for item in allowed]
            yield Problem(
                path=path,
                message="unknown value",
                expected=f"{', '.join(named[:-1])} or {named[-1]}",
                found=words(value),
                hint=f'did you mean "{meant}"?' if meant else None,
            )
    elif isinstance(kind, mi.IntType | mi.FloatType):
        # NaN is neither below nor above, so the question is asked this way round.
        limits = (
            (kind.ge, operator.ge, "at least"),
            (kind.gt, operator.gt, "more than"),
            (kind.le, operator.le, "at most"),
            (kind.lt, operator.lt, "less than"),
        )
        if any(limit is not None and not holds(value, limit) for limit, holds, _ in limits):
            named = [f"{noun} {limit:g}" for limit, _, noun in limits if limit is not None]
            yield Problem(
                path=path,
                message="number out of range",
                expected=f"{kind.ge:g} to {kind.le:g}"
                if kind.ge is not None and kind.le is not None
                else ", ".join(named),
                found=words(value),
            )
    elif isinstance(kind, mi.DateType) and isinstance(value, str) and not _is_date(value):
        yield Problem(
            path=path, message="not a date", expected="e.g. 2027-01-31", found=words(value)
        )


def _string(value: str, kind: mi.StrType, path: tuple[Part, ...]) -> Iterator[Problem]:
    if len(value) < (kind.min_length or 0):
        yield Problem(path=path, message="empty string", expected="at least one character")
    elif kind.pattern is not None and re.search(kind.pattern, value) is None:
        several = value.split() if isinstance(path[-1], int) else []
        meant = hints.repaired(value, kind.pattern)
        if len(several) > 1 and all(re.search(kind.pattern, word) for word in several):
            meant = '", "'.join(several)  # items of a list that were written as one
        yield Problem(
            path=path,
            message="not in the right form",
            expected=hints.FORMATS[kind.pattern],
            found=words(value),
            hint=f'did you mean "{meant}"?' if meant else None,
        )


def _is_date(value: str) -> bool:
    try:
        dt.date.fromisoformat(value)
    except ValueError:
        return False
    return re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) is not None
