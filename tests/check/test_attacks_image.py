"""Images in the engine that only look like the one that was built."""

from __future__ import annotations

import json
import shutil

import pytest
from support.attacked import MODEL, SITE, Attacked
from support.world import OTHER, RUN, finding, paths, verdicts

from mllock.engine.docker import DockerEngine
from mllock.errors import InputError

ALL = {
    "signature": "proven",
    "lineage": "proven",
    "model": "proven",
    "environment": "proven",
    "code": "proven",
    "configuration": "proven",
    "behaviour": "not asked",
    "release": "not asked",
}


def committed(attacked: Attacked, script: str, *changes: str, image: str = "") -> str:
    """What `docker commit` makes of a container in which `script` ran: labels are kept."""
    made = attacked.run(image=image or attacked.tag)
    attacked.shell(made, script)
    tag = attacked.new_tag()
    options = [word for change in changes for word in ("--change", change)]
    attacked.docker("commit", *options, made, tag)
    return tag


def image_id(attacked: Attacked, tag: str) -> str:
    return attacked.docker("image", "inspect", "--format", "{{.Id}}", tag)


def test_untouched(attacked: Attacked) -> None:
    digest = image_id(attacked, attacked.tag)
    for target in (f"image:{attacked.tag}", f"image:{digest}", attacked.tag):
        report = attacked.check(target)
        assert verdicts(report) == ALL
        assert report.exit_code() == 0
        name = target.removeprefix("image:")
        assert report.chosen == (
            f"the image {name} of the container engine at {attacked.host}: {digest}"
        )
        assert report.run == RUN
        assert report.record == f"{RUN}/record.sigstore.json (named by the image statement)"
        assert {finding(report, claim).level for claim in ("model", "environment")} == {"A"}
    assert finding(report, "configuration").reason == (
        f"config {digest} and its 6 layers are those of the image statement"
    )


@pytest.mark.parametrize(
    ("script", "path", "claim"),
    [
        (f"echo x > {MODEL}/weights.bin", f"{MODEL}/weights.bin", "model"),
        (f"rm {MODEL}/weights.bin", f"{MODEL}/weights.bin", "model"),
        ("echo x >> /app/serve.py", "/app/serve.py", "code"),
        ("echo x > /app/json.py", "/app/json.py", "code"),
        (f"echo x > {SITE}/sitecustomize.py", f"{SITE}/sitecustomize.py", "environment"),
        (f"rm -r {SITE}/tiny_lib", f"{SITE}/tiny_lib", "environment"),
        ("echo x > /opt/mllock/x", "/opt/mllock/x", "lineage"),
    ],
)
def test_a_layer_on_top(attacked: Attacked, script: str, path: str, claim: str) -> None:
    report = attacked.check(f"image:{committed(attacked, script)}")
    assert verdicts(report)[claim] == "refuted"
    assert path in paths(report, claim)
    assert verdicts(report)["configuration"] == "refuted"
    assert report.exit_code() == 1


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ("ENV LD_PRELOAD=/tmp/x.so", "config.config.Env"),
        ('ENTRYPOINT ["/usr/bin/busybox"]', "config.config.Entrypoint"),
        ('CMD ["/usr/bin/busybox"]', "config.config.Cmd"),
        ("USER 0", "config.config.User"),
        ("WORKDIR /tmp", "config.config.WorkingDir"),
    ],
)
def test_the_config(attacked: Attacked, change: str, path: str) -> None:
    report = attacked.check(f"image:{committed(attacked, 'true', change)}")
    assert verdicts(report)["configuration"] == "refuted"
    assert any(found.startswith(path) for found in paths(report, "configuration"))
    assert report.exit_code() == 1


def test_layers_squashed_into_one(attacked: Attacked) -> None:
    """The same files and the same config, but not the layers that were trained in."""
    made = attacked.create()
    archive = attacked.world.root / "export.tar"
    tag = attacked.new_tag()
    attacked.docker("export", "--output", str(archive), made)
    attacked.docker("import", str(archive), tag)
    archive.unlink()
    report = attacked.check(f"image:{tag}")
    assert verdicts(report)["environment"] == "refuted"
    assert verdicts(report)["configuration"] == "refuted"
    assert report.exit_code() == 1


