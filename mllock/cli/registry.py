"""What commands about registries have in common: how a registry is written."""

from __future__ import annotations

from mllock.errors import InputError
from mllock.store.registry.reference import Reference, parse_reference

__all__ = ["registry_argument"]

PREFIX = "registry:"


def registry_argument(text: str) -> Reference:
    """The reference of `registry:HOST/REPO...`. Raises InputError."""
    if not text.startswith(PREFIX):
        raise InputError(
            "not a registry",
            file=text,
            expected="registry:HOST/REPO[:TAG]",
            hint=f'write "{PREFIX}{text}"' if "/" in text and "://" not in text else None,
        )
    return parse_reference(text.removeprefix(PREFIX))
