"""A pin outlives the mirror: what an archive dropped comes from a snapshot archive or the cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.debian import Archive
from support.debian_machine import Place, archive, machine, message_of
from support.webserver import Answer, Server, serving

from mllock.core.digest import from_hex
from mllock.errors import GoneError, InputError, IntegrityError, MllockError, OfflineError
from mllock.lock.ports import SystemResolution, Upgrade
from mllock.lock.types import DebianPackage

BASH = "pool/main/bash_1.0_amd64.deb"


def moved_on() -> Archive:
    """`archive()` some weeks later: bash and what it depends on have successors."""
    made = archive()
    made.release |= {"Date": "Sun, 22 Nov 2026 00:53:02 UTC"}
    for name, version in (("bash", "1.0"), ("libc6", "2.36-9")):
        made.stanzas[""] = [
            text
            for text in made.stanzas[""]
            if not text.startswith(f"Package: {name}\nVersion: {version}\n")
        ]
        del made.debs[f"pool/main/{name}_{version}_amd64.deb"]
    made.add("bash", "1.1", fields={"Depends": "libc6 (>= 3)"})
    made.add("libc6", "3.0")
    return made


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> SystemResolution:
    """What was locked while the archive still had it."""
    with machine(tmp_path_factory.mktemp("before"), archive()) as (place, _):
        return place.resolve()


@pytest.fixture(scope="module")
def kept() -> Iterator[Server]:
    """A snapshot archive: everything that there ever was, and no index."""
    answers = archive().answers() | moved_on().answers()
    with serving({path: body for path, body in answers.items() if "/dists/" not in path}) as server:
        yield server


def snapshot(place: Place, server: Server) -> None:
    place.environ["MLLOCK_DEBIAN_SNAPSHOT"] = f"{server.url}/debian/ {server.url}/debian-security"


def versions(resolution: SystemResolution) -> dict[str, str]:
    return {package.name: package.version for package in resolution.packages}


def bash_of(resolution: SystemResolution) -> DebianPackage:
    return next(package for package in resolution.packages if package.name == "bash")


def refused(place: Place, resolution: SystemResolution) -> MllockError:
    with pytest.raises(MllockError) as caught:
        place.fetch(resolution)
    return caught.value


def test_the_mirror_then_the_snapshot_then_nobody(
    tmp_path: Path, before: SystemResolution, kept: Server
) -> None:
    made = archive()
    right = made.debs.pop(BASH)
    with machine(tmp_path, made) as (place, server):
        assert message_of(refused(place, before)) == (
            "cannot fetch bash 1.0: HOST: not found\n"
            "hint: mirrors drop what has a successor: set MLLOCK_DEBIAN_SNAPSHOT to an archive that"
            ' still has it, or take the successor with "mllock lock --upgrade bash"'
        )
        snapshot(place, kept)
        asked = len(server.asked)
        kept.asked.clear()
        assert place.fetch(before)[BASH].read_bytes() == right
        # The mirror was asked first, and has all the rest.
        assert f"/debian/{BASH}" in server.asked[asked:]
        assert kept.asked == [f"/debian/{BASH}"]
        # By then it is in the cache, and nobody is asked.
        asked = len(server.asked)
        assert place.fetch(before)[BASH].read_bytes() == right
        assert (server.asked[asked:], len(kept.asked)) == ([], 1)


def test_neither_has_it(tmp_path: Path, before: SystemResolution) -> None:
    made = archive()
    del made.debs[BASH]
    with machine(tmp_path, made) as (place, server):
        place.environ["MLLOCK_DEBIAN_SNAPSHOT"] = f"{server.url}/nothing"
        error = refused(place, before)
    assert isinstance(error, GoneError)
    assert error.exit_code == 4
    assert message_of(error) == (
        "cannot fetch bash 1.0: HOST: not found\n"
        "hint: mirrors drop what has a successor: set MLLOCK_DEBIAN_SNAPSHOT to another archive"
        ' that still has it, or take the successor with "mllock lock --upgrade bash"'
    )


def test_a_snapshot_is_believed_by_its_bytes_only(tmp_path: Path, before: SystemResolution) -> None:
    made = archive()
    right = made.debs.pop(BASH)
    wrong = right[:-1] + b"x"
    with machine(tmp_path, made, {f"/snapshot/{BASH}": Answer(body=wrong)}) as (place, server):
        place.environ["MLLOCK_DEBIAN_SNAPSHOT"] = f"{server.url}/snapshot"
        error = refused(place, before)
    assert isinstance(error, IntegrityError)
    expected, found = error.expected, error.found
    assert message_of(error) == (
        "bash 1.0: HOST has other bytes than expected\n"
        f"expected: {expected}\nfound: {found}\n"
        "hint: ask another mirror, or lock again if the archive was changed on purpose"
    )
    assert expected == f"sha256:{bash_of(before).sha256}"


def test_with_a_snapshot_no_mirror_is_needed(
    tmp_path: Path, before: SystemResolution, kept: Server
) -> None:
    place = Place(tmp_path)
    snapshot(place, kept)
    assert len(place.fetch(before)) == len(before.packages)


def test_a_snapshot_that_is_no_url(tmp_path: Path, before: SystemResolution) -> None:
    place = Place(tmp_path)
    place.environ["MLLOCK_DEBIAN_SNAPSHOT"] = "//me:secret@snapshot.example.org/debian"
    with pytest.raises(InputError) as caught:
        place.fetch(before)
    assert str(caught.value) == (
        "MLLOCK_DEBIAN_SNAPSHOT: not the URL of a Debian snapshot archive\n"
        "expected: http, https or file URLs, separated by spaces\n"
        "found: //snapshot.example.org/debian"
    )


@pytest.mark.parametrize("where", ["cache", "snapshot"])
def test_a_pin_stays_that_no_index_has_any_more(
    tmp_path: Path, before: SystemResolution, kept: Server, where: str
) -> None:
    with machine(tmp_path, moved_on()) as (place, _):
        if where == "snapshot":
            snapshot(place, kept)
        else:
            with serving(archive().answers()) as old:
                mirror = place.environ
                place.environ = Place(tmp_path, old.url).environ
                place.fetch(before)
                place.environ = mirror
        after = place.resolve("libgomp1", locked=before)
        # One package more, and nothing else moved.
        assert [item for item in after.packages if item.name in versions(before)] == [
            *before.packages
        ]
        assert {*versions(after)} - {*versions(before)} == {"libgomp1", "gcc-12-base"}
        told = [line for line in place.reporter.lines if "stays" in line]
        assert told == [
            "note: bash 1.0 stays as it is locked; the archive has 1.1 by now:"
            ' "mllock lock --upgrade bash" takes it',
            "note: libc6 2.36-9 stays as it is locked; the archive has 3.0 by now:"
            ' "mllock lock --upgrade libc6" takes it',
        ]
        # What is asked for moves, with what it needs.
        for upgrade in (Upgrade(names=frozenset({"bash"})), Upgrade(all=True)):
            newer = versions(place.resolve(locked=before, upgrade=upgrade))
            assert (newer["bash"], newer["libc6"]) == ("1.1", "3.0")
        # A lock that was edited by hand has pins, and nothing that is believed.
        pins = versions(before)
        assert versions(place.resolve(pins=pins))["bash"] == "1.1"


def test_a_pin_that_is_nowhere_any_more_moves_and_is_said(
    tmp_path: Path, before: SystemResolution
) -> None:
    with machine(tmp_path, moved_on()) as (place, _):
        after = versions(place.resolve(locked=before))
        assert after == versions(before) | {"bash": "1.1", "libc6": "3.0"}
        assert [line for line in place.reporter.lines if "locked" in line] == [
            "warn: bash 1.0 is locked, and neither the archive, a snapshot nor the cache has it any"
            " more: 1.1 is taken",
            "warn: libc6 2.36-9 is locked, and neither the archive, a snapshot nor the cache has it"
            " any more: 3.0 is taken",
        ]


def test_a_snapshot_that_is_ill_moves_no_pin(tmp_path: Path, before: SystemResolution) -> None:
    ill = {f"/snapshot/{BASH}": Answer(status=500)}
    with machine(tmp_path, moved_on(), ill) as (place, server):
        place.environ["MLLOCK_DEBIAN_SNAPSHOT"] = f"{server.url}/snapshot"
        with pytest.raises(OfflineError) as caught:
            place.resolve(locked=before)
    assert not isinstance(caught.value, GoneError)
    assert caught.value.message.startswith("cannot fetch bash 1.0: ")


def test_of_another_suite_nothing_is_kept(tmp_path: Path, before: SystemResolution) -> None:
    import msgspec

    other = msgspec.structs.replace(before.base, suite="trixie")
    with machine(tmp_path, moved_on()) as (place, server):
        asked = len(server.asked)
        place.resolve(locked=SystemResolution(base=other, packages=before.packages))
        assert f"/debian/{BASH}" not in server.asked[asked:]


def test_an_archive_that_was_put_back(tmp_path: Path, before: SystemResolution) -> None:
    made = archive()
    made.release |= {"Date": "Fri, 20 Nov 2026 00:53:02 UTC"}
    with machine(tmp_path, made) as (place, _):
        with pytest.raises(IntegrityError) as caught:
            place.resolve(locked=before)
        assert message_of(caught.value) == (
            "http://HOST/debian/dists/bookworm/InRelease: the archive is older than the one that"
            " the lock was made from\n"
            "expected: 2026-11-21T00:53:02Z or later\n"
            "found: 2026-11-20T00:53:02Z\n"
            'hint: use a mirror that is up to date; "mllock lock --fresh" takes this one'
        )
        assert place.resolve()


def test_other_bytes_for_a_version_that_is_locked(tmp_path: Path) -> None:
    made = archive()
    with machine(tmp_path / "a", made) as (place, _):
        locked = place.resolve()
    changed = archive()
    changed.debs.clear()
    changed.stanzas[""] = [text for text in changed.stanzas[""] if "Package: bash\n" not in text]
    changed.add("bash", fields={"Depends": "libc6", "Comment": "built again"})
    made.debs |= changed.debs
    made.stanzas = changed.stanzas
    with machine(tmp_path / "b", made) as (place, _):
        with pytest.raises(IntegrityError) as caught:
            place.resolve(locked=locked)
        new = place.resolve(locked=locked, upgrade=Upgrade(names=frozenset({"bash"})))
    assert str(caught.value) == (
        "the archive lists other bytes for bash 1.0 than those that are locked\n"
        f"expected: sha256:{bash_of(locked).sha256}\n"
        f"found: sha256:{bash_of(new).sha256}\n"
        'hint: find out why; "mllock lock --upgrade bash" takes the new ones'
    )


def test_no_password_of_a_snapshot_is_shown(
    tmp_path: Path, before: SystemResolution, kept: Server
) -> None:
    place = Place(tmp_path)
    place.environ = {
        "MLLOCK_DEBIAN_SNAPSHOT": f"{kept.url}/nothing".replace("//", "//me:${PASSWORD}@"),
        "PASSWORD": "secret",
    }
    error = refused(place, before)
    assert "secret" not in "".join([str(error), *place.reporter.lines])
    assert kept.headers[-1].get("Authorization", "").startswith("Basic ")
    path = place.cache.blob_path(from_hex(bash_of(before).sha256))
    assert not path.exists()
