"""A small fixed world, whose digests are golden for a builder format: nothing in it may vary.

Wheels are compressed by libdeflate, which is pinned, and not by the machine's zlib; the base is
real packages, made here; the record is fixed bytes, because a real one has times in it and a
signature. All else is made by mllock as for anybody: `layers_of` is what `build_environment` makes
of the lock, images are what `finish` makes of spec, lock and layers.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import deflate
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from mllock.attest.keys import load_or_create_key
from mllock.core.digest import hex_of, sha256_of
from mllock.data.scan import scan
from mllock.image.build import Packages, build_environment
from mllock.image.config import plan_environment
from mllock.image.environment import image_variables
from mllock.image.folder import code_nodes, model_nodes, record_nodes
from mllock.image.layers import make_layer
from mllock.image.types import Image, ImageConfig, Layer
from mllock.lock.format import seal
from mllock.lock.types import DebianPackage, LayerGroup, Layers, Lock, PythonPackage, Wheel
from mllock.spec.command import with_port
from mllock.spec.reader import load_spec
from mllock.workflows.context import Context, make_context
from mllock.workflows.environment import BuiltEnvironment
from mllock.workflows.parts import Parts, finish, train_parts
from support.debian import make_deb
from support.hostile_zip import Entry, zipped
from support.reporter import Recorder
from support.training import lock_of, make_project

SPEC = """\
[project]
name = "golden"
version = "1.2.3"
description = "Small, fixed, ğ"

[environment]
python = "3.11"
dependencies = ["alpha"]
variables = { OMP_NUM_THREADS = "1", LANG = "tr_TR.UTF-8" }

[data.train]
source = "data/train.csv"

[train]
command = ["python", "train.py", "--rate={params.rate}", "{params_file}"]
code = ["*.py", "lib/**", "bin/**"]
model = "out/deep/model"
metrics = "metrics/all.json"
params = { rate = 0.5, seed = 42, name = "ğ" }

