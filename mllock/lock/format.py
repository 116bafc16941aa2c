"""mlproject.lock: bytes to a valid `Lock` and back. Specified in docs/reference/mlproject-lock.md.

Order of reading, each step before the next is looked at: size and UTF-8; TOML syntax; the version
gate; the types, unknown keys refused; the content digest; what types cannot say
(`mllock.lock.checks`). A `Lock` that exists has passed all of them.

Laws: `parse_lock(dump_lock(lock)) == lock`, `dump_lock(parse_lock(data)) == data` for what
`dump_lock` wrote; the order in which parts were found never shows in the bytes.
"""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from mllock.core.canonical import digest_of
from mllock.core.digest import Digest
from mllock.errors import LockError
from mllock.lock.checks import check_lock, order_of_debs
from mllock.lock.toml import write
from mllock.lock.types import LOCK_VERSION, DataPin, Lock

__all__ = [
    "LOCK_NAME",
    "NEWER",
    "content_digest",
    "dump_lock",
    "parse_lock",
    "read_bytes",
    "read_lock",
    "seal",
]

LOCK_NAME = "mlproject.lock"
NEWER = "written by a newer mllock"
MAX_LOCK = 32 * 1024 * 1024

HEADER = """\
Written by mllock; not for editing. Change mlproject.toml, then run: mllock lock
Read it, review it, commit it. Format: docs/reference/mlproject-lock.md"""

_TABLES = (
    ("base", "indexes"),
    ("base", "platforms"),
    ("system",),
    ("python", "packages"),
    ("builds",),
    ("layers", "python"),
)
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
_AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def dump_lock(lock: Lock) -> bytes:
    """The bytes of a lock. Law: equal locks have equal bytes."""
    return write(_document(lock), tables=_TABLES, header=HEADER).encode()


def content_digest(lock: Lock) -> Digest:
    """sha256 over canonical JSON of all of the file but `[tool]` and `content-digest`."""
    return _digest_of_document(_document(lock))


def seal(lock: Lock) -> Lock:
    """The same lock with its true content digest, sorted: what may be written."""
    lock = msgspec.structs.replace(
        lock,
        base=msgspec.structs.replace(
            lock.base,
            indexes=tuple(sorted(lock.base.indexes, key=lambda item: item.suite)),
            platforms=tuple(sorted(lock.base.platforms, key=lambda item: item.platform)),
        ),
        system=tuple(sorted(lock.system, key=order_of_debs)),
        python=msgspec.structs.replace(
            lock.python,
            environments=tuple(sorted(lock.python.environments)),
            packages=tuple(
                sorted(lock.python.packages, key=lambda item: (item.name, item.version))
            ),
        ),
        builds=tuple(
            msgspec.structs.replace(item, tools=tuple(sorted(item.tools, key=lambda t: t.name)))
            for item in sorted(lock.builds, key=lambda item: item.name)
        ),
    )
    return msgspec.structs.replace(lock, content_digest=content_digest(lock))


def read_lock(path: Path) -> Lock:
    """The lock at `path`. Raises LockError."""
    return parse_lock(read_bytes(path), path.name)


