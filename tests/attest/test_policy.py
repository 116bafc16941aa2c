"""Trust: from the verifier's side only, every status, and strict reading of the policy."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from mllock.attest.bundle import Bundle, read_bundle, sign_statement
from mllock.attest.keys import SigningKey, load_or_create_key
from mllock.attest.policy import Policy, load_policy, parse_policy
from mllock.errors import InputError, RunError

TODAY = dt.date(2026, 11, 23)
PAYLOAD = b"{}"


@pytest.fixture
def alice(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "alice", {})


@pytest.fixture
def bob(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "bob", {})


def signed(key: SigningKey) -> Bundle:
    return read_bundle(sign_statement(PAYLOAD, key))


def policy(key: SigningKey, more: str = "", project: str = "*") -> Policy:
    text = f'[[trust]]\nproject = "{project}"\npublic-key = """\n{key.public_pem}"""\n{more}\n'
    return parse_policy(text.encode(), "policy.toml")


def test_own_key_without_a_policy(tmp_path: Path, alice: SigningKey, bob: SigningKey) -> None:
    own = load_policy(None, tmp_path / "alice", {})
    trust = own.decide("wine", signed(alice))
    assert (trust.status, trust.trusted, trust.refuted) == ("own key", True, False)
    assert trust.payload == PAYLOAD
    assert trust.fingerprint == alice.fingerprint
    assert trust.reason == "signed by this machine's own key"
    other = own.decide("wine", signed(bob))
    assert (other.status, other.trusted, other.refuted) == ("unknown", False, False)
    assert other.payload is None
    assert other.reason == (
        "signed by a key that nothing here trusts; without a policy, this machine's own key is"
    )
    assert other.hint == (
        "ask its owner, not who sent this, for the public key; then: mllock keys trust FILE "
        f"--project wine --fingerprint {bob.fingerprint}"
    )
    nameless = own.decide('"; rm -rf ~', signed(bob)).hint
    assert nameless == other.hint.replace("wine", "NAME")


def test_looking_makes_no_key(tmp_path: Path, bob: SigningKey) -> None:
    trust = load_policy(None, tmp_path / "nobody", {}).decide("wine", signed(bob))
    assert trust.status == "unknown"
    assert trust.reason == (
        "signed by a key that nothing here trusts; without a policy, this machine's own key is, "
        "and it has none yet"
    )
    assert not (tmp_path / "nobody").exists()


def test_a_policy_counts_alone(tmp_path: Path, alice: SigningKey, bob: SigningKey) -> None:
    (tmp_path / "alice" / "policy.toml").write_text(
        f'[[trust]]\nproject = "wine"\npublic-key = """{bob.public_pem}"""\n'
    )
    mine = load_policy(None, tmp_path / "alice", {})
    assert mine.decide("wine", signed(bob)).status == "trusted"
    own = mine.decide("wine", signed(alice))
    assert (own.status, own.refuted) == ("unknown", True)
    assert own.hint is not None
    assert own.hint.endswith(
        f"mllock keys trust FILE --project wine --fingerprint {own.fingerprint}"
    )
    named = load_policy(tmp_path / "alice" / "policy.toml", tmp_path, {})
    hint = named.decide("wine", signed(alice)).hint
    assert hint == f"{own.hint} --policy {tmp_path / 'alice' / 'policy.toml'}"
    elsewhere = mine.decide("beer", signed(bob))
    assert (elsewhere.status, elsewhere.refuted, elsewhere.trusted) == ("unknown", True, False)
    assert elsewhere.reason.endswith('does not trust this key for project "beer"')


def test_a_bad_signature_is_refuted(alice: SigningKey) -> None:
    good = signed(alice)
    bad = Bundle(payload=b"[]", signature=good.signature, hint=good.hint)
    trust = policy(alice).decide("wine", bad, today=TODAY)
    assert (trust.status, trust.payload, trust.refuted) == ("bad signature", None, True)


@pytest.mark.parametrize(
    ("dates", "status"),
    [
        ("valid-from = 2026-11-23\nvalid-until = 2026-11-23", "trusted"),
        ("valid-from = 2026-11-24", "not yet valid"),
        ("valid-until = 2026-11-22", "expired"),
        ("valid-from = 2026-01-01", "trusted"),
    ],
)
def test_dates(alice: SigningKey, dates: str, status: str) -> None:
    trust = policy(alice, dates).decide("wine", signed(alice), today=TODAY)
    assert trust.status == status
    assert trust.trusted == (status == "trusted")
    assert trust.refuted == (status != "trusted")
    assert trust.payload == PAYLOAD


def test_one_valid_entry_is_enough(alice: SigningKey) -> None:
    again = f'[[trust]]\nproject = "wine"\npublic-key = """{alice.public_pem}"""'
    both = policy(alice, "valid-until = 2020-01-01\n" + again)
    assert both.decide("wine", signed(alice), today=TODAY).trusted
    assert both.decide("beer", signed(alice), today=TODAY).status == "expired"


def test_a_revoked_key_is_never_trusted(alice: SigningKey) -> None:
    revoked = f'[[revoked]]\nfingerprint = "{alice.fingerprint}"\nreason = "stolen laptop"'
    trust = policy(alice, revoked).decide("wine", signed(alice), today=TODAY)
    assert (trust.status, trust.trusted, trust.refuted) == ("revoked", False, True)
    assert trust.reason == "policy.toml revokes this key: stolen laptop"
    timed = policy(alice, f"{revoked}\nat = 2026-11-25T23:30:00-02:00")
    assert timed.decide("wine", signed(alice), today=TODAY).reason == (
        "policy.toml revokes this key (2026-11-26): stolen laptop"
    )


def test_a_stage_for_a_project(alice: SigningKey) -> None:
    table = '[[release]]\nproject = "wine"\nstage = "production"\n'
    assert policy(alice, table).stages == {"wine": "production"}
    with pytest.raises(RunError) as caught:
        policy(alice, table + table.replace("production", "staging"))
    assert str(caught.value) == "policy.toml: release: two stages for one project"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the policy is empty"),
        ("[[trust]]\n", "not a policy: Object missing required field `project` - at `$.trust[0]`"),
        (
            '[[trust]]\nproject = "*"\npublic_key = ""\n',
            "not a policy: Object contains unknown field `public_key` - at `$.trust[0]`",
        ),
        (
            '[[trust]]\nproject = "A b"\npublic-key = ""\n',
            (
                "not a policy: Expected `str` matching regex "
                "'^(\\\\*|[a-z0-9]+(-[a-z0-9]+)*)\\\\Z' - at `$.trust[0].project`"
            ),
        ),
        ('[[trust]]\nproject = "*"\npublic-key = "x"\n', "not a public key"),
        ("a = 1\na = 2\n", "not a policy: Cannot overwrite a value (at line 2, column 6)"),
        (
            '[[revoked]]\nfingerprint = "SHA256:x"\n',
            (
                "not a policy: Expected `str` matching regex '^SHA256:[A-Za-z0-9+/]{43}\\\\Z' - "
                "at `$.revoked[0].fingerprint`"
            ),
        ),
    ],
)
def test_policies_are_read_strictly(text: str, message: str) -> None:
    with pytest.raises(RunError) as caught:
        parse_policy(text.encode(), "policy.toml")
    assert caught.value.message == message


def test_dates_the_wrong_way_round(alice: SigningKey) -> None:
    with pytest.raises(RunError) as caught:
        policy(alice, "valid-from = 2026-02-01\nvalid-until = 2026-01-01")
    assert str(caught.value) == "policy.toml: trust[0]: valid-from is after valid-until"


def test_a_named_policy_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        load_policy(tmp_path / "no.toml", tmp_path, {})
    assert str(caught.value) == f"{tmp_path / 'no.toml'}: no such policy file"


@pytest.fixture
def mine(tmp_path: Path, alice: SigningKey) -> Path:
    """The policy of a user, in the folder of the configuration."""
    path = tmp_path / "policy.toml"
    path.write_text(f'[[trust]]\nproject = "*"\npublic-key = """\n{alice.public_pem}"""\n')
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o622])
def test_a_policy_that_others_may_change(mine: Path, mode: int, *, named: bool) -> None:
    """Whoever writes it says which keys count."""
    mine.chmod(mode)
    with pytest.raises(RunError) as caught:
        load_policy(mine if named else None, mine.parent, {})
    assert str(caught.value) == (
        f"{mine}: other users may change this policy\nexpected: a mode like 0644\n"
        f"found: mode {mode:04o}\nhint: read it; if it is as you want it: chmod go-w {mine}"
    )


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o755])
def test_a_policy_that_others_may_read(mine: Path, mode: int) -> None:
    mine.chmod(mode)
    assert load_policy(mine, mine.parent, {}).entries == load_policy(None, mine.parent, {}).entries


@pytest.mark.parametrize("user", [0, 4321, 5432])
def test_the_policy_of_another_user(mine: Path, monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    """4321 is who checks. The administrator may decide for a user, another user may not, unless
    that very file is named."""
    monkeypatch.setattr("os.geteuid", lambda: 4321)
    real = os.fstat
    monkeypatch.setattr("os.fstat", lambda d: os.stat_result([*real(d)[:4], user, *real(d)[5:10]]))
    assert len(load_policy(mine, mine.parent, {}).entries) == 1
    if user != 5432:
        assert len(load_policy(None, mine.parent, {}).entries) == 1
        return
    with pytest.raises(RunError) as caught:
        load_policy(None, mine.parent, {})
    assert str(caught.value) == (
        f"{mine}: this policy is another user's\nexpected: owner 4321\nfound: owner 5432\n"
        "hint: read it; if it is as you want it, make a copy of your own, or name it: "
        "--policy FILE"
    )


def test_a_policy_that_is_no_file(mine: Path) -> None:
    mine.unlink()
    os.mkfifo(mine)
    with pytest.raises(InputError) as caught:
        load_policy(mine, mine.parent, {})
    assert str(caught.value) == f"{mine}: not a regular file\nfound: a FIFO"


def test_a_policy_behind_a_link(mine: Path, tmp_path: Path) -> None:
    """People keep such files elsewhere; what counts is whose the file is."""
    (tmp_path / "dotfiles").mkdir()
    place = mine.rename(tmp_path / "dotfiles" / "policy.toml")
    mine.symlink_to(place)
    assert len(load_policy(None, mine.parent, {}).entries) == 1
    place.chmod(0o666)
    with pytest.raises(RunError):
        load_policy(None, mine.parent, {})
