"""TOML and YAML of other tools as plain values with places, from bytes that may be hostile.

Bounded size, depth and number of values; YAML is composed by the safe loader and never
constructed: a tag that asks for an object, an alias and a merge key are refused or read as what
they repeat. Whatever is wrong is one InputError with file and line.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mllock.errors import InputError
from mllock.spec.importing.found import Place
from mllock.spec.places import Part, dotted, nearest, places

__all__ = [
    "MAX_FILE",
    "MAX_LOCK",
    "Document",
    "Files",
    "decode",
    "decode_as_pip",
    "read_toml",
    "read_yaml",
]

MAX_FILE = 1024 * 1024
MAX_LOCK = 16 * 1024 * 1024
MAX_YAML = 256 * 1024
MAX_VALUES = 50_000
MAX_DEPTH = 50
MAX_DOTS = 20_000_000

_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before the shorter mark that it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Codecs of Python's that no file of lines is written in; some take long over hostile bytes.
_NO_TEXT = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7"}
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,3})?")
_YAML = "tag:yaml.org,2002:"
_TAGS = {"map", "seq", "str", "null", "bool", "int", "float", "timestamp", "merge", "value"}


class Files(Protocol):
    """The files of the imported project, by their paths relative to its folder."""

    def read(self, name: str) -> bytes | None:
        """The bytes, or None if there is no such file. Raises InputError: not a regular file, too
        large, outside of the folder, unreadable."""

    def named(self, suffix: str) -> list[str]:
        """The paths of files whose names end with `suffix`, in a fixed order; not in hidden folders
        and environments, nor deep or many beyond reason."""


class Document:
    """A parsed file. Keys are given as parts: `doc.text("project", "name")`."""

    def __init__(
        self, file: str, value: Any, lines: Callable[[], Mapping[str, int]], texts: dict[str, str]
    ) -> None:
        self.file = file
        self.value = value
        self._find = lines
        self._lines: dict[str, int] | None = None
        self._texts = texts
        self._asked: set[tuple[Part, ...]] = set()

    def place(self, *parts: Part) -> Place:
        if self._lines is None:
            self._lines = dict(self._find())
        return Place(file=self.file, line=nearest(self._lines, parts) or 1)

    def get(self, *parts: Part) -> Any:
        """The value, or None where it, or a table above it, is missing."""
        if parts not in self._asked and not any(isinstance(part, int) for part in parts):
            self._asked.update(parts[:number] for number in range(1, len(parts) + 1))
        value = self.value
        for index, part in enumerate(parts):
            if isinstance(part, int):
                value = value[part]
            elif value is None:
                return None
            elif isinstance(value, dict):
                value = value.get(part)
            else:
                raise self.wrong(parts[:index], "a table")
        return value

    def table(self, *parts: Part) -> dict[str, Any]:
        return self._typed(dict, "a table", parts) or {}

    def array(self, *parts: Part) -> list[Any]:
        return self._typed(list, "a list", parts) or []

    def text(self, *parts: Part) -> str | None:
        """A text; numbers as they are written: 3.10 stays "3.10"."""
        value = self.get(*parts)
        if value is None:
            return None
        if isinstance(value, dict | list):
            raise self.wrong(parts, "a text")
        return self._texts.get(dotted(parts), str(value))

    def texts(self, *parts: Part) -> list[tuple[str, Place]]:
        """A list of texts, each with its place."""
        found = []
        for index in range(len(self.array(*parts))):
            text = self.text(*parts, index)
            if text is not None:
                found.append((text, self.place(*parts, index)))
        return found

    def unread(self, *parts: str) -> list[tuple[str, Any]]:
        """Keys of the table `parts` that nobody asked for, with their values, less empty ones."""
        table = self.value
        for part in parts:
            table = table.get(part) if isinstance(table, dict) else None
        items = table.items() if isinstance(table, dict) else ()
        return [(key, value) for key, value in items if value and (*parts, key) not in self._asked]

    def wrong(self, parts: tuple[Part, ...], expected: str) -> InputError:
        value = self.get(*parts) if parts else self.value
        names = {dict: "a table", list: "a list", str: "a text", type(None): "nothing"}
        return InputError(
            "not what this file should hold here",
            file=self.file,
            line=self.place(*parts).line,
            key=dotted(parts) or None,
            expected=expected,
            found=names.get(type(value), "a value of another type"),
        )

    def _typed(self, kind: type, expected: str, parts: tuple[Part, ...]) -> Any:
        value = self.get(*parts)
        if value is not None and not isinstance(value, kind):
            raise self.wrong(parts, expected)
        return value


def decode(data: bytes, file: str, limit: int = MAX_FILE) -> str:
    if len(data) > limit:
        raise InputError(f"more than {limit} bytes", file=file)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("not UTF-8", file=file, line=line, hint="save it as UTF-8") from None


def decode_as_pip(data: bytes, file: str) -> str:
    """As pip reads requirements: by a byte order mark, which PowerShell writes before UTF-16, or by
    a comment of PEP 263; else as UTF-8."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None:
        lines = data[:1000].split(b"\n")[:2]
        stated = next(filter(None, map(_CODING.match, lines)), None)
        encoding = stated[1].decode("ascii") if stated else None
    if encoding is None or len(data) > MAX_FILE:
        return decode(data, file)
    try:
        if codecs.lookup(encoding).name in _NO_TEXT:
            raise LookupError  # noqa: TRY301 - as one that is not known
        return data.decode(encoding).removeprefix("\ufeff")
    except (LookupError, ValueError):
        hint = "save it as UTF-8"
        raise InputError(f"not {encoding[:40]}", file=file, line=1, hint=hint) from None


