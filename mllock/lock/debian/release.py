"""InRelease: the signed list of an archive's indexes.

Order of trust, enforced here without IO: nothing stands outside of the signature; a key of our
wheel for this suite, neither revoked nor expired, made a valid signature; only the bytes that were
verified are read; they are of the suite that was asked for; they are not expired, and not older
than what was seen before. Only then is a hash of theirs believed.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from mllock.core.digest import Digest, sha256_of
from mllock.errors import IntegrityError

__all__ = ["MAX_INRELEASE", "Listed", "Release", "read_release"]

MAX_INRELEASE = 4 << 20
_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_END = b"-----END PGP SIGNATURE-----"
# A machine in another time zone, or a clock that is a little slow.
_CLOCK_SLACK = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """One index file as the Release lists it."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A verified InRelease. `digest` is of the whole file, signatures included."""

    suite: str
    digest: Digest
    date: str
    signed_by: tuple[str, ...]
    by_hash: bool
    files: Mapping[str, Listed]


def read_release(
    data: bytes,
    *,
    suite: str,
    place: str,
    keys: Sequence[bytes],
    now: dt.datetime,
    seen: str | None = None,
) -> Release:
    """Verify and read an InRelease. `place` is how messages name it, `seen` the date (as in
    `Release.date`) of one that was believed before. Raises IntegrityError."""
    text = data.strip()
    if text.startswith(_BEGIN) and _END not in text:
        raise IntegrityError(
            "the signed index is cut off",
            file=place,
            hint="run the same command again, or use another mirror",
        )
    if not (text.startswith(_BEGIN) and text.endswith(_END) and text.count(_BEGIN) == 1):
        raise IntegrityError(
            "not one clear-signed document",
            file=place,
            hint="is this the URL of a Debian archive, or of a page in front of it?",
        )
    signed, signers = _verify(text, keys, place, now)
    fields = _fields(signed)
    if fields.get("codename") != suite:
        raise IntegrityError(
            "the archive is of another suite",
            file=place,
            expected=suite,
            found=fields.get("codename", "nothing"),
        )
    date = _date(fields, "date", place)
    if date is None:
        raise IntegrityError("no Date in the signed index", file=place)
    if date > now + _CLOCK_SLACK:
        raise IntegrityError(
            f"dated {fields['date']}, which is in the future",
            file=place,
            hint="is the clock of this machine right?",
        )
    until = _date(fields, "valid-until", place)
    if until is not None and until < now:
        raise IntegrityError(
            f"expired: valid until {fields['valid-until']}",
            file=place,
            hint="use a mirror that is up to date; is the clock of this machine right?",
        )
    stamp = date.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if seen is not None and stamp < seen:
        raise IntegrityError(
            "the archive is older than the one that the lock was made from",
            file=place,
            expected=f"{seen} or later",
            found=stamp,
            hint='use a mirror that is up to date; "mllock lock --fresh" takes this one',
        )
    return Release(
        suite=suite,
        digest=sha256_of(data),
        date=stamp,
        signed_by=signers,
        by_hash=fields.get("acquire-by-hash", "no") == "yes",
        files=_files(fields.get("sha256", ""), place),
    )


def _verify(
    data: bytes, keys: Sequence[bytes], place: str, now: dt.datetime
) -> tuple[bytes, tuple[str, ...]]:
    import pysequoia

    certs = [pysequoia.Cert.from_bytes(key) for key in keys]
    asked: list[str] = []

    def store(ids: list[str]) -> list[pysequoia.Cert]:
        asked.extend(ids)
        return certs

    # A signature by a key that has expired since is valid in OpenPGP. Whoever has an old key could
    # date it back, so here it is not, as in apt.
    problems = {}
    for cert in certs:
        if cert.is_revoked:
            problems[cert.fingerprint] = "was revoked"
        elif cert.expiration is not None and cert.expiration <= now:
            problems[cert.fingerprint] = f"expired on {cert.expiration:%Y-%m-%d}"
    try:
        verified = pysequoia.verify(data, store=store)
    # pysequoia raises only RuntimeError, for a bad signature and for a malformed document.
    except RuntimeError as error:
        names = {name.lower() for name in asked}
        known = [c for c, key in zip(certs, keys, strict=True) if names & _key_ids(key)]
        if asked and not known:
            raise IntegrityError(
                "signed by keys that are not the archive keys of this suite",
                file=place,
                found=", ".join(name.upper() for name in asked),
            ) from error
        if known and all(cert.fingerprint in problems for cert in known):
            raise _unusable(known[0].fingerprint, problems, place) from error
        raise IntegrityError("the signature does not hold", file=place) from error
    signers = sorted({sig.certificate for sig in verified.valid_sigs})
    if not signers or verified.bytes is None:
        raise IntegrityError("the signature does not hold", file=place)
    good = tuple(name.upper() for name in signers if name not in problems)
    if not good:
        raise _unusable(signers[0], problems, place)
    return verified.bytes, good


def _unusable(fingerprint: str, problems: Mapping[str, str], place: str) -> IntegrityError:
    return IntegrityError(
        f"signed by an archive key that {problems[fingerprint]}",
        file=place,
        found=fingerprint.upper(),
        hint="use a mirror that is up to date, and a newer mllock, which has newer keys",
    )


def _key_ids(key: bytes) -> set[str]:
    from pysequoia.packet import PacketPile

    names = {p.fingerprint.lower() for p in PacketPile.from_bytes(key) if p.fingerprint}
    # Old signatures name their issuer by key id, the last 16 digits of the fingerprint.
    return names | {name[-16:] for name in names}


def _fields(signed: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    last = ""
    for line in signed.decode("utf-8", "replace").splitlines():
        if line[:1] in (" ", "\t") and last:
            fields[last] += "\n" + line.strip()
        elif ":" in line:
            last, _, value = line.partition(":")
            last = last.lower()
            fields.setdefault(last, value.strip())
    return fields


def _date(fields: Mapping[str, str], name: str, place: str) -> dt.datetime | None:
    if name not in fields:
        return None
    try:
        moment = parsedate_to_datetime(fields[name])
    except ValueError as error:
        raise IntegrityError(f"unreadable {name}: {fields[name]}", file=place) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _files(text: str, place: str) -> dict[str, Listed]:
    found: dict[str, Listed] = {}
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not re.fullmatch(r"[0-9a-f]{64} [0-9]{1,12}", " ".join(words[:2])):
            raise IntegrityError("unreadable line in the SHA256 list", file=place, found=line)
        found[words[2]] = Listed(path=words[2], size=int(words[1]), sha256=words[0])
    return found
