"""Whether an answer is alike the recorded one, and where it is not. Pure.

In the order of docs/reference/probes.md: status, media type and coding, body; later ones are only
looked at if those before are the same. JSON is compared as values, without recursion: what comes
from outside may be nested as deeply as its reader allows. Law: nothing differs from itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mllock.core import canonical
from mllock.probes import pointer
from mllock.probes.types import Alike, Answer, Exchange, Pointer, Tolerance

__all__ = ["Mismatch", "is_json", "mismatches"]

_MISSING = object()
_NONE = Tolerance()


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatch:
    """`place` is a JSON pointer, or the part of the answer: "status", "type", "body"."""

    place: str
    expected: str
    found: str


def is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def mismatches(recorded: Exchange, found: Answer) -> tuple[Mismatch, ...]:
    """Everything in `found` that is not as recorded; empty if it is alike."""
    expected = recorded.answer
    if found.status != expected.status:
        where = f" (to {found.location})" if found.location else ""
        return (
            Mismatch(place="status", expected=str(expected.status), found=f"{found.status}{where}"),
        )
    if (found.type, found.encoding) != (expected.type, expected.encoding):
        return (Mismatch(place="type", expected=_kind(expected), found=_kind(found)),)
    if found.cut:
        return (
            Mismatch(
                place="body",
                expected=f"{len(expected.body)} bytes",
                found=f"more than {len(found.body)} bytes",
            ),
        )
    if is_json(expected.type):
        try:
            pair = canonical.loads(expected.body), canonical.loads(found.body)
        except ValueError:
            pass
        else:
            return tuple(_values(*pair, recorded.probe.alike))
    return tuple(_bytes(expected.body, found.body))


def _kind(answer: Answer) -> str:
    kind = answer.type or "no content-type"
    return f"{kind}, encoded as {answer.encoding}" if answer.encoding else kind


def _bytes(expected: bytes, found: bytes) -> Iterator[Mismatch]:
    if expected == found:
        return
    same = next(
        (n for n, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]),
        min(len(expected), len(found)),
    )
    yield Mismatch(place="body", expected=_excerpt(expected, same), found=_excerpt(found, same))


def _excerpt(body: bytes, at: int) -> str:
    """What is at `at`, and how long it all is."""
    text = body[at : at + 40].decode("utf-8", "backslashreplace")
    return f"{json.dumps(text, ensure_ascii=False)} at byte {at} of {len(body)}"


def _values(expected: Any, found: Any, alike: Alike) -> Iterator[Mismatch]:
    """Depth first, in the order of the recorded document; what is too much comes last."""
    ignored = frozenset(alike.ignore)
    todo: list[tuple[Pointer, Any, Any, Tolerance]] = [((), expected, found, _NONE)]
    while todo:
        path, one, other, tolerance = todo.pop()
        if path in ignored:
            continue
        tolerance = alike.tolerance.get(path, tolerance)
        if isinstance(one, dict) and isinstance(other, dict):
            keys = [*one, *sorted(other.keys() - one.keys())]
            inner = [
                ((*path, key), one.get(key, _MISSING), other.get(key, _MISSING), tolerance)
                for key in keys
            ]
            todo.extend(reversed(inner))
        elif isinstance(one, list) and isinstance(other, list):
            longest = max(len(one), len(other))
            inner = [
                ((*path, str(n)), _at(one, n), _at(other, n), tolerance) for n in range(longest)
            ]
            todo.extend(reversed(inner))
        elif not _same(one, other, tolerance):
            yield Mismatch(
                place=pointer.text_of(path) or "body", expected=_shown(one), found=_shown(other)
            )


def _at(items: list[Any], number: int) -> Any:
    return items[number] if number < len(items) else _MISSING


def _same(one: Any, other: Any, tolerance: Tolerance) -> bool:
    if _is_number(one) and _is_number(other):
        return bool(one == other) or tolerance.covers(one, other)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is _MISSING:
        return "nothing"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
