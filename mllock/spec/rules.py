"""What the types of mlproject.toml cannot say: rules over values, and over several keys.

In the order of the file: texts, [environment], [data], paths, programs, [gates]. The first rule
that fails is the error. Nothing here looks at the disk. JSON Schema sees none of these rules;
tests/corpus says so for each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from mllock.spec import (
    rules_base,
    rules_gates,
    rules_indexes,
    rules_paths,
    rules_programs,
)
from mllock.spec.loaded import LoadedSpec
from mllock.spec.places import Part

__all__ = ["check_rules"]

# I-JSON (RFC 7493 2.2): larger integers do not survive canonical JSON, in which params are signed.
MAX_INTEGER = 2**53 - 1


def check_rules(loaded: LoadedSpec) -> None:
    """Raises SpecError."""
    _texts(loaded)
    _numbers(loaded)
    _environment(loaded)
    _requirements(loaded)
    rules_paths.check_paths(loaded)
    rules_programs.check_programs(loaded)
    rules_gates.check_gates(loaded)


def _texts(loaded: LoadedSpec) -> None:
    """No control characters, which no name, path or command needs and a terminal obeys."""
    document = msgspec.to_builtins(loaded.spec, order=None)
    for parts, text in _strings(document, ()):
        free = parts[-1] == "description" or "params" in parts or "variables" in parts
        free = free or parts[1:2] == ("command",)
        for char in text:
            if char == "\0" or (not free and (ord(char) < 32 or ord(char) == 127)):
                raise loaded.error(f"control character U+{ord(char):04X}", *parts)


def _strings(value: Any, parts: tuple[Part, ...]) -> Iterator[tuple[tuple[Part, ...], str]]:
    if isinstance(value, str):
        yield parts, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*parts, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _strings(item, (*parts, index))


def _numbers(loaded: LoadedSpec) -> None:
    spec = loaded.spec
    for name, value in (spec.train.params if spec.train else {}).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise loaded.error(
                "not a finite number",
                "train",
                "params",
                name,
                found=str(value),
                hint="params are kept as JSON, which has no such number; pass it as a string",
            )
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise loaded.error(
                "integer out of range",
                "train",
                "params",
                name,
                expected=f"-{MAX_INTEGER} to {MAX_INTEGER}",
                found=str(value),
                hint="params are kept as JSON, which cannot hold it exactly; pass it as a string",
            )


def _environment(loaded: LoadedSpec) -> None:
    environment = loaded.spec.environment
    rules_base.check_base(loaded)
    if environment.debian_mirror is not None:
        for url in environment.debian_mirror.split() or [environment.debian_mirror]:
            _mirror(loaded, url, "environment", "debian-mirror")
    for key in ("system-packages", "platforms"):
        loaded.refuse_twice(getattr(environment, key.replace("-", "_")), "environment", key)
    _timestamp(loaded)
    for position, index in enumerate(environment.indexes):
        _mirror(loaded, index.url, "environment", "indexes", position, "url")
    rules_indexes.check_indexes(loaded)
    rules_programs.check_variables(loaded)


def _mirror(loaded: LoadedSpec, url: str, *parts: Part) -> None:
    match = re.fullmatch(r"(https?|file)://([^/?#]*)(.*)", url)
    if match is None or (match[1] != "file" and not match[2]) or re.search(r"\s", url):
        raise loaded.error(
            "not a URL", *parts, expected="https://, http:// or file://", found=f'"{url}"'
        )
    user = match[2].rpartition("@")[0]
    if user and re.fullmatch(r"\$\{\w+\}(:\$\{\w+\})?", user) is None:
        raise loaded.error(
            "credentials in a URL",
            *parts,
            hint="put them in netrc, or write ${NAME} to take them from the environment",
        )


def _timestamp(loaded: LoadedSpec) -> None:
    import datetime as dt

    text = loaded.spec.environment.exclude_newer
    if text is not None:
        try:
            dt.datetime.fromisoformat(text)
        except ValueError as error:
            raise loaded.error(
                f"not a time: {error}", "environment", "exclude-newer", found=f'"{text}"'
            ) from None


def _requirements(loaded: LoadedSpec) -> None:
    """PEP 508, and no package twice where both would count."""
    from mllock.spec.requirements import parts_of, shown

    environment = loaded.spec.environment
    seen: dict[tuple[str, str], int] = {}
    for index, text in enumerate(environment.dependencies):
        where = ("environment", "dependencies", index)
        try:
            name, _, _, marker = parts_of(text)
        except ValueError as error:
            raise loaded.error(
                f"not a requirement: {error}",
                *where,
                found=f'"{shown(text)}"',
                expected='PEP 508, e.g. "pandas>=2,<3"',
                hint=_requirement_hint(text),
            ) from None
        first = seen.setdefault((name, marker), index)
        if first != index:
            line = loaded.place(f"environment.dependencies[{first}]")
            raise loaded.error(
                f"{name} is listed twice",
                *where,
                found=f'"{text}"',
                hint=f'join it with "{environment.dependencies[first]}" in line {line}',
            )
    for overlap_index, overlap in enumerate(environment.overlaps):
        rules_paths.check_glob(
            loaded, overlap.path, "environment", "overlaps", overlap_index, "path"
        )


def _requirement_hint(text: str) -> str | None:
    if text.lstrip().startswith("-"):
        return "options of pip have no place here: name an index in [[environment.indexes]]"
    pinned = re.fullmatch(r"\s*([A-Za-z0-9._-]+)\s*=\s*([^=\s]+)\s*", text)
    if pinned:
        return f'did you mean "{pinned[1]}=={pinned[2]}"?'
    spaced = re.fullmatch(r"\s*([A-Za-z0-9._-]+)\s+([0-9][^\s]*)\s*", text)
    if spaced:
        return f'did you mean "{spaced[1]}=={spaced[2]}"?'
    poetry = re.fullmatch(r"\s*([A-Za-z0-9._-]+)\s*[\^~]\s*([0-9][^\s]*)\s*", text)
    if poetry:
        return f'did you mean "{poetry[1]}~={poetry[2]}"?'
    if text.endswith((".txt", ".in")):
        return f'did you mean requirements = ["{text}"]?'
    if ("://" in text and "@" not in text.partition("://")[0]) or text.startswith((".", "/")):
        return "name it: NAME @ URL; or put a wheel of it into a folder that find-links names"
    return None
