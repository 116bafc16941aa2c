"""What check has seen, as values: the expected side, the target, and how each was come by.

Gathered by `mllock.check.expected`, `folder` and `image` (effects), judged by
`mllock.check.claims` (pure). A value here says what was found, never whether it is right.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from mllock.attest.image_statement import ImageStatement
from mllock.attest.policy import Trust
from mllock.attest.release_files import Stated
from mllock.check.marks import Marks
from mllock.check.mountinfo import KernelMount
from mllock.check.types import Difference
from mllock.core.digest import Digest
from mllock.core.tree import Entry, TreeManifest
from mllock.image.read import LayerContents, Member
from mllock.lock.types import Lock
from mllock.probes.compare import Mismatch
from mllock.train.record import Record

__all__ = [
    "ContainerFacts",
    "Endpoint",
    "Evidence",
    "FoundTree",
    "ImageFacts",
    "LayerSeen",
    "LockFound",
    "ProbeSeen",
    "ProbesSeen",
    "Problem",
    "ReleaseFacts",
    "Signed",
]

T = TypeVar("T", Record, ImageStatement)


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something that could not be read as what it should be."""

    path: str
    reason: str
    expected: str = "bytes that can be read strictly"
    found: str | None = None

    def difference(self) -> Difference:
        found = self.reason if self.found is None else f"{self.found} ({self.reason})"
        return Difference(path=self.path, expected=self.expected, found=found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed(Generic[T]):
    """A bundle: where it was, what the policy says of it, and its payload read.

    `trust` is None if the file is no bundle; `value` is None if the payload does not read.
    """

    name: str
    trust: Trust | None
    value: T | None
    problem: str | None = None

    @property
    def believed(self) -> T | None:
        """The value, if a trusted key signed it."""
        return self.value if self.trust is not None and self.trust.trusted else None

    @property
    def usable(self) -> T | None:
        """The value unless its signature was refuted: it may refute, it cannot prove."""
        return self.value if self.trust is not None and not self.trust.refuted else None


@dataclass(frozen=True, kw_only=True, slots=True)
class LockFound:
    """A lock that was looked at. `copy` is one that was kept for this record: it must be equal to
    the byte. `problem` is why it does not read (an edited one does not)."""

    name: str
    digest: Digest
    copy: bool
    lock: Lock | None = None
    problem: Problem | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundTree:
    """A tree as it lies there. `odd` is what no manifest can hold: path and what it is.

    `size` is the number of bytes in regular files, all of them hashed. `name` is what a tree that
    is a single file is called: no part of the tree.
    """

    entries: Mapping[str, Entry]
    odd: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSeen:
    """A layer of the target, read to its end, or why it could not be. `name` is for messages."""

    digest: Digest
    size: int
    declared: Digest
    contents: LayerContents | None
    problem: Problem | None = None
    name: str = ""

    @property
    def diff_id(self) -> Digest | None:
        return None if self.contents is None else self.contents.diff_id


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """An image, read from its bytes. `problem` is set if documents or tree cannot be read: then
    what is not known is empty. `culprits` name files in layers that are not as expected. An engine
    (`store`) keeps layers unpacked: it has no compressed blobs, and a classic one no manifest. What
    a classic one pushed is `remade`: compressed anew, under a manifest of its own.
    `listed_as` is the platform that its index lists it for, or that was asked for."""

    ref: str
    store: Literal["blobs", "engine", "remade"] = "blobs"
    manifest_digest: Digest | None = None
    config_digest: Digest | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[LayerSeen, ...] = ()
    merged: Mapping[str, Member] = field(default_factory=dict)
    problem: Problem | None = None
    culprits: Mapping[int, tuple[Difference, ...]] = field(default_factory=dict)
    listed_as: str | None = None

    @property
    def readable(self) -> bool:
        return self.problem is None and all(layer.problem is None for layer in self.layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerFacts:
    """A container: what the engine says of it (`raw`), and the merged tree of its files.

    `image` is the engine's id of its image: of the manifest if `image_is_manifest`, else of the
    config. `expected` is the tree of the layers that were signed, `whole` whether these are all of
    the image's; `missing` are layers whose files nobody here can list, with what the engine has in
    their place. `differences` by path are all of them; `touched` are paths that were written to
    and are right now. `hashed` of `size` expected bytes were compared.
    """

    id: str
    name: str
    image: Digest
    image_is_manifest: bool
    raw: Mapping[str, Any] = field(repr=False)
    expected: Mapping[str, Member] = field(default_factory=dict, repr=False)
    whole: bool = False
    missing: Mapping[str, str] = field(default_factory=dict)
    merged: Mapping[str, Member] = field(default_factory=dict, repr=False)
    differences: Mapping[str, Difference] = field(default_factory=dict)
    touched: tuple[str, ...] = ()
    scratch: int = 0
    kernel: tuple[KernelMount, ...] | None = None
    hashed: int = 0
    size: int = 0
    problem: Problem | None = None

    @property
    def readable(self) -> bool:
        return self.problem is None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseFacts:
    """What is known of releases. `stage` is None if none was asked for. `place` is where statements
    were looked for, `memory` the file of `marks`; `clock` is this machine's."""

    stage: str | None
    place: str
    memory: str
    statements: tuple[Stated, ...]
    marks: Marks
    clock: dt.datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Something that answers at `url`: nothing of its bytes is seen."""

    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSeen:
    """One recorded probe, asked again. `size` is of the recorded body; `exact` says that nothing
    but equality counts as alike; `mismatches` is empty if it was."""

    name: str
    size: int
    exact: bool
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbesSeen:
    """What came of asking `total` probes of `url`; or why none was sent, and what would help."""

    url: str
    seen: tuple[ProbeSeen, ...] = ()
    total: int = 0
    problem: str | None = None
    cure: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Everything that the claims are decided from.

    `project` is the name of the project that is checked, if it is known; `run` the run that was
    named or chosen, if the record came from its folder. `target` is a tree for `path:`, an image
    for `oci:` and `image:`, a container for `container:`, an endpoint for `http:`. `manifest` is
    the text of the model's manifest, if one with the record's digest was found; `kept` are files of
    the run folder by name, with their digests; `model_signature` is what is wrong with its
    model.sig; `judged` are evaluation and gates beside it that are not as their statements say.
    `stage` is what was asked for; `release` is there if there is a record that can be used;
    `probes` is what was asked, if anything was to be.
    """

    project: str | None
    run: str | None = None
    record: Signed[Record]
    statement: Signed[ImageStatement] | None
    target: FoundTree | ImageFacts | ContainerFacts | Endpoint
    locks: tuple[LockFound, ...] = ()
    manifest: TreeManifest | None = None
    kept: Mapping[str, str] = field(default_factory=dict)
    model_signature: str | None = None
    judged: tuple[Difference, ...] = ()
    stage: str | None = None
    release: ReleaseFacts | None = None
    probes: ProbesSeen | None = None
