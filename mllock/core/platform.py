"""Platforms in OCI words (`linux/amd64`, `linux/arm64`) and what Debian and wheels call them."""

from __future__ import annotations

import platform as _platform
import sys
from dataclasses import dataclass

__all__ = ["KNOWN", "Platform", "host_platform", "image_platform"]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Platform:
    """One target. `variant` is the OCI variant, empty except for arm64's "v8"."""

    os: str
    architecture: str
    variant: str = ""
    debian: str = ""
    machine: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


# OCI image-spec, config.md: architecture is a GOARCH; arm64 is written with variant v8.
KNOWN = {
    "linux/amd64": Platform(os="linux", architecture="amd64", debian="amd64", machine="x86_64"),
    "linux/arm64": Platform(
        os="linux", architecture="arm64", variant="v8", debian="arm64", machine="aarch64"
    ),
}


def host_platform() -> str:
    """The platform of this machine, e.g. "linux/amd64"; it may be one that is not in KNOWN."""
    machine = _platform.machine().lower()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    return f"{sys.platform}/{architecture}"


def image_platform(host: str | None = None) -> str:
    """The platform of the images that an engine on this machine (or `host`) runs: on any system
    those of Linux, of its processor; of a processor that is not in KNOWN "linux/amd64"."""
    found = f"linux/{(host or host_platform()).partition('/')[2]}"
    return found if found in KNOWN else "linux/amd64"
