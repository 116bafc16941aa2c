"""Bundles: sign, mutate any byte, and it must fail; strict in what is read."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.attest.bundle import read_bundle, sign_statement, verify_bundle
from mllock.attest.dsse import IN_TOTO, pae
from mllock.attest.keys import PublicKey, SigningKey, load_key
from mllock.errors import RunError

DATA = Path(__file__).parents[1] / "data" / "sigstore-bundles"
# A key for tests only.
TEST_KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAGhRANCAARrF9Hy4SxCR/i85uVjpEDydwN9gS3r
M6D0oTlF2JjClk/jQuL+Gn+bjufrSnwPnhYrzjNXazFezsu2QGg3v1H1
-----END PRIVATE KEY-----
"""


def key() -> SigningKey:
    found = load_key(Path("/nonexistent"), {"MLLOCK_KEY": TEST_KEY})
    assert found is not None
    return found


KEY = key()
PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'
SIGNED = sign_statement(PAYLOAD, KEY)


def test_pae_counts_bytes() -> None:
    # The example of the DSSE specification, and one where characters are not bytes.
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", "é".encode()) == "DSSEv1 2 é 2 é".encode()


@given(st.binary(min_size=1, max_size=300))
def test_what_is_signed_comes_back(payload: bytes) -> None:
    bundle = read_bundle(sign_statement(payload, KEY))
    assert verify_bundle(bundle, KEY.public) == payload


def test_the_same_payload_gives_the_same_bytes() -> None:
    assert sign_statement(PAYLOAD, KEY) == SIGNED
    assert json.loads(SIGNED) == {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": KEY.hint},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(PAYLOAD).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [
                {"sig": base64.b64encode(KEY.sign(pae(IN_TOTO, PAYLOAD))).decode()},
            ],
        },
    }


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_any_changed_byte_fails_or_means_the_same(position: int, change: int) -> None:
    mutated = bytearray(SIGNED)
    mutated[position] ^= change
    try:
        bundle = read_bundle(bytes(mutated))
        verify_bundle(bundle, KEY.public)
    except RunError:
        return
    # The one byte that may change is the final line end, into another white space.
    assert position == len(SIGNED) - 1
    assert bundle == read_bundle(SIGNED)


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(1, 255))
def test_any_changed_byte_of_the_payload_fails(position: int, change: int) -> None:
    mutated = bytearray(PAYLOAD)
    mutated[position] ^= change
    value = json.loads(SIGNED)
    value["dsseEnvelope"]["payload"] = base64.b64encode(bytes(mutated)).decode()
    with pytest.raises(RunError) as caught:
        verify_bundle(read_bundle(json.dumps(value).encode()), KEY.public)
    assert str(caught.value) == (
        "bundle: the signature does not fit: the payload or the signature was changed\n"
        f"expected: a signature by {KEY.fingerprint}"
    )


def test_another_key(tmp_path: Path) -> None:
    from mllock.attest.keys import load_or_create_key

    other = load_or_create_key(tmp_path, {})
    with pytest.raises(RunError) as caught:
        verify_bundle(read_bundle(SIGNED), other.public, name="record.sigstore.json")
    assert str(caught.value) == (
        "record.sigstore.json: signed by another key\n"
        f"expected: {other.fingerprint}\n"
        f"found: {KEY.fingerprint} (as the bundle says)"
    )
    # The hint alone convinces nobody.
    value = json.loads(SIGNED)
    value["verificationMaterial"]["publicKey"]["hint"] = other.hint
    with pytest.raises(RunError, match="the signature does not fit"):
        verify_bundle(read_bundle(json.dumps(value).encode()), other.public)


def changed(change: Callable[[Any], None]) -> bytes:
    value = json.loads(SIGNED)
    change(value)
    return json.dumps(value).encode()


