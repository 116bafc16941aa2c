"""`mllock export dockerfile`: a build context that stands on its own, for people who leave us.

Made from spec, lock and run, never from what was built: the same inputs give the same bytes. The
project's files lie in folders whose names are ours, so that no path of the project is in the
Dockerfile. A base that mllock assembled is in no registry, so it is in the context, as the layer
that mllock's own images have; SHA256SUMS names every file. A folder that somebody changed is not
written over. See ADR 0068.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from mllock.errors import InputError, IntegrityError, NotAvailableError
from mllock.image.build import layers_below_python
from mllock.image.content import Sources
from mllock.image.dockerfile import DockerfilePlan, DockerStage, render
from mllock.image.environment import image_variables
from mllock.image.folder import code_nodes, model_nodes
from mllock.image.tree import Node
from mllock.image.types import ImageKind
from mllock.lock.direct import locked_references
from mllock.lock.platforms import narrowed
from mllock.lock.target import target_of
from mllock.lock.types import Lock
from mllock.processes import held_interrupts
from mllock.serve.health import health_command
from mllock.spec.command import with_port
from mllock.spec.loaded import LoadedSpec
from mllock.spec.reader import load_spec
from mllock.store import atomic
from mllock.store.registry.reference import parse_reference
from mllock.train.runs import RunFolder
from mllock.workflows.build import find_run
from mllock.workflows.context import Context
from mllock.workflows.docker_context import (
    blob_node,
    environment_plan,
    install_nodes,
    refuse_for_docker,
    text_node,
)
from mllock.workflows.docker_readme import readme
from mllock.workflows.environment import packages_of, platform_of
from mllock.workflows.export import default_platform
from mllock.workflows.parts import (
    changed_model,
    evidence_nodes,
    named_labels,
    refuse_run,
    serve_code,
    train_command,
    train_nodes,
)

__all__ = ["ExportedDockerfile", "export_dockerfile"]

SUMS = "SHA256SUMS"
_OPEN = 0o1777


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedDockerfile:
    """`stages` are what the Dockerfile can build; `run` is the run whose model is served."""

    folder: Path
    stages: tuple[ImageKind, ...]
    run: str | None
    files: int
    size: int


def export_dockerfile(
    ctx: Context,
    folder: Path | None = None,
    run_id: str | None = None,
    *,
    wheels: bool = True,
    platform: str | None = None,
) -> ExportedDockerfile:
    """Write the context of this project, for one platform, to `folder`. Raises InputError for a
    folder that is not this command's, and what building raises."""
    from mllock.workflows.lock import current_lock

    loaded = load_spec(ctx.project / "mlproject.toml")
    place = ctx.state / "dockerfile" if folder is None else folder
    _refuse_changed(place)
    whole, _ = current_lock(ctx, loaded)
    lock = narrowed(whole, platform or default_platform(whole))
    refuse_for_docker(loaded, lock)
    run = find_run(ctx, loaded, whole, (), run_id)
    plan, nodes = _environment(ctx, loaded, lock, wheels=wheels)
    stage, more = _train_stage(ctx, loaded, lock)
    stages, nodes = [stage], [*nodes, *more]
    if run is not None:
        stage, more = _serve_stage(ctx, loaded, lock, run)
        stages, nodes = [*stages, stage], [*nodes, *more]
    plan = replace(plan, stages=tuple(stages))
    nodes += [
        text_node("Dockerfile", render(plan).encode()),
        text_node(".dockerignore", _ignore(nodes)),
        text_node("debs.txt", _debs(lock)),
        text_node("README.md", readme(plan, lock, loaded)),
    ]
    ctx.reporter.step(f"writing {place}")
    size = _write(place, nodes, None if run is None else run)
    return ExportedDockerfile(
        folder=place,
        stages=tuple(stage.kind for stage in stages),
        run=None if run is None else run.id,
        files=sum(node.kind == "file" for node in nodes) + 1,
        size=size,
    )


def refuse_without_index(lock: Lock) -> None:
    """Raises InputError for packages that no index has: those that come from URLs."""
    names = sorted(locked_references(lock.inputs.environment, target_of(lock)))
    if names:
        raise InputError(
            f"{', '.join(names)} would not be found: the Dockerfile asks an index, and what comes "
            "from a URL is in none",
            hint="leave out --no-wheels: the wheels are then in the context",
        )


def _environment(
    ctx: Context, loaded: LoadedSpec, lock: Lock, *, wheels: bool
) -> tuple[DockerfilePlan, list[Node]]:
    if not wheels:
        refuse_without_index(lock)
    base = lock.base.on(platform_of(lock))
    reference = None
    if base is not None:
        if lock.base.kind == "oci":
            raise loaded.error_of(
                NotAvailableError,
                "a Dockerfile cannot name a base that is a folder",
                "environment",
                "base",
                found=f'"{lock.base.reference}"',
                hint="push it to a registry, and name it there",
            )
        named = parse_reference(str(lock.base.reference))
        reference = f"{named.name}@{base.manifest}"
    nodes: list[Node] = []
    archives: list[str] = []
    if base is None or lock.system:
        below = layers_below_python(lock, packages_of(ctx, loaded, lock), ctx.cache, ctx.reporter)
        for layer in below:
            if layer.kind == "base" and base is not None:
                continue
            archives.append(f"{layer.kind}.tar.gz")
            nodes.append(blob_node(ctx, archives[-1], layer.digest, layer.size))
    variables = image_variables(loaded.spec.environment.variables, base)
    inherited = {} if base is None else base.variables
    plan = replace(
        environment_plan(loaded, lock, reference),
        archives=tuple(archives),
        offline=wheels,
        variables={k: v for k, v in variables.items() if inherited.get(k) != v},
    )
    return plan, [*nodes, *install_nodes(ctx, lock, wheels=wheels)]


