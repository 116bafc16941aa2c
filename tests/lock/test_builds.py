"""Packages out of a repository or an archive of sources: built as declared, pinned, built again."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.debian_mirror import SEEN, Mirror, mirror
from support.locking import Locking
from support.locks import make_lock
from support.sources import PYPROJECT, Repository, add_backend, archive, repository, sources
from support.webserver import Answer, serving
from support.wheels import SimpleIndex, simple_index

from mllock.core.digest import hex_of, sha256_of
from mllock.errors import (
    InputError,
    IntegrityError,
    LockError,
    OfflineError,
    ResolutionError,
    SpecError,
)
from mllock.lock.direct import locked_references
from mllock.lock.format import dump_lock, parse_lock, seal
from mllock.lock.ports import Upgrade
from mllock.lock.target import Target
from mllock.lock.types import Build, BuildTool
from mllock.workflows.environment import locked_wheels
from mllock.workflows.export_dockerfile import refuse_without_index
from mllock.workflows.export_python import export_requirements
from mllock.workflows.outdated import outdated

__all__ = ["mirror"]


@pytest.fixture
def index() -> Iterator[SimpleIndex]:
    with simple_index() as served:
        add_backend(served)
        served.add("beta", "1.0")
        yield served


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    with repository(tmp_path / "git") as made:
        yield made


def project_of(folder: Path, index: SimpleIndex, reference: str, resolver: str = "uv") -> Locking:
    lines = f'dependencies = ["ours @ {reference}"]\nbuilds = ["Ours"]'
    return Locking(folder, index, lines, resolver)


def test_a_branch_is_pinned_to_a_commit(
    tmp_path: Path, index: SimpleIndex, repo: Repository
) -> None:
    first = repo.commit(sources("ours", "1.0", b"ONE = 1\n"))
    project = project_of(tmp_path, index, f"git+{repo.url}@main")
    project.environ |= {"MY_SECRET": "x", "PIP_RETRIES": "0"}
    lock = project.real().lock
    (build,) = lock.builds
    tool = index.files["tiny-backend"]["tiny_backend-1.0-py3-none-any.whl"]
    assert (build.name, build.reference, build.commit, build.sha256) == (
        "ours", f"git+{repo.url}@main", first, None,
    )  # fmt: skip
    assert [(item.name, item.sha256) for item in build.tools] == [
        ("tiny_backend-1.0-py3-none-any.whl", hex_of(sha256_of(tool)))
    ]
    assert project.installed(lock) == {"beta": "1.0", "ours": "1.0"}
    with pytest.raises(InputError) as caught:
        export_requirements(project.ctx, None)
    assert str(caught.value) == (
        "ours was built from sources: no index has its wheel\n"
        f"found: git+{repo.url}@main\n"
        "hint: take the wheels along: mllock export pylock --wheels -o DIR/pylock.toml"
    )
    with pytest.raises(InputError) as caught:
        refuse_without_index(lock)
    assert str(caught.value) == (
        "ours would not be found: the Dockerfile asks an index, and what comes from a URL is in "
        "none\nhint: leave out --no-wheels: the wheels are then in the context"
    )
    (seen,) = project.ctx.cache.root.rglob("site-packages/ours/seen.txt")
    assert seen.read_text() == "([], '315532800')"
    assert [path for path in index.requests if "/ours/" in path] == []
    # The branch moves on, and the tool too: nothing moves here, also where the wheel was lost.
    second = repo.commit(sources("ours", "1.0", b"TWO = 2\n"))
    add_backend(index, "2.0")
    project.change("dependencies = [", 'dependencies = ["beta", ')
    assert project.real().lock.builds == lock.builds
    project.lose_wheels()
    assert project.installed(lock) == {"beta": "1.0", "ours": "1.0"}
    # It is asked for: the same version, of another commit.
    newer = project.real(upgrade=Upgrade(names=frozenset({"ours"}))).lock
    assert newer.builds[0].commit == second
    assert newer.builds[0].tools[0].name == "tiny_backend-2.0-py3-none-any.whl"
    before, after = (item.python.packages[-1].wheels[0] for item in (lock, newer))
    assert before.name == after.name
    assert before.hashes != after.hashes
    assert str(tmp_path) not in project.path.read_text()


def test_a_tag_a_commit_and_a_folder(tmp_path: Path, index: SimpleIndex, repo: Repository) -> None:
    index.add("extra-tool", "3.0")
    tree = sources("ours", "1.0", EXTRA=b"extra-tool")
    inner = {f"python/{name}": data for name, data in tree.items()}
    first = repo.commit(inner, tag="v1")
    repo.commit(sources("ours", "2.0"))
    project = project_of(tmp_path, index, f"git+{repo.url}@v1#subdirectory=python")
    lock = project.real().lock
    assert lock.builds[0].commit == first
    # What the backend asked for beside what pyproject.toml says is pinned with it.
    tools = [tool.name for tool in lock.builds[0].tools]
    assert tools == ["extra_tool-3.0-py3-none-any.whl", "tiny_backend-1.0-py3-none-any.whl"]
    project.change("@v1#subdirectory=python", "")
    assert project.versions() == {"beta": "1.0", "ours": "2.0"}


def test_an_archive_of_sources(tmp_path: Path, index: SimpleIndex) -> None:
    data = archive(sources("ours", "1.0"))
    other = archive(sources("ours", "1.0", b"EVIL = True\n"))
    url = "/s/ours-1.0.tar.gz"
    with serving({url: [Answer(body=data), Answer(body=data), Answer(body=other)]}) as server:
        project = project_of(tmp_path, index, f"{server.url}{url}", "pip-tools")
        lock = project.real().lock
        assert (lock.builds[0].commit, lock.builds[0].sha256) == (None, hex_of(sha256_of(data)))
        assert project.installed(lock) == {"beta": "1.0", "ours": "1.0"}
        project.lose_wheels()
        assert project.installed(lock) == {"beta": "1.0", "ours": "1.0"}
        project.lose_wheels()
        with pytest.raises(IntegrityError) as caught:
            project.installed(lock)
        assert str(caught.value) == (
            "the URL of ours serves other bytes than those that are locked\n"
            f"expected: {sha256_of(data)}\nfound: {sha256_of(other)}\n"
            "hint: find out why before you lock them anew: a released archive never changes"
        )


def test_a_build_that_is_never_the_same(
    tmp_path: Path, index: SimpleIndex, repo: Repository
) -> None:
    repo.commit(sources("ours", "1.0", NOISY=b""))
    project = project_of(tmp_path, index, f"git+{repo.url}")
    lock = project.real().lock
    assert (
        "warn: ours: two builds of the same sources gave different bytes: keep the wheel, or "
        "nobody can make it again"
    ) in project.reporter.lines
    wheel = lock.python.packages[1].wheels[0]
    kept = tmp_path / wheel.name
    shutil.copy(locked_wheels(project.ctx, lock)(lock.python.packages)[wheel.name], kept)
    project.lose_wheels()
    with pytest.raises(IntegrityError) as caught:
        project.installed(lock)
    lines = str(caught.value).splitlines()
    assert lines[0] == "the wheel of ours that was built again is not the one that is locked"
    assert lines[1] == f"expected: {wheel.name} sha256:{wheel.hashes['sha256']}"
    assert lines[2].startswith(f"found: {wheel.name} sha256:")
    assert lines[3] == (
        "hint: bring the wheel from where it was locked, into a folder that find-links names; or "
        'lock this one: "mllock lock --upgrade ours"'
    )
    # The way out.
    os.rename(kept, project.folder / wheel.name)
    project.environ["PIP_FIND_LINKS"] = str(project.folder)
    project.lose_wheels()
    assert project.installed(lock) == {"beta": "1.0", "ours": "1.0"}


def test_outdated_asks_no_index_for_it_and_offline_asks_nobody(
    tmp_path: Path, index: SimpleIndex, repo: Repository, mirror: Mirror
) -> None:
    repo.commit(sources("ours", "1.0"))
    project = project_of(tmp_path, index, f"git+{repo.url}")
    project.system.base = SEEN
    project.environ["MLLOCK_DEBIAN_MIRROR"] = os.environ["MLLOCK_DEBIAN_MIRROR"]
    lock = project.real().lock
    index.add("beta", "2.0")
    index.add("ours", "9.0")
    index.requests.clear()
    report = outdated(project.ctx)
    assert [(item.name, item.allowed) for item in report.packages] == [("beta", "2.0")]
    assert [path for path in index.requests if "/ours/" in path] == []
    project.environ["MLLOCK_OFFLINE"] = "1"
    project.change("dependencies = [", 'dependencies = ["beta", ')
    assert project.real().lock.builds == lock.builds
    project.change("ours.git", "ours.git@main")
    assert project.refusal(OfflineError) == (
        "offline: the place of the sources of ours is not asked\n"
        "hint: leave out --offline, or unset MLLOCK_OFFLINE"
    )
    project.lose_wheels()
    with pytest.raises(OfflineError) as caught:
        project.installed(lock)
    assert "found: not there: ours-1.0-py3-none-any.whl" in str(caught.value)


def test_a_password_for_a_repository_is_nowhere(
    tmp_path: Path, index: SimpleIndex, repo: Repository
) -> None:
    repo.commit(sources("ours", "1.0"))
    repo.logins.append("ci:s3cret@/:")
    url = repo.url.replace("http://", "http://${GIT_USER}:${git_word}@")
    project = project_of(tmp_path, index, f"git+{url}@main")
    project.environ |= {"GIT_USER": "ci", "git_word": "s3cret@/:", "GIT_TRACE_CURL": "1"}
    assert project.versions() == {"beta": "1.0", "ours": "1.0"}
    project.environ["git_word"] = "s3cret-of-yesterday"
    project.change("@main", "@other")
    message = project.refusal(OfflineError)
    assert message.startswith("the repository of ours cannot be fetched\nfound: fatal: ")
    said = "\n".join([message, *project.reporter.lines])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for trace in ("s3cret", base64.b64encode(b"ci:s3cret").decode()[:10]):
        assert trace not in said
        assert [path for path in files if trace.encode() in path.read_bytes()] == []


def test_a_lock_with_a_build(golden: Callable[[Path, bytes], None]) -> None:
    """A sample of the format, read for ever; one changed letter is seen."""
    tools = tuple(
        BuildTool(name=f"{name}-1.0-py3-none-any.whl", size=10, sha256="a" * 64)
        for name in ("wheel", "setuptools")
    )
    builds = (
        Build(name="beta", reference="https://example.org/beta-1.0.tar.gz#subdirectory=x",
              sha256="b" * 64, tools=()),
        Build(name="alpha", reference="git+https://git.example.org/alpha@v1", commit="c" * 40,
              tools=tools),
    )  # fmt: skip
    lock = seal(replace(make_lock(), builds=builds))
    data = dump_lock(lock)
    golden(Path(__file__).parent / "goldens" / "v1-builds.lock", data)
    assert parse_lock(data, "mlproject.lock") == lock
    assert [build.name for build in lock.builds] == ["alpha", "beta"]
    with pytest.raises(LockError, match="edited by hand or badly merged"):
        parse_lock(data.replace(b"c" * 40, b"c" * 39 + b"d"), "mlproject.lock")


def test_a_forged_reference() -> None:
    target = Target(python="3.11.2", platform="linux/amd64", glibc=(2, 36))
    for text, reason in (
        ("ours @ file:///x.whl", "a file of one machine: put it into a folder that find-links "
         "names"),
        ("ours @ https://example.org/x.whl ; python", "Expected"),
    ):  # fmt: skip
        with pytest.raises(ResolutionError, match="not a requirement with a URL: ") as caught:
            locked_references({"dependencies": [text]}, target)
        assert reason in str(caught.value)
    assert locked_references({"dependencies": 7}, target) == {}


def test_what_is_not_declared(tmp_path: Path, index: SimpleIndex) -> None:
    project = project_of(tmp_path, index, "git+https://git.example.org/ours@v1")
    project.change('builds = ["Ours"]', "")
    assert project.refusal(SpecError) == (
        "mlproject.toml:8: environment.dependencies[0]: ours is not a wheel: to build one of its "
        "sources runs their code\nfound: git+https://git.example.org/ours@v1\n"
        'hint: write builds = ["ours"] in [environment], if you trust them; or put a wheel of it '
        "into a folder that find-links names"
    )
    project.change("[environment]", '[environment]\nbuilds = ["ours", "other"]')
    assert project.refusal(SpecError) == (
        "mlproject.toml:5: environment.builds[1]: no requirement names sources of this package\n"
        'expected: e.g. "other @ git+https://...@REVISION" in dependencies\nfound: "other"'
    )


def test_what_goes_wrong(tmp_path: Path, index: SimpleIndex, repo: Repository) -> None:
    repo.commit(sources("ours", "1.0"))
    repo.commit(sources("ours", "1.0", BROKEN=b""), tag="broken")
    repo.commit(sources("theirs", "1.0"), tag="theirs")
    repo.commit(sources("ours", "1.0", TAG=b"cp311-cp311-win_amd64"), tag="windows")
    repo.commit({"pyproject.toml": PYPROJECT.replace(b"tiny-b", b"no-b")}, tag="tool")
    project = project_of(tmp_path, index, f"git+{repo.url}@x")

    def said(revision: str) -> list[str]:
        project.change(f"{repo.url}@x", f"{repo.url}@{revision}")
        lines = project.refusal().splitlines()
        project.change(f"{repo.url}@{revision}", f"{repo.url}@x")
        return lines

    at = "mlproject.toml:8: environment.dependencies[0]: "
    assert said("gone") == [
        f"{at}the repository of ours has no such revision",
        "found: gone",
        "hint: name a branch, a tag, or a whole commit: git+https://...@REVISION",
    ]
    assert said("broken")[:2] == [
        f"{at}no wheel of ours could be built",
        "found: Backend subprocess exited when trying to invoke build_wheel",
    ]
    assert "detail: ours: the compiler is on holiday" in project.reporter.lines
    assert said("theirs")[0].endswith("the wheel that was built is of another package")
    assert said("windows")[0] == "the wheel of ours that is built here is not for the image"
    assert said("tool")[0] == "no package 'no-backend' in the index"
    project.change(f"{repo.url}@x", "http://127.0.0.1:9/ours.git@x")
    message = project.refusal(OfflineError)
    assert message.startswith("the repository of ours cannot be fetched\nfound: fatal: unable to ")
    assert not project.path.exists()
    assert list((project.ctx.cache.root / "tmp").iterdir()) == []
