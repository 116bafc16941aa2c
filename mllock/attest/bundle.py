"""Sigstore bundles v0.3 that hold one DSSE envelope, signed by one bare public key.

Order of trust: `read_bundle` checks the form and trusts nothing; `verify_bundle` checks the
signature with a key of the caller's choosing and answers with the very bytes that were verified.
Use those bytes, never a second parse of the file. The reader takes the JSON that mllock writes:
protobuf JSON with camelCase names, no unknown, duplicate, snake_case or null fields, canonical
base64. Certificates, log entries and timestamps are refused: nothing here could verify them.
Raises RunError: a bundle that cannot be understood is a kind of bundle that does not verify.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mllock.attest.dsse import IN_TOTO, pae
from mllock.attest.keys import PublicKey, SigningKey
from mllock.core import canonical
from mllock.core.digest import Digest, sha256_of
from mllock.errors import RunError

__all__ = [
    "MEDIA_TYPE",
    "Bundle",
    "decode_base64",
    "read_bundle",
    "sign_statement",
    "verify_bundle",
]

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

NonEmpty = Annotated[str, Meta(min_length=1)]


class _Message(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A protobuf message in JSON: unknown fields are errors."""


class _PublicKeyIdentifier(_Message, frozen=True, kw_only=True):
    hint: NonEmpty


class _VerificationMaterial(_Message, frozen=True, kw_only=True):
    public_key: _PublicKeyIdentifier
    tlog_entries: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=0)] = ()


class _Signature(_Message, frozen=True, kw_only=True):
    sig: NonEmpty
    keyid: Literal[""] = ""


class _Envelope(_Message, frozen=True, kw_only=True):
    payload: NonEmpty
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: Annotated[tuple[_Signature, ...], Meta(min_length=1, max_length=1)]


class _Bundle(_Message, frozen=True, kw_only=True):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: _VerificationMaterial
    dsse_envelope: _Envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A well-formed bundle. Nothing in it is true before `verify_bundle` said so."""

    payload: bytes
    signature: bytes
    hint: str

    @property
    def payload_digest(self) -> Digest:
        return sha256_of(self.payload)

    @property
    def claimed_fingerprint(self) -> str:
        """The fingerprint of the key that the bundle says has signed it; not verified."""
        return "SHA256:" + self.hint.rstrip("=")


def sign_statement(payload: bytes, key: SigningKey, *, hint: str | None = None) -> bytes:
    """The bundle, as canonical JSON with a final line end. `payload` is signed as it is."""
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": IN_TOTO,
        "signatures": [{"sig": base64.b64encode(key.sign(pae(IN_TOTO, payload))).decode()}],
    }
    material = {"publicKey": {"hint": key.hint if hint is None else hint}, "tlogEntries": []}
    bundle = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": material,
        "dsseEnvelope": envelope,
    }
    return canonical.dumps(bundle) + b"\n"


def read_bundle(data: bytes, *, name: str = "bundle") -> Bundle:
    """Read strictly; `name` is what errors call the file. The signature is not checked."""
    try:
        raw = msgspec.convert(canonical.loads(data), _Bundle)
        return Bundle(
            payload=decode_base64(raw.dsse_envelope.payload),
            signature=decode_base64(raw.dsse_envelope.signatures[0].sig),
            hint=_hint(raw.verification_material.public_key.hint),
        )
    except ValueError as error:  # msgspec.ValidationError is one
        raise RunError(
            f"not a signed bundle: {error}",
            file=name,
            expected="a Sigstore bundle v0.3 with one DSSE signature by a public key",
        ) from None


def verify_bundle(bundle: Bundle, key: PublicKey, *, name: str = "bundle") -> bytes:
    """The payload, after the signature was found to be by `key`. Raises RunError if it is not."""
    if bundle.hint != key.hint:
        raise RunError(
            "signed by another key",
            file=name,
            expected=key.fingerprint,
            found=f"{bundle.claimed_fingerprint} (as the bundle says)",
        )
    if not key.verify(bundle.signature, pae(IN_TOTO, bundle.payload)):
        raise RunError(
            "the signature does not fit: the payload or the signature was changed",
            file=name,
            expected=f"a signature by {key.fingerprint}",
        )
    return bundle.payload


def _hint(text: str) -> str:
    if len(decode_base64(text)) != hashlib.sha256().digest_size:
        raise ValueError("the hint of the public key is not a sha256")
    return text


def decode_base64(text: str) -> bytes:
    """Strictly: standard alphabet, padded, no spare bits, so that one value has one text.

    Raises ValueError.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"not base64: {text[:40]!r}") from None
    if base64.b64encode(data).decode() != text:
        raise ValueError(f"not canonical base64: {text[:40]!r}")
    return data
