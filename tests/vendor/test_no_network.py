"""From a vendored folder alone: no network, another home, an empty cache, no data, no base."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.base_image import BaseImage, python_layer
from support.e2e import MLLOCK, no_network
from support.world import World, make_world

from mllock.workflows.vendor import vendor

TRAIN = """\
import pathlib, tiny_lib
rows = pathlib.Path("data/train.csv").read_text().split()
pathlib.Path("out/model").mkdir(parents=True)
pathlib.Path("out/model/weights.txt").write_text(f"{len(rows)} {tiny_lib.VERSION}")
"""


def without(world: World, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        no_network([str(MLLOCK), *words]),
        cwd=world.project,
        env={"HOME": str(world.root / "home"), "MLLOCK_ENGINE": "none", "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def test_everything_works_from_a_vendored_folder(tmp_path: Path) -> None:
    here = make_world(tmp_path / "here", image=BaseImage(layers=[python_layer()]))
    (here.project / "train.py").write_text(TRAIN)
    vendor(here.context())
    away = World(root=tmp_path / "away")
    shutil.copytree(here.project, away.project, ignore=shutil.ignore_patterns(".mllock"))
    shutil.rmtree(away.project / "base")
    shutil.rmtree(away.project / "data")
    (away.root / "home").mkdir()
    # What none of it has is missed: the test would see a way out of the folder.
    shutil.move(away.project / "vendor", away.root / "vendor")
    code, text = without(away, "build", "train")
    assert (code, "no such file or folder: 'data/train.csv'" in text) == (2, True), text
    code, text = without(away, "--offline", "sync")
    assert (code, text.splitlines()[-4:]) == (
        4,
        [
            "error: offline, and 2 files would have to be fetched",
            'expected: in the cache, or in a folder that "mllock vendor" made',
            "found: not there: other-2.0-py3-none-any.whl, tiny_lib-1.0-py3-none-any.whl",
            "hint: type it once without --offline, or name such a folder with MLLOCK_VENDOR",
        ],
    ), text
    shutil.move(away.root / "vendor", away.project / "vendor")
    data = away.project / "data" / "train.csv"
    for line, brought in (
        ("lock --check", False),
        ("vendor --check", False),
        ("sync", False),
        ("build train", False),
        ("train", True),
        ("lock --check --data", True),
    ):
        code, text = without(away, *line.split())
        assert (code, data.exists()) == (0, brought), f"mllock {line}\n{text}"
    subprocess.run(
        [away.project / ".venv" / "bin" / "python", "-c", "import tiny_lib, other"], check=True
    )
    assert data.read_bytes() == (here.project / "data" / "train.csv").read_bytes()
