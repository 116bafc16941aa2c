"""`mllock diff`, typed: runs, locks, models, revisions; and what cannot be compared."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.arrays import npz, safetensors
from support.judged_runs import MODEL_RESULTS, put_all, put_gates
from support.training import lock_of, put_wheels
from support.typed import Typed, typed_in
from support.world import OTHER, RUN, SPEC, World, make_run, make_world

from mllock.core import canonical
from mllock.data.scan import scan
from mllock.lock.format import dump_lock, read_lock, seal

A = np.arange(12, dtype="f4").reshape(3, 4)
OLD = {
    "m.safetensors": safetensors(x=A, y=A),
    "w.npz": npz(a=A, b=A),
    "config.json": b'{"depth": 3}\n',
    "m.joblib": b"\x80\x04one",
    "old.bin": b"\x00",
    "run.sh": b"#!\n",
}
NEW = {
    "m.safetensors": safetensors(x=A + 1, y=A),
    "w.npz": npz(a=A, b=A * 2),
    "config.json": b'{"depth": 4}\n',
    "m.joblib": b"\x80\x04two",
    "new.bin": b"\x00",
    "run.sh": b"#!\n",
}


def git(world: World, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words],
        cwd=world.project,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two runs, a commit after the first; between them everything changed that can."""
    spec = SPEC.replace('model = "out/model"', 'model = "out/model"\nmetrics = "metrics.json"')
    world = make_world(tmp_path_factory.mktemp("diff"), spec=spec)
    ctx = world.context()
    shutil.rmtree(ctx.runs)
    (world.project / ".gitignore").write_text(".mllock/\n")
    git(world, "init", "-q")
    git(world, "add", "-A")
    git(world, "commit", "-qm", "one")
    first = read_lock(world.project / "mlproject.lock")
    metrics = canonical.dumps({"rmse": 0.5, "rows": 2})
    make_run(ctx, first, OTHER, OLD, extra={"metrics.json": metrics})
    (world.project / "train.py").write_text("print('another program')\n")
    (world.project / "new.py").write_text("1\n")
    (world.project / "data/train.csv").write_text('a\n1\n7\n"8\n9"\n')
    packages = put_wheels(ctx.cache, {("tiny-lib", "1.1"): None, ("third", "2.0"): None})
    lock = lock_of(ctx.project, packages)
    base = msgspec.structs.replace(
        lock.base, python=first.base.python, interpreter=first.base.interpreter
    )
    lock = seal(msgspec.structs.replace(lock, base=base))
    (world.project / "mlproject.lock").write_bytes(dump_lock(lock))
    metrics = canonical.dumps({"rmse": 0.25, "rows": 3})
    make_run(ctx, lock, RUN, NEW, extra={"metrics.json": metrics})
    put_all(world.run, world.key)
    put_gates(world.other, "model", MODEL_RESULTS[:1], world.key)
    return world


@pytest.fixture
def world(whole: World, tmp_path: Path) -> World:
    return whole.copy(tmp_path / "w")


