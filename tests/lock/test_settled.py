"""With uv: whose word counts where an index's page alone does not settle which wheel is locked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.bench import TARGET, Bench, uv_bench
from support.locking import Locking
from support.wheels import SimpleIndex, make_wheel, simple_index, wheel_name

from mllock.core.digest import sha256_of
from mllock.errors import ArchiveError, IntegrityError
from mllock.lock.indexes import PackageIndex
from mllock.lock.ports import Upgrade
from mllock.store.own import own_folder

__all__ = ["uv_bench"]

ALPHA = "alpha-1.0-py3-none-any.whl"
NATIVE = f"cp311-cp311-manylinux_2_17_{TARGET.machine}"
BETTER = wheel_name("alpha", "1.0", NATIVE)


def files(bench: Bench, *requirements: str, **more) -> list[str]:
    return [wheel.name for item in bench.resolve(*requirements, **more) for wheel in item.wheels]


def describe(index: SimpleIndex) -> None:
    """Let it say all of its files that there is to say: METADATA as well (PEP 658)."""
    import hashlib
    import io
    import zipfile

    index.sized = True
    for name, data in ((n, d) for those in index.files.values() for n, d in those.items()):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (path,) = (path for path in archive.namelist() if path.endswith("/METADATA"))
            metadata = archive.read(path)
        index.metadata[name] = (metadata, hashlib.sha256(metadata).hexdigest())


# Where uv keeps what it read


def test_the_cache_of_uv_is_the_users_own(uv_bench: Bench) -> None:
    uv_bench.index.add("alpha", "1.0")
    uv_bench.resolve("alpha")
    own = uv_bench.cache.root / "uv" / str(os.geteuid())
    assert (own / "CACHEDIR.TAG").is_file()
    assert own.stat().st_mode & 0o777 == 0o700
    assert os.listdir(own.parent) == [own.name]


@pytest.mark.parametrize("shared", [".", "uv", f"uv/{os.geteuid()}"])
def test_in_a_shared_cache_nothing_of_uv_is_kept_or_read(uv_bench: Bench, shared: str) -> None:
    """What another user could have put there would decide what is locked."""
    uv_bench.index.add("alpha", "1.0")
    folder = uv_bench.cache.root / shared
    folder.mkdir(parents=True)
    folder.chmod(0o2777)
    assert uv_bench.versions("alpha") == {"alpha": "1.0"}
    kept = [path for path in (uv_bench.cache.root / "uv").rglob("*") if not path.is_dir()]
    assert kept == []


def test_a_folder_of_somebody_else_is_not_the_users_own(tmp_path: Path) -> None:
    shared = tmp_path / "cache" / "uv"
    own = shared / str(os.geteuid())
    assert own_folder(shared) == own
    os.chown(own, 12345, -1)
    assert own_folder(shared) is None
    own.rmdir()
    own.write_text("")
    assert own_folder(shared) is None
    own.unlink()
    os.chown(shared, 12345, -1)
    assert own_folder(shared) is None


# Pages that say that they last


def test_an_index_is_asked_each_time(uv_bench: Bench) -> None:
    index = uv_bench.index
    index.headers["Cache-Control"] = "max-age=600"
    index.add("alpha", "1.0")
    index.add("beta", "1.0")
    describe(index)
    newest = {"upgrade": Upgrade(all=True)}
    assert uv_bench.versions("alpha") == {"alpha": "1.0"}
    index.add("alpha", "2.0", ["beta"])
    describe(index)
    assert uv_bench.versions("alpha", **newest) == {"alpha": "2.0", "beta": "1.0"}


def test_what_a_wheel_asks_for_is_asked_each_time(uv_bench: Bench) -> None:
    index = uv_bench.index
    index.headers["Cache-Control"] = "max-age=600"
    index.add("alpha", "1.0", ["beta"])
    index.add("beta", "1.0")
    index.add("gamma", "1.0")
    describe(index)
    assert uv_bench.versions("alpha") == {"alpha": "1.0", "beta": "1.0"}
    index.add("alpha", "1.0", ["gamma"])
    describe(index)
    assert uv_bench.versions("alpha") == {"alpha": "1.0", "gamma": "1.0"}


# Of several wheels, some are yanked


@pytest.mark.parametrize("form", ["JSON", "HTML"])
def test_a_file_that_is_yanked_is_not_locked(uv_bench: Bench, form: str) -> None:
    index = uv_bench.index
    index.add("alpha", "1.0")
    index.add("alpha", "1.0", tag=NATIVE)
    index.sized = form == "JSON"
    index.stated[BETTER] = {"yanked": "broken"}
    assert files(uv_bench, "alpha") == [ALPHA]
    # A version that is wanted whatever becomes of it, and nothing else of it is left.
    index.stated[ALPHA] = {"yanked": True}
    assert files(uv_bench, "alpha==1.0") == [BETTER]


def test_both_resolvers_pass_over_it(tmp_path: Path) -> None:
    found = []
    for resolver in ("pip-tools", "uv"):
        with simple_index() as index:
            index.add("alpha", "1.0")
            index.add("alpha", "1.0", tag=NATIVE)
            index.stated[BETTER] = {"yanked": True}
            describe(index)
            found.append(Bench(tmp_path / resolver, index, resolver).resolve("alpha"))
    assert found[0] == found[1]
    assert [item.wheels[0].name for item in found[0]] == [ALPHA]


def test_no_wheel_comes_to_hear_what_is_yanked(uv_bench: Bench) -> None:
    uv_bench.index.add("alpha", "1.0")
    uv_bench.index.add("alpha", "1.0", tag=NATIVE)
    uv_bench.index.stated[BETTER] = {"yanked": True}
    describe(uv_bench.index)
    assert files(uv_bench, "alpha") == [ALPHA]
    assert [path for path in uv_bench.index.requests if path.endswith(".whl")] == []
    assert not list((uv_bench.cache.root / "blobs").rglob("*.*"))


def test_what_uv_would_install_is_not_asked_of_pip_again(uv_bench: Bench) -> None:
    index = uv_bench.index
    for tag in ("py3-none-any", NATIVE):
        index.add("alpha", "1.0", tag=tag)
    describe(index)
    assert files(uv_bench, "alpha") == [BETTER]
    assert index.requests.count("/simple/alpha/") == 1
    # But for an exact version uv takes what was yanked, and pip does not.
    assert files(uv_bench, "alpha==1.0", constraints=("alpha==1.0",)) == [BETTER]
    index.stated[BETTER] = {"yanked": True}
    assert files(uv_bench, "alpha==1.0") == [ALPHA]
    assert files(uv_bench, "alpha", constraints=("alpha==1.0",)) == [ALPHA]
    assert files(uv_bench, "alpha", pins={"alpha": "1.0"}) == [ALPHA]


def test_a_local_version_is_another_version(uv_bench: Bench) -> None:
    for version in ("1.0", "1.0+cpu"):
        uv_bench.index.add("alpha", version)
        uv_bench.index.add("alpha", version, tag=NATIVE)
    describe(uv_bench.index)
    uv_bench.index.stated[BETTER] = {"yanked": True}
    assert files(uv_bench, "alpha!=1.0+cpu") == [ALPHA]


def test_an_index_for_some_packages_is_asked_with_its_password(
    uv_bench: Bench, tmp_path: Path
) -> None:
    secret = "hunter2-of-the-index"
    uv_bench.environ |= {"SOMEONE": "someone", "TOKEN": secret}
    with simple_index() as own:
        own.login, own.watched = f"someone:{secret}", tmp_path
        for index in (own, uv_bench.index):
            index.add("alpha", "1.0")
            index.add("alpha", "1.0", tag=NATIVE)
            describe(index)
        own.stated[BETTER] = {"yanked": True}
        url = own.url.replace("http://", "http://${SOMEONE}:${TOKEN}@")
        only = PackageIndex(name="own", url=url, packages=("alpha",))
        assert files(uv_bench, "alpha", indexes=(only,)) == [ALPHA]
        assert uv_bench.index.requests == []
        assert own.commands
        assert own.written
        told = [*own.commands, *own.written, *(x.encode() for x in uv_bench.reporter.lines)]
        assert [line for line in told if secret.encode() in line] == []


def test_a_locked_file_stays_though_it_is_yanked(uv_bench: Bench, tmp_path: Path) -> None:
    project = Locking(tmp_path, uv_bench.index, 'dependencies = ["alpha"]', "uv")
    for name in ("alpha", "beta"):
        project.index.add(name, "1.0")
    project.index.add("alpha", "1.0", tag=NATIVE)
    project.index.sized = True
    before = project.real().lock.python.packages
    assert before[0].wheels[0].name == BETTER
    project.index.stated[BETTER] = {"yanked": True}
    project.change('["alpha"]', '["alpha", "beta"]')
    assert project.real().lock.python.packages[0] == before[0]


# A locked file that is stated with other bytes


def test_the_locked_bytes_may_be_in_another_index(uv_bench: Bench, tmp_path: Path) -> None:
    other = make_wheel("alpha", "1.0", {"alpha.py": b"rebuilt"})
    with simple_index() as second:
        second.add("beta", "1.0")
        project = Locking(tmp_path, uv_bench.index, 'dependencies = ["alpha"]', "uv")
        project.environ["PIP_EXTRA_INDEX_URL"] = second.url
        data = project.index.add("alpha", "1.0")
        second.sized = project.index.sized = True
        before = project.real().lock.python.packages
        second.files["alpha"] = {ALPHA: other}
        project.change('["alpha"]', '["alpha", "beta"]')
        assert project.real().lock.python.packages[0] == before[0]
        # Until they are nowhere.
        del project.index.files["alpha"]
        project.change('["alpha", "beta"]', '["alpha"]')
        assert project.refusal(IntegrityError) == (
            f"the index serves other bytes for {ALPHA} than those that are locked\n"
            f"expected: {sha256_of(data)}\nfound: {sha256_of(other)}\n"
            'hint: find out why; "mllock lock --upgrade alpha" takes the new ones'
        )


@pytest.mark.parametrize("who", ["who has it", "who has it not"])
def test_an_index_without_sizes_that_changed_a_locked_file(
    uv_bench: Bench, tmp_path: Path, who: str
) -> None:
    project = Locking(tmp_path, uv_bench.index, 'dependencies = ["alpha"]', "uv")
    data = project.index.add("alpha", "1.0")
    project.index.add("beta", "1.0")
    project.real()
    assert project.ctx.cache.get(sha256_of(data)) is not None
    if who == "who has it not":
        project.ctx.cache.blob_path(sha256_of(data)).unlink()
    other = make_wheel("alpha", "1.0", {"alpha.py": b"other"})
    project.index.files["alpha"][ALPHA] = other
    project.change('["alpha"]', '["alpha", "beta"]')
    assert project.refusal(IntegrityError) == (
        f"the index serves other bytes for {ALPHA} than those that are locked\n"
        f"expected: {sha256_of(data)}\nfound: {sha256_of(other)}\n"
        'hint: find out why; "mllock lock --upgrade alpha" takes the new ones'
    )


# Requirements that pip cannot read


HINT = "hint: ask for another version, and tell those who made this one"


@pytest.mark.parametrize(
    ("requires", "said", "found"),
    [
        (
            "beta>=1.0.*",
            ": beta>=1.0.*",
            ".* suffix can only be used with `==` or `!=` operators",
        ),
        (
            'beta; platform_machine ~= "x"',
            "",
            f"UndefinedComparison: Undefined <Op('~=')> on '{TARGET.machine}' and 'x'.",
        ),
    ],
)
def test_a_wheel_whose_requirement_pip_cannot_read_is_named(
    uv_bench: Bench, requires: str, said: str, found: str
) -> None:
    uv_bench.index.add("alpha", "0.9", [requires])
    uv_bench.index.add("alpha", "1.0", [requires])
    uv_bench.index.add("beta", "1.0")
    describe(uv_bench.index)
    packages = uv_bench.resolve("alpha")
    with pytest.raises(ArchiveError) as caught:
        uv_bench.fetch(packages)
    assert str(caught.value) == (
        f"{ALPHA}: has a requirement that pip cannot read{said}\n"
        f"expected: one as PEP 508 has it\nfound: {found}\n{HINT}"
    )


def test_pip_tools_says_the_same(tmp_path: Path) -> None:
    with simple_index() as index:
        index.add("alpha", "1.0", ["beta>=1.0.*"])
        index.add("alpha", "2.0")
        bench = Bench(tmp_path, index)
        # A version that can be read does as well.
        assert bench.versions("alpha") == {"alpha": "2.0"}
        assert bench.refusal(ArchiveError, "alpha<2") == (
            f"{ALPHA}: has a requirement that pip cannot read: beta>=1.0.*\n"
            "expected: one as PEP 508 has it\n"
            f"found: .* suffix can only be used with `==` or `!=` operators\n{HINT}"
        )
