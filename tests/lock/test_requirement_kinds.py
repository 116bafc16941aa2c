"""Kinds of requirements and places: locked, installed from the lock, and current after that."""

from __future__ import annotations

import posixpath
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.locking import Locking
from support.webserver import Answer, serving
from support.wheels import SimpleIndex, make_wheel, simple_index, write_wheel

from mllock.core.digest import sha256_of
from mllock.errors import InputError, IntegrityError, SpecError
from mllock.workflows.environment import locked_wheels
from mllock.workflows.export_python import export_pylock, export_requirements
from mllock.workflows.lock import check_lock

BOTH = pytest.mark.parametrize("resolver", ["pip-tools", "uv"])


@pytest.fixture
def index() -> Iterator[SimpleIndex]:
    with simple_index() as served:
        yield served


def made(folder: Path, index: SimpleIndex, environment: str, resolver: str) -> Locking:
    return Locking(folder, index, environment, resolver)


@BOTH
def test_extras_constraints_and_local_versions(
    tmp_path: Path, index: SimpleIndex, resolver: str
) -> None:
    index.add("alpha", "1.0+cpu", ['beta>=1; extra == "fast"', 'gamma; extra == "other"'])
    index.add("alpha", "1.0")
    for version in ("1.0", "2.0", "3.0"):
        index.add("beta", version)
    lines = 'dependencies = ["Alpha[Fast]==1.0"]\nconstraints = ["limits.txt"]'
    project = made(tmp_path, index, lines, resolver)
    (project.folder / "limits.txt").write_text("beta<3  # not yet\n")
    lock = project.real().lock
    # PEP 440: "==1.0" has every local version of it, and the newest is one.
    expected = {"alpha": "1.0+cpu", "beta": "2.0"}
    assert project.installed(lock) == expected
    project.lose_wheels()
    assert project.installed(lock) == expected
    (project.folder / "limits.txt").write_text("# another word for it\nBeta <3\n")
    assert check_lock(project.ctx) == ()
    (project.folder / "limits.txt").write_text("beta<2\n")
    assert check_lock(project.ctx) == ("environment.constraints: changed beta<3 to beta<2",)


@pytest.mark.parametrize(("resolver", "where"), [("pip-tools", "file"), ("uv", "spec")])
def test_a_folder_of_wheels(tmp_path: Path, index: SimpleIndex, resolver: str, where: str) -> None:
    """Its path has a space and a comma, which separate places for pip and uv."""
    index.add("alpha", "1.0", ["beta"])
    index.add("beta", "1.0")
    lines = 'dependencies = ["alpha"]\nfind-links = ["my wheels,too"]'
    if where == "file":
        lines = 'requirements = ["deps/in.txt"]'
    project = made(tmp_path, index, lines, resolver)
    folder = project.folder / ("my wheels,too" if where == "spec" else "deps/my wheels,too")
    write_wheel(folder, "beta", "2.0+ours")
    if where == "file":
        text = f"--find-links '{posixpath.basename(folder.name)}'\nalpha\n"
        (project.folder / "deps/in.txt").write_text(text)
    lock = project.real().lock
    expected = {"alpha": "1.0", "beta": "2.0+ours"}
    assert project.installed(lock) == expected
    project.lose_wheels()
    assert project.installed(lock) == expected
    text = project.path.read_text()
    assert "wheels,too" not in text
    assert str(tmp_path) not in text
    assert lock.inputs.environment["find-links"] == ["a folder of the project"]
    # It may be moved, and be gone where all wheels are there; to take it away is another spec.
    folder.rename(project.folder / "moved")
    assert check_lock(project.ctx) == ()
    assert project.installed(lock) == expected
    project.change('find-links = ["my wheels,too"]' if where == "spec" else lines, "")
    assert "environment.find-links: removed" in check_lock(project.ctx)


