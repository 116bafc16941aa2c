"""A stand-in for NVIDIA's driver: a real shared library, compiled for what a test wants it to say.

`driver(folder, ...)` makes `libnvidia-ml.so.1` there; with LD_LIBRARY_PATH naming the folder it is
what a program loads. Nothing but a compiler is needed: no header, no C library.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["Card", "driver", "finds_a_driver"]

GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A GPU; with `parts` one in MIG mode. `code` is what asking for it answers."""

    uuid: str
    model: str = "NVIDIA H100 80GB HBM3"
    memory: int | None = 80 * GIB
    capability: tuple[int, int] = (9, 0)
    parts: Sequence[Card] | None = None
    code: int = 0


_SOURCE = r"""
typedef unsigned long long u64;
typedef struct {{
    const char *uuid, *model; u64 memory; int major, minor, code, mig, first, parts;
}} card;
static card cards[] = {{ {rows} {{0}} }};
static int put(const char *from, char *to, unsigned size) {{
    unsigned i = 0;
    while (i + 1 < size && from[i]) {{ to[i] = from[i]; i++; }}
    to[i] = 0;
    return 0;
}}
int nvmlInit_v2(void) {{ {start} return {init}; }}
const char *nvmlErrorString(int code) {{ return "{said}"; }}
int nvmlSystemGetCudaDriverVersion_v2(int *out) {{ *out = {cuda}; return 0; }}
int nvmlSystemGetDriverVersion(char *out, unsigned size) {{ return put("{version}", out, size); }}
int nvmlDeviceGetCount_v2(unsigned *out) {{ *out = {count}; return 0; }}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, card **out) {{
    *out = &cards[index]; return cards[index].code;
}}
int nvmlDeviceGetUUID(card *from, char *out, unsigned size) {{
    return put(from->uuid, out, size);
}}
int nvmlDeviceGetName(card *from, char *out, unsigned size) {{
    return put(from->model, out, size);
}}
int nvmlDeviceGetMemoryInfo(card *from, u64 *out) {{
    out[0] = from->memory; out[1] = from->memory; out[2] = 0; return from->memory ? 0 : 3;
}}
int nvmlDeviceGetCudaComputeCapability(card *from, int *major, int *minor) {{
    *major = from->major; *minor = from->minor; return 0;
}}
{mig}
"""

_MIG = r"""
int nvmlDeviceGetMigMode(card *from, unsigned *now, unsigned *pending) {
    *now = *pending = from->mig == 1; return from->mig < 0 ? 3 : 0;
}
int nvmlDeviceGetMaxMigDeviceCount(card *from, unsigned *out) { *out = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(card *from, unsigned index, card **out) {
    if ((int)index >= from->parts) return 6;
    *out = &cards[from->first + index]; return 0;
}
"""


def driver(
    folder: Path,
    *cards: Card,
    version: str = "580.95.05",
    cuda: int = 13000,
    init: int = 0,
    said: str = "",
    start: str = "",
    count: int | None = None,
    mig: bool = True,
    lacks: str = "",
) -> Mapping[str, str]:
    """The library in `folder`; what to add to the environment. `start` are C statements of
    nvmlInit_v2, `init` is its code; without `mig` it is a driver from before there was MIG; `lacks`
    is a function that it does not have."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no cc: scripts/test installs it")
    rows: list[str] = []
    parts: list[str] = []
    for card in cards:
        first = len(cards) + len(parts)
        parts += [_row(part, 0, 0, mig=0) for part in card.parts or ()]
        rows.append(_row(card, first, len(card.parts or ()), mig=-1 if card.parts is None else 1))
    source = _SOURCE.format(
        rows="".join(f"{row}, " for row in rows + parts),
        version=version,
        cuda=cuda,
        init=init,
        said=said,
        start=start,
        count=len(cards) if count is None else count,
        mig=_MIG if mig else "",
    )
    if lacks:
        source = source.replace(f"int {lacks}(", f"static int {lacks}_(")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nvml.c").write_text(source)
    library = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-nostdlib", "-ffreestanding", "-O1", "-w"]
    subprocess.run([*command, "-o", library, folder / "nvml.c"], check=True)
    return {"LD_LIBRARY_PATH": str(folder)}


def finds_a_driver() -> bool:
    """Whether programs of this machine find one without being told where."""
    ask = 'import ctypes; ctypes.CDLL("libnvidia-ml.so.1")'
    done = subprocess.run(
        [sys.executable, "-c", ask], env={}, check=False, stderr=subprocess.DEVNULL
    )
    return done.returncode == 0


def _row(card: Card, first: int, parts: int, *, mig: int) -> str:
    major, minor = card.capability
    known = f'"{card.uuid}", "{card.model}", {card.memory or 0}ULL, {major}, {minor}'
    return f"{{{known}, {card.code}, {mig}, {first}, {parts}}}"
