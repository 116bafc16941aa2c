"""The reference pages: their commands are run, their policy is read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.training import locked, no_layers

from mllock.attest.keys import load_or_create_key
from mllock.attest.policy import parse_policy
from mllock.train.runs import RunFolder
from mllock.workflows.train import train

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def blocks(page: str, language: str) -> list[str]:
    text = (REFERENCE / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", script]
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    ctx = locked(tmp_path)
    run = train(ctx, environment_of=no_layers).run
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    (run.path / "key.pub").write_text(key.public_pem)
    return run


def test_verifying_by_hand(run: RunFolder) -> None:
    by_hand = blocks("record.md", "sh")[0]
    answer = shell(by_hand, run.path)
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[:3] == ["Verified OK", "model.manifest: OK", "model/weights.txt: OK"]
    assert lines[3] == f"{lines[4]}  -"
    record = run.record()
    assert f"sha256:{lines[4]}" == record.environment


@pytest.mark.parametrize(
    ("path", "data", "found"),
    [
        ("model/weights.txt", b"other", "model/weights.txt: FAILED"),
        ("model/more.txt", b"more", "> model/more.txt"),
        ("model.manifest", b"mllock-tree\t1\n", "model.manifest: FAILED"),
    ],
)
def test_by_hand_a_change_is_seen(run: RunFolder, path: str, data: bytes, found: str) -> None:
    (run.path / path).write_bytes(data)
    answer = shell(blocks("record.md", "sh")[0], run.path)
    assert answer.returncode != 0
    assert found in answer.stdout


def test_by_hand_a_false_record_is_seen(run: RunFolder) -> None:
    path = run.path / "record.sigstore.json"
    text = path.read_text()
    start = text.index('"payload":"') + len('"payload":"')
    path.write_text(text[:start] + ("f" if text[start] == "e" else "e") + text[start + 1 :])
    answer = shell(blocks("record.md", "sh")[0], run.path)
    assert answer.returncode != 0
    assert "Verified OK" not in answer.stdout


def test_making_keys(tmp_path: Path) -> None:
    answer = shell(blocks("keys-and-policy.md", "sh")[0], tmp_path)
    assert answer.returncode == 0, answer.stderr
    own = load_or_create_key(tmp_path / "config" / "mllock", {})
    assert answer.stderr == f"{own.fingerprint}\n"
    assert (tmp_path / "alice.pub").read_text() == own.public_pem
    other = load_or_create_key(tmp_path, {"MLLOCK_KEY": str(tmp_path / "ci.key")})
    assert f"new key  {other.fingerprint}\n" in answer.stdout


def test_making_a_key_by_hand(tmp_path: Path) -> None:
    answer = shell(blocks("keys-and-policy.md", "sh")[1], tmp_path)
    assert answer.returncode == 0, answer.stderr
    key = load_or_create_key(tmp_path, {"MLLOCK_KEY": str(tmp_path / "ci.key")})
    assert answer.stdout.splitlines()[-1] == key.fingerprint
    assert (tmp_path / "ci.pub").read_text() == key.public_pem


def test_the_policy_of_the_page_is_read() -> None:
    (text,) = blocks("keys-and-policy.md", "toml")
    policy = parse_policy(text.encode(), "policy.toml")
    assert [entry.project for entry in policy.entries] == ["wine-quality"]
    assert list(policy.revoked.values()) == ["laptop stolen"]
    assert [f"{at:%H:%M}" for at in policy.revoked_at.values()] == ["22:00"]
    assert policy.stages == {"wine-quality": "production"}
