"""The chooser "uv": `uv pip compile`, for any platform and Python from any machine.

Packages come from where pip finds them: pip's own settings (`pip config list`) are handed to uv as
variables of its process, never as arguments, because a URL may hold a password. What would decide
*which* packages without standing in the spec does not pass: uv's configuration files, every UV_*
and every PYTHON*. Only its cache is kept, in mllock's. Nothing of that cache is believed: it is
what versions are chosen by, and the wheels themselves come from pip. See ADR 0056.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mllock import processes
from mllock.core.ports import Reporter
from mllock.errors import InputError, MllockError, OfflineError, ResolutionError
from mllock.lock.chooser import Question
from mllock.lock.hiding import hidden
from mllock.lock.indexes import (
    PackageIndex,
    assigned,
    pip_variables,
    uv_variables,
)
from mllock.lock.links import for_uv, link_variables
from mllock.lock.offers import offers_in
from mllock.lock.pip import Output, Pip, in_time
from mllock.lock.pip_conf import is_set, seconds
from mllock.lock.places import rooted
from mllock.lock.platforms import ranks
from mllock.lock.target import Target
from mllock.lock.toml import write
from mllock.lock.uv_project import write_project
from mllock.lock.uv_told import TOLD, bound_names, selected, with_chosen
from mllock.lock.yanked import yanked_in
from mllock.spec.meaning import package_name

__all__ = ["UvChooser", "platform_of", "variables_of"]

# The C libraries that `--python-platform` has names for.
_GLIBC_MINORS = (17, 28, *range(31, 41))
_URL_DEPENDENCY = re.compile(r"Package `(?P<name>[^`]+)` was included as a URL dependency")
_FETCH = re.compile(r"Failed to fetch: `?(?P<url>[^`\s]+)")
_NOT_PASSED = re.compile(r"(UV|PIP)_.*|PYTHON.*|VIRTUAL_ENV|CONDA_PREFIX")
_UNDATED = "is missing an upload date"
# A year: uv takes no number of any size.
_LONGEST = 365 * 24 * 3600
_KEPT, _OUTPUT = "kept.txt", "pylock.toml"
_WORD = re.compile(r"[a-z0-9]+(?:[-_.]+[a-z0-9]+)*", re.IGNORECASE)
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
        self,
        pip: Pip,
        environ: Mapping[str, str],
        cache: Path | None,
        reporter: Reporter,
    ) -> None:
        """`cache` is a folder of this user's own; None if there is none: nothing is kept then."""
        self._pip = pip
        self._environ = environ
        self._cache = cache
        self._reporter = reporter
        self._version: str | None = None

    def version(self) -> str:
        if self._version is None:
            from importlib.metadata import version

            self._version = version("uv")
        return self._version

    def check(self, target: Target) -> None:
        """Any target will do."""

    def choose(self, folder: Path, question: Question, *, alone: bool = False) -> Output:
        """`alone`: without what the packages need."""
        target = question.target
        settings = self._pip.settings(folder)
        settings |= _with_shared(settings, question.indexes, self._environ)
        if question.links:
            # Also in `source`, which is not what uv reads where packages have an index each.
            more = [*for_uv(question.links, self._environ), settings.get("find-links", "")]
            settings["find-links"] = " ".join(more)
        source, options = question.source, ["--constraints", _KEPT]
        (folder / question.pins).rename(folder / _KEPT)
        bound = bound_names(folder, question, _KEPT)
        if question.wishes:  # what stands in the file of the output
            (folder / _OUTPUT).write_text(_wishes(question.wishes))
            options += ["--output-file", _OUTPUT]
        stand_ins: frozenset[str] = frozenset()
        variables = link_variables(question.links, self._environ)
        if own := assigned(question.indexes):
            project = write_project(folder, question, _KEPT)
            source, stand_ins = project.source, project.stand_ins
            options += project.options
            variables |= uv_variables(set(own.values()), self._environ)
        if alone:
            options.append("--no-deps")
        if is_set(settings.get("no-index")):
            options.append("--no-index")
        if question.before is not None:
            options += ["--exclude-newer", question.before]
        with in_time("uv"):
            done = processes.run(
                [
                    *(str(_program()), "pip", "compile", "--no-header", "--no-annotate"),
                    *("--only-binary", ":all:", "--python", sys.executable),
                    *("--python-version", target.python, "--python-platform", platform_of(target)),
                    *("--format", "pylock.toml"),
                    *("--cache-dir", str(self._cache or folder / "uv-cache")),
                    # As pip: an index is asked each time, however long it says its pages last.
                    "--refresh",
                    *(*options, source),
                ],
                folder=folder,
                variables=variables_of(self._environ, settings) | variables | TOLD,
                timeout=self._pip.limit,
                meanwhile=lambda: self._prepare(target),
            )
        said = done.errors.decode("utf-8", "replace")
        files, text = selected(hidden(said, self._environ, settings, variables))
        self._pip.yanked.update(yanked_in(text))
        for line in text.splitlines():
            if line.strip():
                self._reporter.detail(f"uv: {line}")
        if done.code != 0:
            return Output(code=done.code, text=text)
        offers, others = offers_in(done.output.decode("utf-8", "replace"))
        offers = with_chosen(offers, files, bound)
        lines = [*(f"{name}=={version}\n" for name, version in offers)]
        lines += [f"{name} @ a URL\n" for name in others if name not in stand_ins]
        (folder / question.pins).write_text("".join(lines))
        # Of files that may be too new pip has to say whether that matters.
        undated = question.before is not None and _UNDATED in text
        whole = not undated and stand_ins.isdisjoint(others)
        return Output(code=0, text=text, offers=offers, whole=whole)

    def _prepare(self, target: Target) -> None:
        """What will be needed when uv has answered, and takes as long as uv's own beginning."""
        import tomllib  # noqa: F401 - for who comes later

        import packaging.pylock
        import packaging.version  # noqa: F401 - for who comes later

        import mllock.lock.closure
        import mllock.lock.settled  # noqa: F401 - for who comes later

        self.version()
        ranks(target)

    def in_the_way(self, text: str) -> frozenset[str]:
        """Each word that could be a name: a pin too many is tried again."""
        if "No solution found" not in text:
            return frozenset()
        return frozenset(package_name(word) for word in _WORD.findall(text))

    def explain(self, text: str, target: Target) -> MllockError:
        """For what pip, asked the same, has no objection to: pip judges by this machine."""
        from mllock.lock.index_words import file_of, host, not_understood
        from mllock.lock.pip_words import explain

        if "No space left on device" in text:
            return explain(text, target)
        url = _URL_DEPENDENCY.search(text)
        if url is not None:
            return ResolutionError(
                "a dependency that has no version: only wheels from an index can be locked",
                found=url["name"],
                hint="ask for a version of the package that needs it without a URL",
            )
        if (error := not_understood(text)) is not None:
            return error
        fetch = _FETCH.search(text)
        if fetch is not None:
            return OfflineError(
                f"uv cannot read from the package index: {host(fetch['url'])}",
                found=f"{file_of(fetch['url'])}: {_reason(text)}",
                hint="check the network, the proxy and pip's settings (pip config debug)",
            )
        return ResolutionError(
            "uv could not resolve the dependencies",
            found=_said(text) or None,
            expected=f"versions for Python {target.python} on {target.platform}",
            hint="widen one of these ranges, or remove one of the packages",
        )


