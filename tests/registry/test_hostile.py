"""A registry that lies, breaks off, stalls, redirects: what is read, and what is said."""

from __future__ import annotations

import dataclasses
import gzip
import socket

import pytest
from support.layers import LAYER, MANIFEST, sha
from support.oci_push import QUICK, descriptor, image_by_hand, opened
from support.small_registry import on
from support.webserver import Answer, serving

from mllock.errors import IntegrityError, NotAvailableError, OfflineError, SurroundingsError
from mllock.store.oci_json import MEDIA_INDEX

BLOB = b"the bytes of a blob" * 1000
NAME = sha(BLOB)
AGAIN = "\nhint: check the name, the network and the proxy, then run the same command again"


@pytest.fixture
def held(server):
    """A registry with a blob and an image, at HOST/a."""
    server.blobs["a", NAME] = BLOB
    server.put("a", "v1", image_by_hand([BLOB])[1], MANIFEST)
    return server


def read(server, blob=BLOB):
    with opened(f"{server.host}/a") as client:
        return b"".join(client.stream(descriptor(blob)))


@pytest.mark.parametrize(
    ("sent", "what", "expected", "found"),
    [
        (BLOB[:-1], "has a blob of another size than its descriptor says",
         f"{len(BLOB)} bytes", f"{len(BLOB) - 1} bytes"),
        (BLOB + b"x", "has a blob of another size than its descriptor says",
         f"{len(BLOB)} bytes", f"{len(BLOB) + 1} bytes"),
        (b"X" + BLOB[1:], "sent other bytes than the digest names",
         NAME, sha(b"X" + BLOB[1:])),
        (gzip.compress(BLOB), "has a blob of another size than its descriptor says",
         f"{len(BLOB)} bytes", f"{len(gzip.compress(BLOB))} bytes"),
    ],
)  # fmt: skip
def test_blobs_that_are_not_what_was_asked(held, sent, what, expected, found):
    held.faults.append(on("blobs", lambda r: r.answer(200, sent)))
    with pytest.raises(IntegrityError) as caught:
        read(held)
    assert str(caught.value) == (
        f"{NAME}: the registry {held.host} {what}\nexpected: {expected}\nfound: {found}"
    )


@pytest.mark.parametrize("more", [False, True])
def test_a_body_without_an_end_is_not_read_for_ever(held, more):
    """No Content-Length: what comes is counted."""

    def chunked(request):
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        body = BLOB + b"x" * (10_000_000 if more else 0) if more else BLOB[:-1]
        for at in range(0, len(body), 65536):
            piece = body[at : at + 65536]
            request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        request.wfile.write(b"0\r\n\r\n")

    held.faults.append(on("blobs", chunked))
    with pytest.raises(IntegrityError) as caught:
        read(held)
    assert caught.value.found == (
        f"more than {len(BLOB)} bytes" if more else f"{len(BLOB) - 1} bytes"
    )


def broken(at):
    def answer(request):
        request.answer(200, BLOB[:at], length=len(BLOB))
        request.hang_up()

    return answer


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_body_is_gone_on_with(held, ranges):
    held.faults.append(on("blobs", broken(10_000), times=1))
    if not ranges:
        held.faults.append(on("blobs", lambda r: r.answer(200, BLOB)))
    assert read(held) == BLOB
    assert held.methods("blobs") == ["GET", "GET"]


def test_a_part_of_somewhere_else_is_refused(held):
    held.faults.append(on("blobs", broken(10_000), times=1))
    held.faults.append(
        on("blobs", lambda r: r.answer(206, BLOB[5:], Content_Range=f"bytes 5-{len(BLOB) - 1}/*"))
    )
    with pytest.raises(IntegrityError):
        read(held)


def test_a_part_that_is_another_is_found_by_the_digest(held):
    held.faults.append(on("blobs", broken(10_000), times=1))
    span = f"bytes 10000-{len(BLOB) - 1}/{len(BLOB)}"
    other = BLOB[10_000:-1] + b"X"
    held.faults.append(on("blobs", lambda r: r.answer(206, other, Content_Range=span)))
    with pytest.raises(IntegrityError) as caught:
        read(held)
    assert caught.value.found == sha(BLOB[:10_000] + other)


