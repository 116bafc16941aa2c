"""What kind of machine a run had: internalParameters of the record, evidence of nothing.

Only what can change numbers: processor, threads, kernel, C library, interpreter, BLAS. No host
name, user, path or address. All values are JSON; what cannot be found is left out.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mllock.core.digest import sha256_of
from mllock.train.venv import LockedVenv

__all__ = ["host_facts"]

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