def read_toml(data: bytes, file: str, limit: int = MAX_FILE) -> Document:
    text = decode(data, file, limit)
    # The time for a dotted key grows with the square of its parts, and a key ends with its line.
    dots = (line.count(".") for line in text.split("\n"))
    if sum(number * number for number in dots if number > 100) > MAX_DOTS:
        raise InputError("lines with more dots than such a file has", file=file)
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise InputError("nested too deeply", file=file, line=1) from None
    except ValueError as error:
        at = _AT_LINE.search(str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        raise InputError("TOML syntax error", file=file, line=line) from None

    def lines() -> Mapping[str, int]:
        try:
            return places(text)
        except RecursionError:
            return {}

    return Document(file, value, lines, {})


def read_yaml(data: bytes, file: str) -> Document:
    import yaml

    text = decode(data, file, MAX_YAML)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f": {error.problem}" if error.problem else ""
        line = mark.line + 1 if mark else 1
        raise InputError(f"YAML syntax error{what}", file=file, line=line) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError("a character that YAML does not allow", file=file, line=line) from None
    except RecursionError:
        raise InputError("nested too deeply", file=file, line=1) from None
    except (ValueError, OverflowError, yaml.YAMLError):  # an escape of no character
        raise InputError("YAML syntax error", file=file, line=1) from None
    reader = _Nodes(file)
    value = {} if node is None else reader.value(node, ())
    if not isinstance(value, dict):
        raise InputError("not what this file should hold", file=file, line=1, expected="a table")
    return Document(file, value, lambda: reader.lines, reader.texts)


class _Nodes:
    """Nodes of YAML to values. What an alias repeats counts each time it is repeated."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self._count = 0

    def value(self, node: Any, path: tuple[Part, ...]) -> Any:
        line = node.start_mark.line + 1
        self._count += 1
        if self._count > MAX_VALUES or len(path) > MAX_DEPTH:
            raise InputError(
                "more values, or deeper, than such a file has", file=self.file, line=line
            )
        if node.tag.removeprefix(_YAML) not in _TAGS:
            raise InputError("a YAML tag that is not read", file=self.file, line=line)
        key = dotted(path)
        self.lines.setdefault(key, line)
        if node.id == "mapping":
            return self._mapping(node, path)
        if node.id == "sequence":
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, key, line)

    def _mapping(self, node: Any, path: tuple[Part, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, item in node.value:
            line = key_node.start_mark.line + 1
            if key_node.id != "scalar":
                raise InputError("a key that is not a text", file=self.file, line=line)
            key = self._plain(key_node, line)
            if key == "<<" or key in found:
                what = "merge keys are not read" if key == "<<" else f'"{key[:80]}" is there twice'
                raise InputError(what, file=self.file, line=line)
            self.lines[dotted((*path, key))] = line
            found[key] = self.value(item, (*path, key))
        return found

    def _scalar(self, node: Any, key: str, line: int) -> Any:
        text = self._plain(node, line)
        self.texts[key] = text
        if node.style in ("|", ">"):  # the text begins in the line below
            self.lines[key] = line + 1
        kind = node.tag.removeprefix(_YAML)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in ("true", "yes", "on")
        if kind == "int" and _INT.fullmatch(text):
            return int(text)
        if kind == "float" and _FLOAT.fullmatch(text):
            return float(text)
        return text

    def _plain(self, node: Any, line: int) -> str:
        text = str(node.value)
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise InputError("a character that is none", file=self.file, line=line)
        return text
