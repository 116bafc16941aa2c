"""JSON pointers, RFC 6901. Law: `parse(text_of(pointer)) == pointer`."""

from __future__ import annotations

import re

from mllock.probes.types import Pointer

__all__ = ["parse", "text_of"]

_TOKEN = re.compile(r"(?:[^~]|~[01])*")


def parse(text: str) -> Pointer:
    """Raises ValueError where `text` is no pointer."""
    if text and not text.startswith("/"):
        raise ValueError('a JSON pointer begins with "/"')
    tokens = text.split("/")[1:]
    if not all(_TOKEN.fullmatch(token) for token in tokens):
        raise ValueError('in a JSON pointer "~" is written "~0"')
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens)


def text_of(pointer: Pointer) -> str:
    return "".join(f"/{token.replace('~', '~0').replace('/', '~1')}" for token in pointer)
