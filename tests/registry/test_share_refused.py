"""`mllock push` and `mllock pull`: what is refused, what is said, and the commands."""

from __future__ import annotations

import json
import shutil

import pytest
from support.registry import docker_config
from support.sharing import RICH, listing, pull, push
from support.small_registry import small_registry

from mllock.cli.main import run as cli
from mllock.errors import AnswerNoError, InputError, OfflineError, RunError, SurroundingsError
from mllock.store.layout_reader import open_layout
from mllock.train.runs import open_run
from mllock.workflows.pull_model import refuse_full_disk

pytestmark = pytest.mark.usefixtures("quick")


# Whose signature.


def test_an_unknown_key_is_said(rich, server, elsewhere):
    push(rich, server.host, run=RICH)
    done = pull(elsewhere(), server.host)
    assert not done.trust.trusted
    assert done.trust.status == "unknown"


def test_a_key_that_the_policy_does_not_trust(rich, server, elsewhere, tmp_path, other_key):
    push(rich, server.host, run=RICH)
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[[trust]]\nproject = "tiny"\npublic-key = """\n{other_key.public.pem}"""\n')
    ctx = elsewhere()
    with pytest.raises(AnswerNoError) as caught:
        pull(ctx, server.host, policy=policy)
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith(f"{RICH}: the record's signature is refused: ")
    assert not ctx.state.exists()


# What is here already.


def test_again(rich, server, elsewhere):
    push(rich, server.host, run=RICH)
    ctx = elsewhere(rich)
    first = pull(ctx, server.host)
    before = listing(ctx.project)
    again = pull(ctx, server.host)
    assert again.there
    assert again.run == first.run
    assert listing(ctx.project) == before


def test_another_run_of_that_name(rich, server, elsewhere):
    push(rich, server.host, run=RICH)
    ctx = elsewhere(rich)
    (ctx.runs / RICH).mkdir(parents=True)
    with pytest.raises(RunError) as caught:
        pull(ctx, server.host)
    assert str(caught.value) == (
        f"{ctx.runs / RICH}: another run of this name is here\n"
        "hint: pull into an empty folder, or move it away"
    )


def test_another_project(rich, server, elsewhere):
    push(rich, server.host, run=RICH)
    ctx = elsewhere(rich)
    (ctx.project / "mlproject.toml").write_text(
        '[project]\nname = "large"\n[environment]\npython = "3.11"\n'
    )
    with pytest.raises(InputError) as caught:
        pull(ctx, server.host)
    assert str(caught.value) == (
        "mlproject.toml: project.name: the run is of another project than this folder\n"
        "expected: tiny\nfound: large\nhint: pull into an empty folder"
    )
    assert not ctx.state.exists()


def test_an_interrupted_pull_is_gone_on_with(rich, server, elsewhere):
    """Nothing has its name, layers that came are not fetched again."""
    push(rich, server.host, run=RICH)
    image = open_layout(rich.oci).image("serve")
    layer = image.layers[-1]
    last = layer.digest

    def cut(request):
        if request.command != "GET" or not request.path.endswith(last):
            return False
        request.answer(200, b"", length=layer.size)
        request.hang_up()
        return True

    server.faults.append(cut)
    ctx = elsewhere(rich)
    with pytest.raises(OfflineError):
        pull(ctx, server.host)
    assert not (ctx.state / "oci").exists()
    assert not (ctx.state / "tmp").exists()
    server.faults.clear()
    server.asked.clear()
    assert pull(ctx, server.host).images == ("serve", "train")
    fetched = [path for _, path in server.asked if "/blobs/" in path]
    assert f"/v2/wine/blobs/{image.layers[0].digest}" not in fetched
    assert f"/v2/wine/blobs/{last}" in fetched