@pytest.fixture
def typed(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Typed:
    monkeypatch.delenv("MLLOCK_KEY", raising=False)
    return typed_in(world.context(), monkeypatch, capfd)


def section(out: str, name: str) -> list[str]:
    """The lines of a section, single spaces."""
    lines = out.split(f"\n{name}\n")[1].split("\n\n", maxsplit=1)[0].rstrip("\n").split("\n")
    return [" ".join(line.split()) for line in lines]


def test_two_runs(typed: Typed) -> None:
    code, out, err = typed("diff", "20261122", "20261123")
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == [
        f"A  run    {OTHER}  (tiny 1.2.3, signature: own key)",
        f"B  run    {RUN}  (tiny 1.2.3, signature: own key)",
    ]
    assert section(out, "metrics") == [
        "~ rmse 0.5 -> 0.25 -0.25 better",
        "~ rows 2 -> 3 +1 better",
        "+ test/accuracy 0.93",
        "+ test/recall 0.85",
    ]
    assert section(out, "gates")[0] == (
        "+ leakage.rows: train, test failed 2 rows of test are in train"
    )
    assert section(out, "packages") == ["- other 2.0", "+ third 2.0", "~ tiny-lib 1.0 -> 1.1"]
    assert section(out, "data")[1:] == ["rows: 2 added, 1 removed"]
    code_lines = section(out, "code")
    assert code_lines[0].startswith("+ new.py 2 bytes, sha256:")
    assert code_lines[2:4] == ["--- a/train.py", "+++ b/train.py"]
    assert "-import tiny_lib" in code_lines
    assert code_lines[-1] == "+print('another program')"
    assert out.endswith("\nthe same: params, declared, base, debs\n")


def test_models(typed: Typed) -> None:
    out = typed("diff")[1]
    lines = [line for line in section(out, "model") if "sha256:" not in line]
    assert lines == [
        "--- a/config.json",
        "+++ b/config.json",
        "@@ -1 +1 @@",
        '-{"depth": 3}',
        '+{"depth": 4}',
        "x float32 [3, 4] 12 of 12 values differ, largest difference 1",
        "> old.bin -> new.bin",
        "b float32 [3, 4] 11 of 12 values differ, largest difference 11",
    ]
    # The same of the folders, and of single files whatever they are called.
    folders = [f".mllock/runs/{run}/model" for run in (OTHER, RUN)]
    assert section(typed("diff", *folders)[1], "model") == section(out, "model")
    files = [f"{folder}/w.npz" for folder in folders]
    assert section(typed("diff", *files)[1], "model")[1:] == [lines[-1]]


def test_what_is_alike(typed: Typed, world: World) -> None:
    for words in ((RUN, RUN), (RUN, str(world.run)), ("mlproject.lock", ".")):
        code, out, _ = typed("diff", *words, "--exit-code")
        assert code == 0
        assert out.splitlines()[3].startswith("the same: ")
    assert typed("diff", OTHER, RUN, "--exit-code")[0] == 1
    # A run has a lock, and a model.
    assert typed("diff", RUN, "mlproject.lock", "--exit-code")[0] == 0
    assert typed("diff", RUN, f".mllock/runs/{RUN}/model", "--exit-code")[0] == 0


def test_a_revision_is_its_lock(typed: Typed) -> None:
    code, out, err = typed("diff", "HEAD")
    assert (code, err) == (0, "")
    assert out.startswith("A  lock   mlproject.lock of HEAD  (commit ")
    assert section(out, "packages") == ["- other 2.0", "+ third 2.0", "~ tiny-lib 1.0 -> 1.1"]
    assert section(out, "data")[1:] == ["rows: 2 added, 1 removed"]


def test_json(typed: Typed) -> None:
    value = json.loads(typed("diff", "--json")[1])
    assert (value["a"]["name"], value["b"]["name"], value["differs"]) == (OTHER, RUN, True)
    assert value["sections"]["metrics"]["items"][0] == {
        "name": "rmse",
        "change": "changed",
        "old": "0.5",
        "new": "0.25",
        "remark": "-0.25 better",
        "lines": [],
        "old-value": 0.5,
        "new-value": 0.25,
        "difference": -0.25,
        "better": True,
    }
    (arrays,) = (
        item["arrays"]
        for item in value["sections"]["model"]["items"]
        if item["name"] == "m.safetensors"
    )
    assert arrays == [
        {
            "name": "x",
            "change": "changed",
            "old": "float32 [3, 4]",
            "new": "float32 [3, 4]",
            "count": 12,
            "differing": 12,
            "largest": 1,
            "nan": 0,
        }
    ]
    (data,) = value["sections"]["data"]["items"]
    assert data["rows"] == {"added": 2, "removed": 1}


def test_what_is_not_here_is_said(typed: Typed, world: World) -> None:
    """Without git, of the first run there are digests alone."""
    shutil.rmtree(world.project / ".git")
    (world.project / "new.py").unlink()
    out = typed("diff")[1]
    assert section(out, "code")[-1] == "its text before is not here, only its digest"
    assert section(out, "data")[1:] == ["its rows before are not here, only the digest"]
    (world.other / "code.manifest").write_bytes(b"mllock-tree\t1\n")
    out = typed("diff")[1]
    assert "code: which files is not known: a code.manifest is missing, or is another one" in out


def test_a_file_that_was_changed_since_is_not_compared(typed: Typed, world: World) -> None:
    path = world.run / "model" / "w.npz"
    path.write_bytes(npz(a=A, b=A * 3))
    lines = section(typed("diff")[1], "model")
    assert lines[-1] == "the file after is not the one that was recorded"


def test_one_run_that_was_not_judged(typed: Typed, world: World) -> None:
    for name in ("model-gates.json", "model-gates.sigstore.json"):
        (world.other / name).unlink()
    out = typed("diff")[1]
    assert out.endswith(f"\ngates: {OTHER} was not judged\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("nope",),
            'error: "nope" is no path, no run and no git revision\n'
            'hint: see "mllock runs", or name a lock, the folder or file of a model, or a '
            "revision\n",
        ),
        (
            ("20261123-081501-k3fa",),
            'error: "20261123-081501-k3fa" is no path, no run and no git revision\n'
            f'hint: did you mean "{RUN}"?\n',
        ),
        (
            ("2026112",),
            f'error: more than one run starts with "2026112"\nfound: {RUN}, {OTHER}\n',
        ),
        (
            ("mlproject.lock", f".mllock/runs/{RUN}/model"),
            "error: a lock and a model have nothing in common to compare\n"
            f"found: mlproject.lock, .mllock/runs/{RUN}/model\n"
            "hint: compare two runs, two locks or two models; a run has a lock and a model\n",
        ),
        (
            (RUN,),
            f"error: nothing to compare {RUN} with\n"
            "hint: name a second run, lock, model or git revision\n",
        ),
        (
            ("--", "--upload-pack=x"),
            'error: "--upload-pack=x" is no path, no run and no git revision\n'
            'hint: see "mllock runs", or name a lock, the folder or file of a model, or a '
            "revision\n",
        ),
    ],
)
def test_bad_input(typed: Typed, words: tuple[str, ...], message: str) -> None:
    assert typed("diff", *words) == (2, "", message)


