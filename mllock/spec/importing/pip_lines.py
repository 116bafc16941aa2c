"""requirements.txt and requirements.in, and what stands behind `pip install`.

Lines are read as pip reads them; each that mlproject.toml cannot hold is a leftover of its own.
A file is requirements, or constraints or pins: of these only exact versions count, as the versions
that the first lock begins with.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from typing import Literal

from mllock.spec.importing.documents import Files, decode_as_pip
from mllock.spec.importing.found import PUBLISH, Collector, Place
from mllock.spec.importing.pythons import marker_holds
from mllock.spec.requirements import logical_lines

__all__ = [
    "OWN",
    "OWN_HINT",
    "Kind",
    "install_arguments",
    "is_local",
    "pin_of",
    "read_requirements",
    "requirement_line",
]

Kind = Literal["requirements", "constraints", "pins"]
MAX_INCLUDES = 50
MAX_OPTIONS = 4096

_OPTION = re.compile(r"(--?[A-Za-z][A-Za-z-]*)(?:\s*=\s*|\s+|(?<=^-[rcfie])|$)(.*)", re.DOTALL)
_TAIL = re.compile(r"\s(--[a-z][a-z-]*)(?:[=\s]|$)")
_EXACT = re.compile(
    r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*===?\s*([^\s;,*]+)\s*(?:;(.*))?"
)
_EGG = re.compile(
    r"(?P<url>git\+[a-z]+://[^\s#]+)#(?:(?P<before>[^\s#]*)&)?egg=(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)"
    r"(?P<extras>\[[^\]]*\])?(?:&(?P<after>[^\s#]*))?(?:\s*;\s*(?P<marker>.*))?"
)
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2")

OWN = "the project's own code is not installed: it is copied into the images as it is"
OWN_HINT = (
    "list its files in [train] code, and run it from the folder of the project; if its packages "
    'are in src: variables = { PYTHONPATH = "src" }'
)
_SETTING = "whom pip trusts, and whether it asks an index, is a matter of its own settings"
_INDEX = "is in [[environment.indexes]], beside the default index of pip's own settings"
_INDEX_HINT = (
    "if it has to stand in the place of that one, set PIP_INDEX_URL or write it into pip.conf; or "
    "list its packages in [[environment.indexes]]"
)
# Option -> why it is not carried over, and what to do; None: nothing is lost.
_OPTIONS: dict[str, tuple[str, str | None] | None] = {
    "--no-index": (_SETTING, "set PIP_NO_INDEX"),
    "-f": None,
    "--find-links": None,
    "--trusted-host": (_SETTING, "set PIP_TRUSTED_HOST, or write it into pip.conf"),
    "--pre": ("pre-releases are chosen by a range that names one", 'write e.g. "NAME>=2.0rc1"'),
    "--no-binary": ("only wheels are locked", PUBLISH),
    "--only-binary": None,
    "--prefer-binary": None,
    "--require-hashes": None,
    "--no-cache-dir": None,
    "--no-cache": None,
    "--upgrade": None,
    "-U": None,
    "--user": None,
    "--system": None,
    "-q": None,
    "--quiet": None,
    "--no-input": None,
    "--disable-pip-version-check": None,
    "--root-user-action": None,
    "--no-warn-script-location": None,
    "--break-system-packages": None,
    "--ignore-installed": None,
    "--compile": None,
    "--no-compile": None,
    "--default-timeout": None,
    "--timeout": None,
    "--retries": None,
    "--progress-bar": None,
    "--prefix": None,
    "--root": None,
    "-w": None,
    "--wheel-dir": None,
    "-d": None,
    "--dest": None,
    "--no-deps": ("what a package needs is locked with it", None),
    "--no-build-isolation": None,
    "--force-reinstall": None,
    "-I": None,
    "-v": None,
}
_WITH_VALUE = {
    "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "--no-binary",
    "--only-binary", "--root-user-action", "--default-timeout", "--timeout", "--retries",
    "--progress-bar", "--prefix", "--root", "-t", "--target", "-w", "--wheel-dir", "-d",
    "--dest", "-r", "--requirement", "-c",
    "--constraint", "-e", "--editable", "--python", "--platform", "--index-strategy", "--index",
}  # fmt: skip


def read_requirements(
    out: Collector, files: Files, name: str, *, kind: Kind = "requirements"
) -> bool:
    """Read the file `name`, and those that it includes. False if there is none."""
    data = files.read(name)
    if data is None:
        return False
    if not out.read(name):
        return True
    hashed: Place | None = None
    for number, line in logical_lines(decode_as_pip(data, name)):
        place = Place(file=name, line=number)
        if " --hash" in line and hashed is None:
            hashed = place
        requirement_line(out, files, line, place, kind=kind)
    if hashed is not None:
        why = "mlproject.lock holds hashes of its own, of the bytes that come"
        out.left(hashed, "--hash", why)
    return True


def requirement_line(
    out: Collector, files: Files, line: str, place: Place, *, kind: Kind = "requirements"
) -> None:
    """One line of a requirements file, without comments."""
    several = _several(line)
    if several:
        install_arguments(out, files, several, place, posixpath.dirname(place.file), kind=kind)
        return
    option = _OPTION.fullmatch(line) if line.startswith("-") else None
    if option is not None:
        _option(out, files, option[1], option[2].strip().strip("\"'"), place, kind)
        return
    tail = _TAIL.search(line)
    if tail is not None:
        names = set(re.findall(r"\s(--[a-z][a-z-]*)", line)) - {"--hash"}
        for name in sorted(names):
            out.left(place, name, "options for one requirement are not kept")
        line = _with_hash(line[: tail.start()].rstrip(), line[tail.start() :])
    if kind != "requirements":
        _pin(out, line, place, kind)
    elif re.fullmatch(r"\./?(\[[^\]]*\])?", line):
        out.left(place, line, OWN, OWN_HINT)
    elif (named := _repository(line)) is not None:
        out.requirement(named, place)
    elif is_local(line):
        out.left(place, line, "a file, folder or URL cannot be locked by name and version", PUBLISH)
    else:
        out.requirement(line, place)


def _with_hash(text: str, options: str) -> str:
    """The one sha256 of a wheel by URL stays with it; hashes of an index's files do not."""
    found = re.findall(r"--hash[=\s]\s*sha256:([0-9a-f]{64})\b", options)
    match = re.fullmatch(r"([^;#@]+@\s*[^\s#]+\.whl)(\s*;.*)?", text)
    if match is None or len(found) != 1:
        return text
    return f"{match[1]}#sha256={found[0]}{(match[2] and f' {match[2].lstrip()}') or ''}"


