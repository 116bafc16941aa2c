"""A project whose environment the engine's own builder makes, on the real base.

Its only package is a wheel of the tests, so that the environment is made in seconds; its spec, code
and model have the values that break Dockerfiles which are put together from strings. The
fixtures are in tests/e2e/conftest.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from mllock.engine.docker import DockerEngine
from support.containers import clean
from support.e2e import must

NASTY = "a \"b\" 'c' $PATH ${PATH} \\ \\n # `id` %s\t$(id)\\"
SPEC = r"""
[project]
name = "NAME"
version = "1.0 \"x\" $y"
description = '''
two lines, "quotes", $variables
and a \ backslash'''

[environment]
python = "3.11"
dependencies = ["tiny-lib"]
system-packages = ["libgomp1"]
bytecode = BYTECODE
variables = { NASTY = VALUE, LAST = "x\\" }

[train]
command = ["python", "train.py", "a b", "$PATH", "line\nend", "'q' \"r\" \\", "é\u2028"]
code = ["train.py", "with space/**"]
model = "out dir/model '$x'"
metrics = "metrics.json"
params = { word = "$HOME \"x\"" }

[serve]
command = ["python", "serve.py", "{port}"]
code = ["serve.py", "with space/**"]
port = 8080
health = "/health?a=$b'c"

[builder]
kind = "KIND"
"""
TRAIN = r"""
import json, os, pathlib, sys
import tiny_lib
print(json.dumps({"argv": sys.argv, "nasty": os.environ["NASTY"], "last": os.environ["LAST"],
    "lib": tiny_lib.__cached__, "user": os.getuid(), "folder": os.getcwd(),
    "files": sorted(str(p) for p in pathlib.Path(".").rglob("*") if p.is_file())}))
out = pathlib.Path("out dir") / "model '$x'"
out.mkdir(parents=True)
(out / "weights $a.bin").write_text("weights")
(out / "empty").mkdir()
pathlib.Path("metrics.json").write_text('{"score": 1}')
"""
SERVE = r"""
import http.server, sys
http.server.HTTPServer(("", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
CODE = {"train.py": TRAIN, "serve.py": SERVE, 'with space/"a" $b.txt': "1\n"}


def project(folder: Path, name: str, *, kind: str = "docker", bytecode: bool = True) -> Path:
    folder.mkdir()
    text = SPEC.replace("NAME", name).replace("KIND", kind).replace("VALUE", json.dumps(NASTY))
    (folder / "mlproject.toml").write_text(text.replace("BYTECODE", str(bytecode).lower()))
    for path, content in CODE.items():
        place = folder / path
        place.parent.mkdir(exist_ok=True)
        place.write_text(content)
    return folder


def remove(engine: DockerEngine, name: str) -> None:
    clean(engine, name)
    for image in engine.images():
        for tag in image.tags:
            if tag.startswith(f"{name}:"):
                engine.untag(tag)


def name_of(folder: Path) -> str:
    line = (folder / "mlproject.toml").read_text().splitlines()[2]
    return line.partition('"')[2].rstrip('"')


def left(engine: DockerEngine, name: str) -> list[str]:
    """Everything with a tag of this name."""
    return sorted(t for i in engine.images() for t in i.tags if t.startswith(f"{name}:"))


def verdicts(folder: Path, target: str, environ: dict[str, str], code: int) -> dict[str, str]:
    done = must(folder, "check", target, "--json", environ=environ, code=code)
    return {
        finding["claim"]: finding["verdict"]
        for finding in json.loads(done.stdout)["findings"]
        if finding["verdict"] != "not asked"
    }


PROVEN = dict.fromkeys(
    ("signature", "lineage", "model", "environment", "code", "configuration"), "proven"
)


def said_by(output: str) -> dict[str, Any]:
    line = next(line for line in output.splitlines() if line.startswith("{"))
    return dict(json.loads(line))


def with_wheels_only(environ: dict[str, str], place: Path) -> dict[str, str]:
    """A cache with all that a lock pins, and nothing that was made of it."""
    cache = place / "cache"
    shutil.copytree(Path(environ["MLLOCK_CACHE"]) / "blobs", cache / "blobs")
    return environ | {"MLLOCK_CACHE": str(cache)}
