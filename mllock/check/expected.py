"""The expected side: which record, lock, manifest and image statement a target is held against.

Effects only: files of the project, of its runs and of the image are read; bundles are put to the
policy; nothing is judged. Where a record was found says nothing about it: only its signature does.
The order of choice is documented in docs/reference/check.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.bundle import read_bundle
from mllock.attest.image_statement import ImageStatement, read_image_statement
from mllock.attest.model_signing import model_files, read_model_signature
from mllock.attest.policy import Policy
from mllock.check.evidence import ContainerFacts, ImageFacts, LockFound, Problem, Signed
from mllock.check.types import Difference
from mllock.core import canonical, tree
from mllock.core.digest import Digest, sha256_of
from mllock.core.tree import TreeManifest
from mllock.errors import InputError, LockError, RunError
from mllock.gates.evaluation import problems_beside
from mllock.lock.format import parse_lock
from mllock.probes.types import NAME as PROBES
from mllock.store.regular import hash_regular, open_regular
from mllock.train.record import Record, read_record
from mllock.train.runs import RunFolder

__all__ = [
    "Source",
    "carried_files",
    "find_locks",
    "find_manifest",
    "judged_beside",
    "kept_files",
    "model_signature",
    "read_optional",
    "sign_of_record",
    "sign_of_statement",
]

RECORD = "record.sigstore.json"
MANIFEST = "model.manifest"
LOCK = "mlproject.lock"
STATEMENT = "serve-image.sigstore.json"
MAX_FILE = 64 * 1024 * 1024
# A log may be of any size; but of a sparse file of a terabyte nothing is read.
MAX_KEPT = 64 * 1024**3
SIGNATURE = "model.sig"
KEPT = (
    "code.manifest",
    "failed.json",
    "log.txt",
    "metrics.json",
    LOCK,
    MANIFEST,
    "params.json",
    PROBES,
    "record.json",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a record bundle is: its bytes, its name for people, and the folder or run around it."""

    name: str
    data: bytes
    folder: Path | None = None
    run: RunFolder | None = None


def read_optional(path: Path) -> bytes | None:
    """A file of the verifier's, or None if there is none. Raises InputError if it is too large."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(data) > MAX_FILE:
        raise InputError(f"more than {MAX_FILE} bytes", file=str(path))
    return data


def _beside(source: Source, name: str) -> bytes | None:
    """A file beside the record. What is no file in a run folder, `kept_files` says."""
    if source.folder is None:
        return None
    try:
        return read_optional(source.folder / name)
    except InputError:
        if source.run is None:
            raise
        return None


def sign_of_record(source: Source, policy: Policy, project: str | None) -> Signed[Record]:
    """The bundle put to the policy, the payload read. Never raises for what is in the bundle."""
    try:
        bundle = read_bundle(source.data, name=source.name)
    except RunError as error:
        return Signed(name=source.name, trust=None, value=None, problem=error.message)
    trust = policy.decide(project or _project(bundle.payload), bundle)
    if trust.refuted:
        return Signed(name=source.name, trust=trust, value=None, problem=trust.reason)
    try:
        value = read_record(trust.payload or bundle.payload, name=source.name)
    except RunError as error:
        return Signed(name=source.name, trust=trust, value=None, problem=error.message)
    return Signed(name=source.name, trust=trust, value=value)


def sign_of_statement(
    name: str, data: bytes, policy: Policy, project: str | None
) -> Signed[ImageStatement] | None:
    """Like `sign_of_record`; None if it is signed well but no image statement: others may put
    statements of their own beside an image."""
    try:
        bundle = read_bundle(data, name=name)
    except RunError as error:
        return Signed(name=name, trust=None, value=None, problem=error.message)
    trust = policy.decide(project or _project(bundle.payload), bundle)
    if trust.refuted:
        return Signed(name=name, trust=trust, value=None, problem=trust.reason)
    try:
        value = read_image_statement(trust.payload or bundle.payload, name=name)
    except RunError:
        return None
    return Signed(name=name, trust=trust, value=value)


def _project(payload: bytes) -> str:
    """The project that a payload claims: only to ask the policy for it. A trusted signature over
    this very payload is what makes the claim good."""
    try:
        predicate = canonical.loads(payload)["predicate"]
        if "project" in predicate:
            return str(predicate["project"])
        return str(predicate["buildDefinition"]["externalParameters"]["project"])
    except (ValueError, KeyError, TypeError):
        return ""


def find_locks(
    project: Path | None, source: Source, carried: Mapping[str, bytes]
) -> tuple[LockFound, ...]:
    """The locks to look at: the project's, the copy beside the record, the one in the image."""
    found: list[LockFound] = []
    if project is not None:
        found += _lock(LOCK, read_optional(project / LOCK), copy=False)
    if source.folder is not None:
        # Beside a file that the user names, any lock may lie; a run folder keeps its own.
        found += _lock(
            f"{source.folder.name}/{LOCK}",
            _beside(source, LOCK),
            copy=source.run is not None,
        )
    found += _lock(f"/opt/mllock/{LOCK}", carried.get(LOCK), copy=True)
    return tuple(found)


