"""Editing a policy: what a person wrote stays, and what is written says what was asked."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllock.attest.keys import SigningKey, load_or_create_key
from mllock.attest.policy import Entry, parse_policy
from mllock.attest.policy_edit import HEADER, add_revoked, add_trust
from mllock.errors import RunError

NOW = dt.datetime(2026, 11, 25, 22, 0, 0, 5, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return load_or_create_key(tmp_path_factory.mktemp("alice"), {})


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return load_or_create_key(tmp_path_factory.mktemp("bob"), {})


def entry(key: SigningKey, project: str = "wine", **days: dt.date) -> Entry:
    return Entry(project=project, key=key.public, **days)


def test_a_policy_begins(alice: SigningKey) -> None:
    text = add_trust("", "p", entry(alice, valid_until=dt.date(2027, 12, 31)))
    assert text == (
        f'{HEADER}\n[[trust]]\nproject = "wine"\npublic-key = """\n{alice.public_pem}"""\n'
        "valid-until = 2027-12-31\n"
    )


def test_what_a_person_wrote_stays(alice: SigningKey, bob: SigningKey) -> None:
    written = (
        "# ours\n\n"
        "[[revoked]] # a laptop\n"
        f'fingerprint="SHA256:{"A" * 43}"\n'
        "[[trust]] # Alice\n"
        f'public-key = """{alice.public_pem}"""\n'
        "valid-until = 2026-01-01 # she left\n"
        'project   = "wine"\n\n'
        "# the end"
    )
    assert add_trust(written, "p", entry(bob)) == (
        f'{written}\n\n[[trust]]\nproject = "wine"\npublic-key = """\n{bob.public_pem}"""\n'
    )
    days = {"valid_from": dt.date(2026, 2, 1), "valid_until": dt.date(2028, 1, 1)}
    assert add_trust(written, "p", entry(alice, **days)) == written.replace(
        "2026-01-01 # she left", "2028-01-01 # she left"
    ).replace('project   = "wine"\n', 'project   = "wine"\nvalid-from = 2026-02-01\n')
    assert add_trust(written, "p", entry(alice)) == written.replace(
        "valid-until = 2026-01-01 # she left\n", ""
    )
    same = entry(alice, valid_until=dt.date(2026, 1, 1))
    assert add_trust(written, "p", same) == written
    assert add_revoked(written, "p", bob.fingerprint, "stolen", NOW) == (
        f'{written}\n\n[[revoked]]\nfingerprint = "{bob.fingerprint}"\nreason = "stolen"\n'
        "at = 2026-11-25T22:00:00Z\n"
    )
    assert add_revoked(written, "p", f"SHA256:{'A' * 43}", "again", NOW) == written


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_reason(reason: str) -> None:
    fingerprint = f"SHA256:{'B' * 43}"
    policy = parse_policy(add_revoked("", "p", fingerprint, reason, NOW).encode(), "p")
    assert policy.revoked == {fingerprint: reason}
    assert policy.revoked_at == {fingerprint: NOW.replace(microsecond=0)}


def test_a_revoked_key_is_not_trusted_again(alice: SigningKey) -> None:
    text = add_revoked("", "p", alice.fingerprint, "", NOW)
    with pytest.raises(RunError) as caught:
        add_trust(text, "p", entry(alice))
    assert str(caught.value) == (
        "p: revoked: this key is revoked here, and a revoked key is never trusted\n"
        f"found: {alice.fingerprint}\n"
        "hint: if that was a mistake, remove its [[revoked]] table from the file"
    )


def test_narrowing_dates_never_leaves_a_wider_entry(alice: SigningKey) -> None:
    twice = add_trust("", "p", entry(alice)) + "\n" + add_trust("", "p", entry(alice))
    with pytest.raises(RunError) as caught:
        add_trust(twice, "p", entry(alice, valid_until=dt.date(2027, 1, 1)))
    assert caught.value.message == "the policy names this key more than once for this project"
    pem = alice.public_pem.replace("\n", "\\n")
    inline = f'trust = [{{project = "wine", public-key = "{pem}"}}]\n'
    with pytest.raises(RunError) as caught:
        add_trust(inline, "p", entry(alice, valid_until=dt.date(2027, 1, 1)))
    assert str(caught.value) == (
        "p: trust: this file is written in a way that cannot be edited here\n"
        "expected: [[trust]] tables\n"
        "hint: add it by hand: docs/reference/keys-and-policy.md"
    )


def test_an_array_is_not_appended_to(alice: SigningKey, bob: SigningKey, tmp_path: Path) -> None:
    pem = alice.public_pem.replace("\n", "\\n")
    inline = f'trust = [{{project = "wine", public-key = "{pem}"}}]\n'
    with pytest.raises(RunError) as caught:
        add_trust(inline, "p", entry(bob))
    assert caught.value.message == "this file is written in a way that cannot be edited here"
    with pytest.raises(RunError) as caught:
        add_revoked("nonsense\n", "p", bob.fingerprint, "", NOW)
    assert caught.value.message.startswith("not a policy: ")
