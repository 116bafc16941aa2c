"""Asking an endpoint the recorded probes: effects only, nothing is judged beyond being alike.

Probes are sent only for a record that a trusted key has signed, read from the file that it names by
digest: nobody else decides what this machine asks of an address. An endpoint that gives no answer
is a matter of the surroundings, unless an answer that differs was there before. Raises
SurroundingsError, RunError, InputError.
"""

from __future__ import annotations

from collections.abc import Mapping

from mllock.check.evidence import ProbeSeen, ProbesSeen, Signed
from mllock.check.expected import Source, read_optional
from mllock.core.digest import sha256_of
from mllock.errors import InputError, SurroundingsError
from mllock.probes.address import Address
from mllock.probes.ask import SECONDS, NoAnswerError, ask_probe
from mllock.probes.compare import mismatches
from mllock.probes.recording import parse_recording
from mllock.probes.types import NAME, Answer, Exchange, Recording
from mllock.train.record import Record

__all__ = ["AUTHORIZATION", "ask_recorded", "authorization", "replay"]

AUTHORIZATION = "MLLOCK_PROBE_AUTHORIZATION"

# More than the recorded answer: where answers of another length are read, to be shown.
SLACK = 64 * 1024
# RFC 9110 and 6585: not now, and not an answer of the program.
_NOT_NOW = frozenset({429, 502, 503, 504})
# RFC 9110: not for you, whatever the program would have said.
_NOT_FOR_US = frozenset({401, 403, 407})


def authorization(address: Address, environ: Mapping[str, str]) -> dict[str, str]:
    """The header that the verifier wants to be sent to `address`; never to whom can be overheard.

    Raises InputError, which does not show it.
    """
    value = environ.get(AUTHORIZATION, "")
    if not value:
        return {}
    if not address.is_private:
        raise InputError(
            f"{AUTHORIZATION} is not sent over http, where others can read it",
            file=str(address),
            hint="use https://, or unset it",
        )
    if not value.isascii() or not value.isprintable():
        raise InputError(
            f"{AUTHORIZATION} is not the value of a header", expected="printable ASCII"
        )
    return {"authorization": value}


def ask_recorded(
    address: Address,
    source: Source,
    signed: Signed[Record],
    *,
    seconds: float = SECONDS,
    headers: Mapping[str, str] | None = None,
) -> ProbesSeen:
    """The probes of the record in `source`, asked now; or why none was sent.

    `headers` are sent besides those of each probe.
    """
    url, record = str(address), signed.believed
    if record is None:
        return ProbesSeen(
            url=url,
            problem="no probe was sent: the record that names them has no trusted signature",
            cure="see signature",
        )
    expected = record.byproducts.get(NAME)
    if expected is None:
        return ProbesSeen(
            url=url,
            problem=f"run {record.run_id} recorded no probes",
            cure="declare [serve] probes, and train again",
        )
    try:
        data = None if source.folder is None else read_optional(source.folder / NAME)
    except PermissionError:
        return ProbesSeen(
            url=url,
            problem=f"{NAME} of run {record.run_id} is for its owner only",
            cure="check as the user who trained it",
        )
    if data is None:
        return ProbesSeen(
            url=url,
            problem=f"no {NAME} lies beside the record: answers stay in the run folder",
            cure=f"check where run {record.run_id} is",
        )
    if sha256_of(data) != expected:
        return ProbesSeen(
            url=url,
            problem=f"no probe was sent: {NAME} is not the file that the record names",
            cure=f"bring back {NAME} of run {record.run_id}",
        )
    recording = parse_recording(data, name=f"{record.run_id}/{NAME}")
    return ProbesSeen(
        url=url,
        seen=replay(address, recording, seconds, headers),
        total=len(recording.exchanges),
    )


def replay(
    address: Address,
    recording: Recording,
    seconds: float = SECONDS,
    headers: Mapping[str, str] | None = None,
) -> tuple[ProbeSeen, ...]:
    """Ask one after the other; ends early only after an answer that differs."""
    seen: list[ProbeSeen] = []
    for exchange in recording.exchanges:
        try:
            found = _ask(address, exchange, seconds, headers)
        except NoAnswerError as error:
            if any(probe.mismatches for probe in seen):
                break
            raise SurroundingsError(
                f"no answer to the probe of {exchange.probe.name}: {error}",
                file=str(address),
                hint="is it running, and is this its address?",
            ) from error
        seen.append(
            ProbeSeen(
                name=exchange.probe.name,
                size=len(exchange.answer.body),
                exact=exchange.probe.alike.is_exact,
                mismatches=mismatches(exchange, found),
            )
        )
    return tuple(seen)


def _ask(
    address: Address, exchange: Exchange, seconds: float, headers: Mapping[str, str] | None
) -> Answer:
    most = len(exchange.answer.body) + SLACK
    found = ask_probe(address, exchange.probe, most=most, seconds=seconds, headers=headers)
    if found.status == exchange.answer.status:
        return found
    if found.status in _NOT_NOW:
        raise NoAnswerError(f"it answers with status {found.status}")
    if found.status in _NOT_FOR_US:
        raise NoAnswerError(f"it answers with status {found.status}: does it want {AUTHORIZATION}?")
    return found