def _several(line: str) -> list[str]:
    """The words of a line with more than one option, as pip takes them; else none."""
    if not line.startswith("-") or len(line) > MAX_OPTIONS or re.match(r"(-e|--editable)\b", line):
        return []
    try:
        words = shlex.split(line)
    except ValueError:
        return []
    return words if any(word.startswith("-") for word in words[1:]) else []


def is_local(text: str) -> bool:
    """Whether pip would take `text` for a path or URL, and not for a name."""
    bare = text.partition(";")[0].partition("[")[0].strip()
    if " @ " in text or re.match(r"[\w.-]+(\[[^\]]*\])?\s*@", text):
        return False  # a direct reference has a name
    return bare.startswith((".", "~", "file:")) or "/" in bare or bare.endswith(_ARCHIVES)


def _repository(text: str) -> str | None:
    """What pip took as `git+URL#egg=NAME`, as it is written today: `NAME @ git+URL`."""
    match = _EGG.fullmatch(text.strip())
    if match is None:
        return None
    rest = "&".join(part for part in (match["before"], match["after"]) if part)
    marker = f" ; {match['marker']}" if match["marker"] else ""
    url = f"{match['url']}#{rest}" if rest else match["url"]
    return f"{match['name']}{match['extras'] or ''} @ {url}{marker}"


