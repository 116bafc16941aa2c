"""Making an environment hold the locked packages and no others, in place.

Order: what is there is compared, without changing anything (`plan_sync`); then, under a lock, all
paths that may be touched are written down, packages that are not locked or not right are removed,
the locked ones are linked from `mllock.train.unpacked`, and the state is written (`sync`). An
interruption leaves the written-down paths: the next sync begins by removing these. What a user
changed or put in the way is moved to `mllock-kept` of the environment and named, never removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from mllock import processes
from mllock.core.ports import Reporter
from mllock.errors import InputError, SurroundingsError
from mllock.lock.types import PythonPackage
from mllock.spec.meaning import package_name
from mllock.spec.types import Overlap
from mllock.store import atomic
from mllock.train.python import HostPython
from mllock.train.sync_folder import Folder, is_edited, recorded_hashes
from mllock.train.synced import (
    CONFIG,
    Foreign,
    Installed,
    State,
    config_digest,
    differing,
    foreign,
    loose,
    read_state,
    site_of,
    why_again,
    write_first_state,
    write_state,
)

if TYPE_CHECKING:  # reading wheels is only for those who have something to install
    from mllock.train.sync_wheels import Wheels
    from mllock.train.venv import FetchWheels

__all__ = ["Action", "SyncChange", "SyncPlan", "plan_sync", "sync"]

Action = Literal["added", "updated", "restored", "removed"]
_LOCK = ".mllock-sync.lock"
_IGNORED = ".gitignore"
# What Python's venv writes beside the interpreter.
_ACTIVATE = ("activate", "activate.csh", "activate.fish", "Activate.ps1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncChange:
    """A package that is not as it should be. `files` counts those that differ (restored)."""

    action: Action
    name: str
    old: str | None = None
    new: str | None = None
    files: int = 0

    def __str__(self) -> str:
        """In the past tense, as `mllock lock` says it."""
        versions = " -> ".join(part for part in (self.old, self.new) if part)
        shown = f"{self.action.capitalize()} {self.name} {versions}".rstrip()
        if self.action == "restored":
            return f"{shown} ({self.files} file{'' if self.files == 1 else 's'})"
        return shown


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncPlan:
    """What has to be done. `state` is None for an environment that is not there yet; `names` are
    the packages to install, `made_again` says why the environment itself is."""

    root: Path
    python: HostPython
    packages: Mapping[str, PythonPackage]
    overlaps: tuple[tuple[str, str], ...]
    state: State | None
    changes: tuple[SyncChange, ...]
    names: frozenset[str]
    foreign: tuple[Foreign, ...]
    loose: tuple[str, ...]
    made_again: str | None

    @property
    def nothing_to_do(self) -> bool:
        return not (self.changes or self.names or self.made_again)


def plan_sync(
    root: Path,
    packages: Sequence[PythonPackage],
    python: HostPython,
    overlaps: Sequence[Overlap] = (),
) -> SyncPlan:
    """Compare `root` with `packages`. Changes nothing. Raises InputError for a folder that is not
    an environment of mllock's."""
    if os.pathsep in str(root):
        raise InputError(
            "an environment whose path holds a colon cannot be on a program's PATH",
            file=str(root),
            hint="name another folder with --venv DIR",
        )
    state = read_state(root)
    if root.is_symlink() and (state is None or state.place != str(root)):
        # Python makes none behind a link; and what is there may be another project's.
        is_there = "an empty folder" if state is None else f"one that was made for {state.place}"
        raise InputError(
            "a link, and no environment that was made here",
            file=str(root),
            found=f"a link to {os.readlink(root)}, {is_there}",
            hint="remove the link, or name another folder with --venv DIR",
        )
    wanted = {package.name: package for package in packages}
    rules = tuple((rule.path, rule.keep) for rule in overlaps)
    there = {} if state is None else state.packages
    others = () if state is None else foreign(root, state.minor, there.values())
    moved = state is not None and (state.place, state.minor) != (str(root), python.minor)
    again = moved or (state is not None and state.overlaps != rules)
    by_others = {package_name(item.name): item.version for item in others}
    changes = [
        SyncChange(action="removed", name=item.name, old=item.version)
        for item in others
        if package_name(item.name) not in wanted
    ]
    for name in sorted({*wanted, *there}):
        change = _change_of(root, name, there.get(name), wanted.get(name), moved=moved)
        if name in by_others and name in wanted:
            new = wanted[name].version
            change = SyncChange(action="updated", name=name, old=by_others[name], new=new)
        if change is not None:
            changes.append(change)
    names = {change.name for change in changes if change.action != "removed"}
    if again:
        names |= wanted.keys()
    elif changes:
        # Whose file is there may be another's affair now, and what leaves may have named files that
        # are of who stays.
        theirs = {path for item in others for path in item.paths or ()}
        kept = wanted.keys() & there.keys()
        names |= {name for name in kept if there[name].shared}
        if theirs:
            files = {name: (look.path for look in there[name].files) for name in kept}
            names |= {name for name in kept if not theirs.isdisjoint(files[name])}
    return SyncPlan(
        root=root,
        python=python,
        packages=wanted,
        overlaps=rules,
        state=state,
        changes=tuple(sorted(changes, key=lambda change: change.name)),
        names=frozenset(names),
        foreign=others,
        loose=() if state is None else _loose(root, state, others),
        made_again=why_again(state, root, python),
    )


