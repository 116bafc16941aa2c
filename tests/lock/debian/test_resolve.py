from __future__ import annotations

import lzma
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from support.debian import Archive, Key
from support.debian_machine import KEY, Place, archive, machine, message_of, without_port
from support.webserver import Answer

from mllock.core.digest import from_hex, sha256_of
from mllock.errors import InputError, IntegrityError, MllockError, OfflineError, ResolutionError
from mllock.lock.debian.suites import seeds
from mllock.lock.ports import Upgrade


def refused(root: Path, made: Archive, changes: Mapping[str, Answer] | None = None) -> MllockError:
    with machine(root, made, changes) as (place, _), pytest.raises(MllockError) as caught:
        place.resolve()
    return caught.value


def test_the_base_from_a_signed_archive(tmp_path: Path) -> None:
    made = archive()
    with machine(tmp_path, made) as (place, server):
        resolution = place.resolve("libgomp1")
        first = len(server.asked)
        assert place.resolve("libgomp1") == resolution
    base = resolution.base
    assert (base.suite, base.python, base.interpreter) == (
        "bookworm",
        "3.11.2",
        "/usr/bin/python3.11",
    )
    assert [index.suite for index in base.indexes] == ["bookworm", "bookworm-security"]
    assert {index.signed_by for index in base.indexes} == {(KEY.fingerprint,)}
    packages = {package.name: package for package in resolution.packages}
    assert list(packages) == sorted(packages)
    assert set(packages) == {*seeds("3.11"), "libc6", "libgomp1", "gcc-12-base"}
    assert {name for name, package in packages.items() if package.layer == "system"} == {
        "libgomp1",
        "gcc-12-base",
    }
    assert packages["openssl"].version == "1.0+deb12u1"
    assert packages["openssl"].filename.startswith("pool/updates/main/")
    # Everything is asked for once, by hash; a second time only the signed lists are.
    assert not [path for path in server.asked if path.endswith("Packages.xz")]
    again = server.asked[first:]
    assert again
    assert all(path.endswith("/InRelease") for path in again)
    assert len(again) == 3


def test_pins_hold_until_an_upgrade(tmp_path: Path) -> None:
    made = archive()
    pins = {"openssl": "1.0"}

    def version(place: Place, upgrade: Upgrade) -> str:
        found = place.resolve(pins=pins, upgrade=upgrade).packages
        return next(package.version for package in found if package.name == "openssl")

    with machine(tmp_path, made) as (place, _):
        assert version(place, Upgrade()) == "1.0"
        assert version(place, Upgrade(names=frozenset({"other"}))) == "1.0"
        assert version(place, Upgrade(names=frozenset({"openssl"}))) == "1.0+deb12u1"
        assert version(place, Upgrade(all=True)) == "1.0+deb12u1"


def test_signed_by_somebody_else(tmp_path: Path) -> None:
    with machine(tmp_path, archive()) as (place, _), pytest.raises(IntegrityError) as caught:
        place.resolve(keys=(Key().public,))
    assert message_of(caught.value) == (
        "http://HOST/debian/dists/bookworm/InRelease: signed by keys that are not the archive"
        f" keys of this suite\nfound: {KEY.signing}"
    )
    assert caught.value.exit_code == 4


def test_an_archive_key_that_is_no_more(tmp_path: Path) -> None:
    with machine(tmp_path, archive()) as (place, _), pytest.raises(IntegrityError) as caught:
        place.resolve(keys=(KEY.revoked(),))
    assert message_of(caught.value) == (
        "http://HOST/debian/dists/bookworm/InRelease: signed by an archive key that was revoked\n"
        f"found: {KEY.fingerprint}\n"
        "hint: use a mirror that is up to date, and a newer mllock, which has newer keys"
    )


def test_an_inrelease_that_is_cut_off(tmp_path: Path) -> None:
    made = archive()
    path = "/debian/dists/bookworm/InRelease"
    error = refused(tmp_path, made, {path: Answer(body=made.inrelease()[:-100])})
    assert message_of(error) == (
        "http://HOST/debian/dists/bookworm/InRelease: the signed index is cut off\n"
        "hint: run the same command again, or use another mirror"
    )


