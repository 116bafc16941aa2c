"""Canonical JSON (RFC 8785) out, strict JSON in.

Everything that is digested or signed goes through `dumps`; everything that comes from a file,
an archive or a bundle goes through `loads`, which refuses what two readers could understand
differently: duplicate keys, NaN and infinities, integers that a double cannot hold, lone
surrogates, trailing data, wrong UTF-8, byte order marks, too many bytes, too much nesting.
Law: `loads(dumps(value)) == value` for every value that `dumps` accepts.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import rfc8785

from mllock.core.digest import Digest, sha256_of

__all__ = ["MAX_BYTES", "digest_of", "dumps", "loads"]

MAX_BYTES = 64 * 1024 * 1024
MAX_INT = 2**53 - 1

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def dumps(value: Any) -> bytes:
    """The RFC 8785 bytes of `value`. Raises ValueError where JSON has no such value."""
    try:
        return rfc8785.dumps(value)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("lone surrogate in a string") from None
    except rfc8785.CanonicalizationError as error:
        raise ValueError(str(error)) from error


def digest_of(value: Any) -> Digest:
    return sha256_of(dumps(value))


def loads(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read JSON strictly. Raises ValueError, never anything else."""
    if len(data) > max_bytes:
        raise ValueError(f"{len(data)} bytes of JSON, at most {max_bytes} are read")
    if not data.strip():
        raise ValueError("it is empty")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_exact,
        )
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    if _SURROGATE.search(text) is not None:
        _no_surrogates(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise ValueError(f"duplicate key {key!r}")
        out[key] = value
    return out


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is too large")
    return value


def _exact(text: str) -> int | float:
    # RFC 7493, 2.2: readers differ on integers that need more than a double. RFC 8785 writes
    # large doubles as digits; those, and no others, come back as what they were.
    if len(text) <= 15:
        return int(text)
    value = _finite(text)
    if abs(value) <= MAX_INT:
        return int(text)
    if rfc8785.dumps(value) != text.encode():
        raise ValueError(f"{text[:40]} is not exact in a double")
    return value


def _no_surrogates(value: Any) -> None:
    # Strings come as they will be written again: one that has no UTF-8 has no canonical form.
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("lone surrogate in a string") from None
