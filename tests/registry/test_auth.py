"""Challenges, realms, and where credentials do not go."""

from __future__ import annotations

import pytest
from support.layers import MANIFEST
from support.oci_push import image_by_hand, opened
from support.registry import docker_config
from support.webserver import Answer, serving

from mllock.errors import OfflineError, SurroundingsError
from mllock.store.registry.auth import challenges


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Basic realm="a b"', {"basic": {"realm": "a b"}}),
        (
            'Bearer realm="https://example.org/t",service="s",scope="repository:a/b:pull,push"',
            {
                "bearer": {
                    "realm": "https://example.org/t",
                    "service": "s",
                    "scope": "repository:a/b:pull,push",
                }
            },
        ),
        (
            'Basic realm="x", Bearer realm=y , service="q\\"q"',
            {"basic": {"realm": "x"}, "bearer": {"realm": "y", "service": 'q"q'}},
        ),
        ('BEARER Realm="x",realm="z"', {"bearer": {"realm": "x"}}),
        ("Negotiate", {"negotiate": {}}),
        ("", {}),
        ("realm=x", {}),
        ('"""', {}),
    ],
)
def test_challenges(header, found):
    assert challenges(header) == found


def bearer(server, realm):
    """The registry wants a token of `realm`."""

    def asks(request):
        if request.headers.get("Authorization") == "Bearer tok":
            return False
        request.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')
        return True

    server.faults.append(asks)
    server.put("a", "v1", image_by_hand([])[1], MANIFEST)


def read(server, environ=None):
    with opened(f"{server.host}/a", environ) as client:
        return client.document("v1")


@pytest.fixture
def ada(server, tmp_path):
    return docker_config(tmp_path, server.host, "ada", "secret")


def test_a_token(server, ada):
    with serving(
        {
            "/t?x=1&service=s&scope=repository%3Aa%3Apull&account=ada": Answer(
                body=b'{"token":"tok"}'
            )
        }
    ) as realm:
        bearer(server, f"{realm.url}/t?x=1")
        read(server, ada)
        assert realm.headers[0]["Authorization"] == "Basic YWRhOnNlY3JldA=="


def test_credentials_do_not_go_over_plain_http(server, ada):
    bearer(server, "http://example.org/t")
    with pytest.raises(SurroundingsError) as caught:
        read(server, ada)
    assert str(caught.value) == (
        f"cannot log in: the registry {server.host} wants the credentials sent over plain http"
    )


def test_a_realm_over_plain_http(server):
    bearer(server, "http://example.org/t")
    with pytest.raises(SurroundingsError) as caught:
        read(server)
    assert str(caught.value) == (
        f"cannot log in: the registry {server.host} wants a token asked for over plain http"
    )


@pytest.mark.parametrize(
    "realm", ["", "file:///x", "https://", "https://[::1", "https://u:p@example.org/t"]
)
def test_realms_that_are_none(server, ada, realm):
    bearer(server, realm)
    with pytest.raises(SurroundingsError) as caught:
        read(server, ada)
    assert str(caught.value) == (
        f"cannot log in: the registry {server.host} names no address where a token can be had"
    )


def test_a_realm_that_redirects_is_not_followed(server, ada):
    with serving({}) as other:
        moved = Answer(status=307, headers={"Location": f"{other.url}/t"})
        url = "/t?service=s&scope=repository%3Aa%3Apull&account=ada"
        with serving({url: moved}) as realm:
            bearer(server, f"{realm.url}/t")
            with pytest.raises(SurroundingsError) as caught:
                read(server, ada)
        assert other.asked == []
    assert str(caught.value) == (
        f"cannot log in: the registry {server.host} gives no token: status 307"
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"token":7}', b'{"token":"a b"}', b'{"token":"a\\r\\nX: y"}',
     b'{"token":"' + b"x" * 2_000_000 + b'"}'],
)  # fmt: skip
def test_tokens_that_are_none(server, body):
    with serving({"/t?service=s&scope=repository%3Aa%3Apull": Answer(body=body)}) as realm:
        bearer(server, f"{realm.url}/t")
        with pytest.raises(SurroundingsError) as caught:
            read(server)
    assert str(caught.value) == (
        f"cannot log in: the registry {server.host} gives an answer without a token"
    )


def test_a_token_server_that_fails(server):
    with serving({"/t?service=s&scope=repository%3Aa%3Apull": Answer(status=503)}) as realm:
        bearer(server, f"{realm.url}/t")
        with pytest.raises(OfflineError) as caught:
            read(server)
        assert len(realm.asked) == 3
    assert "gives no token: status 503" in str(caught.value)


def test_a_registry_that_is_never_content(server, ada):
    """It asks again and again: we do not."""
    server.faults.append(
        lambda r: r.answer(401, WWW_Authenticate=f'Basic realm="{len(server.asked)}"') or True
    )
    with pytest.raises(SurroundingsError) as caught:
        read(server, ada)
    assert "does not accept the credentials" in str(caught.value)
    assert len(server.asked) <= 4


def test_no_credentials_of_netrc(server, tmp_path, monkeypatch):
    """Requests would send them on its own."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login eve password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.put("a", "v1", image_by_hand([])[1], MANIFEST)
    read(server)
    assert set(server.authorizations) == {None}


def test_a_refusal_does_not_repeat_what_it_was_sent(server, ada):
    def echoes(request):
        if request.headers.get("Authorization") is None:
            request.answer(401, WWW_Authenticate='Basic realm="x"')
        else:
            request.error(400, request.headers["Authorization"])
        return True

    server.faults.append(echoes)
    with pytest.raises(SurroundingsError) as caught:
        read(server, ada)
    assert str(caught.value) == (
        f"cannot read v1: the registry {server.host} answered with status 400"
    )
