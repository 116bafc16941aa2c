"""Reading probes.jsonl: every line strictly, errors with file and line.

Nothing is guessed: unknown keys, headers that say how a message is sent, and headers that hold
credentials are errors. A body is kept as the text that will be sent, so that it is the same bytes
whenever it is asked. Raises InputError.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mllock.core import canonical
from mllock.errors import InputError
from mllock.probes import pointer
from mllock.probes.types import EXACT, Alike, Pointer, Probe, Tolerance

__all__ = ["parse_probes", "read_probes"]

MAX_BYTES = 16 * 1024 * 1024
MAX_PROBES = 1000

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_KEYS = ("method", "path", "headers", "body", "text", "status", "compare")
_PATH = re.compile(r"/[!-\"$-~]*")  # printable ASCII but blank and "#"
# RFC 9110, 5.6.2: token; 5.5: visible characters, and blanks inside.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!-~]([ -~\t]*[!-~])?|")
_FRAMING = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


def read_probes(path: Path, name: str) -> tuple[Probe, ...]:
    """The probes of the file at `path`; `name` is what messages call it."""
    try:
        if not path.is_file():
            raise InputError(
                "no such file",
                file=name,
                key="serve.probes",
                hint="write it, one JSON object a line, or leave serve.probes out",
            )
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"cannot read: {(error.strerror or str(error)).lower()}", file=name
        ) from error
    return parse_probes(data, name)


def parse_probes(data: bytes, name: str) -> tuple[Probe, ...]:
    """The probes in `data`, in order. Raises InputError with file and line."""
    if len(data) > MAX_BYTES:
        raise InputError(f"more than {MAX_BYTES} bytes", file=name)
    probes = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            probes.append(_probe(_object(line), number))
        except _WrongError as error:
            raise InputError(
                error.message,
                file=name,
                line=number,
                key=error.key,
                expected=error.expected,
                found=error.found,
                hint=error.hint,
            ) from None
    if not probes:
        raise InputError(
            "no probe in the file",
            file=name,
            expected='one JSON object a line, e.g. {"path": "/predict", "body": {}}',
        )
    if len(probes) > MAX_PROBES:
        raise InputError(f"{len(probes)} probes", file=name, expected=f"at most {MAX_PROBES}")
    return tuple(probes)


class _WrongError(Exception):
    """What is wrong with a line; the place is added by who knows it."""

    def __init__(
        self,
        message: str,
        key: str | None = None,
        *,
        expected: str | None = None,
        found: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.expected = expected
        self.found = None if found is None else _shown(found)
        self.hint = hint


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = canonical.loads(line, max_bytes=MAX_BYTES)
    except ValueError as error:
        raise _WrongError(f"not JSON: {error}", hint="each line is one JSON object") from None
    if not isinstance(value, dict):
        raise _WrongError("not a probe", expected="a JSON object", found=value)
    return value


def _probe(value: dict[str, Any], line: int) -> Probe:
    _known(value, _KEYS, None)
    method = _text(value, "method") if "method" in value else "POST"
    if method not in METHODS:
        raise _WrongError("unknown method", "method", expected=", ".join(METHODS), found=method)
    if "path" not in value:
        raise _WrongError("missing key", "path", expected='a path, e.g. "/predict"')
    path = _text(value, "path")
    if _PATH.fullmatch(path) is None:
        raise _WrongError(
            "not a path",
            "path",
            expected='printable ASCII that begins with "/", other characters percent-encoded',
            found=path,
        )
    if "body" in value and "text" in value:
        raise _WrongError("body and text are two bodies", "text", hint="leave one of them out")
    body, kind = None, None
    if "body" in value:
        body = json.dumps(value["body"], ensure_ascii=False, separators=(",", ":"))
        kind = "application/json"
    elif "text" in value:
        body, kind = _text(value, "text"), "text/plain; charset=utf-8"
    headers = _headers(value.get("headers", {}))
    if kind is not None:
        headers = {"content-type": kind, **headers}
    return Probe(
        line=line,
        method=method,
        path=path,
        headers=dict(sorted(headers.items())),
        body=body,
        status=_status(value["status"]) if "status" in value else None,
        alike=_alike(value.get("compare", "exact")),
    )


def _headers(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _WrongError("wrong type", "headers", expected="an object of strings", found=value)
    headers: dict[str, str] = {}
    for name, text in value.items():
        key, lower = f"headers.{name}", name.lower()
        if _HEADER.fullmatch(name) is None:
            raise _WrongError("not the name of a header", "headers", found=name)
        if lower in _FRAMING:
            raise _WrongError("mllock sets it itself", key, hint="leave it out")
        if lower in _CREDENTIALS:
            raise _WrongError("a header that holds credentials", key, hint="leave it out")
        if lower in headers:
            raise _WrongError("the same header twice", key)
        if not isinstance(text, str) or _VALUE.fullmatch(text) is None:
            raise _WrongError(
                "not the value of a header", key, expected="printable ASCII", found=text
            )
        headers[lower] = text
    return headers


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 100 <= value <= 599:
        raise _WrongError("not a status", "status", expected="100 to 599", found=value)
    return value


def _alike(value: Any) -> Alike:
    if value == "exact":
        return EXACT
    if not isinstance(value, dict):
        raise _WrongError("wrong type", "compare", expected='"exact", or an object', found=value)
    _known(value, ("tolerance", "ignore"), "compare")
    tolerance, ignore = value.get("tolerance", {}), value.get("ignore", [])
    if not isinstance(tolerance, dict):
        raise _WrongError(
            "wrong type",
            "compare.tolerance",
            expected='an object of JSON pointers, e.g. {"/quality": {"abs": 1e-6}}',
            found=tolerance,
        )
    if not isinstance(ignore, list) or not all(isinstance(item, str) for item in ignore):
        raise _WrongError(
            "wrong type", "compare.ignore", expected="an array of JSON pointers", found=ignore
        )
    return Alike(
        tolerance={
            _pointer(text, "compare.tolerance"): _tolerance(item, f"compare.tolerance.{text}")
            for text, item in tolerance.items()
        },
        ignore=tuple(_pointer(text, "compare.ignore") for text in ignore),
    )


def _pointer(text: str, key: str) -> Pointer:
    try:
        return pointer.parse(text)
    except ValueError as error:
        raise _WrongError(str(error), key, found=text) from None


def _tolerance(value: Any, key: str) -> Tolerance:
    expected = '{"abs": number} or {"rel": number}, or both'
    if not isinstance(value, dict) or not value:
        raise _WrongError("not a tolerance", key, expected=expected, found=value)
    _known(value, ("abs", "rel"), key)
    for name, most in (("abs", None), ("rel", 1)):
        number = value.get(name, 0)
        good = isinstance(number, int | float) and not isinstance(number, bool) and number >= 0
        if not good or (most is not None and number > most):
            limits = "at least 0" if most is None else f"0 to {most}"
            raise _WrongError("not a tolerance", f"{key}.{name}", expected=limits, found=number)
    return Tolerance(absolute=float(value.get("abs", 0)), relative=float(value.get("rel", 0)))


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value[key]
    if not isinstance(text, str):
        raise _WrongError("wrong type", key, expected="a string", found=text)
    return text


def _known(value: Mapping[str, Any], keys: tuple[str, ...], above: str | None) -> None:
    for key in value:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            raise _WrongError(
                "unknown key",
                key if above is None else f"{above}.{key}",
                hint=f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(keys)}",
            )


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
