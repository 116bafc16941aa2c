"""A token server as distribution's documents describe it: JWTs signed with ES256.

Anybody gets "pull" for repositories below `public/`; the user gets what is asked for. POST takes a
refresh token ("oauth2"). `asked` has the query or form of every request and who asked.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

REFRESH = "refresh-me"


@dataclass(kw_only=True)
class Tokens:
    url: str
    certificate: Path
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    answer: tuple[int, bytes] | None = None  # instead of a token


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def token_server(folder: Path, user: str, password: str) -> Iterator[Tokens]:
    certificate, key_file = folder / "token.pem", folder / "token.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key_file, "-out", certificate, "-subj", "/CN=tokens",
         "-days", "3650"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    der = serialization.Encoding.DER
    public = key.public_key().public_bytes(der, serialization.PublicFormat.SubjectPublicKeyInfo)
    # libtrust: the key's name is base32 of the first 240 bits, in groups of four.
    name = base64.b32encode(hashlib.sha256(public).digest()[:30]).decode()
    kid = ":".join(name[i : i + 4] for i in range(0, len(name), 4))
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def token(who: str, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, repository, actions = scope.split(":")
            granted = [a for a in actions.split(",") if who]
            if not who and repository.startswith("public/"):
                granted = ["pull"]
            access.append({"type": kind, "name": repository, "actions": granted})
        now = int(time.time())
        header = {"typ": "JWT", "alg": "ES256", "kid": kid}
        claims = {"iss": "tests", "sub": who, "aud": "tests", "exp": now + 300, "nbf": now - 10,
                  "iat": now, "jti": "1", "access": access}  # fmt: skip
        text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32) + s.to_bytes(32))}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            header = self.headers.get("Authorization")
            tokens.asked.append((header or "", query))
            if header is not None and header != expected:
                self._say(401, b"{}")
                return
            who = "" if header is None else user
            answer = {"token": token(who, query.get("scope", [])), "expires_in": 300}
            self._say(200, json.dumps(answer).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = urllib.parse.parse_qs(body)
            tokens.asked.append(("", form))
            if form.get("refresh_token") != [REFRESH]:
                self._say(401, b"{}")
                return
            scopes = form.get("scope", [""])[0].split()
            self._say(200, json.dumps({"access_token": token(user, scopes)}).encode())

        def _say(self, status: int, body: bytes) -> None:
            status, body = tokens.answer or (status, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tokens = Tokens(url=f"http://127.0.0.1:{server.server_port}", certificate=certificate)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield tokens
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
