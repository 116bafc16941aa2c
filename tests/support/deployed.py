"""A tiny project that is trained and served, for tests of what asks an endpoint.

The fixtures are named in tests/check/conftest.py.
"""

from __future__ import annotations

import contextlib
import http.server
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mllock.check.types import Finding, Report
from mllock.serve.listening import free_port
from mllock.workflows.check import check_target
from mllock.workflows.context import Context
from mllock.workflows.serve import serving
from mllock.workflows.train import train
from support.serving import answering, declared_only, reply, with_serve
from support.training import context, locked

Handler = http.server.BaseHTTPRequestHandler


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A trained project, and the URL where its very model is served."""

    ctx: Context
    run: Path
    url: str

    def check(self, url: str | None = None, **options: Any) -> Report:
        return check_target(self.ctx, url or self.url, base=self.ctx.project, **options)


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Not to be changed: take `mine`."""
    ctx = locked(tmp_path_factory.mktemp("deployed"), **with_serve())
    run = train(ctx, environment_of=declared_only).run
    with serving(ctx, port=free_port()) as served:
        yield Deployed(ctx=ctx, run=run.path, url=str(served.server.address))


@pytest.fixture
def mine(deployed: Deployed, tmp_path: Path) -> Deployed:
    """The same, with a project and a key of the test's own."""
    home = deployed.ctx.project.parent
    for name in ("project", "config", ".config"):
        if (home / name).exists():
            shutil.copytree(home / name, tmp_path / name, symlinks=True)
    ctx = context(tmp_path / "project")
    config = deployed.ctx.config_dir
    shutil.copytree(config, ctx.config_dir, dirs_exist_ok=True)
    return Deployed(ctx=ctx, run=ctx.runs / deployed.run.name, url=deployed.url)


@pytest.fixture
def listening() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    def how(handler: Handler, body: bytes) -> None:
        asked.append(handler.path)
        reply(handler, 200, b"{}")

    with answering(how) as url:
        yield url, asked


def finding(report: Report, claim: str = "behaviour") -> Finding:
    return next(f for f in report.findings if f.claim == claim)


def differences(report: Report) -> list[tuple[str, str, str]]:
    return [(d.path, d.expected, d.found) for d in finding(report).differences]


ALIKE = (
    "4 of 4 probes answered alike, 1 of them within a declared tolerance; "
    "a proxy that recognises probes would look the same"
)


def everything(status: int, body: bytes, headers: dict[str, str] | None = None):
    return answering(lambda handler, _: reply(handler, status, body, headers))


Change = Callable[[str, bytes, Mapping[str, str]], tuple[int, bytes, dict[str, str]] | None]


def proxy(url: str, change: Change) -> contextlib.AbstractContextManager[str]:
    """In front of `url`: `change(path, body, headers)` answers, or passes on where it is None."""

    def how(handler: Handler, body: bytes) -> None:
        answer = change(handler.path, body, handler.headers)
        if answer is not None:
            return reply(handler, *answer)
        request = urllib.request.Request(
            url + handler.path, data=body or None, method=handler.command
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                status, data = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, data = error.code, error.read()
        return reply(handler, status, data)

    return answering(how)