def test_the_security_archive_is_verified_as_well(tmp_path: Path) -> None:
    made = archive()
    path = "/debian-security/dists/bookworm-security/InRelease"
    # The suite itself, signed and in date, in the place of its security fixes.
    error = refused(tmp_path, made, {path: Answer(body=made.inrelease())})
    assert message_of(error) == (
        "http://HOST/debian-security/dists/bookworm-security/InRelease: the archive is of another"
        " suite\nexpected: bookworm-security\nfound: bookworm"
    )


def test_a_mirror_without_its_security_archive_is_told_of(tmp_path: Path) -> None:
    """Once, also for several platforms: otherwise a lock is behind on fixes, and nobody knows."""
    with machine(tmp_path, archive()) as (place, _):
        place.resolve()
        assert not any(line.startswith("warn") for line in place.reporter.lines)
        url = place.environ["MLLOCK_DEBIAN_MIRROR"].split()[0]
        place.environ["MLLOCK_DEBIAN_MIRROR"] = url
        place.resolve(upgrade=Upgrade(all=True))
        assert [line for line in place.reporter.lines if line.startswith("warn")] == [
            "warn: no security archive of bookworm is named: Debian's security updates are left"
            " out; add its URL to debian-mirror or MLLOCK_DEBIAN_MIRROR"
        ]


ALTERED = {
    "changed": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    "cut off": lambda body: body[:-1],
    "longer": lambda body: body + b"x",
    "empty": lambda body: b"",
}


def wrong(name: str, right: bytes, body: bytes) -> str:
    """The message for `body` where the signed lists have `right`."""
    if len(body) > len(right):
        expected, found = f"{len(right)} bytes", f"more than {len(right)} bytes"
    elif len(body) < len(right):
        expected, found = f"{len(right)} bytes", f"{len(body)} bytes"
    else:
        expected, found = sha256_of(right), sha256_of(body)
    return (
        f"{name}: HOST has other bytes than expected\n"
        f"expected: {expected}\nfound: {found}\n"
        "hint: ask another mirror, or lock again if the archive was changed on purpose"
    )


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("by_hash", ["yes", "no"])
def test_a_tampered_index_is_refused_and_not_kept(tmp_path: Path, how: str, by_hash: str) -> None:
    made = archive()
    made.release["Acquire-By-Hash"] = by_hash
    right = lzma.compress(made.packages(), preset=0)
    changes = {
        path: Answer(body=ALTERED[how](answer.body))
        for path, answer in made.answers().items()
        if answer.body == right
    }
    assert len(changes) == 2
    error = refused(tmp_path, made, changes)
    assert isinstance(error, IntegrityError)
    name = "bookworm main/binary-amd64/Packages.xz"
    assert message_of(error) == wrong(name, right, ALTERED[how](right))
    with machine(tmp_path, made) as (place, _):
        assert place.resolve()


def test_an_index_by_hash_that_is_tampered_with_and_the_right_one_beside_it(tmp_path: Path) -> None:
    made = archive()
    changes = {
        path: Answer(body=b"x")
        for path in made.answers()
        if path.startswith("/debian/dists/") and "/by-hash/" in path
    }
    with machine(tmp_path, made, changes) as (place, _):
        assert place.resolve()
        warned = [without_port(line) for line in place.reporter.lines if "warn" in line]
    assert warned == ["warn: HOST has wrong bytes for bookworm main/binary-amd64/Packages.xz"]


def test_an_index_that_unpacks_to_something_else(tmp_path: Path) -> None:
    # The archive's own mistake: both hashes are signed, and are not of the same index.
    made = archive()
    text = made.inrelease().decode()
    plain = re.search(r"([0-9a-f]{64}) ([0-9]+) main/binary-amd64/Packages\n", text)
    assert plain
    body = text.split("\n\n", 1)[1].split("\n-----BEGIN PGP SIGNATURE")[0]
    for old, new in ((plain[1], "0" * 64), (plain[2], "5")):
        changed = KEY.sign(
            body.replace(f"{plain[1]} {plain[2]}", plain[0].split(" main")[0].replace(old, new))
        )
        path = "/debian/dists/bookworm/InRelease"
        error = refused(tmp_path / new[:2], made, {path: Answer(body=changed)})
        assert message_of(error) == (
            "http://HOST/debian/dists/bookworm/main/binary-amd64/Packages:"
            " the index is not the one that the signed Release lists"
        )


