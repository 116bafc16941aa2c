"""Running pip and pip-tools: processes of their own, with the user's own settings for indexes.

What decides *where* packages come from (indexes, proxies, certificates, netrc, keyring, caches)
passes through unchanged. What would decide *which* packages, without standing in the spec, does
not: constraints, pre-releases, platforms and the like from PIP_* variables, the first two and
no-deps and require-hashes from pip.conf, and every PYTHON*.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mllock import processes
from mllock.core.ports import Reporter
from mllock.errors import OfflineError
from mllock.lock.hiding import hidden
from mllock.lock.offers import Offers
from mllock.lock.pip_conf import home_of, seconds, settings_of
from mllock.lock.places import as_variables, placed, rooted
from mllock.lock.target import Target
from mllock.lock.yanked import yanked_in

__all__ = [
    "Output",
    "Pip",
    "clean_environ",
    "download_command",
    "in_time",
    "published_before",
]

_HIDDEN_INPUTS = re.compile(
    "PIP_(ABI|BUILD_CONSTRAINT|CONSTRAINT|DEST|DRY_RUN|EXCLUDE|FORMAT|IMPLEMENTATION|LOG|NO_BINARY|"
    "NO_DEPS|ONLY_BINARY|PLATFORM|PRE|PREFER_BINARY|PREFIX|PYTHON|PYTHON_VERSION|QUIET|REPORT|"
    "REQUIREMENT|REQUIRE_HASHES|REQUIRE_VIRTUALENV|ROOT|SRC|TARGET|UPLOADED_PRIOR_TO|USER|VERBOSE)"
    "|PYTHON.*|PIP_TOOLS_.*"
)
_FIXED = {
    "LC_ALL": "C.UTF-8",
    "NO_COLOR": "1",
    "COLUMNS": "1000",
    # A variable is stronger than the same setting in pip.conf; an empty one would not be.
    "PIP_CONSTRAINT": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_DEPS": "0",
    "PIP_NO_INPUT": "1",
    "PIP_PRE": "0",
    "PIP_PROGRESS_BAR": "off",
    "PIP_REQUIRE_HASHES": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUTF8": "1",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """How a process ended; `text` is what it wrote, standard output and error in order. A chooser
    may know wheels of what it chose (`mllock.lock.offers`); `whole` says that what it chose is all
    that the target needs, and nothing else, by the target's markers."""

    code: int
    text: str
    offers: Offers = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Pip:
    """pip and pip-tools of the interpreter that runs mllock."""

    environ: Mapping[str, str]
    reporter: Reporter
    # An index may send a byte now and then for ever, and never let a single read time out. In
    # seconds: how long choosing may take, and how long a download may write nothing.
    limit: float = 1800.0
    patience: float = 300.0
    # Where the caller is: what relative places in settings are relative to.
    here: Path = field(default_factory=Path.cwd)
    # What was said to be yanked, by whoever was run; one for all copies of this object.
    yanked: dict[tuple[str, str], str] = field(default_factory=dict, compare=False)

    def compile(
        self, folder: Path, source: str, output: str, options: Sequence[str] = ()
    ) -> Output:
        """pip-compile `source` to `output`, both names in `folder`; pins in `output` stay.
        `options` are pip's."""
        return self._run(
            folder,
            "piptools",
            "compile",
            # The cache that `download` reads: each wheel or its metadata comes once.
            *(
                "--no-config",
                "--cache-dir",
                str(_cache_dir(self.variables(folder), folder)),
                "--quiet",
            ),
            # Without --allow-unsafe, setuptools and pip would not be pinned.
            *("--strip-extras", "--allow-unsafe", "--no-header", "--no-annotate"),
            *("--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host"),
            *("--no-emit-options", "--output-file", output),
            *("--pip-args", shlex.join(("--only-binary", ":all:", *options)), source),
        )

    def download(
        self, folder: Path, source: str, target: Target, options: Sequence[str] = ()
    ) -> Output:
        """The wheels of the requirements file `source` for `target`, into `folder`/wheels."""
        return self._run(folder, *download_command(source, target, options))

    def download_together(
        self, folder: Path, sources: Sequence[str], target: Target, options: Sequence[str]
    ) -> bool:
        """`download` of several files that do not depend on one another, side by side: reading an
        index is most of its work, and one process uses one core. Whether all went well."""
        with in_time("pip download"):
            done = processes.run_together(
                [
                    [sys.executable, "-m", *download_command(source, target, options)]
                    for source in sources
                ],
                folder=folder,
                variables=self.variables(folder),
                logs=[folder / f"{source}.log" for source in sources],
                patience=self.patience,
            )
        for one in done:
            self._tell("pip", self._hidden(one.output, folder))
        return all(one.code == 0 for one in done)

    def settings(self, folder: Path) -> dict[str, str]:
        """What holds for its downloads in `folder`, relative places taken from where the caller is.
        It may hold passwords: told to nobody. Raises ResolutionError where pip could not say: not
        to know is not to have none; InputError for a timeout that is none."""
        environ = rooted(clean_environ(self.environ), self.here)
        found = settings_of(environ, folder)
        if "timeout" in found:
            seconds(found["timeout"])
        return placed(found, self.here, home_of(environ))

    def _run(self, folder: Path, module: str, *arguments: str) -> Output:
        with in_time("pip" if module == "pip" else "pip-compile"):
            done = processes.run(
                [sys.executable, "-m", module, *arguments],
                folder=folder,
                variables=self.variables(folder),
                merged=True,
                timeout=self.limit,
            )
        text = self._hidden(done.output, folder)
        self._tell(module, text)
        return Output(code=done.code, text=text)

    def variables(self, folder: Path) -> dict[str, str]:
        """The environment of pip, run in `folder`; places in it are the caller's."""
        # pip unpacks hundreds of megabytes, and clears up after itself only if nobody stops it.
        temporary = folder.absolute() / "pip-tmp"
        temporary.mkdir(exist_ok=True)
        environ = rooted(clean_environ(self.environ), self.here)
        return environ | as_variables(self.settings(folder)) | {"TMPDIR": str(temporary)}

    def _hidden(self, output: bytes, folder: Path) -> str:
        text = output.decode("utf-8", "replace")
        return hidden(text, self.environ, self.settings(folder))

    def _tell(self, module: str, text: str) -> None:
        self.yanked.update(yanked_in(text))
        for line in _lines(text):
            self.reporter.detail(f"{module}: {line}")


