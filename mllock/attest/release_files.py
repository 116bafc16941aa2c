"""Finding releases and lists of revocations in a folder, and putting them to a policy.

Order: the files by form, then the policy over exactly the signed bytes, then the payload. Nothing
is dropped on the way: what does not read, or is not trusted, comes back as such, for whoever
decides must not pass it over. Hostile files cost little: links are not followed, sizes and numbers
are bounded. Specified in docs/reference/release.md.
"""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.bundle import Bundle, read_bundle
from mllock.attest.policy import Policy, Trust
from mllock.attest.release import (
    RELEASE_TYPE,
    REVOCATIONS_TYPE,
    Release,
    Revocations,
    read_release,
    read_revocations,
)
from mllock.core import canonical
from mllock.core.digest import Digest
from mllock.errors import InputError, RunError

__all__ = ["SUFFIX", "ReleaseFile", "Stated", "file_of", "judge", "read_folder"]

SUFFIX = ".sigstore.json"
MAX_BYTES = 1024 * 1024
MAX_FILES = 10_000

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseFile:
    """A file by its path below the folder: a bundle, or why it is none."""

    name: str
    bundle: Bundle | None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """What a file says, and what the policy says of it.

    At most one of `release` and `revocations` is there. `problem` is set if the file does not read
    or its signature does not fit; a payload is then read all the same where it can be. `digest` is
    the sha256 of the payload.
    """

    name: str
    digest: Digest | None = None
    trust: Trust | None = None
    release: Release | None = None
    revocations: Revocations | None = None
    problem: str | None = None

    @property
    def believed(self) -> bool:
        return self.problem is None and self.trust is not None and self.trust.trusted

    @property
    def project(self) -> str | None:
        said = self.release or self.revocations
        return None if said is None else said.project


def file_of(value: Release | Revocations) -> str:
    """Where a statement lies below the folder of releases."""
    if isinstance(value, Revocations):
        return f"revoked/{value.number:06}{SUFFIX}"
    return f"{value.stage}/{value.number:06}-{value.run}{SUFFIX}"


def read_folder(folder: Path) -> tuple[ReleaseFile, ...]:
    """Every `*.sigstore.json` in `folder` and one folder below, sorted; empty if it is missing.

    Raises InputError for a folder that is none or cannot be listed.
    """
    try:
        names = sorted(_names(folder))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InputError(
            f"cannot read the releases: {(error.strerror or str(error)).lower()}",
            file=str(folder),
            expected="a folder of release statements",
        ) from error
    if len(names) > MAX_FILES:
        raise InputError(f"more than {MAX_FILES} files", file=str(folder))
    return tuple(_read(folder, name) for name in names)


def judge(
    files: Iterable[ReleaseFile], policy: Policy, *, today: dt.date | None = None
) -> tuple[Stated, ...]:
    """Each file put to the policy for the project that it names. Statements about other things,
    which may lie in such a folder, are left out."""
    judged = (_judged(file, policy, today) for file in files)
    return tuple(stated for stated in judged if stated is not None)


def _names(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if entry.name.endswith(SUFFIX):
            yield entry.name
        elif entry.is_dir(follow_symlinks=False):
            for name in os.listdir(entry.path):
                if name.endswith(SUFFIX):
                    yield f"{entry.name}/{name}"


def _read(folder: Path, name: str) -> ReleaseFile:
    try:
        descriptor = os.open(folder / name, _FLAGS)
    except OSError as error:
        return ReleaseFile(name=name, bundle=None, problem=f"cannot read: {_reason(error)}")
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ReleaseFile(name=name, bundle=None, problem="not a regular file")
        try:
            data = file.read(MAX_BYTES + 1)
        except OSError as error:
            return ReleaseFile(name=name, bundle=None, problem=f"cannot read: {_reason(error)}")
    if len(data) > MAX_BYTES:
        return ReleaseFile(name=name, bundle=None, problem=f"more than {MAX_BYTES} bytes")
    try:
        return ReleaseFile(name=name, bundle=read_bundle(data, name=name))
    except RunError as error:
        return ReleaseFile(name=name, bundle=None, problem=error.message)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _judged(file: ReleaseFile, policy: Policy, today: dt.date | None) -> Stated | None:
    if file.bundle is None:
        return Stated(name=file.name, problem=file.problem)
    bundle = file.bundle
    project, kind = _claims(bundle.payload)
    trust = policy.decide(project, bundle, today=today)
    problem = trust.reason if trust.status == "bad signature" else None
    if problem is None and kind not in ("", RELEASE_TYPE, REVOCATIONS_TYPE):
        return None
    release: Release | None = None
    revocations: Revocations | None = None
    try:
        if kind == REVOCATIONS_TYPE:
            revocations = read_revocations(bundle.payload, name=file.name)
        else:
            release = read_release(bundle.payload, name=file.name)
    except RunError as error:
        problem = problem or error.message
    return Stated(
        name=file.name,
        digest=bundle.payload_digest,
        trust=trust,
        release=release,
        revocations=revocations,
        problem=problem,
    )


def _claims(payload: bytes) -> tuple[str, str]:
    """Project and type that a payload claims: to ask the policy, and to choose the reader."""
    try:
        value = canonical.loads(payload)
        kind = str(value["predicateType"])
    except (ValueError, KeyError, TypeError):
        return "", ""
    try:
        return str(value["predicate"]["project"]), kind
    except (KeyError, TypeError):
        return "", kind
