"""`mllock build`: from spec and lock to images in an OCI layout, with signed statements.

Order: spec, lock (a stale one is refused), the run, environment layers, then for each kind its own
layers, image and statement; the layout is written last and at once. The environment of a platform
comes from one place, so train and serve share it by construction; a run that was trained on this
platform in another environment is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mllock.attest.keys import load_or_create_key
from mllock.core.digest import Digest
from mllock.errors import SpecError, SurroundingsError
from mllock.image.build import layer_pool
from mllock.image.folder import code_nodes, model_nodes
from mllock.image.layers import make_layer
from mllock.image.types import Image, ImageKind
from mllock.lock.platforms import narrowed, platforms_of
from mllock.lock.types import Lock
from mllock.spec.command import with_port
from mllock.spec.loaded import LoadedSpec
from mllock.spec.reader import load_spec
from mllock.store import atomic
from mllock.store.layout import refuse_loss, refuse_other_folders, write_layout
from mllock.store.layout_reader import LayoutImage
from mllock.train.runs import RunFolder, newest_good
from mllock.workflows.context import Context
from mllock.workflows.environment import BuiltEnvironment, environment_of
from mllock.workflows.own_places import refuse_led_out
from mllock.workflows.parts import (
    ENVIRONMENT_LABEL,
    BuiltImage,
    Parts,
    finish,
    refuse_another,
    serve_parts,
    train_parts,
)
from mllock.workflows.runs import run_to_serve
from mllock.workflows.sbom import sbom_of

if TYPE_CHECKING:  # a build that explains nothing is to be quick
    from mllock.serve.types import ServePlan
    from mllock.workflows.explain import Explanation

__all__ = [
    "BuildResult",
    "BuiltEnvironment",
    "BuiltImage",
    "build_images",
    "default_output",
    "environment_label",
    "environment_of",
    "find_run",
    "model_image",
    "serve_image",
    "train_image",
]

STATEMENT = "serve-image.sigstore.json"
TRAIN_STATEMENT = "train-image.sigstore.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """`environments` by platform; `images` of one kind are one image for these platforms, in this
    order. `fingerprint` is of the key that signed the statements; `sboms` are by kind of image, in
    the same order, and there are `explanations` if they were asked for."""

    project: str
    output: Path
    environments: Mapping[str, BuiltEnvironment]
    images: tuple[BuiltImage, ...]
    fingerprint: str
    sboms: Mapping[str, tuple[bytes, ...]]
    explanations: tuple[Explanation, ...] = ()

    @property
    def environment(self) -> BuiltEnvironment:
        """That of the one platform, where there is one."""
        (environment,) = self.environments.values()
        return environment

    @property
    def kinds(self) -> tuple[ImageKind, ...]:
        return tuple(dict.fromkeys(built.image.kind for built in self.images))

    def of(self, kind: ImageKind) -> tuple[BuiltImage, ...]:
        return tuple(built for built in self.images if built.image.kind == kind)

    def sbom_of(self, built: BuiltImage) -> bytes:
        return self.sboms[built.image.kind][self.of(built.image.kind).index(built)]


def default_output(ctx: Context) -> Path:
    return ctx.state / "oci"


def build_images(
    ctx: Context,
    kinds: Sequence[ImageKind] = (),
    output: Path | None = None,
    run_id: str | None = None,
    *,
    platform: str | None = None,
    explained: bool = False,
) -> BuildResult:
    """Build `kinds` (default: both, or only train while there is no run) for `platform` (default:
    all of the lock) into `output`."""
    from mllock.workflows.lock import current_lock

    loaded = load_spec(ctx.project / "mlproject.toml")
    folder = output or default_output(ctx)
    if output is None:
        refuse_led_out(ctx, folder, "remove the link, or name a folder with --output oci:DIR")
    refuse_other_folders(folder)
    refuse_loss(folder, kinds or ("train",), _is_ours)
    lock, _ = current_lock(ctx, loaded)
    run = find_run(ctx, loaded, lock, kinds, run_id)
    if run is not None:
        refuse_led_out(ctx, run.path)
        _refuse_unwritable(run)
    explain = None
    if explained:
        from mllock.workflows.explain import explain_against, look_back

        explain = partial(explain_against, look_back(folder, ctx.cache))
    locks = {
        name: narrowed(lock, name)
        for name in (platforms_of(lock) if platform is None else (platform,))
    }
    environments = {
        name: environment_of(ctx, loaded, part, lock, run) for name, part in locks.items()
    }
    parts: list[Parts] = []
    if not kinds or "train" in kinds:
        parts.append(train_parts(ctx, loaded))
    if run is not None:
        for environment in environments.values():
            refuse_another(loaded, environment, run)
        parts.append(serve_parts(ctx, loaded, run))
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    pairs = [(part, name) for part in parts for name in locks]
    images = tuple(
        finish(loaded, locks[name], environments[name], part, key) for part, name in pairs
    )
    bills = [
        sbom_of(ctx, loaded, locks[name], environments[name], built, part.run)
        for (part, name), built in zip(pairs, images, strict=True)
    ]
    sboms: dict[str, tuple[bytes, ...]] = {
        part.kind: tuple(bill for (p, _), bill in zip(pairs, bills, strict=True) if p is part)
        for part in parts
    }
    result = BuildResult(
        project=loaded.spec.project.name,
        output=folder,
        environments=environments,
        images=images,
        fingerprint=key.fingerprint,
        sboms=sboms,
        explanations=()
        if explain is None
        else tuple(
            explain(built.image, built.statement, bill)
            for built, bill in zip(images, bills, strict=True)
        ),
    )
    ctx.reporter.step(f"writing {folder}")
    labels = {environment.digest for environment in environments.values()}
    removed = write_layout(
        folder,
        {kind: [built.image for built in result.of(kind)] for kind in result.kinds},
        {kind: [built.statement for built in result.of(kind)] for kind in result.kinds},
        ctx.cache,
        keep=lambda other: environment_label(other) in labels,
        ours=_is_ours,
        sboms=sboms,
    )
    for name, why in removed.items():
        ctx.reporter.note(f'removed the image "{name}" from {folder}: {why}')
    for part in parts:
        _keep_statement(part, result, parts)
    return result


def train_image(
    ctx: Context, loaded: LoadedSpec, lock: Lock, environment: BuiltEnvironment
) -> Image:
    """The image that `build train` writes: what `mllock train` runs in."""
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    return finish(loaded, lock, environment, train_parts(ctx, loaded), key).image


def serve_image(
    ctx: Context, loaded: LoadedSpec, lock: Lock, environment: BuiltEnvironment, run: RunFolder
) -> Image:
    """The image that `build serve` writes; its statement is beside the run, as after a build."""
    refuse_another(loaded, environment, run)
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    built = finish(loaded, lock, environment, serve_parts(ctx, loaded, run), key)
    if built.image.environment == run.record().environment:
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
    parts = Parts(
        kind="serve",
        layers=(code, model),
        command=with_port(plan.serve.command, plan.serve.port),
        code=plan.code,
        serve=plan.serve,
    )
    return finish(loaded, lock, environment, parts, key).image


def _keep_statement(part: Parts, result: BuildResult, parts: Sequence[Parts]) -> None:
    """Beside the run that is served: of the platform that it was trained on. That of the training
    image too, if the run was trained from this very code: a release binds it."""
    for run in (other.run for other in parts if other.run is not None):
        record = run.record()
        name = STATEMENT if part.kind == "serve" else TRAIN_STATEMENT
        if part.kind == "train" and record.code != part.code.digest:
            continue
        for built in result.of(part.kind):
            if built.image.environment == record.environment:
                atomic.write_bytes(run.path / name, built.statement)


def find_run(
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


def _refuse_unwritable(run: RunFolder) -> None:
    """The statement goes into the run's folder when the images are written: not to be found out
    then."""
    if not os.access(run.path, os.W_OK | os.X_OK):
        raise SurroundingsError(
            "cannot write: the statement about the serve image is kept in the run",
            file=str(run.path),
            hint="check the owner and the permissions of the folder",
        )


def _is_ours(image: LayoutImage) -> bool:
    """Whether `build` made it, and under this name: a copy under another name is somebody's."""
    return image.ref in ("train", "serve") and environment_label(image) is not None


def environment_label(image: LayoutImage) -> str | None:
    """What an image says of its environment; it may be anyone's."""
    value: object = image.config_value
    for key in ("config", "Labels", ENVIRONMENT_LABEL):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
