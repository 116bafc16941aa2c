"""OpenSSF Model Signing v1.0: `model.sig`, for people who verify models with that tool.

    model_signing verify key --signature model.sig --public-key key.pub model/

It interoperates and proves less than the record does: its root digest leaves out the names, modes
and empty folders are not covered, and git's files are ignored. `check` never relies on it.
The reader also takes what released versions of that tool wrote (keys of other NIST curves, older
key identifiers, `keyid: null`); https://github.com/ossf/model-signing-spec. Raises RunError.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mllock.attest.bundle import MEDIA_TYPE, decode_base64, sign_statement
from mllock.attest.dsse import IN_TOTO, pae
from mllock.attest.keys import PublicKey, SigningKey
from mllock.attest.statement import STATEMENT_TYPE, Statement, Strict, make_statement
from mllock.core import canonical
from mllock.core.digest import Digest, from_hex, hex_of
from mllock.core.tree import Entry, TreeManifest
from mllock.errors import RunError

__all__ = ["PREDICATE_TYPE", "ModelSignature", "model_files", "read_model_signature", "sign_model"]

PREDICATE_TYPE = "https://model_signing/signature/v1.0"

# What that tool leaves out unless it is told otherwise.
IGNORED = (".git", ".gitattributes", ".github", ".gitignore")
MAX_LINKS = 40

Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Serialization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    method: Literal["files"]
    hash_type: Literal["sha256"]
    allow_symlinks: bool
    ignore_paths: tuple[str, ...] = ()


class _Resource(Strict, frozen=True, kw_only=True):
    name: str
    algorithm: Literal["sha256"]
    digest: Hex


class _Predicate(Strict, frozen=True, kw_only=True):
    serialization: _Serialization
    resources: tuple[_Resource, ...]


class _KeyIdentifier(Strict, frozen=True, kw_only=True):
    # Version 1.1 writes `hint`; before, the key itself: never believed, the caller has the key.
    hint: str | None = None
    raw_bytes: str | None = None
    key_details: str | None = None


class _Material(Strict, frozen=True, kw_only=True):
    public_key: _KeyIdentifier
    tlog_entries: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=0)] = ()


class _Signature(Strict, frozen=True, kw_only=True):
    sig: str
    keyid: Literal[""] | None = None


class _Envelope(Strict, frozen=True, kw_only=True):
    payload: str
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: Annotated[tuple[_Signature, ...], Meta(min_length=1, max_length=1)]


class _Bundle(Strict, frozen=True, kw_only=True):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: _Material
    dsse_envelope: _Envelope


assert MEDIA_TYPE == "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSignature:
    """What a verified `model.sig` says: `files` by path in the model ("." for a single file)."""

    name: str
    files: Mapping[str, Digest]
    ignored: tuple[str, ...]
    allow_symlinks: bool


def sign_model(model: TreeManifest, name: str, key: SigningKey) -> bytes:
    """The bytes of `model.sig`. `name` is the folder or file that the model is in."""
    files = model_files(model)
    links = any(entry.kind == "l" for entry in model.entries)
    predicate = {
        "serialization": {
            "method": "files",
            "hash_type": "sha256",
            "allow_symlinks": links,
            "ignore_paths": list(IGNORED),
        },
        "resources": [
            {"name": path, "algorithm": "sha256", "digest": hex_of(digest)}
            for path, digest in files.items()
        ],
    }
    payload = make_statement(PREDICATE_TYPE, {name: _root(files)}, predicate)
    return sign_statement(payload, key, hint=_hint(key.public))


def read_model_signature(data: bytes, key: PublicKey, *, name: str = "model.sig") -> ModelSignature:
    """Verify `data` with `key`, then read what was signed."""
    try:
        raw = msgspec.convert(canonical.loads(data), _Bundle)
        payload = decode_base64(raw.dsse_envelope.payload)
        signature = decode_base64(raw.dsse_envelope.signatures[0].sig)
    except ValueError as error:
        raise RunError(f"not a model signature: {error}", file=name) from None
    hint = raw.verification_material.public_key.hint
    if hint is not None and hint != _hint(key):
        raise RunError("signed by another key", file=name, expected=_hint(key), found=hint)
    if not key.verify(signature, pae(IN_TOTO, payload)):
        raise RunError("the signature does not fit", file=name)
    return _read_payload(payload, name)


def _read_payload(payload: bytes, name: str) -> ModelSignature:
    try:
        value: dict[str, Any] = canonical.loads(payload)
        statement = msgspec.convert(value, Statement)
        predicate = msgspec.convert(statement.predicate, _Predicate)
    except ValueError as error:
        raise RunError(f"not a model signature: {error}", file=name) from None
    assert statement.type == STATEMENT_TYPE
    if statement.predicate_type != PREDICATE_TYPE or len(statement.subject) != 1:
        raise RunError(
            "a statement about something else",
            file=name,
            expected=f"one subject and {PREDICATE_TYPE}",
            found=f"{len(statement.subject)} and {statement.predicate_type}",
        )
    files = {resource.name: from_hex(resource.digest) for resource in predicate.resources}
    if len(files) != len(predicate.resources):
        raise RunError("two files have one name", file=name)
    if _root(files) != statement.subject[0].digest.digest:
        raise RunError("the root digest is not that of the files", file=name)
    return ModelSignature(
        name=statement.subject[0].name,
        files=files,
        ignored=predicate.serialization.ignore_paths,
        allow_symlinks=predicate.serialization.allow_symlinks,
    )


def _root(files: Mapping[str, Digest]) -> Digest:
    """sha256 over the raw digests, in order. The names are not in it."""
    whole = hashlib.sha256()
    for digest in files.values():
        whole.update(bytes.fromhex(hex_of(digest)))
    return from_hex(whole.hexdigest())


def _hint(key: PublicKey) -> str:
    # Not Sigstore's: hex, and over the PEM text.
    return hashlib.sha256(key.pem.encode("ascii")).hexdigest()


def model_files(model: TreeManifest) -> dict[str, Digest]:
    """Paths and digests as that tool sees them: a link to a file is the file."""
    entries = {entry.path: entry for entry in model.entries}
    files = {}
    for path, entry in entries.items():
        if path.split("/")[0] in IGNORED:
            continue
        digest = entry.digest if entry.target is None else _follow(entries, path)
        if digest is not None:
            files[path] = digest
    # It sorts by components.
    return dict(sorted(files.items(), key=lambda item: item[0].split("/")))


def _follow(entries: Mapping[str, Entry], path: str) -> Digest | None:
    """The digest of the file that the link at `path` ends at; None for a folder or nothing."""
    todo = path.split("/")
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop(0)
        if part == "..":
            done = done[:-1]
            continue
        if part in ("", "."):
            continue
        entry = entries.get(posixpath.join(*done, part))
        if entry is not None and entry.target is not None:
            links += 1
            if links > MAX_LINKS:
                return None
            todo = [*entry.target.split("/"), *todo]
        else:
            done.append(part)
    found = entries.get("/".join(done))
    return None if found is None else found.digest