def test_a_package_layer_that_is_replaced_is_named(own: Attacked) -> None:
    from support.tamper import Layout, flip

    layout = Layout(own.world.oci)
    path = f"{SITE.removeprefix('/')}/tiny_lib/__init__.py"
    layout.edit(path, lambda _, data: flip(data))
    layout.save(repoint=True)
    tag = own.new_tag()
    archive = own.world.root / "layout.tar"
    copied(own, archive, tag)
    own.docker("load", "--input", str(archive))
    report = own.check(f"image:{tag}")
    assert paths(report, "environment")[0] == f"/{path}"
    assert verdicts(report)["model"] == "proven"
    assert report.exit_code() == 1


def copied(attacked: Attacked, archive, tag: str) -> None:
    import subprocess

    if shutil.which("skopeo") is None:
        pytest.skip("no skopeo: scripts/test installs it")
    places = (f"oci:{attacked.world.oci}:serve", f"docker-archive:{archive}:{tag}")
    subprocess.run(["skopeo", "--insecure-policy", "copy", "--quiet", *places], check=True)


def test_a_tag_that_moved(attacked: Attacked) -> None:
    """What the name names now is checked; `--run` says what it must be."""
    tag = attacked.new_tag()
    attacked.docker("tag", attacked.tag, tag)
    assert attacked.check(f"image:{tag}", run=RUN).exit_code() == 0
    attacked.docker("tag", attacked.older, tag)
    older = attacked.check(f"image:{tag}")
    assert (older.run, older.exit_code()) == (OTHER, 0)
    report = attacked.check(f"image:{tag}", run=RUN)
    assert paths(report, "model") == [f"{MODEL}/weights.bin"]
    assert verdicts(report)["lineage"] == "refuted"
    assert report.exit_code() == 1


def test_the_record_of_another_run(own: Attacked) -> None:
    """The image of one run that carries the record of another."""
    made = own.run()
    record = (own.world.other / "record.sigstore.json").read_bytes()
    own.put(made, "/opt/mllock/record.sigstore.json", record)
    tag = own.new_tag()
    own.docker("commit", made, tag)
    for target in (f"image:{tag}", f"container:{made}"):
        report = own.check(target, run=RUN)
        assert "/opt/mllock/record.sigstore.json" in paths(report, "lineage")
        assert report.exit_code() == 1
    other = own.check(f"container:{made}", run=OTHER)
    assert [verdicts(other)[claim] for claim in ("lineage", "model")] == ["refuted"] * 2
    assert paths(other, "model") == [f"{MODEL}/weights.bin"]


def test_an_image_that_is_none_of_ours(attacked: Attacked) -> None:
    made = attacked.create()
    attacked.docker("cp", made + ":/app", str(attacked.world.root / "app"))
    tag = attacked.new_tag()
    import subprocess

    tar = subprocess.run(
        ["tar", "-C", str(attacked.world.root), "-cf", "-", "app"], capture_output=True, check=True
    )
    shutil.rmtree(attacked.world.root / "app")
    attacked.docker("import", "-", tag, stdin=tar.stdout)
    report = attacked.check(f"image:{tag}")
    assert report.record.endswith("(the image names none that is known; this is the newest run)")
    assert verdicts(report)["environment"] == "refuted"
    assert report.exit_code() == 1


def test_a_training_image(own: Attacked, engine: DockerEngine) -> None:
    from mllock.workflows.build import build_images
    from mllock.workflows.load import load_image

    tag = own.new_tag()
    (built,) = build_images(own.world.context(), kinds=("train",)).images
    load_image(own.world.context(), engine, built.image, (tag,))
    made = own.create(image=tag)
    for target in (f"image:{tag}", f"container:{made}"):
        with pytest.raises(InputError) as caught:
            own.check(target)
        assert caught.value.message == (
            "a training image holds no model: there is nothing to check it against"
        )


def test_statements_that_are_gone(own: Attacked) -> None:
    """Bytes alone prove what the record says, and nothing that only the statement says."""
    shutil.rmtree(own.world.oci)
    for run in (own.world.run, own.world.other):
        (run / "serve-image.sigstore.json").unlink()
    made = own.create()
    for target in (f"image:{own.tag}", f"container:{made}"):
        report = own.check(target)
        assert verdicts(report) == ALL | {
            "signature": "unproven",
            "code": "unproven",
            "configuration": "unproven",
        }
        assert report.exit_code() == 3
    own.put(made, f"{SITE}/sitecustomize.py", b"x")
    report = own.check(f"container:{made}")
    assert paths(report, "environment") == [f"{SITE}/sitecustomize.py"]


def test_json(attacked: Attacked) -> None:
    from mllock.check.report import to_json

    value = to_json(attacked.check(f"image:{attacked.tag}"))
    assert json.loads(json.dumps(value))["exit-code"] == 0
    assert value["checked-bytes"] == value["expected-bytes"] > 0
