"""Rules for paths and globs of mlproject.toml: relative, inside of the project, none in the way
of another. Nothing here looks at the disk; links that leave the project are found when data is
read.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from mllock.core import globs, safepath
from mllock.spec.links import link_problem
from mllock.spec.loaded import LoadedSpec
from mllock.spec.places import Part, dotted
from mllock.spec.sources import is_remote, problem, shown

__all__ = ["check_glob", "check_paths"]

# Names in a project that belong to mllock or to git.
RESERVED = (".mllock", ".git", "mlproject.toml", "mlproject.lock", ".mllockignore")

_RELATIVE = "a path relative to the folder of the spec"

_Named = tuple[tuple[Part, ...], str]


def check_paths(loaded: LoadedSpec) -> None:
    """Raises SpecError."""
    spec = loaded.spec
    for key in ("requirements", "constraints"):
        for index, name in enumerate(getattr(spec.environment, key)):
            _path(loaded, name, "environment", key, index)
    for index, link in enumerate(spec.environment.find_links):
        wrong = link_problem(link)
        if wrong is not None:
            where = ("environment", "find-links", index)
            message, said, hint = wrong
            raise loaded.error(message, *where, found=said and f'"{said}"', hint=hint)
    for name, source in spec.data.items():
        if is_remote(source.source):
            _url(loaded, name, source.source)
            if source.path is None:
                raise loaded.error(
                    "missing key",
                    "data",
                    name,
                    "path",
                    expected="where the program finds the data, relative to the project",
                )
        else:
            _path(loaded, source.source, "data", name, "source")
        for key in ("include", "exclude"):
            for index, pattern in enumerate(getattr(source, key)):
                check_glob(loaded, pattern, "data", name, key, index)
    for parts, path in (*_data(loaded), *_outputs(loaded)):
        _path(loaded, path, *parts)
        _not_reserved(loaded, path, parts)
        _not_a_whiteout(loaded, path, parts)
    if spec.serve is not None and spec.serve.probes is not None:
        _path(loaded, spec.serve.probes, "serve", "probes")
    for table in ("train", "serve"):
        program = getattr(spec, table)
        for index, pattern in enumerate((program.code if program else None) or ()):
            check_glob(loaded, pattern, table, "code", index)
    _apart(loaded)


def check_glob(loaded: LoadedSpec, pattern: str, *parts: Part) -> None:
    """Raises SpecError unless `pattern` is one of docs/reference/patterns.md."""
    try:
        globs.to_regex(pattern)
    except ValueError as error:
        raise loaded.error(
            str(error), *parts, expected='a pattern relative to the folder, e.g. "**/*.csv"'
        ) from None


def _path(loaded: LoadedSpec, path: str, *parts: Part) -> None:
    plain = posixpath.normpath(path)
    if path.startswith(("/", "~")) or plain == ".." or plain.startswith("../"):
        is_data = parts[0] == "data" and parts[-1] == "source"
        raise loaded.error(
            "data is outside of the project" if is_data else "outside of the project",
            *parts,
            expected=_RELATIVE,
            found=f'"{path}"',
            hint="copy or move it into the project" if is_data else None,
        )
    reason = safepath.problem(path)
    if reason is None:
        return
    better = posixpath.normpath(path.replace("\\", "/"))
    hint = None if safepath.problem(better) else f'write "{better}"'
    raise loaded.error(reason, *parts, expected=_RELATIVE, found=f'"{path}"', hint=hint)


def _url(loaded: LoadedSpec, name: str, url: str) -> None:
    wrong = problem(url)
    if wrong is not None:
        raise loaded.error(
            wrong.message,
            "data",
            name,
            "source",
            expected=wrong.expected,
            found=f'"{shown(url)}"',
            hint=wrong.hint,
        )


def _not_reserved(loaded: LoadedSpec, path: str, parts: tuple[Part, ...]) -> None:
    first = safepath.fold(path.split("/", maxsplit=1)[0])
    for name in RESERVED:
        if first == name:
            raise loaded.error(f"{name} is not for data or outputs", *parts, found=f'"{path}"')


def _not_a_whiteout(loaded: LoadedSpec, path: str, parts: tuple[Part, ...]) -> None:
    """What the program finds or writes has a place in both images."""
    if safepath.whiteout((path,)) is not None:
        raise loaded.error(
            'a name that begins with ".wh.": in an image it would remove another file',
            *parts,
            found=f'"{path}"',
        )


def _data(loaded: LoadedSpec) -> Iterator[_Named]:
    for name, source in loaded.spec.data.items():
        key = "path" if source.path is not None else "source"
        yield ("data", name, key), source.path or source.source


def _outputs(loaded: LoadedSpec) -> Iterator[_Named]:
    train, evaluate = loaded.spec.train, loaded.spec.evaluate
    if train is not None:
        yield ("train", "model"), train.model
        if train.metrics is not None:
            yield ("train", "metrics"), train.metrics
    if evaluate is not None:
        yield ("evaluate", "metrics"), evaluate.metrics
        if evaluate.predictions is not None:
            yield ("evaluate", "predictions"), evaluate.predictions


def _apart(loaded: LoadedSpec) -> None:
    """Nothing that the program finds or writes is, or lies in, another such thing, and no output
    is a source, on any file system. Two sources may share files: they are only read."""
    outputs = list(_outputs(loaded))
    named = [*_data(loaded), *outputs]
    for index, (parts, path) in enumerate(named):
        for other_parts, other in named[:index]:
            _not_within(loaded, parts, path, other_parts, other)
    for name, source in loaded.spec.data.items():
        if not is_remote(source.source):
            for parts, path in outputs:
                _not_within(loaded, parts, path, ("data", name, "source"), source.source)
    _apart_from_code(loaded, outputs)


def _apart_from_code(loaded: LoadedSpec, outputs: list[_Named]) -> None:
    """What is data, output or probes is never code, so that a program by that name is not there.

    Patterns with wildcards say nothing here; a program may lie in a folder of data.
    """
    others = [*_data(loaded), *outputs]
    for name, source in loaded.spec.data.items():
        if source.path is not None and not is_remote(source.source):
            others.append((("data", name, "source"), source.source))
    if loaded.spec.serve is not None and loaded.spec.serve.probes is not None:
        others.append((("serve", "probes"), loaded.spec.serve.probes))
    for code_parts, code in _literal_code(loaded):
        for parts, path in others:
            if f"{safepath.fold(code)}/".startswith(f"{safepath.fold(path)}/"):
                _not_within(loaded, parts, path, code_parts, code)
    for code_parts, code in _programs(loaded):
        for parts, path in others:
            if safepath.fold(path) == safepath.fold(code):
                _not_within(loaded, parts, path, code_parts, code)


def _literal_code(loaded: LoadedSpec) -> Iterator[_Named]:
    for table in ("train", "serve"):
        program = getattr(loaded.spec, table)
        for index, pattern in enumerate((program.code if program else None) or ()):
            if not set(pattern) & set("*?[\\"):
                yield (table, "code", index), pattern.rstrip("/")


def _programs(loaded: LoadedSpec) -> Iterator[_Named]:
    """The files that commands plainly run: ./FILE, python FILE, python -m MODULE, MODULE:NAME."""
    for table in ("train", "evaluate", "serve"):
        program = getattr(loaded.spec, table)
        words: tuple[str, ...] = () if program is None else program.command
        python = bool(words) and re.fullmatch(r"(.*/)?python[0-9.]*", words[0]) is not None
        for index, word in enumerate(words):
            before = words[index - 1] if index else ""
            module = word if python and before == "-m" else None
            if (named := re.fullmatch(r"([A-Za-z_][\w.]*):[A-Za-z_]\w*", word)) is not None:
                module = named[1]
            if module is not None:
                yield (table, "command", index), module.replace(".", "/") + ".py"
            elif (index == 0 and "/" in word) or (python and word.endswith(".py")):
                yield (table, "command", index), posixpath.normpath(word)


def _not_within(
    loaded: LoadedSpec,
    parts: tuple[Part, ...],
    path: str,
    other_parts: tuple[Part, ...],
    other: str,
) -> None:
    mine, theirs = safepath.fold(path), safepath.fold(other)
    if mine == theirs or mine.startswith(f"{theirs}/") or theirs.startswith(f"{mine}/"):
        raise loaded.error(
            f"in the way of {dotted(other_parts)}",
            *parts,
            found=f'"{path}" and "{other}"',
            hint="give each its own file or folder",
        )
