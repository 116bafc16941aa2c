"""With uv, a wheel is locked as the index states it; what is untrue comes out where bytes come."""

from __future__ import annotations

import hashlib
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from support.bench import TARGET, Bench, each_bench, uv_bench
from support.locking import Locking
from support.wheels import SimpleIndex, make_wheel, simple_index, wheel_name

from mllock.core.digest import sha256_of
from mllock.errors import IntegrityError, OfflineError, ResolutionError
from mllock.lock.indexes import PackageIndex
from mllock.lock.offers import Offer, fitting_offers, offers_in
from mllock.lock.platforms import ranks
from mllock.lock.types import PythonPackage

__all__ = ["each_bench", "uv_bench"]

ALPHA = "alpha-1.0-py3-none-any.whl"
SMALL = ("pip-tools", "uv")


def metadata_of(wheel: bytes) -> bytes:
    with zipfile.ZipFile(BytesIO(wheel)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        return archive.read(name)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def publish(index: SimpleIndex, name: str, version: str = "1.0", *requires: str, **more) -> bytes:
    """In an index that says all that there is to say."""
    index.sized = True
    data = index.add(name, version, requires, **more)
    metadata = metadata_of(data)
    index.metadata[wheel_name(name, version, more.get("tag", "py3-none-any"))] = (
        metadata,
        sha(metadata),
    )
    return data


def facts(packages: tuple[PythonPackage, ...]) -> list[tuple[str, int, str]]:
    wheels = [wheel for item in packages for wheel in item.wheels]
    return [(wheel.name, wheel.size, wheel.hashes["sha256"]) for wheel in wheels]


def test_no_wheel_comes(uv_bench: Bench) -> None:
    index = uv_bench.index
    data = publish(index, "alpha", "1.0", "beta[more]>=1")
    beta = publish(index, "beta", "1.0", 'gamma; extra == "more"')
    gamma = publish(index, "gamma")
    packages = uv_bench.resolve("alpha")
    names = ("alpha", "beta", "gamma")
    assert facts(packages) == [
        (wheel_name(name, "1.0"), len(wheel), sha(wheel))
        for name, wheel in zip(names, (data, beta, gamma), strict=True)
    ]
    assert sorted(index.requests) == sorted(
        path
        for name in names
        for path in (f"/simple/{name}/", f"/files/{name}/{wheel_name(name, '1.0')}.metadata")
    )
    assert not list((uv_bench.cache.root / "blobs").rglob("*.*"))


def test_it_is_what_pip_would_have_measured(tmp_path: Path) -> None:
    found = []
    for resolver in SMALL:
        with simple_index() as index:
            for minor in (17, 28, 35, 99):
                tag = f"cp311-cp311-manylinux_2_{minor}_{TARGET.machine}"
                publish(index, "native", "2.0", "pure", tag=tag)
            publish(index, "native", "2.0", "pure")
            # Two builds of one version: the newer one (PEP 427).
            for build in ("9", "10_second"):
                name = f"pure-1.0-{build}-py3-none-any.whl"
                wheel = make_wheel("pure", "1.0", {"pure.py": build.encode()})
                index.files.setdefault("pure", {})[name] = wheel
            bench = Bench(tmp_path / resolver, index, resolver)
            found.append(facts(bench.resolve("native")))
    assert found[0] == found[1]
    assert [name for name, _, _ in found[0]] == [
        f"native-2.0-cp311-cp311-manylinux_2_35_{TARGET.machine}.whl",
        "pure-1.0-10_second-py3-none-any.whl",
    ]


def test_an_index_that_lists_more_than_is_needed(uv_bench: Bench) -> None:
    """Packages that have an index of their own, and that nobody needs."""
    with simple_index() as own:
        publish(uv_bench.index, "alpha", "1.0", "ours")
        publish(own, "ours", "1.0")
        publish(own, "ours-more", "1.0")
        names = ("ours", "ours-more")
        index = PackageIndex(name="own", url=own.url, packages=names)
        asked = {"indexes": (index,), "constraints": ("ours-more==7", "ours<2"), "pins": {"x": "1"}}
        found = uv_bench.resolve("alpha", "ours", **asked, known=())
        assert [item.name for item in found] == ["alpha", "ours"]
        assert [path for path in own.requests if path.endswith(".whl") or "more" in path] == []
        assert not [path for path in uv_bench.index.requests if "ours" in path]


@pytest.mark.parametrize("left_out", ["size", "hashes"])
def test_what_is_not_stated_is_measured(uv_bench: Bench, left_out: str) -> None:
    data = publish(uv_bench.index, "alpha", "1.0", "beta")
    beta = publish(uv_bench.index, "beta")
    uv_bench.index.stated[ALPHA] = {left_out: {} if left_out == "hashes" else None}
    assert facts(uv_bench.resolve("alpha")) == [
        (ALPHA, len(data), sha(data)),
        ("beta-1.0-py3-none-any.whl", len(beta), sha(beta)),
    ]
    assert f"/files/alpha/{ALPHA}" in uv_bench.index.requests
    assert "/files/beta/beta-1.0-py3-none-any.whl" not in uv_bench.index.requests


def test_two_people_with_different_caches(tmp_path: Path) -> None:
    """Where sizes are not stated, pip downloads, and would take the best wheel of all indexes."""
    with simple_index() as first, simple_index() as second:
        first.add("alpha", "1.0")
        second.add("alpha", "1.0", tag="cp311-none-any")
        found = []
        for who in ("one", "the other"):
            bench = Bench(tmp_path / who, first, "uv")
            bench.environ["PIP_EXTRA_INDEX_URL"] = second.url
            if who == "one":
                for index in (first, second):
                    for data in index.files["alpha"].values():
                        bench.cache.put_bytes(data)
            found.append(facts(bench.resolve("alpha")))
        assert found[0] == found[1]


def test_a_size_that_is_a_lie(uv_bench: Bench) -> None:
    data = publish(uv_bench.index, "alpha")
    uv_bench.index.stated[ALPHA] = {"size": 7}
    packages = uv_bench.resolve("alpha")
    assert facts(packages) == [(ALPHA, 7, sha(data))]
    for _ in range(2):  # also when it is in the cache by now
        with pytest.raises(IntegrityError) as caught:
            uv_bench.fetch(packages)
        assert str(caught.value) == (
            f"{ALPHA}: has not the size that is locked, which the index stated\n"
            f"expected: 7 bytes\nfound: {len(data)} bytes\n"
            'hint: tell those who run the index; resolver = "pip-tools" measures what comes'
        )


def test_a_hash_that_is_a_lie(uv_bench: Bench) -> None:
    data = publish(uv_bench.index, "alpha")
    lie = "0" * 64
    uv_bench.index.stated[ALPHA] = {"hashes": {"sha256": lie}}
    packages = uv_bench.resolve("alpha")
    assert facts(packages) == [(ALPHA, len(data), lie)]
    with pytest.raises(IntegrityError) as caught:
        uv_bench.fetch(packages)
    assert str(caught.value).splitlines()[:3] == [
        f"the index serves other bytes for {ALPHA} than those that are locked",
        f"expected: sha256:{lie}",
        f"found: {sha256_of(data)}",
    ]
    assert uv_bench.cache.get(sha256_of(data)) is None


def test_a_locked_file_that_is_stated_anew(uv_bench: Bench, tmp_path: Path) -> None:
    """Noticed when it is locked again, whatever is in the cache."""
    project = Locking(tmp_path, uv_bench.index, 'dependencies = ["alpha"]', "uv")
    data = publish(project.index, "alpha")
    publish(project.index, "beta")
    project.real()
    project.ctx.cache.put_bytes(data)
    other = make_wheel("alpha", "1.0", {"alpha.py": b"evil"})
    project.index.files["alpha"][ALPHA] = other
    project.change('["alpha"]', '["alpha", "beta"]')
    message = project.refusal(IntegrityError)
    assert message == (
        f"the index serves other bytes for {ALPHA} than those that are locked\n"
        f"expected: {sha256_of(data)}\nfound: {sha256_of(other)}\n"
        'hint: find out why; "mllock lock --upgrade alpha" takes the new ones'
    )


def test_a_locked_wheel_stays_when_a_better_one_came(uv_bench: Bench, tmp_path: Path) -> None:
    project = Locking(tmp_path, uv_bench.index, 'dependencies = ["alpha"]', "uv")
    publish(project.index, "alpha")
    publish(project.index, "beta")
    before = project.real().lock.python.packages
    publish(project.index, "alpha", tag="cp311-none-any")
    project.change('["alpha"]', '["alpha", "beta"]')
    assert project.real().lock.python.packages[0] == before[0]
    # Nor does it come back because the index has another one only.
    del project.index.files["alpha"][ALPHA]
    project.change('["alpha", "beta"]', '["alpha"]')
    assert project.real().lock.python.packages == before


def lying(index: SimpleIndex, *, digest: str | None = None) -> bytes:
    """An alpha that needs beta, and METADATA beside it that says nothing of that."""
    publish(index, "alpha", "1.0", "beta>=2; python_version > '3'")
    publish(index, "beta", "2.0")
    said = metadata_of(make_wheel("alpha", "1.0"))
    index.metadata[ALPHA] = (said, digest or sha(said))
    return said


def test_metadata_that_is_a_lie(uv_bench: Bench, tmp_path: Path) -> None:
    project = Locking(tmp_path, uv_bench.index, 'dependencies = ["alpha"]', "uv")
    lying(project.index)
    lock = project.real().lock
    assert [item.name for item in lock.python.packages] == ["alpha"]
    for _ in range(2):  # also when it is in the cache by now
        with pytest.raises(IntegrityError) as caught:
            project.installed(lock)
        assert str(caught.value) == (
            f"{ALPHA}: asks for beta>=2, which the index did not say when it was locked\n"
            f"expected: a requirement that the lock meets on {TARGET.platform}\n"
            "found: no beta in the lock\n"
            "hint: tell those who run the index that it says other things of the wheel than are in "
            'it; resolver = "pip-tools" reads the wheels themselves'
        )


def test_metadata_that_is_not_what_its_digest_says(uv_bench: Bench) -> None:
    truth = metadata_of(make_wheel("alpha", "1.0", requires=["beta>=2"]))
    said = lying(uv_bench.index, digest=sha(truth))
    assert uv_bench.refusal(IntegrityError, "alpha") == (
        f"the index serves other bytes for {ALPHA}.metadata than it says itself\n"
        f"expected: {sha256_of(truth)}\nfound: {sha256_of(said)}\n"
        "hint: a proxy or the index damages it, or somebody changed it: find out which"
    )


def test_metadata_that_is_not_served(uv_bench: Bench) -> None:
    publish(uv_bench.index, "alpha", "1.0", "beta")
    publish(uv_bench.index, "beta")
    uv_bench.index.metadata[ALPHA] = (None, "0" * 64)
    assert uv_bench.refusal(OfflineError, "alpha") == (
        f"the index lists {ALPHA}.metadata and does not serve it: 127.0.0.1\n"
        "found: 404 client error: not found\n"
        "hint: try again later, or tell those who run the index"
    )


def test_an_index_without_metadata(uv_bench: Bench) -> None:
    """What a wheel needs is read from the wheel then, by uv."""
    publish(uv_bench.index, "alpha", "1.0", "beta")
    publish(uv_bench.index, "beta")
    uv_bench.index.metadata.clear()
    assert uv_bench.versions("alpha") == {"alpha": "1.0", "beta": "1.0"}


DOCUMENT = """\
lock-version = "1.0"
[[packages]]
name = "alpha"
version = "1.0"
wheels = [{wheels}]
"""
GOOD = f'hashes = {{ sha256 = "{"a" * 64}" }}, size = 5'


@pytest.mark.parametrize(
    ("wheel", "file", "size"),
    [
        (f'url = "https://u:p@example.org/x/{ALPHA}?token=1#f", {GOOD}', ALPHA, 5),
        (f'url = "https://example.org/7", name = "{ALPHA}", {GOOD}', ALPHA, 5),
        (f'url = "https://example.org/{ALPHA}", hashes = {{ sha256 = "{"a" * 64}" }}', ALPHA, None),
        (f'url = "https://example.org/{ALPHA}", {GOOD.replace("= 5", "= -5")}', ALPHA, None),
        (f'url = "https://example.org/{ALPHA}", {GOOD.replace("= 5", "= true")}', ALPHA, None),
        (f'path = "{ALPHA}", {GOOD.replace("= 5", "= 0")}', ALPHA, None),
        (f'url = "https://example.org/{ALPHA}", size = 5, hashes = {{ md5 = "00" }}', None, None),
        (f'url = "https://example.org/{ALPHA}", {GOOD.replace("aaa", "AAA")}', None, None),
        (f'url = "https://example.org/..%2F{ALPHA}", {GOOD}', ALPHA, 5),
        (f'url = "https://example.org/x", name = "../{ALPHA}", {GOOD}', None, None),
        (f'url = "https://example.org/a%0A-1.0-py3-none-any.whl", {GOOD}', None, None),
        (f'url = "https://example.org/alpha-1.0.tar.gz", {GOOD}', None, None),
    ],
)
def test_what_is_read_of_an_answer(wheel: str, file: str | None, size: int | None) -> None:
    offers, others = offers_in(DOCUMENT.replace("{wheels}", f"{{ {wheel} }}"))
    found = offers["alpha", "1.0"]
    assert others == ()
    assert found == (() if file is None else (Offer(file=file, sha256="a" * 64, size=size),))


@pytest.mark.parametrize(
    "text",
    ["no = [", "packages = 3", 'packages = [{ name = "a" }, 3]', 'packages = [{ version = "1" }]'],
)
def test_what_is_no_answer(text: str) -> None:
    with pytest.raises(ResolutionError, match=r"^uv's answer cannot be understood\n"):
        offers_in(text)


def test_wheels_of_others_are_no_choice() -> None:
    def offer(file: str) -> Offer:
        return Offer(file=file, sha256="a" * 64, size=1)

    def best(*files: str) -> str | None:
        found = fitting_offers("alpha", "1.0", map(offer, files), ranks(TARGET))
        return found[0].file if found else None

    assert best("beta-1.0-py3-none-any.whl", "alpha-1.1-py3-none-any.whl", "alpha.whl") is None
    assert best("alpha-1.0-cp310-cp310-win32.whl") is None
    assert best(ALPHA, "Alpha-1.0.0-py3-none-any.whl") == "Alpha-1.0.0-py3-none-any.whl"
    assert best(ALPHA, "alpha-1.0-cp311-none-any.whl") == "alpha-1.0-cp311-none-any.whl"
