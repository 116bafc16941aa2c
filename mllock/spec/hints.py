"""What people write instead of what mlproject.toml calls it: the tables behind "did you mean".

Words of other tools and usual slips, as data. A suggestion is only made where the suggested word
is allowed; the reader (`mllock.spec.explain`) sees to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

__all__ = [
    "FORMATS",
    "KEY_ALIASES",
    "VALUE_ALIASES",
    "alias",
    "near",
    "normalised_name",
    "repaired",
]

KEY_ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "accept-until": ("until",),
        "apt": ("system-packages",),
        "apt-packages": ("system-packages",),
        "arch": ("platforms",),
        "args": ("params",),
        "artifact": ("model",),
        "base-image": ("base",),
        "cmd": ("command",),
        "columns": ("label",),
        "conda": ("dependencies",),
        "container": ("environment", "builder"),
        "cuda": ("gpus",),
        "dataset": ("data",),
        "datasets": ("data",),
        "debian-packages": ("system-packages",),
        "dependency": ("dependencies",),
        "deploy": ("serve",),
        "deps": ("dependencies",),
        "description-file": ("description",),
        "destination": ("path",),
        "docker": ("builder",),
        "entrypoint": ("command",),
        "env": ("variables", "environment"),
        "env-vars": ("variables", "runtime-variables"),
        "environ": ("variables",),
        "eval": ("evaluate",),
        "evaluation": ("evaluate",),
        "exclude-newer-than": ("exclude-newer",),
        "expires": ("until",),
        "file": ("source",),
        "files": ("include", "code"),
        "from": ("base", "source"),
        "gate": ("gates",),
        "glob": ("include",),
        "gpu": ("gpus",),
        "healthcheck": ("health",),
        "host-port": ("port",),
        "hyperparameters": ("params",),
        "id": ("key", "name"),
        "ignore": ("exclude",),
        "image": ("base",),
        "index": ("indexes",),
        "inference": ("serve",),
        "installer": ("resolver",),
        "internet": ("network",),
        "keys": ("key",),
        "labels": ("label",),
        "location": ("source", "url"),
        "mem": ("memory",),
        "metric": ("metrics",),
        "mirror": ("debian-mirror",),
        "model-path": ("model",),
        "models": ("model",),
        "mount": ("path",),
        "os-packages": ("system-packages",),
        "output": ("model",),
        "outputs": ("model",),
        "package": ("project", "packages"),
        "packages": ("dependencies", "system-packages"),
        "parameters": ("params",),
        "pip": ("dependencies",),
        "platform": ("platforms",),
        "ports": ("port",),
        "prediction": ("predictions",),
        "predict": ("serve",),
        "pypi": ("indexes",),
        "python-packages": ("dependencies",),
        "python-version": ("python",),
        "ram": ("memory",),
        "require": ("requirements",),
        "requires": ("dependencies",),
        "requires-python": ("python",),
        "run": ("command", "train"),
        "script": ("command",),
        "secrets": ("runtime-variables",),
        "serving": ("serve",),
        "split": ("role",),
        "src": ("source",),
        "system": ("system-packages",),
        "tables": ("data",),
        "target": ("label", "path"),
        "title": ("name",),
        "training": ("train",),
        "type": ("role", "kind"),
        "uri": ("source", "url"),
        "url": ("source",),
        "vars": ("variables",),
    }
)

VALUE_ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "aarch64": ("linux/arm64",),
        "amd64": ("linux/amd64",),
        "arm64": ("linux/arm64",),
        "buildkit": ("docker",),
        "daemonless": ("native",),
        "dev": ("validation",),
        "error": ("block",),
        "eval": ("validation",),
        "fail": ("block",),
        "holdout": ("test",),
        "linux": ("linux/amd64",),
        "linux/aarch64": ("linux/arm64",),
        "linux/x86_64": ("linux/amd64",),
        "mllock": ("native",),
        "pip": ("pip-tools",),
        "pip-compile": ("pip-tools",),
        "podman": ("docker",),
        "training": ("train",),
        "val": ("validation",),
        "valid": ("validation",),
        "warning": ("warn",),
        "x86-64": ("linux/amd64",),
        "x86_64": ("linux/amd64",),
    }
)

# What a pattern of mllock.spec.types asks for, in words; a test finds patterns without them.
# The keys are the patterns of mllock.spec.types.
FORMATS: Mapping[str, str] = MappingProxyType(
    {
        r"^[a-z0-9]+(-[a-z0-9]+)*(?![\s\S])": "lower-case letters, digits and single hyphens",
        r"^3\.[0-9]{1,2}(?![\s\S])": 'a Python minor version, e.g. "3.11"',
        r"^[a-z0-9][a-z0-9+.-]+(?![\s\S])": "the name of a Debian package, without version",
        r"^[A-Za-z_][A-Za-z0-9_]*(?![\s\S])": (
            "letters, digits and underscores, not starting with a digit"
        ),
        r"^[a-z][a-z0-9_-]*(?![\s\S])": (
            "a lower-case letter, then letters, digits, hyphens, underscores"
        ),
        r"^(https?|file)://.+(?![\s\S])": "a URL that starts with https://, http:// or file://",
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z(?![\s\S])": (
            'a time in UTC in quotes, e.g. "2026-11-01T00:00:00Z"'
        ),
        r"^[1-9][0-9]*(KiB|MiB|GiB|TiB)(?![\s\S])": 'a size in KiB, MiB, GiB or TiB, e.g. "8GiB"',
        r"^/.*(?![\s\S])": 'a path that starts with "/", e.g. "/healthz"',
    }
)


def alias(
    word: str, allowed: Iterable[str], aliases: Mapping[str, tuple[str, ...]] = KEY_ALIASES
) -> str | None:
    """The allowed word that another tool, or another way of writing, calls `word`."""
    allowed = tuple(allowed)
    plain = word.strip().lower()
    for form in (plain, plain.replace("_", "-")):
        if form in allowed and form != word:
            return form
        for other in aliases.get(form, ()):
            if other in allowed:
                return other
    return None


def near(word: str, allowed: Iterable[str], *, likeness: float = 0.65) -> str | None:
    """The allowed word that `word` is a slip of, by likeness (1 is the same word)."""
    import difflib

    plain = word.strip().lower().replace("_", "-")
    found = difflib.get_close_matches(plain, list(allowed), n=1, cutoff=likeness)
    return found[0] if found else None


def repaired(value: str, pattern: str) -> str | None:
    """What was probably meant by a value that does not match `pattern`."""
    version = re.search(r"\b(3\.[0-9]{1,2})\b", value)
    size = re.fullmatch(r"\s*([1-9][0-9]*)\s*([KMGTkmgt])i?[Bb]?\s*", value)
    candidates = (
        value.strip(),
        value.lower(),
        value.replace("-", "_"),
        re.split(r"\s*[=<>(:]", value)[0],
        normalised_name(value),
        version[1] if version else "",
        f"{size[1]}{size[2].upper()}iB" if size else "",
        f"{value}T00:00:00Z",
        f"/{value}",
        f"https://{value}" if "." in value and "://" not in value else "",
    )
    for candidate in candidates:
        if candidate and re.search(pattern, candidate):
            return candidate
    return None


def normalised_name(text: str) -> str:
    """PEP 503, and anything else that is not a letter or digit becomes a hyphen; "" if no such
    character is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