def _change_of(
    root: Path, name: str, old: Installed | None, package: PythonPackage | None, *, moved: bool
) -> SyncChange | None:
    if package is None:
        assert old is not None
        return SyncChange(action="removed", name=name, old=old.version)
    new = package.version
    if old is None:
        return SyncChange(action="added", name=name, new=new)
    if old.sha256 != package.wheels[0].hashes["sha256"]:
        return SyncChange(action="updated", name=name, old=old.version, new=new)
    count = len(old.files) if moved else len(differing(root, old))
    if not count:
        return None
    return SyncChange(action="restored", name=name, new=new, files=count)


def _loose(root: Path, state: State, others: Iterable[Foreign]) -> tuple[str, ...]:
    """Names in site-packages that are of no package, and not left by an interruption."""
    site = f"{site_of(state.minor)}/"
    paths = [*state.pending, *(path for item in others for path in item.paths or ())]
    known = {path[len(site) :].partition("/")[0] for path in paths if path.startswith(site)}
    return tuple(
        name
        for name in loose(root, state.minor, state.packages)
        if name not in known and not name.endswith((".dist-info", ".egg-info", ".egg-link"))
    )


def sync(
    root: Path,
    packages: Sequence[PythonPackage],
    python: HostPython,
    *,
    entries: Path,
    fetch: FetchWheels,
    again: FetchWheels,
    reporter: Reporter,
    prompt: str,
    overlaps: Sequence[Overlap] = (),
) -> SyncPlan:
    """Bring `root` to what is locked, and answer what was done. `entries` is the folder of
    the cache for unpacked wheels, `again` fetches wheels that are unpacked already, `prompt` is
    what a shell shows in the environment."""
    plan = plan_sync(root, packages, python, overlaps)
    if plan.nothing_to_do:
        return plan
    from mllock.train.sync_wheels import Wheels

    wheels = Wheels(root, python.minor, plan.packages, entries, (fetch, again), overlaps)
    try:
        # What cannot be had is said before anything is touched.
        _prepared(plan, wheels, reporter)
        _begin(plan)
        with _alone(root, reporter):
            # Another sync may have been at work until now.
            then = plan_sync(root, packages, python, overlaps)
            if not then.nothing_to_do:
                _apply(then, wheels, reporter, prompt)
    except OSError as error:
        raise atomic.cannot_write(root, error) from error
    # The folder is marked before it is filled: only the first look knows that it was not there.
    first = plan.state is None and then.made_again is not None
    return replace(then, state=None, made_again=plan.made_again) if first else then


def _begin(plan: SyncPlan) -> None:
    """A folder that is marked as mllock's from its first moment on."""
    if plan.state is not None:
        return
    state = State(
        place=str(plan.root),
        python=str(plan.python.path),
        version=plan.python.version,
        pending=(CONFIG,),
    )
    if plan.root.exists():  # and was empty
        write_first_state(plan.root, state)
        return
    with atomic.staging(plan.root.parent) as staged:
        write_state(staged, state)
        staged.chmod(0o755)
        try:
            os.rename(staged, plan.root)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another sync was faster
                raise


