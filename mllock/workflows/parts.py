"""What an image has beyond the environment, and the image and signed statement that come of it.

Not for the environment (`mllock.workflows.environment`) or for where images go
(`mllock.workflows.build`). A part is made from the project's code and, for serving, one run: what
does not fit together is refused here, before anything is written.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from mllock.attest.bundle import sign_statement
from mllock.attest.image_statement import LayerFact, make_image_statement
from mllock.attest.keys import SigningKey
from mllock.core.digest import Digest
from mllock.core.tree import SINGLE, TreeManifest
from mllock.errors import IntegrityError, RunError, SpecError
from mllock.image.build import layer_pool
from mllock.image.config import assemble
from mllock.image.environment import image_variables
from mllock.image.folder import code_nodes, model_nodes, record_nodes
from mllock.image.layers import make_layer
from mllock.image.tree import Node
from mllock.image.types import (
    BASE_LAYERS_LABEL,
    BUILDER_FORMAT,
    Image,
    ImageConfig,
    ImageKind,
    ImagePlan,
    Layer,
)
from mllock.lock.types import Lock
from mllock.serve.health import health_command
from mllock.spec.command import resolve, with_port
from mllock.spec.loaded import LoadedSpec
from mllock.spec.types import Serve, Train
from mllock.train.plan import params_bytes
from mllock.train.runs import RunFolder
from mllock.train.trees import changed_entries
from mllock.workflows.context import Context
from mllock.workflows.environment import BuiltEnvironment, platform_of

__all__ = [
    "ENVIRONMENT_LABEL",
    "BuiltImage",
    "Parts",
    "changed_model",
    "evidence_nodes",
    "finish",
    "named_labels",
    "refuse_another",
    "refuse_run",
    "serve_code",
    "serve_parts",
    "train_command",
    "train_nodes",
    "train_parts",
]

PARAMS = "params.json"
ENVIRONMENT_LABEL = "mllock.environment"
_TRAIN = 'train again with "mllock train"'
_REBUILT = (
    "bring the train image that it ran in back into the engine (docker load or pull), then build "
    'again; or train again with "mllock train"'
)
# What [builder] layers may be at most.
MOST_LAYERS = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltImage:
    """An image and the signed statement about it; `run` is the run that a serve image is of."""

    image: Image
    statement: bytes
    run: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What one image has beyond the environment."""

    kind: ImageKind
    layers: tuple[Layer, ...]
    command: tuple[str, ...]
    code: TreeManifest
    serve: Serve | None = None
    run: RunFolder | None = None


def train_nodes(ctx: Context, loaded: LoadedSpec) -> tuple[tuple[Node, ...], TreeManifest]:
    """What a train image has beyond the environment, and the code in it."""
    from mllock.data.code import select_code

    train = _train(loaded)
    code = select_code(ctx.project, loaded.spec, train.code).manifest
    outputs = tuple(path for path in (train.model, train.metrics) if path is not None)
    nodes = {node.path: node for node in code_nodes(ctx.project, code, outputs)}
    # So that the image trains as it is; a runtime sets MLLOCK_PARAMS to a file of its own.
    for node in record_nodes({PARAMS: params_bytes(train.params)}):
        nodes.setdefault(node.path, node)
    return tuple(nodes.values()), code


def train_command(loaded: LoadedSpec) -> tuple[str, ...]:
    train = _train(loaded)
    return resolve(train.command, train.params, f"/opt/mllock/{PARAMS}")


def train_parts(ctx: Context, loaded: LoadedSpec) -> Parts:
    nodes, code = train_nodes(ctx, loaded)
    return Parts(
        kind="train",
        layers=(make_layer(ctx.cache, "code", "training code", nodes),),
        command=train_command(loaded),
        code=code,
    )


def refuse_another(loaded: LoadedSpec, environment: BuiltEnvironment, run: RunFolder) -> None:
    """A run of another project, or one that was trained on the platform of `environment` and not in
    it. On which one it was trained, its record says. Raises RunError."""
    record = run.record()
    trained = record.environment_document.get("architecture")
    here = trained == environment.document["architecture"]
    for what, expected, found in (
        ("for another project", loaded.spec.project.name, record.project),
        ("in another environment", environment.digest, record.environment if here else None),
    ):
        if found is not None:
            built = loaded.spec.builder.kind == "docker" and "environment" in what
            refuse_run(run, what, expected, found, hint=_REBUILT if built else _TRAIN)


def serve_code(ctx: Context, loaded: LoadedSpec, run: RunFolder) -> TreeManifest:
    """The code that is served with the model of `run`."""
    from mllock.data.code import select_code

    train, serve = _train(loaded), loaded.spec.serve
    assert serve is not None
    patterns, key = (train.code, "train.code") if serve.code is None else (serve.code, "serve.code")
    code = select_code(ctx.project, loaded.spec, patterns, key=key).manifest
    _refuse_model_in_code(code, run.record().model_path, run)
    return code


