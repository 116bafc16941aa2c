"""`mllock release`, `revoke`, `releases` and `show` as they are typed, on a real small project."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.releases import folder, put_release, put_revocations
from support.world import OTHER, RUN, World, make_run, make_world

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.attest.keys import SigningKey, load_or_create_key
from mllock.attest.release import Release, Revocations, read_release, read_revocations
from mllock.cli.main import run
from mllock.lock.format import read_lock


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("released"))


@pytest.fixture
def world(made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    copy = made.copy(tmp_path / "w")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(copy.root / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(copy.root / "state"))
    monkeypatch.delenv("MLLOCK_KEY", raising=False)
    monkeypatch.chdir(copy.project)
    return copy


@pytest.fixture
def bob(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "bob", {})


TODAY = dt.datetime.now(dt.UTC).replace(microsecond=0)
END = TODAY + dt.timedelta(days=90)


def put(world: World, run: str = RUN, **changes: Any) -> Path:
    """Commands go by the real clock."""
    return put_release(world, run, **{"issued": TODAY, "expires": END} | changes)


def read(path: Path) -> Release:
    return read_release(read_bundle(path.read_bytes()).payload)


def listed(path: Path) -> Revocations:
    return read_revocations(read_bundle(path.read_bytes()).payload)


def output(capsys: Any, *arguments: str, code: int = 0) -> tuple[str, str]:
    assert run(list(arguments)) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_release_binds_the_whole_set(world: World, capsys) -> None:
    out, err = output(capsys, "release", RUN[:8], "--stage", "production")
    path = folder(world) / "production" / f"000001-{RUN}.sigstore.json"
    release = read(path)
    assert out == (
        f"released {RUN}\n"
        "as       release 1 of tiny, stage production\n"
        f"until    {release.expires:%Y-%m-%dT%H:%M:%SZ}\n"
        f"model    {release.model}\n"
        f"image    serve linux/amd64 {release.images[0].manifest}\n"
        f"image    train linux/amd64 {release.images[1].manifest}\n"
        f"file     {path}\n"
        f"signed   {world.key.fingerprint}\n"
    )
    assert err == ""
    assert (release.expires - release.issued).days == 90
    index = json.loads((world.oci / "index.json").read_bytes())["manifests"]
    names = {
        entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"]
        for entry in index
        if "annotations" in entry
    }
    assert {image.kind: image.manifest for image in release.images} == names
    for target in (f"oci:{world.oci}", str(world.run / "model")):
        arguments = ["check", target, "--stage", "production"]
        assert run([*arguments, "--allow-unproven", "environment"]) == 0
    capsys.readouterr()
    assert output(capsys, "release", RUN, "--stage", "production")[0].splitlines()[1] == (
        "as       release 2 of tiny, stage production"
    )


def test_the_end(world: World, capsys) -> None:
    out, _ = output(capsys, "release", RUN, "--stage", "a", "--expires", "7", "--json")
    made = json.loads(out)
    release = read(Path(made["file"]))
    assert (release.expires - release.issued).days == 7
    assert made["expires"] == f"{release.expires:%Y-%m-%dT%H:%M:%SZ}"
    assert (made["number"], made["stage"], made["run"]) == (1, "a", RUN)
    out, _ = output(capsys, "release", RUN, "--stage", "a", "--expires", "2099-12-31", "--json")
    assert json.loads(out)["expires"] == "2100-01-01T00:00:00Z"
    for value in ("0", "-1", "9999", "2099-02-30", "soon"):
        _, err = output(capsys, "release", RUN, "--stage", "a", "--expires", value, code=2)
        assert err.splitlines()[0] == (
            f"error: Invalid value for '--expires': \"{value}\" is neither a number of days "
            "(1 to 3660) nor a day like 2027-12-31"
        )
    _, err = output(capsys, "release", RUN, "--stage", "a", "--expires", "2020-01-01", code=2)
    assert err == "error: a release that would be over already\nexpected: an end after now\n"


def test_what_does_not_exist_is_not_bound_and_said(world: World, capsys) -> None:
    _, err = output(capsys, "release", OTHER, "--stage", "production")
    assert err == (
        "warning: there is no serving image of this run, so none is bound: only a model folder can "
        f"be proven; first: mllock build serve --run {OTHER}\n"
    )
    (world.run / "train-image.sigstore.json").unlink()
    _, err = output(capsys, "release", RUN, "--stage", "production")
    assert err == "no training image of this run was built with it: none is bound\n"


def test_a_model_that_is_one_file(made: World, world: World, capsys) -> None:
    shutil.copytree(made.root / "cache", world.root / "cache")
    lock = read_lock(world.project / "mlproject.lock")
    single = "20261124-081501-zzzz"
    make_run(world.context(), lock, single, {"model": b"weights"}, single=True)
    assert run(["release", single, "--stage", "production"]) == 0
    place = world.root / "model.bin"
    place.write_bytes(b"weights")
    assert run(["check", str(place), "--stage", "production"]) == 0
    place.write_bytes(b"weightz")
    assert run(["check", str(place), "--stage", "production"]) == 1


def test_what_is_not_what_was_trained_is_not_released(world: World, bob, capsys) -> None:
    (world.run / "model" / "weights.bin").write_bytes(b"")
    _, err = output(capsys, "release", RUN, "--stage", "production", code=1)
    assert err == (
        f"error: {RUN}: model is refuted: not the model of run {RUN}\nfound: weights.bin\n"
        f'hint: see "mllock check {world.run / "model"}"\n'
    )
    path = world.other / "record.sigstore.json"
    path.write_bytes(sign_statement(read_bundle(path.read_bytes()).payload, bob))
    _, err = output(capsys, "release", OTHER, "--stage", "production", code=1)
    assert err.startswith(f"error: {OTHER}: signature is unproven: the record: signed by a key")
    assert not list(folder(world).rglob("*.json"))


def test_images_of_another_run_are_not_released(world: World, bob, capsys) -> None:
    name = "serve-image.sigstore.json"
    shutil.copy(world.run / name, world.other / name)
    _, err = output(capsys, "release", OTHER, "--stage", "production", code=1)
    assert err == (
        f"error: {OTHER}/{name}: the image statement is of another run\n"
        f"hint: build the image again: mllock build --run {OTHER}\n"
    )
    path = world.run / name
    path.write_bytes(sign_statement(read_bundle(path.read_bytes()).payload, bob))
    _, err = output(capsys, "release", RUN, "--stage", "production", code=1)
    assert err.startswith(f"error: {RUN}/{name}: the image statement is not trusted: signed by a")
    shutil.copy(world.run / "train-image.sigstore.json", path)
    assert run(["release", RUN, "--stage", "production"]) == 1
    assert not list(folder(world).rglob("*.json"))


def test_numbers_rise_over_what_was_seen(world: World, capsys) -> None:
    assert run(["release", RUN, "--stage", "production"]) == 0
    shutil.rmtree(folder(world))
    out, _ = output(capsys, "release", RUN, "--stage", "production")
    assert "as       release 2 of tiny, stage production\n" in out
    shutil.rmtree(world.root / "state")
    put(world, number=40)
    out, _ = output(capsys, "release", RUN, "--stage", "production")
    assert "as       release 41 of tiny, stage production\n" in out
    out, _ = output(capsys, "release", RUN, "--stage", "staging")
    assert "as       release 1 of tiny, stage staging\n" in out


def test_nothing_is_released_over_what_is_not_trusted(world: World, bob, capsys) -> None:
    path = put(world, number=3, key=bob)
    name = path.relative_to(folder(world))
    _, err = output(capsys, "release", RUN, "--stage", "production", code=2)
    assert err.splitlines()[:2] == [
        f"error: {name}: not trusted: signed by a key that nothing here trusts; without a policy, "
        "this machine's own key is",
        f"found: {bob.fingerprint}",
    ]
    assert err.endswith(f"mllock keys trust FILE --project tiny --fingerprint {bob.fingerprint}\n")
    path.write_bytes(b"{}")
    _, err = output(capsys, "release", RUN, "--stage", "staging", code=2)
    assert err.startswith(f"error: {name}: not a signed bundle: ")


def test_a_key_that_the_own_policy_does_not_trust(world: World, bob, capsys) -> None:
    policy = world.root / "config" / "mllock" / "policy.toml"
    policy.write_text(f'[[trust]]\nproject = "*"\npublic-key = """{bob.public_pem}"""\n')
    assert run(["release", RUN, "--stage", "production"]) == 1
    text = f'[[trust]]\nproject = "*"\npublic-key = """{world.key.public_pem}"""\n'
    policy.write_text(text)
    assert run(["release", RUN, "--stage", "production"]) == 0
    capsys.readouterr()
    _, err = output(capsys, "revoke", RUN, code=0)
    policy.write_text(f'[[trust]]\nproject = "*"\npublic-key = """{bob.public_pem}"""\n')
    _, err = output(capsys, "revoke", OTHER, code=2)
    assert err == (
        f"error: {policy}: your own policy would not trust this: {policy} does not name the key "
        f"that signed this\nfound: {world.key.fingerprint}\n"
        "hint: mllock keys export > own.pub && mllock keys trust own.pub --project tiny\n"
    )


def test_revoking(world: World, capsys) -> None:
    assert run(["release", RUN, "--stage", "production"]) == 0
    capsys.readouterr()
    out, err = output(capsys, "revoke", RUN, "--reason", "bad labels")
    path = folder(world) / "revoked" / "000001.sigstore.json"
    assert out == (
        f"revoked  {RUN}\nin       list 1 of tiny\nfile     {path}\n"
        f"signed   {world.key.fingerprint}\n"
    )
    assert err == "it was the released run of production: release another one there\n"
    assert output(capsys, "revoke", RUN)[0] == f"revoked  {RUN} (list 1 says so already)\n"
    assert run(["check", str(world.run / "model")]) == 1
    capsys.readouterr()
    _, err = output(capsys, "release", RUN, "--stage", "production", code=1)
    assert err == (
        f"error: {RUN}: the run was revoked: bad labels\nhint: train again, and release that run\n"
    )
    output(capsys, "revoke", OTHER)
    value = listed(folder(world) / "revoked" / "000002.sigstore.json")
    assert [(one.run, one.reason) for one in value.revoked] == [(OTHER, ""), (RUN, "bad labels")]


def test_a_run_that_is_gone_can_be_revoked(world: World, capsys) -> None:
    put(world)
    shutil.rmtree(world.run)
    output(capsys, "revoke", RUN[:12])
    (one,) = listed(folder(world) / "revoked" / "000001.sigstore.json").revoked
    assert one.run == RUN
    _, err = output(capsys, "revoke", "2031", code=2)
    assert err == 'error: no run "2031"\nhint: see "mllock runs"\n'


def test_a_list_that_was_lost_is_made_again(world: World, capsys) -> None:
    output(capsys, "revoke", OTHER, "--reason", "old")
    shutil.rmtree(folder(world))
    output(capsys, "revoke", RUN)
    value = listed(folder(world) / "revoked" / "000002.sigstore.json")
    assert [(one.run, one.reason) for one in value.revoked] == [(OTHER, "old"), (RUN, "")]
    shutil.rmtree(folder(world))
    memory = world.root / "state/mllock/seen/tiny.json"
    kept = memory.read_text()
    memory.write_text(kept.replace(RUN, "20200101-000000-aaaa"))
    _, err = output(capsys, "release", RUN, "--stage", "a", code=1)
    assert "the run was revoked" in err  # its record is remembered, whatever it is called
    (at,) = [one.record for one in value.revoked if one.run == RUN]
    memory.write_text(kept.replace(RUN, "20200101-000000-aaaa").replace(at[7:], 64 * "0"))
    _, err = output(capsys, "release", RUN, "--stage", "a", code=2)
    assert err == (
        "error: .mllock/releases: the newest list of revocations is missing\n"
        "expected: list 2\nfound: none\n"
        "hint: bring it back, or sign it again: mllock revoke RUN, of a run that it names\n"
    )
    memory.write_text(kept)
    output(capsys, "revoke", OTHER)
    value = listed(folder(world) / "revoked" / "000003.sigstore.json")
    assert [one.run for one in value.revoked] == [OTHER, RUN]


def test_a_list_that_is_not_trusted_is_not_taken_over(world: World, bob, capsys) -> None:
    put_revocations(world, OTHER, number=1, key=bob).rename(folder(world) / "b.sigstore.json")
    _, err = output(capsys, "revoke", RUN)
    assert err == (
        "warning: b.sigstore.json is not trusted: what it revokes is not in the new list\n"
    )
    value = listed(folder(world) / "revoked" / "000001.sigstore.json")
    assert [one.run for one in value.revoked] == [RUN]


def test_listing(world: World, capsys) -> None:
    assert output(capsys, "releases") == (
        "",
        "nothing is released yet: mllock release RUN --stage NAME\n",
    )
    put(world, OTHER, number=1)
    put(world, RUN, number=2)
    put(world, OTHER, number=1, stage="staging")
    put_revocations(world, OTHER)
    (folder(world) / "x.sigstore.json").write_text("{")
    out, err = output(capsys, "releases")
    assert out == (
        f"production      2  {RUN}  until {END:%Y-%m-%d}  released\n"
        f"production      1  {OTHER}  until {END:%Y-%m-%d}  revoked\n"
        f"staging         1  {OTHER}  until {END:%Y-%m-%d}  revoked\n"
        f"revoked            {OTHER}  bad labels\n"
    )
    assert err.startswith("warning: x.sigstore.json does not read: not a signed bundle: ")
    out, _ = output(capsys, "releases", "--json", "--stage", "staging")
    value = json.loads(out)
    assert value["project"] == "tiny"
    assert [(r["stage"], r["number"], r["status"]) for r in value["releases"]] == [
        ("staging", 1, "revoked")
    ]
    assert [(one["run"], one["reason"]) for one in value["revoked"]] == [(OTHER, "bad labels")]
    assert [one["file"] for one in value["unreadable"]] == ["x.sigstore.json"]
    _, err = output(capsys, "releases", "--releases", "no", code=2)
    assert err == "error: no: no such folder of releases\n"


def test_what_became_of_a_release(world: World, bob, capsys) -> None:
    put(world, RUN, number=1)
    newer = put(world, RUN, number=2)
    run(["check", str(world.run / "model"), "--stage", "production"])
    newer.unlink()
    put(world, RUN, number=1, stage="theirs", key=bob)
    capsys.readouterr()
    out, _ = output(capsys, "releases")
    assert [line.rpartition("  ")[2] for line in out.splitlines()] == [
        "older than release 2, which was seen before",
        "not trusted: signed by a key that nothing here trusts; without a policy, "
        "this machine's own key is",
    ]


def test_show_says_where_a_run_is_released(world: World, capsys) -> None:
    out, _ = output(capsys, "show", RUN)
    assert "stage" not in out
    assert "revoked" not in out
    put(world, RUN, number=3)
    put(world, RUN, number=1, stage="staging")
    put(world, OTHER, number=2, stage="staging")
    out, _ = output(capsys, "show", RUN)
    assert "stage production release 3, released\nstage staging release 1, replaced\n" in out
    put_revocations(world, RUN)
    out, _ = output(capsys, "show", RUN)
    assert "revoked      bad labels\nstage production release 3, revoked\n" in out
    out, _ = output(capsys, "show", RUN, "--json")
    value = json.loads(out)
    assert value["stages"] == {
        "production": "release 3, revoked",
        "staging": "release 1, revoked",
    }
    assert value["revoked"] == {"reason": "bad labels"}


def test_check_takes_the_stage_and_the_folder(world: World, tmp_path: Path, capsys) -> None:
    put(world)
    shutil.move(folder(world), tmp_path / "elsewhere")
    arguments = ["check", str(world.run / "model"), "--stage", "production"]
    assert run(arguments) == 3
    assert run([*arguments, "--releases", str(tmp_path / "elsewhere")]) == 0
    assert run([*arguments, "--allow-unproven", "release"]) == 0


def _release(number: int) -> int:
    return run(["-q", "release", RUN, "--stage", "production"])


def test_many_at_once_have_numbers_of_their_own(world: World) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(_release, range(4)) == [0] * 4
    files = sorted(folder(world).rglob("*.sigstore.json"))
    assert [read(path).number for path in files] == [1, 2, 3, 4]
    assert run(["check", str(world.run / "model"), "--stage", "production"]) == 0


def test_the_starter_lets_git_keep_releases(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[2] / "templates" / "sklearn" / ".gitignore", tmp_path)
    for name in (
        "releases/production/000001.sigstore.json",
        "runs/x/record.json",
        "oci/index.json",
    ):
        path = tmp_path / ".mllock" / name
        path.parent.mkdir(parents=True)
        path.touch()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    untracked = ["git", "ls-files", "--others", "--exclude-standard"]
    done = subprocess.run(untracked, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        ".gitignore",
        ".mllock/releases/production/000001.sigstore.json",
    ]
