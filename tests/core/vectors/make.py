"""Writes tree-digest.json. An implementation of docs/reference/tree-digest.md of its own: it
imports nothing of mllock, and checks no rule, only writes manifests down."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HEADER = "mllock-tree\t1\n"
A = f"f\ta\t0\t{EMPTY}\n"

VALID: list[dict[str, Any]] = [
    {"name": "nothing", "entries": []},
    {"name": "one file", "entries": [{"path": ".", "kind": "f", "text": "hello\n"}]},
    {"name": "one program", "entries": [{"path": ".", "kind": "x", "text": "hello\n"}]},
    {"name": "a folder with one file", "entries": [{"path": "a", "kind": "f", "text": "hello\n"}]},
    {"name": "an empty file", "entries": [{"path": "a", "kind": "f", "text": ""}]},
    {"name": "an empty folder", "entries": [{"path": "a", "kind": "d"}]},
    {"name": "an empty folder in a folder", "entries": [{"path": "a/b", "kind": "d"}]},
    {
        "name": "bytes that are no text",
        "entries": [{"path": "a", "kind": "f", "base64": "AP/+DQo="}],
    },
    {
        "name": "order by bytes of paths",
        "entries": [
            {"path": path, "kind": "f", "text": path}
            for path in ("b", "a/b", "a-b", "a.b", "aB", "B2", "a0", "Z/z", "a b", "~", "é", "y")
        ],
    },
    {
        "name": "order beyond the basic plane",
        "entries": [
            {"path": path, "kind": "f", "text": "x"} for path in ("\U0001f377", "\uff57", "\u00df")
        ],
    },
    {
        "name": "names in many scripts",
        "entries": [
            {"path": path, "kind": "f", "text": path}
            for path in (
                "дані/навчання.csv",
                "数据/训练.csv",
                "δεδομένα/Ω.csv",
                "cafe\u0301.txt",
                "\ufb01le (1) \u2013 copy.txt",
                "a'b\"c$d*e?f[g]h",
                "...",
                ".hidden",
                "-rf",
                "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            )
        ],
    },
    {
        "name": "links",
        "entries": [
            {"path": "data/one.csv", "kind": "f", "text": "1\n"},
            {"path": "data/two.csv", "kind": "l", "target": "one.csv"},
            {"path": "latest", "kind": "l", "target": "./data//"},
            {"path": "deep/er/up", "kind": "l", "target": "../../latest/one.csv"},
            {"path": "deep/er/root", "kind": "l", "target": "../.."},
            {"path": "self", "kind": "l", "target": "."},
        ],
    },
    {
        "name": "everything",
        "entries": [
            {"path": "model.joblib", "kind": "f", "base64": "gASVAAECAw=="},
            {"path": "features.json", "kind": "f", "text": '["alcohol", "pH"]\n'},
            {"path": "bin/run.sh", "kind": "x", "text": "#!/bin/sh\nexec true\n"},
            {"path": "bin/start", "kind": "l", "target": "run.sh"},
            {"path": "cache", "kind": "d"},
        ],
    },
    {
        "name": "long names",
        "entries": [{"path": "/".join(["n" * 255] * 8), "kind": "f", "text": "deep"}],
    },
    {
        "name": "the longest path",
        "entries": [{"path": "/".join(["n" * 255] * 16), "kind": "f", "text": "deep"}],
    },
]


def bad(name: str, body: str | bytes, reason: str) -> dict[str, str]:
    """A manifest with the right header and a wrong `body`."""
    if isinstance(body, bytes):
        encoded = base64.b64encode(HEADER.encode() + body).decode()
        return {"name": name, "manifest_base64": encoded, "reason": reason}
    return {"name": name, "manifest": HEADER + body, "reason": reason}


def no_header(name: str, body: str) -> dict[str, str]:
    first = body.partition("\n")[0]
    reason = f"line 1: expected 'mllock-tree\\t1', found {first!r}"
    return {"name": name, "manifest": body, "reason": reason}


def not_an_entry(name: str, line: str) -> dict[str, str]:
    return bad(name, line + "\n", f"line 2: not an entry: {line!r}")


def bad_path(name: str, path: str, reason: str) -> dict[str, str]:
    return bad(name, file(path), f"{reason}: {path!r}")


def folding(name: str, first: str, second: str) -> dict[str, str]:
    return bad(
        name,
        file(first) + file(second),
        f"names that fold together: {first.partition('/')[0]!r} and {second.partition('/')[0]!r}",
    )


def file(path: str, kind: str = "f") -> str:
    return f"{kind}\t{path}\t0\t{EMPTY}\n"


BOTH = "'a' is both an entry and a folder with entries"
AROUND = "link 'a' leads through more than 40 links"

INVALID: list[dict[str, str]] = [
    no_header("empty file", ""),
    no_header("other version", "mllock-tree\t2\n"),
    no_header("carriage returns", "mllock-tree\t1\r\n"),
    no_header("byte order mark", "\ufeff" + HEADER),
    no_header("spaces", "mllock-tree 1\n"),
    bad("no line end", A[:-1], "the last line has no line end"),
    not_an_entry("empty line", ""),
    not_an_entry("unknown kind", f"g\ta\t0\t{EMPTY}"),
    not_an_entry("a field too many", f"f\ta\t0\t{EMPTY}\t"),
    not_an_entry("a field too few", "f\ta\t0"),
    not_an_entry("folder with size", "d\ta\t0"),
    not_an_entry("leading zero", f"f\ta\t00\t{EMPTY}"),
    not_an_entry("sign", f"f\ta\t+1\t{EMPTY}"),
    not_an_entry("digits of another script", f"f\ta\t\u0661\t{EMPTY}"),
    not_an_entry("carriage return", f"f\ta\t0\t{EMPTY}\r")
    | {"reason": f"line 2: not 64 lower-case hex digits: '{EMPTY}\\r'"},
    bad("size of 2^63", f"f\ta\t9223372036854775808\t{EMPTY}\n", "wrong kind of entry: 'a'"),
    bad(
        "upper-case digest",
        f"f\ta\t0\t{EMPTY.upper()}\n",
        f"line 2: not 64 lower-case hex digits: '{EMPTY.upper()}'",
    ),
    bad(
        "digest with algorithm",
        f"f\ta\t0\tsha256:{EMPTY}\n",
        f"line 2: not 64 lower-case hex digits: 'sha256:{EMPTY}'",
    ),
    bad("not sorted", file("b") + file("a"), "not sorted by path: 'b' before 'a'"),
    bad("sorted by locale", file("a") + file("B"), "not sorted by path: 'a' before 'B'"),
    bad("duplicate", A + A, "duplicate path: 'a'"),
    bad("file and folder", file("a") + file("a/b"), BOTH),
    bad("empty folder with entries", "d\ta\n" + file("a/b"), BOTH),
    bad("link as folder", "l\ta\t.\n" + file("a/b"), BOTH),
    folding("case collision", "A", "a"),
    folding("case collision of folders", "A/x", "a/y"),
    folding("normal form collision", "e\u0301", "\u00e9"),
    folding("sharp s", "STRASSE", "straße"),
    folding("Kelvin sign", "k", "\u212a"),
    bad_path("empty path", "", "empty path"),
    bad("single file beside another", file(".") + file("a"), "\".\" in path: '.'"),
    bad("single folder", "d\t.\n", '"." stands for a single file only'),
    bad("single link", "l\t.\t.\n", '"." stands for a single file only'),
    bad_path("absolute", "/a", "absolute path"),
    bad_path("up", "../a", '".." in path'),
    bad_path("up inside", "a/../b", '".." in path'),
    bad_path("dot", "a/./b", '"." in path'),
    bad_path("two slashes", "a//b", "empty component in path"),
    bad_path("slash at the end", "a/", "empty component in path"),
    bad_path("backslash", "a\\b", "backslash in path"),
    bad_path("drive", "c:a", "drive letter in path"),
    bad_path("escape character", "a\x1b[31m", "character U+001B in path"),
    bad_path("C1 control", "a\x85b", "character U+0085 in path"),
    bad_path("right-to-left override", "a\u202egpj.exe", "character U+202E in path"),
    bad_path("zero-width space", "a\u200bb", "character U+200B in path"),
    bad_path("tag character", "a\U000e0041", "character U+E0041 in path"),
    bad_path("long name", "n" * 256, "name of more than 255 bytes"),
    bad_path("long name in bytes", "é" * 128, "name of more than 255 bytes"),
    bad_path("long path", "n/" * 2048 + "n", "path of more than 4096 bytes"),
    bad("link to nowhere", "l\ta\tb\n", "link 'a' leads to what is not in the tree: 'b'"),
    bad("link without target", "l\ta\t\n", "link 'a' is not relative: ''"),
    bad("absolute link", A + "l\tb\t/a\n", "link 'b' is not relative: '/a'"),
    bad("link out of the tree", "l\ta\t../b\n" + file("b"), "link 'a' leaves the tree: '../b'"),
    bad(
        "up after a name",
        file("a/b") + "l\tc\ta/../a/b\n",
        "link 'c' has an unsafe target: 'a/../a/b'",
    ),
    bad(
        "out through a link",
        "l\ta/b/c\t../..\nl\td\ta/b/c/..\n",
        "link 'd' has an unsafe target: 'a/b/c/..'",
    ),
    bad("circle", "l\ta\tb\nl\tb\ta\n", AROUND),
    bad("link to itself", "l\ta\ta\n", AROUND),
    bad("control in target", A + "l\tb\ta\x07\n", "link 'b' has an unsafe target: 'a\\x07'"),
    bad("not UTF-8", b"d\t\xff\n", "not UTF-8 at byte 16"),
    bad("surrogate in UTF-8", b"d\t\xed\xa0\x80\n", "not UTF-8 at byte 16"),
    bad("overlong UTF-8", b"d\t\xc0\xaf\n", "not UTF-8 at byte 16"),
]


def line(entry: dict[str, Any]) -> str:
    if entry["kind"] == "d":
        return f"d\t{entry['path']}\n"
    if entry["kind"] == "l":
        return f"l\t{entry['path']}\t{entry['target']}\n"
    data = entry["text"].encode() if "text" in entry else base64.b64decode(entry["base64"])
    return f"{entry['kind']}\t{entry['path']}\t{len(data)}\t{hashlib.sha256(data).hexdigest()}\n"


def document() -> dict[str, Any]:
    valid = []
    for tree in VALID:
        entries = sorted(tree["entries"], key=lambda entry: entry["path"].encode())
        manifest = HEADER + "".join(line(entry) for entry in entries)
        digest = "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()
        valid.append({**tree, "manifest": manifest, "digest": digest})
    return {"version": 1, "valid": valid, "invalid_manifests": INVALID}


def text() -> str:
    return json.dumps(document(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("tree-digest.json").write_text(text(), encoding="ascii")
