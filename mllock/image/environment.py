"""The environment digest: what train and serve images must have in common, as one digest.

It is the sha256 of canonical JSON of a small document: platform, diff_ids of the environment's
layers bottom up, variables, user and working folder. No labels, history, compressed digests or
references, so that it can be made again from any engine: `document_of_config` takes a parsed OCI
config. Specified, with a vector, in docs/reference/environment-digest.md. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mllock.core.digest import Digest
from mllock.core.platform import Platform
from mllock.lock.types import BasePlatform

__all__ = ["ENGINE_PATH", "PATH", "document_of_config", "environment_document", "image_variables"]

VERSION = 1
VENV = "/opt/venv/bin"
# What engines set where an image sets none.
ENGINE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "/tmp"  # noqa: S108 - of the image, in which nobody else is
PATH = f"{VENV}:/usr/local/bin:/usr/bin:/bin"


def image_variables(
    declared: Mapping[str, str], base: BasePlatform | None = None
) -> dict[str, str]:
    """The variables of both images, sorted: PATH, and what `[environment] variables` declares.

    Those of a base image are the ground. Its user is not ours, so HOME is the one place that
    anybody may write to, as it is for the user of the base that mllock assembles.
    """
    if base is None:
        return dict(sorted({"PATH": PATH, **declared}.items()))
    path = base.variables.get("PATH") or ENGINE_PATH
    ground = {**base.variables, "HOME": HOME, "PATH": f"{VENV}:{path}"}
    return dict(sorted({**ground, **declared}.items()))


def environment_document(
    *,
    platform: Platform,
    diff_ids: Sequence[Digest],
    variables: Mapping[str, str],
    user: str,
    workdir: str,
) -> dict[str, Any]:
    return {
        "v": VERSION,
        "os": platform.os,
        "architecture": platform.architecture,
        "variant": platform.variant,
        "diff_ids": list(diff_ids),
        "variables": dict(sorted(variables.items())),
        "user": user,
        "workdir": workdir,
    }


def document_of_config(config: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """The document of an OCI image config whose lowest `layers` layers are the environment.

    Raises ValueError where the config has no such document: fewer layers, a variable twice.
    """
    runtime = config.get("config") or {}
    diff_ids = list(config["rootfs"]["diff_ids"])
    if not 0 < layers <= len(diff_ids):
        raise ValueError(f"{len(diff_ids)} layers, expected at least {max(layers, 1)}")
    variables: dict[str, str] = {}
    for item in runtime.get("Env") or ():
        name, equals, value = item.partition("=")
        if not equals or name in variables:
            raise ValueError(f"a variable without value, or twice: {name!r}")
        variables[name] = value
    return {
        "v": VERSION,
        "os": config.get("os", ""),
        "architecture": config.get("architecture", ""),
        "variant": config.get("variant", ""),
        "diff_ids": diff_ids[:layers],
        "variables": dict(sorted(variables.items())),
        "user": runtime.get("User", ""),
        "workdir": runtime.get("WorkingDir", ""),
    }