def _train_stage(ctx: Context, loaded: LoadedSpec, lock: Lock) -> tuple[DockerStage, list[Node]]:
    nodes, _ = train_nodes(ctx, loaded)
    return DockerStage(
        kind="train",
        folders=("train",),
        command=train_command(loaded),
        open_folders=tuple(sorted(f"/{node.path}" for node in nodes if node.mode == _OPEN)),
        labels=named_labels(loaded, lock, "train"),
    ), _below("train", nodes)


def _serve_stage(
    ctx: Context, loaded: LoadedSpec, lock: Lock, run: RunFolder
) -> tuple[DockerStage, list[Node]]:
    serve = loaded.spec.serve
    assert serve is not None
    record, model = run.record(), run.model_manifest()
    refuse_run(run, "for another project", loaded.spec.project.name, record.project)
    code = code_nodes(ctx.project, serve_code(ctx, loaded, run))
    return DockerStage(
        kind="serve",
        folders=("serve", "model", "record"),
        command=with_port(serve.command, serve.port),
        port=serve.port,
        health=health_command(serve),
        labels=named_labels(loaded, lock, "serve"),
    ), [
        *_below("serve", code),
        *_below("model", model_nodes(run.model_path(), model, record.model_path)),
        *_below("record", evidence_nodes(run)),
    ]


def _below(folder: str, nodes: Sequence[Node]) -> list[Node]:
    """`nodes` in a folder of the context. Modes that a disk may not keep are the Dockerfile's."""
    moved = [Node(path=folder, kind="folder", mode=0o755)]
    for node in nodes:
        mode = 0o755 if node.mode == _OPEN else node.mode
        moved.append(msgspec.structs.replace(node, path=f"{folder}/{node.path}", mode=mode))
    return moved


def _ignore(nodes: Sequence[Node]) -> bytes:
    """Only what is in the context now: what is put beside it later is not sent."""
    top = sorted({node.path.partition("/")[0] for node in nodes})
    return "".join(f"{line}\n" for line in ("*", *(f"!{name}" for name in top))).encode()


def _debs(lock: Lock) -> bytes:
    """For `sha256sum -c`, in a folder that is laid out as a mirror is."""
    return "".join(f"{deb.sha256}  {deb.filename}\n" for deb in lock.system).encode()


# On the disk


def _write(place: Path, nodes: Sequence[Node], run: RunFolder | None) -> int:
    parent = place.absolute().parent
    with atomic.staging(parent) as staged:
        try:
            sums = _fill(staged, nodes)
        except (IntegrityError, OSError) as error:
            changed = None if run is None else changed_model(run, run.model_manifest())
            raise changed or error from error
        (staged / SUMS).write_bytes(sums)
        (staged / SUMS).chmod(0o644)
        size = sum(p.lstat().st_size for p in staged.rglob("*") if p.is_file())
        with held_interrupts(), contextlib.ExitStack() as stack:
            if place.exists():
                _refuse_changed(place)
                # Beside it first: what fails from here on leaves one of the two.
                old = stack.enter_context(atomic.staging(parent)) / "old"
                os.rename(place, old)
            if not atomic.publish_folder(staged, place):
                raise InputError("was made by another at the same time", file=str(place))
    return size


def _fill(staged: Path, nodes: Sequence[Node]) -> bytes:
    """Write the nodes, each file verified as it is read; the SHA256SUMS of the files."""
    sums: dict[str, str] = {}
    with Sources() as sources:
        for node in sorted(nodes, key=lambda node: node.path):
            path = staged / node.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if node.kind == "folder":
                path.mkdir(exist_ok=True)
                path.chmod(0o755)
            elif node.kind == "symlink":
                path.symlink_to(node.target or "")
            else:
                hasher = hashlib.sha256()
                with open(path, "xb") as file:
                    for piece in sources.read(node):
                        hasher.update(piece)
                        file.write(piece)
                path.chmod(node.mode)
                sums[node.path] = hasher.hexdigest()
    return "".join(_sum(digest, path) for path, digest in sorted(sums.items())).encode()


def _sum(digest: str, path: str) -> str:
    """A line of sha256sum (GNU coreutils: a backslash before it says that the name has some)."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == path else chr(92)}{digest}  {escaped}\n"


def _refuse_changed(place: Path) -> None:
    """Raises InputError unless there is nothing, or what this command has written there."""
    if not place.exists() and not place.is_symlink():
        return
    if place.is_symlink() or not place.is_dir():
        raise InputError("this is no folder, and is not written over", file=str(place))
    found = sorted(str(p.relative_to(place)) for p in place.rglob("*") if not p.is_dir())
    if not found:
        return
    sums = place / SUMS
    if not sums.is_file() or not (place / "Dockerfile").is_file():
        raise InputError(
            "the folder has files that this command did not write",
            file=str(place),
            found=", ".join(found[:5]),
            hint="name an empty folder, or one that does not exist",
        )
    listed = sums.read_bytes()
    for path in found:
        entry = place / path
        if path == SUMS or entry.is_symlink():
            continue
        with open(entry, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if _sum(digest, path).encode() not in listed.splitlines(keepends=True):
            raise InputError(
                "was changed or added since the context was written",
                file=posixpath.join(str(place), path),
                hint="name another folder with -o, or remove this one",
            )
