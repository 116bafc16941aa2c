"""`mllock vendor`, typed: what is in the folder, that it is enough, and that damage is found."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.vendor_project import CONFIG, DEB, LAYER, Typed, ctx, relock, typed

from mllock.core.digest import sha256_of
from mllock.data.code import select_code
from mllock.data.scan import scan
from mllock.errors import IntegrityError
from mllock.lock.format import parse_lock
from mllock.spec.reader import load_spec
from mllock.store.cache import Cache
from mllock.store.vendored import Vendored, vendored_of
from mllock.workflows.context import Context, make_context
from mllock.workflows.docker_context import PIP
from mllock.workflows.vendor import vendor
from mllock.workflows.vendored_data import bring_vendored, is_only_vendored

__all__ = ["ctx", "typed"]

DEB_PATH = "debs/pool/main/g/glibc/libc6_2.36-9+deb12u9_amd64.deb"


def hex_sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def looks(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def away(ctx: Context, folder: Path) -> Context:
    """The same project, with another cache, which is empty, and `folder`."""
    environ = {**ctx.environ, "MLLOCK_CACHE": str(ctx.project.parent / "empty")}
    environ |= {"MLLOCK_OFFLINE": "1", "MLLOCK_VENDOR": str(folder)}
    return make_context(ctx.project, ctx.reporter, environ)


def test_every_input_is_there_and_others_can_verify_it(ctx: Context, typed: Typed) -> None:
    code, out, err = typed("vendor")
    folder = ctx.project / "vendor"
    assert (code, err) == (0, f"copying 10 files to {folder}\n")
    size = f"{sum(len(d) for p, d in listing(folder).items() if p != 'SHA256SUMS') / 1000:.1f} kB"
    assert out == (
        f"{folder}: 2 wheels, 1 Debian package, 2 base blobs, 5 data files, {size}\n"
        f"Added 10 files, {size}\n"
    )
    lock = parse_lock((ctx.project / "mlproject.lock").read_bytes(), "mlproject.lock")
    files = listing(folder)
    assert files.pop("SHA256SUMS").decode().splitlines() == [
        "# mllock vendor 1",
        *(f"{hex_sum(data)}  {path}" for path, data in sorted(files.items())),
    ]
    wheels = {w.path: w.hashes["sha256"] for p in lock.python.packages for w in p.wheels}
    data = (b"a\n1\n2\n", b"one", b"#!\n")
    trees = {pin.tree.removeprefix("sha256:") for pin in lock.data.values()}
    assert {path: hex_sum(data) for path, data in files.items()} == {
        **wheels,
        DEB_PATH: hex_sum(DEB),
        f"base/sha256/{hex_sum(CONFIG)}": hex_sum(CONFIG),
        f"base/sha256/{hex_sum(LAYER)}": hex_sum(LAYER),
        **{f"data/sha256/{digest}": digest for digest in (*map(hex_sum, data), *trees)},
    }
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.count(": OK\n")) == (0, 10), done.stderr
    assert typed("vendor", "--check") == (0, f"{folder}: all 10 files are there and right\n", "")


def test_what_is_right_stays_and_what_is_not_comes_again(ctx: Context, typed: Typed) -> None:
    folder = ctx.project / "vendor"
    typed("vendor")
    before = {path: looks(folder / path) for path in listing(folder)}
    _, out, _ = typed("vendor")
    assert out.splitlines()[1:] == ["nothing was missing"]
    # As an interruption would leave it: a part is there, and the list is the old one.
    (folder / DEB_PATH).unlink()
    layer = folder / "base" / "sha256" / hex_sum(LAYER)
    layer.write_bytes(LAYER[:-1] + b"!")
    code, out, _ = typed("vendor", "--check")
    assert (code, out) == (
        1,
        f"base/sha256/{hex_sum(LAYER)}: not what is locked\n{DEB_PATH}: gone\n"
        f'{folder}: 2 files to bring with "mllock vendor"\n',
    )
    code, out, _ = typed("vendor", "--check", "--json")
    assert (code, json.loads(out)["problems"]) == (
        1,
        [
            {"path": f"base/sha256/{hex_sum(LAYER)}", "problem": "not what is locked"},
            {"path": DEB_PATH, "problem": "gone"},
        ],
    )
    code, out, _ = typed("vendor", "--json")
    assert (code, json.loads(out)["added"]) == (0, [DEB_PATH, f"base/sha256/{hex_sum(LAYER)}"])
    after = {path: looks(folder / path) for path in listing(folder)}
    same = {path for path in before if before[path] == after[path]}
    # The list says what it said, and may be on read-only media: it is not written either.
    assert same == set(before) - {DEB_PATH, f"base/sha256/{hex_sum(LAYER)}"}


def test_a_folder_for_several_locks_is_pruned_when_asked(ctx: Context, typed: Typed) -> None:
    folder = ctx.project / "vendor"
    typed("vendor")
    (folder / "notes.txt").write_text("mine")
    relock(ctx, "1.1")
    old, new = (f"wheels/tiny_lib-{version}-py3-none-any.whl" for version in ("1.0", "1.1"))
    _, out, _ = typed("vendor", "--check")
    assert out.splitlines()[0] == f"{new}: not there"
    _, out, _ = typed("vendor")
    assert out.splitlines()[2:] == ["kept 1 file that this lock does not pin: --prune removes"]
    assert {old, new} < listing(folder).keys()
    _, out, _ = typed("vendor", "--prune")
    assert out.splitlines()[1:] == [
        "nothing was missing",
        "Removed 1 file that this lock does not pin",
    ]
    assert {new, "notes.txt"} < listing(folder).keys()
    assert old not in listing(folder)
    code, _, err = typed("vendor", "--check", "--prune")
    assert (code, err.splitlines()[0]) == (2, "error: --check only looks: leave out --prune")


def test_a_folder_of_something_else_is_left_alone(ctx: Context, typed: Typed) -> None:
    other = ctx.project / "other"
    other.mkdir()
    (other / "thing").write_text("mine")
    assert typed("vendor", "other") == (
        2,
        "",
        f'error: {other}: there is something in it that "mllock vendor" did not make\n'
        "expected: a new or an empty folder, or one that was made by it\n"
        "hint: name another folder: mllock vendor DIR\n",
    )
    assert listing(other) == {"thing": b"mine"}
    code, _, err = typed("vendor", "mlproject.toml")
    assert (code, err) == (
        2,
        f"error: {ctx.project / 'mlproject.toml'}: not a folder\nhint: name another one\n",
    )
    code, _, err = typed("vendor", "--check", "other")
    assert (code, err) == (
        2,
        f"error: {other}: not a vendored folder\n"
        'expected: a folder with SHA256SUMS, as "mllock vendor DIR" makes it\n'
        "hint: correct the path (MLLOCK_VENDOR?), or make the folder where there is a network\n",
    )


def test_what_cannot_be_had_offline_is_named(ctx: Context, typed: Typed) -> None:
    ctx.cache.blob_path(sha256_of(DEB)).unlink()
    code, _, err = typed("vendor")
    assert (code, err) == (
        4,
        "error: offline, and a file would have to be fetched\n"
        'expected: in the cache, or in a folder that "mllock vendor" made\n'
        "found: not there: libc6 1:2.36-9+deb12u9\n"
        "hint: type it once without --offline, or name such a folder with MLLOCK_VENDOR\n",
    )
    assert not (ctx.project / "vendor").exists()


def test_an_engine_that_builds_needs_its_pip_as_well(ctx: Context, typed: Typed) -> None:
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text() + '\n[builder]\nkind = "docker"\n')
    relock(ctx)
    code, _, err = typed("vendor")
    (wheel,) = PIP.wheels
    assert (code, f"found: not there: {wheel.name}\n" in err) == (4, True)
    (ctx.project / "vendor").mkdir()
    (ctx.project / "vendor" / "SHA256SUMS").write_text("# mllock vendor 1\n")
    code, out, _ = typed("vendor", "--check", "--json")
    assert {"path": f"wheels/{wheel.name}", "problem": "not there"} in json.loads(out)["problems"]


def test_commands_look_into_it(ctx: Context, typed: Typed, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    _, _, err = typed("vendor", str(usb))
    assert err.splitlines()[-1] == f"found by whoever sets MLLOCK_VENDOR={usb}"
    elsewhere = away(ctx, usb)
    for data in (DEB, CONFIG, LAYER, b"one"):
        path = elsewhere.cache.get(sha256_of(data))
        assert path is not None
        assert path.read_bytes() == data
        assert path.is_relative_to(elsewhere.cache.root)
    assert elsewhere.cache.get(sha256_of(b"never there")) is None
    # The folder that commands find by themselves is `vendor` of the project, if it is one.
    assert [place.root for place in vendored_of(ctx.project, {})] == []
    shutil.copytree(usb, ctx.project / "vendor")
    environ = {"MLLOCK_VENDOR": f"{usb}:"}
    places = [place.root for place in vendored_of(ctx.project, environ)]
    assert places == [usb, ctx.project / "vendor"]


def damage(path: Path) -> None:
    path.write_bytes(b"other bytes!")


def lead_away(path: Path) -> None:
    other = path.parents[3] / "elsewhere"
    shutil.move(path, other)
    path.symlink_to(other)


def be_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("breaking", "said"),
    [
        (damage, "warn: a file of a vendored folder has other bytes than its SHA256SUMS says: {}"),
        (Path.unlink, "warn: a file of a vendored folder is gone: {}"),
        (be_a_folder, "warn: a file of a vendored folder is not a regular file: {}"),
        (lead_away, "warn: a file of a vendored folder is led out of it by a link: {folder}"),
    ],
)
def test_what_is_damaged_is_not_taken(
    ctx: Context, tmp_path: Path, breaking: Callable[[Path], None], said: str
) -> None:
    folder = tmp_path / "usb"
    vendor(ctx, folder)
    path = folder / "base" / "sha256" / hex_sum(LAYER)
    breaking(path)
    elsewhere = away(ctx, folder)
    ctx.reporter.lines.clear()
    assert elsewhere.cache.get(sha256_of(LAYER)) is None
    assert ctx.reporter.lines == [said.format(path, folder=folder)]
    assert elsewhere.cache.get(sha256_of(CONFIG)) is not None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("0123  wheels/a.whl", "0123  wheels/a.whl"),
        (f"{'0' * 64}  ../outside", f"{'0' * 64}  ../outside"),
        (f"{'0' * 64}  /etc/passwd", f"{'0' * 64}  /etc/passwd"),
        (f"{'0' * 64} wheels", f"{'0' * 64} wheels"),
    ],
)
def test_a_list_that_is_none(tmp_path: Path, line: str, found: str) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"# mllock vendor 1\n{line}\n")
    with pytest.raises(Exception, match="not a line") as caught:
        Vendored(tmp_path).find(sha256_of(b""))
    assert str(caught.value) == (
        f"{tmp_path}/SHA256SUMS:2: not a line of a vendored folder\n"
        f"expected: a sha256, two blanks, and a path in the folder\nfound: {found}"
    )


def test_a_named_folder_that_is_not_there_is_an_error(ctx: Context, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "empty", ctx.reporter, vendored=(Vendored(tmp_path / "nowhere"),))
    with pytest.raises(Exception, match="no such folder") as caught:
        cache.get(sha256_of(b""))
    assert str(caught.value).partition("\n")[0] == f"{tmp_path / 'nowhere'}: no such folder"


def test_missing_data_counts_for_a_check_and_is_brought_back(ctx: Context, typed: Typed) -> None:
    spec = load_spec(ctx.project / "mlproject.toml").spec
    before = {name: scan(ctx.project / s.source, name=name) for name, s in spec.data.items()}
    typed("vendor")
    shutil.rmtree(ctx.project / "pictures")
    shutil.rmtree(ctx.project / "data")
    assert typed("lock", "--check") == (0, "", "mlproject.lock is current\n")
    assert not (ctx.project / "pictures").exists()
    here = make_context(ctx.project, ctx.reporter, ctx.environ)
    lock = parse_lock((ctx.project / "mlproject.lock").read_bytes(), "mlproject.lock")
    ctx.reporter.lines.clear()
    bring_vendored(here, spec.data, lock.data)
    folder = ctx.project / "vendor"
    assert ctx.reporter.lines == [
        f"note: data.pictures: brought back from {folder}",
        f"note: data.train: brought back from {folder}",
    ]
    after = {name: scan(ctx.project / s.source, name=name) for name, s in spec.data.items()}
    assert after == before
    # What is there is not touched, whatever it is.
    (ctx.project / "pictures" / "one.txt").unlink()
    bring_vendored(here, spec.data, lock.data)
    assert not is_only_vendored(here, spec.data["pictures"], lock.data["pictures"])
    assert not (ctx.project / "pictures" / "one.txt").exists()


def test_data_that_was_changed_in_the_folder_is_not_brought_back(ctx: Context) -> None:
    vendor(ctx)
    spec = load_spec(ctx.project / "mlproject.toml").spec
    lock = parse_lock((ctx.project / "mlproject.lock").read_bytes(), "mlproject.lock")
    shutil.rmtree(ctx.project / "pictures")
    folder = ctx.project / "vendor"
    one = folder / "data" / "sha256" / hex_sum(b"one")
    one.write_bytes(b"two")
    here = make_context(ctx.project, ctx.reporter, ctx.environ)
    with pytest.raises(IntegrityError) as caught:
        bring_vendored(here, spec.data, lock.data)
    assert str(caught.value) == (
        f"{folder}: again.txt: the vendored data is not what its SHA256SUMS says\n"
        'hint: bring the folder here anew, or look with "mllock vendor --check"'
    )
    assert not (ctx.project / "pictures").exists()
    # Of another size, or gone, it is found out before anything is copied.
    for breaking in (lambda: one.write_bytes(b"three"), one.unlink):
        breaking()
        with pytest.raises(IntegrityError) as caught:
            is_only_vendored(here, spec.data["pictures"], lock.data["pictures"])
        assert str(caught.value) == (
            f"{folder}: data/sha256/{hex_sum(b'one')}: the vendored data is not what its SHA256SUMS"
            ' says\nhint: bring the folder here anew, or look with "mllock vendor --check"'
        )
    # The list of the files is known by its own digest.
    one.write_bytes(b"one")
    tree = folder / "data" / "sha256" / lock.data["pictures"].tree.removeprefix("sha256:")
    tree.write_bytes(tree.read_bytes().replace(b"one.txt", b"two.txt"))
    here = make_context(ctx.project, ctx.reporter, ctx.environ)
    with pytest.raises(IntegrityError) as caught:
        is_only_vendored(here, spec.data["pictures"], lock.data["pictures"])
    assert caught.value.key == f"data/sha256/{tree.name}"


def test_a_vendored_folder_is_no_code(ctx: Context) -> None:
    folder = ctx.project / "inputs"
    before = select_code(ctx.project, load_spec(ctx.project / "mlproject.toml").spec, None)
    vendor(ctx, folder)
    spec = load_spec(ctx.project / "mlproject.toml").spec
    assert select_code(ctx.project, spec, None) == before
    for command in (["init", "-q"], ["add", "-f", "."]):
        subprocess.run(["git", *command], cwd=ctx.project, check=True)
    assert select_code(ctx.project, spec, None).manifest == before.manifest
    (folder / "SHA256SUMS").write_text("mine\n")
    paths = {entry.path for entry in select_code(ctx.project, spec, None).manifest.entries}
    assert f"inputs/{DEB_PATH}" in paths


@pytest.mark.parametrize("part", ["wheels", "debs/pool"])
def test_no_link_leads_what_is_vendored_out(ctx: Context, typed: Typed, part: str) -> None:
    typed("vendor")
    folder, outside = ctx.project / "vendor", ctx.project.parent / "outside"
    shutil.move(folder / part, outside)
    (folder / part).symlink_to(outside)
    for path in outside.rglob("*.*"):
        path.write_bytes(b"of another")
    before = listing(outside)
    code, out, err = typed("vendor")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {folder / part}")
    assert err.splitlines()[-3].endswith(": a link leads it out of the vendored folder")
    assert err.splitlines()[-2].startswith(f"found: {outside}")
    assert err.splitlines()[-1] == "hint: remove the link, or name another folder"
    assert listing(outside) == before
