"""Canonical JSON (RFC 8785) out, strict JSON in.

Everything that is digested or signed goes through `dumps`; everything that comes from a file,
an archive or a bundle goes through `loads`, which refuses what two readers could understand
differently: duplicate keys, NaN and infinities, trailing data, wrong UTF-8, too many bytes.
Law: `loads(dumps(value)) == value` for every JSON value of int, float, str, bool, None, list, dict.
"""

from __future__ import annotations

import json
from typing import Any

import rfc8785

from mllock.core.digest import Digest, sha256_of

__all__ = ["MAX_BYTES", "digest_of", "dumps", "loads"]

MAX_BYTES = 64 * 1024 * 1024


def dumps(value: Any) -> bytes:
    """The RFC 8785 bytes of `value`. Raises ValueError where JSON has no such value."""
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(str(error)) from error


def digest_of(value: Any) -> Digest:
    return sha256_of(dumps(value))


def loads(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read JSON strictly. Raises ValueError, never anything else."""
    if len(data) > max_bytes:
        raise ValueError(f"{len(data)} bytes of JSON, at most {max_bytes} are read")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise ValueError(f"duplicate key {key!r}")
        out[key] = value
    return out


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
