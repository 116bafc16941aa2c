"""A real HTTP server on loopback whose answers are a table, for tests of what fetches.

with serving({"/a": Answer(body=b"x")}) as server:
    server.url + "/a"
    server.asked  # paths, in order of arrival
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Answer", "Server", "serving"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """`length` overrides Content-Length; None leaves it out. `hang_up` closes without answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    length: int | None = -1
    hang_up: bool = False


@dataclasses.dataclass(kw_only=True)
class Server:
    url: str
    asked: list[str]
    headers: list[dict[str, str]]


@contextlib.contextmanager
def serving(
    answers: Mapping[str, Answer | Sequence[Answer]], *, head: bool = False
) -> Iterator[Server]:
    """A sequence of answers is given one after the other; the last one stays. With `head`, HEAD is
    answered as GET is, without the body."""
    asked: list[str] = []
    headers: list[dict[str, str]] = []
    lock = threading.Lock()
    left = {
        path: [answer] if isinstance(answer, Answer) else list(answer)
        for path, answer in answers.items()
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                asked.append(self.path)
                headers.append(dict(self.headers))
                queue = left.get(self.path, [Answer(status=404)])
                answer = queue.pop(0) if len(queue) > 1 else queue[0]
            self.close_connection = True
            if answer.hang_up:
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            length = len(answer.body) if answer.length == -1 else answer.length
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command == "HEAD":
                return
            with contextlib.suppress(OSError):
                self.wfile.write(answer.body)

        def log_message(self, *args: object) -> None:
            pass

    if head:
        Handler.do_HEAD = Handler.do_GET  # type: ignore[attr-defined]

    class Listening(ThreadingHTTPServer):
        # With five, which is the default, a sixth connection waits for a second and asks again.
        request_queue_size = 64

    server = Listening(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(url=f"http://127.0.0.1:{server.server_port}", asked=asked, headers=headers)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
