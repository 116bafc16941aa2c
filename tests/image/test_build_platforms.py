"""`mllock build` for several platforms: one index under a name, an environment for each of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.world import RUN, World
from support.world_platforms import AMD, ARM, BOTH, make_two

from mllock.attest.bundle import read_bundle
from mllock.attest.image_statement import read_image_statement
from mllock.cli.main import run
from mllock.core.digest import sha256_of
from mllock.errors import InputError, RunError
from mllock.image.environment import document_of_config
from mllock.lock.format import read_lock
from mllock.lock.platforms import narrowed
from mllock.spec.reader import load_spec
from mllock.store.layout_reader import open_layout
from mllock.store.oci_json import MEDIA_BUNDLE, MEDIA_SBOM
from mllock.train.runs import open_run
from mllock.workflows.build import build_images
from mllock.workflows.environment import environment_of
from mllock.workflows.parts import refuse_another


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_two(tmp_path_factory.mktemp("two"))


@pytest.fixture
def two(made: World, tmp_path: Path) -> World:
    copy = made.copy(tmp_path / "w")
    shutil.copytree(made.root / "cache", copy.root / "cache", symlinks=True)
    return copy


def test_an_environment_for_each_and_the_rest_in_common(two: World) -> None:
    result = build_images(two.context())
    assert result.kinds == ("train", "serve")
    assert tuple(result.environments) == BOTH
    amd, arm = result.environments.values()
    assert (amd.document["architecture"], arm.document["architecture"]) == ("amd64", "arm64")
    # base, the pure package, and the one with a wheel for each platform.
    same = [a.digest == b.digest for a, b in zip(amd.layers, arm.layers, strict=True)]
    assert same == [False, True, False]
    for kind in result.kinds:
        for built, environment in zip(result.of(kind), (amd, arm), strict=True):
            shared = len(environment.layers)
            assert built.image.layers[:shared] == environment.layers
            assert built.image.environment == environment.digest
            config = json.loads(built.image.config)
            assert document_of_config(config, shared) == environment.document
            assert config["config"]["Labels"]["mllock.environment"] == environment.digest
        one, other = (built.image.layers[3:] for built in result.of(kind))
        assert one == other


def test_the_layout_and_its_statements(two: World) -> None:
    result = build_images(two.context())
    for platform in BOTH:
        layout = open_layout(two.oci, platform)
        assert layout.refs == ("serve", "train")
        for kind in result.kinds:
            image = layout.image(kind)
            (statement,) = layout.referrers(image.manifest_digest, MEDIA_BUNDLE)
            said = read_image_statement(read_bundle(statement).payload)
            assert (said.platform, said.kind) == (platform, kind)
            assert said.environment == result.environments[platform].digest
            assert said.config_digest == image.config_digest


def test_again_gives_the_same_bytes(two: World) -> None:
    def tree() -> dict[str, bytes]:
        found = (path for path in two.oci.rglob("*") if path.is_file())
        return {str(path.relative_to(two.oci)): path.read_bytes() for path in found}

    build_images(two.context())
    before = tree()
    build_images(two.context())
    assert tree() == before


@pytest.mark.parametrize("platform", BOTH)
def test_one_platform_is_built_as_if_the_lock_were_for_it_alone(
    two: World, platform: str, tmp_path: Path
) -> None:
    both = build_images(two.context())
    alone = build_images(two.context(), output=tmp_path / "one", platform=platform)
    assert tuple(alone.environments) == (platform,)
    digests = {built.image.manifest_digest for built in alone.images}
    assert digests < {built.image.manifest_digest for built in both.images}
    types = {entry.media_type for entry in open_layout(tmp_path / "one").manifests}
    assert types == {"application/vnd.oci.image.manifest.v1+json"}


def test_a_platform_that_the_lock_is_not_for(world: World) -> None:
    with pytest.raises(InputError) as caught:
        build_images(world.context(), platform=ARM)
    assert str(caught.value) == (
        "mlproject.lock: the lock is not for linux/arm64\nfound: linux/amd64\n"
        "hint: name it in [environment] platforms, then run: mllock lock"
    )


def test_the_statement_beside_the_run_is_of_the_platform_that_trained(two: World) -> None:
    path = two.run / "serve-image.sigstore.json"
    build_images(two.context())
    before = path.read_bytes()
    said = read_image_statement(read_bundle(before).payload)
    assert said.platform == AMD
    build_images(two.context(), ("serve",), platform=ARM)
    assert path.read_bytes() == before


def test_another_environment_counts_on_the_platform_that_trained(two: World) -> None:
    ctx = two.context()
    loaded = load_spec(two.project / "mlproject.toml")
    lock = read_lock(two.project / "mlproject.lock")
    run = open_run(ctx.runs, RUN)
    for platform in BOTH:
        built = environment_of(ctx, loaded, narrowed(lock, platform))
        refuse_another(loaded, built, run)
        other = replace(built, digest=sha256_of(b"another"))
        if platform == ARM:
            refuse_another(loaded, other, run)
            continue
        with pytest.raises(RunError) as caught:
            refuse_another(loaded, other, run)
        assert str(caught.value) == (
            f"{RUN}: the run was trained in another environment\n"
            f"expected: {other.digest}\nfound: {built.digest}\n"
            'hint: train again with "mllock train"'
        )


def command(world: World, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    for name, value in world.context().environ.items():
        monkeypatch.setenv(name, value)
    return run(["--project", str(world.project), "build", *arguments])


def test_the_command(two: World, monkeypatch, capsys) -> None:
    assert command(two, monkeypatch=monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    result = build_images(two.context())
    for platform, environment in result.environments.items():
        at = lines.index(f"environment on {platform}, the same in each image")
        assert lines[at + 4] == f"  {environment.digest}"
    for kind in result.kinds:
        at = lines.index(f"serve, run {RUN}" if kind == "serve" else kind)
        for built in result.of(kind):
            line = f"  {built.image.manifest_digest}  {built.image.platform}"
            assert line in lines[at:]


def test_the_command_for_one_in_json(two: World, monkeypatch, capsys) -> None:
    assert command(two, "train", "--platform", ARM, "--json", monkeypatch=monkeypatch) == 0
    document = json.loads(capsys.readouterr().out)
    (image,) = document["images"]
    assert image["platform"] == ARM
    assert document["environments"] == {ARM: image["environment"]}
    assert document["environment"] == image["environment"]
    assert command(two, "--json", monkeypatch=monkeypatch) == 0
    document = json.loads(capsys.readouterr().out)
    assert tuple(document["environments"]) == BOTH
    assert "environment" not in document
    assert command(two, "--platform", "linux/riscv64", monkeypatch=monkeypatch) == 2
    assert "linux/riscv64" in capsys.readouterr().err


@pytest.mark.tools
@pytest.mark.parametrize("platform", BOTH)
def test_skopeo_reads_the_index(two: World, platform: str) -> None:
    build_images(two.context())
    architecture = platform.partition("/")[2]
    tool = ["skopeo", f"--override-arch={architecture}", "inspect", "--config"]
    done = subprocess.run([*tool, f"oci:{two.oci}:serve"], capture_output=True, check=True)
    expected = open_layout(two.oci, platform).image("serve").config_value
    assert json.loads(done.stdout)["rootfs"] == expected["rootfs"]
    assert json.loads(done.stdout)["architecture"] == architecture


def test_each_image_has_its_own_bill_of_materials(two: World, monkeypatch, capfdbinary) -> None:
    result = build_images(two.context())
    bills = {built.image.platform: result.sbom_of(built) for built in result.of("serve")}
    assert len(set(bills.values())) == 2
    for platform in BOTH:
        layout = open_layout(two.oci, platform)
        image = layout.image("serve")
        assert layout.referrers(image.manifest_digest, MEDIA_SBOM) == (bills[platform],)
        for name, value in two.context().environ.items():
            monkeypatch.setenv(name, value)
        command = ["--project", str(two.project), "export", "sbom", "--platform", platform]
        assert run(command) == 0
        assert capfdbinary.readouterr().out == bills[platform]


def test_explained_for_each_platform(two: World) -> None:
    build_images(two.context())
    (two.project / "lib" / "helper.py").write_text("HELP = 2\n")
    result = build_images(two.context(), explained=True)
    found = {(item.kind, item.platform): item for item in result.explanations}
    assert list(found) == [(kind, platform) for kind in ("train", "serve") for platform in BOTH]
    for (kind, _), item in found.items():
        assert not item.first
        changed = [x.layer.kind for x in item.layers if x.changes]
        assert changed == (["code"] if kind == "serve" else [])
