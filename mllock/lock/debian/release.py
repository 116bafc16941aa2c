"""InRelease: the signed list of an archive's indexes.

Order of trust, enforced here without IO: nothing stands outside of the signature; a key of our
wheel for this suite made a valid signature; only the bytes that were verified are read; they are
of the suite that was asked for; they are not expired. Only then is a hash of theirs believed.
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
    data: bytes, *, suite: str, place: str, keys: Sequence[bytes], now: dt.datetime
) -> Release:
    """Verify and read an InRelease. `place` is how messages name it. Raises IntegrityError."""
    text = data.strip()
    if not (text.startswith(_BEGIN) and text.endswith(_END) and text.count(_BEGIN) == 1):
        raise IntegrityError(
            "not one clear-signed document",
            file=place,
            hint="is this the URL of a Debian archive, or of a page in front of it?",
        )
    signed, signers = _verify(text, keys, place)
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
    return Release(
        suite=suite,
        digest=sha256_of(data),
        date=date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        signed_by=signers,
        by_hash=fields.get("acquire-by-hash", "no") == "yes",
        files=_files(fields.get("sha256", ""), place),
    )


def _verify(data: bytes, keys: Sequence[bytes], place: str) -> tuple[bytes, tuple[str, ...]]:
    import pysequoia

    certs = [pysequoia.Cert.from_bytes(key) for key in keys]
    asked: list[str] = []

    def store(ids: list[str]) -> list[pysequoia.Cert]:
        asked.extend(ids)
        return certs

    try:
        verified = pysequoia.verify(data, store=store)
    # pysequoia raises only RuntimeError, for a bad signature and for a malformed document.
    except RuntimeError as error:
        if asked and not _key_ids(keys) & {name.lower() for name in asked}:
            raise IntegrityError(
                "signed by keys that are not the archive keys of this suite",
                file=place,
                found=", ".join(name.upper() for name in asked),
            ) from error
        raise IntegrityError("the signature does not hold", file=place) from error
    signers = tuple(sorted({sig.certificate.upper() for sig in verified.valid_sigs}))
    if not signers or verified.bytes is None:
        raise IntegrityError("the signature does not hold", file=place)
    return verified.bytes, signers


def _key_ids(keys: Sequence[bytes]) -> set[str]:
    from pysequoia.packet import PacketPile

    packets = (packet for key in keys for packet in PacketPile.from_bytes(key))
    names = {packet.fingerprint.lower() for packet in packets if packet.fingerprint}
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
