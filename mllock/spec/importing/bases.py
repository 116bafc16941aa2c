"""What the base image of another tool is here: `FROM`, `docker_env`, `base_image`."""

from __future__ import annotations

import re

from mllock.spec.importing.found import Collector, Place
from mllock.spec.rules_base import SUITES

__all__ = ["HUB", "base_of", "python_image"]

# Where a name without a registry is found, by Docker's own rule.
HUB = "docker.io"

_REFERENCE = re.compile(r"[A-Za-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?", re.ASCII)
_PYTHON_TAG = re.compile(r"(?:^|[^0-9.])(3\.[0-9]{1,2})(?:\.[0-9]+)?(?:[^0-9]|$)")
_NAMED_PYTHON = re.compile(r"(?:^|[-_])(?:python|py)-?(3\.?[0-9]{1,2})(?:\.[0-9]+)?(?:[^0-9.]|$)")
# Images of Docker Hub without a Python, or with one that packages cannot be laid above.
_WITHOUT = {
    "ubuntu": "has no Python of its own",
    "alpine": "has another C library than wheels for manylinux need",
    "busybox": "has no Python",
    "scratch": "is empty",
    "nvidia/cuda": "has no Python of its own",
    "continuumio/miniconda3": "keeps its Python in a conda environment",
    "continuumio/anaconda3": "keeps its Python in a conda environment",
    "mambaorg/micromamba": "keeps its Python in a conda environment",
    "condaforge/miniforge3": "keeps its Python in a conda environment",
    "condaforge/mambaforge": "keeps its Python in a conda environment",
}
_RELEASES = {"11": "bullseye", "12": "bookworm", "13": "trixie"}
_HINT = "the base is debian:bookworm, or the image of Python that is named; choose another by hand"


def python_image(minor: str) -> str:
    """An image that has this Python, for one that no Debian base of ours has."""
    return f"{HUB}/library/python:{minor}-slim"


def base_of(out: Collector, image: str, place: Place) -> None:
    """Take `image` for the base, or say why not."""
    if out.base is not None:
        if out.base != _full(image):
            out.left(place, image, f"{out.base} is the base already")
        return
    if _REFERENCE.fullmatch(image) is None:
        out.left(place, image, "not the name of an image", _HINT)
        return
    plain = image.removeprefix(f"{HUB}/").removeprefix("library/").partition("@")[0]
    repository, _, tag = plain.partition(":")
    if repository in _WITHOUT:
        out.left(place, image, f"this base {_WITHOUT[repository]}", _HINT)
    elif repository == "debian":
        release = tag.removesuffix("-slim").partition(".")[0]
        suite = f"debian:{_RELEASES.get(release, release)}"
        if suite in SUITES and (not out.python_exact or out.python == SUITES[suite]):
            out.base, out.python, out.python_exact = suite, SUITES[suite], True
        else:
            why = "this suite, or its Python, is not available in this version"
            out.left(place, image, why, _HINT)
    elif "alpine" in tag:
        out.left(place, image, f"this base {_WITHOUT['alpine']}", _HINT)
    elif ":" not in image.rpartition("/")[2] and "@" not in image:
        why = "names neither a tag nor a digest"
        out.left(place, image, why, 'write base = "HOST/REPO:TAG"')
    else:
        _image(out, image, repository, tag, place)


def _image(out: Collector, image: str, repository: str, tag: str, place: Place) -> None:
    found = _PYTHON_TAG.search(tag) if repository.rpartition("/")[2] == "python" else None
    found = found or _NAMED_PYTHON.search(tag)  # uv:python3.12-bookworm-slim, ray:2.9.0-py310
    minor = f"3.{found[1].removeprefix('3').removeprefix('.')}" if found else None
    if minor is not None and out.python_exact and minor != out.python:
        out.left(place, image, f"has Python {minor}, and Python {out.python} was found", _HINT)
        return
    out.base = _full(image)
    if minor is not None:
        out.python, out.python_exact = minor, True
    elif out.python is None:
        why = "does not say which Python it has: python is a guess"
        out.left(place, image, why, "set python to the base's own; mllock lock says what it has")


def _full(image: str) -> str:
    host, slash, _ = image.partition("/")
    if slash and (set(host) & set(".:") or host == "localhost"):
        return image
    return f"{HUB}/{image}" if slash else f"{HUB}/library/{image}"
