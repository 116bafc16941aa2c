"""The chooser "uv": `uv pip compile`, for any platform and Python from any machine.

Packages come from where pip finds them: pip's own settings (`pip config list`) are handed to uv as
variables of its process, never as arguments, because a URL may hold a password. What would decide
*which* packages without standing in the spec does not pass: uv's configuration files, every UV_*
and every PYTHON*. Only its cache is kept, in mllock's. Nothing of that cache is believed: it is
what versions are chosen by, and the wheels themselves come from pip. See ADR 0056.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from mllock import processes
from mllock.core.ports import Reporter
from mllock.errors import InputError, MllockError, ResolutionError
from mllock.lock.pip import Output, Pip
from mllock.lock.pip_words import explain
from mllock.lock.target import Target

__all__ = ["UvChooser", "platform_of", "read_settings", "variables_of"]

# The C libraries that `--python-platform` has names for.
_GLIBC_MINORS = (17, 28, *range(31, 41))
_SETTING = re.compile(r"(?P<section>[a-z:]+)\.(?P<name>[a-z-]+)=(?P<value>['\"].*)")
_URL_DEPENDENCY = re.compile(r"Package `(?P<name>[^`]+)` was included as a URL dependency")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
_NOT_PASSED = re.compile(r"(UV|PIP)_.*|PYTHON.*|VIRTUAL_ENV|CONDA_PREFIX")
_FIXED = {
    "LC_ALL": "C.UTF-8",
    "NO_COLOR": "1",
    "UV_NO_CONFIG": "1",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    # pip takes the best version of all indexes, and the lock is not to depend on the resolver.
    "UV_INDEX_STRATEGY": "unsafe-best-match",
}


class UvChooser:
    """Implements `mllock.lock.python.Chooser`."""

    name = "uv"

    def __init__(
        self, pip: Pip, environ: Mapping[str, str], cache: Path, reporter: Reporter
    ) -> None:
        self._pip = pip
        self._environ = environ
        self._cache = cache
        self._reporter = reporter

    def version(self) -> str:
        from importlib.metadata import version

        return version("uv")

    def check(self, target: Target) -> None:
        """Any target will do."""

    def choose(
        self, folder: Path, source: str, pins: str, target: Target, before: str | None = None
    ) -> Output:
        settings = read_settings(self._pip.settings(folder))
        options = ["--no-index"] if _is_set(settings.get("no-index")) else []
        options += ["--exclude-newer", before] if before is not None else []
        done = processes.run(
            [
                *(str(_program()), "pip", "compile", "--no-header", "--no-annotate"),
                *("--only-binary", ":all:", "--python", sys.executable),
                *("--python-version", target.python, "--python-platform", platform_of(target)),
                *("--cache-dir", str(self._cache), *options),
                *("--output-file", pins, source),
            ],
            folder=folder,
            variables=variables_of(self._environ, settings),
            merged=True,
        )
        text = _CREDENTIALS.sub("", done.output.decode("utf-8", "replace"))
        for line in text.splitlines():
            if line.strip():
                self._reporter.detail(f"uv: {line}")
        return Output(code=done.code, text=text)

    def explain(self, text: str, target: Target) -> MllockError:
        """For what pip, asked the same, has no objection to: pip judges by this machine."""
        if "No space left on device" in text:
            return explain(text, target)
        url = _URL_DEPENDENCY.search(text)
        if url is not None:
            return ResolutionError(
                "a dependency that has no version: only wheels from an index can be locked",
                found=url["name"],
                hint="ask for a version of the package that needs it without a URL",
            )
        return ResolutionError(
            "uv could not resolve the dependencies",
            found=_said(text) or None,
            expected=f"versions for Python {target.python} on {target.platform}",
            hint="widen one of these ranges, or remove one of the packages",
        )


def platform_of(target: Target) -> str:
    """What uv calls it: the newest C library with a name that is not newer than the base's."""
    minor = max(n for n in _GLIBC_MINORS if n <= max(target.glibc[1], _GLIBC_MINORS[0]))
    return f"{target.machine}-manylinux_2_{minor}"


def read_settings(text: str) -> dict[str, str]:
    """What holds for `pip download`, of the output of `pip config list`: the environment before
    the command's own section, and this before `[global]`. Multi-line values are one line."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        match = _SETTING.fullmatch(line)
        if match is not None:
            value = " ".join(str(ast.literal_eval(match["value"])).split())
            if value:  # pip passes over an empty one
                found.setdefault(match["section"], {})[match["name"]] = value
    return found.get("global", {}) | found.get("download", {}) | found.get(":env:", {})


def variables_of(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of uv: the caller's, and pip's settings in uv's words."""
    variables = {key: value for key, value in environ.items() if not _NOT_PASSED.fullmatch(key)}
    variables |= _FIXED
    for setting, variable in (
        ("index-url", "UV_DEFAULT_INDEX"),
        ("extra-index-url", "UV_INDEX"),
        ("trusted-host", "UV_INSECURE_HOST"),
        ("timeout", "UV_HTTP_TIMEOUT"),
        ("retries", "UV_HTTP_RETRIES"),
        ("client-cert", "SSL_CLIENT_CERT"),
        ("proxy", "ALL_PROXY"),
    ):
        if settings.get(setting):
            variables[variable] = settings[setting]
    if settings.get("timeout"):  # pip takes fractions of a second
        variables["UV_HTTP_TIMEOUT"] = str(max(1, round(_number(settings["timeout"]))))
    if settings.get("find-links"):
        variables["UV_FIND_LINKS"] = ",".join(settings["find-links"].split())
    if settings.get("keyring-provider") in ("subprocess", "import"):
        variables["UV_KEYRING_PROVIDER"] = "subprocess"
    certificates = settings.get("cert") or environ.get("REQUESTS_CA_BUNDLE")
    if certificates and not environ.get("SSL_CERT_FILE"):
        variables["SSL_CERT_FILE"] = certificates
    if "SSL_CERT_FILE" not in variables:
        # As pip: the certificates that this machine trusts.
        variables["UV_SYSTEM_CERTS"] = "1"
    return variables


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError("pip's setting timeout is not a number", found=text) from None


def _is_set(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes", "on", "t", "y")


def _said(text: str) -> str:
    """The explanation that uv gives, as one line."""
    plain = (line.encode("ascii", "ignore").decode().strip() for line in text.splitlines())
    skipped = ("Resolved", "warning")
    return " ".join(line for line in plain if line and not line.startswith(skipped))[:1000]


def _program() -> Path:
    import uv

    return Path(uv.find_uv_bin())
