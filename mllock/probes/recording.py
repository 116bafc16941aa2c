"""Recording answers, and the file that keeps them: probes.json, written and read here.

The file is canonical JSON with a random salt in it: its sha256 is the salted digest that a record
names. Reading takes verified bytes only, strictly: unknown fields are errors. Law: reading gives
back what was written. Raises ProgramError (recording), RunError (reading).
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mllock.core import canonical
from mllock.core.digest import Digest, parse_digest
from mllock.errors import ProgramError, RunError
from mllock.probes import pointer
from mllock.probes.ask import Ask, NoAnswerError
from mllock.probes.compare import is_json, mismatches
from mllock.probes.types import NAME, Alike, Answer, Exchange, Probe, Recording, Tolerance

__all__ = [
    "MAX_ANSWER",
    "dump_recording",
    "parse_recording",
    "record_answers",
    "restless",
]

MAX_ANSWER = 4 * 1024 * 1024
MAX_FILE = canonical.MAX_BYTES
# What is around the probes in the file, generously.
_FRAME = 4096


def record_answers(probes: Sequence[Probe], ask: Ask, *, file: str, code: Digest) -> Recording:
    """Ask every probe once. `file` is what messages call the file of the probes.

    Raises ProgramError that names the line for an answer that cannot be recorded.
    """
    exchanges: list[Exchange] = []
    size = _FRAME
    for probe in probes:
        try:
            answer = ask(probe, most=MAX_ANSWER)
        except NoAnswerError as error:
            raise _failed(f"the probe got no answer: {error}", probe, file) from error
        _recordable(probe, answer, file)
        exchanges.append(Exchange(probe=probe, answer=answer))
        size += len(canonical.dumps(_exchange(exchanges[-1])))
        if size > MAX_FILE:
            raise _failed(f"the answers have more than {MAX_FILE} bytes together", probe, file)
    return Recording(salt=secrets.token_hex(32), code=code, exchanges=tuple(exchanges))


def restless(recording: Recording, ask: Ask, *, file: str) -> tuple[str, ...]:
    """Ask everything once more: one sentence for each probe that is answered differently now.

    The same program that has just answered does not pass: no deployment ever would.
    """
    found = []
    for exchange in recording.exchanges:
        probe = exchange.probe
        try:
            again = mismatches(exchange, ask(probe, most=MAX_ANSWER))
        except NoAnswerError as error:
            found.append(f"{file}:{probe.line}: no answer when it was asked again: {error}")
            continue
        if again:
            places = ", ".join(mismatch.place for mismatch in again[:3])
            found.append(
                f"{file}:{probe.line}: answered differently when it was asked again: {places}"
            )
    return tuple(found)


def _recordable(probe: Probe, answer: Answer, file: str) -> None:
    good = 200 <= answer.status <= 299 if probe.status is None else answer.status == probe.status
    if not good:
        expected = "200 to 299" if probe.status is None else str(probe.status)
        raise _failed(
            "the trained model answers the probe with another status",
            probe,
            file,
            expected=expected,
            found=f"{answer.status} {_excerpt(answer.body)}".rstrip(),
            hint=f'mend the probe or the program, or write "status": {answer.status} if it is right'
            if answer.status < 500
            else None,
        )
    if answer.cut:
        raise _failed(f"the answer has more than {MAX_ANSWER} bytes", probe, file)
    if answer.encoding:
        raise _failed(
            "the answer is encoded, which nobody asked for", probe, file, found=answer.encoding
        )
    if not probe.alike.is_exact and not _reads(answer):
        raise _failed(
            "compare is a table, and the answer is not JSON",
            probe,
            file,
            expected="application/json, and strict JSON",
            found=f"{answer.type or 'no content-type'} {_excerpt(answer.body)}".rstrip(),
        )


def _reads(answer: Answer) -> bool:
    try:
        canonical.loads(answer.body)
    except ValueError:
        return False
    return is_json(answer.type)


def _excerpt(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace")
    return f"{text}..." if len(body) > 200 else text


def _failed(
    message: str,
    probe: Probe,
    file: str,
    *,
    expected: str | None = None,
    found: str | None = None,
    hint: str | None = None,
) -> ProgramError:
    return ProgramError(
        message,
        file=file,
        line=probe.line,
        key=f"{probe.method} {probe.path}",
        expected=expected,
        found=found,
        hint=hint,
    )


def dump_recording(recording: Recording) -> bytes:
    return canonical.dumps(
        {
            "version": 1,
            "salt": recording.salt,
            "code": recording.code,
            "probes": [_exchange(exchange) for exchange in recording.exchanges],
        }
    )


def _exchange(exchange: Exchange) -> dict[str, Any]:
    probe = exchange.probe
    return {
        "line": probe.line,
        "method": probe.method,
        "path": probe.path,
        "headers": dict(probe.headers),
        "body": probe.body,
        "ignore": [pointer.text_of(path) for path in probe.alike.ignore],
        "tolerance": {
            pointer.text_of(path): {"abs": item.absolute, "rel": item.relative}
            for path, item in probe.alike.tolerance.items()
        },
        "answer": _answer(exchange.answer),
    }


def _answer(answer: Answer) -> dict[str, Any]:
    out: dict[str, Any] = {"status": answer.status, "type": answer.type}
    try:
        out["text"] = answer.body.decode("utf-8")
    except UnicodeDecodeError:
        out["base64"] = base64.b64encode(answer.body).decode("ascii")
    return out


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _ToleranceWire(_Strict, frozen=True, kw_only=True):
    abs: Annotated[float, Meta(ge=0)]
    rel: Annotated[float, Meta(ge=0, le=1)]


class _AnswerWire(_Strict, frozen=True, kw_only=True):
    status: Annotated[int, Meta(ge=100, le=599)]
    type: str
    text: str | None = None
    base64: str | None = None


class _ProbeWire(_Strict, frozen=True, kw_only=True):
    line: Annotated[int, Meta(ge=1)]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Annotated[str, Meta(pattern=r'^/[!-"$-~]*\Z')]
    headers: dict[Annotated[str, Meta(pattern=r"^[a-z0-9!#$%&'*+.^_`|~-]+\Z")], str]
    body: str | None
    ignore: tuple[str, ...]
    tolerance: dict[str, _ToleranceWire]
    answer: _AnswerWire


class _RecordingWire(_Strict, frozen=True, kw_only=True):
    version: Literal[1]
    salt: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    code: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
    probes: Annotated[tuple[_ProbeWire, ...], Meta(min_length=1)]


def parse_recording(data: bytes, *, name: str = NAME) -> Recording:
    """Read probes.json, whose digest was verified."""
    try:
        raw = msgspec.convert(canonical.loads(data), _RecordingWire)
        return Recording(
            salt=raw.salt,
            code=parse_digest(raw.code),
            exchanges=tuple(_read_exchange(probe) for probe in raw.probes),
        )
    except ValueError as error:
        raise RunError(f"not recorded probes: {error}", file=name) from None


def _read_exchange(raw: _ProbeWire) -> Exchange:
    probe = Probe(
        line=raw.line,
        method=raw.method,
        path=raw.path,
        headers=raw.headers,
        body=raw.body,
        alike=Alike(
            ignore=tuple(pointer.parse(text) for text in raw.ignore),
            tolerance=_read_tolerance(raw.tolerance),
        ),
    )
    return Exchange(probe=probe, answer=_read_answer(raw.answer))


def _read_tolerance(raw: Mapping[str, _ToleranceWire]) -> dict[tuple[str, ...], Tolerance]:
    return {
        pointer.parse(text): Tolerance(absolute=item.abs, relative=item.rel)
        for text, item in raw.items()
    }


def _read_answer(raw: _AnswerWire) -> Answer:
    if (raw.text is None) == (raw.base64 is None):
        raise ValueError("an answer has text or base64, and not both")
    if raw.text is not None:
        body = raw.text.encode()
    else:
        assert raw.base64 is not None
        try:
            body = base64.b64decode(raw.base64, validate=True)
        except binascii.Error as error:
            raise ValueError(f"not base64: {error}") from None
    return Answer(status=raw.status, type=raw.type, body=body)
