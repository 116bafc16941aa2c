"""What Docker's API answers, as our values. Pure; an answer without what it must have is refused.

Source: Docker Engine API v1.41, ImageInspect, ContainerInspect, SystemInfo.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mllock.core.digest import Digest, parse_digest
from mllock.engine.types import Container, EngineImage, EngineInfo, GpuRequest, Look, State
from mllock.errors import EngineError, MllockError

__all__ = ["container_of", "image_of", "info_of", "is_remote", "look_of", "plain_endpoint"]

# What `uname -m` calls the architectures that OCI names otherwise.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def info_of(raw: Mapping[str, Any], endpoint: str, *, remote: bool) -> EngineInfo:
    options = [str(option) for option in raw.get("SecurityOptions") or ()]
    store = [list(pair) for pair in raw.get("DriverStatus") or ()]
    return EngineInfo(
        name="docker",
        version=str(raw.get("ServerVersion", "")),
        endpoint=endpoint,
        os=str(raw.get("OSType", "")),
        architecture=_ARCHITECTURES.get(
            str(raw.get("Architecture")), str(raw.get("Architecture", ""))
        ),
        remote=remote,
        rootless=any(option.startswith("name=rootless") for option in options),
        image_is_manifest=["driver-type", "io.containerd.snapshotter.v1"] in store,
        relabels=any(option.startswith(("name=userns", "name=selinux")) for option in options),
        limits_memory=bool(raw.get("MemoryLimit", False)),
        kernel=str(raw.get("KernelVersion", "")),
        cpus=int(raw.get("NCPU", 0)),
    )


def image_of(raw: Mapping[str, Any]) -> EngineImage:
    layers = _mapping(raw, "RootFS").get("Layers") or []
    return EngineImage(
        id=_digest(raw, "Id"),
        tags=tuple(str(tag) for tag in raw.get("RepoTags") or ()),
        diff_ids=tuple(_parsed(layer) for layer in layers),
        os=str(raw.get("Os", "")),
        architecture=str(raw.get("Architecture", "")),
        variant=str(raw.get("Variant", "") or ""),
        config=_mapping(raw, "Config"),
        raw=raw,
    )


def container_of(raw: Mapping[str, Any]) -> Container:
    state = _mapping(raw, "State")
    return Container(
        id=str(raw.get("Id", "")),
        name=str(raw.get("Name", "")).removeprefix("/"),
        image=_digest(raw, "Image"),
        state=State(
            status=str(state.get("Status", "")),
            exit_code=int(state.get("ExitCode", -1)),
            out_of_memory=bool(state.get("OOMKilled")),
            error=str(state.get("Error", "")),
            pid=int(state.get("Pid", 0)),
            started=str(state.get("StartedAt", "")),
        ),
        ports=_ports(raw),
        labels={str(k): str(v) for k, v in (_mapping(raw, "Config").get("Labels") or {}).items()},
        gpus=_gpus(raw),
        raw=raw,
    )


def look_of(header: str) -> Look:
    """Engine API, ContainerArchiveInfo: base64 of JSON in X-Docker-Container-Path-Stat."""
    try:
        raw = json.loads(base64.b64decode(header, validate=True))
        changed = dt.datetime.fromisoformat(str(raw["mtime"]))
        since = changed - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return Look(size=int(raw["size"]), changed=since // dt.timedelta(microseconds=1))
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError("the container engine says nothing of use of a path") from error


def is_remote(endpoint: str) -> bool:
    """Whether the engine's disk may be another machine's: anything but a local socket."""
    return not endpoint.startswith(("unix:", "http+unix:", "npipe:", "/"))


def plain_endpoint(endpoint: str) -> str:
    """The endpoint without user and password."""
    parts = urlsplit(endpoint)
    if "@" not in parts.netloc:
        return endpoint
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _ports(raw: Mapping[str, Any]) -> dict[int, tuple[str, int]]:
    found: dict[int, tuple[str, int]] = {}
    for name, bindings in (_mapping(raw, "NetworkSettings").get("Ports") or {}).items():
        port, _, protocol = str(name).partition("/")
        if protocol == "tcp" and bindings:
            found[int(port)] = (str(bindings[0]["HostIp"]), int(bindings[0]["HostPort"]))
    return found


def _gpus(raw: Mapping[str, Any]) -> GpuRequest | None:
    """Engine API, DeviceRequest: names, or a number of which -1 is all."""
    asked = _mapping(raw, "HostConfig").get("DeviceRequests") or ()
    requests = [request for request in asked if isinstance(request, Mapping)]
    if not requests:
        return None
    ids = tuple(str(name) for request in requests for name in request.get("DeviceIDs") or ())
    return GpuRequest(count=len(ids) + sum(int(r.get("Count") or 0) for r in requests), ids=ids)


def _mapping(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    return value if isinstance(value, Mapping) else {}


def _digest(raw: Mapping[str, Any], key: str) -> Digest:
    return _parsed(raw.get(key))


def _parsed(value: object) -> Digest:
    try:
        return parse_digest(str(value))
    except (MllockError, ValueError) as error:
        raise EngineError(
            "the container engine names something by no sha256 digest", found=str(value)
        ) from error