def test_a_body_that_always_breaks(held):
    held.faults.append(on("blobs", broken(0)))
    with pytest.raises(OfflineError) as caught:
        read(held)
    assert str(caught.value) == (
        f"cannot read {NAME}: the registry {held.host} does not answer: the connection broke{AGAIN}"
    )
    assert held.methods("blobs") == ["GET"] * 3


def test_an_answer_that_stalls(held):
    ends = []
    held.faults.append(on("blobs", lambda r: ends.append(r.rfile.read(1))))
    with pytest.raises(OfflineError) as caught:
        read(held)
    assert str(caught.value) == (
        f"cannot read {NAME}: the registry {held.host} does not answer: timed out{AGAIN}"
    )


def test_a_body_that_comes_too_slowly(held):
    """Each piece comes in time, and all of them never would."""

    def drip(request):
        request.answer(200, length=len(BLOB))
        for byte in BLOB:
            request.wfile.write(bytes([byte]))
            request.wfile.flush()
            if request.registry.lock.acquire(timeout=0.02):
                request.registry.lock.release()

    held.faults.append(on("blobs", drip))
    limits = dataclasses.replace(QUICK, grace=0.1, rate=10**9)
    with opened(f"{held.host}/a", limits=limits) as client, pytest.raises(OfflineError) as caught:
        b"".join(client.stream(descriptor(BLOB)))
    assert "does not answer: " in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(held, status):
    held.faults.append(on("blobs", lambda r: r.answer(status, Retry_After="0"), times=2))
    assert read(held) == BLOB
    assert held.methods("blobs") == ["GET"] * 3


@pytest.mark.parametrize(
    ("status", "code", "what", "hint"),
    [
        (403, "DENIED", "denies access",
         "ask its owner for the permission, or log in as somebody who has it"),
        (404, "BLOB_UNKNOWN", "answered with status 404 (it does not have the blob)", None),
        (418, "secret=hunter2", "answered with status 418", None),
        (429, "TOOMANYREQUESTS", "answered with status 429 (too many requests)", None),
        (500, "UNKNOWN", "failed with status 500",
         "look whether its disk is full and what its log says, then run the same command again: "
         "what is there already is not sent again"),
    ],
)  # fmt: skip
def test_refusals(held, status, code, what, hint):
    held.faults.append(on("blobs", lambda r: r.error(status, code)))
    with pytest.raises(SurroundingsError) as caught:
        read(held)
    assert str(caught.value) == (
        f"cannot read {NAME}: the registry {held.host} {what}" + (f"\nhint: {hint}" if hint else "")
    )
    assert caught.value.exit_code == 4


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
        with opened(f"{host}/a") as client, pytest.raises(OfflineError) as caught:
            client.document("v1")
    assert str(caught.value) == (
        f"cannot read v1: the registry {host} does not answer: connection refused{AGAIN}"
    )


def test_no_such_host():
    with opened("registry.invalid/a") as client, pytest.raises(OfflineError) as caught:
        client.document("v1")
    assert str(caught.value) == (
        "cannot read v1: the registry registry.invalid does not answer: "
        f"the name of the host cannot be resolved{AGAIN}"
    )


# Manifests.


def manifest(server, *, body=None, media_type=MANIFEST, digest=None, name="v1"):
    """Ask for v1 of a server that answers with these."""
    data = image_by_hand([])[1] if body is None else body
    headers = {"Content_Type": media_type, "Docker_Content_Digest": digest or sha(data)}
    server.faults.append(on("manifests", lambda r: r.answer(200, data, **headers)))
    with opened(f"{server.host}/a") as client:
        return client.document(name)


def test_manifest(server):
    assert manifest(server).digest == sha(image_by_hand([])[1])


def test_a_header_that_lies_about_the_digest(server):
    with pytest.raises(IntegrityError) as caught:
        manifest(server, digest=NAME)
    assert str(caught.value) == (
        f"v1: the registry {server.host} says another digest than that of the bytes it sent\n"
        f"expected: {sha(image_by_hand([])[1])}\nfound: {NAME}"
    )


def test_another_manifest_than_the_digest_names(server):
    with pytest.raises(IntegrityError) as caught:
        manifest(server, name=NAME)
    assert str(caught.value) == (
        f"{NAME}: the registry {server.host} sent other bytes than the digest names\n"
        f"expected: {NAME}\nfound: {sha(image_by_hand([])[1])}"
    )


