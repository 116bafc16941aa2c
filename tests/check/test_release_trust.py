"""The claim `release`: whose word counts, what else may lie there, and what damage does."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.layers import compact
from support.mutate import BYTES, mutate_bytes, mutate_json
from support.releases import (
    LATER,
    answer,
    ask,
    folder,
    put_release,
    put_revocations,
    release_of,
    said,
)
from support.world import OTHER, RUN, World, finding, make_run

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.attest.release import make_release
from mllock.errors import InputError, MllockError, RunError, SurroundingsError
from mllock.lock.format import read_lock
from mllock.train.runs import RunFolder

FOLDER = ".mllock/releases"
DAY = dt.timedelta(days=1)


@pytest.fixture
def oci(world: World) -> str:
    return f"oci:{world.oci}"


def test_two_with_one_number(world: World) -> None:
    """As from two copies of a project that released at the same time."""
    put_release(world, RUN)
    other = put_release(world, OTHER)
    found = answer(world)
    assert said(found) == (
        "unproven",
        'there are two that are release 1 of stage "production": '
        f"production/000001-{OTHER}.sigstore.json, production/000001-{RUN}.sigstore.json",
    )
    other.unlink()
    assert said(answer(world)) == (
        "unproven",
        'there are two that are release 1 of stage "production": '
        f"production/000001-{RUN}.sigstore.json, and one that was seen before",
    )
    put_release(world, number=2)
    assert answer(world).verdict == "proven"


def test_two_with_one_number_that_both_are_of_another_run(world: World) -> None:
    put_release(world, OTHER)
    put_release(world, OTHER, expires=LATER + DAY).rename(folder(world) / "x.sigstore.json")
    put_release(world, OTHER)
    assert answer(world).verdict == "refuted"


def test_a_copy_is_not_another_one(world: World) -> None:
    path = put_release(world)
    shutil.copy(path, folder(world) / "copy.sigstore.json")
    assert answer(world).verdict == "proven"


@pytest.mark.parametrize("number", [2, 3])
def test_a_newer_release_by_a_key_that_is_not_trusted(
    world: World, other_key: Any, policy: Any, number: int
) -> None:
    put_release(world, RUN, number=2)
    path = put_release(world, OTHER, number=number, key=other_key)
    name = path.relative_to(folder(world))
    found = answer(world)
    assert said(found) == (
        "unproven",
        f"release {number} ({name}) is not trusted: signed by a key that nothing here trusts; "
        f"without a policy, this machine's own key is ({other_key.fingerprint})",
    )
    assert found.cure is not None
    assert found.cure.endswith(
        f"mllock keys trust FILE --project tiny --fingerprint {other_key.fingerprint}"
    )
    assert answer(world, policy=policy(world.key.public)).verdict == "unproven"


def test_an_older_release_by_anybody_does_not_matter(world: World, other_key: Any) -> None:
    put_release(world, OTHER, number=1, key=other_key)
    put_release(world, RUN, number=2)
    assert answer(world).verdict == "proven"


def test_only_releases_that_are_not_trusted(world: World, other_key: Any, policy: Any) -> None:
    put_release(world, key=other_key)
    assert answer(world).verdict == "unproven"
    trust = policy(world.key.public)
    text = trust.read_text()
    for more, verdict in (
        ("", "unproven"),
        (f'[[trust]]\nproject = "*"\npublic-key = """{other_key.public_pem}"""\n', "proven"),
    ):
        trust.write_text(text + more)
        assert answer(world, policy=trust).verdict == verdict


def test_released_by_a_revoked_key(world: World, other_key: Any, policy: Any) -> None:
    put_release(world, key=other_key)
    trust = policy(world.key.public)
    trust.write_text(
        f"{trust.read_text()}"
        f'[[trust]]\nproject = "*"\npublic-key = """{other_key.public_pem}"""\n'
        f'[[revoked]]\nfingerprint = "{other_key.fingerprint}"\nreason = "stolen"\n'
    )
    assert said(answer(world, policy=trust)) == (
        "unproven",
        f"release 1 (production/000001-{RUN}.sigstore.json) is not trusted: {trust} revokes this "
        f"key: stolen ({other_key.fingerprint})",
    )


def test_a_revocation_by_a_key_that_is_not_trusted(world: World, other_key: Any) -> None:
    put_release(world, number=1)
    put_revocations(world, RUN, number=1, key=other_key)
    found = answer(world)
    assert found.verdict == "unproven"
    assert found.reason.startswith(
        "a list of revocations (revoked/000001.sigstore.json) is not trusted: signed by a key "
    )
    assert said(finding(ask(world, stage=None), "release"))[0] == "not asked"


def test_the_record_is_not_trusted(world: World, other_key: Any) -> None:
    """A good release proves nothing about a record that nobody trusts."""
    path = world.run / "record.sigstore.json"
    path.write_bytes(sign_statement(read_bundle(path.read_bytes()).payload, other_key))
    put_release(world)
    found = answer(world, f"{world.run}/model")
    assert found.verdict == "unproven"
    path.write_bytes(b"{}")
    found = answer(world, f"{world.run}/model", run=RUN)
    assert said(found) == ("unproven", "there is no record of what it should be")


def test_the_policy_names_the_stage(world: World, policy: Any) -> None:
    trust = policy(world.key.public)
    trust.write_text(f'{trust.read_text()}[[release]]\nproject = "tiny"\nstage = "production"\n')
    assert answer(world, stage=None, policy=trust).verdict == "unproven"
    put_release(world)
    assert answer(world, stage=None, policy=trust).verdict == "proven"
    put_release(world, OTHER, number=2)
    assert answer(world, stage=None, policy=trust).verdict == "refuted"
    put_release(world, stage="staging")
    assert answer(world, stage="staging", policy=trust).verdict == "proven"


def test_the_released_run_is_the_measure(whole: World, world: World) -> None:
    """Two runs with one model, bit for bit: the older one is the released one."""
    again = "20261124-081501-zzzz"
    shutil.copytree(whole.root / "cache", world.root / "cache")
    lock = read_lock(world.project / "mlproject.lock")
    make_run(world.context(), lock, again, model_of(world))
    assert RunFolder(world.run.with_name(again)).record().model == release_of(world).model
    put_release(world, RUN)
    report = ask(world)
    assert (report.run, report.exit_code()) == (RUN, 0)
    assert report.record == f"{RUN}/record.sigstore.json (the released run has this model)"
    put_release(world, again, number=2)
    assert ask(world).run == again
    place = world.deployed()
    (place / "weights.bin").write_bytes(b"")
    assert ask(world, str(place)).record == (
        f"{again}/record.sigstore.json (no run has this model; this is the released one)"
    )


def model_of(world: World) -> dict[str, bytes]:
    root = world.run / "model"
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_names_that_are_no_stage(world: World) -> None:
    with pytest.raises(InputError) as caught:
        ask(world, stage="../x")
    assert str(caught.value) == (
        '"../x" cannot be the name of a stage\n'
        'expected: lower-case letters and digits, joined by "-", at most 64; not "revoked"'
    )


def put_link(path: Path) -> None:
    path.rename(path.parent.parent / "real")
    path.symlink_to("../real")


def put_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (put_link, "cannot read: too many levels of symbolic links"),
        (put_fifo, "not a regular file"),
        (lambda path: path.write_bytes(b"x" * 1_100_000), "more than 1048576 bytes"),
        (
            lambda path: path.write_bytes(path.read_bytes().replace(b"{", b'{"mediaType":"",', 1)),
            "not a signed bundle: duplicate key 'mediaType'",
        ),
    ],
)
def test_files_that_are_none(world: World, change: Any, problem: str) -> None:
    put_release(world, number=2)
    change(put_release(world, OTHER, number=1))
    name = f"production/000001-{OTHER}.sigstore.json"
    assert said(answer(world)) == (
        "unproven",
        f"{name} cannot be read as what it was: {problem}",
    )


def test_duplicate_keys_in_what_was_signed(world: World) -> None:
    put_release(world, number=2)
    path = put_release(world, OTHER, number=3)
    payload = make_release(release_of(world, OTHER, number=3))
    twice = payload.replace(b'"number":3', b'"number":1,"number":3')
    path.write_bytes(sign_statement(twice, world.key))
    assert answer(world).verdict == "unproven"


def test_other_statements_and_files_may_lie_there(world: World) -> None:
    put_release(world)
    shutil.copy(world.run / "record.sigstore.json", folder(world) / "r.sigstore.json")
    (folder(world) / "README.md").write_text("ours\n")
    assert answer(world).verdict == "proven"


def test_a_folder_of_releases_that_is_none(world: World) -> None:
    folder(world).write_text("x")
    with pytest.raises(InputError) as caught:
        ask(world)
    assert str(caught.value) == (
        f"{folder(world)}: cannot read the releases: not a directory\n"
        "expected: a folder of release statements"
    )


def test_memory_that_cannot_be_kept_is_an_error(world: World) -> None:
    put_release(world)
    (world.root / ".local").write_text("x")
    with pytest.raises(RunError) as caught:
        ask(world)
    assert caught.value.message == "cannot read what was seen: not a directory"
    (world.root / ".local").unlink()
    (world.root / ".local").mkdir()
    (world.root / ".local" / "state").symlink_to("/proc/nowhere")
    with pytest.raises(SurroundingsError) as unwritable:
        ask(world)
    place = world.root / ".local/state/mllock/seen"
    assert str(unwritable.value) == (
        f"{place}: cannot write: a file is where a folder should be\n"
        "hint: a check with a stage keeps what it has seen: set XDG_STATE_HOME to a folder that "
        "can be written to, and that lasts"
    )


RANK = {"proven": 2, "unproven": 1, "refuted": 0}


def damaged(data: bytes, what: str, how: str, dice: random.Random) -> bytes:
    if what == "bytes":
        return mutate_bytes(data, how, dice)
    import base64

    bundle = json.loads(data)
    if what == "bundle":
        return compact(mutate_json(bundle, how, dice))
    envelope = bundle["dsseEnvelope"]
    payload = mutate_json(json.loads(base64.b64decode(envelope["payload"])), how, dice)
    damaged = base64.b64encode(compact(payload)).decode()
    return compact(bundle | {"dsseEnvelope": envelope | {"payload": damaged}})


@pytest.fixture(scope="module")
def shared(whole: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    return whole.copy(tmp_path_factory.mktemp("releases") / "w")


@pytest.mark.parametrize("how", BYTES)
@pytest.mark.parametrize("what", ["bytes", "bundle", "payload"])
@pytest.mark.parametrize("case", ["released", "replaced", "revoked"])
@pytest.mark.parametrize("with_policy", [False, True])
def test_no_damage_makes_a_better_answer(
    shared: World, policy: Any, case: str, what: str, how: str, with_policy: bool
) -> None:
    """On a machine that has seen nothing, which is the worst case."""
    shutil.rmtree(folder(shared), ignore_errors=True)
    put_release(shared, RUN, number=1)
    target = str(shared.run / "model")
    path = {
        "released": lambda: put_release(shared, RUN, number=2),
        "replaced": lambda: put_release(shared, OTHER, number=2),
        "revoked": lambda: put_revocations(shared, RUN),
    }[case]()
    data = path.read_bytes()
    options = {"policy": policy(shared.key.public)} if with_policy else {}

    def rank() -> int:
        shutil.rmtree(shared.root / ".local", ignore_errors=True)
        try:
            return RANK[finding(ask(shared, target, **options), "release").verdict]
        except MllockError as error:
            assert error.exit_code != 0
            return -1

    whole = rank()
    assert whole == (2 if case == "released" else 0)
    for seed in range(8):
        dice = random.Random(f"{case} {what} {how} {seed}")
        new = damaged(data, what, how, dice)
        path.write_bytes(new)
        better = rank()
        if case == "released":
            # Damage of what is needed: never proven, or it is what protobuf JSON says is the same.
            assert better < 2 or without_default(new) == without_default(data), seed
        else:
            assert better < 2 or is_gone(new, data), seed


def is_gone(new: bytes, old: bytes) -> bool:
    """Payload and name of the key both changed (a swap can): the statement was removed, and one by
    somebody else about something else is in its place. Seeds 63 and 169 of "replaced" are that."""
    try:
        found, before = read_bundle(new), read_bundle(old)
    except RunError:
        return False
    return found.hint != before.hint and found.payload != before.payload


def without_default(bundle: bytes) -> Any:
    value = json.loads(bundle)
    if value["verificationMaterial"].get("tlogEntries") == []:
        del value["verificationMaterial"]["tlogEntries"]
    return value
