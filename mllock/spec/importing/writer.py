"""The mlproject.toml of what was found: commented, and complete where the files were.

What is missing for training and serving is there as comments to be filled in. Law: the text is
one that `mllock.spec.reader.parse_spec` accepts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from mllock.spec.importing.bases import python_image
from mllock.spec.importing.found import Found, Program
from mllock.spec.importing.pythons import DEFAULT
from mllock.spec.types import Scalar

__all__ = ["pins_text", "spec_text"]

WIDTH = 100
_PINS_HEAD = """\
# Versions that the imported files name, for the first "mllock lock" of this project: it begins
# with them where they fit, and mlproject.lock holds them from then on. Not read again after that.
"""


def spec_text(found: Found, *, platforms: Sequence[str], foreign: bool) -> str:
    """`platforms` are those of the images; `foreign`: this machine cannot be one of them."""
    return "\n".join(_lines(found, platforms, foreign)) + "\n"


def pins_text(found: Found) -> str:
    """`name==version` lines; "" if there is none."""
    if not found.pins:
        return ""
    return _PINS_HEAD + "".join(f"{name}=={version}\n" for name, version in found.pins.items())


def _lines(found: Found, platforms: Sequence[str], foreign: bool) -> Iterator[str]:
    yield "#:schema .mllock/mlproject.schema.json"
    yield f"# Made by mllock init from {', '.join(map(_comment, found.files))}."
    yield ""
    yield "[project]"
    yield f"name = {_text(found.name)}"
    yield f"version = {_text(found.version or '0.1.0')}"
    if found.description:
        yield f"description = {_text(found.description)}"
    yield ""
    yield "[environment]                            # the same in both images"
    python = found.python or DEFAULT
    yield _said(f'python = "{python}"', "the Python of the base")
    if found.base is not None:
        debian = found.base.startswith("debian:")
        note = "assembled from signed Debian packages" if debian else "pinned by digest in the lock"
        yield _said(f"base = {_text(found.base)}", note)
    elif python == DEFAULT:
        yield _said('base = "debian:bookworm"', "assembled from signed Debian packages")
    else:
        note = f"debian:bookworm has Python {DEFAULT}"
        yield _said(f"base = {_text(python_image(python))}", note)
    yield from _array("dependencies", sorted(item.text for item in found.requirements))
    if found.system:
        yield from _array("system-packages", found.system)
    yield from _array("platforms", platforms, "what the images are for")
    if foreign:
        note = "chooses versions for other machines than this one"
        yield _said('resolver = "uv"', note)
    elif any(index.packages for index in found.indexes):
        yield _said('resolver = "uv"', "takes a package from one index alone")
    if found.links:
        yield from _array("find-links", found.links, "more wheels")
    if found.variables:
        yield ""
        yield "[environment.variables]                  # set in both images"
        for name, value in found.variables.items():
            yield f"{_key(name)} = {_text(value)}"
    for index in found.indexes:
        yield ""
        yield "[[environment.indexes]]"
        yield f"name = {_text(index.name)}"
        yield f"url = {_text(index.url)}"
        if index.packages:
            yield from _array("packages", index.packages, "from here, and from nowhere else")
    yield from _data(found)
    yield from _train(found)
    yield from _serve(found)
    if found.leftovers:
        yield ""
        yield "# Not carried over; remove each when it is done:"
        for leftover in found.leftovers:
            for line in str(leftover).splitlines():
                yield f"# {_comment(line)}"


def _data(found: Found) -> Iterator[str]:
    yield ""
    if not found.data:
        yield "# [data.train]                           # pinned by content"
        yield '# source = "data/train.csv"'
        yield '# role = "train"'
        return
    for number, item in enumerate(found.data):
        if number:
            yield ""
        comment = "pinned by content" if not number else ""
        yield _said(f"[data.{_key(item.name)}]", comment)
        yield f"source = {_text(item.source)}"
        if item.path is not None:
            yield f"path = {_text(item.path)}"
        yield f'role = "{item.role}"'


def _train(found: Found) -> Iterator[str]:
    yield ""
    train = found.train
    if train is None or train.model is None:
        yield "# [train]"
        yield '# command = ["python", "train.py"]'
        yield '# model = "model"                        # what it writes'
        return
    yield "[train]"
    yield from _array("command", train.command)
    yield _said(f"model = {_text(train.model)}", "the file or folder that it writes")
    if train.metrics:
        yield f"metrics = {_text(train.metrics)}"
    if train.params:
        yield ""
        yield '[train.params]                           # "mllock train --set NAME=VALUE"'
        for name, value in train.params.items():
            yield f"{_key(name)} = {_scalar(value)}"


def _serve(found: Found) -> Iterator[str]:
    yield ""
    serve = found.serve
    before = "" if found.train is not None and found.train.model and serve is not None else "# "
    if serve is None:
        yield "# [serve]"
        yield '# command = ["python", "serve.py", "--port", "{port}"]'
        yield "# port = 8080"
        return
    port = found.port or 8080
    yield f"{before}[serve]"
    for line in _array("command", _with_port(serve, port)):
        yield f"{before}{line}"
    yield f"{before}port = {port}"
    if found.health:
        yield f"{before}health = {_text(found.health)}"


def _with_port(serve: Program, port: int) -> tuple[str, ...]:
    """The port that is written out becomes {port}, so that it can be another one on the host."""
    out = []
    for word in serve.command:
        if word == str(port) or re.fullmatch(rf"(--?[\w-]+=|[\w.]+:|:){port}", word):
            word = word.removesuffix(str(port)) + "{port}"  # noqa: PLW2901 - the word, changed
        out.append(word)
    return tuple(out)


def _array(key: str, items: Sequence[str], comment: str = "") -> Iterator[str]:
    one = f"{key} = [{', '.join(map(_text, items))}]"
    if len(one) <= WIDTH:
        yield _said(one, comment) if comment else one
        return
    yield f"{key} = ["
    for item in items:
        yield f"    {_text(item)},"
    yield "]"


def _said(line: str, comment: str) -> str:
    return f"{line:<40} # {comment}" if comment else line


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    if '"' in value and "'" not in value and value.isprintable() and "\\" not in value:
        return f"'{value}'"
    # What JSON escapes, TOML escapes in the same way; DEL is the one that only TOML does.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    return str(value) if isinstance(value, int) else _text(value)


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
