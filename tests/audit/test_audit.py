"""`mllock audit`, typed, with services on loopback that speak the real forms, or something else."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.osv import TRACKER, Osv, record
from support.training import context
from support.typed import Typed
from support.webserver import Answer, serving

from mllock.audit.debian import SourcePackage, debian_vulnerabilities, source_of
from mllock.data.code import select_code
from mllock.errors import SurroundingsError
from mllock.spec.reader import load_spec
from mllock.workflows.audit import audit
from mllock.workflows.context import Context

GLIBC = "glibc 1:2.36-9+deb12u9 (libc6)"
DEBIAN = (
    f"{GLIBC}: CVE-2026-0001, high: fixed in 1:2.36-9+deb12u10\n  A crafted file ...\n"
    f"{GLIBC}: CVE-2026-0002: no fixed version\n  A crafted file ...\n"
)
ASKING = "asking about 2 Python packages\n"
LOOKING = "looking for 1 Debian packages\n"


def test_nothing_is_known(typed: Typed, service: Osv) -> None:
    assert typed("audit", "--only", "python") == (
        0,
        "",
        f"{ASKING}no known vulnerability in 2 Python packages\n",
    )
    # What is of one index only (+cpu) is nobody else's version.
    assert sorted(service.asked, key=str) == [
        ("/v1/query", {"package": {"name": name, "ecosystem": "PyPI"}, "version": version})
        for name, version in (("other", "2.0"), ("tiny-lib", "1.0"))
    ]


def test_what_is_known_is_said(typed: Typed, service: Osv) -> None:
    service.known["tiny-lib", "1.0"] = [
        record("tiny-lib", "GHSA-aaaa", "0.9.9", "1.0.4", "2.1", aliases=["CVE-2026-1", "PYSEC-1"]),
        record("tiny-lib", "GHSA-gone", withdrawn="2026-02-01T00:00:00Z"),
        record("tiny-lib", "GHSA-bbbb"),
    ]
    python = "tiny-lib 1.0: PYSEC-1 (CVE-2026-1, GHSA-aaaa): fixed in 1.0.4\n  tiny-lib is broken\n"
    unfixed = "tiny-lib 1.0: GHSA-bbbb: no fixed version\n  tiny-lib is broken\n"
    code, out, err = typed("audit")
    assert (code, out) == (1, f"{unfixed}{python}{DEBIAN}")
    assert err == (
        f"{ASKING}{LOOKING}"
        "4 known vulnerabilities in 2 packages; looked at 2 Python packages and 1 Debian package\n"
        "hint: mllock lock --upgrade tiny-lib\n"
        "hint: mllock lock --upgrade takes what the Debian archive has now\n"
    )
    code, out, _ = typed("audit", "--ignore-unfixed")
    assert (code, out) == (1, python + DEBIAN.partition(f"{GLIBC}: CVE-2026-0002")[0])
    code, out, _ = typed("audit", "--json", "--only", "python")
    document = json.loads(out)
    assert (code, document["exit-code"], document["looked-at"]) == (1, 1, {"python": 2})
    assert document["vulnerabilities"][1] == {
        "kind": "python",
        "package": "tiny-lib",
        "version": "1.0",
        "id": "PYSEC-1",
        "aliases": ["CVE-2026-1", "GHSA-aaaa"],
        "fixed": "1.0.4",
        "urgency": None,
        "summary": "tiny-lib is broken",
        "packages": [],
    }


def test_answers_of_several_pages(typed: Typed, service: Osv) -> None:
    """OSV may answer with an empty page, and the token of the next one."""
    known = [record("other", "GHSA-a"), record("other", "GHSA-b")]
    service.known["other", "2.0"] = known
    service.page = 1
    code, out, _ = typed("audit", "--only", "python")
    assert (code, out.count("GHSA-")) == (1, 2)
    tokens = [query.get("page_token") for _, query in service.asked if "other" in str(query)]
    assert tokens == [None, "0", "1", "2"]
    service.page = 0  # for ever the same
    code, _, err = typed("audit", "--only", "python")
    assert (code, " answered with something that is not OSV's form (asked about " in err) == (
        4,
        True,
    )


def test_ignored_with_reason_and_end(ctx: Context, typed: Typed, service: Osv) -> None:
    service.known["tiny-lib", "1.0"] = [record("tiny-lib", "GHSA-a", aliases=["CVE-2026-1"])]
    (ctx.project / "mlproject.audit.toml").write_text(
        '[[ignore]]\nid = "CVE-2026-1"\nreason = "never called"\nuntil = 2999-01-01\n'
        '[[ignore]]\nid = "CVE-2026-0001"\npackage = "libc6"\nreason = "no such files"\n'
        '[[ignore]]\nid = "CVE-2026-0002"\nreason = "soon"\nuntil = 2026-01-31\n'
        '[[ignore]]\nid = "CVE-2026-0001"\npackage = "zlib1g"\nreason = "another"\n'
    )
    code, out, err = typed("audit")
    assert (code, out) == (1, f"{GLIBC}: CVE-2026-0002: no fixed version\n  A crafted file ...\n")
    assert err == (
        f"{ASKING}{LOOKING}"
        "ignored until 2999-01-01: tiny-lib CVE-2026-1: never called\n"
        "ignored: glibc CVE-2026-0001: no such files\n"
        "warning: ignored until 2026-01-31, which is over: CVE-2026-0002: soon\n"
        "warning: nothing to ignore: CVE-2026-0001 is not known of any locked package\n"
        "1 known vulnerability in 1 package; looked at 2 Python packages and 1 Debian package\n"
    )
    code, out, err = typed("audit", "--ignore", "CVE-2026-0002")
    assert (code, out, "ignored: glibc CVE-2026-0002: --ignore\n" in err) == (0, "", True)
    day = dt.date(2026, 1, 31)
    ours = {name: value for name, value in os.environ.items() if name.startswith("MLLOCK_")}
    ctx = context(ctx.project, ours)
    assert audit(ctx, today=day).exit_code == 0
    assert audit(ctx, today=day + dt.timedelta(days=1)).exit_code == 1
    # What is decided about a vulnerability changes no image.
    entries = select_code(ctx.project, load_spec(ctx.project / "mlproject.toml").spec, None)
    assert "mlproject.audit.toml" not in {entry.path for entry in entries.manifest.entries}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[ignore]]\nid = "X"\n', "ignore[0]: object missing required field `reason`"),
        ('[[ignore]]\nid = "X"\nreason=""\n', "ignore[0].reason: expected `str` of length >= 1"),
        ("[[ignores]]\n", "object contains unknown field `ignores`"),
        ('[[ignore]]\nid = "X"\nreason = "r"\nuntil = "s"\n', "ignore[0].until: expected `date"),
        ("[[ignore", None),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_read(
    ctx: Context, typed: Typed, text: str, said: str | None
) -> None:
    (ctx.project / "mlproject.audit.toml").write_text(text)
    code, out, err = typed("audit")
    lines = err.splitlines()
    assert (code, out, lines[-1]) == (
        2,
        "",
        'hint: an entry is: [[ignore]], id = "CVE-...", reason = "...", and package and until '
        "if you like",
    )
    assert lines[0].startswith(f"error: mlproject.audit.toml: {said or ''}")


def test_what_was_withdrawn_is_not_known(typed: Typed, service: Osv) -> None:
    service.known["tiny-lib", "1.0"] = [
        record("tiny-lib", "GHSA-a", withdrawn="2026-01-05T00:00:00Z"),
        record("tiny-lib", "GHSA-b", "1.1"),
    ]
    code, out, _ = typed("audit", "--only", "python")
    assert (code, out) == (
        1,
        "tiny-lib 1.0: GHSA-b: fixed in 1.1\n  tiny-lib is broken\n",
    )
    service.known["tiny-lib", "1.0"].pop()
    assert typed("audit", "--only", "python")[0] == 0


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (os.mkfifo, "a FIFO"),
        (os.mkdir, "a folder"),
        (lambda path: os.symlink("/dev/zero", path), "a device"),
    ],
)
def test_a_list_that_is_no_file(
    ctx: Context, typed: Typed, make: Callable[[Path], None], found: str
) -> None:
    make(ctx.project / "mlproject.audit.toml")
    code, _, err = typed("audit")
    assert (code, err) == (2, f"error: mlproject.audit.toml: not a regular file\nfound: {found}\n")


def test_no_service(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("MLLOCK_OSV_URL", f"http://user:secret@{host}/v1/query")
    code, out, err = typed("audit", "--only", "python", "--json")
    assert (code, "secret" in err + out) == (4, False)
    assert json.loads(out)["not-looked-at"] == [
        {
            "kind": "python",
            "packages": 2,
            "why": f"the vulnerability service {host} does not answer: no connection"
            " (asked about other 2.0+cpu)",
            "hint": "try again, or name another service with MLLOCK_OSV_URL",
        }
    ]
    # What the other one answers still counts.
    code, out, err = typed("audit")
    assert (code, out) == (1, DEBIAN)
    assert "warning: 2 Python packages not looked at: " in err
    monkeypatch.setenv("MLLOCK_OSV_URL", "ftp://example.org")
    code, _, err = typed("audit", "--only", "python")
    assert (code, err) == (
        2,
        f"{ASKING}warning: 2 Python packages not looked at: MLLOCK_OSV_URL: not the URL of a"
        " service that can be asked\nhint: leave them out with --only debian\n",
    )


def test_offline_nobody_is_asked(typed: Typed, service: Osv) -> None:
    code, out, err = typed("--offline", "audit")
    assert (code, out, service.asked) == (1, DEBIAN, [])
    assert err.splitlines()[1:3] == [
        "warning: 2 Python packages not looked at: offline: the vulnerability service is not asked",
        "hint: leave out --offline, or unset MLLOCK_OFFLINE",
    ]
    assert typed("--offline", "audit", "--only", "python")[0] == 4


def test_without_the_extra(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip_audit._service.osv", None)
    code, _, err = typed("audit", "--only", "python")
    assert (code, err) == (
        2,
        f"{ASKING}warning: 2 Python packages not looked at: known vulnerabilities of Python"
        " packages are looked up with pip-audit (it is not installed)\n"
        'hint: install it: pip install "mllock[audit]"; or ask about Debian packages alone: --only'
        " debian\n",
    )


def test_where_debians_data_is(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only = ("audit", "--only", "debian")
    body = json.dumps(TRACKER).encode()
    with serving({"/data/json": Answer(body=body), "/html": Answer(body=b"<html>")}) as server:
        monkeypatch.setenv("MLLOCK_DEBIAN_TRACKER", f"{server.url}/data/json")
        code, out, err = typed(*only)
        assert (code, out) == (1, DEBIAN)
        assert err.splitlines()[0] == "reading Debian's security data"
        monkeypatch.setenv("MLLOCK_DEBIAN_TRACKER", f"{server.url}/html")
        code, _, err = typed(*only)
        assert (code, err.splitlines()[2].partition(" (")[0]) == (
            4,
            "warning: 1 Debian package not looked at: MLLOCK_DEBIAN_TRACKER: not the data of"
            " Debian's security tracker",
        )
        monkeypatch.setenv("MLLOCK_DEBIAN_TRACKER", f"{server.url}/nothing")
        code, _, err = typed(*only)
        assert (code, err.splitlines()[1]) == (
            4,
            "warning: 1 Debian package not looked at: MLLOCK_DEBIAN_TRACKER: there is nothing at"
            " this URL",
        )
    # What is out of order, or has no end, is no answer either.
    monkeypatch.setattr("mllock.workflows.audit.MAX_TRACKER", len(body) - 1)
    with serving({"/no": Answer(status=403, body=body), "/huge": Answer(body=body)}) as server:
        host = server.url.removeprefix("http://")
        for path, said in (
            ("/no", f"cannot fetch no: {host}: answered 403"),
            ("/huge", f"cannot fetch huge: {host}: answered with more than {len(body) - 1} bytes"),
        ):
            monkeypatch.setenv("MLLOCK_DEBIAN_TRACKER", f"{server.url}{path}")
            code, out, err = typed(*only)
            first = f"warning: 1 Debian package not looked at: {said}"
            assert (code, out, err.splitlines()[1]) == (4, "", first)
    for value, said in (
        ("", "where the data of Debian's security tracker is was not said"),
        (
            gone := str(tmp_path / "gone"),
            f"{gone}: MLLOCK_DEBIAN_TRACKER: cannot be read: no such file or directory",
        ),
    ):
        monkeypatch.setenv("MLLOCK_DEBIAN_TRACKER", value)
        code, _, err = typed(*only)
        first = err.splitlines()[0]
        assert (code, first) == (2, f"warning: 1 Debian package not looked at: {said}")


def tracker(**releases: object) -> bytes:
    return json.dumps({"glibc": {"CVE-1": {"releases": releases}}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b'{"glibc": []}',
        tracker(bookworm=1),
        tracker(bookworm={"status": "resolved", "fixed_version": "?"}),
        tracker(sid={"status": "open"}),
        json.dumps(TRACKER).encode()[:-9],
    ],
)  # fmt: skip
def test_what_is_not_the_trackers_data_is_no_answer(data: bytes) -> None:
    package = SourcePackage(name="glibc", version="2.36-9", binaries=("libc6",))
    with pytest.raises(SurroundingsError, match="not the data of Debian's security tracker"):
        debian_vulnerabilities(data, "bookworm", [package])


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ("Package: libc6\nSource: glibc\nVersion: 2.36-9+b1\n", ("glibc", "2.36-9")),
        ("Package: x\nSource: lvm2 (2.03.16-2)\n", ("lvm2", "2.03.16-2")),
        ("Package: bash\nVersion: 5.2-1+b1\n", ("bash", "2.36-9")),
        (None, ("pooled", "2.36-9")),
    ],
)
def test_the_source_of_a_package(control: str | None, expected: tuple[str, str]) -> None:
    filename = "pool/main/p/pooled/bash_1_amd64.deb"
    assert source_of("bash", "2.36-9+b1", filename, control) == expected