@pytest.mark.parametrize("media_type", ["text/html", "", LAYER])
def test_another_media_type(server, media_type):
    with pytest.raises(IntegrityError) as caught:
        manifest(server, media_type=media_type)
    assert str(caught.value) == (
        f"v1: the registry {server.host} sent another media type than was asked for\n"
        f"expected: {MANIFEST} or {MEDIA_INDEX}\nfound: {media_type or 'none'}"
    )


def test_a_manifest_as_engines_push_it(server):
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    with pytest.raises(NotAvailableError) as caught:
        manifest(server, media_type=media_type)
    assert str(caught.value) == (
        f"{server.host}/a:v1: manifests of Docker's own type are not read in this version\n"
        f"found: {media_type}\n"
        "hint: an engine made it from the image: push the image itself, with mllock"
    )


def test_a_media_type_that_the_document_denies(server):
    with pytest.raises(IntegrityError) as caught:
        manifest(server, media_type=MEDIA_INDEX)
    assert str(caught.value) == (
        f"v1: the registry {server.host} sent a document as another media type than it says "
        f"itself\nexpected: {MEDIA_INDEX}\nfound: {MANIFEST}"
    )


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b"[" * 100_000])
def test_not_json(server, body):
    with pytest.raises(IntegrityError) as caught:
        manifest(server, body=body)
    assert str(caught.value) == (
        f"v1: the registry {server.host} sent a manifest that is not strict JSON"
    )


def test_a_manifest_without_an_end(server):
    with pytest.raises(IntegrityError) as caught:
        manifest(server, body=b" " * 5_000_000)
    assert str(caught.value) == (
        f"v1: the registry {server.host} has a manifest of more than 4194304 bytes"
    )


# Redirects.


def test_a_redirect_gets_no_credentials(held, tmp_path):
    from support.registry import docker_config

    with serving({"/there": Answer(body=BLOB)}) as other:

        def asks(request):
            if request.headers.get("Authorization") is None:
                request.answer(401, WWW_Authenticate='Basic realm="x"')
            else:
                request.answer(307, Location=f"{other.url}/there")

        held.faults.append(on("blobs", asks))
        environ = docker_config(tmp_path, held.host, "ada", "secret")
        with opened(f"{held.host}/a", environ) as client:
            assert b"".join(client.stream(descriptor(BLOB))) == BLOB
        assert held.authorizations[-1] is not None
        assert "Authorization" not in other.headers[0]


def test_a_redirect_to_who_asks_for_credentials_gets_none(held, tmp_path):
    from support.registry import docker_config

    asks = Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with serving({"/there": asks}) as other:
        held.faults.append(on("blobs", lambda r: r.answer(307, Location=f"{other.url}/there")))
        environ = docker_config(tmp_path, held.host, "ada", "secret")
        with opened(f"{held.host}/a", environ) as client, pytest.raises(SurroundingsError):
            b"".join(client.stream(descriptor(BLOB)))
        assert ["Authorization" in headers for headers in other.headers] == [False]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://example.org/x", "redirects to plain http"),
        ("http://user:secret@127.0.0.1/x", "redirects to an address with credentials"),
        ("file:///etc/passwd", "redirects to something that is not http or https"),
        ("", "redirects to something that is not http or https"),
    ],
)
def test_redirects_that_are_not_followed(held, location, reason):
    held.faults.append(on("blobs", lambda r: r.answer(307, Location=location)))
    with pytest.raises(OfflineError) as caught:
        read(held)
    assert str(caught.value) == (
        f"cannot read {NAME}: the registry {held.host} does not answer: {reason}{AGAIN}"
    )


def test_redirects_without_end(held):
    held.faults.append(on("blobs", lambda r: r.answer(307, Location=r.path)))
    with pytest.raises(OfflineError) as caught:
        read(held)
    assert "more than 5 redirects" in str(caught.value)


def test_a_redirect_from_https_to_http(registry_tls, server):
    """The same loopback that may be asked over http at first may not after https."""
    from mllock.store.transport import PermanentError

    with (
        opened(f"{registry_tls.host}/a", registry_tls.environ) as client,
        pytest.raises(PermanentError) as caught,
    ):
        client.wire._next(f"https://{registry_tls.host}/v2/", f"http://{server.host}/x")
    assert str(caught.value) == "redirects from https to http"
