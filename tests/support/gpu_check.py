"""What `scripts/gpu-check` looks at, on a machine with a GPU: typed as a user types it.

The program of the project fits one number by gradient descent, in a kernel of its own (PTX, which
the driver compiles), through libcuda alone: no package for GPUs is needed, and what it writes is
what the GPU computed. A GPU's presence is no test's business: tests/train has a stand-in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from mllock.image.types import BUILDER_FORMAT
from mllock.lock.format import dump_lock
from mllock.lock.types import LayerGroup, Layers
from mllock.workflows.context import make_context
from support.base_image import BaseImage, python_layer
from support.reporter import Recorder
from support.training import lock_of, make_project, put_wheels
from support.world import above_image

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"

SPEC = f"""\
[project]
name = "gpu-check"
version = "1.0.0"

[environment]
python = "{MINOR}"
dependencies = ["tiny-lib"]
base = "oci:base"
bytecode = false

[data.train]
source = "data/train.csv"

[train]
command = ["python", "train.py"]
model = "weights.bin"
metrics = "metrics.json"
"""

# One thread: w becomes w - 0.125 * (w - 3), 64 times, fused as it is written.
PTX = """\
.version 6.0
.target sm_50
.address_size 64
.visible .entry fit(.param .u64 out)
{
    .reg .pred %p<2>;
    .reg .f32 %f<4>;
    .reg .b32 %r<2>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [out];
    cvta.to.global.u64 %rd2, %rd1;
    mov.f32 %f1, 0f00000000;
    mov.u32 %r1, 0;
again:
    sub.f32 %f2, %f1, 0f40400000;
    fma.rn.f32 %f1, %f2, 0fBE000000, %f1;
    add.u32 %r1, %r1, 1;
    setp.lt.u32 %p1, %r1, 64;
    @%p1 bra again;
    st.global.f32 [%rd2], %f1;
    ret;
}
"""

PROGRAM = f"""\
import ctypes, json, os, struct
from ctypes import byref, c_int, c_size_t, c_uint, c_uint64, c_void_p
import tiny_lib

PTX = {PTX!r}.encode() + b"\\0"


def call(name, *arguments):
    code = getattr(cuda, name)(*arguments)
    if code:
        raise SystemExit(f"{{name}}: {{code}}")


print("visible", repr(os.environ.get("CUDA_VISIBLE_DEVICES")))
cuda = ctypes.CDLL("libcuda.so.1")
call("cuInit", c_uint(0))
count, device, context, module, kernel = c_int(), c_int(), c_void_p(), c_void_p(), c_void_p()
call("cuDeviceGetCount", byref(count))
print("devices", count.value)
call("cuDeviceGet", byref(device), c_int(0))
call("cuCtxCreate_v2", byref(context), c_uint(0), device)
call("cuModuleLoadData", byref(module), PTX)
call("cuModuleGetFunction", byref(kernel), module, b"fit")
place = c_uint64()
call("cuMemAlloc_v2", byref(place), c_size_t(4))
arguments = (c_void_p * 1)(ctypes.cast(byref(place), c_void_p))
one = c_uint(1)
call("cuLaunchKernel", kernel, one, one, one, one, one, one, c_uint(0), None, arguments, None)
call("cuCtxSynchronize")
out = (ctypes.c_char * 4)()
call("cuMemcpyDtoH_v2", out, place, c_size_t(4))
call("cuCtxDestroy_v2", context)
(weight,) = struct.unpack("<f", out.raw)
print("weight", weight)
assert 2.99 < weight < 3, weight
with open("weights.bin", "wb") as file:
    file.write(out.raw)
with open("metrics.json", "w") as file:
    json.dump({{"weight": weight}}, file)
"""


def main(place: Path) -> None:
    project = make_project(place / "project", program=PROGRAM, spec=SPEC)
    _lock(project)
    print(f"Python {sys.version.split()[0]}, {os.path.realpath(sys.executable)}")
    print("LD_LIBRARY_PATH", os.environ.get("LD_LIBRARY_PATH"))

    _gpus(project, 1)
    models = []
    for _ in range(2):
        _typed(project, "train", "--runtime", "host")
        shown = json.loads(_typed(project, "show", "--json"))
        _must("facts.gpu has one GPU", [row["count"] for row in shown["facts"]["gpu"]] == [1])
        _must("facts.gpu-driver is there", sorted(shown["facts"]["gpu-driver"]) == _DRIVER)
        print("gpu", shown["facts"]["gpu"], shown["facts"]["gpu-driver"])
        models.append(shown["model"])
        log = (project / ".mllock/runs" / shown["run"] / "log.txt").read_text()
        print(log)
        _must("the program saw one device, by UUID", "devices 1\n" in log and "'GPU-" in log)
    _must("both trainings gave the same model", len(set(models)) == 1)
    _typed(project, "show")
    _typed(project, "report", "--output", str(place / "report.html"))

    _typed(project, "train", "--runtime", "host", code=4, CUDA_VISIBLE_DEVICES="")
    _typed(project, "train", "--runtime", "host", CUDA_VISIBLE_DEVICES="0")
    _gpus(project, 64)
    _typed(project, "train", "--runtime", "host", code=4)
    _gpus(project, 0)
    _typed(project, "train", "--runtime", "host", code=1)
    newest = max((project / ".mllock/runs").iterdir())
    log = (newest / "log.txt").read_text()
    print(log)
    # CUDA driver API: CUDA_ERROR_NO_DEVICE. Where only LD_LIBRARY_PATH leads to the driver, it
    # finds not even that.
    none = "cuInit: 100\n" in log or "libcuda.so.1: cannot open shared object file" in log
    _must("a program that declares none finds none", log.startswith("visible ''\n") and none)
    print("all is as it has to be")


_DRIVER = ["cuda", "version"]


def _lock(project: Path) -> None:
    ctx = make_context(project, Recorder(), os.environ)
    # No suite of Debian is for every Python: an image with this one, of which nothing is run here.
    BaseImage(layers=[python_layer(f"{MINOR}.0")]).to_layout(project / "base")
    packages = put_wheels(ctx.cache, {("tiny-lib", "1.0"): None})
    groups = tuple(LayerGroup(packages=(package.name,)) for package in packages)
    lock = lock_of(project, packages)
    pins = msgspec.structs.replace(lock.python, requires_python=f"=={MINOR}.*")
    layers = Layers(builder_format=BUILDER_FORMAT, python=groups)
    lock = above_image(ctx, msgspec.structs.replace(lock, python=pins, layers=layers), MINOR)
    (project / "mlproject.lock").write_bytes(dump_lock(lock))


def _gpus(project: Path, number: int) -> None:
    (project / "mlproject.toml").write_text(SPEC + (f"gpus = {number}\n" if number else ""))


def _typed(project: Path, *words: str, code: int = 0, **variables: Any) -> str:
    """Standard output of a command, which has to end with `code`."""
    shown = [f'{name}="{value}"' for name, value in variables.items()]
    print("$", *shown, "mllock", *words, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "mllock", "--project", project, *words],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if "--json" not in words:
        print(done.stdout, flush=True)
    _must(f"exit code {code}", done.returncode == code)
    return done.stdout


def _must(what: str, holds: bool) -> None:
    print("ok" if holds else "NOT SO", what, sep="\t", flush=True)
    if not holds:
        raise SystemExit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
