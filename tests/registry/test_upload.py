"""Uploads that are interrupted, refused, or answered with something else."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from support.layers import sha
from support.oci_push import QUICK, descriptor, opened
from support.registry import running
from support.reporter import Recorder
from support.small_registry import small_registry

from mllock.errors import IntegrityError, OfflineError, SurroundingsError
from mllock.store.registry.transfer import push_blobs
from mllock.store.registry.upload import BlobSource, has_blob, push_blob, push_manifest

LARGE = bytes(range(256)) * 12_000  # 3 MB
CHUNKED = dataclasses.replace(QUICK, chunk=1_000_000)
AGAIN = "run the same command again: what is there already is not sent again"


def push(server, data=LARGE, limits=CHUNKED, **options):
    with opened(f"{server.host}/a", limits=limits) as client:
        return push_blob(client, BlobSource.of_bytes(data), **options)


def fault(method, answer, times=1000):
    left = [times]

    def see(request):
        if request.command != method or not left[0]:
            return False
        left[0] -= 1
        answer(request)
        return True

    return see


def breaks_off(after):
    """The registry keeps `after` bytes of a chunk, then the connection is gone."""

    def answer(request):
        name = request.path.rpartition("/")[2]
        request.registry.uploads[name] += request.rfile.read(after)
        request.connection.shutdown(2)
        request.hang_up()

    return answer


def test_in_chunks(server):
    assert push(server) == "uploaded"
    assert server.blobs == {("a", sha(LARGE)): LARGE}
    assert server.methods("uploads") == ["POST", "PATCH", "PATCH", "PATCH", "PATCH", "PUT"]


def test_a_small_blob_goes_in_one(server):
    assert push(server, b"small") == "uploaded"
    assert server.methods("uploads") == ["POST", "PUT"]


def test_it_goes_on_where_the_registry_got_to(server):
    server.faults.append(fault("PATCH", breaks_off(400_000), times=1))
    moved = []
    assert push(server, advance=moved.append) == "uploaded"
    assert server.blobs["a", sha(LARGE)] == LARGE
    methods = server.methods("uploads")
    assert methods == ["POST", "PATCH", "GET", "PATCH", "PATCH", "PATCH", "PUT"]
    assert sum(moved) == len(LARGE)


def test_it_begins_again_where_the_registry_has_forgotten(server):
    def forgets(request):
        server.uploads.clear()
        request.connection.shutdown(2)
        request.hang_up()

    server.faults.append(fault("PATCH", forgets, times=1))
    moved = []
    assert push(server, advance=moved.append) == "uploaded"
    assert server.blobs["a", sha(LARGE)] == LARGE
    assert server.methods("uploads")[:4] == ["POST", "PATCH", "GET", "POST"]
    assert sum(moved) == len(LARGE)


def test_what_a_broken_request_wrote_late(server):
    """It goes on writing what it had of a broken request after it said how far it was."""

    def late(request):
        upload = request.registry.uploads[request.path.rpartition("/")[2].partition("?")[0]]
        request.registry.faults.append(fault("PUT", lambda r: wrong(r, upload), times=1))
        request.connection.shutdown(2)
        request.hang_up()

    def wrong(request, upload):
        upload += b"late"
        request.rfile.read(int(request.headers["Content-Length"]))
        server.uploads.clear()
        request.error(400, "DIGEST_INVALID")

    server.faults.append(fault("PUT", late, times=1))
    assert push(server, b"small") == "uploaded"
    assert server.blobs["a", sha(b"small")] == b"small"
    assert server.methods("uploads") == ["POST", "PUT", "GET", "PUT", "GET", "POST", "PUT"]


def test_docker_registry_goes_on_after_a_broken_chunk(registry):
    """It forgets an upload whose chunk broke off: the blob begins again, and is whole."""
    from mllock.store.registry import upload

    broken = []

    class Breaks(upload._Part):
        def read(self, amount=-1):
            if not broken and self._left < self._length // 2:
                broken.append(1)
                raise ConnectionResetError
            return super().read(amount)

    real, upload._Part = upload._Part, Breaks
    try:
        assert push(registry) == "uploaded"
    finally:
        upload._Part = real
    assert broken
    with opened(f"{registry.host}/a") as client:
        assert b"".join(client.stream(descriptor(LARGE))) == LARGE


def test_the_last_answer_is_lost(server):
    def takes_it(request):
        server.blobs["a", sha(LARGE)] = LARGE
        server.uploads.clear()
        request.connection.shutdown(2)
        request.hang_up()

    server.faults.append(fault("PUT", takes_it, times=1))
    assert push(server) == "uploaded"
    assert server.methods("uploads").count("PUT") == 1


def test_an_upload_elsewhere_gets_no_credentials(server, tmp_path):
    from support.registry import docker_config

    with small_registry() as other:

        def asks(request):
            if request.headers.get("Authorization") is None:
                request.answer(401, WWW_Authenticate='Basic realm="x"')
                return True
            if request.command == "POST":
                other.uploads["1"] = bytearray()
                request.answer(202, Location=f"http://{other.host}/v2/a/blobs/uploads/1")
                return True
            return False

        server.faults.append(asks)
        environ = docker_config(tmp_path, server.host, "ada", "secret")
        with opened(f"{server.host}/a", environ) as client:
            push_blob(client, BlobSource.of_bytes(b"small"))
        assert other.blobs == {("a", sha(b"small")): b"small"}
        assert other.authorizations == [None]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://example.org/x", "redirects to plain http"),
        ("", "redirects to something that is not http or https"),
    ],
)
def test_uploads_that_are_sent_elsewhere(server, location, reason):
    server.faults.append(fault("POST", lambda r: r.answer(202, Location=location)))
    with pytest.raises(OfflineError) as caught:
        push(server)
    assert str(caught.value) == (
        f"cannot upload {sha(LARGE)}: the registry {server.host} does not answer: {reason}\n"
        "hint: check the name, the network and the proxy, then run the same command again"
    )


@pytest.mark.parametrize(
    ("method", "status", "tried", "what", "hint"),
    [
        ("POST", 403, 1, "denies access",
         "ask its owner for the permission, or log in as somebody who has it"),
        ("PATCH", 403, 1, "denies access",
         "ask its owner for the permission, or log in as somebody who has it"),
        ("PATCH", 507, 1, "has no space left", f"free some space there, then {AGAIN}"),
        ("PUT", 507, 1, "has no space left", f"free some space there, then {AGAIN}"),
        ("PATCH", 500, 3, "failed with status 500",
         f"look whether its disk is full and what its log says, then {AGAIN}"),
        ("PATCH", 413, 1, "(or a proxy) takes no request that large",
         "raise the limit of the size of a request there"),
    ],
)  # fmt: skip
def test_refused(server, method, status, tried, what, hint):
    def answer(request):
        request.body()
        request.error(status, "UNKNOWN")

    server.faults.append(fault(method, answer))
    with pytest.raises(SurroundingsError) as caught:
        push(server)
    assert str(caught.value) == (
        f"cannot upload {sha(LARGE)}: the registry {server.host} {what}\nhint: {hint}"
    )
    assert caught.value.exit_code == 4
    assert server.methods("uploads").count(method) == tried
    # Nothing of it is left there.
    assert server.uploads == {}


def test_a_registry_that_closes_in_the_middle_of_a_body(server):
    """It answers before all is sent, and hangs up: what it said is what is told."""

    def answer(request):
        request.error(403, "DENIED")
        request.hang_up()

    server.faults.append(fault("PATCH", answer))
    with pytest.raises(SurroundingsError) as caught:
        push(server)
    assert str(caught.value).startswith(f"cannot upload {sha(LARGE)}: the registry {server.host} ")


def test_a_registry_that_stalls(server):
    server.faults.append(fault("PATCH", lambda r: r.rfile.read()))
    limits = dataclasses.replace(CHUNKED, read=0.2, retries=1)
    with pytest.raises(OfflineError) as caught:
        push(server, limits=limits)
    assert str(caught.value) == (
        f"cannot upload {sha(LARGE)}: the registry {server.host} does not answer: timed out\n"
        "hint: check the name, the network and the proxy, then run the same command again"
    )


def test_a_registry_without_space(tmp_path):
    """A real one, whose files may not grow: it says 500, and is asked a few times."""
    import os
    import resource

    with running(tmp_path) as found:
        pid = _child_on(found.host)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        with pytest.raises(SurroundingsError) as caught:
            push(found)
        assert os.path.exists(f"/proc/{pid}")
    assert caught.value.exit_code == 4
    assert str(caught.value).startswith(f"cannot upload {sha(LARGE)}: the registry {found.host} ")


def _child_on(host):
    """The process of ours that listens there."""
    import os
    from pathlib import Path

    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    named = [p for p in children if b"docker-registry" in Path(f"/proc/{p}/cmdline").read_bytes()]
    (pid,) = named
    return int(pid)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("gone", "cannot read: no such file or directory"),
        ("link", "cannot read: too many levels of symbolic links"),
        ("fifo", "cannot read: not a regular file"),
        ("folder", "cannot read: not a regular file"),
    ],
)
def test_files_that_are_none(server, tmp_path, kind, reason):
    import os

    path = tmp_path / "blob"
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    source = BlobSource(digest=sha(LARGE), size=len(LARGE), content=path)
    with opened(f"{server.host}/a") as client, pytest.raises(SurroundingsError) as caught:
        push_blob(client, source)
    assert str(caught.value) == f"{path}: {reason}"
    assert server.uploads == {}


@pytest.mark.parametrize("data", [LARGE[:-1], LARGE[:100], b"X" + LARGE[1:]])
def test_a_file_that_changed(server, tmp_path, data):
    path = tmp_path / "blob"
    path.write_bytes(data)
    source = BlobSource(digest=sha(LARGE), size=len(LARGE), content=path)
    with opened(f"{server.host}/a") as client, pytest.raises(IntegrityError) as caught:
        push_blob(client, source)
    assert str(caught.value) == (
        f"{path}: not the bytes that its digest names\nexpected: {sha(LARGE)}\nfound: {sha(data)}"
    )
    assert server.uploads == {}
    assert server.blobs == {}


def test_an_answer_about_other_bytes(server):
    other = sha(b"other")
    server.faults.append(fault("PUT", lambda r: r.answer(201, Docker_Content_Digest=other)))
    with pytest.raises(IntegrityError) as caught:
        push(server, b"small")
    assert str(caught.value) == (
        f"{sha(b'small')}: the registry {server.host} says that it got something else than was "
        f"sent\nexpected: {sha(b'small')}\nfound: {other}"
    )


def test_a_blob_of_another_size_is_there(server):
    server.blobs["a", sha(LARGE)] = LARGE[:-1]
    with pytest.raises(IntegrityError) as caught:
        push(server)
    assert str(caught.value) == (
        f"{sha(LARGE)}: the registry {server.host} has a blob of this digest with another size\n"
        f"expected: {len(LARGE)} bytes\nfound: {len(LARGE) - 1} bytes"
    )


def test_a_manifest_that_lacks_a_blob(server):
    from support.layers import MANIFEST
    from support.oci_push import image_by_hand

    data = image_by_hand([b"gone"])[1]
    with opened(f"{server.host}/a") as client, pytest.raises(SurroundingsError) as caught:
        push_manifest(client, data, MANIFEST, "v1")
    assert str(caught.value) == (
        f"cannot push the manifest v1: the registry {server.host} answered with status 404 "
        "(it lacks a blob of the manifest)"
    )


# Many.


def sources(count):
    return [BlobSource.of_bytes(b"%d" % n * 1000) for n in range(count)]


def test_many_at_once(registry):
    recorder = Recorder()
    with opened(f"{registry.host}/a") as client:
        first = push_blobs(client, sources(20), recorder, "pushing")
        second = push_blobs(client, sources(21), recorder, "pushing")
    assert (first.uploaded, first.there) == (20, 0)
    assert (second.uploaded, second.there) == (1, 20)
    assert second.sent == len(b"20" * 1000)
    total = sum(source.size for source in sources(20))
    assert recorder.moved[0] == ("pushing", total, total)


def test_connections_are_used_again(server):
    with opened(f"{server.host}/a") as client:
        push_blobs(client, sources(30), Recorder(), "pushing")
        assert len(server.asked) > 90
        assert len(server.connections) <= client.limits.threads + 1


def test_the_first_failure_stops_the_others(server):
    """What is under way is not waited for, what was not begun is not begun."""
    bad = sources(30)[0]

    def answer(request):
        request.body()
        if bad.digest.replace(":", "%3A") in request.path:
            request.error(403, "DENIED")
            return
        # No answer, until whoever asked has gone.
        with contextlib.suppress(ConnectionError):
            while request.connection.recv(1):
                pass
        request.close_connection = True

    server.faults.append(fault("PUT", answer))
    with opened(f"{server.host}/a") as client, pytest.raises(SurroundingsError) as caught:
        push_blobs(client, sources(30), Recorder(), "pushing")
    assert str(caught.value).startswith(f"cannot upload {bad.digest}: ")
    assert server.methods("uploads").count("PUT") <= client.limits.threads


def test_after_an_interruption_what_is_there_is_not_sent_again(server):
    """The process is gone in the middle; the next one sends the rest."""
    with opened(f"{server.host}/a") as client, contextlib.suppress(KeyboardInterrupt):
        for number, source in enumerate(sources(10)):
            if number == 5:
                raise KeyboardInterrupt
            push_blob(client, source)
    with opened(f"{server.host}/a") as client:
        done = push_blobs(client, sources(10), Recorder(), "pushing")
        assert all(has_blob(client, s.digest, s.size) for s in sources(10))
    assert (done.there, done.uploaded) == (5, 5)
