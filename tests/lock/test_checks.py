"""What a careful forger could write: the digests are right, the content is not."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.locks import BASE, PIN, deb, make_lock
from support.wheels import make_wheel

from mllock.errors import ArchiveError, LockError, ResolutionError
from mllock.lock.closure import WheelMetadata, closure, read_metadata
from mllock.lock.format import content_digest, dump_lock, parse_lock
from mllock.lock.target import Target, glibc_of, target_of
from mllock.lock.types import (
    Base,
    BaseLayer,
    BasePlatform,
    Build,
    BuildTool,
    DebianPackage,
    LayerGroup,
    Lock,
)

LOCK = make_lock()
TOOL = BuildTool(name="tool-1-py3-none-any.whl", size=1, sha256="0" * 64)
BUILD = Build(name="alpha", reference="git+https://e.org/a", commit="0" * 40, tools=(TOOL,))
TARGET = Target(python="3.11.2", platform="linux/amd64", glibc=(2, 36))


def with_package(**changes) -> Lock:
    first, *rest = LOCK.python.packages
    return replace(LOCK, python=replace(LOCK.python, packages=(replace(first, **changes), *rest)))


def with_wheel_name(name: str) -> Lock:
    wheel = replace(LOCK.python.packages[0].wheels[0], name=name, path=f"wheels/{name}")
    return with_package(wheels=(wheel,))


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        (
            replace(LOCK, system=(replace(deb("libc6"), filename="pool/libc6.rpm"),)),
            "system[0].filename: not the name of a .deb\nfound: pool/libc6.rpm",
        ),
        (
            replace(LOCK, base=replace(BASE, interpreter="bin/python")),
            "base.interpreter: not an absolute path in the image",
        ),
        (
            replace(LOCK, base=replace(BASE, interpreter="/usr/../bin/python")),
            "base.interpreter: \"..\" in path: 'usr/../bin/python'",
        ),
        (
            replace(LOCK, builds=(replace(BUILD, name="gone"),)),
            "builds[0].name: 'gone' is no locked package",
        ),
        (replace(LOCK, builds=(BUILD, BUILD)), "builds: 'alpha' is twice"),
        (
            replace(LOCK, builds=(replace(BUILD, commit=None),)),
            "builds[0]: needs either commit or sha256",
        ),
        (
            replace(LOCK, builds=(replace(BUILD, sha256="0" * 64),)),
            "builds[0]: needs either commit or sha256",
        ),
        (
            replace(LOCK, builds=(replace(BUILD, reference="git+file:///srv/alpha"),)),
            "builds[0].reference: a URL of a kind that cannot be locked: expected https://.../"
            "NAME.whl, https://.../NAME.tar.gz or git+https://...@REVISION",
        ),
        (
            replace(LOCK, builds=(replace(BUILD, reference="git+https://u:p@e.org/a"),)),
            "builds[0].reference: a URL with a user name or password in it",
        ),
        (
            replace(LOCK, builds=(replace(BUILD, tools=(replace(TOOL, name="../x.whl"),)),)),
            "builds[0].tools[0].name: \"..\" in path: '../x.whl'",
        ),
        (
            with_package(version="not a version"),
            "python.packages[0].wheels[0].name: the wheel is of another package\n"
            "expected: alpha not a version\nfound: alpha 1.0",
        ),
        (
            with_wheel_name("alpha.zip"),
            "python.packages[0].wheels[0].name: invalid wheel filename (extension must be '.whl'): "
            "'alpha.zip'",
        ),
        (
            replace(LOCK, python=replace(LOCK.python, requires_python="never")),
            "python: not a PEP 751 document: Invalid specifier: 'never' in 'requires-python'",
        ),
        (
            replace(
                LOCK,
                layers=replace(
                    LOCK.layers,
                    python=(LayerGroup(packages=()), LayerGroup(packages=("alpha", "beta"))),
                ),
            ),
            "layers.python[0].packages: an empty layer",
        ),
        (
            replace(LOCK, data={"train": replace(PIN, path="a//b")}),
            "data.train.path: empty component in path: 'a//b'",
        ),
    ],
)
def test_refused(lock: Lock, message: str) -> None:
    data = dump_lock(replace(lock, content_digest=content_digest(lock)))
    with pytest.raises(LockError) as caught:
        parse_lock(data, "mlproject.lock")
    assert str(caught.value) == f"mlproject.lock: {message}"


def test_a_base_without_a_c_library() -> None:
    with pytest.raises(ResolutionError) as caught:
        glibc_of((deb("musl"),))
    assert str(caught.value) == (
        "the base has no libc6: which wheels would run on it cannot be said"
    )


def wheel_at(folder: Path, data: bytes) -> Path:
    path = folder / "x.whl"
    path.write_bytes(data)
    return path


def test_metadata_is_read(tmp_path: Path) -> None:
    path = wheel_at(tmp_path, make_wheel("Two_Words", "1.0", requires=["beta>=1"]))
    assert read_metadata(path, "x.whl") == WheelMetadata(
        name="two-words", version="1.0", requires=("beta>=1",)
    )


def test_what_is_not_a_wheel(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        read_metadata(wheel_at(tmp_path, b"nothing"), "x.whl")
    assert str(caught.value) == "x.whl: not a wheel: file is not a zip file"
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("a.py", "")
    with pytest.raises(ArchiveError) as caught:
        read_metadata(tmp_path / "empty.whl", "empty.whl")
    assert str(caught.value) == "empty.whl: not a wheel: it needs exactly one METADATA"


def test_a_requirement_that_cannot_be_read() -> None:
    wheels = {"alpha": WheelMetadata(name="alpha", version="1.0", requires=("beta>>1",))}
    with pytest.raises(ArchiveError, match="a requirement of alpha cannot be read: "):
        closure(["alpha"], wheels, TARGET)


def test_a_closure_says_what_is_missing_and_survives_circles() -> None:
    wheels = {
        "alpha": WheelMetadata(name="alpha", version="1.0", requires=("beta>=2", "gamma[x]")),
        "beta": WheelMetadata(name="beta", version="1.0", requires=()),
        "gamma": WheelMetadata(
            name="gamma", version="1.0", requires=("alpha", 'delta; extra == "x"')
        ),
        "unused": WheelMetadata(name="unused", version="1.0", requires=()),
    }
    found = closure(['alpha; python_version < "4"'], wheels, TARGET)
    assert found.needed == {"alpha", "gamma"}
    assert found.missing == ("beta>=2", "delta")


LAYER = BaseLayer(digest="sha256:" + "3" * 64, diff_id="sha256:" + "4" * 64, size=1, type="x")
PLATFORM = BasePlatform(
    platform="linux/amd64",
    manifest="sha256:" + "5" * 64,
    config="sha256:" + "6" * 64,
    config_size=2,
    glibc="2.36",
    layers=(LAYER,),
    variables={"PATH": "/bin", "B": "é", "A": ""},
)
IMAGE = Base(
    kind="image",
    reference="registry.example.org/py:1",
    python="3.11.9",
    interpreter="/usr/local/bin/python3.11",
    platforms=(PLATFORM,),
)
ABOVE = replace(IMAGE, suite="bookworm", indexes=BASE.indexes)


def test_a_base_that_is_an_image_is_written_and_read() -> None:
    for base, system in ((IMAGE, ()), (ABOVE, (deb("libgomp1", layer="system"),)), (ABOVE, ())):
        lock = make_lock(base=base, system=system)
        assert parse_lock(dump_lock(lock), "mlproject.lock") == lock
    text = dump_lock(make_lock(base=IMAGE, system=())).decode()
    at = text.index("[base]")
    assert text[at : text.index("[python]")] == (
        '[base]\nkind = "image"\nreference = "registry.example.org/py:1"\npython = "3.11.9"\n'
        'interpreter = "/usr/local/bin/python3.11"\n\n'
        '[[base.platforms]]\nplatform = "linux/amd64"\n'
        f'manifest = "sha256:{"5" * 64}"\nconfig = "sha256:{"6" * 64}"\nconfig-size = 2\n'
        'glibc = "2.36"\nlayers = [\n'
        f'  {{ digest = "sha256:{"3" * 64}", diff-id = "sha256:{"4" * 64}", size = 1, '
        'type = "x" },\n]\n\n'
        '[base.platforms.variables]\nA = ""\nB = "é"\nPATH = "/bin"\n\n'
    )


def test_wheels_are_for_the_c_library_of_the_image() -> None:
    lock = make_lock(base=replace(IMAGE, platforms=(replace(PLATFORM, glibc="2.41"),)), system=())
    assert target_of(lock) == Target(python="3.11.9", platform="linux/amd64", glibc=(2, 41))


@pytest.mark.parametrize(
    ("base", "system", "message"),
    [
        (replace(BASE, suite=None), None, "base.suite: missing key"),
        (replace(BASE, indexes=()), None, "base.indexes: missing key"),
        (
            replace(BASE, reference="x"),
            None,
            "base.reference: no key of a base of kind debian",
        ),
        (
            replace(BASE, platforms=(PLATFORM,)),
            None,
            "base.platforms: no key of a base of kind debian",
        ),
        (replace(IMAGE, reference=None), (), "base.reference: missing key"),
        (replace(IMAGE, platforms=()), (), "base.platforms: missing key"),
        (
            replace(IMAGE, suite="bookworm"),
            (),
            "base.suite: suite, indexes and Debian packages belong together",
        ),
        (
            IMAGE,
            (deb("libgomp1", layer="system"),),
            "base.suite: suite, indexes and Debian packages belong together",
        ),
        (ABOVE, (deb("libc6"),), "system[0].layer: a package of a base that is an image"),
        (
            replace(IMAGE, platforms=(replace(PLATFORM, platform="linux/arm64"),)),
            (),
            "base.platforms: not one entry for each platform, sorted\n"
            "expected: linux/amd64\nfound: linux/arm64",
        ),
        (
            replace(IMAGE, platforms=(PLATFORM, PLATFORM)),
            (),
            "base.platforms: not one entry for each platform, sorted\n"
            "expected: linux/amd64\nfound: linux/amd64, linux/amd64",
        ),
    ],
)
def test_each_kind_of_base_has_its_own_keys(
    base: Base, system: tuple[DebianPackage, ...] | None, message: str
) -> None:
    lock = replace(LOCK, base=base, system=LOCK.system if system is None else system)
    lock = replace(lock, content_digest=content_digest(lock))
    with pytest.raises(LockError) as caught:
        parse_lock(dump_lock(lock), "mlproject.lock")
    assert str(caught.value) == f"mlproject.lock: {message}"
