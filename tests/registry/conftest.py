"""Registries for this folder: real ones, and one in this process that can misbehave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.registry import registry, registry_basic, registry_tls, registry_token
from support.small_registry import SmallRegistry, small_registry

__all__ = ["registry", "registry_basic", "registry_tls", "registry_token"]


@pytest.fixture
def server() -> Iterator[SmallRegistry]:
    with small_registry() as found:
        yield found