@contextlib.contextmanager
def _alone(root: Path, reporter: Reporter) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(root / _LOCK, flags, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            reporter.note(f"waiting for another sync of {root}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _prepared(plan: SyncPlan, wheels: Wheels, reporter: Reporter) -> frozenset[str]:
    """The packages that are going to be installed. Touches nothing of the environment."""
    without = [item.name for item in plan.foreign if item.paths is None]
    if without:
        raise InputError(
            f"{without[0]} was installed without a RECORD: its files are not known",
            file=str(plan.root),
            hint=f'remove {plan.root.name}, then run "mllock sync" again',
        )
    there = {} if plan.state is None else plan.state.packages
    return wheels.prepare(plan.names, there, reporter)


def _apply(plan: SyncPlan, wheels: Wheels, reporter: Reporter, prompt: str) -> None:
    names = _prepared(plan, wheels, reporter)
    old = plan.state
    assert old is not None
    packages = dict(old.packages)
    removed = {change.name for change in plan.changes if change.action == "removed"}
    gone = {name: packages.pop(name) for name in sorted(names | removed) if name in packages}
    leaving = [look.path for package in gone.values() for look in package.files]
    theirs = [path for item in plan.foreign for path in item.paths or ()]
    coming = [path for name in sorted(names) for path in wheels.paths(name)]
    again = (CONFIG,) if plan.made_again else ()
    begun = State(
        place=str(plan.root),
        python=str(plan.python.path),
        version=plan.python.version,
        overlaps=plan.overlaps,
        packages=packages,
        pending=tuple(dict.fromkeys((*again, *old.pending, *leaving, *theirs, *coming))),
    )
    folder = Folder(plan.root, reporter)
    # First: what is written down as pending is removed by whoever finds it.
    edited = (path for package in gone.values() for path in _edited(plan.root, old, package))
    folder.keep(sorted(set(edited).difference(theirs)))
    write_state(plan.root, begun)
    folder.remove((*old.pending, *theirs))
    with _made_venv(folder, plan, prompt) if plan.made_again else contextlib.nullcontext():
        folder.remove(leaving)
        site = f"{site_of(plan.python.minor)}/"
        # Where the other program writes nothing.
        beside = [n for n in sorted(names) if all(p.startswith(site) for p in wheels.paths(n))]
        for name in beside:
            packages[name] = wheels.install(name, folder)
    for name in sorted(names.difference(beside)):
        packages[name] = wheels.install(name, folder)
    done = msgspec.structs.replace(
        begun, packages=packages, pending=(), config=config_digest(plan.root) or ""
    )
    write_state(plan.root, done)
    folder.tell()


def _edited(root: Path, state: State, package: Installed) -> Iterator[str]:
    """The files of `package` that have other bytes than its RECORD says."""
    paths = differing(root, package)
    if not paths:
        return
    records = [look.path for look in package.files if look.path.endswith(".dist-info/RECORD")]
    hashes: Mapping[str, str] = {}
    for record in records:
        hashes = recorded_hashes(root / record, site_of(state.minor))
    for path in paths:
        if path not in records and is_edited(root / path, hashes.get(path)):
            yield path


@contextlib.contextmanager
def _made_venv(folder: Folder, plan: SyncPlan, prompt: str) -> Iterator[None]:
    """The environment itself: interpreter, configuration, what activates it; by the standard
    library of that very interpreter. It is there when the block ends; inside of it the caller may
    fill site-packages."""
    root = plan.root
    names = ("python", "python3", f"python{plan.python.minor}")
    if (root / CONFIG).is_dir():
        folder.keep((CONFIG,))
    # A link that is there would stay, or what it leads to be written over.
    folder.remove((*(f"bin/{name}" for name in (*names, *_ACTIVATE)), CONFIG, _IGNORED))
    for made in (site_of(plan.python.minor), "bin", "include"):
        folder.make(made)
    command = [str(plan.python.path), "-I", "-m", "venv", "--without-pip", "--prompt", prompt]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with processes.started([*command, str(root)], **pipes) as process:
        yield
        output, _ = process.communicate()
    if process.returncode != 0:
        said = output.decode("utf-8", "replace").strip().splitlines()
        raise SurroundingsError(
            f"Python {plan.python.version} cannot make an environment",
            file=str(root),
            found=said[-1] if said else f"exit code {process.returncode}",
            hint=f"does {plan.python.path} have its module venv? on Debian: python3-venv",
        )
    folder.remove((_IGNORED,))
    folder.write(_IGNORED, b"*\n", 0o644)
