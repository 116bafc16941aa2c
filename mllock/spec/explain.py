"""Why a TOML value is not what a type asks for: key, expected, found, hint.

`msgspec.convert` decides what is valid, quickly and for all. When it has refused a document, this
walk over `msgspec.inspect` finds every problem with its exact key, in the words of TOML; it never
decides. Law, tested over the corpus: it finds at least one problem if and only if convert refuses.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from msgspec import inspect as mi

from mllock.spec import hints
from mllock.spec.places import Part

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


def problems(value: Any, kind: mi.Type, path: tuple[Part, ...] = ()) -> Iterator[Problem]:
    """Everything about `value` that `kind` (`msgspec.inspect.type_info(T)`) does not allow."""
    if isinstance(kind, mi.Metadata):
        yield from problems(value, kind.type, path)
    elif isinstance(kind, mi.UnionType):
        yield from _union(value, kind, path)
    elif not _is(value, kind):
        yield _wrong_type(value, _noun(kind), path)
    elif isinstance(kind, mi.StructType):
        yield from _struct(value, kind, path)
    elif isinstance(kind, mi.DictType):
        for key, item in value.items():
            yield from problems(key, kind.key_type, (*path, key))
            yield from problems(item, kind.value_type, (*path, key))
    elif isinstance(kind, mi.VarTupleType):
        if len(value) < (kind.min_length or 0):
            yield Problem(
                path=path,
                message="too few values",
                expected=f"at least {kind.min_length}",
                found=f"{len(value)}",
            )
        for index, item in enumerate(value):
            yield from problems(item, kind.item_type, (*path, index))
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


def _union(value: Any, kind: mi.UnionType, path: tuple[Part, ...]) -> Iterator[Problem]:
    inner = [_bare(item) for item in kind.types if not isinstance(_bare(item), mi.NoneType)]
    if len(inner) == 1:
        yield from problems(value, inner[0], path)
    elif not any(_is(value, item) for item in inner):
        nouns = [noun for known, noun in _TYPES if any(isinstance(item, known) for item in inner)]
        yield _wrong_type(value, f"{', '.join(nouns[:-1])} or {nouns[-1]}", path)


def _bare(kind: mi.Type) -> mi.Type:
    return _bare(kind.type) if isinstance(kind, mi.Metadata) else kind


def _struct(
    value: dict[str, Any], kind: mi.StructType, path: tuple[Part, ...]
) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in kind.fields}
    for key, item in value.items():
        if key in fields:
            yield from problems(item, fields[key].type, (*path, key))
        else:
            near = hints.suggest(key, fields)
            yield Problem(
                path=(*path, key),
                message="unknown key",
                hint=f'did you mean "{near}"?' if near else _known(fields),
            )
    for key, field in fields.items():
        if field.required and key not in value:
            yield Problem(
                path=(*path, key), message="missing key", expected=_noun(_bare(field.type))
            )


def _known(fields: dict[str, Any]) -> str:
    return f"known here: {', '.join(sorted(fields))}"


def _wrong_type(value: Any, expected: str, path: tuple[Part, ...]) -> Problem:
    hint = None
    if expected == "an array" and isinstance(value, str):
        parts = value.split()
        if path[-1] == "command":
            # Unbalanced quotes: the plain split is still a good example.
            with contextlib.suppress(ValueError):
                parts = shlex.split(value)
        else:
            parts = [value]
        hint = f"write {json.dumps(parts, ensure_ascii=False)}"
    elif expected == "a string" and isinstance(value, int | float) and not isinstance(value, bool):
        hint = f'put it in quotes: "{value}"'
    elif expected == "a string" and isinstance(value, dt.date | dt.time):
        hint = "put it in quotes"
    elif expected in ("an integer", "a number", "true or false") and isinstance(value, str):
        hint = "write it without quotes"
    return Problem(
        path=path, message="wrong type", expected=expected, found=words(value), hint=hint
    )


def _scalar(value: Any, kind: mi.Type, path: tuple[Part, ...]) -> Iterator[Problem]:
    if isinstance(kind, mi.StrType):
        yield from _string(value, kind, path)
    elif isinstance(kind, mi.LiteralType):
        if value not in kind.values:
            allowed = [str(item) for item in kind.values]
            near = hints.suggest(value, allowed, hints.VALUE_ALIASES)
            yield Problem(
                path=path,
                message="unknown value",
                expected=" or ".join(words(item) for item in allowed),
                found=words(value),
                hint=f'did you mean "{near}"?' if near else None,
            )
    elif isinstance(kind, mi.IntType | mi.FloatType):
        low, high = kind.ge, kind.le
        # NaN is neither below nor above, so the question is asked this way round.
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            limits = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
            yield Problem(
                path=path, message="number out of range", expected=limits, found=words(value)
            )
    elif isinstance(kind, mi.DateType) and isinstance(value, str) and not _is_date(value):
        yield Problem(
            path=path, message="not a date", expected="e.g. 2027-01-31", found=words(value)
        )


def _string(value: str, kind: mi.StrType, path: tuple[Part, ...]) -> Iterator[Problem]:
    if len(value) < (kind.min_length or 0):
        yield Problem(path=path, message="empty string", expected="at least one character")
    elif kind.pattern is not None and re.search(kind.pattern, value) is None:
        name = hints.normalised_name(value)
        hint = None
        if hints.FORMATS[kind.pattern].startswith("lower-case") and name:
            hint = f'did you mean "{name}"?'
        elif match := re.fullmatch(r"[^0-9]*(3\.[0-9]{1,2})\b.*", value):
            hint = f'did you mean "{match[1]}"?'
        yield Problem(
            path=path,
            message="not in the right form",
            expected=hints.FORMATS[kind.pattern],
            found=words(value),
            hint=hint,
        )


def _is_date(value: str) -> bool:
    try:
        dt.date.fromisoformat(value)
    except ValueError:
        return False
    return re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) is not None