@pytest.mark.parametrize("how", ALTERED)
def test_a_tampered_package_is_refused(tmp_path: Path, how: str) -> None:
    made = archive()
    path = "/debian/pool/main/bash_1.0_amd64.deb"
    right = made.answers()[path].body
    error = refused(tmp_path, made, {path: Answer(body=ALTERED[how](right))})
    assert isinstance(error, IntegrityError)
    assert message_of(error) == wrong("bash 1.0", right, ALTERED[how](right))


def test_a_package_that_the_mirror_lists_and_does_not_have(tmp_path: Path) -> None:
    path = "/debian/pool/main/bash_1.0_amd64.deb"
    error = refused(tmp_path, archive(), {path: Answer(status=404)})
    assert message_of(error) == (
        "cannot fetch bash 1.0: HOST: not found\n"
        "hint: the mirror lists it and does not have it: use another one, or set"
        " MLLOCK_DEBIAN_SNAPSHOT to an archive that has it"
    )


def test_two_people_get_the_same(tmp_path: Path) -> None:
    """Other caches, other mirrors of the same archive in another order, other paths."""
    made = archive()
    other = archive()
    other.stanzas = {
        pocket: list(reversed(texts)) for pocket, texts in reversed(made.stanzas.items())
    }
    with machine(tmp_path / "a", made) as (place, server):
        first = place.resolve("libgomp1", "gcc-12-base")
        elsewhere = Place(tmp_path / "b", server.url)
        url = server.url
        elsewhere.environ["MLLOCK_DEBIAN_MIRROR"] = f"{url}/debian-security {url}/debian/"
        second = elsewhere.resolve("gcc-12-base", "libgomp1")
    assert msgspec.json.encode(second) == msgspec.json.encode(first)
    # The order of an index chooses nothing; the archive is another one, and that is in the lock.
    with machine(tmp_path / "c", other) as (place, _):
        third = place.resolve("libgomp1", "gcc-12-base")
    assert third.packages == first.packages
    assert third.base.indexes != first.base.indexes


def test_a_tampered_package_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    with machine(tmp_path, archive()) as (place, server):
        resolution = place.resolve()
        bash = next(package for package in resolution.packages if package.name == "bash")
        path = place.cache.blob_path(from_hex(bash.sha256))
        right = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(right[:-1] + b"x")
        asked = len(server.asked)
        assert place.fetch(resolution)[bash.filename].read_bytes() == right
        assert server.asked[asked:] == ["/debian/pool/main/bash_1.0_amd64.deb"]


def test_with_a_full_cache_no_mirror_is_needed(tmp_path: Path) -> None:
    with machine(tmp_path, archive()) as (place, _):
        resolution = place.resolve()
    place.environ = {}
    assert len(place.fetch(resolution)) == len(resolution.packages)
    bash = next(package for package in resolution.packages if package.name == "bash")
    place.cache.blob_path(from_hex(bash.sha256)).unlink()
    with pytest.raises(InputError) as caught:
        place.fetch(resolution)
    assert caught.value.message.startswith("no Debian mirror for bookworm")


def test_offline(tmp_path: Path) -> None:
    with machine(tmp_path, archive()) as (place, _):
        resolution = place.resolve()
    with pytest.raises(OfflineError) as caught:
        place.resolve()
    assert caught.value.exit_code == 4
    bash = next(package for package in resolution.packages if package.name == "bash")
    place.cache.blob_path(from_hex(bash.sha256)).unlink()
    with pytest.raises(OfflineError, match=r"bash 1\.0"):
        place.fetch(resolution)


def test_a_mirror_without_the_suite(tmp_path: Path) -> None:
    error = refused(tmp_path, archive(), {"/debian/dists/bookworm/InRelease": Answer(status=404)})
    assert isinstance(error, OfflineError)
    assert message_of(error) == (
        "http://HOST/debian/dists/bookworm/InRelease: the mirror does not have this suite\n"
        "hint: is the URL right? it is the folder that holds dists/ and pool/"
    )


def test_a_page_in_front_of_the_archive(tmp_path: Path) -> None:
    answer = Answer(body=b"<html>please log in</html>")
    error = refused(tmp_path, archive(), {"/debian/dists/bookworm/InRelease": answer})
    assert message_of(error) == (
        "http://HOST/debian/dists/bookworm/InRelease: not one clear-signed document\n"
        "hint: is this the URL of a Debian archive, or of a page in front of it?"
    )


