"""Statements beside an image: by the API, and by the tag where a registry lacks it."""

from __future__ import annotations

import json

import pytest
from support.layers import BUNDLE, EMPTY, MANIFEST, compact, sha
from support.oci_push import opened, push_by_hand
from support.small_registry import small_registry

from mllock.errors import IntegrityError, SurroundingsError
from mllock.store.oci_json import MEDIA_INDEX
from mllock.store.registry.referrers import find_referrers, push_referrer
from mllock.store.registry.upload import BlobSource, push_blob, push_manifest


def artifact(subject, content, kind=BUNDLE):
    def entry(data, media_type):
        return {"mediaType": media_type, "digest": sha(data), "size": len(data)}

    return compact(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": entry(b"{}", EMPTY),
            "layers": [entry(content, kind)],
            "subject": {"mediaType": MANIFEST, "digest": subject, "size": 7},
        }
    )


def add(client, subject, content, kind=BUNDLE):
    for data in (b"{}", content):
        push_blob(client, BlobSource.of_bytes(data))
    return push_referrer(client, artifact(subject, content, kind), subject)


def contents(client, subject, kind=BUNDLE):
    found = find_referrers(client, subject, kind)
    return [client.read(manifest.layers[0], max_bytes=100) for _, manifest in found]


@pytest.fixture(params=["docker-registry", "with the API", "without the API"])
def host(request):
    """Every kind of registry."""
    if request.param == "docker-registry":
        yield request.getfixturevalue("registry").host
    else:
        with small_registry(referrers_api=request.param == "with the API") as server:
            yield server.host


def test_one_after_the_other(host):
    with opened(f"{host}/a") as client:
        subject = push_by_hand(client, [b"layer"], "v1")
        other = push_by_hand(client, [b"another"], "v2")
        assert contents(client, subject) == []
        for content in (b"one", b"two", b"two"):
            add(client, subject, content)
        add(client, other, b"of another")
        add(client, subject, b"sbom", "application/spdx+json")
        assert sorted(contents(client, subject)) == [b"one", b"two"]
        assert contents(client, other) == [b"of another"]
        assert contents(client, subject, "application/spdx+json") == [b"sbom"]


def test_the_api_leaves_no_tag():
    with small_registry() as server, opened(f"{server.host}/a") as client:
        subject = push_by_hand(client, [], "v1")
        add(client, subject, b"one")
        assert client.tags() == ("v1",)


def test_what_others_listed_stays(registry):
    with opened(f"{registry.host}/a") as client:
        subject = push_by_hand(client, [], "v1")
        theirs = artifact(subject, b"theirs", "application/x")
        for data in (b"{}", b"theirs"):
            push_blob(client, BlobSource.of_bytes(data))
        push_manifest(client, theirs, MANIFEST, sha(theirs))
        entry = {
            "mediaType": MANIFEST,
            "digest": sha(theirs),
            "size": len(theirs),
            "artifactType": "application/x",
            "annotations": {"made.by": "them"},
        }
        index = {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": [entry]}
        push_manifest(client, compact(index), MEDIA_INDEX, subject.replace(":", "-"))
        ours = add(client, subject, b"ours")
        listed = json.loads(client.document(subject.replace(":", "-")).data)["manifests"]
    assert listed[0] == entry
    assert [other["digest"] for other in listed] == [sha(theirs), ours]


def test_a_tag_that_is_something_else_is_left_alone(registry):
    with opened(f"{registry.host}/a") as client:
        subject = push_by_hand(client, [], "v1")
        tag = subject.replace(":", "-")
        there = push_by_hand(client, [b"somebody's image"], tag)
        with pytest.raises(SurroundingsError) as caught:
            add(client, subject, b"ours")
        assert client.document(tag).digest == there
    assert str(caught.value) == (
        f"{registry.host}/a:{tag}: this tag is where statements about an image are listed, and "
        f"it is something else\nexpected: {MEDIA_INDEX}\nfound: {MANIFEST}\nhint: remove the tag"
    )


def test_two_who_add_at_the_same_time():
    """Somebody replaces the list between our reading and writing: both are there in the end."""
    with small_registry(referrers_api=False) as server, opened(f"{server.host}/a") as client:
        subject = push_by_hand(client, [], "v1")
        theirs = add(client, subject, b"theirs")
        tag = subject.replace(":", "-")
        kept = server.manifests["a", server.tags["a", tag]]
        left = [1]

        def clobbers(request):
            if request.command == "GET" and request.path.endswith(tag) and not left[0]:
                return False
            if request.command == "PUT" and request.path.endswith(tag) and left[0]:
                left[0] = 0
                data = request.body()
                # Ours is taken, and theirs comes after it.
                server.put("a", tag, kept[1], kept[0])
                request.answer(201, Docker_Content_Digest=sha(data))
                return True
            return False

        server.faults.append(clobbers)
        ours = add(client, subject, b"ours")
        listed = json.loads(client.document(tag).data)["manifests"]
        assert [entry["digest"] for entry in listed] == [theirs, ours]


def test_artifacts_that_are_about_something_else_do_not_count():
    """A list is only where to look."""
    with small_registry(referrers_api=False) as server, opened(f"{server.host}/a") as client:
        subject = push_by_hand(client, [], "v1")
        other = push_by_hand(client, [b"x"], "v2")
        wrong = add(client, other, b"about another")
        broken = server.put("a", None, b'{"schemaVersion": 2}', MANIFEST)
        entries = [
            {"mediaType": MANIFEST, "digest": digest, "size": 1, "artifactType": BUNDLE}
            for digest in (wrong, broken, sha(b"gone"))
        ]
        index = compact({"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": entries})
        server.put("a", subject.replace(":", "-"), index, MEDIA_INDEX)
        assert contents(client, subject) == []


@pytest.mark.parametrize(
    "body", [b"{", b"{}", b'{"manifests":[{"digest":"sha256:x"}]}', b'{"manifests":7}']
)
def test_lists_that_cannot_be_read(server, body):
    def lies(request):
        if "/referrers/" not in request.path:
            return False
        request.answer(200, body, Content_Type=MEDIA_INDEX)
        return True

    server.faults.append(lies)
    with opened(f"{server.host}/a") as client, pytest.raises(IntegrityError) as caught:
        find_referrers(client, sha(b"x"), BUNDLE)
    assert str(caught.value) == (
        f"{sha(b'x')}: the registry {server.host} gives a list of statements that cannot be read"
    )
