"""OCI image config and manifest: what a plan becomes, byte for byte the same each time.

OCI image-spec 1.1, config.md and manifest.md, as canonical JSON. Time is the epoch, history has one
entry for each layer, in the words of the layer; nothing of the machine or the day is in it. What a
base image says of its own layers stays as it is, below. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mllock.core import canonical
from mllock.core.digest import Digest, sha256_of
from mllock.core.platform import KNOWN
from mllock.image.environment import environment_document
from mllock.image.types import (
    ENVIRONMENT_KINDS,
    MEDIA_CONFIG,
    MEDIA_MANIFEST,
    Image,
    ImageConfig,
    ImagePlan,
    Layer,
)

__all__ = ["CREATED", "assemble", "make_config", "make_manifest", "plan_environment"]

CREATED = "1970-01-01T00:00:00Z"
_SECOND = 1_000_000_000
# Not of OCI image-spec: what Docker writes, and what engines read. A large model may take minutes
# to load, as long as `mllock serve` waits for one; a failure before that is none.
_HEALTH_TIMES = {
    "Interval": 10 * _SECOND,
    "Timeout": 10 * _SECOND,
    "StartPeriod": 300 * _SECOND,
    "Retries": 3,
}


def plan_environment(
    platform: str, layers: tuple[Layer, ...], config: ImageConfig
) -> dict[str, Any]:
    """The environment document of the environment layers among `layers`."""
    return environment_document(
        platform=KNOWN[platform],
        diff_ids=[layer.diff_id for layer in layers if layer.kind in ENVIRONMENT_KINDS],
        variables=config.variables,
        user=config.user,
        workdir=config.workdir,
    )


def assemble(plan: ImagePlan) -> Image:
    """The image of a plan. Law: equal plans give equal bytes."""
    config = make_config(plan)
    config_digest = sha256_of(config)
    manifest = make_manifest(config_digest, len(config), plan.layers)
    return Image(
        kind=plan.kind,
        platform=plan.platform,
        layers=plan.layers,
        config=config,
        config_digest=config_digest,
        manifest=manifest,
        manifest_digest=sha256_of(manifest),
        environment=canonical.digest_of(plan_environment(plan.platform, plan.layers, plan.config)),
    )


def make_config(plan: ImagePlan) -> bytes:
    platform = KNOWN[plan.platform]
    settings = plan.config
    runtime: dict[str, Any] = {
        "User": settings.user,
        "WorkingDir": settings.workdir,
        "Env": [f"{name}={value}" for name, value in sorted(settings.variables.items())],
        "Cmd": list(settings.command),
        "Labels": dict(sorted(settings.labels.items())),
    }
    if settings.port is not None:
        runtime["ExposedPorts"] = {f"{settings.port}/tcp": {}}
    if settings.health:
        runtime["Healthcheck"] = {"Test": ["CMD", *settings.health], **_HEALTH_TIMES}
    value: dict[str, Any] = {
        "created": CREATED,
        "os": platform.os,
        "architecture": platform.architecture,
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in plan.layers]},
        "history": [
            *plan.history,
            *(
                {"created": CREATED, "created_by": f"mllock {layer.kind}: {layer.title}"}
                for layer in plan.layers[_filled(plan.history) :]
            ),
        ],
    }
    if platform.variant:
        value["variant"] = platform.variant
    return canonical.dumps(value)


def _filled(history: Sequence[Mapping[str, Any]]) -> int:
    """How many layers a history is of."""
    return sum(not entry.get("empty_layer", False) for entry in history)


def make_manifest(config: Digest, config_size: int, layers: tuple[Layer, ...]) -> bytes:
    return canonical.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MEDIA_MANIFEST,
            "config": {"mediaType": MEDIA_CONFIG, "digest": config, "size": config_size},
            "layers": [
                {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}
                for layer in layers
            ],
        }
    )
