"""`mllock init --from`, as it is typed, and the first lock of what it made."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.importing import files_of
from support.lock_project import FakeSystem, NoNetwork
from support.reporter import Recorder
from support.wheels import pip_environ, simple_index

from mllock.cli.main import run
from mllock.core.platform import host_platform
from mllock.errors import LockError
from mllock.lock.imported import read_pins
from mllock.lock.ports import Upgrade
from mllock.lock.python import resolver_of
from mllock.spec.reader import load_spec
from mllock.store.cache import Cache
from mllock.workflows.context import Context
from mllock.workflows.lock import LockResult, Resolvers, check_lock, lock_project


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_a_file_in_this_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("requirements.txt").write_text(
        "pandas==2.2.2\n-e .\n--extra-index-url https://me:pw@index.example.org/simple\n"
    )
    assert run(["init", "--from", "requirements.txt"]) == 0
    name = tmp_path.name.replace("_", "-")
    assert capsys.readouterr() == (
        "requirements.txt:2: -e .: the project's own code is not installed: it is copied into the "
        "images as it is\n"
        "  hint: list its files in [train] code, and run it from the folder of the project; if its "
        'packages are in src: variables = { PYTHONPATH = "src" }\n'
        "requirements.txt:3: index https://index.example.org/simple: is in [[environment.indexes]] "
        "with INDEX_EXAMPLE_ORG_USER and INDEX_EXAMPLE_ORG_PASSWORD in the place of its own, and "
        "credentials in it were left out\n"
        "  hint: set INDEX_EXAMPLE_ORG_USER and INDEX_EXAMPLE_ORG_PASSWORD where you lock; or take "
        "them out of the URL, and keep user and password in netrc\n",
        f"made {name} from requirements.txt: {tmp_path}/mlproject.toml\n"
        "carried over: 1 requirement, 0 versions to begin with, 0 system packages\n"
        "not carried over: 2 things, listed above and in mlproject.toml\n"
        "next:\n"
        "  mllock lock     pin everything that mlproject.toml declares\n",
    )
    expected = {".gitignore", ".mllock/mlproject.schema.json", "mlproject.toml", "requirements.txt"}
    assert tree(tmp_path) == expected
    environment = load_spec(Path("mlproject.toml")).spec.environment
    assert environment.dependencies == ("pandas==2.2.2",)
    (index,) = environment.indexes
    user = "${INDEX_EXAMPLE_ORG_USER}:${INDEX_EXAMPLE_ORG_PASSWORD}"
    assert (index.url, index.packages) == (f"https://{user}@index.example.org/simple", ())


def test_a_folder_into_another(tmp_path, capsys):
    source = write(tmp_path / "old", files_of("uv-lock/beside-pyproject"))
    before = {name: (source / name).read_bytes() for name in tree(source)}
    assert run(["init", str(tmp_path / "new"), "--from", str(source)]) == 0
    assert capsys.readouterr() == (
        "",
        f"made flowers from pyproject.toml, uv.lock: {tmp_path}/new/mlproject.toml\n"
        "carried over: 2 requirements, 3 versions to begin with, 0 system packages\n"
        "next:\n"
        f"  cd {tmp_path}/new\n"
        "  mllock lock     pin everything that mlproject.toml declares\n",
    )
    assert {name: (source / name).read_bytes() for name in tree(source)} == before
    pins = {"fastapi": "0.111.0", "scikit-learn": "1.5.0", "starlette": "0.37.2"}
    assert read_pins(tmp_path / "new" / ".mllock") == pins


def test_a_lock_is_read_with_its_pyproject(tmp_path):
    source = write(tmp_path / "old", files_of("uv-lock/beside-pyproject"))
    assert run(["-q", "init", str(tmp_path / "a"), "--from", str(source / "uv.lock")]) == 0
    assert run(["-q", "init", str(tmp_path / "b"), "--from", str(source / "pyproject.toml")]) == 0
    first, second = ((tmp_path / name / "mlproject.toml").read_bytes() for name in "ab")
    assert first == second


def test_the_lock_of_a_workspace_is_named(tmp_path, capsys):
    member = b"[project]\nname = 'a'\ndependencies = ['numpy']\n"
    lock = b'version = 1\n[[package]]\nname = "numpy"\nversion = "1.26.4"\n'
    lock += b'source = { registry = "https://example.org/simple" }\n'
    write(tmp_path, {"work/uv.lock": lock, "work/packages/a/pyproject.toml": member})
    folder = tmp_path / "work/packages/a"
    said = (
        "../../uv.lock:1: uv.lock: lies above the folder, and was not read\n"
        "  hint: copy it beside pyproject.toml: the first lock then begins with its versions\n"
    )
    for number, source in enumerate((folder, folder / "pyproject.toml")):
        assert run(["-q", "init", str(tmp_path / f"new{number}"), "--from", str(source)]) == 0
        assert capsys.readouterr().out == said
    write(folder, {"uv.lock": lock})
    assert run(["-q", "init", str(tmp_path / "pinned"), "--from", str(folder)]) == 0
    assert capsys.readouterr().out == ""
    assert read_pins(tmp_path / "pinned/.mllock") == {"numpy": "1.26.4"}
    (folder / "uv.lock").unlink()
    for number, repository in enumerate((folder, folder.parent)):
        (repository / ".git").mkdir()  # what is above of it is not of the project
        assert run(["-q", "init", str(tmp_path / f"apart{number}"), "--from", str(folder)]) == 0
        assert capsys.readouterr().out == ""
        (repository / ".git").rmdir()


def test_a_gitignore_that_is_there_stays(tmp_path):
    write(tmp_path, {"requirements.txt": b"numpy\n", ".gitignore": b"mine\n"})
    assert run(["-q", "init", str(tmp_path), "--from", str(tmp_path)]) == 0
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_windows_lines(tmp_path):
    write(tmp_path, {"requirements.txt": b"\xef\xbb\xbfnumpy>=1 \\\r\n  ,<2\r\npandas\r\n"})
    assert run(["-q", "init", str(tmp_path), "--from", str(tmp_path)]) == 0
    loaded = load_spec(tmp_path / "mlproject.toml")
    assert loaded.spec.environment.dependencies == ("numpy<2,>=1", "pandas")


@pytest.mark.parametrize(
    "content",
    [
        # What "pip freeze > requirements.txt" writes in PowerShell.
        "numpy>=1  # größer\r\npandas\r\n".encode("utf-16"),
        b"\xfe\xff" + "numpy>=1\npandas\n".encode("utf-16-be"),
        "numpy>=1\npandas\n".encode("utf-32"),
        b"# -*- coding: latin-1 -*-\nnumpy>=1  # gr\xf6\xdfer\npandas\n",
        b"#!/x\n# coding=cp1252\nnumpy>=1  # \x80\npandas\n",
    ],
)
def test_requirements_are_decoded_as_pip_does(tmp_path, content):
    write(tmp_path, {"requirements.txt": content})
    assert run(["-q", "init", str(tmp_path), "--from", str(tmp_path)]) == 0
    loaded = load_spec(tmp_path / "mlproject.toml")
    assert loaded.spec.environment.dependencies == ("numpy>=1", "pandas")


def refusal(capsys, *words: str) -> str:
    assert run(["init", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


KINDS = (
    "requirements.txt, requirements.in, pyproject.toml, pylock.toml, uv.lock, poetry.lock, "
    "pdm.lock, environment.yml, cog.yaml, MLproject, dvc.yaml, NAME.dvc, bentofile.yaml, Dockerfile"
)


def test_a_project_is_there_already(tmp_path, capsys):
    write(tmp_path, {"mlproject.toml": b"mine", "requirements.txt": b"("})
    assert refusal(capsys, str(tmp_path), "--from", str(tmp_path)) == (
        f"error: {tmp_path}/mlproject.toml: there is a project here already\n"
        "hint: choose another folder: mllock init DIR\n"
    )
    assert (tmp_path / "mlproject.toml").read_text() == "mine"


def test_nothing_to_import(tmp_path, capsys):
    (tmp_path / "old").mkdir()
    target = str(tmp_path / "new")
    assert refusal(capsys, target, "--from", str(tmp_path / "old")) == (
        f"error: nothing here can be imported\nexpected: {KINDS}\n"
    )
    assert refusal(capsys, target, "--from", str(tmp_path / "none.txt")) == (
        "error: none.txt: no such file\n"
    )
    write(tmp_path, {"requirements.txt": b""})
    assert refusal(capsys, target, "--from", str(tmp_path / "requirement.txt")) == (
        "error: requirement.txt: no such file\nhint: did you mean requirements.txt?\n"
    )
    assert refusal(capsys, target, "--from", "https://example.org/requirements.txt") == (
        "error: requirements.txt: no such file\n"
        "hint: a URL is not fetched: fetch the file, and name it\n"
    )
    write(tmp_path, {"notes.md": b""})
    assert refusal(capsys, target, "--from", str(tmp_path / "notes.md")) == (
        f"error: notes.md: not a file that can be imported\nexpected: {KINDS}\n"
    )
    write(tmp_path, {"Pipfile": b"", "conda-lock.yml": b"version: 1\n"})
    assert refusal(capsys, target, "--from", str(tmp_path / "Pipfile")) == (
        f"error: Pipfile: not a file that can be imported\nexpected: {KINDS}\n"
        "hint: pipenv requirements > requirements.txt\n"
    )
    assert refusal(capsys, target, "--from", str(tmp_path / "conda-lock.yml")) == (
        f"error: conda-lock.yml: not a file that can be imported\nexpected: {KINDS}\n"
        "hint: import the environment.yml that it was made from\n"
    )
    assert not (tmp_path / "new").exists()


def test_from_once(tmp_path, capsys):
    write(tmp_path, {"requirements.txt": b"a", "Dockerfile": b"FROM python:3.11"})
    both = [word for name in ("requirements.txt", "Dockerfile") for word in ("--from", name)]
    assert refusal(capsys, str(tmp_path / "new"), *both) == (
        "error: --from is given twice: name the folder that has both\n"
        'hint: see "mllock init --help"\n'
    )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Requirements.TXT", b"numpy"),
        ("requirements.pip", b"numpy"),
        ("REQUIREMENTS.IN", b"numpy"),
        ("dockerfile", b"FROM python:3.11\nRUN pip install numpy"),
        ("train.dockerfile", b"FROM python:3.11\nRUN pip install numpy"),
        ("cog.yml", b"build: {python_packages: [numpy]}"),
        ("Bentofile.yml", b"python: {packages: [numpy]}"),
        ("PyProject.toml", b"[project]\ndependencies = ['numpy']"),
        ("Environment.YML", b"dependencies: [numpy]"),
        ("mlproject", b"python_env: env.yaml"),
    ],
)
def test_names_as_people_spell_them(tmp_path, name, content):
    write(tmp_path, {name: content, "env.yaml": b"dependencies: [numpy]"})
    assert run(["-q", "init", str(tmp_path / "new"), "--from", str(tmp_path / name)]) == 0
    loaded = load_spec(tmp_path / "new/mlproject.toml")
    assert loaded.spec.environment.dependencies == ("numpy",)


def test_template_and_from_do_not_go_together(tmp_path, capsys):
    err = refusal(capsys, str(tmp_path), "--from", "x", "--template", "sklearn")
    assert "--from makes no starter project: leave out --template" in err


class Importer:
    """A project made by `init --from`, and locks of it against an index on loopback."""

    def __init__(self, folder: Path, index) -> None:
        self.project = folder / "project"
        self.reporter = Recorder()
        self.index = index
        self.ctx = Context(
            project=self.project,
            environ=pip_environ(folder / "home", index=index),
            reporter=self.reporter,
            cache=Cache(folder / "cache", self.reporter),
            fetcher=NoNetwork(),
        )

    def init(self, files: dict[str, bytes]) -> None:
        write(self.project, files)
        assert run(["-q", "init", str(self.project), "--from", str(self.project)]) == 0

    def lock(self, **options) -> LockResult:
        cache = self.ctx.cache
        python = resolver_of("pip-tools", cache, cache.root, self.reporter, self.ctx.environ)
        resolvers = Resolvers(python=python, system=FakeSystem())
        return lock_project(self.ctx, resolvers=resolvers, **options)

    def versions(self, **options) -> dict[str, str]:
        return {item.name: item.version for item in self.lock(**options).lock.python.packages}


FILES = {
    "pyproject.toml": b"""\
