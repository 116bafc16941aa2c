"""The client against docker-registry: open, with a password, with TLS, with tokens."""

from __future__ import annotations

import json

import pytest
from support.layers import sha
from support.oci_push import descriptor, image_by_hand, opened, push_by_hand
from support.registry import PASSWORD, USER, docker_config
from support.token_server import REFRESH

from mllock.errors import SurroundingsError
from mllock.store.registry.limits import Limits
from mllock.store.registry.upload import BlobSource, has_blob, push_blob

LAYERS = [b"a layer", b"x" * 3_000_000]
CHUNKS = Limits(chunk=1_000_000)


def round_trip(reference, environ):
    with opened(reference, environ, CHUNKS) as registry:
        digest = push_by_hand(registry, LAYERS, "v1")
        document = registry.document("v1")
        assert document.digest == digest
        assert document.data == image_by_hand(LAYERS)[1]
        assert registry.document(digest).data == document.data
        for data in LAYERS:
            assert b"".join(registry.stream(descriptor(data))) == data
            assert has_blob(registry, sha(data), len(data))
        assert registry.tags() == ("v1",)


def test_open(registry):
    round_trip(f"{registry.host}/team/wine", registry.environ)
    assert registry.uploads() == []


def test_what_is_there_is_not_sent_again(registry):
    with opened(f"{registry.host}/a") as client:
        assert push_blob(client, BlobSource.of_bytes(b"x")) == "uploaded"
        assert push_blob(client, BlobSource.of_bytes(b"x")) == "there"
    with opened(f"{registry.host}/b") as client:
        assert push_blob(client, BlobSource.of_bytes(b"x"), mount_from="a") == "mounted"
        # What the other repository does not have is sent.
        assert push_blob(client, BlobSource.of_bytes(b"y"), mount_from="a") == "uploaded"
        assert b"".join(client.stream(descriptor(b"y"))) == b"y"


def test_an_empty_blob(registry):
    with opened(f"{registry.host}/a") as client:
        assert push_blob(client, BlobSource.of_bytes(b"")) == "uploaded"
        assert list(client.stream(descriptor(b""))) == []


