"""Releases and revocations on their way to and from a registry, with the run that they are about.

What goes: the releases of the run, and the newest list of revocations of its project, as far as
the policy here trusts them. What comes is put to the policy of whoever pulls: a signature that is
refuted ends the pull, and what is written is for `check` to decide about. A statement that is here
is never replaced: another one of its name gets a name of its own. See docs/reference/sharing.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mllock.attest.bundle import read_bundle
from mllock.attest.policy import load_policy
from mllock.attest.release import Release, Revocations
from mllock.attest.release_files import SUFFIX, ReleaseFile, Stated, file_of, judge
from mllock.core import canonical
from mllock.core.digest import Digest, hex_of, sha256_of
from mllock.errors import AnswerNoError, ArchiveError
from mllock.store import atomic
from mllock.store.oci_json import MEDIA_BUNDLE
from mllock.store.registry.client import Registry
from mllock.store.registry.images import Graph
from mllock.store.registry.share import MAX_RELEASES, Entry, artifact, read_bundle_artifact
from mllock.store.registry.upload import BlobSource
from mllock.store.regular import open_regular
from mllock.train.record import Record
from mllock.workflows.context import Context
from mllock.workflows.releases import all_releases

__all__ = ["read_releases", "release_graphs", "write_releases"]


def release_graphs(ctx: Context, record: Record, model: Entry) -> tuple[Graph, ...]:
    """The statements that go along with a run, as artifacts about its model."""
    graphs = []
    for stated in _to_send(ctx, record):
        with open_regular(ctx.releases / stated.name, follow=False) as file:
            data = file.read(canonical.MAX_BYTES)
        if read_bundle(data, name=stated.name).payload_digest != stated.digest:
            raise ArchiveError("the statement changed while it was read", file=stated.name)
        bundle = BlobSource.of_bytes(data)
        layer = {"mediaType": MEDIA_BUNDLE, "digest": bundle.digest, "size": bundle.size}
        manifest = artifact(MEDIA_BUNDLE, model, [layer])
        graphs.append(
            Graph(
                manifest=manifest,
                digest=sha256_of(manifest),
                blobs=(BlobSource.of_bytes(b"{}"), bundle),
            )
        )
    return tuple(graphs)


def _to_send(ctx: Context, record: Record) -> list[Stated]:
    believed = [
        stated
        for stated in all_releases(ctx, record.project).statements
        if stated.believed and stated.project == record.project
    ]
    releases = [s for s in believed if s.release is not None and s.release.run == record.run_id]
    lists = [s for s in believed if s.revocations is not None]
    # The newest of each count; what was replaced long ago is nobody's business.
    releases.sort(key=lambda s: (-_number(s), s.name))
    lists.sort(key=lambda s: (-_number(s), s.name))
    return [*releases[: MAX_RELEASES - 1], *lists[:1]]


def _number(stated: Stated) -> int:
    value = stated.release or stated.revocations
    assert value is not None
    return value.number


def read_releases(
    ctx: Context,
    registry: Registry,
    documents: Sequence[tuple[Digest, bytes]],
    record: Record,
    policy: Path | None,
) -> Mapping[str, bytes]:
    """The statements that artifacts (digest, manifest) hold, by the names that they will have."""
    found: dict[str, bytes] = {}
    for digest, manifest in documents:
        layer = read_bundle_artifact(manifest, digest)
        data = registry.read(layer, max_bytes=canonical.MAX_BYTES)
        name = file_of(_judged(ctx, data, digest, record, policy))
        if found.setdefault(name, data) != data:
            raise ArchiveError("two statements of one name", file=digest, key=name)
    return found


def write_releases(ctx: Context, statements: Mapping[str, bytes]) -> None:
    """Put them below the folder of releases. What lies there stays."""
    for name, data in statements.items():
        path = ctx.releases / name
        if path.exists() and path.read_bytes() != data:
            path = path.with_name(f"{path.name.removesuffix(SUFFIX)}-{_short(data)}{SUFFIX}")
        if not path.exists():
            atomic.write_bytes(path, data)


def _short(data: bytes) -> str:
    return hex_of(sha256_of(data))[:12]


def _judged(
    ctx: Context, data: bytes, digest: Digest, record: Record, policy: Path | None
) -> Release | Revocations:
    file = ReleaseFile(name=digest, bundle=read_bundle(data, name=digest))
    judged = judge([file], load_policy(policy, ctx.config_dir, ctx.environ))
    trust = judged[0].trust if judged else None
    if trust is not None and trust.refuted:
        raise AnswerNoError(
            f"a release's signature is refused: {trust.reason}",
            file=digest,
            found=trust.fingerprint,
            hint=trust.hint,
        )
    value = (judged[0].release or judged[0].revocations) if judged else None
    if value is None or value.project != record.project:
        raise ArchiveError("not a release, or list of revocations, of the project", file=digest)
    if isinstance(value, Release) and value.run != record.run_id:
        raise ArchiveError(
            "a release of another run", file=digest, expected=record.run_id, found=value.run
        )
    return value