def read_bytes(path: Path) -> bytes:
    """The bytes at `path`, not more than a lock may have. Raises LockError if there is none."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe would be waited for
            what = "a folder" if stat.S_ISDIR(mode) else "something else"
            raise LockError(
                f"{what}, not a file", file=path.name, hint='move it away, then run "mllock lock"'
            )
        with open(path, "rb") as file:
            return file.read(MAX_LOCK + 1)
    except FileNotFoundError:
        raise LockError("no lock here", file=path.name, hint='make it: "mllock lock"') from None
    except OSError as error:
        raise LockError(
            f"cannot be read: {(error.strerror or str(error)).lower()}",
            file=path.name,
            hint="check the owner and the permissions of the file",
        ) from error


def parse_lock(data: bytes, name: str, *, verify: bool = True) -> Lock:
    """Read a lock strictly. Raises LockError.

    Args:
        data: the bytes of the file.
        name: the file as errors should name it.
        verify: False leaves out the last two steps: for the pins of a lock that was edited or
            merged, as wishes for a new one. Nothing else may be done with such a lock.
    """
    text = _decode(data, name)
    document = _load(text, name)
    _gate(document, name)
    try:
        lock = msgspec.convert(document, Lock)
    except msgspec.ValidationError as error:
        raise _explained(document, text, name, str(error)) from None
    if verify:
        _check_digest(lock, document, name)
        check_lock(lock, document, name)
    return lock


def _document(lock: Lock) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(lock)
    # Free-form tables have no order of their own.
    document["inputs"] |= {
        key: _sorted_keys(document["inputs"][key]) for key in ("environment", "data", "builder")
    }
    if not lock.builds:  # as it was before there were any
        del document["builds"]
    document["data"] = dict(sorted(document["data"].items()))
    for platform in document["base"].get("platforms", ()):
        platform["variables"] = _sorted_keys(platform["variables"])
    return document


def _sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted_keys(item) for key, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_sorted_keys(item) for item in value]
    return value


def _digest_of_document(document: dict[str, Any]) -> Digest:
    # Over what the file says, not over the record: a field that a later version adds with a
    # default must not change the digest of a lock that was written before.
    return digest_of(
        {key: value for key, value in document.items() if key not in ("tool", "content-digest")}
    )


def _decode(data: bytes, name: str) -> str:
    if len(data) > MAX_LOCK:
        raise LockError(f"more than {MAX_LOCK} bytes: this is not a lock", file=name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LockError("not UTF-8", file=name, line=line, hint=_AGAIN) from None


_FIELD = re.compile(r"Object (contains unknown|missing required) field `(.+)`")
_WRONG = re.compile(r"Expected `(.+)`, got `(.+)`")
_AGAIN = f'restore {LOCK_NAME} from version control, or start anew: "mllock lock --fresh"'


def _load(text: str, name: str) -> dict[str, Any]:
    conflict = _CONFLICT.search(text)
    if conflict:
        raise LockError(
            "has conflict markers of a merge",
            file=name,
            line=text.count("\n", 0, conflict.start()) + 1,
            hint='take either side of the whole file, then run "mllock lock"',
        )
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise LockError("nested too deeply", file=name, hint=_AGAIN) from None
    except ValueError as error:
        message = str(error)
    at = _AT.search(message)
    line = int(at[1]) if at and at[1] else text.count("\n") + 1
    message = message[: at.start()] if at else message
    raise LockError(
        f"TOML syntax error: {message[:1].lower()}{message[1:]}", file=name, line=line, hint=_AGAIN
    )


def _gate(document: dict[str, Any], name: str) -> None:
    version = document.get("lock-version")
    if type(version) is not int or version < 1:
        raise LockError(
            "not a lock: lock-version is missing or not a number",
            file=name,
            key="lock-version",
            expected=f"a number from 1 to {LOCK_VERSION}",
            found=None if version is None else repr(version),
            hint=_AGAIN,
        )
    if version > LOCK_VERSION:
        raise LockError(
            NEWER,
            file=name,
            key="lock-version",
            expected=f"at most {LOCK_VERSION}",
            found=str(version),
            hint='upgrade: "pip install --upgrade mllock"',
        )


def _check_digest(lock: Lock, document: dict[str, Any], name: str) -> None:
    try:
        expected = _digest_of_document(document)
    except ValueError as error:
        raise LockError(f"a value that a lock does not hold: {error}", file=name) from None
    if lock.content_digest != expected:
        raise LockError(
            "edited by hand or badly merged",
            file=name,
            key="content-digest",
            expected=expected,
            found=lock.content_digest,
            hint='write it again with "mllock lock"',
        )


def _explained(document: dict[str, Any], text: str, name: str, refusal: str) -> LockError:
    """A refusal of msgspec's in the words of the other errors, with the key and its line."""
    from mllock.spec.places import places

    message, _, at = refusal.partition(" - at `$")
    key = at.removesuffix("`").removeprefix(".")
    if key.startswith("data[...]"):  # msgspec does not say which key of a table it means
        key = f"data.{_bad_pin(document['data'])}{key.removeprefix('data[...]')}"
    if field := _FIELD.fullmatch(message):
        key = f"{key}.{field[2]}" if key else field[2]
        message = "unknown key" if field[1] == "contains unknown" else "missing key"
    wrong = _WRONG.fullmatch(message)
    lines = places(text)
    place = key
    while place and place not in lines:
        place = place[: max(place.rfind("."), place.rfind("["), 0)]
    return LockError(
        "wrong type" if wrong else message[:1].lower() + message[1:].replace("`", ""),
        file=name,
        line=lines.get(place),
        key=key or None,
        expected=wrong[1] if wrong else None,
        found=wrong[2] if wrong else None,
        hint=_AGAIN,
    )


def _bad_pin(pins: dict[str, Any]) -> str:
    for name, pin in pins.items():
        try:
            msgspec.convert(pin, DataPin)
        except msgspec.ValidationError:
            return name
    return "?"