def test_other_bytes_than_the_digest_are_not_taken(registry, tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(b"other")
    with opened(f"{registry.host}/a") as client, pytest.raises(SurroundingsError) as caught:
        push_blob(client, BlobSource(digest=sha(b"bytes"), size=5, content=path))
    assert str(caught.value) == (
        f"{path}: not the bytes that its digest names\n"
        f"expected: {sha(b'bytes')}\nfound: {sha(b'other')}"
    )


def test_unknown_repository(registry):
    with (
        opened(f"{registry.host}/team/wine:1") as client,
        pytest.raises(SurroundingsError) as caught,
    ):
        client.document("1")
    assert str(caught.value) == (
        f"{registry.host}/team/wine:1: the registry {registry.host} has no repository "
        '"team/wine"\nhint: check its name, and that you may read it'
    )


def test_unknown_tag(registry):
    with opened(f"{registry.host}/team/wine") as client:
        for tag in ("v1.0", "latest"):
            push_by_hand(client, [], tag)
        with pytest.raises(SurroundingsError) as caught:
            client.document("v1.1")
    assert str(caught.value) == (
        f'{registry.host}/team/wine: no tag "v1.1" in this repository\n'
        'found: the tags latest, v1.0\nhint: did you mean "v1.0"?'
    )


def test_a_password(registry_basic, tmp_path):
    round_trip(f"{registry_basic.host}/team/wine", registry_basic.logged_in(tmp_path))


def test_a_password_of_a_helper(registry_basic, tmp_path):
    helper = tmp_path / "docker-credential-test"
    answer = json.dumps({"Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\necho '{answer}'\n")
    helper.chmod(0o755)
    config = {"credHelpers": {registry_basic.host: "test"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    environ = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    round_trip(f"{registry_basic.host}/team/wine", environ)


@pytest.mark.parametrize("password", [None, "wrong secret"])
def test_without_the_right_password(registry_basic, tmp_path, password):
    host = registry_basic.host
    environ = {} if password is None else docker_config(tmp_path, host, USER, password)
    with opened(f"{host}/a", environ) as client, pytest.raises(SurroundingsError) as caught:
        client.document("v1")
    assert str(caught.value) == (
        f"cannot read v1: the registry {host} does not accept the credentials, or wants some\n"
        f'hint: log in with "docker login {host}", or write them into config.json of Docker'
    )


def test_a_private_ca(registry_tls):
    round_trip(f"{registry_tls.host}/team/wine", registry_tls.environ)


def test_a_private_ca_as_openssl_is_told(registry_tls):
    environ = {"SSL_CERT_FILE": registry_tls.environ["MLLOCK_CA_FILE"]}
    round_trip(f"{registry_tls.host}/team/wine", environ)


def test_an_unknown_ca(registry_tls):
    with opened(f"{registry_tls.host}/a") as client, pytest.raises(SurroundingsError) as caught:
        client.document("v1")
    assert str(caught.value) == (
        f"cannot read v1: the registry {registry_tls.host} does not answer: "
        "no trusted TLS connection\n"
        "hint: name its certificate authority with MLLOCK_CA_FILE, or check the name"
    )


def test_tokens(registry_token, tmp_path):
    round_trip(f"{registry_token.host}/team/wine", registry_token.logged_in(tmp_path))
    scopes = [
        [kind, repository, set(actions.split(","))]
        for _, fields in registry_token.tokens.asked
        for kind, repository, actions in [fields["scope"][0].split(":")]
    ]
    # One token for reading, one for writing; those who need the same one share it.
    assert len(scopes) <= 3
    assert ["repository", "team/wine", {"pull", "push"}] in scopes


def test_tokens_for_an_identity_token(registry_token, tmp_path):
    config = {"auths": {registry_token.host: {"identitytoken": REFRESH}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    round_trip(f"{registry_token.host}/team/wine", {"DOCKER_CONFIG": str(tmp_path)})


def test_a_token_for_two_repositories(registry_token, tmp_path):
    """Mounting wants to read there and to write here: the registry says so, and is believed."""
    environ = registry_token.logged_in(tmp_path)
    with opened(f"{registry_token.host}/a", environ) as client:
        push_blob(client, BlobSource.of_bytes(b"x"))
    with opened(f"{registry_token.host}/b", environ) as client:
        assert push_blob(client, BlobSource.of_bytes(b"x"), mount_from="a") == "mounted"


def test_tokens_for_nobody(registry_token, tmp_path):
    with opened(f"{registry_token.host}/public/wine", registry_token.logged_in(tmp_path)) as client:
        digest = push_by_hand(client, LAYERS, "v1")
    with opened(f"{registry_token.host}/public/wine") as client:
        assert client.document("v1").digest == digest
        with pytest.raises(SurroundingsError) as caught:
            push_blob(client, BlobSource.of_bytes(b"new"))
    assert str(caught.value) == (
        f"cannot upload {sha(b'new')}: the registry {registry_token.host} does not accept the "
        "credentials, or wants some\n"
        f'hint: log in with "docker login {registry_token.host}", or write them into '
        "config.json of Docker"
    )


def test_a_wrong_password_for_a_token(registry_token, tmp_path):
    environ = docker_config(tmp_path, registry_token.host, USER, "wrong secret")
    with (
        opened(f"{registry_token.host}/a", environ) as client,
        pytest.raises(SurroundingsError) as caught,
    ):
        client.document("v1")
    assert str(caught.value) == (
        f"the registry {registry_token.host} does not accept the credentials\n"
        f'hint: log in with "docker login {registry_token.host}"'
    )


def test_a_private_ca_as_docker_is_told(registry_tls, tmp_path):
    """`certs.d/HOST:PORT/*.crt` counts for that host alone."""
    import shutil

    from mllock.store.registry.trust import tls_context

    folder = tmp_path / registry_tls.host
    folder.mkdir()
    shutil.copy(registry_tls.environ["MLLOCK_CA_FILE"], folder / "ca.crt")

    def subjects(host):
        return [dict(part[0] for part in ca["subject"]) for ca in
                tls_context({}, host, tmp_path).get_ca_certs()]  # fmt: skip

    ours = {"commonName": "test CA"}
    assert ours in subjects(registry_tls.host)
    assert ours not in subjects("example.org")
    assert ours not in subjects(None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "no such file or directory"), ("nothing", "no certificate in PEM form")],
)
def test_a_ca_file_that_is_none(tmp_path, text, reason):
    from mllock.errors import InputError
    from mllock.store.registry.trust import tls_context

    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as caught:
        tls_context({"MLLOCK_CA_FILE": str(path)}, None)
    assert str(caught.value) == (
        f"{path}: cannot read the certificates: {reason}\nhint: see the variable MLLOCK_CA_FILE"
    )