[serve]
command = ["python", "serve.py", "{port}"]
code = ["serve.py", "lib/**"]
port = 8080
health = "/healthz?full=1"
runtime-variables = ["TOKEN", "API_KEY"]
"""

CODE = {
    "serve.py": "print('serving')\n",
    "lib/helper.py": "HELP = 1\n",
    "lib/ğ/large.txt": "large\n" * 5_000,
    "bin/run": "#!/bin/sh\n",
}
MODEL = {"weights.bin": bytes(range(256)) * 5_000, "ğ/run.sh": b"#!/bin/sh\n"}
RECORD = {
    "mlproject.lock": b"# the lock\n",
    "model.manifest": b"mllock-tree\t1\n",
    "record.sigstore.json": b"{}",
}

_LONG = "/".join(["n" * 90] * 3)
_SHARED = {"space/__init__.py": b"", "space/data.txt": b"shared\n" * 4_000}
_SCRIPT = b"#!python -O\r\nprint('tool')\n"
WHEELS: Mapping[str, Mapping[str, bytes]] = {
    "alpha": {
        "alpha/__init__.py": b"def main():\n    return 0\n",
        "alpha/large.txt": b"0123456789abcdef" * 4_096,
        "alpha/edge.txt": b"e" * 16_384,
        "alpha/below.txt": b"b" * 16_383,
        "alpha/stored.bin!": bytes(range(256)) * 100,
        "alpha/program.so*": b"\x7fELF" + bytes(40_000),
        'alpha/a,"b".txt': b"quoted\n",
        "alpha/ğ.txt": b"not ASCII\n",
        f"alpha/{_LONG}.txt": b"no prefix is long enough\n",
        f"alpha/{'p' * 70}/{'q' * 60}.txt": b"prefix and name\n",
        "alpha/__pycache__/alpha.cpython-311.pyc": b"left out",
        "alpha-1.0.data/scripts/tool": _SCRIPT,
        "alpha-1.0.data/scripts/large-tool": b"#!pythonw\n" + b"# large\n" * 4_000,
        "alpha-1.0.data/scripts/shell": b"#!/bin/sh\n",
        "alpha-1.0.data/data/share/alpha/x.txt": b"x\n",
        "alpha-1.0.data/headers/alpha.h": b"#define ALPHA\n",
        "alpha-1.0.data/purelib/alpha_pure.py": b"PURE = 1\n",
        "alpha-1.0.data/platlib/alpha_plat.py": b"PLAT = 1\n",
        "alpha-1.0.dist-info/entry_points.txt": (
            b"[console_scripts]\nalpha = alpha:main\nAlpha-sub = alpha.sub : Class.run [extra]\n"
            b"[gui_scripts]\nalpha-gui=alpha:gui\n[other]\nx = y:z\n"
        ),
        "alpha-1.0.dist-info/direct_url.json": b"{}",
        "alpha-1.0.dist-info/REQUESTED": b"",
        "alpha-1.0.dist-info/INSTALLER": b"pip\n",
        **_SHARED,
    },
    "beta": {"beta.py": b"BETA = 1\n", **{f"{name}*": data for name, data in _SHARED.items()}},
    "gamma": {"gamma/__init__.py": b"", "gamma/large.txt": b"g" * 1_500_000},
}
VERSIONS = {"alpha": "1.0", "beta": "2.0", "gamma": "3.0"}
GROUPS = (("beta", "alpha"), ("gamma",))

_MASTER = "usr/share/base-passwd/{}.master"
_BASE_PASSWD = {
    _MASTER.format("passwd"): b"root:*:0:0:root:/root:/bin/bash\n",
    _MASTER.format("group"): b"root:*:0:\nshadow:*:42:\n",
}
DEBS: Mapping[str, tuple[str, Mapping[str, bytes | str]]] = {
    "base-passwd": ("base", _BASE_PASSWD),
    "tool": (
        "base",
        {
            "bin/tool": b"#!/bin/sh\n",
            "usr/bin/again": "-> tool",
            "usr/lib/x/data": b"data\n",
            "usr/lib/x/same": "hard usr/lib/x/data",
        },
    ),
    "libextra": (
        "system",
        {"usr/lib/libextra.so.1": b"\x7fELF", "usr/share/extra/x": b"x" * 20_000},
    ),
}


class Fixed(Entry):
    """An entry whose deflate stream is the same on every machine."""

    @property
    def body(self) -> bytes:
        return bytes(deflate.deflate_compress(self.data, 6)) if self.method else self.data


def fixed_wheel(name: str, version: str, files: Mapping[str, bytes]) -> bytes:
    """Paths that end in "*" are executable, in "!" stored."""
    info = f"{name}-{version}.dist-info"
    wheel = b"Wheel-Version: 1.0\nGenerator: mllock-tests\nRoot-Is-Purelib: true\n"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": wheel + b"Tag: py3-none-any\n",
    }
    rows = io.StringIO()
    record = csv.writer(rows, lineterminator="\r\n")
    entries = []
    for marked, data in content.items():
        path = marked.rstrip("*!")
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.writerow([path, f"sha256={digest}", len(data)])
        entries.append(
            Fixed(
                name=path.encode(),
                data=data,
                method=0 if marked.endswith("!") else 8,
                mode=0o100755 if marked.endswith("*") else 0o100644,
                flags=0 if path.isascii() else 0x0800,
            )
        )
    record.writerow([f"{info}/RECORD", "", ""])
    entries.append(Fixed(name=f"{info}/RECORD".encode(), data=rows.getvalue().encode()))
    return zipped(*entries)


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatWorld:
    ctx: Context
    lock: Lock
    environment: BuiltEnvironment
    images: Mapping[str, Image]

    def blob(self, layer: Layer) -> bytes:
        path = self.ctx.cache.get(layer.digest)
        assert path is not None
        return path.read_bytes()


def wheels() -> dict[str, bytes]:
    return {name: fixed_wheel(name, VERSIONS[name], files) for name, files in WHEELS.items()}


def make_format_world(root: Path, builder_format: int) -> FormatWorld:
    """Build both images. `builder_format` is the number that they name."""
    project = make_project(root / "project", spec=SPEC, program="print(1)\n", files=CODE)
    (project / "bin/run").chmod(0o755)
    (project / "lib/link").symlink_to("helper.py")
    pem = ec.derive_private_key(1, ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    ctx = make_context(
        project,
        Recorder(),
        {
            "HOME": str(root),
            "MLLOCK_CACHE": str(root / "cache"),
            "MLLOCK_ENGINE": "none",
            "MLLOCK_KEY": pem.decode(),
        },
    )
    lock, packages = _lock(ctx, root, builder_format)
    with _format(builder_format):
        layers = build_environment(lock, packages, ctx.cache, ctx.reporter)
        loaded = load_spec(project / "mlproject.toml")
        variables = image_variables(loaded.spec.environment.variables)
        config = ImageConfig(command=(), variables=variables)
        document = plan_environment("linux/amd64", layers, config)
        environment = BuiltEnvironment(
            layers=layers, document=document, digest=sha256_of(_canonical(document))
        )
        key = load_or_create_key(ctx.config_dir, ctx.environ)
        parts = (train_parts(ctx, loaded), _serve_parts(ctx))
        built = [finish(loaded, lock, environment, part, key) for part in parts]
    return FormatWorld(
        ctx=ctx,
        lock=lock,
        environment=environment,
        images={item.image.kind: item.image for item in built},
    )


def _canonical(value: object) -> bytes:
    from mllock.core import canonical

    return canonical.dumps(value)


def _lock(ctx: Context, root: Path, builder_format: int) -> tuple[Lock, Packages]:
    files: dict[str, Path] = {}
    system, python = [], []
    for name, (layer, content) in DEBS.items():
        deb = make_deb(name, files=content)
        pin = DebianPackage(
            name=name,
            version="1.0",
            architecture="amd64",
            filename=f"pool/main/{name}_1.0_amd64.deb",
            size=len(deb),
            sha256=hex_of(sha256_of(deb)),
            layer=layer,
        )
        files[pin.filename] = root / f"{name}.deb"
        files[pin.filename].write_bytes(deb)
        system.append(pin)
    for name, data in wheels().items():
        file = f"{name}-{VERSIONS[name]}-py3-none-any.whl"
        hashes = {"sha256": hex_of(sha256_of(data))}
        wheel = Wheel(name=file, path=f"wheels/{file}", size=len(data), hashes=hashes)
        python.append(PythonPackage(name=name, version=VERSIONS[name], wheels=(wheel,)))
        files[file] = root / file
        files[file].write_bytes(data)
    lock = lock_of(ctx.project, tuple(python))
    groups = tuple(LayerGroup(packages=names) for names in GROUPS)
    layers = Layers(builder_format=builder_format, python=groups)
    lock = seal(msgspec.structs.replace(lock, system=tuple(system), layers=layers))
    return lock, Packages(wheels=lambda _: files, debs=lambda _: files)


def _serve_parts(ctx: Context) -> Parts:
    from mllock.data.code import select_code

    loaded = load_spec(ctx.project / "mlproject.toml")
    serve = loaded.spec.serve
    assert serve is not None
    model = ctx.project.parent / "model"
    for name, data in MODEL.items():
        path = model / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    (model / "empty").mkdir()
    nodes = model_nodes(model, scan(model, name="model"), "out/deep/model")
    code = select_code(ctx.project, loaded.spec, serve.code or (), key="serve.code").manifest
    return Parts(
        kind="serve",
        layers=(
            make_layer(ctx.cache, "code", "serving code", code_nodes(ctx.project, code)),
            make_layer(ctx.cache, "model", "model", nodes),
            make_layer(ctx.cache, "record", "record", record_nodes(RECORD)),
        ),
        command=with_port(serve.command, serve.port),
        code=code,
        serve=serve,
    )


@contextmanager
def _format(number: int) -> Iterator[None]:
    """The number that images name while the block runs; the bytes of layers do not follow it."""
    modules: list[tuple[ModuleType, int]] = [
        (module, module.BUILDER_FORMAT)
        for name, module in list(sys.modules.items())
        if name.startswith("mllock.") and hasattr(module, "BUILDER_FORMAT")
    ]
    for module, _ in modules:
        module.BUILDER_FORMAT = number  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, before in modules:
            module.BUILDER_FORMAT = before  # type: ignore[attr-defined]