def set_in(*path: Any, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        document[path[-1]] = value

    return change


def drop(*path: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        del document[path[-1]]

    return change


def two_signatures(document: Any) -> None:
    document["dsseEnvelope"]["signatures"] *= 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_in("mediaType", value="application/json"), "Invalid enum value 'application/json' - "),
        (set_in("extra", value=1), "Object contains unknown field `extra`"),
        (set_in("media_type", value="x"), "Object contains unknown field `media_type`"),
        (drop("mediaType"), "Object missing required field `mediaType`"),
        (two_signatures, "Expected `array` of length <= 1 - "),
        (set_in("dsseEnvelope", "signatures", value=[]), "Expected `array` of length >= 1 - "),
        (set_in("dsseEnvelope", "payloadType", value="text/plain"), "Invalid enum value "),
        (set_in("dsseEnvelope", "payload", value="eyJ"), "not base64: 'eyJ'"),
        (set_in("dsseEnvelope", "payload", value="eyJh="), "not canonical base64: 'eyJh='"),
        (set_in("dsseEnvelope", "payload", value="eyJ9Cn=="), "not canonical base64: 'eyJ9Cn=='"),
        (set_in("dsseEnvelope", "payload", value="eyI="), ""),
        (set_in("dsseEnvelope", "payload", value="eyJ="), "not canonical base64: 'eyJ='"),
        (set_in("dsseEnvelope", "payload", value="ey-_"), "not base64: 'ey-_'"),
        (set_in("dsseEnvelope", "payload", value="e y I ="), "not base64: 'e y I ='"),
        (set_in("dsseEnvelope", "signatures", 0, "keyid", value="x"), "Invalid enum value 'x' - "),
        (
            set_in("dsseEnvelope", "signatures", 0, "keyid", value=None),
            "Expected `str`, got `null`",
        ),
        (
            set_in("verificationMaterial", "tlogEntries", value=[{}]),
            "Expected `array` of length <= 0 - ",
        ),
        (
            set_in("verificationMaterial", "certificate", value={"rawBytes": ""}),
            "Object contains unknown field `certificate`",
        ),
        (
            set_in("verificationMaterial", "publicKey", "hint", value="aGk="),
            "the hint of the public key is not a sha256",
        ),
        (set_in("messageSignature", value={}), "Object contains unknown field `messageSignature`"),
    ],
)
def test_read_strictly(change: Callable[[Any], None], reason: str) -> None:
    data = changed(change)
    if not reason:
        # A canonical payload of another meaning reads; the signature is what refuses it.
        with pytest.raises(RunError, match="the signature does not fit"):
            verify_bundle(read_bundle(data), KEY.public)
        return
    with pytest.raises(RunError) as caught:
        read_bundle(data, name="b.json")
    assert caught.value.file == "b.json"
    assert caught.value.message.startswith(f"not a signed bundle: {reason}")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (SIGNED.replace(b'"tlogEntries":[]', b'"tlogEntries":[],"tlogEntries":[]'), "duplicate"),
        (SIGNED + b"{}", "Extra data"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"[]", "Expected `object`, got `array`"),
        (b"", "it is empty"),
        (b"[" * 100_000, "JSON is nested too deeply"),
    ],
)
def test_what_two_readers_could_take_differently_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RunError) as caught:
        read_bundle(data)
    assert caught.value.message.startswith(f"not a signed bundle: {reason}")


def test_an_empty_keyid_and_no_log_are_what_protobuf_json_leaves_out() -> None:
    value = json.loads(SIGNED)
    value["dsseEnvelope"]["signatures"][0]["keyid"] = ""
    del value["verificationMaterial"]["tlogEntries"]
    bundle = read_bundle(json.dumps(value).encode())
    assert verify_bundle(bundle, KEY.public) == PAYLOAD


def test_hints_are_those_of_the_conformance_suite() -> None:
    """Their managed-key bundles sign a message, not a DSSE envelope: out of scope for the reader,
    but key, hint and signature are the same things."""
    folder = DATA / "managed-key-happy-path"
    value = json.loads((folder / "bundle.sigstore.json").read_bytes())
    public = PublicKey.from_pem((folder / "key.pub").read_bytes())
    assert value["verificationMaterial"]["publicKey"]["hint"] == public.hint
    signature = base64.b64decode(value["messageSignature"]["signature"])
    artifact = (DATA / "a.txt").read_bytes()
    assert public.verify(signature, artifact)
    assert not public.verify(signature, artifact + b"\n")


@pytest.mark.parametrize(
    "case", ["managed-key-happy-path", "managed-key-wrong-key_fail", "happy-path-intoto-in-dsse-v3"]
)
def test_what_cannot_be_verified_here_is_refused(case: str) -> None:
    """Log entries, certificates and message signatures: never "verified" by leaving them out."""
    with pytest.raises(RunError):
        read_bundle((DATA / case / "bundle.sigstore.json").read_bytes())


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(RunError):
        PublicKey.from_pem((DATA / "managed-key-wrong-key_fail" / "key.pub").read_bytes())


def test_openssl_and_jq_verify_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(SIGNED)
    (tmp_path / "key.pub").write_text(KEY.public_pem)
    script = """
        jq -r .dsseEnvelope.payload b.json | base64 -d > payload
        jq -r .dsseEnvelope.signatures[0].sig b.json | base64 -d > sig
        { printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(stat -c %s payload)"
          cat payload; } > signed
        openssl dgst -sha256 -verify key.pub -signature sig signed
    """
    answer = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, check=False
    )
    assert answer.stdout == b"Verified OK\n"
