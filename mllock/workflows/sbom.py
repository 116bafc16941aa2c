"""The bill of materials of an image that was built: from lock, layers and run, nothing else.

So `mllock build` and `mllock export sbom` give the same bytes. The form is `mllock.attest.sbom`'s.
"""

from __future__ import annotations

from mllock.attest.sbom import BaseFacts, Ingredient, Licence, Materials, ModelFacts, make_sbom
from mllock.core.digest import Digest
from mllock.image.licences import declared_licences
from mllock.image.python import python_groups
from mllock.image.types import BUILDER_FORMAT, Layer
from mllock.lock.types import Lock
from mllock.spec.loaded import LoadedSpec
from mllock.train.runs import RunFolder
from mllock.workflows.context import Context
from mllock.workflows.environment import BuiltEnvironment, locked_wheels
from mllock.workflows.parts import BuiltImage

__all__ = ["sbom_of"]


def sbom_of(
    ctx: Context,
    loaded: LoadedSpec,
    lock: Lock,
    environment: BuiltEnvironment,
    built: BuiltImage,
    run: RunFolder | None,
) -> bytes:
    """The bill of `built`, an image of `lock` and, for serving, of `run`. Raises RunError if what
    the run keeps is not what its record names, and what fetching raises."""
    spec, image = loaded.spec, built.image
    train = image.kind == "train" and spec.train is not None
    return make_sbom(
        Materials(
            project=spec.project.name,
            version=spec.project.version,
            description=spec.project.description,
            kind=image.kind,
            platform=image.platform,
            manifest=image.manifest_digest,
            config=image.config_digest,
            environment=image.environment,
            builder_format=BUILDER_FORMAT,
            base=_base(lock, spec.environment.base, image.platform),
            suite=lock.base.suite,
            python=lock.base.python,
            ingredients=(
                *_debs(lock, environment.layers),
                *_wheels(ctx, lock, environment.layers),
            ),
            params=spec.train.params if train and spec.train is not None else {},
            model=None if run is None else _model(run, image.layers),
        )
    )


def _base(lock: Lock, name: str, platform: str) -> BaseFacts:
    image = lock.base.on(platform)
    if image is not None:
        return BaseFacts(name=name, manifest=Digest(image.manifest))
    return BaseFacts(name=name, suite=lock.base.suite)


def _debs(lock: Lock, layers: tuple[Layer, ...]) -> list[Ingredient]:
    where = {layer.kind: layer.diff_id for layer in layers}
    return [
        Ingredient(
            kind="deb",
            name=deb.name,
            version=deb.version,
            architecture=deb.architecture,
            sha256=deb.sha256,
            layer=where.get(deb.layer),
        )
        for deb in lock.system
    ]


def _wheels(ctx: Context, lock: Lock, layers: tuple[Layer, ...]) -> list[Ingredient]:
    licences = declared_licences(lock.python.packages, locked_wheels(ctx, lock), ctx.cache)
    python = [layer.diff_id for layer in layers if layer.kind == "python"]
    if lock.inputs.builder.get("kind") == "docker":
        # pip installs all of them in one layer.
        where = {package.name: python[0] for package in lock.python.packages}
    else:
        where = {
            package.name: layer
            for group, layer in zip(python_groups(lock), python, strict=True)
            for package in group.packages
        }
    return [
        Ingredient(
            kind="pypi",
            name=package.name,
            version=package.version,
            sha256=package.wheels[0].hashes["sha256"],
            layer=where[package.name],
            licences=tuple(
                Licence(kind="expression" if kind == "expression" else "name", text=text)
                for kind, text in licences[package.wheels[0].hashes["sha256"]]
            ),
        )
        for package in lock.python.packages
    ]


def _model(run: RunFolder, layers: tuple[Layer, ...]) -> ModelFacts:
    record = run.record()
    where: list[Digest] = [layer.diff_id for layer in layers if layer.kind == "model"]
    return ModelFacts(
        run=run.id,
        record=record.digest,
        path=record.model_path,
        digest=record.model,
        layer=where[0] if where else None,
        metrics=run.metrics(),
        params=record.params,
        data=record.data,
    )