def evidence_nodes(run: RunFolder) -> tuple[Node, ...]:
    """What a serve image carries about itself."""
    return record_nodes(
        {
            "mlproject.lock": run.lock_bytes(),
            "model.manifest": run.model_manifest().text(),
            "record.sigstore.json": run.bundle_bytes(),
        }
    )


def serve_parts(ctx: Context, loaded: LoadedSpec, run: RunFolder) -> Parts:
    """The same for every platform: code, model, record. `refuse_another` comes first."""
    serve = loaded.spec.serve
    assert serve is not None
    record, model = run.record(), run.model_manifest()
    code = serve_code(ctx, loaded, run)
    with layer_pool() as pool:
        nodes = model_nodes(run.model_path(), model, record.model_path)
        try:
            model_layer = make_layer(ctx.cache, "model", "model", nodes, pool)
        except (IntegrityError, OSError) as error:
            raise changed_model(run, model) or error from error
    return Parts(
        kind="serve",
        layers=(
            make_layer(ctx.cache, "code", "serving code", code_nodes(ctx.project, code)),
            model_layer,
            make_layer(ctx.cache, "record", "record", evidence_nodes(run)),
        ),
        command=with_port(serve.command, serve.port),
        code=code,
        serve=serve,
        run=run,
    )


def refuse_run(run: RunFolder, what: str, expected: str, found: str, *, hint: str = _TRAIN) -> None:
    if found != expected:
        raise RunError(
            f"the run was trained {what}",
            file=run.id,
            expected=expected,
            found=found,
            hint=hint,
        )


def changed_model(run: RunFolder, model: TreeManifest) -> RunError | None:
    """The first file of the run's model that is not what the record names; None if all are."""
    root = run.model_path()
    for entry in model.entries:
        if not changed_entries(TreeManifest((entry,)), root):
            continue
        path = root if entry.path == SINGLE else root / entry.path
        try:
            with open(path, "rb") as file:
                found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        except OSError as error:
            found = (error.strerror or str(error)).lower()
        return RunError(
            "the model is not the one that the record names",
            file=str(path.relative_to(run.path.parent)),
            expected=entry.digest or entry.target or "a folder",
            found=found,
            hint='bring the file back, name another run with --run, or train again with "mllock '
            'train"',
        )
    return None


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


def finish(
    loaded: LoadedSpec, lock: Lock, environment: BuiltEnvironment, parts: Parts, key: SigningKey
) -> BuiltImage:
    spec = loaded.spec
    base = lock.base.on(platform_of(lock))
    labels = {
        **named_labels(loaded, lock, parts.kind),
        "mllock.builder-format": str(BUILDER_FORMAT),
        ENVIRONMENT_LABEL: environment.digest,
    }
    if base is not None:
        labels[BASE_LAYERS_LABEL] = str(len(base.layers))
    if spec.builder.kind == "docker":
        # Not only the base is written by other tools: see `mllock.check.bases`.
        labels[BASE_LAYERS_LABEL] = str(len(environment.layers))
    runtime_variables: tuple[str, ...] = ()
    if parts.serve is not None:
        runtime_variables = tuple(sorted(set(parts.serve.runtime_variables)))
    layers = (*environment.layers, *parts.layers)
    _refuse_too_many(loaded, parts.kind, len(layers))
    plan = ImagePlan(
        kind=parts.kind,
        platform=platform_of(lock),
        layers=layers,
        config=ImageConfig(
            command=parts.command,
            variables=image_variables(spec.environment.variables, base),
            port=None if parts.serve is None else parts.serve.port,
            health=() if parts.serve is None else health_command(parts.serve),
            labels=labels,
        ),
        history=environment.history,
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


def named_labels(loaded: LoadedSpec, lock: Lock, kind: ImageKind) -> dict[str, str]:
    """The labels that follow from spec and lock alone."""
    spec, base = loaded.spec, lock.base.on(platform_of(lock))
    labels = {
        "org.opencontainers.image.title": spec.project.name,
        "org.opencontainers.image.version": spec.project.version,
        "org.opencontainers.image.base.name": spec.environment.base,
        "mllock.kind": kind,
    }
    if base is not None:
        labels["org.opencontainers.image.base.digest"] = base.manifest
    if spec.project.description:
        labels["org.opencontainers.image.description"] = spec.project.description
    if kind == "serve" and spec.serve is not None:
        if spec.serve.runtime_variables:
            names = sorted(set(spec.serve.runtime_variables))
            labels["mllock.runtime-variables"] = " ".join(names)
        if spec.serve.health is not None:
            labels["mllock.health"] = spec.serve.health
    return labels


def _refuse_too_many(loaded: LoadedSpec, kind: ImageKind, count: int) -> None:
    """The lock keeps Python packages within the limit; a base from elsewhere may have its own."""
    limit = loaded.spec.builder.layers
    if count > limit:
        raise SpecError(
            f"the {kind} image would have {count} layers",
            file=loaded.path.name,
            key="builder.layers",
            expected=f"at most {limit}",
            hint=f'set [builder] layers = {count} or more, then "mllock lock"'
            if count <= MOST_LAYERS
            else "take a base of fewer layers",
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
