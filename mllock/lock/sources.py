"""Sources that a direct reference names: a repository at one commit, or one archive, unpacked.

Nothing of them is run here. git is git's own program, with the user's settings for credentials,
proxies and keys, and without those that would change what is checked out; it asks nobody for a
password. An archive is read by Python's `data` filter, in bounds. What is in the folder is hostile:
whoever runs it (`mllock.lock.building`) was told to by the spec.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mllock import processes
from mllock.core.digest import hex_of, sha256_of
from mllock.core.ports import Fetcher, Reporter
from mllock.errors import ArchiveError, IntegrityError, OfflineError, ResolutionError
from mllock.lock.indexes import PackageIndex, bare_url, credentials, url_for
from mllock.spec.direct import Reference

__all__ = ["Source", "get_source"]

MAX_ARCHIVE = 512 * 1024 * 1024
MAX_UNPACKED = 4 * 1024 * 1024 * 1024
MAX_MEMBERS = 200_000
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")
_NOT_PASSED = re.compile(r"GIT_(?!SSH|SSL|ASKPASS|HTTP).*")
# What a setting of the user's could make of the same commit, or run because of it.
_SETTINGS = ("core.autocrlf=false", "core.symlinks=true", "core.hooksPath=/dev/null")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """`folder` holds what is to be built; `revision` is the commit, or the sha256 of the archive
    in hexadecimal digits."""

    folder: Path
    revision: str


def get_source(
    name: str,
    reference: Reference,
    folder: Path,
    *,
    pinned: str | None,
    environ: Mapping[str, str],
    fetcher: Fetcher,
    reporter: Reporter,
) -> Source:
    """The sources of `reference` in `folder`, which is made; at `pinned`, if that is known.

    Raises ResolutionError, OfflineError, ArchiveError, IntegrityError.
    """
    if reference.kind == "git":
        revision = _checked_out(name, reference, folder, pinned, environ, reporter)
    else:
        revision = _unpacked(name, reference, folder, pinned, environ, fetcher)
    place = folder / (reference.subdirectory or "")
    inside = Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder))
    if not inside or not place.is_dir():
        raise ResolutionError(
            f"the sources of {name} have no such folder", found=reference.subdirectory
        )
    return Source(folder=place, revision=revision)


def _checked_out(
    name: str,
    reference: Reference,
    folder: Path,
    pinned: str | None,
    environ: Mapping[str, str],
    reporter: Reporter,
) -> str:
    page = PackageIndex(name=name, url=reference.url)
    url = bare_url(page) if not reference.url.startswith("ssh:") else reference.url
    git = _Git(name=name, folder=folder, variables=_git_variables(page, environ), reporter=reporter)
    git.run("init", "--quiet", ".", problem="cannot make a repository")
    git.run("remote", "add", "origin", "--", url, problem="cannot make a repository")
    what = ("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
    git.run(*what, problem="cannot be fetched")
    wanted = pinned or reference.revision
    if wanted is None:
        git.run("remote", "set-head", "origin", "--auto", problem="has no HEAD")
        wanted = "HEAD"
    commit = git.commit(wanted)
    if commit is None and _COMMIT.fullmatch(wanted):  # of no branch and no tag
        git.run("fetch", "--quiet", "origin", wanted, problem=f"has no commit {wanted}")
        commit = git.commit(wanted)
    if commit is None:
        raise ResolutionError(
            f"the repository of {name} has no such revision",
            found=wanted,
            hint="name a branch, a tag, or a whole commit: git+https://...@REVISION",
        )
    git.run("checkout", "--quiet", "--detach", commit, problem=f"cannot check out {commit}")
    if (folder / ".gitmodules").is_file():
        what = ("submodule", "--quiet", "update", "--init", "--recursive")
        git.run(*what, problem="has a submodule that cannot be fetched")
    return commit


def _git_variables(page: PackageIndex, environ: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in environ.items() if not _NOT_PASSED.fullmatch(key)}
    kept |= {
        "LC_ALL": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "http:https:ssh",
    }
    kept.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    settings = [tuple(item.split("=", 1)) for item in _SETTINGS]
    user, password = ("", "") if page.url.startswith("ssh:") else credentials(page, environ)
    if user:
        host = "/".join(bare_url(page).split("/")[:3])
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        # In the environment of git alone, and for this host only.
        settings.append((f"http.{host}/.extraHeader", f"Authorization: Basic {token}"))
    kept["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (key, value) in enumerate(settings):
        kept |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return kept


@dataclass(frozen=True, kw_only=True, slots=True)
class _Git:
    name: str
    folder: Path
    variables: Mapping[str, str]
    reporter: Reporter

    def run(self, *arguments: str, problem: str) -> str:
        """What git wrote. Raises OfflineError with `problem`."""
        self.folder.mkdir(exist_ok=True)
        # The files that are checked out have the modes of an ordinary checkout.
        command = ("/bin/sh", "-c", 'umask 022; exec git "$@"', "git", *arguments)
        done = processes.run(command, folder=self.folder, variables=self.variables)
        said = _CREDENTIALS.sub("", done.errors.decode("utf-8", "replace"))
        for line in said.splitlines():
            self.reporter.detail(f"git: {line}")
        if done.code == 0:
            return done.output.decode("utf-8", "replace").strip()
        words = [line.strip() for line in said.splitlines() if line.strip()]
        fatal = [line for line in words if line.startswith(("fatal:", "error:"))]
        raise OfflineError(
            f"the repository of {self.name} {problem}",
            found=(fatal or words or [f"exit code {done.code}"])[0][:300],
            hint="try the same with git; credentials are git's own, netrc or ${NAME} in the URL",
        )

    def commit(self, wanted: str) -> str | None:
        """The commit that a tag, a branch or a commit is."""
        names = (f"refs/tags/{wanted}", f"refs/remotes/origin/{wanted}", wanted)
        for name in names:
            command = ("git", "rev-parse", "--verify", "--quiet", "--end-of-options")
            done = processes.run(
                (*command, f"{name}^{{commit}}"), folder=self.folder, variables=self.variables
            )
            text = done.output.decode("ascii", "replace").strip()
            if done.code == 0 and _COMMIT.fullmatch(text):
                return text
        return None


def _unpacked(
    name: str,
    reference: Reference,
    folder: Path,
    pinned: str | None,
    environ: Mapping[str, str],
    fetcher: Fetcher,
) -> str:
    page = PackageIndex(name=name, url=reference.url)
    try:
        data = fetcher.read(url_for(page, environ), max_bytes=MAX_ARCHIVE)
    except FileNotFoundError:
        raise ResolutionError(
            f"the archive of {name} is not at its URL", found=str(reference)
        ) from None
    found = hex_of(sha256_of(data))
    expected = pinned or reference.sha256
    if expected is not None and found != expected:
        raise IntegrityError(
            f"the URL of {name} serves other bytes than those that are locked",
            expected=f"sha256:{expected}",
            found=f"sha256:{found}",
            hint="find out why before you lock them anew: a released archive never changes",
        )
    folder.mkdir()
    archive = folder.parent / f"{folder.name}.archive"
    archive.write_bytes(data)
    try:
        _unpack(archive, folder, reference.file)
    except _errors() as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArchiveError(f"cannot be unpacked: {reason}", file=reference.file) from None
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir():  # NAME-VERSION/, as archives of sources are made
        _lift(inside[0], folder)
    return found


def _errors() -> tuple[type[Exception], ...]:
    import tarfile
    import zipfile
    import zlib

    return OSError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error


def _unpack(archive: Path, folder: Path, name: str) -> None:
    if name.endswith(".zip"):
        import zipfile

        with zipfile.ZipFile(archive) as zipped:
            entries = zipped.infolist()
            _bounded(len(entries), sum(entry.file_size for entry in entries))
            zipped.extractall(folder)  # noqa: S202 - bounded, and zipfile makes names safe
        return
    import tarfile

    members = size = 0
    with tarfile.open(archive, "r:gz") as tarred:
        tarred.extraction_filter = tarfile.data_filter
        for member in tarred:
            members, size = members + 1, size + max(member.size, 0)
            _bounded(members, size)
            tarred.extract(member, folder)


def _bounded(members: int, size: int) -> None:
    if members > MAX_MEMBERS or size > MAX_UNPACKED:
        raise ValueError(f"more than {MAX_MEMBERS} members or {MAX_UNPACKED} bytes")


def _lift(inner: Path, folder: Path) -> None:
    """Move what is in `inner` up, whatever its names are."""
    aside = folder.parent / f"{folder.name}.inner"
    os.rename(inner, aside)
    shutil.rmtree(folder)
    os.rename(aside, folder)
