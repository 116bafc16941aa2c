"""`mllock check http://...`: recorded probes, asked of servers that are right, wrong, or lie."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
from pathlib import Path

import pytest
from support.deployed import ALIKE, Deployed, Handler, differences, everything, finding, proxy
from support.serving import answering, declared_only, reply, with_serve
from support.training import locked

from mllock.check.probing import replay
from mllock.check.types import Report
from mllock.errors import SurroundingsError
from mllock.probes.address import parse_address
from mllock.probes.recording import parse_recording
from mllock.serve.listening import free_port
from mllock.workflows.check import check_target
from mllock.workflows.release import release_run
from mllock.workflows.serve import serving
from mllock.workflows.train import train


def test_the_right_model(deployed: Deployed):
    report = deployed.check()
    assert [(f.claim, f.verdict, f.level) for f in report.findings] == [
        ("signature", "proven", "A"),
        ("lineage", "proven", "A"),
        ("model", "not asked", None),
        ("environment", "not asked", None),
        ("code", "not asked", None),
        ("configuration", "not asked", None),
        # Answers never prove: whoever recognises a probe can answer it as recorded.
        ("behaviour", "unproven", "D"),
        ("release", "not asked", None),
    ]
    found = finding(report)
    assert found.reason == ALIKE
    assert found.source == f"answers of {deployed.url}"
    assert found.cure == (
        "check the image or the container that runs there, or accept it with "
        "--allow-unproven behaviour"
    )
    assert report.chosen == f"the endpoint {deployed.url}"
    assert report.record == f"{deployed.run.name}/record.sigstore.json (the newest run)"
    assert report.run == deployed.run.name
    assert report.exit_code() == 3
    assert report.checked_bytes == report.expected_bytes > 0
    assert deployed.check(accepted=["behaviour"]).exit_code() == 0


JSON = {"Content-Type": "application/json"}


def other_model(
    path: str, body: bytes, headers: object
) -> tuple[int, bytes, dict[str, str]] | None:
    question = json.loads(body) if body else {}
    if "x" not in question:
        return None
    answer = {"weights": "3 0.5 1.0\n", "x": question["x"] * 0.1 + 1e-9}
    return 200, json.dumps(answer).encode(), JSON


def test_a_proxy_that_changes_nothing_is_alike(deployed: Deployed):
    with proxy(deployed.url, lambda *asked: None) as url:
        assert finding(deployed.check(url)).reason == ALIKE


def test_a_proxy_in_front_of_another_model(deployed: Deployed):
    """It passes on what it does not care about, and its own model is nearly the same."""
    with proxy(deployed.url, other_model) as url:
        report = deployed.check(url)
        found = finding(report)
        assert (found.verdict, found.level) == ("refuted", "D")
        assert found.reason == "1 of 4 probes answered differently"
        # The second probe declares a tolerance that this model is within.
        assert differences(report) == [
            ("line 1 (POST /predict): /x", "0.30000000000000004", "0.30000000100000007")
        ]
        assert report.exit_code() == 1
        assert deployed.check(url, accepted=["behaviour"]).exit_code() == 1


def test_another_model_beyond_the_tolerance(deployed: Deployed):
    def change(path: str, body: bytes, headers: object):
        return (200, b'{"weights": "3 0.5 1.0\\n", "x": 0.71}', JSON) if b"7" in body else None

    with proxy(deployed.url, change) as url:
        assert differences(deployed.check(url)) == [
            ("line 2 (POST /predict): /x", "0.7000000000000001", "0.71")
        ]


def test_a_real_other_run_is_refuted(tmp_path: Path):
    ctx = locked(tmp_path, **with_serve())
    one = train(ctx, environment_of=declared_only).run
    two = train(ctx, overrides=["alpha=0.75"], environment_of=declared_only).run
    with serving(ctx, port=free_port(), run=one.id) as served:
        url = str(served.server.address)
        right = check_target(ctx, url, run=one.id)
        wrong = check_target(ctx, url, run=two.id)
        release_run(ctx, one.id, "production")
        asked = check_target(ctx, url, stage="production")
    assert finding(right).verdict == "unproven"
    assert right.record == f"{one.id}/record.sigstore.json (--run)"
    assert asked.record == f"{one.id}/record.sigstore.json (the released run)"
    released = finding(asked, "release")
    assert (released.verdict, released.reason) == (
        "unproven",
        "no bytes of the released model are seen: an endpoint shows answers, and none of its bytes",
    )
    assert differences(wrong) == [
        ("line 1 (POST /predict): /weights", '"3 0.75 1.0\\n"', '"3 0.5 1.0\\n"'),
        ("line 2 (POST /predict): /weights", '"3 0.75 1.0\\n"', '"3 0.5 1.0\\n"'),
    ]


def first(report: Report) -> tuple[str, str, str]:
    assert finding(report).verdict == "refuted"
    assert report.exit_code() == 1
    return differences(report)[0]


def test_html(deployed: Deployed):
    with everything(200, b"<html>", {"Content-Type": "text/html"}) as url:
        assert first(deployed.check(url)) == (
            "line 1 (POST /predict): type",
            "application/json",
            "text/html",
        )


def test_errors_of_its_own(deployed: Deployed):
    with everything(500, b"no") as url:
        assert first(deployed.check(url)) == ("line 1 (POST /predict): status", "200", "500")


def test_an_encoded_answer(deployed: Deployed):
    headers = {**JSON, "Content-Encoding": "gzip"}
    with everything(200, gzip.compress(b"{}"), headers) as url:
        assert first(deployed.check(url)) == (
            "line 1 (POST /predict): type",
            "application/json",
            "application/json, encoded as gzip",
        )


def test_redirects_are_not_followed(deployed: Deployed):
    with everything(307, b"", {"Location": f"{deployed.url}/predict"}) as url:
        assert first(deployed.check(url)) == (
            "line 1 (POST /predict): status",
            "200",
            f"307 (to {deployed.url}/predict)",
        )


def test_a_body_without_end(deployed: Deployed):
    def how(handler: Handler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        while True:
            handler.wfile.write(b" " * 65536)

    with answering(how) as url:
        place, expected, found = first(deployed.check(url))
    assert place == "line 1 (POST /predict): body"
    recording = parse_recording((deployed.run / "probes.json").read_bytes())
    size = len(recording.exchanges[0].answer.body)
    assert (expected, found) == (f"{size} bytes", f"more than {size + 65536} bytes")


def refuses(deployed: Deployed, url: str) -> str:
    with pytest.raises(SurroundingsError) as caught:
        deployed.check(url)
    assert caught.value.exit_code == 4
    return str(caught.value)


def no_answer(url: str, reason: str) -> str:
    return (
        f"{url}: no answer to the probe of line 1 (POST /predict): {reason}\n"
        "hint: is it running, and is this its address?"
    )


def test_nobody_there(deployed: Deployed):
    url = f"http://127.0.0.1:{free_port()}"
    assert refuses(deployed, url) == no_answer(url, "connection refused")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_not_now(deployed: Deployed, status: int):
    with everything(status, b"") as url:
        assert refuses(deployed, url) == no_answer(url, f"it answers with status {status}")


@pytest.mark.parametrize("status", [401, 403, 407])
def test_not_for_us(deployed: Deployed, status: int):
    with everything(status, b"") as url:
        assert refuses(deployed, url) == no_answer(
            url, f"it answers with status {status}: does it want MLLOCK_PROBE_AUTHORIZATION?"
        )


def test_too_slow(deployed: Deployed):
    stop = threading.Event()
    recording = parse_recording((deployed.run / "probes.json").read_bytes())
    with answering(lambda handler, body: stop.wait() and None) as url:
        with pytest.raises(SurroundingsError) as caught:
            replay(parse_address(url), recording, seconds=0.3)
        stop.set()
    assert str(caught.value) == no_answer(url, "no whole answer within 0.3 s")


def test_what_differed_before_it_went_away_stays_refuted(deployed: Deployed):
    def how(handler: Handler, body: bytes) -> None:
        if b"3" in body:
            reply(handler, 200, b'{"weights": "other", "x": 1}')

    with answering(how) as url:
        report = deployed.check(url)
    found = finding(report)
    assert found.reason == "1 of 4 probes answered differently, 3 not answered"
    assert found.verdict == "refuted"
    # A partial check cannot pass for a whole one.
    assert report.checked_bytes < report.expected_bytes


def test_not_all_alike_and_then_nobody(deployed: Deployed):
    """The first answers were right: what is missing is no answer, and no proof."""
    calls = []

    def change(path: str, body: bytes, headers: object):
        calls.append(path)
        return (503, b"", JSON) if len(calls) > 2 else None

    with proxy(deployed.url, change) as url:
        assert "line 3 (POST /predict): it answers with status 503" in refuses(deployed, url)


def test_what_an_endpoint_says_moves_no_cursor(deployed: Deployed):
    from mllock.check.report import lines

    evil = b'{"weights": "\\u001b[2J\\u202e", "x": 1, "\\n\\r": 2}'
    with everything(200, evil) as url:
        text = "\n".join(lines(deployed.check(url)))
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\\u001b[2J" in text


def test_no_port_of_another_protocol(deployed: Deployed):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                whole = b""
                while not whole.endswith(b'{"x":3}'):
                    whole += connection.recv(4096)
                connection.sendall(b"220 mail.example.org ESMTP\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        assert refuses(deployed, url) == no_answer(url, "what it answers is not HTTP")
        thread.join()
    assert os.path.exists(deployed.run)
