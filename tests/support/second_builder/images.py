"""Code, model and record; config and manifest of both images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from support.second_builder.layers import Layer, Member, layer, sha256
from support.second_builder.wheels import Wheel, python_layers

EPOCH = "1970-01-01T00:00:00Z"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True, kw_only=True)
class Project:
    """What the page is about: everything that the bytes of both images depend on.

    Trees are path -> (bytes, or the target of a link, or None for an empty folder; executable).
    """

    name: str
    version: str
    description: str
    base: str
    builder_format: int
    python: str
    interpreter: str
    below: Sequence[Layer]
    groups: Sequence[Sequence[Wheel]]
    variables: Mapping[str, str]
    outputs: Sequence[str]
    model_path: str
    params: Mapping[str, object]
    train_command: Sequence[str]
    serve_command: Sequence[str]
    port: int
    health: str
    runtime_variables: Sequence[str]
    train_code: Mapping[str, tuple[bytes | str | None, bool]]
    serve_code: Mapping[str, tuple[bytes | str | None, bool]]
    model: Mapping[str, tuple[bytes | str | None, bool]]
    record: Mapping[str, bytes]


def tree(prefix: str, files: Mapping[str, tuple[bytes | str | None, bool]]) -> list[Member]:
    found = []
    for name, (content, executable) in files.items():
        path = prefix if name == "." else f"{prefix}/{name}"
        match content:
            case None:
                found.append(Member(path=path, kind="5", mode=0o755))
            case str():
                found.append(Member(path=path, kind="2", mode=0o777, target=content))
            case bytes():
                file = _file(path, content)
                found.append(replace(file, mode=0o755) if executable else file)
    return found


def train_code(project: Project) -> Layer:
    open_folders = {"app"}
    for output in project.outputs:
        parts = f"app/{output}".split("/")[:-1]
        open_folders |= {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
    params = json.dumps(project.params, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    members = [
        *tree("app", project.train_code),
        *(Member(path=path, kind="5", mode=0o1777) for path in open_folders),
        _file("opt/mllock/params.json", params.encode()),
    ]
    return layer("code", "training code", members)


def serve_layers(project: Project) -> list[Layer]:
    app = Member(path="app", kind="5", mode=0o755)
    record = [_file(f"opt/mllock/{name}", data) for name, data in project.record.items()]
    return [
        layer("code", "serving code", [app, *tree("app", project.serve_code)]),
        layer("model", "model", tree(f"app/{project.model_path}", project.model)),
        layer("record", "record", record),
    ]


def _file(path: str, data: bytes) -> Member:
    return Member(path=path, kind="0", mode=0o644, data=data)


def canonical(value: object) -> bytes:
    """RFC 8785, of values without fractions."""
    return _canonical(value).encode()


def _canonical(value: object) -> str:
    match value:
        case dict():
            keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
            return "{" + ",".join(f"{_canonical(k)}:{_canonical(value[k])}" for k in keys) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Built:
    layers: Sequence[Layer]
    config: bytes
    manifest: bytes


def images(project: Project) -> dict[str, Built]:
    environment = [
        *project.below,
        *python_layers(project.groups, project.python, project.interpreter),
    ]
    return {
        "train": _image("train", project, environment, [train_code(project)]),
        "serve": _image("serve", project, environment, serve_layers(project)),
    }


def _image(
    kind: str, project: Project, environment: Sequence[Layer], own: Sequence[Layer]
) -> Built:
    layers = [*environment, *own]
    variables = {"PATH": "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"} | dict(project.variables)
    document = {
        "v": 1,
        "os": "linux",
        "architecture": "amd64",
        "variant": "",
        "diff_ids": [item.diff_id for item in environment],
        "variables": variables,
        "user": "10001:10001",
        "workdir": "/app",
    }
    labels = {
        "org.opencontainers.image.title": project.name,
        "org.opencontainers.image.version": project.version,
        "org.opencontainers.image.base.name": project.base,
        "org.opencontainers.image.description": project.description,
        "mllock.kind": kind,
        "mllock.environment": sha256(canonical(document)),
        "mllock.builder-format": str(project.builder_format),
    }
    command = project.train_command if kind == "train" else project.serve_command
    runtime: dict[str, object] = {
        "User": "10001:10001",
        "WorkingDir": "/app",
        "Env": [f"{name}={variables[name]}" for name in sorted(variables)],
        "Cmd": list(command),
        "Labels": labels,
    }
    if kind == "serve":
        runtime["ExposedPorts"] = {f"{project.port}/tcp": {}}
        labels["mllock.health"] = project.health
        labels["mllock.runtime-variables"] = " ".join(sorted(project.runtime_variables))
        request = (
            f"GET {project.health} HTTP/1.1\r\nHost: 127.0.0.1:{project.port}\r\n"
            "Connection: close\r\n\r\n"
        ).encode()
        program = (
            "import _signal,_socket;_signal.alarm(5);c=_socket.socket();"
            f"c.connect(('127.0.0.1',{project.port}));"
            f"c.sendall({request!r});"
            "a=c.recv(12,_socket.MSG_WAITALL);"
            "raise SystemExit(not(a[:7]==b'HTTP/1.'and a[9:10]==b'2'))"
        )
        runtime["Healthcheck"] = {
            "Test": ["CMD", "/opt/venv/bin/python", "-I", "-S", "-c", program],
            "Interval": 10_000_000_000,
            "Timeout": 10_000_000_000,
            "StartPeriod": 300_000_000_000,
            "Retries": 3,
        }
    config = canonical(
        {
            "created": EPOCH,
            "os": "linux",
            "architecture": "amd64",
            "config": runtime,
            "rootfs": {"type": "layers", "diff_ids": [item.diff_id for item in layers]},
            "history": [
                {"created": EPOCH, "created_by": f"mllock {item.kind}: {item.title}"}
                for item in layers
            ],
        }
    )
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": sha256(config), "size": len(config)},
            "layers": [
                {"mediaType": LAYER, "digest": item.digest, "size": len(item.blob)}
                for item in layers
            ],
        }
    )
    return Built(layers=layers, config=config, manifest=manifest)
