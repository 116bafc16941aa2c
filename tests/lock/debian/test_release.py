from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.debian import NOW, Archive, Key

from mllock.core.digest import sha256_of
from mllock.errors import IntegrityError
from mllock.lock.debian.release import Release, read_release
from mllock.lock.debian.suites import SUITES, packaged_keys

KEY = Key()
ARCHIVE = Archive(KEY)
ARCHIVE.add("hello")
SIGNED = ARCHIVE.inrelease()
TEXT = "Codename: bookworm\nDate: Sat, 21 Nov 2026 00:53:02 UTC\nSHA256:\n"


def read(
    data: bytes,
    *,
    suite: str = "bookworm",
    key: Key = KEY,
    keys: Sequence[bytes] = (),
    now: dt.datetime = NOW,
    seen: str | None = None,
) -> Release:
    place = "mirror/InRelease"
    keys = keys or [key.public]
    return read_release(data, suite=suite, place=place, keys=keys, now=now, seen=seen)


def refused(data: bytes, **options: Any) -> str:
    with pytest.raises(IntegrityError) as caught:
        read(data, **options)
    return str(caught.value)


def test_a_signed_release_is_read() -> None:
    release = read(SIGNED)
    assert release.suite == "bookworm"
    assert release.digest == sha256_of(SIGNED)
    assert release.date == "2026-11-21T00:53:02Z"
    assert release.signed_by == (KEY.fingerprint,)
    assert release.by_hash
    assert sorted(release.files) == [
        "main/binary-amd64/Packages",
        "main/binary-amd64/Packages.xz",
    ]
    plain = ARCHIVE.packages()
    listed = release.files["main/binary-amd64/Packages"]
    assert (listed.size, f"sha256:{listed.sha256}") == (len(plain), sha256_of(plain))


def test_another_key() -> None:
    other = Key()
    assert refused(SIGNED, key=other) == (
        "mirror/InRelease: signed by keys that are not the archive keys of this suite\n"
        f"found: {KEY.signing}"
    )


def test_one_of_several_keys_is_enough() -> None:
    other = Key()
    assert read(SIGNED, keys=[other.public, KEY.public]).signed_by == (KEY.fingerprint,)


def test_a_key_that_was_revoked() -> None:
    key = Key()
    signed = key.sign(TEXT)
    assert read(signed, key=key).signed_by == (key.fingerprint,)
    assert refused(signed, keys=[KEY.public, key.revoked()]) == (
        "mirror/InRelease: signed by an archive key that was revoked\n"
        f"found: {key.fingerprint}\n"
        "hint: use a mirror that is up to date, and a newer mllock, which has newer keys"
    )


def test_a_key_that_has_expired() -> None:
    # The signature was made while the key was valid; by now it could as well be dated back.
    key = Key()
    end = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=2)
    until = key.until(end)
    signed = key.sign(TEXT.replace("Sat, 21 Nov 2026 00:53:02 UTC", format_datetime(end)))
    before, after = end - dt.timedelta(seconds=1), end
    assert read(signed, keys=[until], now=before).signed_by == (key.fingerprint,)
    assert refused(signed, keys=[until], now=after) == (
        f"mirror/InRelease: signed by an archive key that expired on {end:%Y-%m-%d}\n"
        f"found: {key.fingerprint}\n"
        "hint: use a mirror that is up to date, and a newer mllock, which has newer keys"
    )


def test_one_changed_byte() -> None:
    changed = SIGNED.replace(b"Codename: bookworm", b"Codename: bookwarm")
    assert refused(changed) == "mirror/InRelease: the signature does not hold"