def test_fewer_than_two_runs(typed: Typed, world: World) -> None:
    shutil.rmtree(world.other)
    assert typed("diff") == (
        2,
        "",
        "error: there are no two good runs to compare\nfound: 1 of 1 runs\n"
        "hint: name two of: a run, a lock, a model, a git revision\n",
    )


def folder_lock(world: World, path: str) -> None:
    """`folder.lock`: as the lock, with data that is the folder `path` of the project."""
    lock = read_lock(world.project / "mlproject.lock")
    tree = scan((world.project / path).resolve(), name=path)
    pin = msgspec.structs.replace(
        lock.data["train"], path=path, kind="folder", files=tree.files, tree=tree.digest
    )
    changed = seal(msgspec.structs.replace(lock, data={"train": pin}))
    (world.project / "folder.lock").write_bytes(dump_lock(changed))


def test_files_of_a_folder(typed: Typed, world: World) -> None:
    lib = world.project / "lib"
    for name, text in (("rows.csv", "a\n1\n2\n"), ("old.txt", "moved"), ("gone.txt", "gone")):
        (lib / name).write_text(text)
    (lib / "helper.py").chmod(0o755)
    (lib / "link").symlink_to("rows.csv")
    folder_lock(world, "lib")
    (world.project / "folder.lock").rename(world.project / "first.lock")
    (lib / "rows.csv").write_text("a\n2\n3\n4\n")
    (lib / "old.txt").rename(lib / "new.txt")
    (lib / "gone.txt").unlink()
    folder_lock(world, "lib")
    assert section(typed("diff", "first.lock", "folder.lock")[1], "data")[1:] == [
        "its files before are not here, only the digest of all of them"
    ]
    # The same, committed: of a revision, git has the files that the project has no more.
    (world.project / "folder.lock").rename(world.project / "second.lock")
    (world.project / "first.lock").rename(world.project / "mlproject.lock")
    (lib / "rows.csv").write_text("a\n1\n2\n")
    (lib / "new.txt").rename(lib / "old.txt")
    (lib / "gone.txt").write_text("gone")
    git(world, "add", "-A")
    git(world, "commit", "-qm", "two")
    (lib / "rows.csv").write_text("a\n2\n3\n4\n")
    (lib / "old.txt").rename(lib / "new.txt")
    (lib / "gone.txt").unlink()
    assert section(typed("diff", "HEAD", "second.lock")[1], "data")[1:] == [
        "removed gone.txt",
        "moved old.txt -> new.txt",
        "changed rows.csv: 2 rows added, 1 removed",
    ]


def test_nothing_outside_of_the_project_is_read(typed: Typed, world: World) -> None:
    """A lock may come from anywhere; where a link leads out, the answer is as if nothing were."""
    (world.project / "out").symlink_to(world.root / "config")
    folder_lock(world, "out")
    assert section(typed("diff", "mlproject.lock", "folder.lock")[1], "data")[1:] == [
        "its files after are not here, only the digest of all of them"
    ]
    lock = read_lock(world.project / "mlproject.lock")
    pin = msgspec.structs.replace(lock.data["train"], path="../..")
    hostile = seal(msgspec.structs.replace(lock, data={"train": pin}))
    (world.project / "hostile.lock").write_bytes(dump_lock(hostile))
    code, out, err = typed("diff", "mlproject.lock", "hostile.lock")
    assert (code, out) == (2, "")
    assert err.startswith("error: hostile.lock: data.train.path: ")


def test_without_the_extra(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numpy and polars come with mllock[gates]: what needs neither does without, and `diff` says
    what it could not look into."""
    assert "float32" in typed("diff")[1]
    for name in ("numpy", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if name.startswith("mllock.gates")]:
        monkeypatch.delitem(sys.modules, name)
    for words in (("runs",), ("show",), ("report", "-o", "-"), ("diff", "HEAD")):
        assert typed(*words)[0] == 0
    lines = section(typed("diff")[1], "model")
    assert lines.count("compared by digest: arrays need numpy, which comes with mllock[gates]") == 2