def pin_of(text: str, python: str | None) -> tuple[str, str] | None:
    """Name and version of `NAME==VERSION`, if its marker holds in the images."""
    exact = _EXACT.fullmatch(text)
    if exact is None or (exact[3] and not marker_holds(exact[3].strip(), python)):
        return None
    return exact[1], exact[2]


def install_arguments(
    out: Collector,
    files: Files,
    words: list[str],
    place: Place,
    folder: str = "",
    *,
    kind: Kind = "requirements",
) -> None:
    """The words behind `pip install`; files are relative to `folder`."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            requirement_line(out, files, word, place, kind=kind)
            continue
        name, equals, value = word.partition("=")
        if not equals and re.match(r"-[rcfie]\S", word):
            name, value = word[:2], word[2:]
        elif not equals and name in _WITH_VALUE and rest:
            value = rest.pop(0)
        if name in ("-r", "--requirement", "-c", "--constraint"):
            inside = posixpath.normpath(posixpath.join(folder, value.lstrip("/")))
            if value.startswith("/") or files.read(inside) is None:
                inside = posixpath.basename(value)  # as COPY put it somewhere
            _include(out, files, name, inside or value, place, kind)
        else:
            _option(out, files, name, value, place, kind)


def _option(out: Collector, files: Files, name: str, value: str, place: Place, kind: Kind) -> None:
    if name in ("-r", "--requirement", "-c", "--constraint"):
        value = posixpath.join(posixpath.dirname(place.file), value)
        _include(out, files, name, value, place, kind)
    elif name in ("-e", "--editable"):
        what = f"{name} {value}"
        if value.partition("[")[0].rstrip("/") in (".", ""):
            out.left(place, what, OWN, OWN_HINT)
        elif (named := _repository(value)) is not None:
            out.requirement(named, place)
        else:
            out.left(place, what, "an editable install cannot be locked", PUBLISH)
    elif name in ("-i", "--index-url", "--extra-index-url"):
        known = len(out.places.indexes)
        out.places.index(value, place)
        if name != "--extra-index-url" and len(out.places.indexes) > known:
            out.left(place, f"{name} {value}", _INDEX, _INDEX_HINT)
    elif name in ("-f", "--find-links"):
        local = "://" not in value and not value.startswith(("/", "~", "file:"))
        beside = posixpath.join(posixpath.dirname(place.file), value) if local else value
        out.places.link(beside, place)
    elif name not in _OPTIONS:
        out.left(place, f"{name} {value}".strip(), "this option of pip's is not known here")
    elif (reason := _OPTIONS[name]) is not None:
        out.left(place, f"{name} {value}".strip(), *reason)


def _include(
    out: Collector, files: Files, option: str, target: str, place: Place, kind: Kind
) -> None:
    name = posixpath.normpath(target) if target else ""
    if "://" in target or name.startswith(("/", "../", "~")) or name in ("", ".", ".."):
        hint = "copy it into this folder, and name it there"
        out.left(place, f"{option} {target}", "not a file of this folder", hint)
        return
    if len(out.files) >= MAX_INCLUDES:
        out.left(place, f"{option} {target}", f"more than {MAX_INCLUDES} files are not read")
        return
    narrower: Kind = "constraints" if option in ("-c", "--constraint") else kind
    if not read_requirements(out, files, name, kind=narrower):
        out.left(place, f"{option} {target}", "no such file")


def _pin(out: Collector, line: str, place: Place, kind: Kind) -> None:
    pin = pin_of(line, out.python)
    if pin is not None:
        out.pin(*pin, place)
    elif kind == "constraints" and _EXACT.fullmatch(line) is None:
        hint = f'keep the file, and write constraints = ["{place.file}"]'
        out.left(place, line, "a constraint that is not one version", hint)
    elif _EXACT.fullmatch(line) is None and not is_local(line) and "@" not in line:
        why = "only exact versions are read here: what is asked for comes from another file"
        out.left(place, line, why, "add it to dependencies if it is missing there")
