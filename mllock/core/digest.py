"""Digests: lower-case `sha256:HEX`, the only form in which mllock's own types hold one.

PEP 751 and in-toto write the bare hex beside the algorithm's name; `hex_of` and `from_hex`
convert at those borders and nowhere else. Law: `from_hex(hex_of(d)) == d`.
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType

__all__ = ["HEX_LENGTH", "Digest", "from_hex", "hex_of", "is_digest", "parse_digest", "sha256_of"]

Digest = NewType("Digest", str)

HEX_LENGTH = 64
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX = re.compile(r"[0-9a-f]{64}")


def is_digest(text: object) -> bool:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def parse_digest(text: str) -> Digest:
    """Read `sha256:HEX`. Raises ValueError for anything else, upper case included."""
    if not is_digest(text):
        raise ValueError(f"not a sha256 digest: {text!r}")
    return Digest(text)


def from_hex(hex_digest: str) -> Digest:
    """Read 64 lower-case hex digits. Raises ValueError."""
    if _HEX.fullmatch(hex_digest) is None:
        raise ValueError(f"not 64 lower-case hex digits: {hex_digest!r}")
    return Digest(f"sha256:{hex_digest}")


def hex_of(digest: Digest) -> str:
    return digest.removeprefix("sha256:")


def sha256_of(data: bytes | bytearray | memoryview) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
