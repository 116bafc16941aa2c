"""Keys: made once, kept private, deterministic; refused when not what they should be."""

from __future__ import annotations

import base64
import hashlib
import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from mllock.attest.keys import KEY_FILE, PublicKey, SigningKey, load_key, load_or_create_key
from mllock.errors import RunError, SurroundingsError


def private_pem(key: object, password: bytes | None = None) -> bytes:
    protection = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def write_key(path: Path, pem: bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pem)
    path.chmod(mode)
    return path


def make_key(config: str) -> str:
    return load_or_create_key(Path(config), {}).fingerprint


def test_made_on_first_use_and_kept(tmp_path: Path) -> None:
    assert load_key(tmp_path, {}) is None
    key = load_or_create_key(tmp_path, {})
    path = tmp_path / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["default.key"]
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    assert load_or_create_key(tmp_path, {}).fingerprint == key.fingerprint
    again = load_key(tmp_path, {})
    assert again is not None
    assert again.public == key.public


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_mode_does_not_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        load_or_create_key(tmp_path, {})
    finally:
        os.umask(before)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_many_at_once_get_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        made = pool.map(make_key, [str(tmp_path)] * 8)
    assert len(set(made)) == 1
    assert [entry.name for entry in (tmp_path / "keys").iterdir()] == ["default.key"]


def test_signatures_are_deterministic_and_verify(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path, {})
    assert key.deterministic
    assert key.sign(b"data") == key.sign(b"data")
    assert key.public.verify(key.sign(b"data"), b"data")
    assert not key.public.verify(key.sign(b"data"), b"date")
    assert not key.public.verify(b"", b"data")


def test_without_determinism_signatures_still_verify(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path, {})
    other = SigningKey(key.public, deterministic=False, _private=key._private)
    assert other.sign(b"data") != other.sign(b"data")
    assert other.public.verify(other.sign(b"data"), b"data")


def test_a_key_does_not_show_its_secret(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path, {})
    secret = format(key._private.private_numbers().private_value, "x")
    assert secret not in repr(key)
    assert "_private" not in repr(key)


def test_fingerprint_and_hint_are_what_openssl_says(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path, {})
    (tmp_path / "key.pub").write_text(key.public_pem)
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", tmp_path / "key.pub", "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    assert key.public.der == der
    assert key.hint == base64.b64encode(hashlib.sha256(der).digest()).decode()
    assert key.fingerprint == "SHA256:" + key.hint.rstrip("=")


def test_openssl_verifies_and_openssl_keys_are_taken(tmp_path: Path) -> None:
    made = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        capture_output=True,
        check=True,
    ).stdout
    key = load_key(tmp_path, {"MLLOCK_KEY": made.decode()})
    assert key is not None
    (tmp_path / "key.pub").write_text(key.public_pem)
    (tmp_path / "sig").write_bytes(key.sign(b"data"))
    (tmp_path / "data").write_bytes(b"data")
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", "sig", "data"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert answer.stdout == b"Verified OK\n"


def test_mllock_key_as_text_or_path_comes_first(tmp_path: Path) -> None:
    default = load_or_create_key(tmp_path / "config", {})
    other = load_or_create_key(tmp_path / "other", {})
    path = tmp_path / "other" / KEY_FILE
    for value in (path.read_text(), "\n" + path.read_text() + "\n", str(path)):
        key = load_or_create_key(tmp_path / "config", {"MLLOCK_KEY": value})
        assert key.fingerprint == other.fingerprint != default.fingerprint


def test_mllock_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        load_key(tmp_path, {"MLLOCK_KEY": "/no/such.key"})
    assert str(caught.value) == (
        "/no/such.key: no such key file\n"
        "hint: MLLOCK_KEY holds a private key in PEM form, or names a file that does"
    )


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create_key(tmp_path, {})
    path = tmp_path / KEY_FILE
    path.chmod(0o640)
    with pytest.raises(RunError) as caught:
        load_or_create_key(tmp_path, {})
    assert str(caught.value) == (
        f"{path}: other users may read or change this key\n"
        "expected: mode 0600\n"
        "found: mode 0640\n"
        f"hint: chmod 600 {path}; if others could read it, make a new key"
    )


@pytest.mark.parametrize("config", ["/proc/none", "/proc/none/deeper"])
def test_a_place_where_no_key_can_be_made(config: str) -> None:
    with pytest.raises(SurroundingsError) as caught:
        load_or_create_key(Path(config), {})
    assert str(caught.value) == f"{config}/keys: cannot write: no such file or directory"


def test_a_folder_is_not_a_key(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).mkdir(parents=True)
    with pytest.raises(RunError) as caught:
        load_key(tmp_path, {})
    assert str(caught.value) == f"{tmp_path / KEY_FILE}: the key is not a regular file"


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (private_pem(ec.generate_private_key(ec.SECP384R1())), "not a P-256 key"),
        (private_pem(rsa.generate_private_key(65537, 2048)), "not a P-256 key"),
        (private_pem(ec.generate_private_key(ec.SECP256R1()), b"pw"), "the key is encrypted"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key"),
        (b"", "not a private key"),
    ],
    ids=["p384", "rsa", "encrypted", "garbage", "empty"],
)
def test_other_keys_are_refused(tmp_path: Path, pem: bytes, message: str) -> None:
    path = write_key(tmp_path / KEY_FILE, pem)
    with pytest.raises(RunError) as caught:
        load_or_create_key(tmp_path, {})
    assert caught.value.message == message
    assert caught.value.file == str(path)
    assert caught.value.hint


def test_public_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    p384 = PublicKey.from_pem_any_curve(
        (Path(__file__).parents[1] / "data/model-signing/signing-key-pub.pem").read_bytes()
    )
    with pytest.raises(RunError) as caught:
        PublicKey.from_pem(p384.pem, name="policy.toml")
    assert str(caught.value) == (
        "policy.toml: not a P-256 key\n"
        "expected: curve secp256r1\n"
        "found: curve secp384r1\n"
        "hint: mllock signs and trusts ECDSA P-256 only"
    )
    with pytest.raises(RunError) as caught:
        PublicKey.from_pem("nonsense", name="policy.toml")
    assert str(caught.value) == (
        'policy.toml: not a public key\nexpected: PEM that starts with "-----BEGIN PUBLIC KEY-----"'
    )
