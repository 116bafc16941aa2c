"""[[environment.indexes]]: which packages come from where, and passwords that nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bench import Bench, each_bench, uv_bench
from support.lock_project import LockProject
from support.wheels import SimpleIndex, pip_environ, simple_index, write_wheel

from mllock.errors import InputError, MllockError, OfflineError, ResolutionError
from mllock.lock.indexes import PackageIndex, slips
from mllock.lock.types import PythonPackage

__all__ = ["each_bench", "uv_bench"]

SECRET = "hunter2-of-the-index/@:"


@pytest.fixture
def private() -> Iterator[SimpleIndex]:
    with simple_index() as index:
        yield index


def only(index: SimpleIndex, *packages: str, user: str = "") -> tuple[PackageIndex, ...]:
    url = index.url.replace("http://", f"http://{user}")
    return (PackageIndex(name="torch-cpu", url=url, packages=packages),)


def asked(index: SimpleIndex, name: str) -> list[str]:
    return [path for path in index.requests if f"/{name}/" in path]


def test_a_package_comes_from_its_index_alone(uv_bench: Bench, private: SimpleIndex) -> None:
    uv_bench.index.add("torch", "9.0")  # who took the name in the public index
    uv_bench.index.add("helper", "1.0")
    private.add("torch", "2.1+cpu", ["helper"])
    private.add("helper", "8.0")
    indexes = only(private, "torch")
    found = uv_bench.resolve("torch>=2", indexes=indexes)
    assert {item.name: item.version for item in found} == {"helper": "1.0", "torch": "2.1+cpu"}
    assert asked(uv_bench.index, "torch") == []
    assert asked(private, "helper") == []


def test_a_slip_in_a_list_of_packages(private: SimpleIndex) -> None:
    listed = only(private, "torc", "torchvision", "numpy", "audio")
    assert [*slips(listed, {"torch", "torchmetrics", "numpy", "alpha"})] == [
        'the index torch-cpu is for "torc", which is not locked: if "torch" is meant, that may '
        "have come from another index; see [[environment.indexes]]"
    ]
    # One that is there has its own place, whatever is written beside it.
    assert [*slips(only(private, "torch", "torchs"), {"torch"})] == []


def test_a_slip_is_said_when_it_is_locked(tmp_path: Path) -> None:
    project = LockProject(tmp_path)
    index = '[[environment.indexes]]\nname = "own"\nurl = "https://own.example.org/simple"\n'
    project.change('system-packages = ["libgomp1"]', 'resolver = "uv"')
    project.change("[data.train]", f'{index}packages = ["alphas"]\n\n[data.train]')
    project.lock()
    assert [line for line in project.reporter.lines if line.startswith("warn")] == [
        'warn: the index own is for "alphas", which is not locked: if "alpha" is meant, that may '
        "have come from another index; see [[environment.indexes]]"
    ]
    project.reporter.lines.clear()
    project.lock()
    assert project.reporter.lines == []  # nothing was resolved


def test_whoever_needs_it(uv_bench: Bench, private: SimpleIndex) -> None:
    uv_bench.index.add("alpha", "1.0", ["torch<3"])
    uv_bench.index.add("torch", "2.9")
    uv_bench.index.add("vision", "9.0")
    private.add("torch", "2.1+cpu", ["vision"])
    private.add("torch", "3.0+cpu")
    private.add("vision", "1.0+cpu")
    indexes = only(private, "torch", "vision", "audio")  # audio is nowhere, and nobody needs it
    expected = {"alpha": "1.0", "torch": "2.1+cpu", "vision": "1.0+cpu"}
    assert uv_bench.versions("alpha", indexes=indexes) == expected
    assert asked(uv_bench.index, "torch") + asked(uv_bench.index, "vision") == []
    # Its pin is a wish although it is not asked for by name.
    private.add("torch", "2.2+cpu", ["vision"])
    assert uv_bench.versions("alpha", indexes=indexes, pins=expected) == expected
    newer = expected | {"torch": "2.2+cpu"}
    assert uv_bench.versions("alpha", indexes=indexes) == newer


def test_a_marker_does_not_open_another_way(uv_bench: Bench, private: SimpleIndex) -> None:
    uv_bench.index.add("alpha", "1.0", ["torch"])
    uv_bench.index.add("torch", "9.0")
    private.add("torch", "2.1+cpu")
    found = uv_bench.versions(
        "alpha",
        'torch>=5; sys_platform == "win32"',
        'torch>=1; sys_platform == "linux"',
        indexes=only(private, "torch"),
    )
    assert found == {"alpha": "1.0", "torch": "2.1+cpu"}
    indexes = only(private, "torch")
    found = uv_bench.versions("alpha", 'torch>=5; sys_platform == "win32"', indexes=indexes)
    assert found == {"alpha": "1.0", "torch": "2.1+cpu"}
    assert asked(uv_bench.index, "torch") == []


def test_it_is_not_there(uv_bench: Bench, private: SimpleIndex, tmp_path: Path) -> None:
    uv_bench.index.add("torch", "9.0")
    write_wheel(tmp_path / "links", "torch", "8.0")
    uv_bench.index.add("alpha", "1.0", ["torch"])
    indexes = only(private, "torch")
    for wanted in ("torch", "alpha"):  # asked for by name, and by another package
        assert uv_bench.refusal(ResolutionError, wanted, indexes=indexes) == (
            "no package 'torch' in the index\n"
            "hint: only the index torch-cpu is asked for it: see [[environment.indexes]]"
        )
    private.login = "someone:else"
    assert uv_bench.refusal(OfflineError, "torch", indexes=indexes) == (
        "the package index cannot be read: 127.0.0.1\nfound: 401 client error: unauthorized\n"
        "hint: check user and password: the variables that the URL of the index names, netrc, or"
        " the keyring; only the index torch-cpu is asked for it"
    )
    private.login = None
    private.add("torch", "7.0")
    uv_bench.environ["PIP_FIND_LINKS"] = str(tmp_path / "links")
    assert uv_bench.versions("torch", indexes=only(private, "torch")) == {"torch": "7.0"}
    assert uv_bench.refusal(ResolutionError, "torch>=8", indexes=indexes) == (
        'no version satisfies "torch>=8"\nfound: 7.0\n'
        "hint: only the index torch-cpu is asked for it: see [[environment.indexes]]"
    )
    # Nor is a conflict settled by asking somewhere else.
    private.add("torch", "8.0", ["helper<2"])
    uv_bench.index.add("helper", "2.0")
    uv_bench.index.add("helper", "1.0")
    message = uv_bench.refusal(ResolutionError, "torch>=8", "helper>=2", indexes=indexes)
    assert message.startswith("uv could not resolve the dependencies\n")
    assert asked(uv_bench.index, "torch") == []


def test_no_index_is_none_at_all(uv_bench: Bench, private: SimpleIndex, tmp_path: Path) -> None:
    private.add("torch", "7.0")
    write_wheel(tmp_path / "links", "alpha", "1.0", ["torch"])
    write_wheel(tmp_path / "links", "torch", "7.0")
    uv_bench.environ = pip_environ(tmp_path / "home", find_links=tmp_path / "links")
    message = uv_bench.refusal(ResolutionError, "alpha", indexes=only(private, "torch"))
    assert message == (
        "no package 'torch' in the index\n"
        "hint: only the index torch-cpu is asked for it: see [[environment.indexes]]"
    )
    assert private.requests == []


def test_locked_wheels_come_back_from_there(
    uv_bench: Bench, private: SimpleIndex, tmp_path: Path
) -> None:
    uv_bench.index.add("alpha", "1.0", ["torch"])
    private.add("torch", "2.1+cpu")
    indexes = only(private, "torch")
    packages = uv_bench.resolve("alpha", indexes=indexes)
    uv_bench.index.add("torch", "2.1+cpu", ["alpha"])  # the same name, other bytes

    def lose() -> None:
        for path in uv_bench.fetch(packages).values():
            path.unlink()

    lose()
    assert len(uv_bench.fetch(packages, indexes)) == 2
    assert asked(uv_bench.index, "torch") == []
    # Without an index, by hash and from a folder.
    links = tmp_path / "links"
    links.mkdir()
    for path in uv_bench.fetch(packages, indexes).items():
        (links / path[0]).write_bytes(path[1].read_bytes())
    lose()
    uv_bench.environ = pip_environ(tmp_path / "home", find_links=links)
    assert len(uv_bench.fetch(packages, indexes)) == 2


def test_an_index_for_every_package(each_bench: Bench, private: SimpleIndex, tmp_path) -> None:
    each_bench.index.add("alpha", "1.0", ["beta"])
    private.add("alpha", "2.0", ["beta", "gamma"])
    private.add("beta", "1.0")
    with simple_index() as extra:
        extra.add("gamma", "1.0")  # pip's own setting still counts
        (tmp_path / "pip.conf").write_text(f"[global]\nextra-index-url = {extra.url}\n")
        each_bench.environ["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")
        found = each_bench.resolve("alpha", indexes=only(private))
        assert [item.version for item in found] == ["2.0", "1.0", "1.0"]
        for path in each_bench.fetch(found).values():
            path.unlink()
        assert len(each_bench.fetch(found, only(private))) == 3


# ----- passwords -----


def nowhere(bench: Bench, private: SimpleIndex, folder: Path, said: list[str]) -> None:
    """The secret is in no line, no file and no argument; it was asked for, and seen to be sent."""
    words = [SECRET, "hunter2-of-the-index"]
    lines = [*said, *bench.reporter.lines]
    assert [line for line in lines if any(word in line for word in words)] == []
    assert any(b"compile" in command for command in private.commands)
    assert any(b"download" in command for command in private.commands)
    assert any(b"torch" in text for text in private.written)  # what was there for a while
    for texts in (private.commands, private.written):
        assert [text for text in texts if b"hunter2" in text] == []
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".netrc"]
    assert files
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []


def failures(bench: Bench, private: SimpleIndex, indexes: tuple[PackageIndex, ...]) -> list[str]:
    """What is said where it goes wrong."""
    said = [str(_failure(bench, "torch>=77", indexes))]
    private.login = "someone:else"
    said.append(str(_failure(bench, "torch", indexes, fresh=True)))
    return said


def _failure(
    bench: Bench, text: str, indexes: tuple[PackageIndex, ...], *, fresh: bool = False
) -> MllockError:
    if fresh:
        import shutil

        shutil.rmtree(bench.cache.root / "uv", ignore_errors=True)
        bench.environ["PIP_NO_CACHE_DIR"] = "1"
    with pytest.raises(MllockError) as caught:
        bench.resolve(text, indexes=indexes)
    return caught.value


# pip-tools knows indexes for every package only.
WAYS = pytest.mark.parametrize(
    ("resolver", "packages"), [("pip-tools", ()), ("uv", ()), ("uv", ("torch",))]
)


@WAYS
def test_a_password_from_the_environment(
    private: SimpleIndex, tmp_path: Path, resolver: str, packages: tuple[str, ...]
) -> None:
    with simple_index() as public:
        _from_the_environment(Bench(tmp_path, public, resolver), private, tmp_path, packages)


def _from_the_environment(
    bench: Bench, private: SimpleIndex, tmp_path: Path, packages: tuple[str, ...]
) -> None:
    private.watched = tmp_path
    private.add("torch", "2.1+cpu")
    private.login = f"someone:{SECRET}"
    bench.environ |= {"INDEX_USER": "someone", "INDEX_PASSWORD": SECRET}
    indexes = only(private, *packages, user="${INDEX_USER}:${INDEX_PASSWORD}@")
    found = bench.resolve("torch", indexes=indexes)
    assert [item.version for item in found] == ["2.1+cpu"]
    for path in bench.fetch(found, indexes).values():
        path.unlink()
    assert len(bench.fetch(found, indexes)) == 1
    nowhere(bench, private, tmp_path, failures(bench, private, indexes))


@WAYS
def test_a_password_from_netrc(
    private: SimpleIndex, tmp_path: Path, resolver: str, packages: tuple[str, ...]
) -> None:
    with simple_index() as public:
        _from_netrc(Bench(tmp_path, public, resolver), private, tmp_path, packages)


def _from_netrc(
    bench: Bench, private: SimpleIndex, tmp_path: Path, packages: tuple[str, ...]
) -> None:
    private.watched = tmp_path
    private.add("torch", "2.1+cpu")
    private.login = "someone:hunter2"
    home = Path(bench.environ["HOME"])
    home.mkdir(exist_ok=True)
    (home / ".netrc").write_text("machine 127.0.0.1 login someone password hunter2\n")
    (home / ".netrc").chmod(0o600)
    indexes = only(private, *packages)
    found = bench.resolve("torch", indexes=indexes)
    for path in bench.fetch(found, indexes).values():
        path.unlink()
    assert len(bench.fetch(found, indexes)) == 1
    nowhere(bench, private, tmp_path, failures(bench, private, indexes))


def test_a_token_that_is_not_set(uv_bench: Bench, private: SimpleIndex) -> None:
    indexes = only(private, "torch", user="${TOKEN}@")
    host = private.url.removeprefix("http://")
    assert uv_bench.refusal(InputError, "torch", indexes=indexes) == (
        "environment.indexes: TOKEN is not set in the environment\n"
        f"found: the index torch-cpu needs it: http://${{TOKEN}}@{host}\n"
        "hint: set it, or leave user and password to netrc"
    )
    uv_bench.environ["TOKEN"] = "abc"
    private.login = "abc:"
    private.add("torch", "1.0")
    assert uv_bench.versions("torch", indexes=indexes) == {"torch": "1.0"}


# ----- in the spec -----


TABLE = """
[[environment.indexes]]
name = "torch-cpu"
url = "https://${TOKEN}@index.example.org/simple"
packages = ["Torch_Vision", "torch"]
"""


def project_with(tmp_path: Path, table: str, resolver: str = "uv") -> LockProject:
    project = LockProject(tmp_path)
    project.change("[environment]", f'[environment]\nresolver = "{resolver}"')
    project.change("[data.train]", f"{table}\n[data.train]")
    return project


def test_it_is_part_of_the_question_and_of_the_lock(tmp_path: Path) -> None:
    project = project_with(tmp_path, TABLE)
    project.python.name = "uv"
    project.lock()
    index = PackageIndex(
        name="torch-cpu",
        url="https://${TOKEN}@index.example.org/simple",
        packages=("torch", "torch-vision"),
    )
    assert project.python.requests[0].indexes == (index,)
    assert 'url = "https://${TOKEN}@index.example.org/simple"' in project.path.read_text()
    assert not project.lock().written
    project.change('"torch"]', '"torch", "alpha"]')
    project.python.tag = "py2.py3-none-any"
    (alpha, *_) = project.lock().lock.python.packages
    # The wheel of another index does not stay.
    assert isinstance(alpha, PythonPackage)
    assert alpha.wheels[0].name == "alpha-1.0-py2.py3-none-any.whl"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'https://${TOKEN}@index.example.org/simple"',
            'file:///srv/wheels"',
            'url: an index of one machine\nexpected: https:// or http://\nfound: "file:///srv/'
            'wheels"\nhint: a folder of wheels is named in find-links, if it is in the project; '
            "or in pip's settings (PIP_FIND_LINKS)",
        ),
        (
            '"torch"]',
            '"torch>=2"]',
            'packages[1]: not the name of a package\nfound: "torch>=2"\n'
            'hint: a name alone, as "torch"; versions are for dependencies',
        ),
        (
            '"torch"]',
            '"torch.vision"]',
            'packages[1]: a package has one index\nfound: "torch.vision", which is in the index '
            "torch-cpu already",
        ),
        (
            'resolver = "uv"',
            'resolver = "pip-tools"',
            "packages: pip-tools cannot take a package from one index alone\n"
            'hint: write resolver = "uv" in [environment]; or leave out packages, and every '
            "package may come from this index too",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    project = project_with(tmp_path, TABLE)
    project.change(old, new)
    with pytest.raises(MllockError) as caught:
        project.lock()
    first, _, rest = str(caught.value).partition(": environment.indexes[0].")
    assert first.startswith("mlproject.toml:")
    assert rest == message
