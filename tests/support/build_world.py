"""Makes a world in DIR as a process of its own and prints what was built: for the rebuild matrix.

    python build_world.py DIR [reverse]

DIR/config may hold a key. With "reverse", the project's files are made again in another order.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

# This script's own folder goes: its debian.py is not the library of that name.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).parents[1]))

from support.world import World, make_world


def main() -> None:
    root = Path(sys.argv[1])
    world = make_world(root)
    if sys.argv[2:] == ["reverse"]:
        recreate(world)
    index = json.loads((world.oci / "index.json").read_text())
    print(json.dumps([entry["digest"] for entry in index["manifests"]]))


def recreate(world: World) -> None:
    from mllock.workflows.build import build_images

    files = [p for p in world.project.rglob("*") if p.is_file() and ".mllock" not in p.parts]
    contents = {path: path.read_bytes() for path in files}
    for path in files:
        path.unlink()
    for path in reversed(files):
        path.write_bytes(contents[path])
    shutil.rmtree(world.oci)
    build_images(world.context())


main()