def test_what_a_folder_of_wheels_cannot_be(tmp_path: Path, index: SimpleIndex) -> None:
    project = made(tmp_path, index, 'dependencies = []\nfind-links = ["wheels"]', "uv")
    at = "mlproject.toml:9: environment.find-links[0]"
    (tmp_path / "away").mkdir()
    (project.folder / "wheels").symlink_to(tmp_path / "away")
    where = "mlproject.toml: environment.find-links"
    project.change("dependencies = []", 'dependencies = ["alpha"]')
    outside = f'{where}: this folder is outside of the project\nfound: "wheels"'
    assert project.refusal(InputError) == outside
    (project.folder / "wheels").unlink()
    assert project.refusal(InputError) == f'{where}: no such folder\nfound: "wheels"'
    (project.folder / "wheels").write_text("")
    assert project.refusal(InputError) == f'{where}: not a folder\nfound: "wheels"'
    machine = (
        "a folder of one machine\nfound: IT\nhint: move it into the project; or name it in pip's "
        "settings: PIP_FIND_LINKS, find-links"
    )
    for link, problem in (
        ("/srv/wheels", machine),
        ("../wheels", machine),
        ("file:///srv/wheels", machine),
        ("ftp://example.org/", "neither a folder of the project nor an https:// or http:// page\n"
         "found: IT"),
        ("https://me:pw@example.org/w", "credentials in a URL\nhint: put them in netrc, "
         "or write ${NAME} to take them from the environment"),
    ):  # fmt: skip
        project.change('find-links = ["wheels"]', f'find-links = ["{link}"]')
        shown = problem.replace("IT", f'"{link}"')
        assert project.refusal(SpecError) == f"{at}: {shown}"
        project.change(f'find-links = ["{link}"]', 'requirements = ["in.txt"]')
        (project.folder / "in.txt").write_text(f"-f {link}\n")
        assert project.refusal(SpecError) == f"in.txt:1: {problem.replace('IT', link)}"
        project.change('requirements = ["in.txt"]', 'find-links = ["wheels"]')


@BOTH
def test_a_page_of_wheels_behind_a_password(
    tmp_path: Path, index: SimpleIndex, resolver: str
) -> None:
    """As frameworks publish their builds: one HTML page with links."""
    index.add("alpha", "1.0", ["torch>=2"])
    name = "torch-2.1+cpu-py3-none-any.whl"
    page = f'<!DOCTYPE html><html><body><a href="cpu/{name}">{name}</a></body></html>'.encode()
    html = {"Content-Type": "text/html"}
    wheel = Answer(body=make_wheel("torch", "2.1+cpu"))
    answers = {"/w/stable.html": Answer(body=page, headers=html), f"/w/cpu/{name}": wheel}
    answers[f"/w/cpu/{name.replace('+', '%2B')}"] = wheel
    with serving(answers, head=True) as server:
        url = server.url.replace("http://", "http://${PAGE_USER}:${page_word}@")
        lines = f'dependencies = ["alpha"]\nfind-links = ["{url}/w/stable.html"]'
        project = made(tmp_path, index, lines, resolver)
        project.environ |= {"PAGE_USER": "me", "page_word": "s3cret@/:"}
        lock = project.real().lock
        assert project.installed(lock) == {"alpha": "1.0", "torch": "2.1+cpu"}
        project.lose_wheels()
        assert project.installed(lock) == {"alpha": "1.0", "torch": "2.1+cpu"}
        sent = {headers.get("Authorization") for headers in server.headers} - {None}
        assert sent == {"Basic bWU6czNjcmV0QC86"}  # me:s3cret@/:
    assert lock.inputs.environment["find-links"] == [f"{url}/w/stable.html"]
    said = "\n".join(project.reporter.lines)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for secret in ("s3cret", "bWU6czNjcmV0"):
        assert secret not in said
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


def wheel_at(name: str, version: str, *requires: str) -> tuple[str, Answer]:
    return f"/w/{name}-{version}-py3-none-any.whl", Answer(
        body=make_wheel(name, version, requires=requires)
    )


@BOTH
def test_a_wheel_by_its_url(tmp_path: Path, index: SimpleIndex, resolver: str) -> None:
    index.add("alpha", "1.0", ["ours>=1"])
    index.add("ours", "9.0")  # who took the name
    index.add("beta", "1.0")
    path, answer = wheel_at("ours", "1.2", 'beta; extra == "more"')
    changed = {path: [answer, answer, Answer(body=make_wheel("ours", "1.2", {}))]}
    with serving(changed, head=True) as server:
        url = server.url.replace("http://", "http://${WHEEL_USER}:${WHEEL_WORD}@")
        lines = f"dependencies = ['alpha', 'Ours[more] @ {url}{path}']"
        project = made(tmp_path, index, lines, resolver)
        project.environ |= {"WHEEL_USER": "me", "WHEEL_WORD": "s3cret@/:"}
        lock = project.real().lock
        expected = {"alpha": "1.0", "beta": "1.0", "ours": "1.2"}
        assert project.installed(lock) == expected
        assert [path for path in index.requests if "ours" in path] == []
        assert {headers.get("Authorization") for headers in server.headers} == {
            "Basic bWU6czNjcmV0QC86"
        }
        # Something else changes: the wheel stays, and nobody asks its URL again.
        asked = len(server.asked)
        project.change("'alpha', ", "'alpha', 'beta', ")
        assert project.real().lock.python == lock.python
        assert len(server.asked) == asked
        project.lose_wheels()
        assert project.installed(lock) == expected
        for path in (project.ctx.cache.root / "blobs").rglob("*"):
            assert not path.is_file() or b"s3cret" not in path.read_bytes()
        # Now the URL has other bytes.
        project.lose_wheels()
        with pytest.raises(IntegrityError) as caught:
            locked_wheels(project.ctx, lock)(lock.python.packages)
        (ours,) = (item for item in lock.python.packages if item.name == "ours")
        digest = ours.wheels[0].hashes["sha256"]
        other = sha256_of(make_wheel("ours", "1.2", {}))
        assert str(caught.value) == (
            "the URL of ours serves other bytes than those that are locked\n"
            f"expected: sha256:{digest}\nfound: {other}\n"
            "hint: find out why before you lock them anew: a released wheel never changes"
        )
    # Nobody serves it: by its hash it may come from anywhere.
    project.lose_wheels()
    index.files["ours"] = {"ours-1.2-py3-none-any.whl": answer.body}
    assert project.installed(lock) == expected
    assert f'"ours[more] @ {url}' in project.path.read_text()
    line = f"ours @ {url}/w/ours-1.2-py3-none-any.whl \\\n    --hash=sha256:{digest}\n"
    assert line in export_requirements(project.ctx, None).decode()
    assert "s3cret" not in "\n".join(project.reporter.lines)


