"""Asking servers that misbehave: real ones, on loopback."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.serving import answering, reply

from mllock.probes.address import Address, parse_address
from mllock.probes.ask import NoAnswerError, ask, ask_probe
from mllock.probes.types import Answer, Probe

PROBE = Probe(line=1, method="POST", path="/p?q=1", headers={"x-a": "b"}, body="{}")


def go(url: str, probe: Probe = PROBE, *, most: int = 1000, seconds: float = 20) -> Answer:
    return ask_probe(parse_address(url), probe, most=most, seconds=seconds)


def reason(url: str, **options: float) -> str:
    with pytest.raises(NoAnswerError) as caught:
        go(url, **options)
    return str(caught.value)


@contextlib.contextmanager
def raw(data: bytes) -> Iterator[str]:
    """A server that reads the request of PROBE, writes `data` as it is, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                whole = b""
                while not whole.endswith(b"\r\n\r\n{}"):
                    whole += connection.recv(65536)
                connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join()


def test_an_answer():
    seen = []

    def how(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        seen.append((handler.command, handler.path, dict(handler.headers), body))
        reply(handler, 201, b"[1]", {"Content-Type": "Application/JSON; charset=utf-8"})

    with answering(how) as url:
        assert go(f"{url}/prefix/") == Answer(status=201, type="application/json", body=b"[1]")
    ((method, path, headers, body),) = seen
    assert (method, path, body) == ("POST", "/prefix/p?q=1", b"{}")
    # Nothing says who asks.
    assert headers == {
        "Host": url.removeprefix("http://"),
        "Accept-Encoding": "identity",
        "Content-Length": "2",
        "connection": "close",
        "x-a": "b",
    }


def test_proxies_and_credentials_of_the_environment_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    seen = []

    def how(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        seen.append(dict(handler.headers))
        reply(handler, 200, b"1")

    with answering(how) as url:
        assert go(url).status == 200
    assert "Authorization" not in seen[0]


def test_redirects_are_not_followed():
    asked = []

    def how(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        asked.append(handler.path)
        reply(handler, 307, b"", {"Location": "/elsewhere"})

    with answering(how) as url:
        answer = go(url)
    assert (answer.status, answer.location) == (307, "/elsewhere")
    assert asked == ["/p?q=1"]


def test_a_body_without_end_is_cut():
    def how(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    with answering(how) as url:
        answer = go(url, most=100_000)
    assert (len(answer.body), answer.cut) == (100_000, True)


def test_a_body_of_just_that_length_is_whole():
    with answering(lambda h, b: reply(h, 200, b"x" * 100)) as url:
        assert not go(url, most=100).cut
        assert go(url, most=99).cut


@pytest.mark.parametrize(
    "drip",
    ["HTTP/1.1 200 OK\r\nX-A: ", "HTTP/1.1 200 OK\r\n\r\n", ""],
    ids=["head", "body", "none"],
)
def test_a_drip_ends_when_the_time_is_up(drip: str):
    stop = threading.Event()

    def how(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        handler.wfile.write(drip.encode())
        while not stop.wait(0.02):
            if drip:
                handler.wfile.write(b"x")

    with answering(how) as url:
        try:
            assert reason(url, seconds=0.5) == "no whole answer within 0.5 s"
        finally:
            stop.set()


def test_an_endless_head():
    head = b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000 + b"\r\n"
    with raw(head) as url:
        assert reason(url) == "what it answers is not HTTP"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it hung up without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "what it answers is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "the answer ended early"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
            "the answer ended early",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf",
            "the answer ended early",
        ),
    ],
)
def test_no_whole_answer(data: bytes, text: str):
    with raw(data) as url:
        assert reason(url) == text


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert reason(f"http://127.0.0.1:{port}") == "connection refused"
    assert reason("http://nowhere.invalid") == "no such host"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + cert.public_bytes(serialization.Encoding.PEM)
    )
    return path


@contextlib.contextmanager
def tls(certificate: Path) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.close_connection = True
            reply(self, 200, b"1")

        def log_message(self, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_certificates_are_verified(certificate: Path, monkeypatch: pytest.MonkeyPatch):
    with tls(certificate) as port:
        assert reason(f"https://localhost:{port}") == (
            "its certificate is not to be trusted: self-signed certificate"
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert go(f"https://localhost:{port}").body == b"1"
        # A name that the certificate does not have.
        assert reason(f"https://127.0.0.1:{port}").startswith(
            "its certificate is not to be trusted: IP address mismatch"
        )
        assert reason(f"http://localhost:{port}")


def test_no_tls_there():
    with answering(lambda h, b: reply(h, 200, b"1")) as url:
        assert reason(url.replace("http", "https")).startswith("no TLS connection: ")


def test_the_time_is_for_tls_as_well():
    """A server that accepts, and never shakes hands."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        port = server.getsockname()[1]
        assert reason(f"https://localhost:{port}", seconds=0.5) == "no whole answer within 0.5 s"
        assert time.monotonic() - began < 10


def test_a_question_without_a_body():
    seen = []

    def how(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        seen.append((handler.command, handler.headers.get("Content-Length")))
        reply(handler, 204, b"", {})

    with answering(how) as url:
        address = parse_address(url)
        assert isinstance(address, Address)
        assert ask(address, "GET", "/", {}, None, most=9, seconds=9).status == 204
    assert seen == [("GET", None)]
