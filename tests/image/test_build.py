"""`mllock build` on a small world: what it makes, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.world import OTHER, RUN, World

from mllock.attest.bundle import read_bundle
from mllock.attest.image_statement import read_image_statement
from mllock.cli.main import run
from mllock.core.digest import Digest
from mllock.errors import ArchiveError, MllockError, RunError, SpecError
from mllock.image.environment import document_of_config
from mllock.store.layout_reader import open_layout
from mllock.workflows.build import BuildResult, build_images

SCRIPT = Path(__file__).parents[1] / "support" / "build_world.py"


def build(world: World, *kinds: str, **options) -> BuildResult:
    return build_images(world.context(), kinds, **options)


def digests(result: BuildResult) -> dict[str, Digest]:
    return {built.image.kind: built.image.manifest_digest for built in result.images}


def refused(world: World, *kinds: str, **options) -> MllockError:
    before = tree(world.oci)
    with pytest.raises(MllockError) as caught:
        build(world, *kinds, **options)
    assert tree(world.oci) == before
    return caught.value


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_both_images_have_one_environment(world: World) -> None:
    result = build(world)
    train, serve = (built.image for built in result.images)
    assert (train.kind, serve.kind) == ("train", "serve")
    assert train.environment == serve.environment == result.environment.digest
    shared = len(result.environment.layers)
    assert train.layers[:shared] == serve.layers[:shared] == result.environment.layers
    assert [layer.kind for layer in serve.layers[shared:]] == ["code", "model", "record"]
    assert [layer.kind for layer in train.layers[shared:]] == ["code"]
    for image in (train, serve):
        config = json.loads(image.config)
        assert document_of_config(config, shared) == result.environment.document
        assert config["config"]["Labels"]["mllock.environment"] == result.environment.digest
        assert config["created"] == "1970-01-01T00:00:00Z"
        assert len(config["history"]) == len(image.layers)
    assert json.loads(train.config)["config"]["Cmd"] == ["python", "train.py", "--alpha", "0.5"]
    assert json.loads(serve.config)["config"]["ExposedPorts"] == {"8080/tcp": {}}


def test_statements(world: World) -> None:
    result = build(world)
    layout = open_layout(world.oci)
    for built in result.images:
        payload = read_bundle(built.statement).payload
        statement = read_image_statement(payload)
        assert statement.manifest_digest == built.image.manifest_digest
        assert statement.config == json.loads(built.image.config)
        assert [x.diff_id for x in statement.layers] == [x.diff_id for x in built.image.layers]
        kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
        assert layout.referrers(built.image.manifest_digest, kind) == (built.statement,)
    assert (world.run / "serve-image.sigstore.json").read_bytes() == result.images[1].statement


def test_nothing_of_the_time_or_the_folder(world: World, tmp_path: Path) -> None:
    first = digests(build(world))
    before = tree(world.oci)
    for path in world.project.rglob("*.py"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    moved = World(root=tmp_path / "elsewhere")
    shutil.copytree(world.root, moved.root)
    shutil.rmtree(moved.root / "cache" / "layers" / "nothing", ignore_errors=True)
    assert digests(build(moved)) == first
    assert tree(moved.oci) == before


def test_an_exec_bit_is_content(world: World) -> None:
    first = digests(build(world))
    (world.project / "train.py").chmod(0o755)
    second = digests(build(world))
    assert second["train"] != first["train"]
    assert second["serve"] == first["serve"]


def test_one_kind_keeps_the_other(world: World) -> None:
    first = digests(build(world))
    (world.project / "train.py").write_text("print('changed')\n")
    assert list(digests(build(world, "train"))) == ["train"]
    layout = open_layout(world.oci)
    assert layout.refs == ("serve", "train")
    assert layout.image("serve").manifest_digest == first["serve"]
    assert layout.image("train").manifest_digest != first["train"]
    assert list(digests(build(world, "serve"))) == ["serve"]


def test_another_run(world: World) -> None:
    newest, other = build(world, "serve"), build(world, "serve", run_id=OTHER)
    assert (newest.images[0].run, other.images[0].run) == (RUN, OTHER)
    assert digests(newest) != digests(other)
    assert digests(build(world, run_id="20261122"))["serve"] == digests(other)["serve"]


def test_no_run_yet(world: World) -> None:
    shutil.rmtree(world.project / ".mllock" / "runs")
    error = refused(world, "serve")
    assert isinstance(error, RunError)
    assert str(error) == (
        'no run of this lock: there is no model to serve\nhint: make one with "mllock train"'
    )
    ctx = world.context()
    result = build_images(ctx)
    assert list(digests(result)) == ["train"]
    note = 'note: no run of this lock yet: only the train image; see "mllock train"'
    assert note in ctx.reporter.lines


def test_no_serve_table(world: World) -> None:
    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text().partition("[serve]")[0])
    assert list(digests(build(world))) == ["train"]
    error = refused(world, "serve")
    assert isinstance(error, SpecError)
    assert str(error) == (
        "mlproject.toml: serve: a serve image needs a [serve] table\n"
        "hint: say there what is to be served: command, port"
    )


def test_a_stale_lock(world: World) -> None:
    spec = world.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace('["tiny-lib"]', '["tiny-lib", "other"]'))
    assert refused(world).exit_code == 2


def forget_layers(world: World) -> None:
    """Only the base stays: its debs are not in this world."""
    for path in (world.root / "cache" / "layers").iterdir():
        if json.loads(path.read_bytes())["key"]["kind"] != "base":
            path.unlink()


def wheel_blob(world: World, name: str) -> Path:
    import tomllib

    lock = tomllib.loads((world.project / "mlproject.lock").read_text())
    (package,) = [p for p in lock["python"]["packages"] if p["name"] == name]
    digest = Digest(f"sha256:{package['wheels'][0]['hashes']['sha256']}")
    return world.context().cache.blob_path(digest)


def test_a_cold_cache_gives_the_same(world: World) -> None:
    first = digests(build(world))
    forget_layers(world)
    assert digests(build(world)) == first


def test_a_tampered_wheel_in_the_cache_is_fetched_again(world: World, monkeypatch) -> None:
    blob = wheel_blob(world, "tiny-lib")
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[40] ^= 1
    blob.write_bytes(data)
    forget_layers(world)
    asked = []

    class Fetched(Exception):  # noqa: N818 - a signal of this test's
        pass

    def pip(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise Fetched

    monkeypatch.setattr("mllock.lock.locked.Pip", pip)
    before = tree(world.oci)
    with pytest.raises(Fetched):
        build(world)
    assert tree(world.oci) == before
    assert len(asked) == 1
    assert not blob.exists()


# ----- the command -----


def command(world: World, *arguments: str, monkeypatch) -> int:
    for name, value in world.context().environ.items():
        monkeypatch.setenv(name, value)
    return run(["--project", str(world.project), "build", *arguments])


def test_the_command(world: World, monkeypatch, capsys) -> None:
    assert command(world, monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    result = build(world)
    assert out.splitlines()[0] == "environment, the same in each image"
    assert out.count(result.environment.digest) == 1
    for built in result.images:
        assert f"  {built.image.manifest_digest}\n" in out
    assert f"serve, run {RUN}\n" in out
    assert out.splitlines()[-1] == f"written to oci:{world.oci}"


def test_the_command_in_json(world: World, tmp_path: Path, monkeypatch, capsys) -> None:
    where = f"oci:{tmp_path / 'there'}"
    assert command(world, "serve", "--json", "--output", where, monkeypatch=monkeypatch) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["output"] == where
    (image,) = document["images"]
    assert (image["kind"], image["run"]) == ("serve", RUN)
    assert image["environment"] == document["environment"]
    assert open_layout(tmp_path / "there").image("serve").manifest_digest == image["manifest"]


OUTPUTS = {
    "oci:": "--output oci:: not an output\nexpected: oci:DIR, docker or registry:HOST/REPO[:TAG]",
    "folder": (
        "--output folder: not an output\nexpected: oci:DIR, docker or registry:HOST/REPO[:TAG]"
    ),
    "registry:x": (
        "x: the host of the registry is missing or malformed\n"
        "expected: HOST[:PORT]/REPO[:TAG|@DIGEST]"
    ),
    f"registry:example.org/x@sha256:{'0' * 64}": (
        f"example.org/x@sha256:{'0' * 64}: an image cannot be put under a digest\n"
        "hint: give a tag, or nothing"
    ),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_outputs_that_are_none(world: World, output: str, monkeypatch, capsys) -> None:
    assert command(world, "--output", output, monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err == f"error: {OUTPUTS[output]}\n"


def test_a_run_for_a_train_image(world: World, monkeypatch, capsys) -> None:
    assert command(world, "train", "--run", RUN, monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err == (
        'error: --run is about the serve image\nhint: try "mllock build serve --run ID"\n'
    )


# ----- the rebuild matrix and faults -----


def test_the_rebuild_matrix(whole: World, tmp_path: Path) -> None:
    """Folder, umask, time zone, language, hash seed, order of files: the same manifests."""
    found = []
    for number, (umask, order, environ) in enumerate(
        [
            ("000", "as-is", {"TZ": "UTC", "PYTHONHASHSEED": "0", "LANG": "C"}),
            ("077", "reverse", {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "LANG": "tr_TR.UTF-8"}),
        ]
    ):
        root = tmp_path / f"folder {number}" / ("deep" * number or "d")
        shutil.copytree(whole.root / "config", root / "config")
        done = subprocess.run(
            [
                "sh",
                "-c",
                f'umask {umask}; exec "$@"',
                "-",
                sys.executable,
                str(SCRIPT),
                str(root),
                order,
            ],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    assert len(found[0]) == 6
    assert set(found[0]) == {d.digest for d in open_layout(whole.oci).manifests}


def start(world: World, *arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from mllock.cli.main import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, "--project", str(world.project), "build", *arguments],
        env={**os.environ, **world.context().environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_builds_at_once(world: World) -> None:
    expected = digests(build(world))
    forget_layers(world)
    shutil.rmtree(world.oci)
    running = [start(world, "--json") for _ in range(4)]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert {i["kind"]: i["manifest"] for i in json.loads(out)["images"]} == expected
    layout = open_layout(world.oci)
    assert {ref: layout.image(ref).manifest_digest for ref in layout.refs} == expected


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_anywhere(world: World, sent: signal.Signals) -> None:
    expected = digests(build(world))
    codes = set()
    for delay in (0.15, 0.3, 0.4, 0.5, 0.6):
        forget_layers(world)
        process = start(world)
        time.sleep(delay)
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
        codes.add(process.returncode)
        assert "Traceback" not in err or "KeyboardInterrupt" in err
        layout = open_layout(world.oci)
        assert {ref: layout.image(ref).manifest_digest for ref in layout.refs} == expected
    assert codes <= {0, 130, -sent}
    assert digests(build(world)) == expected
    left = [p for p in world.oci.rglob("*") if p.is_file() and "tmp" in p.name]
    assert left == [] or sent == signal.SIGKILL


@pytest.mark.tools
def test_a_full_disk(world: World, tmp_path: Path) -> None:
    """The cache on a file system of 64 kB: one clear message, exit code 4, nothing half-written."""
    expected = digests(build(world))
    shutil.rmtree(world.oci)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "none", str(small)], check=True)
    try:
        process = start(world, "--output", f"oci:{small / 'oci'}")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 4, err
        assert "no space left on device" in err or "no space left on the disk" in err
        assert not (small / "oci" / "index.json").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert digests(build(world)) == expected


def test_modes_are_exact(world: World) -> None:
    shutil.rmtree(world.oci)
    old = os.umask(0o077)
    try:
        build(world)
    finally:
        os.umask(old)
    for name in ("index.json", "oci-layout"):
        assert stat.S_IMODE((world.oci / name).stat().st_mode) == 0o644


def test_a_hostile_wheel_of_the_lock(world: World, monkeypatch) -> None:
    """A wheel whose digest is that of the lock and whose content lies: refused, by name."""
    data = wheel_blob(world, "tiny-lib").read_bytes() + b"trailing"
    cache = world.context().cache
    path = cache.blob_path(cache.put_bytes(data))
    monkeypatch.setattr(
        "mllock.lock.locked.fetch_wheels",
        lambda packages, _blobs, **_: {package.wheels[0].name: path for package in packages},
    )
    forget_layers(world)
    error = refused(world)
    assert isinstance(error, ArchiveError)
    assert str(error) == (
        "other-2.0-py3-none-any.whl: not a zip archive, or one with bytes after its end"
    )
