"""OpenSSF Model Signing: released signatures verify here, and ours verify there."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.attest.keys import PublicKey, load_or_create_key
from mllock.attest.model_signing import read_model_signature, sign_model
from mllock.core.digest import sha256_of
from mllock.core.tree import Entry, TreeManifest
from mllock.errors import RunError

DATA = Path(__file__).parents[1] / "data" / "model-signing"
THEIR_KEY = PublicKey.from_pem_any_curve((DATA / "signing-key-pub.pem").read_bytes())
LATEST = (DATA / "v1.1.0" / "model.sig").read_bytes()


def entry(path: str, data: bytes, kind: str = "f") -> Entry:
    return Entry(kind=kind, path=path, size=len(data), digest=sha256_of(data))


@pytest.mark.parametrize("version", ["v0.3.1", "v1.0.0", "v1.0.1", "v1.1.0"])
def test_released_signatures_verify_for_ever(version: str) -> None:
    folder = DATA / version
    signature = read_model_signature((folder / "model.sig").read_bytes(), THEIR_KEY)
    for name, digest in signature.files.items():
        path = folder / "signme-1" if name == "." else folder / name
        assert sha256_of(path.read_bytes()) == digest
    listed = {"signme-1"} if "." in signature.files else set(signature.files)
    present = {path.name for path in folder.iterdir()} - {"model.sig", "ignore-me"}
    assert listed == present


@given(st.integers(0, len(LATEST) - 1), st.integers(1, 255))
def test_any_changed_byte_fails_or_means_the_same(position: int, change: int) -> None:
    mutated = bytearray(LATEST)
    mutated[position] ^= change
    try:
        found = read_model_signature(bytes(mutated), THEIR_KEY)
    except RunError:
        return
    assert found == read_model_signature(LATEST, THEIR_KEY)


def test_another_key_is_refused(tmp_path: Path) -> None:
    ours = load_or_create_key(tmp_path, {}).public
    with pytest.raises(RunError) as caught:
        read_model_signature(LATEST, ours)
    assert caught.value.message == "signed by another key"
    # Before 1.1 the key itself is in the bundle: it is not believed.
    with pytest.raises(RunError) as caught:
        read_model_signature((DATA / "v1.0.1" / "model.sig").read_bytes(), ours)
    assert str(caught.value) == "model.sig: the signature does not fit"


def test_a_second_signature_is_refused() -> None:
    value = json.loads(LATEST)
    value["dsseEnvelope"]["signatures"].append({"sig": base64.b64encode(b"garbage").decode()})
    with pytest.raises(RunError, match="not a model signature: Expected `array` of length <= 1"):
        read_model_signature(json.dumps(value).encode(), THEIR_KEY)


def tree() -> TreeManifest:
    return TreeManifest.of(
        [
            entry("weights.bin", b"w"),
            entry("sub/b", b"b"),
            entry("sub-c", b"c"),
            entry("run.sh", b"#!", "x"),
            entry(".gitignore", b"*"),
            Entry(kind="d", path="empty"),
            Entry(kind="l", path="alias", target="sub/b"),
            Entry(kind="l", path="sub/up", target="../link/b"),
            Entry(kind="l", path="link", target="sub"),
        ]
    )


def test_a_link_to_a_file_is_the_file_and_git_is_left_out(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path, {})
    signature = read_model_signature(sign_model(tree(), "model", key), key.public)
    assert signature.allow_symlinks
    assert signature.name == "model"
    assert list(signature.files.items()) == [
        ("alias", sha256_of(b"b")),
        ("run.sh", sha256_of(b"#!")),
        ("sub/b", sha256_of(b"b")),
        ("sub/up", sha256_of(b"b")),
        ("sub-c", sha256_of(b"c")),
        ("weights.bin", sha256_of(b"w")),
    ]


@pytest.mark.e2e
def test_the_real_tool_takes_our_signature(tmp_path: Path) -> None:
    """`model_signing verify key`, from the index; pyOpenSSL is its undeclared dependency."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "python", "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "model-signing==1.1.1", "pyOpenSSL"], check=True)
    key = load_or_create_key(tmp_path, {})
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    (model / "a").write_bytes(b"a")
    (model / "sub" / "b").write_bytes(b"b")
    (model / "sub-c").write_bytes(b"c")
    manifest = TreeManifest.of([entry("a", b"a"), entry("sub/b", b"b"), entry("sub-c", b"c")])
    (tmp_path / "model.sig").write_bytes(sign_model(manifest, "model", key))
    (tmp_path / "file.sig").write_bytes(
        sign_model(TreeManifest.of([entry(".", b"a")]), "a", key),
    )
    (tmp_path / "key.pub").write_text(key.public_pem)

    def verify(signature: str, target: Path) -> tuple[int, str]:
        command = [venv / "bin" / "model_signing", "verify", "key", "--signature", signature]
        answer = subprocess.run(
            [*command, "--public_key", "key.pub", target],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.returncode, answer.stdout + answer.stderr

    assert verify("model.sig", model) == (0, "Verification succeeded\n")
    assert verify("file.sig", model / "a") == (0, "Verification succeeded\n")
    (model / "a").write_bytes(b"A")
    code, output = verify("model.sig", model)
    assert code == 1
    assert "Hash mismatch for 'a'" in output
