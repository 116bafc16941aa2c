"""`lock && lock --check` holds, whatever the spec; and two people write the same bytes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import given, reject, settings
from hypothesis import strategies as st
from support.bench import Bench, each_bench
from support.lock_project import LockProject
from support.locks import package

from mllock.core.platform import host_platform
from mllock.errors import SpecError
from mllock.lock.format import dump_lock, parse_lock
from mllock.spec.reader import load_spec
from mllock.spec.requirements import declared, parts_of
from mllock.workflows.lock import Resolvers, check_lock, lock_project

__all__ = ["each_bench"]

OTHER = {"linux/amd64": "linux/arm64"}.get(host_platform(), "linux/amd64")


class Python:
    """One package for each name that is asked for, whatever the rest of the requirement."""

    name = "uv"

    def version(self) -> str:
        return "1"

    def resolve(self, request):
        return tuple(
            package(name) for name in sorted({parts_of(t)[0] for t in request.requirements})
        )


quoted = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t\"'\\"), max_size=6
).map(lambda text: json.dumps(text, ensure_ascii=False))
names = st.sampled_from(["alpha", "Beta_x", "gamma.y", "DELTA-z", "numpy", "a1"])
ranges = st.sampled_from(["", ">=1", " < 2, >=1.0", "==1.*", "!=1.5", "~=1.0", " (>=1)", "===1.0"])
markers = st.sampled_from(
    ["", "; python_version>='3.8'", ' ;sys_platform == "linux"', '; extra == "x" or os_name=="nt"']
)
extras = st.sampled_from(["", "[x]", "[y, X]"])
requirements = st.builds("{}{}{}{}".format, names, extras, ranges, markers)
constraints = st.builds("{}{}".format, names, ranges)
lists = st.lists


@st.composite
def specs(draw: st.DrawFn) -> dict[str, str]:
    """Files of a project: its spec, and what that names."""

    def array(strategy, key: str, **sizes) -> str:
        items = draw(lists(strategy, **sizes))
        return f"{key} = [{', '.join(json.dumps(item) for item in items)}]\n" if items else ""

    variables = draw(st.dictionaries(st.sampled_from(["OMP_NUM_THREADS", "A", "b_1"]), quoted))
    table = ", ".join(f"{name} = {value}" for name, value in variables.items())
    platforms = draw(st.permutations([host_platform(), OTHER]).map(lambda p: p[: 1 + len(p) % 2]))
    both = draw(st.booleans())
    environment = [
        f"platforms = {json.dumps([host_platform(), OTHER] if both else list(platforms))}\n",
        array(requirements, "dependencies", max_size=4),
        array(st.sampled_from(["libgomp1", "libstdc++6", "g++"]), "system-packages", max_size=3),
        'requirements = ["in.txt"]\n' if draw(st.booleans()) else "",
        'constraints = ["limits.txt"]\n' if draw(st.booleans()) else "",
        f"variables = {{ {table} }}\n" if draw(st.booleans()) else "",
        "bytecode = true\n" if draw(st.booleans()) else "",
        'debian-mirror = "http://example.org/debian"\n' if draw(st.booleans()) else "",
        'exclude-newer = "2026-11-01T00:00:00Z"\n' if draw(st.booleans()) else "",
    ]
    data = [
        '[data.one]\nsource = "train.csv"\nkey = ["a"]\n',
        '[data.two]\nsource = "many"\nrole = "test"\nexclude = ["*.md", "b*"]\n',
        '[data.three-3]\nsource = "many"\ninclude = ["**/*.csv", "a/**"]\npath = "else/where"\n',
    ]
    tables = [
        f"[project]\nname = 'wine'\ndescription = {draw(quoted)}\n",
        '[environment]\npython = "3.11"\nresolver = "uv"\n' + "".join(environment),
        *draw(lists(st.sampled_from(data), unique=True)),
        *draw(lists(st.sampled_from(["[builder]\nlayers = 7\n"]), max_size=1)),
        *draw(lists(st.sampled_from(['[train]\ncommand = ["x"]\nmodel = "m"\n']), max_size=1)),
    ]
    return {
        "mlproject.toml": "# made by chance\n\n".join(draw(st.permutations(tables))),
        "in.txt": "\n".join(draw(lists(requirements, max_size=3))) + "\n-c limits.txt\n",
        "limits.txt": "# at most\n" + "\n".join(draw(lists(constraints, max_size=2))),
        "many/a/x.csv": draw(st.sampled_from(["", "1,2\n"])),
        "many/b.csv": "b",
        "many/notes.md": "n",
        "train.csv": "a,b\n",
    }


@settings(max_examples=40)
@given(specs(), specs())
def test_after_lock_the_lock_is_current(first: dict[str, str], second: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = LockProject(Path(folder))
        resolvers = Resolvers(python=Python(), system=project.system)
        meanings = []
        for files in (first, second):
            for name, text in files.items():
                path = project.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            try:
                loaded = load_spec(project.folder / "mlproject.toml")
                declared(project.folder, loaded)
            except SpecError:
                reject()
            if meanings:
                stale = check_lock(project.ctx)
            lock = lock_project(project.ctx, resolvers=resolvers).lock
            assert check_lock(project.ctx) == ()
            assert check_lock(project.ctx, by_content=True) == ()
            data = project.path.read_bytes()
            assert dump_lock(parse_lock(data, "mlproject.lock")) == data == dump_lock(lock)
            assert lock_project(project.ctx, resolvers=resolvers).current
            meanings.append((lock.inputs.digest, lock.data))
        # Stale is what means another thing, and nothing else.
        assert bool(stale) == (meanings[0] != meanings[1])


def test_two_people_write_the_same_bytes(each_bench: Bench, tmp_path: Path) -> None:
    """Same spec, same previous lock, same index; all else is different."""
    index = each_bench.index
    for name in ("alpha", "beta", "gamma", "delta"):
        index.add(name, "1.0")
    written = []
    for who, mask, more in (
        ("one", 0o077, {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "1"}),
        ("the other", 0o002, {"TZ": "America/Lima", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"}),
    ):
        folder = tmp_path / who
        folder.mkdir()
        project = LockProject(folder)
        asked = f'"beta"]\nresolver = "{each_bench.resolver}"'
        project.change('"beta"]', asked)
        project.python.name = each_bench.resolver
        project.lock()
        project.change(asked, asked.replace('"beta"', '"beta", "gamma", "delta"'))
        environ = dict(each_bench.environ) | more
        environ |= {"HOME": str(folder), "MLLOCK_CACHE": str(folder / "cache")}
        environ |= {"XDG_CACHE_HOME": str(folder / "c"), "XDG_CONFIG_HOME": str(folder / "d")}
        done = subprocess.run(
            [sys.executable, "-m", "mllock", "lock", "--upgrade", "alpha", "--upgrade", "beta"],
            cwd=project.folder,
            env=environ,
            umask=mask,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        os.utime(project.folder / "train.csv", (0, 0))
        written.append(project.path.read_bytes())
    assert written[0] == written[1]
    assert re.search(rb'name = "gamma"\nversion = "1.0"', written[0])
    assert str(tmp_path).encode() not in written[0]
    assert b"127.0.0.1" not in written[0]
