"""What kind of machine a run had: internalParameters of the record, evidence of nothing.

Only what can change numbers: processor, threads, kernel, C library, interpreter, BLAS. No host
name, user, path or address. All values are JSON; what cannot be found is left out.
"""

from __future__ import annotations

import fnmatch
import os
import platform
import posixpath
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mllock.core.digest import sha256_of
from mllock.engine.types import EngineInfo
from mllock.lock.types import Lock
from mllock.train.venv import LockedVenv

__all__ = ["engine_facts", "host_facts"]

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "PYTHONHASHSEED",
)
CPUINFO = Path("/proc/cpuinfo")


def host_facts(venv: LockedVenv, variables: Mapping[str, str]) -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": {"available": len(os.sched_getaffinity(0)), "online": os.cpu_count() or 1},
        "kernel": platform.release(),
        "libc": " ".join(part for part in platform.libc_ver() if part),
        "python": {"version": venv.python.version, "implementation": "cpython"},
        "threads": {name: variables[name] for name in _THREADS if name in variables},
        "blas": _blas(venv.site),
    }


def engine_facts(
    info: EngineInfo, lock: Lock, variables: Mapping[str, str], wheels: Iterable[Path]
) -> dict[str, Any]:
    """The same of a run in an engine: C library and Python are the image's, the machine is the
    engine's. `wheels` are those of the lock that are at hand."""
    facts: dict[str, Any] = {
        "engine": {"name": info.name, "version": info.version},
        # The processor of another machine is not known here.
        "cpu": {"machine": info.architecture} if info.remote else _cpu(),
        "cores": {"online": info.cpus},
        "kernel": info.kernel,
        "python": {"version": lock.base.python, "implementation": "cpython"},
        "threads": {name: variables[name] for name in _THREADS if name in variables},
        "blas": sorted({name for wheel in wheels for name in _blas_of(wheel)}),
    }
    if lock.inputs.builder.get("kind") == "docker":
        # Who installed the packages; the environment document says into which layer.
        facts["builder"] = "docker"
    for deb in lock.system:
        if deb.name == "libc6":
            # Debian Policy 5.6.12: epoch:upstream-revision.
            facts["libc"] = "glibc " + deb.version.rpartition(":")[2].rpartition("-")[0]
    return facts


def _blas_of(wheel: Path) -> list[str]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return []
    return [
        posixpath.basename(name)
        for name in names
        if fnmatch.fnmatchcase(name, "*.libs/*blas*") or fnmatch.fnmatchcase(name, "mkl*libmkl_rt*")
    ]


def _cpu() -> dict[str, str]:
    """The model's name, and a digest of the sorted flags: equal digests, equal instructions."""
    out = {"machine": platform.machine()}
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return out
    for line in text.split("\n\n", maxsplit=1)[0].splitlines():
        name, _, value = line.partition(":")
        match name.strip().lower():
            case "model name":
                out["model"] = value.strip()
            case "flags" | "features":
                flags = " ".join(sorted(value.split()))
                out["flags"] = sha256_of(flags.encode())
    return out


def _blas(site: Path) -> list[str]:
    """The BLAS libraries that wheels brought, by file name."""
    found = {
        path.name
        for pattern in ("*.libs/*blas*", "mkl*/**/libmkl_rt*")
        for path in site.glob(pattern)
    }
    return sorted(found)
