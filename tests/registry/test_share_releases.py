"""Releases and revocations travel with the run that they are about, and with nothing else."""

from __future__ import annotations

import base64
import json

from support.layers import BUNDLE, MANIFEST, compact, sha
from support.releases import LATER, NOW, put_release, put_revocations
from support.sharing import listing, pull, push
from support.world import OTHER, RUN, finding

from mllock.errors import AnswerNoError
from mllock.store.registry.client import Registry
from mllock.store.registry.reference import parse_reference
from mllock.store.registry.referrers import find_referrers
from mllock.store.registry.share import read_share
from mllock.workflows.check import check_target

FIRST = f"production/000001-{RUN}.sigstore.json"


def released(ctx, stage="production"):
    """What check says of the serving image that was pulled."""
    report = check_target(
        ctx,
        "oci:.mllock/oci",
        base=ctx.project,
        stage=stage,
        now=NOW,
        accepted=["environment"],
    )
    found = finding(report, "release")
    assert (report.exit_code() == 0) == (found.verdict == "proven")
    return found


def test_the_release_arrives_and_check_takes_it(world, registry, elsewhere):
    path = put_release(world)
    put_revocations(world, OTHER)
    push(world, registry.host, run=RUN)
    ctx = elsewhere(world)
    done = pull(ctx, registry.host)
    assert done.releases == (FIRST, "revoked/000001.sigstore.json")
    assert listing(ctx.releases) == listing(world.project / ".mllock" / "releases")
    found = released(ctx)
    assert (found.verdict, found.level) == ("proven", "A")
    assert (ctx.releases / FIRST).read_bytes() == path.read_bytes()


def test_they_are_artifacts_about_the_model(world, registry):
    path = put_release(world)
    push(world, registry.host, run=RUN)
    reference = parse_reference(f"{registry.host}/wine:v1")
    with Registry(reference, {}) as client:
        shared = read_share(client.document("v1").data, "-")
        assert len(shared.releases) == 1
        about = [
            client.read(manifest.layers[0], max_bytes=1 << 20)
            for _, manifest in find_referrers(client, shared.model.digest, BUNDLE)
        ]
    assert path.read_bytes() in about


def test_without_releases_nothing_is_written(world, registry, elsewhere):
    push(world, registry.host, run=RUN)
    ctx = elsewhere(world)
    assert pull(ctx, registry.host).releases == ()
    assert not ctx.releases.exists()
    assert released(ctx).verdict == "unproven"


def test_of_other_runs_and_signers_nothing_goes(world, registry, elsewhere, other_key):
    put_release(world, OTHER, number=2)
    put_release(world, number=3, key=other_key)
    put_revocations(world, OTHER, number=1)
    put_revocations(world, OTHER, number=2)
    put_revocations(world, OTHER, number=3, key=other_key)
    push(world, registry.host, run=RUN)
    done = pull(elsewhere(world), registry.host)
    assert done.releases == ("revoked/000002.sigstore.json",)


def test_a_later_release_comes_with_the_next_pull(world, registry, elsewhere):
    put_release(world)
    push(world, registry.host, run=RUN)
    ctx = elsewhere(world)
    pull(ctx, registry.host)
    put_release(world, number=2)
    put_revocations(world, RUN)
    push(world, registry.host, run=RUN)
    done = pull(ctx, registry.host)
    assert done.there
    assert done.releases == (
        f"production/000002-{RUN}.sigstore.json",
        FIRST,
        "revoked/000001.sigstore.json",
    )
    assert released(ctx).verdict == "refuted"


def test_what_is_here_is_not_replaced(world, registry, elsewhere):
    put_release(world)
    push(world, registry.host, run=RUN)
    ctx = elsewhere(world)
    (ctx.releases / FIRST).parent.mkdir(parents=True)
    (ctx.releases / FIRST).write_bytes(b"mine")
    pull(ctx, registry.host)
    pull(ctx, registry.host)
    assert (ctx.releases / FIRST).read_bytes() == b"mine"
    names = sorted(path.name for path in (ctx.releases / "production").iterdir())
    assert len(names) == 2
    assert names[0].startswith(f"000001-{RUN}-")
    assert released(ctx).verdict == "unproven"  # what does not read is not passed over


def add(chain, bundle, *, subject=None, artifact_type=BUNDLE, name="release"):
    """Put a bundle among the releases, as whoever may write to the registry could."""
    empty = chain.blob(b"{}", "application/vnd.oci.empty.v1+json")
    model = {k: chain.entry("model")[k] for k in ("mediaType", "digest", "size")}
    data = compact(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": empty,
            "layers": [chain.blob(bundle, BUNDLE)],
            "subject": subject or model,
        }
    )
    chain.server.put("wine", None, data, MANIFEST)
    entry = {"mediaType": MANIFEST, "digest": sha(data), "size": len(data)}
    entry |= {"artifactType": BUNDLE, "annotations": {"org.opencontainers.image.ref.name": name}}
    chain.index["manifests"].append(
        entry | {"platform": {"architecture": "unknown", "os": "unknown"}}
    )
    chain.save()
    return sha(data)


def test_put_among_them_it_arrives(world, chain, elsewhere):
    """What the tests below change is right before."""
    path = put_release(world)
    add(chain, path.read_bytes())
    assert pull(elsewhere(world), chain.server.host).releases == (FIRST,)


def test_a_release_of_another_run(world, chain, refused):
    digest = add(chain, put_release(world, OTHER).read_bytes())
    assert str(refused()) == (
        f"{digest}: a release of another run\nexpected: {RUN}\nfound: {OTHER}"
    )


def test_a_release_of_another_project(world, chain, refused):
    digest = add(chain, put_release(world, project="wine").read_bytes())
    assert str(refused()) == f"{digest}: not a release, or list of revocations, of the project"


def test_another_statement(world, chain, refused):
    runs = world.project / ".mllock" / "runs" / RUN
    digest = add(chain, (runs / "record.sigstore.json").read_bytes())
    error = refused()
    assert str(error) == f"{digest}: not a release, or list of revocations, of the project"


def test_two_of_one_name(world, chain, refused):
    first = put_release(world).read_bytes()
    add(chain, first)
    second = put_release(world, expires=LATER + NOW.resolution * 1_000_000).read_bytes()
    digest = add(chain, second)
    assert str(refused()) == f"{digest}: {FIRST}: two statements of one name"


def test_a_signature_that_does_not_fit(world, chain, refused):
    bundle = json.loads(put_release(world).read_bytes())
    envelope = bundle["dsseEnvelope"]
    payload = bytearray(base64.b64decode(envelope["payload"]))
    payload = payload.replace(b'"number":1', b'"number":9')
    envelope["payload"] = base64.b64encode(payload).decode()
    digest = add(chain, json.dumps(bundle, separators=(",", ":"), sort_keys=True).encode())
    error = refused(AnswerNoError)
    assert str(error).startswith(f"{digest}: a release's signature is refused: ")


def test_another_type(world, chain, refused):
    digest = add(chain, put_release(world).read_bytes(), artifact_type="application/x")
    assert str(refused()) == (
        f"{digest}: not a statement\nexpected: an artifact of the type {BUNDLE}"
    )
