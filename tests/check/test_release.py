"""The claim `release`: each thing that can be wrong with what was released, and what check says."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.releases import (
    LATER,
    NOW,
    answer,
    ask,
    folder,
    put_release,
    put_revocations,
    release_of,
    said,
)
from support.world import OTHER, RUN, World, finding, paths, verdicts

from mllock.core.digest import sha256_of
from mllock.errors import InputError

FOLDER = ".mllock/releases"
DAY = dt.timedelta(days=1)


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