def test_what_is_wrong_with_a_wheel_at_a_url(tmp_path: Path, index: SimpleIndex) -> None:
    path, answer = wheel_at("ours", "1.2")
    foreign = "/w/ours-1.2-cp311-cp311-win_amd64.whl"
    answers = {path: answer, foreign: answer}
    with serving(answers, head=True) as server:
        project = made(tmp_path, index, 'dependencies = ["ours @ URL"]', "uv")

        def said(url: str) -> str:
            project.change("ours @ URL", f"ours @ {url}")
            try:
                return project.refusal()
            finally:
                project.change(f"ours @ {url}", "ours @ URL")

        digest = sha256_of(answer.body)
        assert said(f"{server.url}{path}#sha256={'0' * 64}") == (
            "the URL of ours serves other bytes than its #sha256= says\n"
            f"expected: sha256:{'0' * 64}\nfound: {digest}\n"
            "hint: find out which of both is right: a released wheel never changes"
        )
        for gone, what in (
            ("/w/ours-9-py3-none-any.whl", "the URL of ours is not served"),
            (foreign, "the wheel of ours cannot be taken from its URL"),
        ):
            lines = said(f"{server.url}{gone}").splitlines()
            assert lines[0].endswith(what), lines
            assert lines[1] == f"expected: {server.url}{gone}"
            assert lines[2].startswith("found: ")
        at = "mlproject.toml:8: environment.dependencies[0]: not a requirement: "
        assert said("file:///srv/ours-1.2-py3-none-any.whl").startswith(
            f"{at}a file of one machine: put it into a folder that find-links names\n"
        )
        message = said("https://me:pw@example.org/ours-1.2-py3-none-any.whl")
        assert message.startswith(
            f"{at}credentials in a URL: put them in netrc, or write ${{NAME}}\n"
        )
        assert "me:pw" not in message
        # Locked and installed from the right one, after all that.
        project.change("ours @ URL", f"ours @ {server.url}{path}#sha256={digest[7:]}")
        assert project.installed(project.real().lock) == {"ours": "1.2"}


def test_what_is_exported_is_installed_by_pip_and_uv(tmp_path: Path, index: SimpleIndex) -> None:
    """A wheel by URL stands in a requirements.txt with its URL, in a pylock.toml beside it."""
    index.add("beta", "1.0")
    path, answer = wheel_at("ours", "1.2+team", "beta")
    with serving({path: answer, path.replace("+", "%2B"): answer}, head=True) as server:
        project = made(tmp_path, index, f'dependencies = ["ours @ {server.url}{path}"]', "uv")
        project.real()
        (tmp_path / "out").mkdir()
        (tmp_path / "out/requirements.txt").write_bytes(export_requirements(project.ctx, None))
        (tmp_path / "out/pylock.toml").write_bytes(
            export_pylock(project.ctx, None, tmp_path / "out")
        )
        tools = (
            ("pip", "install", "--require-hashes", "-r", "requirements.txt"),
            ("uv", "pip", "install", "--require-hashes", "-r", "requirements.txt"),
            ("uv", "pip", "install", "-r", "pylock.toml"),
        )
        for number, (tool, *words) in enumerate(tools):
            place = tmp_path / f"site-{number}"
            environ = project.environ | {"UV_DEFAULT_INDEX": index.url, "UV_NO_CONFIG": "1"}
            command = [sys.executable, "-m", tool, *words, "--target", str(place), "--quiet"]
            subprocess.run(command, cwd=tmp_path / "out", env=environ, check=True)
            found = {item.name for item in place.glob("*.dist-info")}
            assert found == {"beta-1.0.dist-info", "ours-1.2+team.dist-info"}
