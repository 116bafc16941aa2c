"""Docker's config.json and its helpers; whatever is wrong, no secret is in a message."""

from __future__ import annotations

import base64
import json

import pytest

from mllock.errors import InputError, SurroundingsError
from mllock.store.registry.credentials import Credentials, find_credentials

SECRET = "s3cr3t:with colon"
AUTH = base64.b64encode(f"ada:{SECRET}".encode()).decode()


@pytest.fixture
def config(tmp_path):
    """Writes config.json; answers the environment."""

    def write(value):
        text = value if isinstance(value, str) else json.dumps(value)
        (tmp_path / "config.json").write_text(text)
        return {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}

    return write


@pytest.fixture
def helper(tmp_path):
    """A credential helper in shell, as `docker-credential-NAME`."""

    def write(name, script):
        path = tmp_path / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return write


def test_none():
    assert find_credentials("example.org", {}) is None


def test_no_file(tmp_path):
    assert find_credentials("example.org", {"HOME": str(tmp_path)}) is None


@pytest.mark.parametrize("key", ["example.org:5000", "https://example.org:5000/v1/"])
def test_auths(config, key):
    environ = config({"auths": {"other.org": {"auth": "x"}, key: {"auth": AUTH}}})
    assert find_credentials("example.org:5000", environ) == Credentials(user="ada", password=SECRET)
    assert find_credentials("example.org", environ) is None


def test_home(tmp_path):
    (tmp_path / ".docker").mkdir()
    auths = {"auths": {"example.org": {"auth": AUTH}}}
    (tmp_path / ".docker" / "config.json").write_text(json.dumps(auths))
    found = find_credentials("example.org", {"HOME": str(tmp_path)})
    assert found == Credentials(user="ada", password=SECRET)
    assert found.basic == f"Basic {AUTH}"
    assert SECRET not in repr(found)


def test_identity_token(config):
    environ = config({"auths": {"example.org": {"auth": AUTH, "identitytoken": "tok"}}})
    assert find_credentials("example.org", environ) == Credentials(user="ada", token="tok")


def test_docker_hub_has_another_name(config):
    environ = config({"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}})
    assert find_credentials("docker.io", environ) == Credentials(user="ada", password=SECRET)


def test_helper_of_the_host_comes_first(config, helper):
    answer = json.dumps({"ServerURL": "x", "Username": "bob", "Secret": "from helper"})
    helper("one", f'[ "$1" = get ] && [ "$(cat)" = example.org ] && echo \'{answer}\'')
    environ = config(
        {"credHelpers": {"example.org": "one"}, "auths": {"example.org": {"auth": AUTH}}}
    )
    found = find_credentials("example.org", environ)
    assert found == Credentials(user="bob", password="from helper")


def test_store_with_a_token(config, helper):
    helper("store", """echo '{"Username": "<token>", "Secret": "tok"}'""")
    environ = config({"credsStore": "store"})
    assert find_credentials("example.org", environ) == Credentials(token="tok")


def test_store_that_has_none(config, helper):
    helper("store", "echo 'credentials not found in native keychain'; exit 1")
    environ = config({"credsStore": "store", "auths": {"example.org": {"auth": AUTH}}})
    assert find_credentials("example.org", environ) == Credentials(user="ada", password=SECRET)


@pytest.mark.parametrize(
    ("script", "what"),
    [
        (f"echo '{SECRET}'; exit 3", "failed with exit code 3"),
        (f"echo '{SECRET}'", "gave an answer that cannot be read"),
        (
            f"""echo '{{"Username": 1, "Secret": "{SECRET}"}}'""",
            "gave an answer that cannot be read",
        ),
    ],
)
def test_helpers_that_fail_show_nothing(config, helper, tmp_path, script, what):
    helper("bad", script)
    with pytest.raises(SurroundingsError) as caught:
        find_credentials("example.org", config({"credsStore": "bad"}))
    assert str(caught.value) == (
        f"{tmp_path}/config.json: docker-credential-bad {what}\n"
        "hint: mend the credential helper, or take its line out"
    )


def test_missing_helper(config, tmp_path):
    with pytest.raises(SurroundingsError) as caught:
        find_credentials("example.org", config({"credsStore": "gone"}))
    assert str(caught.value) == (
        f"{tmp_path}/config.json: docker-credential-gone cannot be started\n"
        "hint: mend the credential helper, or take its line out"
    )


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "-x", 7])
def test_helpers_are_names(config, name):
    with pytest.raises(InputError):
        find_credentials("example.org", config({"credHelpers": {"example.org": name}}))


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "[" * 100_000])
def test_not_a_configuration(config, tmp_path, text):
    with pytest.raises(InputError) as caught:
        find_credentials("example.org", config(text))
    assert str(caught.value) == (
        f"{tmp_path}/config.json: not a configuration of Docker's\nexpected: a JSON object\n"
        'hint: mend it, or log in again with "docker login"'
    )


@pytest.mark.parametrize("auth", ["not base64!", base64.b64encode(b"no colon").decode(), "/w=="])
def test_damaged_auth_is_not_shown(config, tmp_path, auth):
    with pytest.raises(InputError) as caught:
        find_credentials("example.org", config({"auths": {"example.org": {"auth": auth}}}))
    assert str(caught.value) == (
        f"{tmp_path}/config.json: auths.example.org: auth: not base64 of USER:PASSWORD"
    )
