"""The types of mlproject.lock, in the order in which they are written.

Goals of the format, each with a test: complete; readable in a diff; byte-stable (same inputs, same
bytes, one writer, sorted); checkable against the spec offline by meaning; old versions readable
for ever; a newer version refused with one clear error. No credentials, no absolute path of a
machine, no wall-clock time. `content-digest` covers everything but itself and `[tool]`, so an
edit by hand or a bad merge is seen. Specified in docs/reference/mlproject-lock.md.

A record that exists is valid: the reader checks what the types alone cannot say.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "LOCK_VERSION",
    "Base",
    "BaseLayer",
    "BasePlatform",
    "Build",
    "BuildTool",
    "DataPin",
    "DebianPackage",
    "Inputs",
    "LayerGroup",
    "Layers",
    "Lock",
    "PythonPackage",
    "PythonPins",
    "ReleaseIndex",
    "Tool",
    "Wheel",
]

LOCK_VERSION = 1

DigestText = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}(?![\s\S])")]
NonEmpty = Annotated[str, Meta(min_length=1)]
Size = Annotated[int, Meta(ge=0)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """A TOML table: unknown keys are errors."""


class Tool(_Table, frozen=True, kw_only=True):
    """What made the lock. Outside of the content digest: two versions may write one content."""

    mllock: NonEmpty
    resolver: NonEmpty
    resolver_version: NonEmpty


class Inputs(_Table, frozen=True, kw_only=True):
    """The meaning of the spec that this lock pins: `mllock.spec.meaning.meaning(spec)`.

    `digest` is sha256 over canonical JSON of the other three, which are kept in full so that
    `lock --check` can say what changed, not only that something did.
    """

    digest: DigestText
    environment: dict[str, Any]
    data: dict[str, Any]
    builder: dict[str, Any]


class ReleaseIndex(_Table, frozen=True, kw_only=True):
    """One signed InRelease that packages were chosen from."""

    suite: NonEmpty
    inrelease: DigestText
    date: NonEmpty
    signed_by: tuple[NonEmpty, ...]


class BaseLayer(_Table, frozen=True, kw_only=True):
    """One layer of a base image: `type` is the media type that the base's manifest gives it."""

    digest: DigestText
    diff_id: DigestText
    size: Size
    type: NonEmpty


class BasePlatform(_Table, frozen=True, kw_only=True):
    """A base image for one platform. `glibc` is the version of its C library, `variables` are the
    `Env` of its config, `config_size` is in bytes; layers are bottom up."""

    platform: NonEmpty
    manifest: DigestText
    config: DigestText
    config_size: Size
    glibc: Annotated[str, Meta(pattern=r"^2\.[0-9]{1,3}(?![\s\S])")]
    layers: Annotated[tuple[BaseLayer, ...], Meta(min_length=1)]
    variables: dict[NonEmpty, str]


class Base(_Table, frozen=True, kw_only=True, omit_defaults=True):
    """What the images stand on. `python` is the full version of the base's own interpreter.

    Kind "debian" has a suite and the indexes that it was assembled from. Kinds "image" and "oci"
    have a reference and what it was for each platform; suite and indexes only where packages of
    Debian were put above it.
    """

    kind: Literal["debian", "image", "oci"]
    reference: NonEmpty | None = None
    suite: NonEmpty | None = None
    python: NonEmpty
    interpreter: NonEmpty
    indexes: tuple[ReleaseIndex, ...] = ()
    platforms: tuple[BasePlatform, ...] = ()

    def on(self, platform: str) -> BasePlatform | None:
        """What the base image is for `platform`; None for a base that is not an image."""
        return next((item for item in self.platforms if item.platform == platform), None)


class DebianPackage(_Table, frozen=True, kw_only=True, omit_defaults=True):
    """One .deb. `layer` says whether the base needs it or [environment] system-packages asked.
    `platforms` says which have it, if its architecture does not: "all", and not all of them."""

    name: NonEmpty
    version: NonEmpty
    architecture: NonEmpty
    filename: NonEmpty
    size: Size
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?![\s\S])")]
    layer: Literal["base", "system"]
    platforms: tuple[NonEmpty, ...] = ()


class Wheel(_Table, frozen=True, kw_only=True):
    """PEP 751 packages.wheels. `path` is where `mllock vendor` would put it: artifacts are found
    by name and hash in whatever index, mirror, folder or cache is configured."""

    name: NonEmpty
    path: NonEmpty
    size: Size
    hashes: dict[Literal["sha256"], Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?![\s\S])")]]


class PythonPackage(_Table, frozen=True, kw_only=True, omit_defaults=True):
    """PEP 751 packages: normalised name, version, exactly one wheel for each platform that `marker`
    names; without one, for each that the lock is for."""

    name: NonEmpty
    version: NonEmpty
    marker: NonEmpty | None = None
    wheels: Annotated[tuple[Wheel, ...], Meta(min_length=1)]


class PythonPins(_Table, frozen=True, kw_only=True):
    """A valid PEP 751 document, as a table: `packaging.pylock.Pylock.from_dict` reads it."""

    lock_version: Literal["1.0"] = "1.0"
    environments: tuple[NonEmpty, ...]
    requires_python: NonEmpty
    created_by: Literal["mllock"] = "mllock"
    packages: tuple[PythonPackage, ...] = ()


class BuildTool(_Table, frozen=True, kw_only=True):
    """One wheel that a build ran with. `name` is its file name, so that versions show."""

    name: NonEmpty
    size: Size
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?![\s\S])")]


class Build(_Table, frozen=True, kw_only=True, omit_defaults=True):
    """A wheel of [python] that was built, of what, and with what: so that it can be built again,
    and compared. `commit` is that of a repository, `sha256` that of an archive."""

    name: NonEmpty
    reference: NonEmpty
    commit: Annotated[str, Meta(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})(?![\s\S])")] | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?![\s\S])")] | None = None
    tools: tuple[BuildTool, ...]


class DataPin(_Table, frozen=True, kw_only=True, omit_defaults=True):
    """What a data source was: `tree` is its tree digest, `files` and `size` (bytes) are for people
    and for a check by stat. `etag` and `version` are what the server of a remote source said of
    it: hints, never proof."""

    source: NonEmpty
    path: NonEmpty
    kind: Literal["file", "folder"]
    files: Size
    size: Size
    tree: DigestText
    etag: NonEmpty | None = None
    version: NonEmpty | None = None


class LayerGroup(_Table, frozen=True, kw_only=True):
    """One Python layer: the packages in it. Sticky, so that one update moves one layer."""

    packages: tuple[NonEmpty, ...]


class Layers(_Table, frozen=True, kw_only=True):
    builder_format: Annotated[int, Meta(ge=0)]
    python: tuple[LayerGroup, ...] = ()


class Lock(_Table, frozen=True, kw_only=True):
    """A whole mlproject.lock."""

    lock_version: Literal[1] = 1
    content_digest: DigestText
    tool: Tool
    inputs: Inputs
    base: Base
    system: tuple[DebianPackage, ...] = ()
    python: PythonPins
    builds: tuple[Build, ...] = ()
    data: dict[str, DataPin] = {}
    layers: Layers