def test_cut_off() -> None:
    for end in (len(SIGNED) // 2, -40, -30):
        assert refused(SIGNED[:end]) == (
            "mirror/InRelease: the signed index is cut off\n"
            "hint: run the same command again, or use another mirror"
        )


def test_an_older_one_put_back() -> None:
    assert read(SIGNED, seen="2026-11-21T00:53:02Z").date == "2026-11-21T00:53:02Z"
    assert refused(SIGNED, seen="2026-11-21T00:53:03Z") == (
        "mirror/InRelease: the archive is older than the one that the lock was made from\n"
        "expected: 2026-11-21T00:53:03Z or later\n"
        "found: 2026-11-21T00:53:02Z\n"
        'hint: use a mirror that is up to date; "mllock lock --fresh" takes this one'
    )
    # Dates are compared as times, whatever zone they are written in.
    east = ARCHIVE.inrelease(Date="Sat, 21 Nov 2026 02:53:02 +0200")
    assert read(east).date == "2026-11-21T00:53:02Z"


def test_not_signed_at_all() -> None:
    expected = (
        "mirror/InRelease: not one clear-signed document\n"
        "hint: is this the URL of a Debian archive, or of a page in front of it?"
    )
    assert refused(b"Codename: bookworm\n") == expected
    assert refused(b"") == expected
    # Text outside of the signature is not signed.
    assert refused(b"Codename: bookworm\n" + SIGNED) == expected
    assert refused(SIGNED + b"Codename: bookworm\n") == expected
    assert refused(SIGNED + SIGNED) == expected


def test_of_another_suite() -> None:
    assert refused(SIGNED, suite="trixie") == (
        "mirror/InRelease: the archive is of another suite\nexpected: trixie\nfound: bookworm"
    )
    assert refused(ARCHIVE.inrelease(Codename="")) == (
        "mirror/InRelease: the archive is of another suite\nexpected: bookworm\nfound: nothing"
    )


def test_expired() -> None:
    data = ARCHIVE.inrelease(Valid_Until="Sun, 22 Nov 2026 08:00:00 UTC")
    assert refused(data) == (
        "mirror/InRelease: expired: valid until Sun, 22 Nov 2026 08:00:00 UTC\n"
        "hint: use a mirror that is up to date; is the clock of this machine right?"
    )
    # An archive without the field does not expire: that is what Debian's releases do.
    assert read(ARCHIVE.inrelease(Valid_Until="")).suite == "bookworm"


def test_from_the_future() -> None:
    assert read(ARCHIVE.inrelease(Date="Mon, 23 Nov 2026 20:00:00 UTC", Valid_Until=""))
    assert refused(ARCHIVE.inrelease(Date="Wed, 25 Nov 2026 08:00:00 UTC")) == (
        "mirror/InRelease: dated Wed, 25 Nov 2026 08:00:00 UTC, which is in the future\n"
        "hint: is the clock of this machine right?"
    )


def test_dates_that_are_missing_or_unreadable() -> None:
    assert refused(ARCHIVE.inrelease(Date="")) == ("mirror/InRelease: no Date in the signed index")
    assert refused(ARCHIVE.inrelease(Valid_Until="soon")) == (
        "mirror/InRelease: unreadable valid-until: soon"
    )


def test_a_list_that_cannot_be_read() -> None:
    data = KEY.sign(
        "Codename: bookworm\nDate: Sat, 21 Nov 2026 00:53:02 UTC\nSHA256:\n xyz 12 main\n"
    )
    assert refused(data) == (
        "mirror/InRelease: unreadable line in the SHA256 list\nfound: xyz 12 main"
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 7))
def test_no_flipped_bit_changes_what_is_read(at: int, bit: int) -> None:
    changed = bytearray(SIGNED)
    changed[at] ^= 1 << bit
    try:
        release = read(bytes(changed))
    except IntegrityError:
        return
    # White space at line ends and the armour's own headers are not signed, and mean nothing.
    expected = read(SIGNED)
    assert (release.files, release.date, release.suite) == (
        expected.files,
        expected.date,
        expected.suite,
    )


@pytest.mark.parametrize("suite", SUITES)
def test_the_keys_of_every_suite_travel_with_us(suite: str) -> None:
    import pysequoia

    certs = [pysequoia.Cert.from_bytes(key) for key in packaged_keys(suite)]
    assert len({cert.fingerprint for cert in certs}) == 3
    later = NOW + dt.timedelta(days=365)
    assert all(cert.expiration is None or cert.expiration > later for cert in certs)
    assert not any(cert.is_revoked for cert in certs)
