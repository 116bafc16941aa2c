"""A serving program for tiny projects, of the standard library, and probes for it.

It answers /healthz, and POST /predict with what is in model/weights.txt; what else it does is up
to MODE of the test, written into the program.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mllock.core import canonical
from mllock.core.platform import KNOWN
from mllock.image.environment import environment_document, image_variables
from mllock.lock.types import Lock
from mllock.spec.loaded import LoadedSpec
from mllock.workflows.context import Context
from support.training import SPEC, Environment

__all__ = [
    "COMMAND",
    "PROBES",
    "SERVER",
    "SERVE_SPEC",
    "answering",
    "declared_only",
    "lines_until",
    "reply",
    "start_mllock",
    "with_serve",
]

COMMAND = 'command = ["python", "serve.py", "{port}"]'

SERVE_SPEC = (
    SPEC
    + f"""
[serve]
{COMMAND}
code = ["serve.py"]
port = 18080
health = "/healthz"
"""
)

SERVER = """\
import http.server, json, os, pathlib, sys
weights = pathlib.Path("model/weights.txt").read_text()
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(200 if self.path == "/healthz" else 404, {"path": self.path})
    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if question.get("fail"):
            return self.answer(question["fail"], {"failed": True})
        if question.get("die"):
            os._exit(9)
        self.answer(200, {"weights": weights, "x": question["x"] * 0.1})
    def log_message(self, *args):
        pass
print("serving on", sys.argv[1], flush=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.serve_forever()
"""

PROBES = """\
{"path": "/predict", "body": {"x": 3}}
{"path": "/predict", "body": {"x": 7}, "compare": {"tolerance": {"/x": {"abs": 1e-6}}}}
{"path": "/predict", "body": {"fail": 422}, "status": 422}
{"method": "GET", "path": "/nowhere", "status": 404}
"""


def with_serve(
    *, server: str = SERVER, probes: str | None = PROBES, spec: str = SERVE_SPEC
) -> dict[str, object]:
    """Options for `support.training.make_project`."""
    files = {"serve.py": server}
    if probes is not None:
        files["probes.jsonl"] = probes
        spec += 'probes = "probes.jsonl"\n'
    return {"spec": spec, "files": files}


def declared_only(ctx: Context, loaded: LoadedSpec, lock: Lock) -> Environment:
    """For `train(environment_of=...)`: no layers, and all that the spec declares."""
    document = environment_document(
        platform=KNOWN["linux/amd64"],
        diff_ids=[],
        variables=image_variables(loaded.spec.environment.variables),
        user="65532:65532",
        workdir="/app",
    )
    return Environment(document=document, digest=canonical.digest_of(document))


TESTS = Path(__file__).parents[1]

# The command line, with an environment without layers: the rest is as users run it.
DRIVER = """
import sys
import mllock.workflows.environment as environment
from support.training import no_layers
environment.environment_of = no_layers
from mllock.cli.main import main
main(sys.argv[1:])
"""


def start_mllock(ctx: Context, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    """`mllock ARGUMENTS` in the project of `ctx`, as a process of its own."""
    home = ctx.project.parent
    environ = {
        **ctx.environ,
        "PYTHONPATH": str(TESTS),
        "MLLOCK_CACHE": str(home / "cache"),
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, "--project", str(ctx.project), *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def lines_until(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    """Read standard output until `text` has come."""
    assert process.stdout is not None
    seen = b""
    while text not in seen:
        data = os.read(process.stdout.fileno(), 4096)
        if not data:
            raise AssertionError((seen, process.stderr and process.stderr.read()))
        seen += data
    return seen


Answering = Callable[[http.server.BaseHTTPRequestHandler, bytes], None]


@contextlib.contextmanager
def answering(how: Answering) -> Iterator[str]:
    """A server on loopback that calls `how(handler, body)` for each request; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.close_connection = True
            with contextlib.suppress(OSError):
                how(self, body)

        # The names that http.server looks for.
        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(
    handler: http.server.BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
) -> None:
    handler.send_response(status)
    for name, value in (headers or {"Content-Type": "application/json"}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