[project]
name = "w"
requires-python = ">=3.11"
dependencies = ["alpha>=1"]
""",
    "uv.lock": b"""\
version = 1
[[package]]
name = "alpha"
version = "1.0"
source = { registry = "https://index.example.org/simple" }
[[package]]
name = "beta"
version = "1.5"
source = { registry = "https://index.example.org/simple" }
""",
}


@pytest.fixture
def importer(tmp_path):
    if host_platform() not in ("linux/amd64", "linux/arm64"):
        pytest.fail("the images of this test are for this machine")
    with simple_index() as index:
        for version in ("1.0", "2.0"):
            index.add("alpha", version, ["beta"])
        for version in ("1.5", "1.9"):
            index.add("beta", version)
        yield Importer(tmp_path, index)


def test_the_first_lock_begins_with_the_pins(importer):
    importer.init(FILES)
    old = {"alpha": "1.0", "beta": "1.5"}
    assert importer.versions() == old
    # They are no requirements, and are not read again: what counts from now on is the lock.
    spec = importer.project / "mlproject.toml"
    assert load_spec(spec).spec.environment.dependencies == ("alpha>=1",)
    (importer.project / ".mllock" / "pins.txt").write_text("not a pin at all")
    assert check_lock(importer.ctx) == ()
    assert importer.versions() == old
    assert importer.versions(upgrade=Upgrade(names=frozenset({"beta"}))) == old | {"beta": "1.9"}
    assert importer.versions(upgrade=Upgrade(all=True)) == {"alpha": "2.0", "beta": "1.9"}


def test_fresh_and_upgrade_forget_them(importer):
    importer.init(FILES)
    assert importer.versions(fresh=True) == {"alpha": "2.0", "beta": "1.9"}
    (importer.project / "mlproject.lock").unlink()
    some = Upgrade(names=frozenset({"beta"}))
    assert importer.versions(upgrade=some) == {"alpha": "1.0", "beta": "1.9"}
    (importer.project / "mlproject.lock").unlink()
    assert importer.versions(upgrade=Upgrade(all=True)) == {"alpha": "2.0", "beta": "1.9"}


def test_a_pin_that_does_not_fit_makes_room_and_is_named(importer):
    importer.init(FILES)
    spec = importer.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace("alpha>=1", "alpha>=2"))
    assert importer.versions() == {"alpha": "2.0", "beta": "1.5"}
    said = [line for line in importer.reporter.lines if line.startswith("warn")]
    assert said == ["warn: alpha: 2.0 is locked, 1.0 was imported"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("alpha>=1", "not a pin"),
        ("--index-url https://evil.example.org", "not a pin"),
        ("alpha==1.0\nalpha==2.0", "pinned twice"),
    ],
)
def test_pins_that_are_none(importer, line, message):
    importer.init(FILES)
    (importer.project / ".mllock" / "pins.txt").write_text(f"# mine\n{line}\n")
    with pytest.raises(LockError) as caught:
        importer.lock()
    assert (caught.value.message, caught.value.file) == (message, ".mllock/pins.txt")
    assert caught.value.line == 2 + line.count("\n")


def test_requirements_that_are_pins_are_the_requirements(importer):
    importer.init({"requirements.txt": b"alpha==1.0\nbeta==1.5\n"})
    assert not (importer.project / ".mllock" / "pins.txt").exists()
    assert importer.versions() == {"alpha": "1.0", "beta": "1.5"}


def test_requirements_in_begins_with_its_txt(importer):
    importer.init({"requirements.in": b"alpha\n", "requirements.txt": b"alpha==1.0\nbeta==1.5\n"})
    assert importer.versions() == {"alpha": "1.0", "beta": "1.5"}


def test_files_of_dvc_are_found_where_a_project_has_them(tmp_path):
    tracked = b"outs:\n- path: %s\n"
    url = b"deps:\n- path: s3://bucket/a.csv\nouts:\n- path: a.csv\n"
    source = write(
        tmp_path / "old",
        {
            "data/a.csv.dvc": url,
            "data/deep/b.csv.dvc": tracked % b"b.csv",
            ".dvc/tmp/hidden.dvc": tracked % b"hidden",
            "venv/c.csv.dvc": tracked % b"c.csv",
            "/".join("123456789") + "/d.csv.dvc": tracked % b"d.csv",
        },
    )
    (tmp_path / "away").mkdir()
    (tmp_path / "away/e.csv.dvc").write_bytes(tracked % b"e.csv")
    (source / "linked").symlink_to(tmp_path / "away")
    assert run(["-q", "init", str(tmp_path / "new"), "--from", str(source)]) == 0
    data = load_spec(tmp_path / "new/mlproject.toml").spec.data
    assert {name: (item.source, item.path) for name, item in data.items()} == {
        "a": ("s3://bucket/a.csv", "data/a.csv"),
        "b": ("data/deep/b.csv", None),
    }
    assert run(["-q", "init", str(tmp_path / "b"), "--from", str(source / "data/a.csv.dvc")]) == 0
    (only,) = load_spec(tmp_path / "b/mlproject.toml").spec.data.values()
    assert (only.source, only.path) == ("s3://bucket/a.csv", "a.csv")
