"""Lists of tags, and registries that are not on loopback."""

from __future__ import annotations

import json
import socket

import pytest
from support.layers import MANIFEST, compact, sha
from support.oci_push import image_by_hand, opened
from support.small_registry import on, small_registry
from support.webserver import serving

from mllock.errors import IntegrityError, OfflineError


def test_tags_of_many_pages(server):
    for tag in ("a", "b", "c", "d", "e"):
        server.put("a", tag, image_by_hand([])[1], MANIFEST)
    with opened(f"{server.host}/a") as client:
        assert client.tags() == ("a", "b", "c", "d", "e")
    assert server.methods("tags") == ["GET"] * 3


def test_a_list_that_goes_on_elsewhere(server):
    with serving({}) as other:
        link = f'<{other.url}/v2/a/tags/list>; rel="next"'
        body = json.dumps({"tags": ["a"]}).encode()
        server.faults.append(on("tags", lambda r: r.answer(200, body, Link=link)))
        with opened(f"{server.host}/a") as client, pytest.raises(IntegrityError) as caught:
            client.tags()
        assert other.asked == []
    assert str(caught.value) == (
        f"{server.host}/a: the registry {server.host} goes on with a list elsewhere"
    )


def test_a_list_that_goes_on_at_no_url(server):
    server.faults.append(
        on("tags", lambda r: r.answer(200, b'{"tags": ["a"]}', Link='<http://[::1>; rel="next"'))
    )
    with opened(f"{server.host}/a") as client, pytest.raises(IntegrityError) as caught:
        client.tags()
    assert str(caught.value) == (
        f"{server.host}/a: the registry {server.host} goes on with a list elsewhere"
    )


def test_tags_that_are_none(server):
    body = compact({"tags": ["ok", "../no", 7, "\x1b[2J"]})
    server.faults.append(on("tags", lambda r: r.answer(200, body)))
    with opened(f"{server.host}/a") as client:
        assert client.tags() == ("ok",)


def test_plain_http_needs_a_name(monkeypatch):
    """A registry that is not on loopback is asked over https, unless the user names it."""
    with small_registry() as server:
        port = server.host.rpartition(":")[2]
        server.put("a", "v1", image_by_hand([])[1], MANIFEST)
        # A name of loopback that is not known to be one.
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *rest, **options: real(
                "127.0.0.1" if host == "lab.example.org" else host, *rest, **options
            ),
        )
        with opened(f"lab.example.org:{port}/a") as client, pytest.raises(OfflineError):
            client.document("v1")
        assert all(path != "/v2/a/manifests/v1" for _, path in server.asked)
        environ = {"MLLOCK_PLAIN_HTTP": f"other.example.org, lab.example.org:{port}"}
        with opened(f"lab.example.org:{port}/a", environ) as client:
            assert client.document("v1").digest == sha(image_by_hand([])[1])
