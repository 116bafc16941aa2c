"""The claim `release`: each thing that can be wrong with what was released, and what check says."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.layers import compact
from support.mutate import BYTES, mutate_bytes, mutate_json
from support.releases import LATER, NOW, folder, put_release, put_revocations, release_of
from support.world import OTHER, RUN, World, finding, make_run, paths, verdicts

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.attest.release import make_release
from mllock.check.types import Finding, Report
from mllock.core.digest import sha256_of
from mllock.errors import InputError, MllockError, RunError, SurroundingsError
from mllock.lock.format import read_lock
from mllock.train.runs import RunFolder

FOLDER = ".mllock/releases"
DAY = dt.timedelta(days=1)


def ask(world: World, target: str | None = None, **options: Any) -> Report:
    options = {"stage": "production", "now": NOW, "accepted": ["environment"]} | options
    return world.check(target or str(world.deployed()), **options)


def answer(world: World, target: str | None = None, **options: Any) -> Finding:
    """The finding; nothing but a proven one, and nothing else wrong, comes with exit code 0."""
    report = ask(world, target, **options)
    found = finding(report, "release")
    assert (report.exit_code() == 0) == (found.verdict == "proven")
    return found


def said(found: Finding) -> tuple[str, str]:
    return found.verdict, found.reason


@pytest.fixture
def oci(world: World) -> str:
    return f"oci:{world.oci}"


def test_released(world: World, oci: str) -> None:
    path = put_release(world)
    for target in (None, oci):
        found = answer(world, target)
        assert found.verdict == "proven"
        assert found.level == "A"
        assert found.reason == (
            f'release 1 of stage "production", until 2027-02-23T22:00:00Z, is run {RUN}; '
            f"own key {world.key.fingerprint}"
        )
        assert found.source == str(path.relative_to(folder(world)))


def test_not_asked(world: World) -> None:
    put_release(world, OTHER)
    found = finding(ask(world, stage=None), "release")
    assert said(found) == ("not asked", "no stage was named")
    assert not (world.root / ".local").exists()


def test_nothing_is_released(world: World) -> None:
    found = answer(world)
    assert said(found) == (
        "unproven",
        f'no release of tiny for stage "production" in {FOLDER}',
    )
    assert found.cure == (
        "mllock release RUN --stage production, or name the folder of its statements with "
        "--releases DIR"
    )
    assert not (world.root / ".local").exists()
    put_release(world, stage="staging")
    assert answer(world) == found


def test_released_elsewhere(world: World, tmp_path: Path) -> None:
    """A folder of statements that came with the model; nothing of the project is there."""
    put_release(world)
    place = tmp_path / "statements"
    shutil.move(folder(world), place)
    record = shutil.copy(world.run / "record.sigstore.json", tmp_path / "r.sigstore.json")
    for name in ("mlproject.lock", "model.manifest"):
        shutil.copy(world.run / name, tmp_path / name)
    (world.root / "empty").mkdir()
    options = {"folder": "empty", "record": Path(record)}
    assert answer(world, releases=place, **options).verdict == "proven"
    assert answer(world, **options).verdict == "unproven"
    with pytest.raises(InputError) as caught:
        ask(world, releases=tmp_path / "no")
    assert str(caught.value) == f"{tmp_path / 'no'}: no such folder of releases"


def test_another_run_is_released(world: World, oci: str) -> None:
    put_release(world, OTHER)
    found = answer(world, oci)
    assert said(found) == ("refuted", 'release 1 of stage "production" is of another run')
    (difference,) = found.differences
    assert (difference.path, difference.expected, difference.found) == ("run", OTHER, RUN)
    put_release(world, RUN, number=2)
    assert answer(world, oci).verdict == "proven"
    put_release(world, OTHER, number=3)
    assert answer(world, oci).verdict == "refuted"


def test_an_older_release_put_back(world: World, oci: str) -> None:
    put_release(world, RUN, number=4)
    newer = put_release(world, OTHER, number=5)
    assert answer(world, oci).verdict == "refuted"
    newer.unlink()
    found = answer(world, oci)
    memory = world.root / ".local/state/mllock/seen/tiny.json"
    assert said(found) == (
        "refuted",
        'release 4 of stage "production" is an older one: release 5 was seen before',
    )
    (difference,) = found.differences
    assert (difference.path, difference.expected, difference.found) == (str(memory), "5", "4")
    # A stage of its own, and what another machine has seen, are other memories.
    put_release(world, RUN, stage="staging")
    assert answer(world, oci, stage="staging").verdict == "proven"
    memory.unlink()
    assert answer(world, oci).verdict == "proven"


def test_all_releases_taken_away(world: World) -> None:
    put_release(world)
    assert answer(world).verdict == "proven"
    shutil.rmtree(folder(world))
    verdict, reason = said(answer(world))
    assert verdict == "unproven"
    assert "; release 1 was seen before (" in reason


def test_a_revoked_run(world: World, oci: str) -> None:
    put_release(world)
    path = put_revocations(world, RUN)
    revoked = ("refuted", f"run {RUN} was revoked on 2026-11-25: bad labels")
    for options in ({}, {"stage": None}, {"stage": "staging"}):
        for target in (None, oci):
            report = ask(world, target, **options)
            assert said(finding(report, "release")) == revoked
            assert report.exit_code() == 1
    path.unlink()
    assert said(answer(world)) == (
        "refuted",
        f"run {RUN} was revoked as this machine has seen before: bad labels",
    )
    assert ask(world, f"{world.other}/model", stage=None).exit_code() == 0


def test_a_revocation_withheld(world: World) -> None:
    """From a machine that has seen nothing: the release itself says how many lists there were."""
    put_release(world, number=1)
    put_revocations(world, OTHER, number=1)
    newest = put_revocations(world, OTHER, number=2)
    put_release(world, number=2, revocations=2)
    memory = world.root / ".local"
    assert answer(world).verdict == "proven"
    newest.unlink()
    withheld = f"list 2 of revocations is known of, and only list 1 is in {FOLDER}"
    assert said(answer(world)) == ("unproven", withheld)
    shutil.rmtree(memory)
    assert said(answer(world)) == ("unproven", withheld)
    shutil.rmtree(folder(world) / "revoked")
    assert said(answer(world)) == (
        "unproven",
        f"list 2 of revocations is known of, and {FOLDER} has none",
    )


def test_a_revocation_that_was_seen_is_missed(world: World) -> None:
    put_release(world)
    path = put_revocations(world, OTHER, number=3)
    assert answer(world).verdict == "proven"
    path.unlink()
    assert said(answer(world)) == (
        "unproven",
        f"list 3 of revocations is known of, and {FOLDER} has none",
    )


@pytest.mark.parametrize("changes", [{"project": "other"}, {"stage": "staging"}])
def test_a_release_of_another_project_or_stage(world: World, changes: dict[str, str]) -> None:
    """Under the name that this one would have."""
    path = put_release(world, **changes)
    (folder(world) / "production").mkdir(exist_ok=True)
    shutil.move(path, folder(world) / "production" / path.name)
    found = answer(world)
    assert said(found)[0] == "unproven"
    assert said(found)[1].startswith('no release of tiny for stage "production"')


def test_revocations_of_another_project(world: World) -> None:
    put_release(world)
    put_revocations(world, RUN, number=9, project="other")
    assert answer(world).verdict == "proven"


def test_the_model_of_another_release(world: World) -> None:
    """The bytes of an old model in the place of the released one, held against either run."""
    put_release(world)
    place = world.deployed()
    shutil.copy(world.other / "model" / "weights.bin", place / "weights.bin")
    assert said(answer(world, str(place), run=RUN)) == (
        "refuted",
        "what is there is not the model that was released: see model",
    )
    report = ask(world, str(place))
    assert report.run == OTHER
    assert said(finding(report, "release")) == (
        "refuted",
        'release 1 of stage "production" is of another run',
    )


def test_the_image_of_another_release(world: World, oci: str) -> None:
    """The right run, and another image of it than the one that was released."""
    (image,) = release_of(world).images
    older = replace(image, config=sha256_of(b"config"), manifest=sha256_of(b"manifest"))
    put_release(world, images=(older,))
    report = ask(world, oci)
    assert verdicts(report)["configuration"] == "proven"
    found = finding(report, "release")
    assert said(found) == ("refuted", 'release 1 of stage "production" binds another set')
    assert paths(report, "release") == ["config", "manifest"]
    put_release(world, number=2, images=(older, replace(image, platform="linux/x")))
    assert answer(world, oci).verdict == "proven"
    # A config and a manifest of two images are no image.
    mixed = (replace(older, config=image.config), replace(image, platform="l", config=older.config))
    put_release(world, number=3, images=mixed)
    report = ask(world, oci)
    assert verdicts(report)["release"] == "refuted"
    assert paths(report, "release") == ["config and manifest"]


@pytest.mark.parametrize("what", ["model", "lock", "environment"])
def test_a_set_that_is_not_the_records(world: World, what: str) -> None:
    put_release(world, **{what: sha256_of(b"another")})
    report = ask(world)
    assert said(finding(report, "release")) == (
        "refuted",
        'release 1 of stage "production" binds another set',
    )
    assert paths(report, "release") == [what]


def test_a_release_without_an_image(world: World, oci: str) -> None:
    put_release(world, images=())
    assert answer(world).verdict == "proven"
    found = answer(world, oci)
    assert said(found) == (
        "unproven",
        'release 1 of stage "production" binds no serving image',
    )
    assert found.cure == f"mllock build serve --run {RUN}, then release it again"


def test_over(world: World) -> None:
    put_release(world)
    assert answer(world, now=LATER - dt.timedelta(seconds=1)).verdict == "proven"
    found = answer(world, now=LATER)
    assert said(found) == (
        "refuted",
        'release 1 of stage "production" is over since 2027-02-23T22:00:00Z; '
        "it is 2027-02-23T22:00:00Z",
    )
    assert found.cure == f"mllock release {RUN} --stage production"


def test_a_clock_set_back_revives_nothing(world: World) -> None:
    put_release(world)
    assert answer(world, now=LATER + DAY).verdict == "refuted"
    assert said(answer(world, now=NOW)) == (
        "refuted",
        'release 1 of stage "production" is over since 2027-02-23T22:00:00Z; '
        "it is 2027-02-24T22:00:00Z, as this machine's clock has shown before",
    )


def test_a_clock_set_back_revives_no_key(world: World, policy: Any) -> None:
    put_release(world)
    trust = policy(world.key.public)
    # The record's claim uses today's date; only the release is asked about the day.
    trust.write_text(trust.read_text() + "valid-until = 2099-01-01\n")
    assert answer(world, policy=trust, now=NOW).verdict == "proven"
    late = dt.datetime(2099, 1, 2, tzinfo=dt.UTC)
    assert ask(world, policy=trust, now=late).exit_code() != 0
    found = answer(world, policy=trust, now=NOW)
    assert found.verdict == "unproven"
    assert found.reason == (
        f"release 1 (production/000001-{RUN}.sigstore.json) is not trusted: {trust} trusted this "
        f"key until 2099-01-01, today is 2099-01-02 ({world.key.fingerprint})"
    )


def test_issued_in_the_future(world: World) -> None:
    put_release(world, issued=NOW + 2 * DAY)
    assert answer(world, now=NOW + DAY).verdict == "proven"
    shutil.rmtree(world.root / ".local")
    assert said(answer(world, now=NOW)) == (
        "unproven",
        'release 1 of stage "production" was issued at 2026-11-27T22:00:00Z, and here it is '
        "2026-11-25T22:00:00Z",
    )


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
