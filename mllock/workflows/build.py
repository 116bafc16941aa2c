"""`mllock build`: from spec and lock to images in an OCI layout, with signed statements.

Order: spec, lock (a stale one is refused), the run, environment layers, then for each kind its own
layers, image and statement; the layout is written last and at once. The environment comes from one
place, so train and serve share it by construction; a run of another environment is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.bundle import sign_statement
from mllock.attest.image_statement import LayerFact, make_image_statement
from mllock.attest.keys import SigningKey, load_or_create_key
from mllock.core.digest import Digest
from mllock.core.platform import host_platform
from mllock.core.tree import TreeManifest
from mllock.errors import RunError, SpecError
from mllock.image.build import layer_pool
from mllock.image.config import assemble
from mllock.image.environment import image_variables
from mllock.image.folder import code_nodes, model_nodes, record_nodes
from mllock.image.layers import make_layer
from mllock.image.types import BUILDER_FORMAT, Image, ImageConfig, ImageKind, ImagePlan, Layer
from mllock.lock.types import Lock
from mllock.serve.types import ServePlan
from mllock.spec.command import resolve, with_port
from mllock.spec.loaded import LoadedSpec
from mllock.spec.reader import load_spec, refuse_unavailable
from mllock.spec.types import Serve, Train
from mllock.store import atomic
from mllock.store.layout import refuse_loss, refuse_other_folders, write_layout
from mllock.store.layout_reader import LayoutImage
from mllock.train.plan import params_bytes
from mllock.train.runs import RunFolder, newest_good
from mllock.workflows.context import Context
from mllock.workflows.environment import BuiltEnvironment, environment_of, platform_of
from mllock.workflows.runs import run_to_serve

__all__ = [
    "BuildResult",
    "BuiltEnvironment",
    "BuiltImage",
    "build_images",
    "default_output",
    "environment_label",
    "environment_of",
    "model_image",
    "serve_image",
    "train_image",
]

PARAMS = "params.json"
ENVIRONMENT_LABEL = "mllock.environment"
STATEMENT = "serve-image.sigstore.json"
TRAIN_STATEMENT = "train-image.sigstore.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltImage:
    """An image and the signed statement about it; `run` is the run that a serve image is of."""

    image: Image
    statement: bytes
    run: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """`fingerprint` is of the key that signed the statements."""

    project: str
    output: Path
    environment: BuiltEnvironment
    images: tuple[BuiltImage, ...]
    fingerprint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    """What one image has beyond the environment."""

    kind: ImageKind
    layers: tuple[Layer, ...]
    command: tuple[str, ...]
    code: TreeManifest
    serve: Serve | None = None
    run: RunFolder | None = None


def default_output(ctx: Context) -> Path:
    return ctx.state / "oci"


def build_images(
    ctx: Context,
    kinds: Sequence[ImageKind] = (),
    output: Path | None = None,
    run_id: str | None = None,
) -> BuildResult:
    """Build `kinds` (default: both, or only train while there is no run) into `output`."""
    from mllock.workflows.lock import current_lock

    loaded = load_spec(ctx.project / "mlproject.toml")
    refuse_unavailable(loaded, host_platform())
    folder = output or default_output(ctx)
    refuse_other_folders(folder)
    refuse_loss(folder, kinds or ("train",), _is_ours)
    lock, _ = current_lock(ctx, loaded)
    run = _find_run(ctx, loaded, lock, kinds, run_id)
    environment = environment_of(ctx, loaded, lock)
    parts: list[_Parts] = []
    if not kinds or "train" in kinds:
        parts.append(_train_parts(ctx, loaded))
    if run is not None:
        parts.append(_serve_parts(ctx, loaded, environment, run))
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    images = tuple(_finish(loaded, lock, environment, part, key) for part in parts)
    ctx.reporter.step(f"writing {folder}")
    removed = write_layout(
        folder,
        {built.image.kind: built.image for built in images},
        {built.image.kind: built.statement for built in images},
        ctx.cache,
        keep=lambda other: environment_label(other) == environment.digest,
        ours=_is_ours,
    )
    for name, why in removed.items():
        ctx.reporter.note(f'removed the image "{name}" from {folder}: {why}')
    for part, built in zip(parts, images, strict=True):
        if part.run is not None:
            atomic.write_bytes(part.run.path / STATEMENT, built.statement)
    _keep_train_statement(parts, images)
    return BuildResult(
        project=loaded.spec.project.name,
        output=folder,
        environment=environment,
        images=images,
        fingerprint=key.fingerprint,
    )


def train_image(
    ctx: Context, loaded: LoadedSpec, lock: Lock, environment: BuiltEnvironment
) -> Image:
    """The image that `build train` writes: what `mllock train` runs in."""
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    return _finish(loaded, lock, environment, _train_parts(ctx, loaded), key).image


def serve_image(
    ctx: Context, loaded: LoadedSpec, lock: Lock, environment: BuiltEnvironment, run: RunFolder
) -> Image:
    """The image that `build serve` writes; its statement is beside the run, as after a build."""
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    built = _finish(loaded, lock, environment, _serve_parts(ctx, loaded, environment, run), key)
    atomic.write_bytes(run.path / STATEMENT, built.statement)
    return built.image


def model_image(
    ctx: Context,
    loaded: LoadedSpec,
    lock: Lock,
    environment: BuiltEnvironment,
    plan: ServePlan,
) -> Image:
    """A serving image of a model that has no record yet: all layers but that of the record."""
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    with layer_pool() as pool:
        nodes = model_nodes(plan.model_root, plan.model, plan.model_path)
        model = make_layer(ctx.cache, "model", "model", nodes, pool)
    code = make_layer(ctx.cache, "code", "serving code", code_nodes(plan.code_root, plan.code))
    parts = _Parts(
        kind="serve",
        layers=(code, model),
        command=with_port(plan.serve.command, plan.serve.port),
        code=plan.code,
        serve=plan.serve,
    )
    return _finish(loaded, lock, environment, parts, key).image


def _keep_train_statement(parts: Sequence[_Parts], images: Sequence[BuiltImage]) -> None:
    """Beside the run that is served, if it was trained from this very code: a release binds it."""
    runs = [part.run for part in parts if part.run is not None]
    for part, built in zip(parts, images, strict=True):
        for run in runs:
            if part.kind == "train" and run.record().code == part.code.digest:
                atomic.write_bytes(run.path / TRAIN_STATEMENT, built.statement)


def _find_run(
    ctx: Context,
    loaded: LoadedSpec,
    lock: Lock,
    kinds: Sequence[ImageKind],
    run_id: str | None,
) -> RunFolder | None:
    """The run to serve; None if a serve image is not asked for, or not possible yet."""
    wanted = "serve" in kinds or run_id is not None
    if kinds and not wanted:
        return None
    if loaded.spec.serve is None:
        if not wanted:
            return None
        raise SpecError(
            "a serve image needs a [serve] table",
            file=loaded.path.name,
            key="serve",
            hint="say there what is to be served: command, port",
        )
    if wanted:
        return run_to_serve(ctx, lock, run_id)
    run = newest_good(ctx.runs, Digest(lock.content_digest))
    if run is None:
        ctx.reporter.note('no run of this lock yet: only the train image; see "mllock train"')
    return run


def _train_parts(ctx: Context, loaded: LoadedSpec) -> _Parts:
    from mllock.data.code import select_code

    train = _train(loaded)
    code = select_code(ctx.project, loaded.spec, train.code).manifest
    outputs = tuple(path for path in (train.model, train.metrics) if path is not None)
    nodes = {node.path: node for node in code_nodes(ctx.project, code, outputs)}
    # So that the image trains as it is; a runtime sets MLLOCK_PARAMS to a file of its own.
    for node in record_nodes({PARAMS: params_bytes(train.params)}):
        nodes.setdefault(node.path, node)
    return _Parts(
        kind="train",
        layers=(make_layer(ctx.cache, "code", "training code", nodes.values()),),
        command=resolve(train.command, train.params, f"/opt/mllock/{PARAMS}"),
        code=code,
    )


def _serve_parts(
    ctx: Context, loaded: LoadedSpec, environment: BuiltEnvironment, run: RunFolder
) -> _Parts:
    from mllock.data.code import select_code

    train, serve = _train(loaded), loaded.spec.serve
    assert serve is not None
    record, model = run.record(), run.model_manifest()
    for what, expected, found in (
        ("for another project", loaded.spec.project.name, record.project),
        ("in another environment", environment.digest, record.environment),
    ):
        if found != expected:
            raise RunError(
                f"the run was trained {what}",
                file=run.id,
                expected=expected,
                found=found,
                hint='train again with "mllock train"',
            )
    patterns, key = (train.code, "train.code") if serve.code is None else (serve.code, "serve.code")
    code = select_code(ctx.project, loaded.spec, patterns, key=key).manifest
    _refuse_model_in_code(code, record.model_path, run)
    evidence = {
        "mlproject.lock": run.lock_bytes(),
        "model.manifest": model.text(),
        "record.sigstore.json": run.bundle_bytes(),
    }
    with layer_pool() as pool:
        nodes = model_nodes(run.model_path(), model, record.model_path)
        model_layer = make_layer(ctx.cache, "model", "model", nodes, pool)
    return _Parts(
        kind="serve",
        layers=(
            make_layer(ctx.cache, "code", "serving code", code_nodes(ctx.project, code)),
            model_layer,
            make_layer(ctx.cache, "record", "record", record_nodes(evidence)),
        ),
        command=with_port(serve.command, serve.port),
        code=code,
        serve=serve,
        run=run,
    )


def _refuse_model_in_code(code: TreeManifest, model: str, run: RunFolder) -> None:
    """The spec keeps its own outputs out of the code, but a run may be of an older spec."""
    for entry in code.entries:
        if f"{entry.path}/".startswith(f"{model}/") or model.startswith(f"{entry.path}/"):
            raise RunError(
                "the run's model and the serving code have this path in common",
                file=run.id,
                key=entry.path,
                hint='train again with "mllock train", or name the path in .mllockignore',
            )


def _finish(
    loaded: LoadedSpec, lock: Lock, environment: BuiltEnvironment, parts: _Parts, key: SigningKey
) -> BuiltImage:
    spec = loaded.spec
    labels = {
        "org.opencontainers.image.title": spec.project.name,
        "org.opencontainers.image.version": spec.project.version,
        "org.opencontainers.image.base.name": spec.environment.base,
        "mllock.builder-format": str(BUILDER_FORMAT),
        "mllock.kind": parts.kind,
        ENVIRONMENT_LABEL: environment.digest,
    }
    if spec.project.description:
        labels["org.opencontainers.image.description"] = spec.project.description
    runtime_variables: tuple[str, ...] = ()
    if parts.serve is not None:
        runtime_variables = tuple(sorted(set(parts.serve.runtime_variables)))
        if runtime_variables:
            labels["mllock.runtime-variables"] = " ".join(runtime_variables)
        if parts.serve.health is not None:
            labels["mllock.health"] = parts.serve.health
    plan = ImagePlan(
        kind=parts.kind,
        platform=platform_of(loaded),
        layers=(*environment.layers, *parts.layers),
        config=ImageConfig(
            command=parts.command,
            variables=image_variables(spec.environment.variables),
            port=None if parts.serve is None else parts.serve.port,
            labels=labels,
        ),
    )
    image = assemble(plan)
    assert image.environment == environment.digest
    record = None if parts.run is None else parts.run.record()
    payload = make_image_statement(
        project=spec.project.name,
        kind=parts.kind,
        platform=plan.platform,
        config_digest=image.config_digest,
        manifest_digest=image.manifest_digest,
        environment_document=environment.document,
        layers=[
            LayerFact(kind=layer.kind, title=layer.title, diff_id=layer.diff_id)
            for layer in image.layers
        ],
        config=json.loads(image.config),
        runtime_variables=runtime_variables,
        lock=Digest(lock.content_digest),
        code=parts.code,
        record=None if record is None else record.digest,
        model=None if record is None else record.model,
    )
    return BuiltImage(
        image=image,
        statement=sign_statement(payload, key),
        run=None if parts.run is None else parts.run.id,
    )


def _train(loaded: LoadedSpec) -> Train:
    if loaded.spec.train is None:
        raise SpecError(
            "an image needs a [train] table",
            file=loaded.path.name,
            key="train",
            hint="say there how the model is made: command, model",
        )
    return loaded.spec.train


def _is_ours(image: LayoutImage) -> bool:
    """Whether `build` made it, and under this name: a copy under another name is somebody's."""
    return image.ref in ("train", "serve") and environment_label(image) is not None


def environment_label(image: LayoutImage) -> str | None:
    """What an image says of its environment; it may be anyone's."""
    value: object = image.config_value
    for key in ("config", "Labels", ENVIRONMENT_LABEL):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
