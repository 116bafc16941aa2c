"""`mllock push` and `mllock pull`: what arrives on another machine is what was pushed."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from support.layers import BUNDLE
from support.oci_push import opened
from support.sharing import LARGE, RICH, context, listing, pull, push
from support.world import OTHER, RUN, make_run, verdicts

from mllock.core.digest import sha256_of
from mllock.errors import SurroundingsError
from mllock.lock.format import read_lock
from mllock.store.layout_reader import open_layout
from mllock.store.oci_json import MEDIA_SBOM
from mllock.store.registry.reference import parse_reference
from mllock.store.registry.referrers import find_referrers
from mllock.store.registry.share import Entry, artifact, read_share
from mllock.train.runs import open_run
from mllock.workflows.build import build_images
from mllock.workflows.check import check_target
from mllock.workflows.push import push_run


def test_to_another_machine(rich, registry, elsewhere):
    pushed = push(rich, registry.host, run=RICH)
    assert pushed.images.keys() == {"serve", "train"}
    there = elsewhere(rich)
    done = pull(there, registry.host)
    assert (done.run.id, done.images, done.there) == (RICH, ("serve", "train"), False)
    assert done.digest == pushed.digest
    assert done.trust.status == "trusted"
    runs = rich.project / ".mllock" / "runs"
    assert listing(done.run.path) == listing(runs / RICH)
    before, after = open_layout(rich.oci), open_layout(there.state / "oci")
    for ref in ("serve", "train"):
        assert after.image(ref).manifest == before.image(ref).manifest
        digest = after.image(ref).manifest_digest
        assert after.referrers(digest, BUNDLE) == before.referrers(digest, BUNDLE)
        assert len(after.referrers(digest, MEDIA_SBOM)) == 1
        assert after.referrers(digest, MEDIA_SBOM) == before.referrers(digest, MEDIA_SBOM)
    assert sorted(path.name for path in there.state.iterdir()) == ["oci", "runs"]
    assert sorted(path.name for path in there.project.iterdir()) == [".mllock"]


def test_check_works_from_it_alone(rich, registry, elsewhere):
    push(rich, registry.host, run=RICH)
    ctx = elsewhere(rich)
    done = pull(ctx, registry.host)
    shutil.rmtree(rich.root)
    registry.folder.joinpath("data").rename(registry.folder / "gone")
    report = check_target(ctx, "oci:.mllock/oci", base=ctx.project, accepted=["environment"])
    assert report.exit_code() == 0
    assert verdicts(report)["model"] == verdicts(report)["configuration"] == "proven"
    model = check_target(ctx, f".mllock/runs/{done.run.id}/model", base=ctx.project)
    assert model.exit_code() == 0
    with (done.run.path / "model" / "one.bin").open("r+b") as file:
        file.write(b"X")
    model = check_target(ctx, f".mllock/runs/{done.run.id}/model", base=ctx.project)
    assert verdicts(model)["model"] == "refuted"


def test_the_tag_is_what_engines_and_check_take(rich, registry, tmp_path, elsewhere):
    push(rich, registry.host, run=RICH)
    image = open_layout(rich.oci).image("serve")
    for tag in ("v1", "v1-serve"):
        report = check_target(context(rich), f"registry:{registry.host}/wine:{tag}")
        assert report.chosen.endswith(image.manifest_digest)
        assert verdicts(report)["model"] == "proven"
    ctx = elsewhere(rich)
    report = check_target(ctx, f"registry:{registry.host}/wine:v1", accepted=["environment"])
    assert report.exit_code() == 0


@pytest.mark.tools
def test_skopeo_takes_the_serving_image(rich, registry, tmp_path):
    push(rich, registry.host, run=RICH)
    source = f"docker://{registry.host}/wine:v1"
    subprocess.run(
        ["skopeo", "copy", "--src-tls-verify=false", "--override-arch=amd64", source,
         f"oci:{tmp_path / 'copy'}:x"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    image = open_layout(rich.oci).image("serve")
    assert open_layout(tmp_path / "copy").image("x").manifest_digest == image.manifest_digest


def test_the_documents_are_valid(rich, server, validate_oci):
    pushed = push(rich, server.host, run=RICH)
    data = server.manifests["wine", pushed.digest][1]
    validate_oci(data, "image-index-schema.json")
    for entry in json.loads(data)["manifests"]:
        validate_oci(server.manifests["wine", entry["digest"]][1], "image-manifest-schema.json")


def test_large_files_are_blobs_and_small_ones_together(rich, server):
    push(rich, server.host, run=RICH)
    shared = read_share(server.manifests["wine", server.tags["wine", "v1"]][1], "-")
    model = json.loads(server.manifests["wine", shared.model.digest][1])
    assert model["config"]["digest"] == open_run(rich.context().runs, RICH).record().model
    titles = [layer.get("annotations", {}).get("org.opencontainers.image.title")
              for layer in model["layers"]]  # fmt: skip
    # The second of the equal files is not there twice; what is under 1 MiB is in one tar.
    assert titles == [None, "model/one.bin", "model/run.sh"]


def test_the_same_run_is_the_same_everywhere(rich, server, tmp_path):
    """From another folder and an empty cache: the same digests."""
    first = push(rich, server.host, run=RICH)
    other = rich.copy(tmp_path / "copy")
    second = push(other, server.host, ":v2", run=RICH)
    assert second.digest == first.digest
    assert second.pushed.uploaded == 0


def test_what_is_there_is_not_sent_again(rich, registry):
    first = push(rich, registry.host, run=RICH)
    again = push(rich, registry.host, run=RICH)
    assert first.pushed.uploaded == again.pushed.there
    assert (again.pushed.uploaded, again.pushed.sent, again.digest) == (0, 0, first.digest)
    # The other run has the same environment: only what differs is sent.
    build_images(rich.context(), (), None, OTHER)
    other = push(rich, registry.host, ":other", run=OTHER)
    assert 0 < other.pushed.uploaded < other.pushed.there + 8
    assert other.digest != first.digest


def test_an_interrupted_push_is_gone_on_with(rich, server):
    count = [0]

    def fails(request):
        if request.command != "PUT":
            return False
        count[0] += 1
        if count[0] < 10:
            return False
        request.body()
        request.error(403, "DENIED")
        return True

    server.faults.append(fails)
    with pytest.raises(SurroundingsError):
        push(rich, server.host, run=RICH)
    assert server.tags == {}
    sent = len(server.blobs)
    assert sent > 0
    server.faults.clear()
    done = push(rich, server.host, run=RICH)
    assert done.pushed.there >= sent
    assert {name for _, name in server.tags} == {"v1", "v1-serve", "v1-train"}


def test_the_index_is_tagged_last(rich, server):
    push(rich, server.host, run=RICH)
    puts = [path for method, path in server.asked if method == "PUT" and "/manifests/" in path]
    assert puts[-1].endswith("/manifests/v1")
    assert [p.rpartition("/")[2] for p in puts[-3:]] == ["v1-serve", "v1-train", "v1"]


def test_the_record_is_found_beside_the_model(rich, registry):
    push(rich, registry.host, run=RICH)
    with opened(f"{registry.host}/wine") as client:
        shared = read_share(client.document("v1").data, "-")
        ((_, manifest),) = find_referrers(client, shared.model.digest, BUNDLE)
        found = client.read(manifest.layers[0], max_bytes=10**7)
    assert found == open_run(rich.context().runs, RICH).bundle_bytes()


def test_without_a_tag(rich, server, elsewhere):
    pushed = push(rich, server.host, "", run=RICH)
    assert {name for _, name in server.tags} == {"latest", "serve", "train"}
    assert pull(elsewhere(rich), server.host, "").run.id == RICH
    assert pull(elsewhere(rich, "by-digest"), server.host, f"@{pushed.digest}").run.id == RICH


def test_images_of_other_runs_stay_at_home(rich, server, elsewhere):
    ctx = context(rich)
    done = push_run(ctx, parse_reference(f"{server.host}/wine:v1"), RUN)
    assert done.images.keys() == {"train"}
    assert ctx.reporter.lines[0] == (
        f"warn: the serve image in {rich.oci} is not of run {RUN}: it is left out; "
        f'"mllock build serve --run {RUN}" makes the one that is'
    )
    assert pull(elsewhere(rich), server.host).images == ("train",)


def test_a_model_without_images(rich, server, elsewhere):
    shutil.rmtree(rich.oci)
    assert push(rich, server.host, run=RICH).images == {}
    there = elsewhere(rich)
    done = pull(there, server.host)
    assert done.images == ()
    assert not (there.state / "oci").exists()


def test_a_model_that_is_one_file(world, server, elsewhere):
    ctx = world.context()
    lock = read_lock(world.project / "mlproject.lock")
    for number, data in enumerate((b"small", LARGE)):
        run = f"2026112{number}-081501-solo"
        make_run(ctx, lock, run, {"model": data}, single=True)
        push(world, server.host, run=run)
        done = pull(elsewhere(world), server.host)
        assert done.run.id == run
        assert listing(done.run.path / "model") == {"model": ("file", False, data)}


def test_answers_to_probes_stay_where_the_run_was_trained(world, server, elsewhere):
    """Whoever could read them there could serve them."""
    ctx = world.context()
    lock = read_lock(world.project / "mlproject.lock")
    make_run(ctx, lock, RICH, {"w.bin": b"w"}, extra={"probes.json": b'{"answers":"secret"}'})
    push(world, server.host, run=RICH)
    assert not any(b"secret" in data for data in server.blobs.values())
    there = elsewhere(world)
    done = pull(there, server.host)
    assert not (done.run.path / "probes.json").exists()
    report = check_target(there, f"path:.mllock/runs/{RICH}/model", base=there.project)
    assert report.exit_code() == 0


def test_with_a_password(rich, registry_basic, elsewhere, tmp_path):
    environ = registry_basic.logged_in(tmp_path / "docker")
    push(rich, registry_basic.host, run=RICH, environ=environ)
    assert pull(elsewhere(rich, environ=environ), registry_basic.host).run.id == RICH
    with pytest.raises(SurroundingsError) as caught:
        pull(elsewhere(rich, folder="again"), registry_basic.host)
    assert "does not accept the credentials, or wants some" in str(caught.value)
    assert not (tmp_path / "other-home" / "again" / ".mllock").exists()


def test_mounting(rich, registry):
    push(rich, registry.host, run=RICH)
    done = push_run(
        context(rich), parse_reference(f"{registry.host}/other:v1"), RICH, mount_from="wine"
    )
    assert (done.pushed.uploaded, done.pushed.there) == (0, 0)


def test_what_others_attached_goes_along_and_is_no_part_of_the_run(rich, registry, elsewhere):
    """A scanner's bill, a foreign signature: pushed as referrers, and the run is as without."""
    alone = push(rich, registry.host, run=RICH)
    layout = open_layout(rich.oci)
    serve = layout.image("serve")
    subject = Entry(digest=serve.manifest_digest, size=len(serve.manifest))
    index = json.loads((rich.oci / "index.json").read_bytes())
    for kind, data in (
        (MEDIA_SBOM, b'{"bomFormat":"CycloneDX"}'),
        ("application/x", b"x"),
        (BUNDLE, b"y"),
    ):
        layer = {"mediaType": "text/plain", "digest": sha256_of(data), "size": len(data)}
        manifest = artifact(kind, subject, [layer])
        for blob in (data, manifest, b"{}"):
            place = rich.oci / "blobs" / "sha256" / sha256_of(blob).removeprefix("sha256:")
            if not place.exists():
                place.write_bytes(blob)
        index["manifests"].append(
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": sha256_of(manifest),
                "size": len(manifest),
                "artifactType": kind,
            }
        )
    (rich.oci / "index.json").write_text(json.dumps(index))
    pushed = push(rich, registry.host, run=RICH)
    assert pushed.digest == alone.digest
    with opened(f"{registry.host}/wine") as client:
        found = [
            find_referrers(client, serve.manifest_digest, t) for t in (MEDIA_SBOM, "application/x")
        ]
    assert [len(artifacts) for artifacts in found] == [2, 1]
    there = elsewhere(rich)
    assert pull(there, registry.host).images == ("serve", "train")
    digest = serve.manifest_digest
    after = open_layout(there.state / "oci")
    assert after.referrers(digest, MEDIA_SBOM) == (layout.referrers(digest, MEDIA_SBOM)[0],)
