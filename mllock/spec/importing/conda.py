"""environment.yml of conda: Python, the packages that are the same as wheels, the pip section."""

from __future__ import annotations

import re

from mllock.spec.importing.conda_names import OTHERWISE, RENAMED, SAME, SYSTEM
from mllock.spec.importing.documents import Document, Files
from mllock.spec.importing.found import Collector, Place
from mllock.spec.importing.pip_lines import requirement_line
from mllock.spec.importing.unread import leave_unread

__all__ = ["channel", "conda_dependency", "read_conda"]

_HINTS = {"platforms": "platforms in [environment] says what the images are for"}
_SPEC = re.compile(
    r"(?:(?P<channel>[^\s:\[]+)::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]*)\s*(?P<rest>[^\[]*)(?P<brackets>\[.*\])?"
)


def read_conda(out: Collector, files: Files, doc: Document) -> None:
    out.read(doc.file)
    out.project(doc.text("name"), None, None)
    for text, place in doc.texts("channels"):
        channel(out, text, place)
    for index, item in enumerate(doc.array("dependencies")):
        at = ("dependencies", index)
        if isinstance(item, dict):
            if set(item) != {"pip"}:
                raise doc.wrong(at, 'a package, or "pip:" with a list')
            for line, place in doc.texts(*at, "pip"):
                requirement_line(out, files, line.strip(), place)
        else:
            conda_dependency(out, doc.text(*at) or "", doc.place(*at))
    for name in doc.table("variables"):
        value = doc.text("variables", name)
        out.variable(name, value or "", doc.place("variables", name))
    # Where it lay on a machine, and a category of conda-lock's.
    leave_unread(out, doc, quiet={"prefix", "category"}, hints=_HINTS)


def channel(out: Collector, text: str, place: Place) -> None:
    if text not in ("defaults", "conda-forge", "nodefaults"):
        why = "packages of conda's channels are not installed: wheels come from pip's index"
        out.left(place, f"channel {text}", why, "name its packages as wheels")


def conda_dependency(out: Collector, text: str, place: Place) -> None:
    """One match specification: `conda-forge::numpy=1.26.*=py311h0`, `python>=3.9`."""
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        out.left(place, text, "not a package of conda")
        return
    name, rest = match["name"].lower(), match["rest"].strip()
    inside = re.fullmatch(r"\[version=['\"]?([^'\"\]]+)['\"]?\]", match["brackets"] or "")
    if inside is not None and not rest:
        rest = inside[1]
    elif match["brackets"]:
        out.left(place, match["brackets"], "only the version of a match counts here")
    ranges = _ranges(rest)
    if name == "python":
        out.python_is(ranges or "3", place)
        return
    if name in ("pip", "setuptools", "wheel"):
        return  # what installs packages is not a part of the images
    if name in SYSTEM:
        out.system(SYSTEM[name], place)
        if rest:
            why = f"the version of {SYSTEM[name]} is Debian's, pinned by mllock lock"
            out.left(place, text, why)
        return
    wheel = RENAMED.get(name, name if name in SAME else None)
    if wheel is None:
        _unknown(out, name, text, place)
    elif ranges is None:
        out.left(place, text, "not a range that PEP 508 has words for", f"add {wheel} by hand")
    else:
        out.requirement(f"{wheel}{ranges}", place)
        if name == "pytorch" and "cuda" in rest:
            out.left(place, text, "the build for CUDA is chosen by the index of the wheels")


def _unknown(out: Collector, name: str, text: str, place: Place) -> None:
    if name in OTHERWISE:
        out.left(place, text, "a package of conda that has no wheel", OTHERWISE[name])
    elif name.startswith(("lib", "_", "cuda")) or name.endswith("-ng"):
        why = "a library of conda's, which wheels bring with them or Debian has"
        out.left(place, text, why, "add it to system-packages if something does not start")
    else:
        why = "not known to be the same package on a Python index"
        hint = f'if it is, add "{name}" to dependencies; else look for it in Debian'
        out.left(place, text, why, hint)


def _ranges(rest: str) -> str | None:
    """The version of a match specification in PEP 440's words; builds are dropped."""
    if not rest or rest == "*":
        return ""
    words = rest.split()
    if re.match(r"[0-9]", rest):
        # "1.26.4" is a range as "=1.26.4" is; with a build behind it, it is that version.
        rest = f"={words[0]}" if len(words) == 1 else f"=={words[0]}"
    rest = rest.replace(" ", "")
    if "|" in rest:
        return None
    exact = re.fullmatch(r"(==?)([0-9][A-Za-z0-9.!+_]*?)(\.?\*)?(?:=([^=,]*))?", rest)
    if exact is not None:
        operator, version, star, build = exact.groups()
        if star or (operator == "=" and build is None):
            return f"=={version}.*"
        return f"=={version}"
    if re.fullmatch(r"(?:(?:<=|>=|==|!=|~=|<|>)[0-9][A-Za-z0-9.!+_*]*,?)+", rest):
        return ",".join(
            part[:-2] if part.endswith(".*") and part[:2] in (">=", "<=") else part
            for part in rest.strip(",").split(",")
        )
    return None
