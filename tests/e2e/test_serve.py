"""The starter project, served and probed; its answers travel in no image."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.e2e import MLLOCK, mllock, must

from mllock.probes.recording import parse_recording
from mllock.serve.listening import free_port

pytestmark = pytest.mark.e2e


def test_the_starter_is_served_and_answers_alike(
    finished: Path, e2e_environ: dict[str, str]
) -> None:
    port = free_port()
    with subprocess.Popen(
        [str(MLLOCK), "serve", "--port", str(port)],
        cwd=finished,
        env={**os.environ, **e2e_environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert url == f"http://127.0.0.1:{port}"
        done = must(finished, "check", url, "--json", environ=e2e_environ, code=3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    behaviour = next(f for f in json.loads(done.stdout)["findings"] if f["claim"] == "behaviour")
    assert (behaviour["verdict"], behaviour["level"]) == ("unproven", "D")
    assert behaviour["reason"].startswith("3 of 3 probes answered alike")
    again = mllock(finished, "check", url, environ=e2e_environ)
    assert again.returncode == 4


def test_the_image_serves_on_the_declared_port(finished: Path, e2e_environ: dict[str, str]) -> None:
    """`{port}` is replaced in what is signed and shipped."""
    (run,) = (finished / ".mllock/runs").iterdir()
    bundle = json.loads((run / "serve-image.sigstore.json").read_bytes())
    import base64

    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    config = statement["predicate"]["config"]["config"]
    assert config["Cmd"] == ["uvicorn", "serve:app", "--host", "0.0.0.0", "--port", "8080"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}


def test_answers_never_travel(finished: Path) -> None:
    (run,) = (finished / ".mllock/runs").iterdir()
    data = (run / "probes.json").read_bytes()
    recording = parse_recording(data)
    secrets = [recording.salt.encode(), b'{"quality":[', b"probes.jsonl"]
    assert any(exchange.answer.body.startswith(secrets[1]) for exchange in recording.exchanges)
    blobs = [p for p in (finished / ".mllock/oci/blobs/sha256").iterdir() if p.is_file()]
    assert len(blobs) > 8
    small = [p for p in blobs if p.stat().st_size < 4_000_000]
    for path in small:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        for secret in secrets:
            assert secret not in text, path
