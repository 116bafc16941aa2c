"""The health check of an image: its very command, against servers that answer in every way."""

from __future__ import annotations

import http.server
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from mllock.serve.health import health_command
from mllock.serve.listening import free_port
from mllock.spec.types import Serve


def serve(port: int, health: str | None) -> Serve:
    return msgspec.convert({"command": ["x"], "port": port, "health": health}, Serve)


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(port: int, path: str) -> int:
    """The command with this Python in the place of the image's, and with hooks in the way."""
    interpreter, *words = health_command(serve(port, path))
    assert interpreter == "/opt/venv/bin/python"
    environ = {"PYTHONSTARTUP": "/nowhere", "PYTHONHOME": "/nowhere", "http_proxy": "http://x:1"}
    done = subprocess.run(
        [sys.executable, *words], env=environ, capture_output=True, timeout=60, check=False
    )
    return done.returncode


@pytest.mark.parametrize(
    ("status", "expected"), [(200, 0), (204, 0), (299, 0), (302, 1), (404, 1), (500, 1), (503, 1)]
)
def test_only_200_to_299_is_healthy(status: int, expected: int) -> None:
    with answering(status) as (port, asked):
        assert ask(port, "/healthz") == expected
    assert asked == ["/healthz"]


def test_nobody_listens() -> None:
    assert ask(free_port(), "/healthz") == 1


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a?b=c&d='e'", "/a?b=c&d='e'"),
        ('/"quoted"\\', "/%22quoted%22%5C"),
        ("/gesund heit/ä", "/gesund%20heit/%C3%A4"),
        ("/');import os;os.abort()#", "/');import%20os;os.abort()%23"),
    ],
)
def test_any_path_is_only_a_path(path: str, sent: str) -> None:
    with answering(200) as (port, asked):
        assert ask(port, path) == 0
    assert asked == [sent]


def test_without_a_path_there_is_none() -> None:
    assert health_command(serve(8080, None)) == ()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1", b"SSH-2.0-x 200 \r\n", b"2" * 50])
def test_what_is_no_answer(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            near, _ = server.accept()
            with near:
                near.recv(1000)
                near.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        assert ask(server.getsockname()[1], "/healthz") == 1
        thread.join()


def test_an_answer_that_comes_in_pieces() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            near, _ = server.accept()
            with near:
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                near.recv(1000)
                for number in range(12):
                    near.sendall(b"HTTP/1.1 200"[number : number + 1])

        thread = threading.Thread(target=once)
        thread.start()
        assert ask(server.getsockname()[1], "/healthz") == 0
        thread.join()


def test_a_server_that_never_answers_ends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ask(server.getsockname()[1], "/healthz") == -signal.SIGALRM


def test_it_is_short() -> None:
    assert health_command(serve(8080, "/healthz"))[1:] == (
        "-I",
        "-S",
        "-c",
        "import _signal,_socket;_signal.alarm(5);c=_socket.socket();"
        "c.connect(('127.0.0.1',8080));c.sendall(b'GET /healthz HTTP/1.1\\r\\n"
        "Host: 127.0.0.1:8080\\r\\nConnection: close\\r\\n\\r\\n');"
        "a=c.recv(12,_socket.MSG_WAITALL);"
        "raise SystemExit(not(a[:7]==b'HTTP/1.'and a[9:10]==b'2'))",
    )