def test_another_suite_under_the_same_path(tmp_path: Path) -> None:
    made = archive()
    error = refused(
        tmp_path,
        made,
        {"/debian/dists/bookworm/InRelease": Answer(body=made.inrelease(Codename="trixie"))},
    )
    assert message_of(error) == (
        "http://HOST/debian/dists/bookworm/InRelease: the archive is of another suite\n"
        "expected: bookworm\nfound: trixie"
    )


def test_an_expired_archive(tmp_path: Path) -> None:
    made = archive()
    made.release["Valid-Until"] = "Sun, 22 Nov 2026 00:00:00 UTC"
    error = refused(tmp_path, made)
    assert message_of(error) == (
        "http://HOST/debian/dists/bookworm/InRelease: expired: valid until"
        " Sun, 22 Nov 2026 00:00:00 UTC\n"
        "hint: use a mirror that is up to date; is the clock of this machine right?"
    )


def test_an_archive_without_this_architecture(tmp_path: Path) -> None:
    made = archive()
    data = KEY.sign("Codename: bookworm\nDate: Sat, 21 Nov 2026 00:53:02 UTC\nSHA256:\n")
    error = refused(tmp_path, made, {"/debian/dists/bookworm/InRelease": Answer(body=data)})
    assert message_of(error) == (
        "http://HOST/debian/dists/bookworm/InRelease: the archive has no packages for amd64"
    )


def test_without_by_hash_the_plain_name_is_asked(tmp_path: Path) -> None:
    made = archive()
    made.release["Acquire-By-Hash"] = "no"
    with machine(tmp_path, made) as (place, server):
        place.resolve()
    assert "/debian/dists/bookworm/main/binary-amd64/Packages.xz" in server.asked
    assert not [path for path in server.asked if "by-hash" in path]


def test_a_python_that_the_suite_does_not_have(tmp_path: Path) -> None:
    place = Place(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(ResolutionError) as caught:
        place.resolve(python="3.13")
    assert str(caught.value) == (
        "environment.python: debian:bookworm has Python 3.11, not 3.13\n"
        'hint: set python = "3.11", or base = "debian:trixie" (bases and their Python:'
        " bullseye 3.9, bookworm 3.11, trixie 3.13)"
    )
    with pytest.raises(ResolutionError) as caught:
        place.resolve(python="3.12")
    assert caught.value.hint == (
        'set python = "3.11" (bases and their Python: bullseye 3.9, bookworm 3.11, trixie 3.13)'
    )
    with pytest.raises(ResolutionError) as caught:
        place.resolve(base="debian:potato")
    assert caught.value.message == 'unknown Debian suite "potato"'


def test_a_package_whose_script_cannot_be_replaced(tmp_path: Path) -> None:
    made = archive()
    made.add("server", scripts={"postinst": "#!/bin/sh\nuseradd server\n"})
    made.add("tool", fields={"Depends": "helper"})
    made.add("helper", fields={"Depends": "server"})
    with machine(tmp_path, made) as (place, _), pytest.raises(ResolutionError) as caught:
        place.resolve("tool")
    assert str(caught.value) == (
        "pool/main/server_1.0_amd64.deb: postinst:2: server 1.0 (tool -> helper -> server): its"
        " postinst script would do what mllock cannot do without running it\n"
        "found: useradd server\n"
        "hint: leave tool out of system-packages, or take an image as base that has it"
    )


def test_credentials_reach_neither_messages_nor_the_lock(tmp_path: Path) -> None:
    with machine(tmp_path, archive()) as (place, server):
        secret = server.url.replace("//", "//user:secret@")
        place.environ = {"MLLOCK_DEBIAN_MIRROR": f"{secret}/debian {secret}/debian-security"}
        resolution = place.resolve()
        assert "Basic" in server.headers[0].get("Authorization", "")
        with pytest.raises(IntegrityError) as caught:
            place.resolve(keys=(Key().public,))
    assert "secret" not in "".join([str(caught.value), repr(resolution), *place.reporter.lines])
    assert b"http" not in msgspec.json.encode(resolution)
    with pytest.raises(OfflineError) as offline:
        place.resolve()
    assert "secret" not in str(offline.value)
