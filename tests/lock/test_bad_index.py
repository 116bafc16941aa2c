"""An index that lies, breaks off, is slow or is no index: one message each, by the real tools."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support.bench import TARGET, Bench, asking
from support.reporter import Recorder
from support.webserver import Answer, serving
from support.wheels import SimpleIndex, make_wheel, pip_environ

from mllock.errors import IntegrityError, MllockError, OfflineError
from mllock.lock.download import AGAIN
from mllock.lock.pip import Pip
from mllock.lock.pip_tools import PipToolsChooser
from mllock.lock.pip_words import explain
from mllock.lock.python import WheelResolver
from mllock.lock.uv import UvChooser
from mllock.store.cache import Cache

GOOD = make_wheel("alpha", "1.0")
OTHER = make_wheel("alpha", "1.0", {"alpha.py": b"evil"})
PAGE, NAME = "/simple/alpha/", "alpha-1.0-py3-none-any.whl"
FILE = f"/files/{NAME}"
HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/vnd.pypi.simple.v1+json"}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def listing(data: bytes | None = None) -> bytes:
    """The page of alpha; with the digest of `data`, if there is one."""
    digest = f"#sha256={sha(data)}" if data else ""
    return f'<!DOCTYPE html><html><a href="{FILE}{digest}">{NAME}</a></html>'.encode()


def page(data: bytes | None = None) -> Answer:
    return Answer(body=listing(data), headers=HTML)


def stating(kind: str, digest: str) -> bytes:
    """The page of alpha in JSON, with this digest alone."""
    row = {"filename": NAME, "url": FILE, "hashes": {kind: digest}}
    return json.dumps({"meta": {"api-version": "1.0"}, "name": "alpha", "files": [row]}).encode()


CHECK = "\nhint: check the network, the proxy and pip's settings (pip config debug)"
CANNOT = "the package index cannot be read: 127.0.0.1\nfound: "
TELL = "\nhint: tell those who run the index; until then, leave that version out"
CASES: dict[str, tuple[Mapping[str, Answer], type[MllockError], str]] = {
    "a login page": (
        {PAGE: Answer(body=b"<html><form>Who are you?</form></html>", headers=HTML)},
        OfflineError,
        "the package index's page for alpha lists no file: 127.0.0.1\n"
        "hint: look at it in a browser: a login or a proxy may stand there instead",
    ),
    "a page of another type": (
        {PAGE: Answer(body=listing(), headers={"Content-Type": "application/octet-stream"})},
        OfflineError,
        "the package index does not answer with a list of files: 127.0.0.1\n"
        "found: its page for alpha is of type application/octet-stream\n"
        "hint: check the URL of the index (pip config debug)",
    ),
    "JSON that is none": (
        {PAGE: Answer(body=b'{"files": 3}', headers=JSON)},
        OfflineError,
        "the package index's answer cannot be understood: 127.0.0.1\n"
        "expected: a list of files, as PEP 503 or PEP 691 have it\n"
        "found: its page for alpha: 'int' object is not iterable\n"
        "hint: check the URL of the index (pip config debug)",
    ),
    "500 for the page": (
        {PAGE: Answer(status=500)},
        OfflineError,
        CANNOT + "too many 500 error responses" + CHECK,
    ),
    "500 for the wheel": (
        {PAGE: page(GOOD), FILE: Answer(status=500)},
        OfflineError,
        CANNOT + "too many 500 error responses" + CHECK,
    ),
    "403 for the page": (
        {PAGE: Answer(status=403)},
        OfflineError,
        CANNOT
        + "403 client error: forbidden\nhint: check user and password: the variables that the "
        "URL of the index names, netrc, or the keyring",
    ),
    "no such wheel": (
        {PAGE: page(GOOD)},
        OfflineError,
        f"the index lists {NAME} and does not serve it: 127.0.0.1\n"
        "found: 404 client error: not found\n"
        "hint: try again later, or tell those who run the index",
    ),
    "half a page": (
        {PAGE: Answer(body=listing()[:40], headers=HTML, length=len(listing()))},
        OfflineError,
        CANNOT + f"40 bytes read, {len(listing()) - 40} more expected" + CHECK,
    ),
    "half a wheel": (
        {PAGE: page(GOOD), FILE: Answer(body=GOOD[:300], length=len(GOOD))},
        OfflineError,
        f"the index breaks off while it serves {NAME}: 127.0.0.1\n"
        f"expected: {len(GOOD)} bytes\nfound: 300 bytes\n"
        "hint: try again later, or tell those who run the index",
    ),
    "a shorter wheel, without a digest": (
        {PAGE: page(), FILE: Answer(body=GOOD[:300])},
        IntegrityError,
        f"what the index serves as {NAME} is not a wheel\n"
        "hint: a proxy or a login page may stand in for it; or it is damaged there",
    ),
    "other bytes than it says": (
        {PAGE: page(GOOD), FILE: Answer(body=OTHER)},
        IntegrityError,
        f"the index serves other bytes for {NAME} than it says itself\n"
        f"expected: sha256:{sha(GOOD)}\nfound: sha256:{sha(OTHER)}\n"
        "hint: a proxy or the index damages it, or somebody changed it: find out which",
    ),
    "another digest, of another kind": (
        {PAGE: Answer(body=stating("sha512", "0" * 128), headers=JSON), FILE: Answer(body=GOOD)},
        IntegrityError,
        f"the index serves other bytes for {NAME} than it says itself\n"
        f"expected: sha512:{'0' * 128}\nfound: sha512:{hashlib.sha512(GOOD).hexdigest()}\n"
        "hint: a proxy or the index damages it, or somebody changed it: find out which",
    ),
    "no digest at all": (
        {PAGE: Answer(body=stating("md5", "x"), headers=JSON), FILE: Answer(body=GOOD)},
        IntegrityError,
        f"the index serves other bytes for {NAME} than it says itself\n"
        f"expected: md5:x\nfound: md5:{hashlib.md5(GOOD, usedforsecurity=False).hexdigest()}\n"
        "hint: a proxy or the index damages it, or somebody changed it: find out which",
    ),
    "another package": (
        {PAGE: page(), FILE: Answer(body=make_wheel("beta", "1.0"))},
        IntegrityError,
        "what the index serves as a wheel of alpha is none\n"
        "found: .dist-info directory 'beta-1.0.dist-info' does not start with 'alpha'" + TELL,
    ),
    "another version": (
        {PAGE: page(), FILE: Answer(body=make_wheel("alpha", "2.0"))},
        IntegrityError,
        f"the index serves a wheel of another version as {NAME}\nexpected: 1.0\nfound: 2.0" + TELL,
    ),
    "redirects for ever": (
        {PAGE: Answer(status=302, headers={"Location": PAGE})},
        OfflineError,
        CANNOT + "Exceeded 30 redirects." + CHECK,
    ),
    "no answer": (
        {PAGE: Answer(hang_up=True)},
        OfflineError,
        CANNOT + "connection error: the connection was closed without a reply from the server."
        "" + CHECK,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_the_index(case: str, tmp_path: Path) -> None:
    """What pip is asked at last, whichever resolver failed."""
    answers, kind, message = CASES[case]
    (tmp_path / "in.txt").write_text("alpha\n")
    with serving(answers) as server:
        environ = pip_environ(tmp_path, index=SimpleIndex(url=f"{server.url}/simple"))
        pip = Pip(environ=environ, reporter=Recorder())
        said = pip.download(tmp_path, "in.txt", TARGET, AGAIN)
    error = explain(said.text, TARGET)
    assert (type(error), str(error)) == (kind, message)


@pytest.mark.parametrize(
    ("resolver", "case"), [("pip-tools", "half a wheel"), ("uv", "other bytes than it says")]
)
def test_both_resolvers_end_there(resolver: str, case: str, tmp_path: Path) -> None:
    answers, kind, message = CASES[case]
    with serving(answers) as server:
        bench = Bench(tmp_path, SimpleIndex(url=f"{server.url}/simple"), resolver)
        assert bench.refusal(kind, "alpha") == message


def test_what_only_uv_met(tmp_path: Path) -> None:
    """An index that recovers before pip is asked the same is no matter of version ranges."""
    answers = {PAGE: [Answer(status=500), page(GOOD)], FILE: Answer(body=GOOD)}
    with serving(answers, head=True) as server:
        bench = Bench(tmp_path, SimpleIndex(url=f"{server.url}/simple"), "uv")
        assert bench.refusal(OfflineError, "alpha") == (
            "uv cannot read from the package index: 127.0.0.1\n"
            "found: alpha: HTTP status server error (500 Internal Server Error)" + CHECK
        )


@contextlib.contextmanager
def dripping() -> Iterator[str]:
    """An index that answers at once, and then sends a byte now and then for ever."""
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
            connection.sendall(b"Content-Length: 1000000\r\n\r\n")
            while not over.wait(0.05):
                connection.sendall(b" ")

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                threads.append(threading.Thread(target=drip, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        finally:
            over.set()
            for thread in threads:
                thread.join()


@pytest.mark.parametrize("resolver", ["pip-tools", "uv"])
def test_a_slow_index_is_not_waited_for_for_ever(resolver: str, tmp_path: Path) -> None:
    reporter = Recorder()
    cache = Cache(tmp_path / "cache", reporter)
    with dripping() as url:
        environ = pip_environ(tmp_path / "home", index=SimpleIndex(url=url))
        pip = Pip(environ=environ, reporter=reporter, limit=1.5, patience=0.5)
        choosers = {
            "pip-tools": PipToolsChooser(pip, reporter),
            "uv": UvChooser(pip, environ, tmp_path / "uv", reporter),
        }
        slow = WheelResolver(choosers[resolver], pip, cache, reporter)
        start = time.monotonic()
        with pytest.raises(OfflineError) as caught:
            slow.resolve(asking("alpha"))
        assert time.monotonic() - start < 30
        program = {"pip-tools": "pip-compile"}.get(resolver, resolver)
        assert str(caught.value) == STOPPED.format(program, "1.5")
        # A download that grows is waited for, however long it takes; this one does not.
        (tmp_path / "pins.txt").write_text("alpha==1.0\n")
        patient = replace(pip, limit=60)
        with pytest.raises(OfflineError) as caught:
            patient.download_together(tmp_path, ["pins.txt"], TARGET, ())
        assert str(caught.value) == STOPPED.format("pip download", "0.5")


STOPPED = (
    "{} is stopped: nothing came of it for {} seconds\n"
    "hint: the package index may be too slow: try again, or use a mirror; "
    "if the network is idle, narrower version ranges leave less to try"
)