def download_command(
    source: str, target: Target, options: Sequence[str], place: str = "wheels"
) -> tuple[str, ...]:
    platforms = (item for tag in target.platform_tags for item in ("--platform", tag))
    return (
        *("pip", "download", "--only-binary", ":all:", "--implementation", "cp"),
        *("--python-version", target.python, *platforms),
        *("--dest", place, "--requirement", source, *options),
    )


@contextmanager
def in_time(program: str) -> Iterator[None]:
    """Raises OfflineError if `program` is not done in the time that it has."""
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise OfflineError(
            f"{program} is stopped: nothing came of it for {error.timeout:g} seconds",
            hint="the package index may be too slow: try again, or use a mirror; if the network is "
            "idle, narrower version ranges leave less to try",
        ) from None


def published_before(time: str | None) -> tuple[str, ...]:
    """The options of pip that leave out what came into an index at `time` or later."""
    return () if time is None else ("--uploaded-prior-to", time)


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment, without what would be an input that no file declares."""
    kept = {key: value for key, value in environ.items() if not _HIDDEN_INPUTS.fullmatch(key)}
    return kept | _FIXED


def _cache_dir(environ: Mapping[str, str], scratch: Path) -> Path:
    """Where pip keeps what it fetched, by its own rules but for pip.conf's `no-cache-dir`."""
    if environ.get("PIP_NO_CACHE_DIR", "0").lower() not in ("", "0", "false", "no", "off"):
        return scratch / "pip-cache"
    if environ.get("PIP_CACHE_DIR"):
        return Path(environ["PIP_CACHE_DIR"])
    xdg = environ.get("XDG_CACHE_HOME", "")
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / "pip"
    try:
        return Path(environ.get("HOME") or Path.home()) / ".cache" / "pip"
    except RuntimeError:  # no HOME, and a user without an entry in the password database
        return scratch / "pip-cache"


def _lines(text: str) -> Iterable[str]:
    return (line for line in text.splitlines() if line.strip())
