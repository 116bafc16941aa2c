"""`mllock keys` as it is typed: what it prints, writes, refuses, and what others see of it."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from pathlib import Path

import pytest

from mllock.attest.keys import KEY_FILE, SigningKey, load_key, load_or_create_key
from mllock.attest.policy import load_policy
from mllock.cli.main import run


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("MLLOCK_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config" / "mllock"


@pytest.fixture
def bob(tmp_path: Path) -> SigningKey:
    key = load_or_create_key(tmp_path / "bob", {})
    (tmp_path / "bob.pub").write_text(key.public_pem)
    return key


def own(config: Path) -> SigningKey:
    key = load_key(config, {})
    assert key is not None
    return key


def test_a_new_key_is_listed_and_handed_over(config: Path, capsys) -> None:
    assert run(["keys"]) == 0
    assert capsys.readouterr().out == (
        f"own key  none yet (it would be {config / KEY_FILE})\n"
        "policy   none: your own key is trusted, and no other\n"
    )
    assert run(["keys", "export"]) == 2
    assert capsys.readouterr().err == (
        f"error: {config / KEY_FILE}: there is no key yet\n"
        'hint: make one with "mllock keys new"; "mllock train" makes one, too\n'
    )
    assert not config.exists()
    assert run(["keys", "new"]) == 0
    key = own(config)
    assert capsys.readouterr().out == (
        f"new key  {key.fingerprint}\nfile     {config / KEY_FILE}\n"
    )
    assert run(["keys", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        f"own key  {key.fingerprint}  {config / KEY_FILE}"
    )
    assert run(["keys", "export"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (key.public_pem, f"{key.fingerprint}\n")


def test_a_key_is_never_overwritten(config: Path, tmp_path: Path, capsys) -> None:
    assert run(["keys", "new"]) == 0
    before = (config / KEY_FILE).read_bytes()
    capsys.readouterr()
    assert run(["keys", "new"]) == 2
    assert capsys.readouterr().err == (
        f"error: {config / KEY_FILE}: there is a key already\n"
        'hint: to sign with a new key from now on: "mllock keys new --rotate"\n'
    )
    assert (config / KEY_FILE).read_bytes() == before
    assert run(["keys", "new", "--file", "ci.key"]) == 0
    made = (tmp_path / "ci.key").read_bytes()
    assert (tmp_path / "ci.key").stat().st_mode & 0o777 == 0o600
    assert run(["keys", "new", "--file", "ci.key"]) == 2
    assert capsys.readouterr().err == (
        "error: ci.key: there is a key already\n"
        "hint: choose another name: a key is never overwritten\n"
    )
    assert (tmp_path / "ci.key").read_bytes() == made
    assert sorted(os.listdir(tmp_path)) == ["ci.key", "config"]


def test_a_key_of_the_environment_is_shown_and_not_replaced(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    assert run(["keys", "new", "--file", "ci.key"]) == 0
    monkeypatch.setenv("MLLOCK_KEY", str(tmp_path / "ci.key"))
    capsys.readouterr()
    assert run(["keys", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    key = load_key(config, os.environ)
    assert listed == {
        "own": {"fingerprint": key.fingerprint},
        "place": "MLLOCK_KEY",
        "policy": None,
        "trusted": [],
        "revoked": [],
        "stages": {},
    }
    for arguments in (["new"], ["new", "--rotate"]):
        assert run(["keys", *arguments]) == 2
        assert capsys.readouterr().err == (
            "error: MLLOCK_KEY is set: it signs here, not a key of this user's\n"
            "hint: unset MLLOCK_KEY, or make a key for elsewhere with --file FILE\n"
        )
    monkeypatch.setenv("MLLOCK_KEY", (tmp_path / "ci.key").read_text())
    assert run(["keys", "export"]) == 0
    assert capsys.readouterr().out == key.public_pem


def test_rotating(config: Path, capsys) -> None:
    assert run(["keys", "new", "--rotate"]) == 2
    assert capsys.readouterr().err == (
        f"error: {config / KEY_FILE}: there is no key to rotate\n"
        'hint: make one with "mllock keys new"\n'
    )
    assert run(["keys", "new"]) == 0
    old = own(config)
    assert run(["keys", "new", "--rotate"]) == 0
    new = own(config)
    assert new.fingerprint != old.fingerprint
    assert sorted(os.listdir(config / "keys")) == ["default.key"]
    assert (config / KEY_FILE).stat().st_mode & 0o777 == 0o600
    entries = load_policy(None, config, {}).entries
    assert [(e.project, e.key) for e in entries] == [("*", old.public), ("*", new.public)]
    assert f"policy   {config / 'policy.toml'} trusts both\n" in capsys.readouterr().out


def test_rotating_a_key_that_was_stolen(config: Path, bob: SigningKey, capsys) -> None:
    """The new one may do what the old one might; the old one stays revoked."""
    assert run(["keys", "new"]) == 0
    old = own(config)
    assert run(["keys", "trust", "bob.pub", "--project", "wine"]) == 0
    capsys.readouterr()
    assert run(["keys", "revoke", old.fingerprint, "--reason", "laptop stolen"]) == 0
    assert "warning: this is the key that signs here; make another: mllock keys new --rotate" in (
        capsys.readouterr().err
    )
    assert run(["keys", "new", "--rotate"]) == 0
    policy = load_policy(None, config, {})
    assert [(e.project, e.key) for e in policy.entries] == [
        ("*", old.public),
        ("wine", bob.public),
        ("*", own(config).public),
    ]
    assert policy.revoked == {old.fingerprint: "laptop stolen"}
    capsys.readouterr()
    assert run(["keys"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        f"trusted  {old.fingerprint}  all projects, revoked",
        f"trusted  {bob.fingerprint}  wine",
        f"trusted  {own(config).fingerprint}  all projects, your own",
        f"revoked  {old.fingerprint}  {policy.revoked_at[old.fingerprint]:%Y-%m-%d}: laptop stolen",
    ]


def test_a_rotated_key_is_not_trusted_for_longer(config: Path, capsys) -> None:
    assert run(["keys", "new"]) == 0
    assert run(["keys", "export"]) == 0
    Path("own.pub").write_text(own(config).public_pem)
    trust = ["keys", "trust", "own.pub", "--project"]
    assert run([*trust, "wine", "--until", "2020-12-31"]) == 0
    assert run([*trust, "beer", "--from", "2099-01-01", "--until", "2099-12-31"]) == 0
    assert run(["keys", "revoke", f"SHA256:{'A' * 43}"]) == 0
    assert run(["keys", "new", "--rotate"]) == 0
    new = own(config)
    found = [e for e in load_policy(None, config, {}).entries if e.key == new.public]
    assert [(e.project, str(e.valid_from), str(e.valid_until)) for e in found] == [
        ("beer", "2099-01-01", "2099-12-31"),
        ("wine", "None", "2020-12-31"),
    ]
    capsys.readouterr()
    assert run(["keys"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if new.fingerprint in line]
    assert lines[1:] == [
        f"trusted  {new.fingerprint}  beer, your own, from 2099-01-01, until 2099-12-31, "
        "not yet valid",
        f"trusted  {new.fingerprint}  wine, your own, until 2020-12-31, expired",
    ]


def test_a_policy_that_does_not_trust_the_own_key_stays_so(
    config: Path, bob: SigningKey, capsys
) -> None:
    assert run(["keys", "trust", "bob.pub", "--project", "*"]) == 0
    before = (config / "policy.toml").read_text()
    assert run(["keys", "new"]) == 0
    assert run(["keys", "new", "--rotate"]) == 0
    assert (config / "policy.toml").read_text() == before
    assert "your policy is as it was: it did not trust the old key" in capsys.readouterr().err


def test_trusting(config: Path, bob: SigningKey, tmp_path: Path, monkeypatch, capsys) -> None:
    assert run(["keys", "new"]) == 0
    mine = own(config)
    capsys.readouterr()
    assert run(["keys", "trust", "bob.pub", "--project", "wine", "--until", "2099-12-31"]) == 0
    captured = capsys.readouterr()
    assert captured.out == (
        f"trusted  {bob.fingerprint}\nfor      wine until 2099-12-31\n"
        f"policy   {config / 'policy.toml'}\n"
    )
    assert captured.err == (
        "the policy is new: your own key is in it, too, as it was trusted so far\n"
    )
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bob.public_pem.encode())))
    assert run(["keys", "trust", "-", "--project", "wine", "--until", "2099-12-31"]) == 0
    assert capsys.readouterr().out.endswith("policy.toml (said so already)\n")
    entries = load_policy(None, config, {}).entries
    assert [(e.project, e.key) for e in entries] == [("*", mine.public), ("wine", bob.public)]
    shared = tmp_path / "shared.toml"
    arguments = ["keys", "trust", "bob.pub", "--project", "wine", "--policy", str(shared)]
    assert run([*arguments, "--fingerprint", bob.fingerprint]) == 0
    assert [e.key for e in load_policy(shared, config, {}).entries] == [bob.public]


def test_trusting_what_is_not_the_key(config: Path, bob: SigningKey, tmp_path, capsys) -> None:
    arguments = ["keys", "trust", "bob.pub", "--project", "wine"]
    expected = f"SHA256:{'A' * 43}"
    assert run([*arguments, "--fingerprint", expected]) == 2
    assert capsys.readouterr().err == (
        f"error: bob.pub: this is another key\nexpected: {expected}\nfound: {bob.fingerprint}\n"
        "hint: ask the owner again; trust nothing that came with what it is to prove\n"
    )
    assert run(["keys", "trust", f"bob/{KEY_FILE}", "--project", "wine"]) == 2
    assert capsys.readouterr().err == (
        f"error: bob/{KEY_FILE}: a private key, where a public one is expected\n"
        'hint: "mllock keys export" prints the public half of your own key; '
        "a private key is never given to anybody\n"
    )
    for path, message in (
        ("none.pub", "no such file\nexpected: a public key"),
        ("bob", "not a regular file\nfound: a folder"),
    ):
        assert run(["keys", "trust", path, "--project", "wine"]) == 2
        assert capsys.readouterr().err == f"error: {path}: {message}\n"
    (tmp_path / "big.pub").write_bytes(bytes(70_000))
    assert run(["keys", "trust", "big.pub", "--project", "wine"]) == 2
    assert capsys.readouterr().err == ("error: big.pub: more than 65536 bytes: not a public key\n")
    assert run([*arguments, "--from", "2027-01-02", "--until", "2027-01-01"]) == 2
    assert capsys.readouterr().err == "error: --from is after --until\n"
    assert not config.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--project", "A b"], '\'--project\': "A b" is not like wine-quality, or "*" for all'),
        (
            ["--project", "a", "--until", "2027-02-30"],
            "'--until': \"2027-02-30\" is not a day like 2027-12-31",
        ),
        (
            ["--project", "a", "--fingerprint", "x"],
            "'--fingerprint': \"x\" is not like SHA256: and 43 characters",
        ),
    ],
)
def test_usage(config: Path, bob: SigningKey, arguments, message, capsys) -> None:
    assert run(["keys", "trust", "bob.pub", *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: Invalid value for {message}"


def test_a_policy_that_is_a_link_stays_one(config: Path, bob: SigningKey, tmp_path: Path) -> None:
    """As people have it who keep such files in a repository of their own."""
    kept = tmp_path / "dotfiles" / "policy.toml"
    kept.parent.mkdir()
    kept.write_text(f'# mine\n[[revoked]]\nfingerprint = "SHA256:{"A" * 43}"\n')
    kept.chmod(0o600)
    config.mkdir(parents=True)
    (config / "policy.toml").symlink_to(kept)
    assert run(["keys", "trust", "bob.pub", "--project", "wine"]) == 0
    assert (config / "policy.toml").is_symlink()
    assert kept.read_text().startswith("# mine\n[[revoked]]\n")
    assert [e.key for e in load_policy(None, config, {}).entries] == [bob.public]
    assert kept.stat().st_mode & 0o777 == 0o600


def _trust(project: str) -> int:
    return run(["-q", "keys", "trust", "bob.pub", "--project", project])


def test_two_edits_at_once_are_both_there(config: Path, bob: SigningKey) -> None:
    names = [f"p{number}" for number in range(8)]
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(_trust, names) == [0] * 8
    entries = load_policy(None, config, {}).entries
    assert sorted(entry.project for entry in entries) == names