def test_a_disk_without_room(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(SurroundingsError) as caught:
        refuse_full_disk(tmp_path, 10**18)
    assert caught.value.message == "not enough space for the model"
    assert caught.value.expected == f"{10**18} bytes"
    refuse_full_disk(tmp_path, min(free // 2, 1000))


# What cannot be pushed.


def test_a_model_that_changed(rich, server):
    for name in ("one.bin", "small.txt"):
        path = rich.project / ".mllock" / "runs" / RICH / "model" / name
        data = path.read_bytes()
        path.write_bytes(b"X" + data[1:])
        with pytest.raises((SurroundingsError, InputError)) as caught:
            push(rich, server.host, run=RICH)
        assert str(path) in str(caught.value)
        path.write_bytes(data)
    assert server.tags == {}


@pytest.mark.parametrize("name", ["params.json", "log.txt", "mlproject.lock"])
def test_a_file_of_the_run_that_changed(rich, server, name):
    path = rich.project / ".mllock" / "runs" / RICH / name
    path.write_bytes(b"other")
    with pytest.raises(RunError) as caught:
        push(rich, server.host, run=RICH)
    assert str(caught.value).startswith(f"{RICH}/{name}: not the ")


def test_no_run(world, server):
    shutil.rmtree(world.context().runs)
    with pytest.raises(RunError) as caught:
        push(world, server.host)
    assert str(caught.value) == ('there is no good run to push\nhint: make one with "mllock train"')


# The commands.


def command(world, *arguments, monkeypatch):
    for name, value in world.context().environ.items():
        monkeypatch.setenv(name, value)
    return cli(["--project", str(world.project), *arguments])


def test_the_commands(rich, server, elsewhere, monkeypatch, capsys):
    where = f"registry:{server.host}/wine:v1"
    assert command(rich, "push", where, "--run", RICH, monkeypatch=monkeypatch) == 0
    said = capsys.readouterr()
    digest = server.tags["wine", "v1"]
    model = open_run(rich.context().runs, RICH).record().model
    assert said.out == (
        f"run      {RICH}\nmodel    {model}\n"
        f"serve    {server.host}/wine:v1-serve\ntrain    {server.host}/wine:v1-train\n"
        f"pushed   {server.host}/wine:v1@{digest}\n"
    )
    ctx = elsewhere(rich)
    for name in ("XDG_CONFIG_HOME", "MLLOCK_CACHE"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", ctx.environ["HOME"])
    monkeypatch.chdir(ctx.project)
    assert cli(["pull", where]) == 0
    said = capsys.readouterr()
    assert said.out == (
        f"run      {RICH}\nproject  tiny\nmodel    {model}\n"
        f"signed   trusted {rich.key.fingerprint}\n"
        "image    oci:.mllock/oci:serve\nimage    oci:.mllock/oci:train\n"
    )
    assert said.err.splitlines()[-1] == "next: mllock check oci:.mllock/oci"
    assert cli(["check", "oci:.mllock/oci", "--allow-unproven", "environment"]) == 0
    # There is no spec here, and nothing of this needs one.
    assert cli(["runs"]) == 0
    assert cli(["show"]) == 0
    assert cli(["push", f"registry:{server.host}/again"]) == 0
    assert server.tags["again", "latest"] == digest
    capsys.readouterr()
    assert cli(["pull", where, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["there"] is True
    assert document["digest"] == digest
    assert document["images"] == ["serve", "train"]


def test_push_in_json(rich, server, monkeypatch, capsys):
    arguments = ("push", f"registry:{server.host}/wine", "--run", RICH, "--json")
    assert command(rich, *arguments, monkeypatch=monkeypatch) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["reference"] == f"{server.host}/wine:latest"
    assert document["images"]["serve"] == f"{server.host}/wine:serve"
    assert document["blobs"]["uploaded"] > 0


@pytest.mark.parametrize(
    ("name", "target", "code", "message"),
    [
        ("push", "example.org/wine:v1", 2,
         "example.org/wine:v1: not a registry\nexpected: registry:HOST/REPO[:TAG]\n"
         'hint: write "registry:example.org/wine:v1"'),
        ("pull", "oci:x", 2, "oci:x: not a registry\nexpected: registry:HOST/REPO[:TAG]"),
        ("pull", "registry:wine", 2,
         "wine: the host of the registry is missing or malformed\n"
         "expected: HOST[:PORT]/REPO[:TAG|@DIGEST]"),
        ("push", f"registry:example.org/a@sha256:{'0' * 64}", 2,
         f"example.org/a@sha256:{'0' * 64}: an image cannot be put under a digest\n"
         "hint: give a tag, or nothing"),
        ("pull", "registry:THERE/wine:v9", 4,
         'THERE/wine:v9: the registry THERE has no repository "wine"\n'
         "hint: check its name, and that you may read it"),
    ],
)  # fmt: skip
def test_bad_input(world, server, monkeypatch, capsys, name, target, code, message):
    shown = message.replace("THERE", server.host)
    target = target.replace("THERE", server.host)
    assert command(world, name, target, monkeypatch=monkeypatch) == code
    assert capsys.readouterr().err == f"error: {shown}\n"


def test_no_credential_is_anywhere(rich, server, elsewhere, tmp_path):
    """In nothing that was pushed, and in nothing that was pulled."""
    secret = "hunter2-secret"

    def asks(request):
        if request.headers.get("Authorization") is None:
            request.answer(401, WWW_Authenticate='Basic realm="x"')
            return True
        return False

    server.faults.append(asks)
    environ = docker_config(tmp_path / "docker", server.host, "ada", secret)
    push(rich, server.host, run=RICH, environ=environ)
    ctx = elsewhere(rich, environ=environ)
    pull(ctx, server.host)
    needles = (secret.encode(), environ["DOCKER_CONFIG"].encode())
    for data in (*server.blobs.values(), *(data for _, data in server.manifests.values())):
        assert not any(needle in data for needle in needles)
    for path in ctx.project.rglob("*"):
        if path.is_file():
            assert not any(needle in path.read_bytes() for needle in needles)


def test_a_registry_that_is_gone(rich, elsewhere):
    with small_registry() as server:
        host = server.host
    ctx = elsewhere(rich)
    for act in (lambda: push(rich, host, run=RICH), lambda: pull(ctx, host)):
        with pytest.raises(OfflineError) as caught:
            act()
        assert f"the registry {host} does not answer: connection refused" in str(caught.value)
    assert not ctx.state.exists()