def _wishes(versions: Mapping[str, str]) -> str:
    """What uv would have written, had these versions been its answer."""
    rows = [{"name": name, "version": versions[name]} for name in sorted(versions)]
    document = {"lock-version": "1.0", "created-by": "mllock", "packages": rows}
    return write(document, tables=(("packages",),))


def _with_shared(
    settings: Mapping[str, str], indexes: Sequence[PackageIndex], environ: Mapping[str, str]
) -> dict[str, str]:
    variables = pip_variables(None, indexes, environ, settings, "")
    more = variables.get("PIP_EXTRA_INDEX_URL")
    return {"extra-index-url": more} if more else {}


def platform_of(target: Target) -> str:
    """What uv calls it: the newest C library with a name that is not newer than the base's."""
    minor = max(n for n in _GLIBC_MINORS if n <= max(target.glibc[1], _GLIBC_MINORS[0]))
    return f"{target.machine}-manylinux_2_{minor}"


def variables_of(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of uv: the caller's, and pip's settings in uv's words.

    Raises InputError for a setting that is none."""
    environ = rooted(environ, Path.cwd())
    variables = {key: value for key, value in environ.items() if not _NOT_PASSED.fullmatch(key)}
    variables |= _FIXED
    for setting, variable in (
        ("index-url", "UV_DEFAULT_INDEX"),
        ("extra-index-url", "UV_INDEX"),
        ("trusted-host", "UV_INSECURE_HOST"),
        ("retries", "UV_HTTP_RETRIES"),
        ("client-cert", "SSL_CLIENT_CERT"),
    ):
        if settings.get(setting):
            variables[variable] = settings[setting]
    if settings.get("timeout"):  # pip takes fractions of a second
        number = min(max(1, round(seconds(settings["timeout"]))), _LONGEST)
        variables["UV_HTTP_TIMEOUT"] = str(number)
    if settings.get("find-links"):
        variables["UV_FIND_LINKS"] = ",".join(settings["find-links"].split())
    if settings.get("keyring-provider") in ("subprocess", "import"):
        variables["UV_KEYRING_PROVIDER"] = "subprocess"
    proxy = settings.get("proxy")
    # With either setting, pip looks at no such variable, and at none for certificates.
    own = bool(proxy) or is_set(settings.get("no-proxy-env"))
    if own:
        variables = {k: v for k, v in variables.items() if not k.lower().endswith("_proxy")}
    if proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            variables[name] = variables[name.lower()] = proxy
    bundle = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE")
    _trust(variables, (not own and bundle) or settings.get("cert"))
    return variables


def _trust(variables: dict[str, str], certificates: str | None) -> None:
    """Have uv trust `certificates`, a file or a folder, alone; None: as pip, what OpenSSL's own
    variables name, as far as that is there, or this machine's."""
    file, folder = variables.pop("SSL_CERT_FILE", ""), variables.pop("SSL_CERT_DIR", "")
    if certificates:
        file, folder = (certificates, "") if os.path.isfile(certificates) else ("", certificates)
        if not file and not os.path.isdir(folder):
            raise InputError(
                "pip's setting cert names no file and no folder",
                found=certificates,
                hint="it may stand in pip.conf, PIP_CERT or REQUESTS_CA_BUNDLE; see: pip config "
                "debug",
            )
    if os.path.isfile(file):
        variables["SSL_CERT_FILE"] = file
    if folders := [part for part in folder.split(os.pathsep) if os.path.isdir(part)]:
        variables["SSL_CERT_DIR"] = os.pathsep.join(folders)
    if not variables.keys() & {"SSL_CERT_FILE", "SSL_CERT_DIR"}:
        variables["UV_SYSTEM_CERTS"] = "1"


def _reason(text: str) -> str:
    """The innermost cause that uv gives."""
    causes = re.findall(r"^ *(?:cause|Caused by): (.*)$", text, re.MULTILINE)
    return re.sub(r" for url\b.*", "", causes[-1] if causes else _said(text)).strip()


def _said(text: str) -> str:
    """The explanation that uv gives, as one line."""
    plain = (line.encode("ascii", "ignore").decode().strip() for line in text.splitlines())
    skipped = ("Resolved", "warning")
    return " ".join(line for line in plain if line and not line.startswith(skipped))[:1000]


def _program() -> Path:
    import uv

    return Path(uv.find_uv_bin())