def _lock(name: str, data: bytes | None, *, copy: bool) -> Iterable[LockFound]:
    if data is None:
        return
    digest = sha256_of(data)
    try:
        lock = parse_lock(data, name)
    except LockError as error:
        problem = Problem(
            path=name if error.key is None else f"{name}: {error.key}",
            reason=error.message,
            expected=error.expected or "a lock as it was written",
            found=error.found,
        )
        yield LockFound(name=name, digest=digest, copy=copy, problem=problem)
    else:
        yield LockFound(name=name, digest=digest, copy=copy, lock=lock)


def find_manifest(
    expected: Digest, source: Source, carried: Mapping[str, bytes]
) -> TreeManifest | None:
    """The text of the model's manifest, wherever one with the right digest is."""
    for data in (_beside(source, MANIFEST), carried.get(MANIFEST)):
        if data is not None and sha256_of(data) == expected:
            try:
                return tree.parse(data)
            except ValueError:
                # A record may name what is no manifest: then nothing equals it.
                return None
    return None


def kept_files(run: RunFolder | None) -> dict[str, str]:
    """What the run folder keeps beside the record, as it is now: digests, or what is there that
    is no file. What is not there is not in the answer, nor are answers to probes that are for
    their owner only."""
    found: dict[str, str] = {}
    for name in KEPT if run is not None else ():
        assert run is not None
        try:
            found[name] = hash_regular(run.path / name, max_bytes=MAX_KEPT)
        except FileNotFoundError:
            continue
        except PermissionError:
            if name != PROBES:
                raise
        except InputError as error:
            found[name] = error.found or error.message
    return found


def model_signature(run: RunFolder | None, signed: Signed[Record]) -> str | None:
    """Why the run's model.sig is not the signer's word about the record's model; None if it is,
    if there is none, or if the record itself has no signature that fits."""
    record, trust = signed.value, signed.trust
    if run is None or record is None or trust is None or trust.key is None:
        return None
    try:
        data = read_optional(run.path / SIGNATURE)
        if data is None:
            return None
        found = read_model_signature(data, trust.key)
        manifest = find_manifest(
            record.model, Source(name="", data=b"", folder=run.path, run=run), {}
        )
        if manifest is not None and found.files != model_files(manifest):
            return "a signature of another model"
    except InputError as error:
        return error.message if error.found is None else f"{error.message}: {error.found}"
    return None


def judged_beside(
    run: RunFolder | None, signed: Signed[Record], policy: Policy
) -> tuple[Difference, ...]:
    """Evaluation and gates beside a run that are not what their signed statements say."""
    record = signed.usable
    if run is None or record is None:
        return ()
    return tuple(
        Difference(
            path=problem.file or run.id,
            expected=problem.expected or "what was signed about this run",
            found=f"{problem.message}: {problem.found}" if problem.found else problem.message,
        )
        for problem in problems_beside(run, record, policy)
    )


def carried_files(image: ImageFacts | ContainerFacts | None) -> dict[str, bytes]:
    """The files in `/opt/mllock` of an image."""
    if image is None:
        return {}
    prefix = "opt/mllock/"
    return {
        path.removeprefix(prefix): member.data
        for path, member in image.merged.items()
        if path.startswith(prefix) and member.data is not None
    }
