"""Recording, and the file that keeps the answers."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.serving import answering, reply

from mllock.core import canonical
from mllock.core.digest import sha256_of
from mllock.errors import ProgramError, RunError
from mllock.probes.address import parse_address
from mllock.probes.ask import ask_probe
from mllock.probes.recording import (
    MAX_ANSWER,
    dump_recording,
    parse_recording,
    record_answers,
)
from mllock.probes.types import Alike, Answer, Exchange, Probe, Recording, Tolerance

CODE = sha256_of(b"code")
RECORDING = Recording(
    salt="0" * 64,
    code=CODE,
    exchanges=(
        Exchange(
            probe=Probe(
                line=2,
                method="POST",
                path="/p?a",
                headers={"content-type": "application/json"},
                body='{"a":1.0}',
                alike=Alike(
                    tolerance={("a", "b/c"): Tolerance(absolute=1e-6, relative=0.5)},
                    ignore=(("t",), ()),
                ),
            ),
            answer=Answer(status=200, type="application/json", body=b'{"q": 1.0}\n'),
        ),
        Exchange(
            probe=Probe(line=3, method="GET", path="/i"),
            answer=Answer(status=404, type="", body=b"\xff\x00"),
        ),
    ),
)

# Golden: a file of version 1 reads for ever.
VERSION_1 = (
    b'{"code":"' + CODE.encode() + b'","probes":['
    b'{"answer":{"status":200,"text":"{\\"q\\": 1.0}\\n","type":"application/json"},'
    b'"body":"{\\"a\\":1.0}","headers":{"content-type":"application/json"},"ignore":["/t",""],'
    b'"line":2,"method":"POST","path":"/p?a","tolerance":{"/a/b~1c":{"abs":0.000001,"rel":0.5}}},'
    b'{"answer":{"base64":"/wA=","status":404,"type":""},"body":null,"headers":{},"ignore":[],'
    b'"line":3,"method":"GET","path":"/i","tolerance":{}}],'
    b'"salt":"0000000000000000000000000000000000000000000000000000000000000000","version":1}'
)


def test_golden():
    assert dump_recording(RECORDING) == VERSION_1
    assert parse_recording(VERSION_1) == RECORDING


@given(st.binary(max_size=50), st.integers(100, 599))
def test_reading_gives_back_what_was_written(body: bytes, status: int):
    one = Exchange(
        probe=Probe(line=1, method="PUT", path="/"),
        answer=Answer(status=status, type="x/y", body=body),
    )
    recording = Recording(salt="a" * 64, code=CODE, exchanges=(one,))
    assert parse_recording(dump_recording(recording)) == recording


def changed(change: Callable[[Any], None]) -> bytes:
    value = json.loads(VERSION_1)
    change(value)
    return canonical.dumps(value)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(version=2),
        lambda v: v.update(more=1),
        lambda v: v.update(salt="short"),
        lambda v: v.update(code="sha256:x"),
        lambda v: v.update(probes=[]),
        lambda v: v["probes"][0].pop("body"),
        lambda v: v["probes"][0].update(method="TRACE"),
        lambda v: v["probes"][0].update(path="http://other/"),
        lambda v: v["probes"][0].update(headers={"Upper": "x"}),
        lambda v: v["probes"][0].update(ignore=["x"]),
        lambda v: v["probes"][0]["tolerance"].update({"/a": {"abs": -1, "rel": 0}}),
        lambda v: v["probes"][0]["answer"].update(base64=""),
        lambda v: v["probes"][0]["answer"].pop("text"),
        lambda v: v["probes"][0]["answer"].update(status=600),
        lambda v: v["probes"][1]["answer"].update(base64="a"),
    ],
)
def test_a_file_of_another_form_is_refused(change: Callable[[Any], None]):
    with pytest.raises(RunError) as caught:
        parse_recording(changed(change), name="run/probes.json")
    assert str(caught.value).startswith("run/probes.json: not recorded probes: ")


def ask_all(url: str, *probes: Probe) -> Recording:
    ask = functools.partial(ask_probe, parse_address(url), seconds=20)
    return record_answers(probes, ask, file="probes.jsonl", code=CODE)


def failure(code: int, body: bytes, kind: str = "application/json", **probe: Any) -> ProgramError:
    asked = Probe(line=7, method="POST", path="/p", **probe)
    with (
        answering(lambda h, b: reply(h, code, body, {"Content-Type": kind})) as url,
        pytest.raises(ProgramError) as caught,
    ):
        ask_all(url, asked)
    assert caught.value.exit_code == 1
    return caught.value


def test_answers_are_recorded_with_a_salt_of_their_own():
    probe = Probe(line=1, method="POST", path="/p", body="1")
    with answering(lambda h, b: reply(h, 200, b)) as url:
        one, two = ask_all(url, probe), ask_all(url, probe)
    assert one.exchanges == (
        Exchange(probe=probe, answer=Answer(status=200, type="application/json", body=b"1")),
    )
    assert one.exchanges == two.exchanges
    assert one.salt != two.salt
    assert sha256_of(dump_recording(one)) != sha256_of(dump_recording(two))


def test_another_status():
    assert str(failure(404, b'{"detail":"Not Found"}')) == (
        "probes.jsonl:7: POST /p: the trained model answers the probe with another status\n"
        "expected: 200 to 299\n"
        'found: 404 {"detail":"Not Found"}\n'
        'hint: mend the probe or the program, or write "status": 404 if it is right'
    )
    assert str(failure(200, b"", status=422)) == (
        "probes.jsonl:7: POST /p: the trained model answers the probe with another status\n"
        "expected: 422\n"
        "found: 200\n"
        'hint: mend the probe or the program, or write "status": 200 if it is right'
    )


def test_an_error_of_the_program():
    error = failure(500, b"Internal Server Error", "text/plain")
    assert error.found == "500 Internal Server Error"
    assert error.hint is None  # who called knows where the log is


def test_a_wanted_status_of_any_kind():
    probe = Probe(line=1, method="POST", path="/p", status=500)
    with answering(lambda h, b: reply(h, 500, b"")) as url:
        assert ask_all(url, probe).exchanges[0].answer.status == 500


def test_compare_needs_json():
    loose = Alike(ignore=(("t",),))
    error = failure(200, b"<html>", "text/html", alike=loose)
    assert str(error) == (
        "probes.jsonl:7: POST /p: compare is a table, and the answer is not JSON\n"
        "expected: application/json, and strict JSON\n"
        "found: text/html <html>"
    )
    assert failure(200, b"NaN", alike=loose).message == error.message


def test_too_large_an_answer():
    error = failure(200, b"x" * (MAX_ANSWER + 1))
    assert str(error) == "probes.jsonl:7: POST /p: the answer has more than 4194304 bytes"


def test_too_large_answers_together(monkeypatch: pytest.MonkeyPatch):
    """What could not be read again is not recorded."""
    monkeypatch.setattr("mllock.probes.recording.MAX_FILE", 10_000)
    probes = [Probe(line=n, method="POST", path="/p") for n in (1, 2)]
    with (
        answering(lambda h, b: reply(h, 200, b"x" * 3000)) as url,
        pytest.raises(ProgramError) as caught,
    ):
        ask_all(url, *probes)
    assert str(caught.value) == (
        "probes.jsonl:2: POST /p: the answers have more than 10000 bytes together"
    )


def test_an_answer_that_is_encoded():
    headers = {"Content-Encoding": "gzip"}
    with (
        answering(lambda h, b: reply(h, 200, b"x", headers)) as url,
        pytest.raises(ProgramError) as caught,
    ):
        ask_all(url, Probe(line=7, method="POST", path="/p"))
    assert str(caught.value) == (
        "probes.jsonl:7: POST /p: the answer is encoded, which nobody asked for\nfound: gzip"
    )


def test_no_answer():
    with (
        answering(lambda h, b: None) as url,
        pytest.raises(ProgramError) as caught,
    ):
        ask_all(url, Probe(line=7, method="POST", path="/p"))
    assert str(caught.value) == (
        "probes.jsonl:7: POST /p: the probe got no answer: it hung up without an answer"
    )
