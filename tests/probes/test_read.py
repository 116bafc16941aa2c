"""probes.jsonl: what reads, and what each mistake is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from mllock.errors import InputError
from mllock.probes import pointer
from mllock.probes.read import parse_probes, read_probes
from mllock.probes.types import EXACT, Alike, Probe, Tolerance
from mllock.resources import resource


def test_every_key():
    text = (
        '{"path": "/predict?a=1", "body": {"b": 7.0, "a": "\u00e9"}, "status": 422, '
        '"headers": {"X-Name": "a b"}, '
        '"compare": {"tolerance": {"/a~1b/0": {"abs": 1e-6, "rel": 0.5}, "": {"abs": 1}}, '
        '"ignore": ["/t"]}}\n'
        "\n"
        '{"method": "PUT", "path": "/", "text": "hi"}\r\n'
        '{"method": "GET", "path": "/x", "compare": "exact"}'
    )
    first, second, third = parse_probes(text.encode(), "probes.jsonl")
    assert first == Probe(
        line=1,
        method="POST",
        path="/predict?a=1",
        headers={"content-type": "application/json", "x-name": "a b"},
        # As it was written: order, and 7.0 is not 7.
        body='{"b":7.0,"a":"\u00e9"}',
        status=422,
        alike=Alike(
            tolerance={
                ("a/b", "0"): Tolerance(absolute=1e-6, relative=0.5),
                (): Tolerance(absolute=1.0),
            },
            ignore=(("t",),),
        ),
    )
    assert second == Probe(
        line=3,
        method="PUT",
        path="/",
        headers={"content-type": "text/plain; charset=utf-8"},
        body="hi",
    )
    assert third == Probe(line=4, method="GET", path="/x", alike=EXACT)


def test_a_content_type_of_ones_own_and_a_body_that_is_null():
    (probe,) = parse_probes(
        b'{"path": "/", "headers": {"Content-Type": "application/x"}, "body": null}', "p"
    )
    assert (probe.headers, probe.body) == ({"content-type": "application/x"}, "null")


WRONG = {
    "{": "p:1: not JSON: Expecting property name enclosed in double quotes: line 1 column 2 "
    "(char 1)\nhint: each line is one JSON object",
    '{"path": "/", "path": "/"}': "p:1: not JSON: duplicate key 'path'\n"
    "hint: each line is one JSON object",
    '{"path": "/", "body": NaN}': "p:1: not JSON: NaN is not JSON\n"
    "hint: each line is one JSON object",
    "[1]": "p:1: not a probe\nexpected: a JSON object\nfound: [1]",
    '{"pth": "/"}': 'p:1: pth: unknown key\nhint: did you mean "path"?',
    '{"zzz": 1}': "p:1: zzz: unknown key\n"
    "hint: known here: method, path, headers, body, text, status, compare",
    "{}": 'p:1: path: missing key\nexpected: a path, e.g. "/predict"',
    '{"path": 1}': "p:1: path: wrong type\nexpected: a string\nfound: 1",
    '{"path": "predict"}': 'p:1: path: not a path\nexpected: printable ASCII that begins with "/", '
    'other characters percent-encoded\nfound: "predict"',
    '{"path": "/a b"}': 'p:1: path: not a path\nexpected: printable ASCII that begins with "/", '
    'other characters percent-encoded\nfound: "/a b"',
    '{"path": "/a\\r\\nHost: x"}': "p:1: path: not a path\nexpected: printable ASCII that begins "
    'with "/", other characters percent-encoded\nfound: "/a\\r\\nHost: x"',
    '{"path": "/", "method": "get"}': "p:1: method: unknown method\n"
    'expected: GET, POST, PUT, PATCH, DELETE\nfound: "get"',
    '{"path": "/", "body": 1, "text": "a"}': "p:1: text: body and text are two bodies\n"
    "hint: leave one of them out",
    '{"path": "/", "text": 1}': "p:1: text: wrong type\nexpected: a string\nfound: 1",
    '{"path": "/", "headers": []}': "p:1: headers: wrong type\n"
    "expected: an object of strings\nfound: []",
    '{"path": "/", "headers": {"a b": "c"}}': "p:1: headers: not the name of a header\n"
    'found: "a b"',
    '{"path": "/", "headers": {"a": "b\\nc"}}': "p:1: headers.a: not the value of a header\n"
    'expected: printable ASCII\nfound: "b\\nc"',
    '{"path": "/", "headers": {"a": 1}}': "p:1: headers.a: not the value of a header\n"
    "expected: printable ASCII\nfound: 1",
    '{"path": "/", "headers": {"A": "1", "a": "2"}}': "p:1: headers.a: the same header twice",
    '{"path": "/", "headers": {"Host": "x"}}': "p:1: headers.Host: mllock sets it itself\n"
    "hint: leave it out",
    '{"path": "/", "headers": {"Authorization": "Bearer x"}}': "p:1: headers.Authorization: "
    "a header that holds credentials\nhint: leave it out",
    '{"path": "/", "status": 99}': "p:1: status: not a status\nexpected: 100 to 599\nfound: 99",
    '{"path": "/", "status": true}': "p:1: status: not a status\nexpected: 100 to 599\nfound: true",
    '{"path": "/", "compare": "loose"}': "p:1: compare: wrong type\n"
    'expected: "exact", or an object\nfound: "loose"',
    '{"path": "/", "compare": {"tolerence": {}}}': "p:1: compare.tolerence: unknown key\n"
    'hint: did you mean "tolerance"?',
    '{"path": "/", "compare": {"tolerance": 1}}': "p:1: compare.tolerance: wrong type\nexpected: "
    'an object of JSON pointers, e.g. {"/quality": {"abs": 1e-6}}\nfound: 1',
    '{"path": "/", "compare": {"tolerance": {"x": {"abs": 1}}}}': "p:1: compare.tolerance: a JSON "
    'pointer begins with "/"\nfound: "x"',
    '{"path": "/", "compare": {"tolerance": {"/x": 1}}}': "p:1: compare.tolerance./x: not a "
    'tolerance\nexpected: {"abs": number} or {"rel": number}, or both\nfound: 1',
    '{"path": "/", "compare": {"tolerance": {"/x": {"abs": -1}}}}': "p:1: compare.tolerance./x.abs:"
    " not a tolerance\nexpected: at least 0\nfound: -1",
    '{"path": "/", "compare": {"tolerance": {"/x": {"rel": 2}}}}': "p:1: compare.tolerance./x.rel: "
    "not a tolerance\nexpected: 0 to 1\nfound: 2",
    '{"path": "/", "compare": {"ignore": "/x"}}': "p:1: compare.ignore: wrong type\n"
    'expected: an array of JSON pointers\nfound: "/x"',
    '{"path": "/", "compare": {"ignore": ["/~2"]}}': "p:1: compare.ignore: in a JSON pointer "
    '"~" is written "~0"\nfound: "/~2"',
    "": "p: no probe in the file\n"
    'expected: one JSON object a line, e.g. {"path": "/predict", "body": {}}',
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake(text: str):
    with pytest.raises(InputError) as caught:
        parse_probes(text.encode(), "p")
    assert str(caught.value) == WRONG[text]
    assert caught.value.exit_code == 2


def test_the_line_is_that_of_the_file():
    with pytest.raises(InputError) as caught:
        parse_probes(b'{"path": "/"}\n\n{"path": "/"}\nnot json\n', "p")
    assert caught.value.line == 4


def test_too_many():
    with pytest.raises(InputError) as caught:
        parse_probes(b'{"path": "/"}\n' * 1001, "p")
    assert str(caught.value) == "p: 1001 probes\nexpected: at most 1000"


def test_too_large():
    with pytest.raises(InputError) as caught:
        parse_probes(b" " * (16 * 1024 * 1024 + 1), "p")
    assert str(caught.value) == "p: more than 16777216 bytes"


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.symlink_to("x")])
def test_no_file(tmp_path: Path, make):
    path = tmp_path / "probes.jsonl"
    make(path)
    with pytest.raises(InputError) as caught:
        read_probes(path, "probes.jsonl")
    assert str(caught.value) == (
        "probes.jsonl: serve.probes: no such file\n"
        "hint: write it, one JSON object a line, or leave serve.probes out"
    )


def test_the_starter_s_probes_read():
    path = Path(str(resource("templates", "sklearn"))) / "probes.jsonl"
    probes = read_probes(path, "probes.jsonl")
    assert [(p.method, p.path, p.status) for p in probes] == [
        ("POST", "/predict", None),
        ("POST", "/predict", None),
        ("POST", "/predict", 422),
    ]


@pytest.mark.parametrize("text", ["", "/", "/a/0", "/a~1b/~0", "//"])
def test_pointers(text: str):
    assert pointer.text_of(pointer.parse(text)) == text
