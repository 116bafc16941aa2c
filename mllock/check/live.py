"""What the engine says about a container, judged against its signed image config. Pure.

Every key of `Config` and `HostConfig` is looked at: compared, judged, known to change nothing that
runs (`mllock.check.live_lists`), or, where it is not known and not empty, unproven by its name. The
answer is three lists: what refutes, what leaves unproven, what is outside of the proof.
Source: Docker Engine API v1.41, ContainerInspect.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mllock.check.live_lists import (
    ENGINE_FILESYSTEMS,
    ENGINE_MOUNTS,
    FREE_CONFIG,
    FREE_HOST,
    LOADERS,
    PLATFORM,
    PROTECTED,
    PROTECTED_ETC,
    SCRATCH,
    TUNING,
    named,
)
from mllock.check.mountinfo import KernelMount
from mllock.check.tree import is_below
from mllock.check.types import Difference
from mllock.image.read import Member

__all__ = ["Judged", "MountSeen", "judge", "mounts_of", "protected"]

_MAX_LINKS = 40
# Namespaces of the container's own.
_OWN = frozenset({"", "private", "shareable", "none"})
_RUNTIMES = frozenset({"", "runc", "io.containerd.runc.v2"})
_STRICTER = ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true")
_NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class MountSeen:
    """Something mounted at `target`, a relative path with its links followed. `what` in words."""

    kind: str
    target: str
    what: str


@dataclass(slots=True)
class Judged:
    """`refuting` and `open` say what should be and what is; `outside` are words."""

    refuting: list[Difference] = field(default_factory=list)
    open: list[Difference] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def add(self, where: Literal["refuting", "open"], path: str, expected: str, found: str) -> None:
        difference = Difference(path=path, expected=expected, found=found)
        (self.refuting if where == "refuting" else self.open).append(difference)


def judge(
    raw: Mapping[str, Any],
    config: Mapping[str, Any],
    runtime_variables: Sequence[str],
    tree: Mapping[str, Member],
    there: Mapping[str, Member],
    kernel: Sequence[KernelMount] | None = None,
) -> Judged:
    """`raw` is the engine's description; `config` the signed image config's `config`; `tree` the
    files that the container should have, `there` those that it has; `kernel` the mounts that the
    kernel lists, if it could be asked."""
    judged = Judged()
    live = _mapping(raw, "Config")
    host = _mapping(raw, "HostConfig")
    _program(raw, live, config, judged)
    _variables(live, config, runtime_variables, judged)
    mounts = mounts_of(raw, tree, there)
    for mount in mounts:
        _mount(mount, tree, judged)
    _unknown_mounts(mounts, tree, kernel or (), judged)
    _devices(host, judged)
    _host(host, judged)
    _rest(live, config, judged)
    return judged


def protected(path: str) -> bool:
    """Whether what is at `path` is executed, imported or read as model."""
    return is_below(path, PROTECTED) or is_below(path, PROTECTED_ETC)


def _program(
    raw: Mapping[str, Any], live: Mapping[str, Any], config: Mapping[str, Any], judged: Judged
) -> None:
    for key in ("Entrypoint", "Cmd", "User", "WorkingDir"):
        expected, there = config.get(key) or None, live.get(key) or None
        if expected != there:
            judged.add("refuting", f"config.{key}", _text(expected), _text(there))
    wanted = [*_list(config.get("Entrypoint")), *_list(config.get("Cmd"))]
    configured = [*_list(live.get("Entrypoint")), *_list(live.get("Cmd"))]
    runs = [raw.get("Path", ""), *_list(raw.get("Args"))]
    if runs not in (wanted, configured):
        judged.add("refuting", "the program", _text(wanted), _text(runs))


def _variables(
    live: Mapping[str, Any],
    config: Mapping[str, Any],
    runtime_variables: Sequence[str],
    judged: Judged,
) -> None:
    wanted = dict(_pairs(config.get("Env")))
    found: dict[str, str] = {}
    for name, value in _pairs(live.get("Env")):
        if name in found:
            judged.add("refuting", f"variable {name}", "one value", "it is set twice")
        found[name] = value
    for name, value in wanted.items():
        if name in runtime_variables and name in found:
            if found[name] != value:
                judged.outside.append(f"variable {name}")
        elif name not in found:
            judged.add("refuting", f"variable {name}", value, _NOTHING)
        elif found[name] != value:
            known = name == "PATH" or named(name, LOADERS) or named(name, TUNING)
            there = found[name] if known else "another value"
            judged.add("refuting", f"variable {name}", value, there)
    for name in sorted(found.keys() - wanted.keys()):
        _added(name, runtime_variables, judged)


def _added(name: str, runtime_variables: Sequence[str], judged: Judged) -> None:
    """A variable that the image does not have. Its value may be a secret: it is not shown."""
    path = f"variable {name}"
    if name in runtime_variables:
        if named(name, LOADERS):
            judged.add("open", path, _NOTHING, "set: it can load code, declared or not")
        else:
            judged.outside.append(path)
    elif named(name, LOADERS):
        judged.add("refuting", path, _NOTHING, "set: it can load code or change how it is read")
    elif named(name, TUNING):
        judged.add("refuting", path, _NOTHING, "set: it can change how results are computed")
    elif name in PLATFORM:
        judged.outside.append(path)
    else:
        judged.add("open", path, "declared in runtime-variables", "set")


def mounts_of(raw: Mapping[str, Any], *trees: Mapping[str, Member]) -> tuple[MountSeen, ...]:
    """Binds, volumes and tmpfs, at where they come to lie: by the links of each of `trees`, for a
    link may have been put there to lead a mount elsewhere."""
    found = []
    for mount in _list(raw.get("Mounts")):
        kind = str(mount.get("Type") or "bind")
        source = str(mount.get("Name") or mount.get("Source") or "")
        what = f"a {kind} of {source}" if source else f"a {kind}"
        found.append((kind, str(mount.get("Destination")), what))
    folders = _mapping(_mapping(raw, "HostConfig"), "Tmpfs")
    found += [("tmpfs", str(target), "a tmpfs") for target in folders]
    seen = {
        MountSeen(kind=kind, target=resolved(target, tree), what=what)
        for kind, target, what in found
        for tree in trees
    }
    # Engines list them in no order.
    return tuple(sorted(seen, key=lambda mount: (mount.target, mount.what)))


def resolved(target: str, tree: Mapping[str, Member]) -> str:
    """`target` relative to the root, with the links of `tree` followed as the engine does."""
    waiting = [part for part in posixpath.normpath(f"/{target}").split("/") if part]
    at: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop(0)
        if part == "..":
            del at[-1:]
            continue
        member = tree.get("/".join([*at, part]))
        if member is not None and member.kind == "symlink" and links < _MAX_LINKS:
            links += 1
            link = member.target or ""
            if link.startswith("/"):
                at = []
            waiting = [piece for piece in link.split("/") if piece not in ("", ".")] + waiting
        else:
            at.append(part)
    return "/".join(at)


def _mount(mount: MountSeen, tree: Mapping[str, Member], judged: Judged) -> None:
    path = f"/{mount.target}"
    above = any(folder.startswith(f"{mount.target}/") for folder in (*PROTECTED, *PROTECTED_ETC))
    if not mount.target or above or protected(mount.target):
        expected = "nothing mounted on, under or above what is executed, imported or read"
        judged.add("refuting", path, expected, mount.what)
    elif mount.kind == "tmpfs" and (is_below(mount.target, SCRATCH) or mount.target not in tree):
        # It begins empty, and what is written there is not executed or imported by itself.
        judged.outside.append(f"{mount.what} at {path}")
    else:
        judged.add("open", path, "nothing mounted", mount.what)


def _unknown_mounts(
    mounts: Sequence[MountSeen],
    tree: Mapping[str, Member],
    kernel: Sequence[KernelMount],
    judged: Judged,
) -> None:
    """What is mounted without the engine having said so: by somebody in its mount namespace."""
    known = {mount.target for mount in mounts}
    known |= {resolved(path, tree) for path in ENGINE_MOUNTS}
    roots = 0
    for mount in kernel:
        roots += mount.target == ""
        if is_below(mount.target, ENGINE_FILESYSTEMS) or mount.target in known:
            continue
        if mount.target or roots > 1:
            seen = MountSeen(kind="mount", target=mount.target, what=f"{mount.what}, made later")
            _mount(seen, tree, judged)


def _devices(host: Mapping[str, Any], judged: Judged) -> None:
    for device in _list(host.get("Devices")):
        target = posixpath.normpath(str(device.get("PathInContainer"))).lstrip("/")
        where: Literal["refuting", "open"] = "refuting" if protected(target) else "open"
        judged.add(where, f"/{target}", "no device", f"the device {device.get('PathOnHost')}")
    for request in _list(host.get("DeviceRequests")):
        kinds = ", ".join(
            str(name) for group in _list(request.get("Capabilities")) for name in group
        )
        judged.add(
            "open",
            "HostConfig.DeviceRequests",
            "no devices",
            f"{kinds or 'devices'}: their toolkit mounts the libraries of the host's driver",
        )


def _host(host: Mapping[str, Any], judged: Judged) -> None:
    for key in sorted(host):
        value = host[key]
        match key:
            case "Binds" | "Mounts" | "Tmpfs" | "VolumesFrom" | "Devices" | "DeviceRequests":
                continue  # what comes of them is in the container's mounts, or judged above
            case "MaskedPaths" | "ReadonlyPaths":
                harmless = bool(value) or bool(host.get("Privileged"))
            case "PidMode" | "IpcMode" | "UsernsMode":
                harmless = value in _OWN
            case "Runtime":
                harmless = value in _RUNTIMES
            case "SecurityOpt":
                harmless = all(_is_stricter(option, host) for option in _list(value))
            case _:
                harmless = key in FREE_HOST or not value
        if not harmless:
            judged.add("open", f"HostConfig.{key}", "as engines have it by default", _text(value))
    if host.get("Init"):
        judged.outside.append("the engine's init as first process")


def _is_stricter(option: object, host: Mapping[str, Any]) -> bool:
    if option == "label=disable":
        # The engine adds it itself to privileged containers and to those in the host's namespaces.
        return bool(host.get("Privileged") or host.get("PidMode") or host.get("IpcMode"))
    return option in _STRICTER


def _rest(live: Mapping[str, Any], config: Mapping[str, Any], judged: Judged) -> None:
    for key in sorted(live.keys() - FREE_CONFIG):
        if key in ("Entrypoint", "Cmd", "User", "WorkingDir", "Env"):
            continue
        if key == "Healthcheck":
            if live[key] != config.get(key):
                judged.outside.append("a health check")
        elif live[key]:
            judged.add("open", f"config.{key}", _NOTHING, _text(live[key]))


def _pairs(listed: object) -> Iterator[tuple[str, str]]:
    for item in _list(listed):
        name, _, value = str(item).partition("=")
        yield name, value


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def _text(value: object) -> str:
    import json

    if value is None:
        return _NOTHING
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 500 else f"{text[:500]}..."
