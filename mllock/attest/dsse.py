"""DSSE: what is signed is the payload together with its type, never the payload alone.

https://github.com/secure-systems-lab/dsse, protocol.md: lengths are decimal numbers of bytes.
"""

from __future__ import annotations

__all__ = ["IN_TOTO", "pae"]

IN_TOTO = "application/vnd.in-toto+json"


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: the bytes that a signature is over."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
