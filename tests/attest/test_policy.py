"""Trust: from the verifier's side only, every status, and strict reading of the policy."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from mllock.attest.bundle import Bundle, read_bundle, sign_statement
from mllock.attest.keys import SigningKey, load_or_create_key
from mllock.attest.policy import Policy, load_policy, parse_policy
from mllock.errors import RunError

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
